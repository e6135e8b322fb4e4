"""Descendants of real processes: shown while they run, named when left or killed, never given to another run."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.wire import Event
from tests.harness import Daemon, alive, cmdline_of, stat_of, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, running, words

KNOWS_A_SECRET = "setsid sh -c 'sleep 1002; : --password=hunter2' & echo $!; exec sleep 1003"

JOBS = [
    job("escaped", cmd("daemoniser.py"), stopdelay='"1s"'),
    job("gone", cmd("daemoniser.py", "exit"), restart='"never"'),
    # of these something outlives the daemon, as promised: only the tests that end it start them
    job("alone", cmd("forker.py"), killgroup="false", autostart="false"),
    job("again", cmd("forker.py"), killgroup="false", autostart="false"),
    job("bare", cmd("daemoniser.py", "bare"), autostart="false"),
    job("group", cmd("forker.py"), stopdelay='"200ms"'),
    job("held", cmd("daemoniser.py", "held")),
    job("spoken", cmd("daemoniser.py", "spoken")),
    job("secret", words("sh", "-c", KNOWS_A_SECRET)),
    job("halted", words("sleep", "1000")),
    job("frozen", words("sleep", "1000"), stopdelay='"5s"'),
    job("frozen deaf", cmd("stubborn.py"), stopdelay='"300ms"'),
]  # fmt: skip


@pytest.fixture(scope="module", params=["cgroup", "sweep"])
def it(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with running("\n".join(JOBS), args=("--no-cgroup",) if request.param == "sweep" else ()) as started:
        yield started


def pids_of(it: Daemon, key: str, run: int = 1) -> list[int]:
    """Return the pids that a job wrote, the last line of its output once there are so many."""
    it.wait(lambda: it.output(key).count("\n") >= run, what=f"{key} has written {run} lines")
    return [int(word) for word in it.output(key).splitlines()[run - 1].split()]


def stop(it: Daemon, name: str) -> Event:
    """Stop a job; return the event: of one that had ended it is that the rest has been cleared away."""
    it.request("stop", name)
    return [each for each in it.events(key=f"{name}:0") if each.type in ("stopped", "cleared")][-1]


def relatives(it: Daemon, key: str) -> dict[int, dict[str, Any]]:
    """Return the descendants on their own that `show` tells of."""
    (entry,) = it.request("show", key)["jobs"]
    return {each["pid"]: each for each in entry["trees"].get(key, {}).get("relatives", ())}


def away(it: Daemon, key: str) -> int | None:
    """Return how many `status` says have left the group."""
    (entry,) = it.request("status", key, usage=True)["jobs"]
    number: int | None = entry["processes"][0]["away"]
    return number


def counted_away(it: Daemon, key: str) -> int:
    """Return the first number that there is of this run: a sample of up to a second ago may be older than the run."""
    it.wait(lambda: away(it, key) is not None, what=f"{key} is in a sample")
    found = away(it, key)
    assert found is not None
    return found


def chain(it: Daemon, key: str) -> str:
    """Return what `why` says."""
    (process,) = it.request("why", key)["processes"]
    return "\n".join(process["chain"])


def named(names: list[str]) -> set[int]:
    """Return the pids in "name (pid)"."""
    return {int(each.rpartition("(")[2].rstrip(")")) for each in names}


def shed(pids: list[int]) -> None:
    """Wait until descendants have shed what marks them: they have become another program by then."""
    wait_until(lambda: all(cmdline_of(pid)[:1] == ["sleep"] for pid in pids), what="they sleep")


def end(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@contextmanager
def started(it: Daemon, name: str, count: int = 1) -> Iterator[list[int]]:
    """Start a job that may outlive its stop, for its descendants' pids; add to them what is to be ended too."""
    it.request("start", name)
    pids = pids_of(it, f"{name}:0")
    try:
        assert len(pids) == count
        yield pids
    finally:
        end(*filter(alive, pids))


