"""Stopping the whole tree, with control groups and without (RELIABILITY L20 to L26, L35)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.shim_harness import Core, Report, Shim, alive, output, program, sink, spawn_order, wait_for


@pytest.fixture(params=["cgroup", "sweep"])
def shim(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shim]:
    options = ["--no-cgroup"] if request.param == "sweep" else []
    shim = Shim(tmp_path, *options)
    yield shim
    shim.close()


@pytest.fixture
def core(shim: Shim) -> Core:
    return shim.open()


def stop(core: Core, run: int = 1, **fields: object) -> None:
    core.order({"t": "signal", "key": "job:0", "run": run, "sig": 15, "group": True, "stopping": True, **fields})


def kill(core: Core, run: int = 1, tree: bool = True) -> None:
    core.order({"t": "kill", "key": "job:0", "run": run, "tree": tree})


def pids_in(shim: Shim, count: int = 1) -> list[int]:
    """Return the pids that the job wrote to its output, waiting for them."""
    wait_for(lambda: len(output(shim).split()) >= count and output(shim).endswith(b"\n"))
    return [int(word) for word in output(shim).split()[:count]]


def begin(shim: Shim, core: Core, argv: list[str], **fields: object) -> int:
    core.order(spawn_order(shim, argv, **fields))  # type: ignore[arg-type]
    pid: int = core.expect("spawned")["pid"]
    return pid


def survivors(shim: Shim, core: Core) -> list[int]:
    return [pid for pid in shim.marked() if pid not in (shim.pid, core.pid)]


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_L20_a_process_that_ignores_term_lives_until_it_is_killed(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("stubborn"))
    wait_for(lambda: output(shim) == b"ready\n")
    stop(core)
    core.receive(0.2)
    assert alive(pid)
    kill(core)
    report = core.expect("exited")
    assert (report["signal"], report["lingering"], report["swept"]) == (9, 0, [])
    assert not alive(pid)


def test_L21_the_stop_is_told_only_when_the_group_is_empty(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("forker"))
    child = pids_in(shim)[0]
    stop(core)
    wait_for(lambda: not alive(pid))
    core.receive(0.2)
    assert alive(child)
    assert not core.all("exited")
    kill(core)
    report = core.expect("exited")
    assert report["signal"] == signal.SIGTERM
    assert not alive(child)


def test_L21_a_group_that_ends_by_itself_after_its_leader_is_told_then(shim: Shim, core: Core) -> None:
    argv = ["sh", "-c", "trap 'exit 4' TERM; (trap '' TERM; echo x; sleep 0.3) & while :; do sleep 0.05; done"]
    begin(shim, core, argv)
    wait_for(lambda: output(shim) == b"x\n")
    stop(core)
    report = core.expect("exited")
    assert (report["code"], report["lingering"]) == (4, 0)
    assert survivors(shim, core) == []


def test_L22_what_left_the_group_is_killed_at_once_and_named(shim: Shim, core: Core) -> None:
    begin(shim, core, program("daemoniser"))
    left = pids_in(shim, 2)
    stop(core)
    report = core.expect("exited")
    assert report["signal"] == signal.SIGTERM
    assert sorted(pid for pid, _ in report["swept"]) == sorted(left)
    assert {comm for _, comm in report["swept"]} == {Path("/proc/self/comm").read_text().strip()[:15]} or report[
        "swept"
    ]
    assert survivors(shim, core) == []


def test_L22_a_kill_reaches_the_whole_tree_at_once(shim: Shim, core: Core) -> None:
    begin(shim, core, program("daemoniser"))
    left = pids_in(shim, 2)
    kill(core)
    report = core.expect("exited")
    assert report["signal"] == signal.SIGKILL
    assert sorted(pid for pid, _ in report["swept"]) == sorted(left)
    assert survivors(shim, core) == []


def test_L23_a_mole_that_forks_away_without_end_is_caught(shim: Shim, core: Core) -> None:
    begin(shim, core, program("mole"))
    wait_for(lambda: output(shim) == b"digging\n")
    stop(core)
    core.receive(0.05)
    kill(core)
    core.expect("exited", seconds=10)
    assert survivors(shim, core) == []


def test_L23_a_mole_whose_leader_is_gone_is_caught_by_the_stop(shim: Shim, core: Core) -> None:
    begin(shim, core, ["sh", "-c", " ".join(program("mole")) + " & sleep 0.1; exit 0"])
    wait_for(lambda: output(shim) == b"digging\n")
    told = core.expect("exited")
    assert told["code"] == 0
    kill(core)
    core.expect("exited", lingering=0, seconds=10)
    assert survivors(shim, core) == []


def test_L24_a_leader_that_leaves_a_daemon_behind_is_told_with_what_lingers(shim: Shim, core: Core) -> None:
    begin(shim, core, program("daemoniser", "exit"))
    left = pids_in(shim, 2)
    report = core.expect("exited")
    assert (report["code"], report["lingering"]) == (0, 2)
    assert sorted(pid for pid, _ in report["left"]) == sorted(left)
    assert all(alive(pid) for pid in left)
    kill(core)
    again = core.expect("exited", lingering=0)
    assert (again["code"], again["pid"], again["at"]) == (0, report["pid"], report["at"])
    assert survivors(shim, core) == []


def test_L24_what_only_a_shim_before_us_knew_is_told_to_be_gone_when_it_is_to_be_killed(core: Core) -> None:
    for _ in range(2):
        core.order({"t": "kill", "key": "old:0", "run": 7, "tree": True})
    assert core.expect("exited", key="old:0", run=7)["lingering"] == 0
    core.receive(0.1)
    assert len(core.all("exited")) == 1


def test_L24_a_lingering_run_that_ends_takes_no_record_of_the_next_run_with_it(shim: Shim, core: Core) -> None:
    """Its descendants may have closed the lock, as daemons do; the file of that name is another run's then."""
    helper = "import os, time\nif os.fork(): os._exit(0)\nos.closerange(3, 4096)\ntime.sleep(0.6)"
    begin(shim, core, [*program("whoami")[:3], "-c", helper], killgroup=False)
    assert core.expect("exited", run=1)["lingering"] == 1
    begin(shim, core, program("sleeper"), run=2, killgroup=False)
    core.expect("spawned", run=2)
    core.expect("exited", run=1, lingering=0)
    assert [path.name for path in (shim.state / "runs").glob("*.lock")] == ["job%3A0.lock"]
    kill(core, run=2)


