"""What follows an end: restart, rest or give up, on real processes; and starts that never become a process."""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from taskmaster_core.wire import Event
from tests.harness import Daemon, stat_of
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, running, story, words

QUICK = "{first = 0.02, factor = 1, max = 1, jitter = 0}"
ENDS = {"expected": "exit 4", "unexpected": "exit 0", "signal": "kill -KILL $$"}
"""Ends of a job whose only expected code is 4."""

POLICIES = [
    # policy, end, how often it is started, where it ends up
    ("always", "expected", None, None),
    ("always", "unexpected", 3, "fatal"),
    ("always", "signal", 3, "fatal"),
    ("on-error", "expected", 1, "exited"),
    ("on-error", "unexpected", 3, "fatal"),
    ("on-error", "signal", 3, "fatal"),
    ("never", "expected", 1, "exited"),
    ("never", "unexpected", 1, "exited"),
    ("never", "signal", 1, "exited"),
]

NOT_RUNNABLE = [
    # name, cmd, stage, errno, a word of the sentence
    ("missing", "/no/such/program", "exec", "ENOENT", "/no/such/program"),
    ("nowhere", "no-such-program-anywhere", "exec", "ENOENT", "no-such-program-anywhere"),
    ("plain", "./plain.txt", "exec", "EACCES", "plain.txt"),
    ("directory", "./gone", "exec", "EACCES", "director"),
    ("interpreter", "./lost.sh", "exec", "ENOENT", "/no/such/interpreter"),
    ("bare", "./bare.sh", "exec", "ENOEXEC", "shell"),
]


def _policy(policy: str, end: str, *_: object) -> str:
    keys = {"restart": json.dumps(policy), "exitcodes": "[4]", "retry": "2", "backoff": QUICK}
    return job(f"{policy} {end}", words("sh", "-c", ENDS[end]), **keys)


def _not_runnable(name: str, command: str, *_: object) -> str:
    return job(name, words(command), retry="1", backoff=QUICK)


JOBS = [
    *(_policy(*case) for case in POLICIES),
    *(_not_runnable(*case) for case in NOT_RUNNABLE),
    job("once", words("false"), retry="0"),
    job("loop", words("false"), backoff=QUICK),
    job("stubborn", words("false"), retry='"forever"', backoff=QUICK),
    job("liked signal", words("sh", "-c", "kill -USR1 $$"), exitcodes='["USR1", 0]'),
    job("early", words("true"), successdelay="5", retry="1", backoff=QUICK),
    job("early never", words("true"), successdelay="5", restart='"never"'),
    job("ripe", words("sleep", "1000"), successdelay='"300ms"'),
    job("growing", words("false"), retry="5", backoff="{first = 0.1, factor = 2, max = 0.4, jitter = 0}"),
    job("codes", words("sh", "-c", "exit $((255 - {index}))"), numprocess="4", restart='"never"'),
    job("like a signal", words("sh", "-c", "exit 137"), restart='"never"'),
    job("unknown word", words("sh", "-c", "exit 127"), restart='"never"'),
    *(job(f"dies of {number}", cmd("signal_self.py", number), restart='"never"') for number in (1, 6, 9, 15, 34, 64)),
    job("no place", words("true"), workingdir='"missing"', retry="0"),
    job("file as place", words("true"), workingdir='"plain.txt"', retry="0"),
    job("target", words("sleep", "1000"), numprocess="2"),
    job("moved", words("sleep", "1000"), workingdir='"gone"', retry="0"),
]
FILES = {"plain.txt": "echo no\n", "lost.sh": "#!/no/such/interpreter\n", "bare.sh": "echo no\n", "gone/.keep": ""}


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    with running("\n".join(JOBS), files=FILES) as started:
        yield started


def starts(it: Daemon, key: str) -> int:
    """Return how often a process was started."""
    return story(it, key).count("started")


def delays(events: list[Event]) -> list[float]:
    """Return the delays that the backoffs of a process announced."""
    return [event.data["delay"] for event in events if event.type == "backoff"]


