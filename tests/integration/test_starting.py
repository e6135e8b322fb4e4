"""Starts on real processes: by config, by command, many at a time, again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.harness import Daemon, alive, children_of, cmdline_of, status_field
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, running, story, words

SLEEP = words("sleep", "1000")
JOBS = [
    job("idle", SLEEP, autostart="false", tags='["byhand"]'),
    job("idle too", SLEEP, autostart="false", tags='["byhand"]'),
    job("ripening", SLEEP, autostart="false", successdelay='"400ms"'),
    job("failing", words("false"), autostart="false", retry="0", successdelay="5"),
    job("broken", words("/no/such/program"), autostart="false", retry="0"),
    job("brief", words("true"), autostart="false"),
    job("up", SLEEP),
    job("patient", words("/no/such"), retry='"forever"', backoff="{first = 600, max = 600}"),
    job("wide", SLEEP, numprocess="2"),
    job("talks", words("sh", "-c", "echo run $TASKMASTER_RUN; exec sleep 1000")),
]


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    with running("\n".join(JOBS)) as started:
        yield started


# By command ----------------------------------------------------------------------------------------------------------


def test_start_starts_what_a_tag_means(it: Daemon) -> None:
    told = it.cli("start", "@byhand")
    assert told.returncode == 0, told.stderr
    assert {view.state for view in it.procs("idle", "idle too")} == {"running"}


def test_start_waits_for_successdelay(it: Daemon) -> None:
    began = time.monotonic()
    assert it.cli("start", "ripening").returncode == 0
    assert time.monotonic() - began >= 0.4
    assert it.proc("ripening:0").state == "running"


def test_start_no_wait_does_not(it: Daemon) -> None:
    it.request("stop", "ripening")
    assert it.cli("start", "--no-wait", "ripening").returncode == 0
    it.wait_state("ripening:0", "running")


@pytest.mark.parametrize("name", ["failing", "broken"])
def test_start_of_what_gives_up_is_not_as_asked(it: Daemon, name: str) -> None:
    told = it.cli("start", name)
    assert told.returncode == 1
    assert it.proc(f"{name}:0").state == "fatal"
    assert name in told.stdout + told.stderr


def test_start_of_what_ends_as_expected_is_as_asked(it: Daemon) -> None:
    assert it.cli("start", "brief").returncode == 0
    assert it.wait_state("brief:0", "exited").run == 1


def test_start_of_what_runs_is_done_and_changes_nothing(it: Daemon) -> None:
    before = it.wait_state("up:0", "running").pid
    assert it.cli("start", "up").returncode == 0
    assert it.proc("up:0").pid == before


def test_start_in_backoff_does_not_wait_for_its_end(it: Daemon) -> None:
    it.wait_state("patient:0", "backoff")
    run = it.proc("patient:0").run
    it.request("start", "patient", wait=False)
    it.wait(lambda: it.proc("patient:0").run == run + 1, what="another try at once")


def test_restart_is_another_process_of_the_next_run(it: Daemon) -> None:
    before = it.wait_state("talks:0", "running")
    assert it.cli("restart", "talks").returncode == 0
    after = it.proc("talks:0")
    assert (after.run, after.state) == (before.run + 1, "running")
    assert before.pid is not None
    assert not alive(before.pid)
    it.wait(lambda: it.output("talks:0").endswith(f"run {after.run}\n"), what="the log goes on over runs")


def test_scale_adds_and_removes_the_highest(it: Daemon) -> None:
    it.wait_state("wide:1", "running")
    before = it.pids("wide")
    assert it.cli("scale", "wide=5").returncode == 0
    assert [view.state for view in it.procs("wide")] == ["running"] * 5
    assert it.cli("scale", "wide=2").returncode == 0
    assert it.pids("wide") == before


def test_pids_in_status_are_the_commands_themselves(it: Daemon) -> None:
    view = it.wait_state("up:0", "running")
    assert view.pid in children_of(it.shim_pid)
    assert cmdline_of(view.pid or 0) == ["sleep", "1000"]


def test_a_start_is_told_with_its_cause(it: Daemon) -> None:
    it.request("stop", "up")
    it.request("start", "up")
    (_, again) = it.events("started", "up:0")
    assert again.data["run"] == 2
    assert story(it, "up:0") == ["started", "stopping", "stopped", "started"]


# Many, and often -----------------------------------------------------------------------------------------------------


def test_a_thousand_processes_start_and_stop(daemon: Start) -> None:
    it = daemon(job("many", SLEEP, numprocess="1000"))
    assert it.request("wait", "many", timeout=50, **{"for": "running"})["ok"]
    pids = [pid for pid in it.pids("many").values() if pid]
    assert len(set(pids)) == 1000
    assert {tuple(cmdline_of(pid)) for pid in pids} == {("sleep", "1000")}
    assert it.request("stop", "many", timeout=30)["ok"]
    assert not any(alive(pid) for pid in pids)
    assert children_of(it.shim_pid) == [it.core_pid]


def descriptors(it: Daemon) -> tuple[int, int]:
    """Return how many descriptors shim and core hold."""
    return len(os.listdir(f"/proc/{it.shim_pid}/fd")), len(os.listdir(f"/proc/{it.core_pid}/fd"))


def memory(pid: int) -> int:
    """Return a process's resident memory in KiB."""
    return int(status_field(pid, "VmRSS").split()[0])


def test_R02_many_starts_and_stops_keep_nothing_open(daemon: Start) -> None:
    it = daemon(job("many", SLEEP, numprocess="20") + job("fails", words("/no/such"), autostart="false", retry="0"))
    core = it.core_pid
    for _ in range(3):  # what grows once, grows here
        it.request("restart", "many")
        it.request("start", "fails")
    before, held = descriptors(it), (memory(it.shim_pid), memory(core))
    for _ in range(12):
        it.request("restart", "many")
        it.request("start", "fails")
    it.wait(
        lambda: all(now <= then for now, then in zip(descriptors(it), before, strict=True)), what="no more are open"
    )
    assert memory(it.shim_pid) - held[0] < 1_500
    assert memory(core) - held[1] < 4_000
    assert it.core_pid == core


def test_the_states_of_a_long_start_are_told_on_the_way(daemon: Start) -> None:
    it = daemon(job("slow", cmd("sleeper.py"), successdelay="30"))
    view = it.wait_state("slow:0", "starting")
    assert view.pid is not None
    assert it.cli("status").returncode == 0
    assert "starting" in it.cli("status").stdout