def test_L24_what_lingers_and_ends_by_itself_is_told_once(shim: Shim, core: Core) -> None:
    begin(shim, core, ["sh", "-c", "sleep 0.3 & exit 5"])
    assert core.expect("exited")["lingering"] == 1
    assert core.expect("exited", lingering=0)["code"] == 5
    kill(core)
    core.receive(0.1)
    assert len(core.all("exited")) == 2


def test_L24_a_new_run_may_begin_beside_what_an_old_one_left(shim: Shim, core: Core) -> None:
    begin(shim, core, ["sh", "-c", "sleep 60 & exit 0"])
    core.expect("exited", lingering=1)
    core.order(spawn_order(shim, program("sleeper"), run=2))
    core.expect("spawned", run=2)
    kill(core, run=1)
    core.expect("exited", run=1, lingering=0)
    assert alive(core.expect("spawned", run=2)["pid"])
    assert [path.name for path in (shim.state / "runs").iterdir()] == ["job%3A0.lock"]


def test_L25_a_grandchild_that_holds_stdout_neither_delays_the_exit_nor_loses_output(shim: Shim, core: Core) -> None:
    begin(shim, core, ["sh", "-c", "echo first; (sleep 0.3; echo late) & exit 3"])
    report = core.expect("exited")
    assert report["code"] == 3
    assert report["lingering"] in (1, 2)  # the subshell and its sleep, if that has begun
    assert output(shim) == b"first\n"
    core.expect("exited", lingering=0)
    assert output(shim) == b"first\nlate\n"


def test_L26_a_process_that_closes_its_output_runs_on_and_costs_nothing(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("closer"))
    wait_for(lambda: output(shim) == b"bye\n")
    core.receive(0.1)
    before = cpu_ticks(shim.pid)
    core.receive(0.5)
    assert alive(pid)
    assert cpu_ticks(shim.pid) - before <= 2
    kill(core)
    core.expect("exited")