# The nine cases ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "end", "spawns", "state"), [case for case in POLICIES if case[2]], ids=str
)
def test_policy_and_end_decide_how_often_it_is_started(
    it: Daemon, policy: str, end: str, spawns: int, state: str
) -> None:
    key = f"{policy} {end}:0"
    view = it.wait_state(key, state)
    assert starts(it, key) == spawns
    assert view.run == spawns
    assert (view.exit and view.exit.signal) == ("SIGKILL" if end == "signal" else None)


def test_always_starts_again_for_ever_after_expected_ends(it: Daemon) -> None:
    it.wait(lambda: it.proc("always expected:0").run > 5, what="more runs than retry would allow")
    assert it.proc("always expected:0").tries == 0


def test_an_expected_signal_is_a_good_end(it: Daemon) -> None:
    assert it.wait_state("liked signal:0", "exited").run == 1


# How often, and when -------------------------------------------------------------------------------------------------


def test_retry_0_is_one_start(it: Daemon) -> None:
    it.wait_state("once:0", "fatal")
    assert starts(it, "once:0") == 1


def test_retry_forever_goes_on(it: Daemon) -> None:
    it.wait(lambda: it.proc("stubborn:0").run > 6, what="more runs than the default allows")


def test_L38_a_crash_loop_ends_also_without_successdelay(it: Daemon) -> None:
    view = it.wait_state("loop:0", "fatal")
    assert starts(it, "loop:0") == 4, "the default of retry is 3"
    assert "gave up after 4" in view.reason


def test_successdelay_makes_an_early_end_a_failed_start_whatever_the_code(it: Daemon) -> None:
    it.wait_state("early:0", "fatal")
    ends = [event.data for event in it.events("exited", "early:0")]
    assert [(data["code"], data["early"], data["expected"]) for data in ends] == [(0, True, False)] * 2


def test_never_gives_up_after_one_failed_start(it: Daemon) -> None:
    it.wait_state("early never:0", "fatal")
    assert starts(it, "early never:0") == 1


def test_successdelay_is_the_time_from_started_to_running(it: Daemon) -> None:
    view = it.wait_state("ripe:0", "running")
    (began,) = it.events("started", "ripe:0")
    assert began.data["state"] == "starting"
    assert view.started_at is not None
    assert 0.299 <= view.since - view.started_at < 2


def test_backoff_grows_by_its_factor_up_to_its_max(it: Daemon) -> None:
    it.wait_state("growing:0", "fatal")
    assert delays(it.events(key="growing:0")) == [0.1, 0.2, 0.4, 0.4], "the first restart is at once"


def test_backoff_is_kept_by_the_clock(it: Daemon) -> None:
    it.wait_state("growing:0", "fatal")
    told = it.events(key="growing:0")
    waits = [(event, then) for event, then in pairwise(told) if event.type == "backoff"]
    assert [then.type for _, then in waits] == ["started"] * 4
    late = [then.at - event.at - event.data["delay"] for event, then in waits]
    assert all(-0.05 < each < 2 for each in late), late


# Ends, exactly -------------------------------------------------------------------------------------------------------


def test_L13_exit_codes_are_exact(it: Daemon) -> None:
    ends = [it.wait_state(f"codes:{index}", "exited").exit for index in range(4)]
    assert [end and end.code for end in ends] == [255, 254, 253, 252]


@pytest.mark.parametrize(
    ("number", "name"),
    [(1, "SIGHUP"), (6, "SIGABRT"), (9, "SIGKILL"), (15, "SIGTERM"), (34, "SIGRTMIN"), (64, "SIGRTMAX")],
)
def test_L14_death_by_a_signal_is_told_by_its_name(it: Daemon, number: int, name: str) -> None:
    end = it.wait_state(f"dies of {number}:0", "exited").exit
    assert end is not None
    assert (end.signal, end.code) == (name, None)


def test_L14_a_code_that_looks_like_a_signal_is_a_code(it: Daemon) -> None:
    end = it.wait_state("like a signal:0", "exited").exit
    assert end is not None
    assert (end.code, end.signal) == (137, None)


def test_L15_exit_127_is_an_exit_and_no_failed_start(it: Daemon) -> None:
    view = it.wait_state("unknown word:0", "exited")
    assert view.exit is not None
    assert (view.exit.code, view.exit.error) == (127, None)


# What cannot be started ----------------------------------------------------------------------------------------------


