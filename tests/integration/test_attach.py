"""People at the terminals of jobs: `attach` in a real pty, `send`, and what survives the death of the core."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskmaster_core.errors import Refused, UsageError
from tests import seat
from tests.harness import Daemon
from tests.terminal import RawTerminal

CAT = """
[[task]]
name = "cat"
cmd = "cat"
tty = true
stopdelay = 1
"""
ECHO = """
[[task]]
name = "echo"
cmd = "sh -c 'stty raw -echo; echo up; exec cat'"
tty = true
"""
PIPE = """
[[task]]
name = "pipe"
cmd = "cat"
stdin = "pipe"
restart = "never"
"""
DETACH = "\x1d"

Start = Callable[..., Daemon]
Attach = Callable[..., RawTerminal]


@pytest.fixture
def attach(daemon_for: Start) -> Iterator[Attach]:  # its daemons are ended after the terminals
    opened: list[RawTerminal] = []

    def start(it: Daemon, *words: str, **options: Any) -> RawTerminal:
        # behind a shell, whose terminal it was before and is again after
        line = " ".join(it.command("attach", *words))
        argv = ["/bin/sh", "-c", f'stty -a | md5sum; {line}; echo "status $?"; stty -a | md5sum; sleep 100']
        opened.append(seat.in_raw(it, argv, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def modes(screen: str) -> list[str]:
    return re.findall(r"\b[0-9a-f]{32}\b", screen)


def left(at: RawTerminal, status: int = 0) -> None:
    """Wait until the command has ended, and see that the terminal is what it was."""
    at.wait_for(f"status {status}")
    at.wait_for(lambda screen: len(modes(screen.text())) == 2)
    first, second = modes(at.screen.text())
    assert first == second, at.screen.text()


# -- send -------------------------------------------------------------------------------------------------------------


def test_send_types_a_line_to_a_pipe_and_eof_ends_it(daemon: Start) -> None:
    it = daemon(PIPE)
    assert it.cli("send", "pipe", "hello").returncode == 0
    it.wait(lambda: it.output("pipe:0") == "hello\n")
    assert it.cli("send", "-n", "--eof", "pipe:0", "end").returncode == 0
    assert it.wait_state("pipe:0", "exited").exit is not None
    assert it.output("pipe:0") == "hello\nend"


def test_send_streams_standard_input_to_its_end(daemon: Start) -> None:
    it = daemon(PIPE)
    text = "".join(f"line {n}\n" for n in range(30_000))
    done = it.cli("send", "pipe", "-", "--eof", input=text)
    assert done.returncode == 0, done.stderr
    it.wait_state("pipe:0", "exited")
    assert it.output("pipe:0") == text


def test_send_is_refused_with_a_reason_by_jobs_that_do_not_hear(daemon: Start) -> None:
    it = daemon(f'{PIPE}[[task]]\nname = "deaf"\ncmd = "sleep 100"\n{CAT}autostart = false\n')
    said = it.cli("send", "deaf", "x")
    assert said.returncode == 1
    assert "stdin" in said.stderr
    said = it.cli("send", "cat", "x")
    assert said.returncode == 1
    assert "stopped" in said.stderr


def test_a_job_that_does_not_read_refuses_what_it_cannot_take(daemon: Start) -> None:
    it = daemon(PIPE.replace('"cat"\nstdin', '"sleep 100"\nstdin'))
    big = "x" * 30_000
    said = [it.request("send", "pipe", text=big)["outcomes"][0] for _ in range(8)]
    assert said[0]["ok"]
    assert "does not read its input" in said[-1]["note"]


def test_P09_a_line_sent_twice_under_one_id_is_typed_once_also_after_a_new_core(daemon: Start) -> None:
    it = daemon(PIPE)
    with it.client as client:
        frame = {"text": "once\n"}
        client._name = "fixed"
        client.call("send", ["pipe"], frame)
        it.wait(lambda: it.output("pipe:0") == "once\n")
        it.kill_core()
        client._numbers = iter(range(1, 1000))
        client.call("send", ["pipe"], frame)
    assert it.cli("send", "pipe", "last").returncode == 0
    it.wait(lambda: "last" in it.output("pipe:0"))
    assert it.output("pipe:0") == "once\nlast\n"


# -- attach -----------------------------------------------------------------------------------------------------------


def test_attach_shows_the_last_screen_types_and_detaches(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT)
    it.cli("send", "cat", "before")
    it.wait(lambda: it.output("cat:0").count("before") == 2)
    pid = it.proc("cat:0").pid
    at = attach(it, "cat")
    at.wait_for("ctrl+] detaches")
    at.wait_for("before")
    at.send("typed\r")
    at.wait_for(lambda screen: screen.text().count("typed") == 2)
    at.send(DETACH + DETACH)
    at.wait_for("it runs on")
    left(at)
    assert it.proc("cat:0").pid == pid
    assert it.output("cat:0").count("typed") == 2
    kinds = [each.type for each in it.events(key="cat:0")]
    assert kinds.count("attached") == kinds.count("detached") == 1


def test_the_size_of_the_terminal_is_that_of_the_one_in_front_of_it(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT.replace('"cat"\ntty', """"sh -c 'while read x; do stty size; done'"\ntty"""))
    at = attach(it, "cat", columns=91, rows=31)
    at.wait_for("ctrl+]")
    at.send("\r")
    at.wait_for("31 91")
    at.resize(101, 33)
    deadline = time.monotonic() + 10
    while "33 101" not in at.screen.text():
        assert time.monotonic() < deadline, at.screen.text()
        at.send("\r")
        time.sleep(0.05)


def test_one_types_others_look_on_and_may_take_over(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT)
    first = attach(it, "cat")
    first.wait_for("[attached")
    first.send("one\r")
    first.wait_for(lambda screen: screen.text().count("one") == 2)
    second = attach(it, "cat")
    second.wait_for("a takes over")
    second.wait_for("one")
    second.send("nobody hears this\r")
    first.send("two\r")
    second.wait_for(lambda screen: screen.text().count("two") == 2)
    look: dict[str, Any] = {"lease": "probe", "write": False}
    before = it.request("attach", "cat", **look)["writer"]
    second.send("a")
    it.wait(lambda: it.request("attach", "cat", **look)["writer"] != before)
    deadline = time.monotonic() + 10
    while it.output("cat:0").count("three") < 2:
        assert time.monotonic() < deadline, second.screen.text()
        second.send("three\r")
        time.sleep(0.1)
    first.send("four\r")
    second.send("five\r")
    it.wait(lambda: it.output("cat:0").count("five") == 2)
    assert "four" not in it.output("cat:0")
    assert "nobody" not in it.output("cat:0")


def test_a_read_only_viewer_types_nothing_and_cannot_take_over(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT)
    at = attach(it, "cat", "--read-only")
    at.wait_for("read-only")
    at.send("aaa\r")
    it.cli("send", "cat", "seen")
    at.wait_for("seen")
    at.send(DETACH)
    left(at)
    assert "aaa" not in it.output("cat:0")


def test_G1_an_attached_person_goes_on_after_the_core_was_killed(daemon: Start, attach: Attach) -> None:
    it = daemon(ECHO)
    it.wait(lambda: "up" in it.output("echo:0"))
    pid = it.proc("echo:0").pid
    at = attach(it, "echo")
    at.wait_for("[attached")
    for number in range(6):
        at.send(f"<{number}>")
        if number == 2:
            it.kill_core(wait=False)
        time.sleep(0.05)
    at.wait_for("<5>", 20)
    assert it.proc("echo:0").pid == pid
    at.send("after")
    at.wait_for("after")
    text = it.output("echo:0")
    assert text.endswith("".join(f"<{number}>" for number in range(6)) + "after"), text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_when_a_signal_ends_it(daemon: Start, attach: Attach, number: int) -> None:
    it = daemon(CAT)
    at = attach(it, "cat")
    at.wait_for("[attached")
    (pid,) = [pid for pid in _pids() if b"attach" in _words(pid) and it.instance.encode() in _words(pid)]
    os.kill(pid, number)
    left(at, 128 + number)


def test_the_end_of_the_job_ends_it_and_says_how(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT.replace("stopdelay", 'restart = "never"\nstopdelay'))
    at = attach(it, "cat")
    at.wait_for("[attached")
    at.send("bye\r\x04")
    at.wait_for("ended with code 0 and is exited")
    left(at)


def test_who_is_attached_sees_the_next_run(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT.replace("stopdelay", 'restart = "always"\nstopdelay'))
    at = attach(it, "cat")
    at.wait_for("[attached")
    at.send("first\r\x04")
    at.wait_for("it will be started again")
    it.wait(lambda: it.proc("cat:0").run == 2 and it.proc("cat:0").state == "running")
    deadline = time.monotonic() + 10
    while it.output("cat:0").count("second") < 2:
        assert time.monotonic() < deadline, at.screen.text()
        at.send("second\r")
        time.sleep(0.1)


def test_a_client_that_vanishes_lets_others_type(daemon: Start) -> None:
    it = daemon(CAT)
    assert it.request("attach", "cat", lease="one")["write"]
    assert not it.request("attach", "cat", lease="two")["write"]
    it.wait_event("detached", "cat:0", timeout=15)
    assert it.request("attach", "cat", lease="two")["write"]


def test_status_and_show_say_who_is_attached(daemon: Start) -> None:
    it = daemon(CAT)
    assert it.proc("cat:0").attached == ""
    for name, write in (("one", True), ("two", True), ("three", False)):
        it.request("attach", "cat", lease=name, write=write)
    assert re.fullmatch(r"uid \d+ pid \d+ types, 2 look on", it.proc("cat:0").attached)
    assert "types, 2 look on" in it.cli("status").stdout
    assert "types, 2 look on" in it.cli("show", "cat").stdout
    for name in ("one", "two", "three"):
        it.request("detach", lease=name)
    assert "types" not in it.cli("status").stdout


def test_what_a_terminal_paints_is_found_by_logs_and_its_search(daemon: Start) -> None:
    it = daemon(ECHO.replace("echo up", "echo \\u001b[31mneedle-one\\u001b[0m; echo hay"))
    it.wait(lambda: "hay" in it.output("echo:0"))
    assert it.cli("send", "-n", "echo", "typed needle-two\n").returncode == 0
    it.wait(lambda: "needle-two" in it.output("echo:0"))
    lines = it.cli("logs", "-g", "needle-", "echo").stdout.splitlines()
    assert [line.rpartition("needle-")[2].strip() for line in lines] == ["one", "two"], lines
    assert len(it.request("find", "echo", pattern="needle-")["places"]) == 2  # as `/` in the TUI asks


def test_what_was_missed_comes_with_the_next_word(daemon: Start) -> None:
    it = daemon(CAT)
    said, raw = it.request_raw("attach", "cat", lease="one")
    assert (said["offset"], raw) == (0, b"")
    it.request("input", lease="one", data="aGkN", n=1)
    it.wait(lambda: it.output("cat:0").count("hi") == 2)
    said, raw = it.request_raw("attach", "cat", lease="one", run=said["run"], since=2)
    assert (said["offset"], raw, said["heard"]) == (2, b"\r\nhi\r\n", 1)


def test_attaching_is_refused_with_a_reason(daemon: Start) -> None:
    it = daemon(f"{PIPE}{CAT}numprocess = 2\n")
    with pytest.raises(Refused, match="no terminal"):
        it.request("attach", "pipe", lease="one")
    with pytest.raises(UsageError, match="one process"):
        it.request("attach", "cat", lease="one")
    it.request("stop", "cat:1")
    with pytest.raises(Refused, match="stopped"):
        it.request("attach", "cat:1", lease="one")
    with pytest.raises(Refused, match="not attached"):
        it.request("input", lease="one", data="")
    for data in ("not base64!", "A" * 60_000):
        it.request("attach", "cat:0", lease="one")
        with pytest.raises(UsageError):
            it.request("input", lease="one", data=data)
    said = it.cli("attach", "cat:0")
    assert (said.returncode, "needs a terminal" in said.stderr) == (7, True)


def test_a_flood_can_be_watched_and_left_at_once(daemon: Start, attach: Attach) -> None:
    it = daemon(CAT.replace('"cat"\ntty', '"yes floods"\nstdout = "null"\ntty'))
    at = attach(it, "cat")
    at.wait_for("floods")
    at.send(DETACH)
    it.wait(lambda: b"status 0" in bytes(at.raw or b""), what="it has ended")  # the screen of the tests does not scroll


def test_typing_is_echoed_within_three_milliseconds_at_the_median(daemon: Start, attach: Attach) -> None:
    it = daemon(ECHO)
    at = attach(it, "echo", columns=400)
    at.wait_for("[attached")
    taken = []
    for number in range(60):
        word = f"<{number}>"
        sent = at.send(word)
        taken.append(at.wait_for(word) - sent)
    assert sorted(taken)[30] < 0.03, taken  # 3 ms when nothing else runs here; benchmarks measure that
    print(f"echo p50 {sorted(taken)[30] * 1000:.2f} ms, p95 {sorted(taken)[57] * 1000:.2f} ms")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _words(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
    except OSError:
        return b""
    return b"" if words.startswith((b"/bin/sh", b"sh\0")) else words


# In the full screen --------------------------------------------------------------------------------------------------


def test_a_in_the_full_screen_hands_the_terminal_over_and_takes_it_back(daemon: Start, sit: Callable[..., Any]) -> None:
    it = daemon(CAT)
    screen = sit(it)
    screen.wait_for(seat.rows_are(cat="1/1 up"))
    screen.send("a")
    screen.wait_for("[attached to cat:0")
    screen.type("typed here")
    screen.send("Enter")
    screen.wait_for(lambda text: text.count("typed here") == 2)
    screen.send("C-]")
    screen.wait_for("back from cat:0")
    screen.wait_for(seat.rows_are(cat="1/1 up"))
    assert it.output("cat:0").count("typed here") == 2


def test_slash_in_the_full_screen_finds_what_a_terminal_has_painted(daemon: Start, sit: Callable[..., Any]) -> None:
    it = daemon(ECHO.replace("echo up", "echo needle-one; echo hay; echo needle-two"))
    it.wait(lambda: "two" in it.output("echo:0"))
    screen = sit(it)
    screen.wait_for(seat.rows_are(echo="1/1 up"))
    screen.send("Enter")
    screen.wait_for("needle-two")
    screen.send("/")
    screen.type("needle-")
    screen.send("Enter")
    screen.wait_for(lambda text: re.search(r"match \d of 2", text))
