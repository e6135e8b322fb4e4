"""Terminals and pipes for input at the real shim: what is typed gets in, what is painted comes out, nobody waits."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.shim_harness import PYTHON, Core, Report, Shim, alive, output, program, sink, spawn_order, wait_for

NULL = {"kind": "null"}


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path)
    yield shim
    shim.close()


@pytest.fixture
def core(shim: Shim) -> Core:
    return shim.open()


def tty_order(shim: Shim, argv: list[str], key: str = "job:0", run: int = 1, **fields: Any) -> Report:
    return spawn_order(shim, argv, key, run, **{"tty": True, "err": {"kind": "out"}, **fields})


def shell(words: str) -> list[str]:
    return ["/bin/sh", "-c", words]


def python(code: str) -> list[str]:
    return [PYTHON, "-I", "-S", "-u", "-c", code]


def typed(text: str | bytes, key: str = "job:0", run: int = 1, **fields: Any) -> Report:
    data = text.encode() if isinstance(text, str) else text
    return {"t": "input", "key": key, "run": run, "data": base64.b64encode(data).decode(), **fields}


def took(core: Core, order: Report, id_: str) -> str:
    core.order({**order, "id": id_})
    return str(core.expect("took", id=id_)["why"])


def screen(core: Core, id_: str, key: str = "job:0", run: int = 1, **fields: Any) -> Report:
    core.order({"t": "screen", "id": id_, "key": key, "run": run, **fields})
    return core.expect("screen", id=id_)


def painted(core: Core, key: str = "job:0") -> bytes:
    return b"".join(base64.b64decode(each["data"]) for each in core.all("output", key=key))


# -- a pipe for input ---------------------------------------------------------------------------------------------


def test_what_is_sent_to_a_pipe_arrives_and_its_end_ends_it(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, ["/bin/cat"], stdin="pipe"))
    assert took(core, typed("one\n"), "a") == ""
    wait_for(lambda: output(shim) == b"one\n", "the first line")
    assert took(core, typed("two\n", end=True), "b") == ""
    assert core.expect("exited")["code"] == 0
    assert output(shim) == b"one\ntwo\n"


def test_a_closed_pipe_takes_nothing_more(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, shell("exec <&-; echo shut; exec sleep 100"), stdin="pipe"))
    wait_for(lambda: output(shim) == b"shut\n", "it has closed its input")
    assert took(core, typed("x"), "a") == "it has closed its input"
    assert "closed" in took(core, typed("x"), "b")


def test_a_job_without_input_is_refused_with_a_reason(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, ["/bin/sleep", "100"]))
    core.expect("spawned")
    assert took(core, typed("x"), "a") == "it has ended, or has no input"
    assert took(core, typed("x", key="nobody:0"), "b") == "it has ended, or has no input"


@pytest.mark.parametrize("fields", [{"stdin": "pipe"}, {"tty": True, "err": {"kind": "out"}}], ids=["pipe", "tty"])
def test_a_job_that_does_not_read_never_blocks_the_shim(shim: Shim, core: Core, fields: Report) -> None:
    core.order(spawn_order(shim, shell("stty raw -echo 2>/dev/null; echo up; exec sleep 100"), **fields))
    wait_for(lambda: b"up" in output(shim), "it is there")
    for number in range(40):
        why = took(core, typed(b"x" * 16384), f"n{number}")
        if why:
            break
    assert "does not read its input" in why
    core.order(spawn_order(shim, ["/bin/true"], "other:0"))
    assert core.expect("exited", key="other:0")["code"] == 0


def test_input_that_waits_goes_on_once_the_job_reads(shim: Shim, core: Core) -> None:
    ready = shim.path / "go"
    wait = f"while [ ! -e {ready} ]; do sleep 0.01; done; wc -c"
    core.order(spawn_order(shim, shell(wait), stdin="pipe"))
    core.expect("spawned")
    for number in range(7):
        assert took(core, typed(b"x" * 16384), f"n{number}") == ""
    assert took(core, typed(b"", end=True), "end") == ""
    ready.touch()
    core.expect("exited")
    assert output(shim).strip() == str(7 * 16384).encode()


# -- a terminal ---------------------------------------------------------------------------------------------------


FACTS = """
import json, os, fcntl, struct, termios
rows, columns = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\\0" * 8))[:2]
names = [os.ttyname(fd) for fd in (0, 1, 2)]
print(json.dumps({"names": names, "size": [columns, rows], "leader": os.getsid(0) == os.getpid(),
                  "foreground": os.tcgetpgrp(0) == os.getpgrp(), "tty": os.open("/dev/tty", os.O_RDWR) > 2}))
