"""Who is in a tree, who is an orphan of nobody, what does not die, and numbers that come round (L22, L28, L29, L34)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.shim import tree
from tests.unit.shim_harness import PYTHON, SHIM, Core, Shim, alive, output, program, spawn_order, wait_for

INSIDE = "TM_PID_NAMESPACE"
"""Set for the tests that a test runs in a pid namespace of its own."""
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")

own_namespace = pytest.mark.skipif(INSIDE not in os.environ, reason="run in a pid namespace, by the test below")


@pytest.fixture(params=["cgroup", "sweep"])
def options(request: pytest.FixtureRequest) -> list[str]:
    return ["--no-cgroup"] if request.param == "sweep" else []


@pytest.fixture
def shim(tmp_path: Path, options: list[str]) -> Iterator[Shim]:
    shim = Shim(tmp_path, *options)
    yield shim
    shim.close()


@pytest.fixture
def core(shim: Shim) -> Core:
    return shim.open()


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path, "--no-cgroup")
    yield shim
    shim.close()


def stop(core: Core, run: int = 1) -> None:
    core.order({"t": "signal", "key": "job:0", "run": run, "sig": 15, "group": True, "stopping": True})


def kill(core: Core, run: int = 1) -> None:
    core.order({"t": "kill", "key": "job:0", "run": run, "tree": True})


def begin(shim: Shim, core: Core, argv: list[str], **fields: Any) -> int:
    core.order(spawn_order(shim, argv, **fields))
    pid: int = core.expect("spawned", run=fields.get("run", 1))["pid"]
    return pid


def pids_in(shim: Shim, count: int) -> list[int]:
    wait_for(lambda: len(output(shim).split()) >= count and output(shim).endswith(b"\n"))
    return [int(word) for word in output(shim).split()[:count]]


def ask(core: Core, *keys: str) -> dict[str, Any]:
    """Return the answer to one question about trees."""
    name = f"q{time.monotonic_ns()}"
    core.order({"t": "trees", "id": name, "keys": list(keys)})
    return core.expect("trees", id=name)


def sleeps(pid: int) -> bool:
    found = tree.look(pid)
    return found is not None and found.comm == "sleep"


# Who is in a tree ----------------------------------------------------------------------------------------------------


def test_L22_who_has_left_the_group_is_told_on_demand(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("daemoniser"))
    left = pids_in(shim, 2)
    (told,) = ask(core, "job:0")["runs"]
    assert (told["pid"], told["ended"], told["away"], told["halted"]) == (pid, False, 2, "")
    assert sorted(each[0] for each in told["left"]) == sorted(left)
    told = ask(core)
    assert (told["runs"], told["strays"]) == ([], []), "the living are told of only where they are asked for"


def test_L24_who_outlived_a_leader_is_told_whoever_is_asked_for(shim: Shim, core: Core) -> None:
    begin(shim, core, program("daemoniser", "exit"))
    left = pids_in(shim, 2)
    core.expect("exited", lingering=2)
    (told,) = ask(core)["runs"]
    assert (told["key"], told["ended"], sorted(each[0] for each in told["left"])) == ("job:0", True, sorted(left))


def test_L27_a_leader_that_stands_still_is_told(shim: Shim, core: Core) -> None:
    pid = begin(shim, core, program("sleeper"))
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: ask(core, "job:0")["runs"][0]["halted"] == "stopped")
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: ask(core, "job:0")["runs"][0]["halted"] == "")


def test_L22_who_shed_all_marks_but_had_a_parent_dies_with_its_run(shim: Shim, core: Core) -> None:
    leader = begin(shim, core, program("daemoniser", "bare"))
    pids = pids_in(shim, 2)
    wait_for(lambda: all(sleeps(pid) for pid in pids))
    (child,) = [pid for pid in pids if pid in tree.children(leader)]
    stop(core)
    assert child in [pid for pid, _ in core.expect("exited", lingering=0)["swept"]]
    assert not alive(child)
    for pid in filter(alive, pids):  # the other one, where there are no control groups: nobody knows whose it is
        os.kill(pid, signal.SIGKILL)


def test_what_no_run_claims_is_told_once_and_left(sweep: Shim) -> None:
    core = sweep.open()
    begin(sweep, core, program("daemoniser", "bare"))
    pids = pids_in(sweep, 2)
    wait_for(lambda: all(sleeps(pid) for pid in pids))
    stop(core)
    stray = core.expect("stray")
    core.receive(0.5)
    assert len(core.all("stray")) == 1
    assert (stray["comm"], stray["of"], stray["pid"] in pids) == ("sleep", "", True)
    assert [each[0] for each in ask(core)["strays"]] == [stray["pid"]]
    assert alive(stray["pid"])
    os.kill(stray["pid"], signal.SIGKILL)
    wait_for(lambda: not ask(core)["strays"])


def test_what_one_job_orphans_is_not_another_jobs(sweep: Shim) -> None:
    core = sweep.open()
    begin(sweep, core, program("daemoniser"))
    pids = pids_in(sweep, 2)
    core.order(spawn_order(sweep, program("sleeper"), "other:0"))
    core.expect("spawned", key="other:0")
    core.order({"t": "kill", "key": "other:0", "run": 1, "tree": True})
    assert core.expect("exited", key="other:0")["swept"] == []
    assert all(alive(pid) for pid in pids)
    assert not core.all("stray")


def test_nobody_looks_at_trees_while_nobody_asks(shim: Shim, core: Core) -> None:
    begin(shim, core, program("daemoniser"))
    pids_in(shim, 2)
    core.receive(0.5)
    before = _switches(shim.pid)
    core.receive(1.0)
    assert _switches(shim.pid) - before <= 2


def _switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])


# What does not die ---------------------------------------------------------------------------------------------------


@pytest.fixture
def deaf(tmp_path: Path, options: list[str]) -> Iterator[Shim]:
    """Start a shim whose SIGKILLs do not arrive until there is a file `ears`."""
    argv = [PYTHON, "-I", "-S", str(Path(__file__).parent.parent / "programs" / "deaf_shim.py")]
    shim = Shim(tmp_path, *options, shim=[*argv, str(SHIM), str(tmp_path / "ears")])
    yield shim
    (tmp_path / "ears").touch()
    for pid in shim.marked():
        if shim.process.poll() is not None:
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: shim.process.poll() is None or not shim.marked())
    shim.close()


def test_L29_what_does_not_die_is_told_gets_no_copy_and_costs_nothing(deaf: Shim) -> None:
    core = deaf.open()
    pid = begin(deaf, core, program("stubborn"))
    kill(core)
    assert core.expect("unkillable")["pids"] == [pid]
    core.order(spawn_order(deaf, program("sleeper"), run=2))
    assert core.expect("failed", run=2)["errno"] == "EEXIST"
    before = _ticks(deaf.pid)
    wait_for(lambda: len(core.all("unkillable")) >= 3)
    assert _ticks(deaf.pid) - before <= 5
    assert not core.all("exited")
    (deaf.path / "ears").touch()
    assert core.expect("exited", run=1)["signal"] == signal.SIGKILL


def test_L29_an_end_of_everything_does_not_wait_for_what_does_not_die(deaf: Shim) -> None:
    core = deaf.open()
    pid = begin(deaf, core, program("stubborn"), stop=[[15, 0.1]])
    wait_for(lambda: output(deaf) == b"ready\n")
    core.order({"t": "bye", "code": 0})
    core.tell("exit 0")
    assert deaf.wait() == 1
    assert alive(pid)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# Numbers that come round ---------------------------------------------------------------------------------------------


def take_number(pid: int) -> int:
    """Start a sleep with this pid, if it is free; return the pid it has."""
    LAST_PID.write_text(str(pid - 1))
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            os.setsid()
            os.execv("/bin/sleep", ["sleep", "600"])
        os._exit(1)
    wait_for(lambda: sleeps(child))
    return child


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@own_namespace
def test_the_number_of_a_leader_is_free_only_when_its_tree_is_gone(sweep: Shim) -> None:
    core = sweep.open()
    leader = begin(sweep, core, ["sh", "-c", "setsid sleep 600 & exit 0"])
    core.expect("exited", lingering=1)
    other = take_number(leader)
    assert other != leader
    end(other)
    kill(core)
    core.expect("exited", lingering=0)
    other = take_number(leader)
    assert other == leader
    kill(core)
    stop(core)
    core.order(spawn_order(sweep, ["true"], "after:0"))
    core.expect("exited", key="after:0")
    assert sleeps(other)
    end(other)


@own_namespace
def test_a_number_that_was_seen_in_a_tree_and_is_somebody_elses_is_not_hit(sweep: Shim) -> None:
    core = sweep.open()
    away = "setsid sleep 600 >/dev/null 2>&1 9>&-"
    leader = begin(sweep, core, ["sh", "-c", f"exec 9>&1; {away} & echo $! >&9; wait; exec sleep 600"])
    (pid,) = pids_in(sweep, 1)
    wait_for(lambda: sleeps(pid), "it has left: its number is written before it has its session")
    assert [each[0] for each in ask(core, "job:0")["runs"][0]["left"]] == [pid]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    wait_for(lambda: sleeps(leader), "nobody else needs a number any more")
    other = take_number(pid)
    assert other == pid
    kill(core)
    assert core.expect("exited", lingering=0)["swept"] == []
    found = tree.look(other)
    assert found is not None
    assert (found.comm, found.state) == ("sleep", "S")
    end(other)


def test_L34_no_signal_goes_to_a_process_that_has_got_the_number_of_one_of_ours() -> None:
    """In a pid namespace of our own numbers are given out again on purpose: a stop never hits who has got one."""
    if INSIDE in os.environ:
        pytest.skip("we are inside")
    if os.getuid() != 0 or not LAST_PID.exists():
        pytest.skip("needs root and /proc/sys/kernel/ns_last_pid")
    names = ["the_number_of_a_leader", "a_number_that_was_seen"]
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", " or ".join(names)]
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    env = {**os.environ, INSIDE: "1"}
    try:
        done = subprocess.run(
            [*unshare, *argv], env=env, capture_output=True, text=True, timeout=50, check=False
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if "unshare" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout[-3000:] + done.stderr[-2000:]