def test_L27_a_stopped_process_ends_at_the_stop_signal(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("sleeper"))
    wait_for(lambda: output(shim) == b"ready\n")
    core.order({"t": "signal", "key": "job:0", "run": 1, "sig": signal.SIGSTOP, "group": True, "stopping": False})
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    stop(core)
    assert core.expect("exited")["signal"] == signal.SIGTERM


def test_L35_a_job_that_signals_its_group_touches_nobody_else(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("sleeper"), "other:0"))
    other = core.expect("spawned", key="other:0")["pid"]
    core.order(spawn_order(shim, ["sh", "-c", "kill -9 0; sleep 60"]))
    assert core.expect("exited", key="job:0")["signal"] == signal.SIGKILL
    assert alive(other)
    assert shim.process.poll() is None


def test_killgroup_false_ends_the_leader_and_names_what_it_leaves(shim: Shim, core: Core) -> None:
    begin(shim, core, program("forker"), killgroup=False)
    child = pids_in(shim)[0]
    stop(core, group=False)
    report = core.expect("exited")
    assert (report["lingering"], [pid for pid, _ in report["left"]], report["swept"]) == (1, [child], [])
    assert alive(child)
    os.kill(child, signal.SIGKILL)
    core.expect("exited", lingering=0)


def test_a_kill_of_the_leader_alone_leaves_the_rest(shim: Shim, core: Core) -> None:
    begin(shim, core, program("forker"), killgroup=False)
    child = pids_in(shim)[0]
    kill(core, tree=False)
    assert core.expect("exited")["lingering"] == 1
    assert alive(child)
    kill(core)
    core.expect("exited", lingering=0)


def test_a_signal_before_the_exec_reaches_the_program(shim: Shim, core: Core) -> None:
    term = {"t": "signal", "key": "job:0", "run": 1, "sig": 15, "group": True, "stopping": True}
    core.order(spawn_order(shim, program("sleeper")), term)
    assert core.expect("exited")["signal"] == signal.SIGTERM
    assert [report["t"] for report in core.reports if "key" in report] == ["spawned", "exited"]


def test_a_kill_before_the_exec_ends_the_run(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, program("sleeper")), {"t": "kill", "key": "job:0", "run": 1, "tree": True})
    assert core.expect("exited")["signal"] == signal.SIGKILL


def test_strangers_given_to_the_shim_are_reaped(shim: Shim, core: Core) -> None:
    begin(shim, core, ["sh", "-c", "(setsid sh -c 'sleep 0.1' &) ; sleep 60"])
    wait_for(lambda: not _zombies_of(shim.pid) and not _strangers(shim, core))
    assert not core.all("exited")


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _zombies_of(pid: int) -> list[int]:
    return [child for child in _children(pid) if not alive(child)]


def _strangers(shim: Shim, core: Core) -> list[int]:
    known = {core.pid, *(report["pid"] for report in core.all("spawned"))}
    return [child for child in _children(shim.pid) if child not in known]


def test_a_hundred_stops_take_a_moment(shim: Shim, core: Core) -> None:
    null = {"kind": "null"}
    core.order(*(spawn_order(shim, ["sleep", "600"], f"h:{n}", out=null, err=null) for n in range(100)))
    wait_for(lambda: len(core.all("spawned")) == 100)
    before = time.monotonic()
    signal_all: list[Report] = [
        {"t": "signal", "key": f"h:{n}", "run": 1, "sig": 15, "group": True, "stopping": True} for n in range(100)
    ]
    core.order(*signal_all)
    wait_for(lambda: len(core.all("exited")) == 100)
    assert time.monotonic() - before < 3.0


def test_leaves_of_the_control_group_are_removed(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("sleeper"), out=sink(shim, "x"))
    where = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1]
    kill(core)
    core.expect("exited")
    if "taskmaster-test-" not in where:
        return
    leaf = where.partition("::")[2]
    mount = next(
        line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2" in line
    )
    assert not Path(mount + leaf).exists()
    core.order({"t": "bye", "code": 0})
    core.tell("exit 0")
    assert shim.wait() == 0
    assert not Path(mount + leaf).parent.exists()
