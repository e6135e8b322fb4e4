"""Stops on real processes: the recipe of signals, the whole tree, commands that cross each other, and storms."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from taskmaster_core.errors import ConfigInvalid, NoSuchJob, Refused
from taskmaster_core.wire import Event
from tests.harness import Daemon, alive, environ_of, pids_now, stat_of
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, running, words

LOG = cmd("signal_log.py")
LOG_TO_USR1 = cmd("signal_log.py", "USR1")
STEPS = '[["INT", "0.2s"], ["HUP", 0.2], [12, "0.2s"]]'

JOBS = [
    job("name", LOG_TO_USR1, stopsignal='"USR1"'),
    job("prefixed", LOG_TO_USR1, stopsignal='"SIGUSR1"'),
    job("number", LOG_TO_USR1, stopsignal="10"),
    job("steps", LOG, stopsignal=STEPS),
    job("deaf", cmd("stubborn.py"), stopdelay='"600ms"'),
    job("deaf at once", cmd("stubborn.py"), stopdelay="0"),
    job("killed", cmd("stubborn.py"), stopdelay='"60s"'),
    job("asleep", words("sleep", "1000")),
    job("asked", LOG, stopsignal='"USR1"', stopdelay="0"),
    job("holder", words("sh", "-c", "(sleep 0.5; echo late) & exit 3"), restart='"never"'),
    job("closer", cmd("closer.py")),
    job("signals its group", words("sh", "-c", "echo here; kill -TERM 0; sleep 1000"), restart='"never"'),
    job("group", cmd("forker.py"), stopdelay='"500ms"'),
    job("escaped", cmd("daemoniser.py"), stopdelay='"1s"'),
    job("mole", cmd("mole.py", 30), stopdelay='"300ms"', autostart="false"),
]  # fmt: skip


@pytest.fixture(scope="module", params=["cgroup", "sweep"])
def it(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    config = '[taskmaster]\nshutdown = "1s"\n' + "\n".join(JOBS)
    with running(config, args=("--no-cgroup",) if request.param == "sweep" else ()) as started:
        yield started


def spoken(it: Daemon, key: str, count: int = 1) -> list[str]:
    """Return the lines of a process once there are so many."""
    it.wait(lambda: it.output(key).count("\n") >= count, what=f"{key} has written {count} lines")
    return it.output(key).splitlines()


def stop(it: Daemon, name: str) -> Event:
    """Stop a job through the command, which must succeed; return the event of the stop."""
    told = it.cli("stop", name)
    assert told.returncode == 0, told.stderr
    view = it.proc(f"{name}:0")
    assert (view.state, view.goal, view.pid) == ("stopped", "down", None)
    return it.events("stopped", f"{name}:0")[-1]


def marked(it: Daemon, name: str) -> list[int]:
    """Return the living processes that carry a job's mark in their environment."""
    marks = {f"TASKMASTER_JOB={name}".encode(), f"TASKMASTER_INSTANCE={it.instance}".encode()}
    return [pid for pid in pids_now() if alive(pid) and marks <= set(environ_of(pid))]


# The recipe ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["name", "prefixed", "number"])
def test_stopsignal_is_what_the_process_receives(it: Daemon, name: str) -> None:
    spoken(it, f"{name}:0")
    event = stop(it, name)
    assert spoken(it, f"{name}:0", 2)[:2] == ["ready", "SIGUSR1"]
    assert (event.data["code"], event.data["forced"]) == (0, False)


def test_stopsignal_as_steps_sends_each_after_its_delay_then_kills(it: Daemon) -> None:
    spoken(it, "steps:0")
    began = time.monotonic()
    event = stop(it, "steps")
    assert time.monotonic() - began >= 0.6
    assert [line for line in it.output("steps:0").splitlines() if line != "SIGCONT"] == [
        "ready", "SIGINT", "SIGHUP", "SIGUSR2",
    ]  # fmt: skip
    assert (event.data["signal"], event.data["forced"]) == ("SIGKILL", True)


def test_L20_what_ignores_the_signal_is_killed_after_stopdelay_and_once(it: Daemon) -> None:
    spoken(it, "deaf:0")
    event = stop(it, "deaf")
    (asked,) = it.events("stopping", "deaf:0")
    (killed,) = it.events("killed", "deaf:0")
    assert event.data["signal"] == "SIGKILL"
    assert 0.5 <= killed.at - asked.at <= 1.0, "0.6 s, with some room for a loaded machine"


def test_stopdelay_0_kills_at_once(it: Daemon) -> None:
    spoken(it, "deaf at once:0")
    assert stop(it, "deaf at once").data["signal"] == "SIGKILL"