def leaf_of(pid: int) -> Path:
    """Return the control group of a process, or skip where the daemon made none."""
    name = next(line[3:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    if "/taskmaster-" not in name:
        pytest.skip("no control group is writable here, or this is the other path")
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line)
    mount, top = next((fields[4], fields[3]) for fields in mounts)
    return Path(mount + name.removeprefix(top.rstrip("/")))


# While it runs -------------------------------------------------------------------------------------------------------


def test_L22_what_left_the_group_is_counted_and_shown_while_it_runs(it: Daemon) -> None:
    pids = pids_of(it, "escaped:0")
    it.wait(lambda: away(it, "escaped:0") == 2, what="two have left")
    shown = relatives(it, "escaped:0")
    assert shown.keys() == set(pids)
    assert all("daemoniser.py" in each["command"] and not each["ended"] for each in shown.values())
    assert all(it.proc("escaped:0").since - 60 < each["started_at"] for each in shown.values())
    assert f"{pids[0]} " in chain(it, "escaped:0")
    assert "has left its group" in chain(it, "escaped:0")
    assert "2 left its group" in it.cli("status", "escaped").stdout
    assert f"{pids[1]} " in it.cli("show", "escaped").stdout


def test_L22_a_job_without_strays_shows_none(it: Daemon) -> None:
    it.wait(lambda: away(it, "halted:0") == 0, what="it was looked at")
    assert relatives(it, "halted:0") == {}


def test_a_descendant_is_shown_without_its_secrets(it: Daemon) -> None:
    pid = pids_of(it, "secret:0")[0]
    it.wait(lambda: "sleep 1002" in relatives(it, "secret:0").get(pid, {}).get("command", ""), what="it is seen")
    for op in ("show", "why"):
        assert "hunter2" not in str(it.request(op, "secret"))


def test_L24_what_outlives_its_main_process_is_shown_with_name_and_age(it: Daemon) -> None:
    pids = pids_of(it, "gone:0")
    it.wait_state("gone:0", "exited")
    ended = it.wait_event("exited", "gone:0")
    assert ended.data["lingering"] == 2
    assert {int(name.split()[0]) for name in ended.data["left"]} == set(pids)
    assert it.proc("gone:0").lingering == 2
    assert {pid for pid, each in relatives(it, "gone:0").items() if each["ended"]} == set(pids)
    assert f"{pids[0]} " in chain(it, "gone:0")
    assert "2 lingering" in it.cli("status", "gone").stdout
    assert named(stop(it, "gone").data["swept"]) == set(pids)
    assert not any(alive(pid) for pid in pids)
    assert it.proc("gone:0").lingering == 0


# What a stop leaves, and what it kills -------------------------------------------------------------------------------


def test_without_killgroup_a_stop_answers_with_what_still_runs(it: Daemon) -> None:
    with started(it, "alone") as (child,):
        told = it.cli("stop", "alone")
        assert told.returncode == 0
        assert f"1 process of it still runs: {child} " in told.stdout
        event = it.events("stopped", "alone:0")[-1]
        assert [int(name.split()[0]) for name in event.data["left"]] == [child]
        view = it.proc("alone:0")
        assert (view.state, view.lingering) == ("stopped", 1)
        assert f"1 of its descendants live on: {child} " in chain(it, "alone:0")
        checks = {each["name"]: each for each in it.request("doctor")["checks"]}
        assert f"alone:0: {child} " in checks["descendants"]["text"]
        assert alive(child)
    it.wait(lambda: it.proc("alone:0").lingering == 0, what="nothing is left")


def test_without_killgroup_the_next_run_is_not_given_what_the_last_one_left(it: Daemon) -> None:
    with started(it, "again") as pids:
        (old,) = pids
        assert counted_away(it, "again:0") == 0
        it.request("restart", "again")
        (new,) = pids_of(it, "again:0", 2)
        pids.append(new)
        shown = relatives(it, "again:0")
        assert {pid: (each["run"], each["ended"]) for pid, each in shown.items()} == {old: (1, True)}
        assert counted_away(it, "again:0") == 0
        assert it.proc("again:0").lingering == 0
        it.request("kill", "again")
        assert alive(old)
        assert alive(new)
        assert {pid: each["run"] for pid, each in relatives(it, "again:0").items()} == {old: 1, new: 2}


def test_L21_who_did_not_end_with_its_leader_is_named_when_it_was_killed(it: Daemon) -> None:
    (child,) = pids_of(it, "group:0")
    event = stop(it, "group")
    assert named(event.data["outlived"]) == {child}
    assert not alive(child)


@pytest.mark.parametrize("name", ["held", "spoken"])
def test_L22_what_cleared_its_environment_is_known_by_what_it_has_open(it: Daemon, name: str) -> None:
    pids = pids_of(it, f"{name}:0")
    shed(pids)
    assert relatives(it, f"{name}:0").keys() == set(pids)
    event = stop(it, name)
    assert not any(alive(pid) for pid in pids)
    assert named(event.data["swept"]) == set(pids)


def test_L22_what_shed_all_marks_is_killed_where_it_is_known_and_told_where_it_is_not(
    it: Daemon, request: pytest.FixtureRequest
) -> None:
    """A descendant without any mark dies with its run if it still had a parent there; else it is told, not killed."""
    with started(it, "bare", 2) as pids:
        shed(pids)
        (orphan,) = [pid for pid in pids if stat_of(pid)[1] == str(it.shim_pid)]
        stop(it, "bare")
        assert [pid for pid in pids if alive(pid) and pid != orphan] == []
        if "sweep" not in request.node.name:
            assert not alive(orphan)
            return
        told = it.wait(lambda: [each for each in it.events("stray") if each.data["pid"] == orphan], what="it is told")
        assert (told[0].data["comm"], len(told)) == ("sleep", 1)
        checks = {each["name"]: each for each in it.request("doctor")["checks"]}
        assert (checks["strays"]["ok"], f"{orphan} sleep 600" in checks["strays"]["text"]) == (False, True)
        assert alive(orphan)


# At the end of everything --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["cgroup", "sweep"])
def test_without_killgroup_an_end_of_everything_names_what_still_runs(daemon: Start, path: str) -> None:
    """`down` leaves of a job without killgroup what a stop of it leaves, and says so; of the others nothing."""
    jobs = [job("alone", cmd("forker.py"), killgroup="false"), job("group", cmd("forker.py"), stopdelay='"200ms"')]
    it = daemon("\n".join(jobs), args=("--no-cgroup",) if path == "sweep" else ())
    (child,), (other,) = pids_of(it, "alone:0"), pids_of(it, "group:0")
    try:
        told = it.cli("down")
        assert told.returncode == 0
        assert f"1 process of it still runs: {child} " in told.stdout
        assert (alive(child), alive(other)) == (True, False)
    finally:
        end(*filter(alive, (child, other)))


@pytest.mark.parametrize("path", ["cgroup", "sweep"])
@pytest.mark.parametrize("how", ["down", "signal", "alone"])
def test_L23_what_forks_away_without_end_is_gone_at_the_end_of_everything(daemon: Start, how: str, path: str) -> None:
    """Nothing of it outlives the daemon, whether the core brings it down or the shim has to do it alone."""
    it = daemon(job("mole", cmd("mole.py", 60), stopdelay='"200ms"'), args=("--no-cgroup",) if path == "sweep" else ())
    it.wait(lambda: "digging" in it.output("mole:0"), what="it digs")
    assert it.process is not None
    if how == "down":
        assert it.cli("down").returncode == 0
    elif how == "alone":
        core = it.core_pid
        os.kill(core, signal.SIGSTOP)
        it.terminate()
        os.kill(core, signal.SIGKILL)
    else:
        it.terminate()
    it.process.wait(20)
    assert it.leftovers() == []


# What stands still ---------------------------------------------------------------------------------------------------


def test_L27_a_stopped_process_is_shown_as_standing_still(it: Daemon) -> None:
    pid = it.wait_state("halted:0", "running").pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    it.wait(lambda: "stands still (T)" in chain(it, "halted:0"), what="it is seen")
    assert "stands still (T)" in it.cli("show", "halted").stdout
    assert stop(it, "halted").data["signal"] == "SIGTERM"


def test_L28_a_frozen_group_is_thawed_and_gets_its_stop_signal(it: Daemon) -> None:
    pid = it.wait_state("frozen:0", "running").pid
    assert pid is not None
    leaf = leaf_of(pid)
    (leaf / "cgroup.freeze").write_text("1")
    it.wait(lambda: "frozen" in chain(it, "frozen:0"), what="it is seen")
    event = stop(it, "frozen")
    assert (event.data["signal"], event.data["forced"]) == ("SIGTERM", False)
    assert not leaf.exists()


def test_L28_what_is_frozen_dies_of_the_kill(it: Daemon) -> None:
    pids_running = it.wait_state("frozen deaf:0", "running")
    assert pids_running.pid is not None
    it.wait(lambda: "ready" in it.output("frozen deaf:0"), what="it ignores TERM")
    leaf = leaf_of(pids_running.pid)
    (leaf / "cgroup.freeze").write_text("1")
    it.request("kill", "frozen deaf")
    assert not alive(pids_running.pid)
    assert not leaf.exists()


# After the death of the shim -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["cgroup", "sweep"])
def test_G5_a_stop_after_the_shims_death_ends_whole_trees_and_names_them(daemon: Start, path: str) -> None:
    """A stop of an adopted run kills its whole tree, with control groups and without."""
    jobs = [
        job("escaped", cmd("daemoniser.py")), job("group", cmd("forker.py"), stopdelay='"200ms"'),
        job("held", cmd("daemoniser.py", "held")), job("alone", cmd("forker.py"), killgroup="false"),
        job("gone", cmd("daemoniser.py", "exit"), restart='"never"'),
    ]  # fmt: skip
    it = daemon("\n".join(jobs), args=("--no-cgroup",) if path == "sweep" else ())
    pids = {name: pids_of(it, f"{name}:0") for name in ("escaped", "group", "held", "alone", "gone")}
    shed(pids["held"])
    it.kill_shim()
    for name in ("escaped", "held", "gone"):
        assert relatives(it, f"{name}:0").keys() == set(pids[name])
    for name in ("escaped", "held"):
        assert named(stop(it, name).data["swept"]) == set(pids[name])
    assert named(stop(it, "group").data["outlived"]) == set(pids["group"])
    it.wait(lambda: it.proc("gone:0").lingering == 2, what="its end is told")
    assert named(stop(it, "gone").data["swept"]) == set(pids["gone"])
    assert [int(name.split()[0]) for name in stop(it, "alone").data["left"]] == pids["alone"]
    survivors = [pid for name in pids for pid in pids[name] if alive(pid)]
    assert survivors == pids["alone"]
    end(*survivors)