"""


def test_a_job_with_a_terminal_leads_its_session_in_the_foreground_of_80x24(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, python(FACTS)))
    assert core.expect("exited").get("code") == 0, output(shim)
    facts = json.loads(output(shim))
    assert len(set(facts["names"])) == 1
    assert facts["names"][0].startswith("/dev/pts/")
    assert (facts["size"], facts["leader"], facts["foreground"], facts["tty"]) == ([80, 24], True, True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_terminal_belongs_to_the_user_of_the_job(shim: Shim, core: Core) -> None:
    words = 'stat -c %u "$(tty)" && : >"$(tty)" && : <"$(tty)"'
    core.order(tty_order(shim, shell(words), uid=65534, gid=65534, cwd="/"))
    assert core.expect("exited").get("code") == 0, output(shim)
    assert output(shim) == b"65534\r\n"


def test_the_last_words_on_a_terminal_are_logged_before_the_exit_is_told(shim: Shim, core: Core) -> None:
    for run in range(1, 31):
        core.order(tty_order(shim, shell(f"printf 'last words of %s' {run}; exit 7"), run=run))
        assert core.expect("exited", run=run)["code"] == 7
        assert output(shim).endswith(f"last words of {run}".encode())


def test_ctrl_c_typed_at_a_terminal_interrupts_the_job(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, shell("trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.02; done")))
    wait_for(lambda: b"up" in output(shim), "it is there")
    assert took(core, typed("\x03"), "a") == ""
    assert core.expect("exited")["code"] == 3
    assert b"caught" in output(shim)


def test_the_size_of_a_terminal_can_be_changed_and_the_job_is_told(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, shell("trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done")))
    wait_for(lambda: b"up" in output(shim), "it is there")
    core.order({"t": "resize", "key": "job:0", "run": 1, "columns": 101, "rows": 33})
    wait_for(lambda: b"33 101" in output(shim), "the new size")
    core.order({"t": "resize", "key": "job:0", "run": 1, "columns": 101, "rows": 33, "redraw": True})
    wait_for(lambda: output(shim).count(b"33 101") >= 2, "told again, though it is the same")


def test_only_the_last_64_kib_are_kept_and_they_are_told_with_their_offset(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, python("print('y' * 300000); print('end')\nimport time; time.sleep(100)")))
    wait_for(lambda: output(shim).endswith(b"end\r\n"), "all of it")
    told = screen(core, "s")
    data = base64.b64decode(told["data"])
    assert len(data) == 1 << 16
    assert data.endswith(b"yyy\r\nend\r\n")
    assert told["offset"] + len(data) == 300000 + 2 + 5
    rest = screen(core, "t", since=told["offset"] + len(data) - 3)
    assert base64.b64decode(rest["data"]) == b"d\r\n"


def test_output_is_told_at_once_to_whoever_attends_and_to_nobody_else(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, ["/bin/cat"]), tty_order(shim, ["/bin/cat"], "deaf:0"))
    core.expect("spawned", key="deaf:0")
    told = screen(core, "s")
    assert told["offset"] == 0
    core.order(typed("hello\r"), typed("hello\r", key="deaf:0"))
    wait_for(lambda: painted(core).count(b"hello") == 2, "the echo, and what cat writes")
    wait_for(lambda: output(shim, "deaf/0.out").count(b"hello") == 2, "the other one in its log")
    assert not core.all("output", key="deaf:0")
    core.order({"t": "attend", "key": "job:0", "run": 1, "on": False}, typed("more\r"))
    wait_for(lambda: output(shim).count(b"more") == 2, "it goes on")
    assert b"more" not in painted(core)


def test_what_a_viewer_sends_again_is_typed_once(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, shell("stty -echo; echo up; cat")))
    wait_for(lambda: b"up" in output(shim), "it is there")
    core.order(*(typed(f"{n}\n", lease="me", n=n) for n in (1, 2, 2, 1, 3)))
    wait_for(lambda: b"3" in output(shim), "the last one")
    assert output(shim).split() == [b"up", b"1", b"2", b"3"]
    assert screen(core, "s", lease="me")["heard"] == 3


def test_P12_a_flood_on_a_terminal_does_not_fill_the_wire_to_a_core_that_does_not_read(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, shell("echo up; exec yes 'a line of a flood'"), out=NULL))
    core.expect("spawned")
    screen(core, "s")
    wait_for(lambda: int(screen(core, "x").get("offset", 0)) > 5_000_000 or core.reports.clear(), "megabytes")
    rss = int(Path(f"/proc/{shim.pid}/statm").read_text().split()[1]) * 4096
    assert rss < 40 << 20


def test_G1_a_terminal_and_its_job_outlive_the_core(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, ["/bin/cat"]))
    pid = core.expect("spawned")["pid"]
    screen(core, "s")
    core.order(typed("before\r"))
    wait_for(lambda: painted(core).count(b"before") == 2, "the echo")
    os.kill(core.pid, signal.SIGKILL)
    second = shim.open()
    assert alive(pid)
    told = screen(second, "s")
    assert base64.b64decode(told["data"]).count(b"before") == 2
    second.order(typed("after\r"))
    wait_for(lambda: painted(second).count(b"after") == 2, "the echo at the next core")


def test_output_to_nowhere_is_still_to_be_seen(shim: Shim, core: Core) -> None:
    core.order(tty_order(shim, shell("echo seen; exec sleep 100"), out=NULL))
    core.expect("spawned")
    wait_for(lambda: b"seen" in base64.b64decode(screen(core, f"s{len(core.reports)}")["data"]), "on the screen")


def test_terminals_of_one_file_append_whole_lines(shim: Shim, core: Core) -> None:
    path = str(shim.path / "shared.log")
    words = shell("for i in 1 2 3 4 5 6 7 8 9; do printf aaaa; printf 'bbbb\\n'; done")
    core.order(*(tty_order(shim, words, f"t:{n}", out=sink(shim, path, f"t:{n}")) for n in range(4)))
    for n in range(4):
        core.expect("exited", key=f"t:{n}")
    assert Path(path).read_bytes().split() == [b"aaaabbbb"] * 36


def test_descriptors_of_terminals_are_given_back(shim: Shim, core: Core) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{shim.pid}/fd"))

    core.order(tty_order(shim, ["/bin/true"], run=1))
    core.expect("exited", run=1)
    before = descriptors()
    for run in range(2, 12):
        core.order(tty_order(shim, ["/bin/cat"], run=run), typed("x\r\x04", run=run))
        core.expect("exited", run=run)
        core.order(spawn_order(shim, ["/bin/cat"], "pipe:0", run, stdin="pipe"), typed("", "pipe:0", run, end=True))
        core.expect("exited", key="pipe:0", run=run)
    core.order(tty_order(shim, ["/no/such/program"], run=20), spawn_order(shim, ["/no"], run=21, stdin="pipe"))
    core.expect("failed", run=20)
    core.expect("failed", run=21)
    wait_for(lambda: descriptors() <= before, "as many as before")


def test_a_child_that_runs_on_keeps_its_terminal_until_the_end(shim: Shim, core: Core) -> None:
    stay = shell(f"trap '' HUP; {' '.join(program('sleeper'))} & echo gone; exit 0")
    core.order(tty_order(shim, stay, killgroup=False))
    assert core.expect("exited")["code"] == 0
    assert b"gone" in output(shim)
    core.order({"t": "kill", "key": "job:0", "run": 1, "tree": True})
    wait_for(lambda: not [pid for pid in shim.marked() if pid not in (shim.pid, core.pid)], "the rest is gone")