def test_kill_does_not_wait_for_stopdelay(it: Daemon) -> None:
    spoken(it, "killed:0")
    assert it.cli("kill", "killed").returncode == 0
    assert it.proc("killed:0").state == "stopped"


def test_signal_sends_and_changes_nothing(it: Daemon) -> None:
    spoken(it, "asked:0")
    before = it.proc("asked:0")
    assert it.cli("signal", "HUP", "asked").returncode == 0
    assert "SIGHUP" in spoken(it, "asked:0", 2)
    after = it.proc("asked:0")
    assert (after.pid, after.state, after.goal) == (before.pid, "running", "up")


def test_L27_a_stopped_process_ends_at_the_stop_signal(it: Daemon) -> None:
    pid = it.wait_state("asleep:0", "running").pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert stop(it, "asleep").data["signal"] == "SIGTERM"


# The tree ------------------------------------------------------------------------------------------------------------


def test_L21_the_stop_is_told_only_when_the_group_is_empty(it: Daemon) -> None:
    child = int(spoken(it, "group:0")[0])
    stop(it, "group")
    assert not alive(child)
    assert marked(it, "group") == []


def test_L22_what_left_the_group_dies_and_is_named(it: Daemon) -> None:
    pids = [int(word) for word in spoken(it, "escaped:0")[0].split()]
    event = stop(it, "escaped")
    assert not any(alive(pid) for pid in pids)
    assert set(pids) <= {int(name.rpartition("(")[2].rstrip(")")) for name in event.data["swept"]}


def test_L23_a_mole_leaves_nothing(it: Daemon) -> None:
    it.request("start", "mole")
    spoken(it, "mole:0")
    stop(it, "mole")
    assert marked(it, "mole") == []


def test_L23_moles_of_one_job_do_not_hold_up_the_stops_of_another(daemon: Start) -> None:
    moles = job("mole", cmd("mole.py", 30), numprocess="4", stopdelay='"300ms"')
    it = daemon(moles + job("other", words("sleep", "1000"), numprocess="6"), args=("--no-cgroup",))
    for index in range(4):
        spoken(it, f"mole:{index}")
    began = time.monotonic()
    for index in range(6):
        it.request("stop", f"other:{index}")
    assert time.monotonic() - began < 4, "0.2 s each, with room for a loaded machine"


def test_killgroup_false_stops_the_leader_and_names_what_it_leaves(daemon: Start) -> None:
    it = daemon(job("alone", cmd("forker.py"), killgroup="false"))
    child = int(spoken(it, "alone:0")[0])
    try:
        event = stop(it, "alone")
        assert alive(child)
        assert event.data["lingering"] == 1
    finally:
        os.kill(child, signal.SIGKILL)


def test_L25_an_exit_is_told_though_a_grandchild_holds_the_output(it: Daemon) -> None:
    end = it.wait_event("exited", "holder:0")
    assert end.data["code"] == 3
    assert "late" in spoken(it, "holder:0")
    assert it.events("started", "holder:0")[0].at + 0.5 > end.at, "before the grandchild had spoken"


def test_L26_a_process_that_closes_its_output_runs_on_and_costs_nothing(it: Daemon) -> None:
    spoken(it, "closer:0")
    pid = it.proc("closer:0").pid
    before, began = _cpu(it.shim_pid), time.monotonic()
    it.wait(lambda: time.monotonic() > began + 0.4, what="time to spin in")
    assert _cpu(it.shim_pid) - before < 0.2
    assert (it.proc("closer:0").state, it.proc("closer:0").pid) == ("running", pid)


def test_L35_a_job_that_signals_its_group_reaches_nobody_else(it: Daemon) -> None:
    end = it.wait_event("exited", "signals its group:0")
    assert end.data["signal"] == "SIGTERM"
    assert it.proc("closer:0").state == "running"
    assert it.ping()


