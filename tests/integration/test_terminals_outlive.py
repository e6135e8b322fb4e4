"""Terminals and pipes for input outlive the shim: the core keeps copies and hands them to the next one (G5, G6)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.errors import Refused
from tests.harness import Daemon, alive, wait_until
from tests.integration.test_attach import CAT, ECHO, PIPE, attach  # noqa: F401 - a fixture
from tests.terminal import RawTerminal

Start = Callable[..., Daemon]
Attach = Callable[..., RawTerminal]

CLOCK = """
[[task]]
name = "clock"
cmd = ["python3", "-u", "-c", "import itertools, time\\nfor n in itertools.count(): print(n); time.sleep(0.02)"]
tty = true
stopdelay = 1
"""


def fds_of(pid: int) -> dict[str, int]:
    """Count what a process has open of ptys and of pipes."""
    counts = {"ptmx": 0, "pts": 0, "pipe": 0, "all": 0}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        counts["all"] += 1
        for kind in ("ptmx", "pts", "pipe"):
            counts[kind] += target.startswith((f"/dev/{kind}", f"/dev/pts/{kind}", f"{kind}:"))
    return counts


def grows(it: Daemon, key: str) -> None:
    """Wait until there is more output than now."""
    size = len(it.output(key))
    it.wait(lambda: len(it.output(key)) > size, what=f"{key} goes on writing")


def painted(it: Daemon, key: str = "cat:0", lease: str = "probe", **args: Any) -> str:
    _, raw = it.request_raw("attach", key, lease=lease, write=False, redraw=False, **args)
    return raw.decode()


def test_G05_a_job_with_a_terminal_lives_through_the_death_of_the_shim(daemon: Start) -> None:
    it = daemon(CLOCK)
    it.wait_state("clock:0", "running")
    grows(it, "clock:0")
    pid = it.proc("clock:0").pid
    it.kill_shim()
    view = it.proc("clock:0")
    assert (view.pid, view.run, view.state) == (pid, 1, "running")
    grows(it, "clock:0")
    it.request("stop", "clock:0")
    view = it.wait_state("clock:0", "stopped")
    numbers = [int(each) for each in it.output("clock:0").split()]
    assert numbers == sorted(set(numbers)), "into the same log, nothing twice"
    assert len(range(numbers[-1])) - len(numbers) < 100


def test_G05_typing_reaches_a_terminal_after_the_shim_was_killed_twice(daemon: Start) -> None:
    it = daemon(CAT)
    it.cli("send", "cat", "before")
    it.wait(lambda: it.output("cat:0").count("before") == 2)
    pid = it.proc("cat:0").pid
    for number in range(2):
        it.kill_shim()
        assert it.proc("cat:0").pid == pid
        assert it.cli("send", "cat", f"after {number}").returncode == 0
        it.wait(lambda number=number: it.output("cat:0").count(f"after {number}") == 2)
    assert it.output("cat:0").count("before") == 2


def test_G05_the_last_screen_is_there_again_after_the_death_of_the_shim(daemon: Start) -> None:
    """The shim's memory of a screen dies with it; the end of the log takes its place."""
    it = daemon(CAT.replace("stopdelay", 'restart = "always"\nstopdelay'))
    it.cli("send", "cat", "of the run before")
    it.wait(lambda: it.output("cat:0").count("before") == 2)
    it.wait(lambda: it.proc("cat:0").run == 1 and it.request("send", "cat", text="", end=True))
    it.wait(lambda: it.proc("cat:0").run == 2 and it.proc("cat:0").state == "running")
    it.cli("send", "cat", "of this run")
    it.wait(lambda: it.output("cat:0").count("of this run") == 2)
    it.kill_shim()
    assert painted(it).count("of this run") == 2
    assert "before" not in painted(it)


def test_G05_the_size_of_a_terminal_is_kept_through_the_death_of_the_shim(daemon: Start) -> None:
    it = daemon(CAT)
    it.request("attach", "cat", lease="one", columns=101, rows=33)
    it.wait(lambda: it.request("attach", "cat", lease="one", redraw=False)["size"] == [101, 33])
    it.kill_shim()
    assert it.request("attach", "cat", lease="two", write=False, redraw=False)["size"] == [101, 33]


def test_G05_who_is_attached_goes_on_after_the_shim_was_killed(daemon: Start, attach: Attach) -> None:  # noqa: F811
    it = daemon(ECHO)
    it.wait(lambda: "up" in it.output("echo:0"))
    pid = it.proc("echo:0").pid
    at = attach(it, "echo")
    at.wait_for("[attached")
    at.send("<before>")
    at.wait_for("<before>")
    it.kill_shim(wait=False)
    for number in range(6):
        at.send(f"<{number}>")
    at.wait_for("<5>", 20)
    at.send("<after>")
    at.wait_for("<after>", 20)
    it.wait(it.recovered)
    assert it.proc("echo:0").pid == pid
    text = it.output("echo:0")
    seen = re.findall(r"<\w+>", text)
    assert seen == sorted(set(seen), key=seen.index), "no key comes twice"
    assert seen[0] == "<before>"
    assert seen[-1] == "<after>"


