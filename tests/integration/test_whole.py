"""The smallest whole: start, status, a death of the core, down, and nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Daemon, alive, children_of, cmdline_of, stat_of

Start = Callable[..., Daemon]
SLEEPERS = '[[task]]\nname = "web"\ncmd = "sleep 1000"\nnumprocess = 2\n'


def test_start_and_end_leave_nothing_behind(daemon: Start) -> None:
    it = daemon(SLEEPERS)
    pids = [it.wait_state(key, "running").pid for key in ("web:0", "web:1")]
    assert [cmdline_of(pid) for pid in pids if pid] == [["sleep", "1000"]] * 2
    assert it.stop() == 0
    assert not any(alive(pid) for pid in pids if pid)
    assert it.leftovers() == []


def test_what_was_started_is_the_shim_and_the_parent_of_all(daemon: Start) -> None:
    it = daemon(SLEEPERS)
    pid = it.wait_state("web:0", "running").pid
    assert pid is not None
    assert it.status()["core"]["shim_pid"] == it.shim_pid
    assert {pid, it.core_pid} <= set(children_of(it.shim_pid))
    assert stat_of(pid)[3] == str(pid), "a session of its own"


def test_L01_jobs_keep_their_pids_when_the_core_is_killed(daemon: Start) -> None:
    it = daemon(SLEEPERS)
    it.wait_state("web:0", "running")
    before = it.pids()
    killed = it.kill_core()
    assert it.core_pid != killed
    assert it.pids() == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_to_the_main_process_stops_everything(daemon: Start, signum: int) -> None:
    it = daemon(SLEEPERS)
    it.wait_state("web:1", "running")
    os.kill(it.shim_pid, signum)
    assert it.process is not None
    assert it.process.wait(20) == 0


def test_the_seeds_own_config_runs(daemon_for: Start) -> None:
    it = daemon_for("")
    seed = (Path(__file__).resolve().parents[2] / "config" / "seed.toml").read_text()
    it.write_config(seed.replace('"/tmp', f'"{it.dir}'))  # its paths are fixed ones; nothing else is touched
    it.start()
    it.wait(lambda: all(view.state == "exited" for view in it.procs()), what="42 have said bar")
    assert [view.key for view in it.procs()] == [f"write bar:{index}" for index in range(42)]
    assert (it.dir / "foo.out").read_text() == "bar\n" * 42