def _cpu(pid: int) -> float:
    fields = stat_of(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Commands that cross each other --------------------------------------------------------------------------------------


def only_one(name: str, **keys: str) -> str:
    """Return a job whose process holds a lock as long as it lives: a second copy would end with 99."""
    return job(name, words("flock", "-n", "-F", "-E", "99", f"{name}-{{index}}.lock", "sleep", "1000"), **keys)


def doubles(events: list[Event]) -> list[Event]:
    """Return the ends of processes that met another copy of themselves."""
    return [event for event in events if event.data.get("code") == 99]


def test_L30_a_burst_of_restarts_never_makes_two_and_ends_in_one(daemon: Start) -> None:
    it = daemon(only_one("one"))
    it.wait_state("one:0", "running")
    told: list[Any] = []
    burst = [threading.Thread(target=lambda: told.append(it.request("restart", "one"))) for _ in range(10)]
    for thread in burst:
        thread.start()
    for thread in burst:
        thread.join(30)
    assert [each["ok"] for each in told] == [True] * 10
    view = it.wait_state("one:0", "running")
    assert marked(it, "one") == [view.pid]
    assert doubles(it.events()) == []


def test_L30_stop_during_start_ends_stopped(daemon: Start) -> None:
    it = daemon(only_one("one", autostart="false", successdelay='"5s"'))
    it.request("start", "one", wait=False)
    it.request("stop", "one")
    assert (it.proc("one:0").state, it.proc("one:0").goal) == ("stopped", "down")
    assert marked(it, "one") == []


def test_L30_start_during_stop_ends_running_in_a_second_run(daemon: Start) -> None:
    it = daemon(job("slow", cmd("stubborn.py"), stopdelay='"400ms"'))
    spoken(it, "slow:0")
    it.request("stop", "slow", wait=False)
    it.request("start", "slow")
    view = it.wait_state("slow:0", "running")
    assert (view.run, view.goal) == (2, "up")
    assert marked(it, "slow") == [view.pid]


def test_L30_a_scale_that_another_one_takes_back_is_answered(daemon: Start) -> None:
    it = daemon(job("slow", cmd("stubborn.py"), numprocess="2", stopdelay='"2s"'))
    spoken(it, "slow:1")
    told: list[Any] = []
    narrow = threading.Thread(target=lambda: told.append(it.request("scale", "slow", n=1)))
    narrow.start()
    it.wait_state("slow:1", "stopping")
    it.request("scale", "slow", n=2)
    narrow.join(15)
    assert [each["ok"] for each in told] == [False], "it is not as that one asked"


BACKING_OFF = job("waits", words("false"), retry='"forever"', backoff="{first = 0.4, factor = 1, jitter = 0}")


def test_L31_a_stop_in_backoff_cancels_the_retry(daemon: Start) -> None:
    it = daemon(BACKING_OFF)
    due = it.wait_state("waits:0", "backoff").next_start_at
    assert due is not None
    runs = stop(it, "waits") and it.proc("waits:0").run
    it.wait(lambda: time.time() > due + 0.3, what="the time of the retry is over")
    assert it.proc("waits:0").run == runs


def test_L31_a_reload_that_removes_a_waiting_job_leaves_no_ghost(daemon: Start) -> None:
    it = daemon(BACKING_OFF + job("other", words("sleep", "1000")))
    due = it.wait_state("waits:0", "backoff").next_start_at
    assert due is not None
    it.write_config(job("other", words("sleep", "1000")))
    it.request("reload")
    count = len(it.events("started", "waits:0"))
    it.wait(lambda: time.time() > due + 0.3, what="the time of the retry is over")
    assert [view.key for view in it.procs()] == ["other:0"]
    assert len(it.events("started", "waits:0")) == count


def test_L31_a_job_removed_while_it_stops_is_gone_when_it_has_stopped(daemon: Start) -> None:
    it = daemon(job("slow", cmd("stubborn.py"), stopdelay='"500ms"') + job("other", words("sleep", "1000")))
    spoken(it, "slow:0")
    it.request("stop", "slow", wait=False)
    it.write_config(job("other", words("sleep", "1000")))
    it.request("reload")
    it.wait(lambda: [view.key for view in it.procs()] == ["other:0"], what="only the other is left")
    assert marked(it, "slow") == []


LOOPING = {"restart": '"always"', "retry": '"forever"', "backoff": "{first = 0.02, factor = 1}"}


def test_L33_narrowing_and_widening_in_a_crash_loop_moves_the_highest_only(daemon: Start) -> None:
    def config(width: int) -> str:
        return only_one("wide", numprocess=f"{width}") + job("loop", words("false"), numprocess=f"{width}", **LOOPING)

    it = daemon(config(10))
    it.wait_state("wide:9", "running")
    before = it.pids("wide")
    it.write_config(config(3))
    it.request("reload")
    it.wait(lambda: len(it.procs()) == 6, what="three of each are left")
    kept = it.pids("wide")
    assert kept == {key: before[key] for key in ("wide:0", "wide:1", "wide:2")}
    it.write_config(config(10))
    it.request("reload")
    it.wait(lambda: [view.state for view in it.procs("wide")] == ["running"] * 10, what="ten run again")
    assert {key: pid for key, pid in it.pids("wide").items() if key in kept} == kept
    stopped = [event.key for event in it.events("stopping") if event.key.startswith("wide")]
    assert stopped == [f"wide:{index}" for index in (9, 8, 7, 6, 5, 4, 3)]
    assert doubles(it.events()) == []


# A storm -------------------------------------------------------------------------------------------------------------

SEED = int(os.environ.get("TASKMASTER_STORM", "20231"))
COMMANDS = 200
TARGETS = ("one", "one:0", "one:1", "two", "two:*", "t*", "all", "count", "loop", "@both")


def storm_config(width: int) -> str:
    """Return the jobs of the storm; a reload moves the width of one of them."""
    return "".join(
        [
            only_one("one", numprocess="3", tags='["both"]', **LOOPING),
            only_one("two", numprocess=f"{width}", tags='["both"]'),
            job("count", cmd("counter.py", 10**7, 1, 0.002), **LOOPING),
            job("loop", words("false"), **LOOPING),
        ]
    )


SAVING = threading.Lock()


def one_command(it: Daemon, dice: random.Random) -> None:
    """Do one thing to the daemon that an operator, or somebody outside, might do."""
    op = dice.choice(["start", "stop", "restart", "kill", "signal", "scale", "reload", "outside"])
    select, wait, width = dice.choice(TARGETS), dice.random() < 0.3, dice.randrange(4)
    match op:
        case "scale":
            it.request("scale", "one", n=width, wait=wait)
        case "reload":
            with SAVING:
                it.write_config(storm_config(1 + width))
            it.request("reload")
        case "outside":
            for pid in [view.pid for view in it.procs("one") if view.pid][:1]:
                os.kill(pid, signal.SIGKILL)
        case "signal":
            it.request("signal", select, signal=dice.choice(["USR1", "TERM", "KILL", "CONT"]))
        case _:
            it.request(op, select, wait=wait, timeout=30)


def rage(it: Daemon, seed: int, count: int, unexpected: list[BaseException]) -> None:
    """Give random commands one after the other; refusals are answers, anything else is not."""
    dice = random.Random(seed)
    for _ in range(count):
        try:
            one_command(it, dice)
        except (Refused, NoSuchJob, ConfigInvalid, ProcessLookupError):
            continue  # scaled to none, half a save of another thread, or dead already
        except BaseException as error:
            unexpected.append(error)
            raise


def ends_without_start(events: list[Event]) -> list[Event]:
    """Return the ends and starts that break the order: a run starts once, ends at most once, after its start (I4)."""
    born: dict[str, int] = {}
    ended: dict[str, int] = {}
    wrong = []
    for event in events:
        run = event.data.get("run", 0)
        if event.type == "started":
            wrong += [event] if run <= born.get(event.key, 0) else []
            born[event.key] = run
        elif event.type in ("exited", "stopped") and {"code", "signal"} & set(event.data):
            wrong += [event] if run != born.get(event.key) or run <= ended.get(event.key, 0) else []
            ended[event.key] = run
    return wrong


def broken_counts(text: str) -> list[str]:
    """Return the lines of a counting writer that follow neither their predecessor nor a new start (I5)."""
    lines = ["", *text.split("\n")[:-1]]
    return [line for before, line in pairwise(lines) if int(line) not in (0, int(before or -1) + 1)]


def test_a_storm_of_random_commands_keeps_all_invariants(daemon: Start) -> None:
    it = daemon(storm_config(2) + '[taskmaster]\nautoreload = "off"\n')
    unexpected: list[BaseException] = []
    threads = [threading.Thread(target=rage, args=(it, SEED + n, COMMANDS // 4, unexpected)) for n in range(4)]
    slowest = 0.0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        asked = time.monotonic()
        it.request("ping")
        slowest = max(slowest, time.monotonic() - asked)
        threads[0].join(0.02)
    assert unexpected == [], f"seed {SEED}"

    it.write_config(storm_config(2))
    it.request("reload")
    it.request("scale", "one", n=3)
    it.request("start", "one", "count")
    it.request("stop", "two", "loop")
    it.wait(lambda: {view.key: view.state for view in it.procs()} == LAST, what="all is as it was asked last")
    events = it.events()
    known = {view.pid for view in it.procs()} | {it.shim_pid, it.core_pid}
    assert doubles(events) == [], "I1: never two copies"
    assert set(it.leftovers()) <= known, "I2: no process that nobody knows"
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "I3: no gap"
    assert ends_without_start(events) == [], "I4: a run starts, then ends"
    assert broken_counts(it.output("count:0")) == [], "I5: not a line lost or doubled"
    assert slowest < 1, "I6: the core answers"


LAST = {
    **{f"one:{index}": "running" for index in range(3)}, **{f"two:{index}": "stopped" for index in range(2)},
    "count:0": "running", "loop:0": "stopped",
}  # fmt: skip