def test_G05_an_end_of_a_job_with_a_terminal_is_told_after_the_shim_was_killed(daemon: Start) -> None:
    it = daemon(CAT.replace("stopdelay", 'restart = "never"\nstopdelay'))
    it.wait_state("cat:0", "running")
    it.kill_shim()
    it.request("send", "cat", text="bye\n", end=True)
    view = it.wait_state("cat:0", "exited", "fatal")
    assert it.output("cat:0").count("bye") == 2
    assert view.exit is not None
    assert view.exit.signal is None


def test_G05_a_pipe_for_input_lives_through_the_death_of_the_shim_and_has_an_end(daemon: Start) -> None:
    it = daemon(PIPE)
    assert it.cli("send", "pipe", "one").returncode == 0
    pid = it.proc("pipe:0").pid
    it.kill_shim()
    assert it.proc("pipe:0").pid == pid
    assert it.cli("send", "pipe", "two").returncode == 0
    it.kill_shim()
    assert it.cli("send", "pipe", "three", "--eof").returncode == 0
    it.wait_state("pipe:0", "exited", "fatal")
    assert it.output("pipe:0") == "one\ntwo\nthree\n"
    assert fds_of(it.core_pid)["pipe"] == 0


def test_G05_core_then_shim_are_killed_and_terminals_and_pipes_live_on(daemon: Start) -> None:
    it = daemon(CAT + PIPE)
    it.wait_state("cat:0", "running")
    it.wait_state("pipe:0", "running")
    before = it.pids()
    it.kill_core()
    it.kill_shim()
    it.kill_core()
    it.kill_shim()
    assert it.pids() == before
    for name in ("cat", "pipe"):
        assert it.cli("send", name, "heard").returncode == 0
        it.wait(lambda name=name: "heard" in it.output(f"{name}:0"))


def test_G05_two_hundred_runs_leave_no_descriptor_in_the_core(daemon: Start) -> None:
    """Copies are closed when the run is told to be over, whatever it had."""
    it = daemon(
        """
[[task]]
name = "brief"
cmd = "true"
tty = true
restart = "never"
numprocess = 10
[[task]]
name = "piped"
cmd = "true"
stdin = "pipe"
restart = "never"
numprocess = 10
[[task]]
name = "absent"
cmd = "/no/such/program"
tty = true
restart = "never"
"""
    )

    def over() -> bool:
        return all(each.state in ("exited", "fatal") for each in it.procs())

    it.wait(over)
    core, shim = fds_of(it.core_pid), fds_of(it.shim_pid)
    for _ in range(10):
        it.request("start", "all", wait=False)
        it.wait(over)
    assert sum(each.run for each in it.procs()) >= 200
    after = fds_of(it.core_pid)
    assert (after["ptmx"], after["pts"], after["pipe"]) == (core["ptmx"], core["pts"], core["pipe"])
    assert after["ptmx"] == after["pts"] == 0
    assert abs(fds_of(it.shim_pid)["all"] - shim["all"]) <= 3  # log files are opened when they are written


def test_G06_a_terminal_does_not_outlive_both_and_the_end_says_so(daemon: Start, tmp_path: Path) -> None:
    it = daemon(CAT.replace("stopdelay", 'restart = "never"\nstopdelay') + PIPE)
    it.wait_state("cat:0", "running")
    it.wait_state("pipe:0", "running")
    pids = it.pids()
    it.kill_both()
    wait_until(lambda: not any(alive(pid) for pid in pids.values() if pid), what="both jobs have ended")
    it.start()
    it.wait(lambda: it.events("exited", "cat:0") and it.events("exited", "pipe:0"))
    told = it.events("exited", "cat:0")[-1].data
    assert "its terminal was lost with the shim" in told["message"], told
    assert "its input ended with the shim" in it.events("exited", "pipe:0")[-1].data["message"]


def test_G06_who_attaches_to_a_job_without_its_terminal_is_told_so(daemon: Start) -> None:
    it = daemon(
        CAT.replace('"cat"\ntty', """"sh -c 'trap \\"\\" HUP; echo deaf; sleep 1000 & wait; sleep 1000'"\ntty""")
    )
    it.wait(lambda: "deaf" in it.output("cat:0"))
    pid = it.proc("cat:0").pid
    it.kill_both()
    it.start()
    assert it.wait_state("cat:0", "running").pid == pid
    with pytest.raises(Refused, match="without its terminal"):
        it.request("attach", "cat", lease="one")
    it.request("restart", "cat")
    assert it.request("attach", "cat", lease="one")["write"]


@pytest.mark.parametrize("kind", ["tty = true", 'stdin = "pipe"'])
def test_G05_a_reload_of_the_log_holds_for_an_adopted_terminal(daemon: Start, tmp_path: Path, kind: str) -> None:
    it = daemon(CAT.replace("tty = true", kind))
    it.wait_state("cat:0", "running")
    pid = it.proc("cat:0").pid
    it.kill_shim()
    it.write_config(CAT.replace("tty = true", f'{kind}\nstdout = "{tmp_path}/other"'))
    it.request("reload")
    it.wait(lambda: "other" in (it.statedir / "runs" / "cat%3A0.now").read_text(), what="the shim has switched")
    assert it.proc("cat:0").pid == pid
    it.kill_shim()
    it.cli("send", "cat", "elsewhere")
    it.wait(lambda: "elsewhere" in (tmp_path / "other").read_text())
    assert it.proc("cat:0").pid == pid