def error_of(it: Daemon, name: str) -> dict[str, Any]:
    """Return `exit.error` of a job's process as `status --json` tells it."""
    it.wait_state(f"{name}:0", "fatal")
    jobs = json.loads(it.cli("status", "--json", name).stdout)["jobs"]
    found: dict[str, Any] = jobs[0]["processes"][0]["exit"]["error"]
    return found


@pytest.mark.parametrize(("name", "command", "stage", "errno", "word"), NOT_RUNNABLE, ids=[c[0] for c in NOT_RUNNABLE])
def test_L16_what_cannot_run_is_told_with_stage_errno_and_sentence(
    it: Daemon, name: str, command: str, stage: str, errno: str, word: str
) -> None:
    error = error_of(it, name)
    assert (error["stage"], error["errno"]) == (stage, errno)
    assert word in error["message"]


def test_L16_a_failed_start_counts_as_a_try_and_has_no_run(it: Daemon) -> None:
    it.wait_state("missing:0", "fatal")
    assert story(it, "missing:0") == ["failed", "backoff", "failed", "fatal"]


@pytest.mark.parametrize(("name", "errno"), [("no place", "ENOENT"), ("file as place", "ENOTDIR")])
def test_L17_a_bad_directory_is_told_as_chdir(it: Daemon, name: str, errno: str) -> None:
    error = error_of(it, name)
    assert (error["stage"], error["errno"]) == ("chdir", errno)


def test_L17_a_directory_deleted_while_it_runs_disturbs_only_the_next_start(it: Daemon) -> None:
    pid = it.wait_state("moved:0", "running").pid
    (it.dir / "gone" / ".keep").unlink()
    (it.dir / "gone").rmdir()
    assert it.wait_state("moved:0", "running").pid == pid
    assert it.cli("restart", "moved").returncode == 1
    assert error_of(it, "moved")["errno"] == "ENOENT"


# From outside --------------------------------------------------------------------------------------------------------


def test_killed_from_outside_it_is_started_again_and_the_event_says_the_signal(it: Daemon) -> None:
    before = it.wait_state("target:0", "running")
    other = it.wait_state("target:1", "running").pid
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    it.wait(lambda: it.proc("target:0").run == 2 and it.proc("target:0").state == "running", what="a second run")
    (end,) = it.events("exited", "target:0")
    assert (end.data["signal"], end.cause.kind) == ("SIGKILL", "exit")
    assert it.proc("target:1").pid == other, "nobody else was touched"


def test_reset_and_start_bring_back_what_gave_up(it: Daemon) -> None:
    it.wait_state("once:0", "fatal")
    it.request("start", "once")
    it.wait(lambda: it.proc("once:0").run == 2 and it.proc("once:0").state == "fatal", what="one more try")


# Storms --------------------------------------------------------------------------------------------------------------


def test_L12_a_thousand_short_lives_are_each_started_then_exited(daemon: Start) -> None:
    it = daemon(job("short", words("/bin/true"), numprocess="1000"))
    it.request("wait", "short", timeout=50, **{"for": "exited"})
    stories: dict[str, list[str]] = {}
    for event in it.events():
        stories.setdefault(event.key, []).append(event.type)
    mine = {key: types for key, types in stories.items() if key.startswith("short:")}
    assert len(mine) == 1000
    assert set(map(tuple, mine.values())) == {("started", "exited")}


def test_L37_a_storm_of_restarts_leaves_core_and_api_responsive(daemon: Start) -> None:
    keys = {"restart": '"always"', "retry": '"forever"'}
    it = daemon(job("storm", words("false"), numprocess="100", **keys))
    it.wait(lambda: len(it.events("exited")) >= 300, timeout=30, what="every one has begun to fail")
    pid, began = it.core_pid, time.monotonic()
    before = cpu_of(pid)
    trips = []
    while time.monotonic() - began < 2:
        asked = time.monotonic()
        it.request("status")
        trips.append(time.monotonic() - asked)
        time.sleep(0.05)
    share = (cpu_of(pid) - before) / (time.monotonic() - began)
    assert statistics.median(trips) < 0.1
    assert share < 0.2 + 0.003 * len(trips), f"{share:.0%} of a core, with {len(trips)} questions answered"


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU a process has used."""
    fields = stat_of(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
