"""What each cell does: starting, ending, restarting, giving up, coming back."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core import machine as m
from taskmaster_core.spec import Backoff, Exit, Goal, Restart, State
from tests.samples import (
    CLEAN,
    FAILED,
    KEY,
    KILLED,
    NO_SUCH_FILE,
    NOW,
    PID,
    RUN,
    ctx,
    doing,
    facts,
    kinds,
    proc,
    run_of,
    spec,
)  # fmt: skip

STILL = Backoff(first=0.1, factor=2.0, max=30.0, jitter=0.0)

# Starting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.STOPPED, State.BACKOFF, State.EXITED, State.FATAL])
def test_start_queues_with_fresh_counts(state: State) -> None:
    found = m.step(proc(state), m.Start(), ctx(why="started by hand"))
    assert (found.proc.state, found.proc.goal, found.proc.deadline) == (State.PENDING, Goal.UP, None)
    assert (found.proc.tries, found.proc.streak, found.proc.reason) == (0, 0, "started by hand")
    assert found.effects == ()


def test_start_without_a_reason_says_what_it_waits_for() -> None:
    assert m.step(proc(State.STOPPED), m.Start(), ctx()).proc.reason == "waits for a start slot"


def test_gate_opens_and_the_next_run_is_spawned_from_the_newest_spec() -> None:
    job = spec(umask=0o22)
    found = m.step(proc(State.PENDING, job, generation=7, unkillable=True), m.GateOpened(), ctx())
    assert found.effects == (m.Spawn(KEY, RUN + 1, job),)
    assert (found.proc.state, found.proc.run, found.proc.run_generation) == (State.STARTING, RUN + 1, 7)
    assert (found.proc.pid, found.proc.started_at, found.proc.unkillable) == (None, None, False)


def test_without_successdelay_a_born_process_runs() -> None:
    found = m.step(proc(State.STARTING, pid=None, started_at=None), m.Spawned(RUN, 99, NOW - 0.5), ctx())
    assert (found.proc.state, found.proc.pid, found.proc.started_at) == (State.RUNNING, 99, NOW - 0.5)
    assert found.proc.deadline is None
    assert facts(found, "started") == [{"run": RUN, "state": "running", "pid": 99}]


def test_with_successdelay_it_is_starting_until_then() -> None:
    unborn = proc(State.STARTING, spec(successdelay=5.0), pid=None, started_at=None)
    born, ripe = run_of(unborn, m.Spawned(RUN, 99, NOW - 0.5), m.Deadline())
    assert (born.proc.state, born.proc.deadline) == (State.STARTING, NOW + 4.5)
    assert (ripe.proc.state, ripe.proc.deadline) == (State.RUNNING, None)
    assert facts(ripe, "running") == [{"run": RUN, "state": "running", "pid": 99}]


def test_a_birth_told_twice_is_told_once() -> None:
    unborn = proc(State.STARTING, spec(successdelay=5.0), pid=None, started_at=None)
    born, again = run_of(unborn, m.Spawned(RUN, 99, NOW), m.Spawned(RUN, 99, NOW))
    assert again == m.Step(born.proc)


# The nine cases of the policy ----------------------------------------------------------------------------------------

EXPECTED, UNEXPECTED, SIGNALLED = Exit(code=3), Exit(code=1), KILLED
NINE = [
    (Restart.ALWAYS, EXPECTED, State.PENDING),
    (Restart.ALWAYS, UNEXPECTED, State.PENDING),
    (Restart.ALWAYS, SIGNALLED, State.PENDING),
    (Restart.NEVER, EXPECTED, State.EXITED),
    (Restart.NEVER, UNEXPECTED, State.EXITED),
    (Restart.NEVER, SIGNALLED, State.EXITED),
    (Restart.ON_ERROR, EXPECTED, State.EXITED),
    (Restart.ON_ERROR, UNEXPECTED, State.PENDING),
    (Restart.ON_ERROR, SIGNALLED, State.PENDING),
]


@pytest.mark.parametrize(("policy", "end", "state"), NINE)
def test_restart_policy(policy: Restart, end: Exit, state: State) -> None:
    job = spec(restart=policy, exitcodes=(0, 3))
    found = m.step(proc(State.RUNNING, job), m.Exited(RUN, end), ctx())
    assert (found.proc.state, found.proc.pid, found.proc.exit) == (state, None, end)
    assert found.proc.restarts == (1 if state is State.PENDING else 0)
    assert facts(found, "exited")[0]["expected"] is (end is EXPECTED)
    assert facts(found, "exited")[0]["state"] == state.value


def test_a_signal_may_be_expected() -> None:
    found = m.step(proc(State.RUNNING, spec(exitcodes=("SIGKILL",))), m.Exited(RUN, KILLED), ctx())
    assert found.proc.state is State.EXITED


def test_a_code_is_not_a_signal() -> None:
    found = m.step(proc(State.RUNNING, spec(exitcodes=(9,))), m.Exited(RUN, KILLED), ctx())
    assert found.proc.state is State.PENDING


def test_an_end_that_is_not_known_counts_as_an_error() -> None:
    found = m.step(proc(State.RUNNING), m.Exited(RUN, Exit()), ctx())
    assert found.proc.state is State.PENDING
    assert found.proc.tries == 1


# Retry and backoff ---------------------------------------------------------------------------------------------------


def lives(job: Any, lifetime: float, end: m.Stimulus | None = None, most: int = 50) -> tuple[int, list[float], m.Proc]:
    """Let every run live that long and then fail; return the spawns, the delays before them, and the last state."""
    current, now, spawns, delays = m.step(proc(State.STOPPED, job), m.Start(), ctx()).proc, NOW, 0, []
    asked = now
    while current.state in {State.PENDING, State.BACKOFF} and spawns < most:
        if current.state is State.BACKOFF:
            assert current.deadline is not None
            now = current.deadline
            current = m.step(current, m.Deadline(), ctx(now)).proc
        delays.append(round(now - asked, 6))
        current = m.step(current, m.GateOpened(), ctx(now)).proc
        spawns += 1
        if end is None:
            current = m.step(current, m.Spawned(current.run, PID, now), ctx(now)).proc
            now += lifetime
            if current.deadline is not None and now >= current.deadline:
                current = m.step(current, m.Deadline(), ctx(now)).proc
            current = m.step(current, m.Exited(current.run, FAILED), ctx(now)).proc
        else:
            current = m.step(current, m.SpawnFailed(current.run, NO_SUCH_FILE), ctx(now)).proc
        asked = now
    return spawns, delays, current


@pytest.mark.parametrize("retry", [0, 1, 2, 3, 7])
@pytest.mark.parametrize(("delay", "lifetime"), [(0.0, 0.01), (0.0, 9.9), (5.0, 1.0)])
def test_retry_of_n_means_n_plus_one_spawns(retry: int, delay: float, lifetime: float) -> None:
    spawns, _, last = lives(spec(retry=retry, successdelay=delay), lifetime)
    assert spawns == retry + 1
    assert last.state is State.FATAL


def test_retry_of_two_means_three_spawns_that_fail() -> None:
    spawns, _, last = lives(spec(retry=2), 0, m.SpawnFailed(0, NO_SUCH_FILE))
    assert spawns == 3
    assert last.reason == "gave up after 3 unsuccessful runs, the last: No such file or directory: '/bin/web'"


def test_a_single_failure_is_said_in_the_singular() -> None:
    assert lives(spec(retry=0), 0.0)[2].reason == "gave up after 1 unsuccessful run, the last: exit code 1"


def test_retry_forever_never_gives_up() -> None:
    assert lives(spec(retry=None), 0.0)[0] == 50


def test_K06_retry_of_a_thousand_million_is_a_number() -> None:
    assert lives(spec(retry=10**9), 0.0)[0] == 50


def test_giving_up_is_told() -> None:
    found = m.step(proc(State.RUNNING, spec(retry=0)), m.Exited(RUN, FAILED), ctx())
    assert kinds(found) == ["exited", "fatal"]
    assert facts(found, "fatal")[0]["tries"] == 1
    assert found.proc.deadline is None


def test_counts_start_anew_after_a_healthy_life() -> None:
    tired = proc(State.RUNNING, started_at=NOW - 10, tries=3, streak=5)
    found = m.step(tired, m.Exited(RUN, FAILED), ctx())
    assert (found.proc.state, found.proc.tries, found.proc.streak) == (State.PENDING, 1, 1)


@pytest.mark.parametrize(("delay", "lived"), [(0.0, 9.99), (20.0, 19.99)])
def test_counts_stay_before_the_longer_of_successdelay_and_ten_seconds(delay: float, lived: float) -> None:
    tired = proc(State.RUNNING, spec(successdelay=delay), started_at=NOW - lived, tries=3, streak=5)
    found = m.step(tired, m.Exited(RUN, FAILED), ctx())
    assert (found.proc.state, found.proc.tries) == (State.FATAL, 4)


def test_healthy_deaths_go_on_for_ever_and_restart_at_once() -> None:
    spawns, delays, _ = lives(spec(retry=0, backoff=STILL), 10.0, most=1)
    assert spawns == 1
    spawns, delays, _ = lives(spec(retry=1, backoff=STILL), 10.0)
    assert spawns == 50
    assert set(delays) == {0.0}


def test_first_unexpected_death_restarts_at_once_then_the_delay_grows_to_the_cap() -> None:
    _, delays, _ = lives(spec(retry=None, backoff=STILL), 0.0, most=13)
    assert delays == [0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_failed_starts_wait_from_the_first_on() -> None:
    _, delays, _ = lives(spec(retry=None, backoff=STILL, successdelay=1.0), 0.1, most=5)
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.8]


def test_always_with_a_good_end_waits_more_and_more_but_never_gives_up() -> None:
    job = spec(restart=Restart.ALWAYS, backoff=STILL, retry=1)
    first, second = run_of(proc(State.RUNNING, job, started_at=NOW - 1), m.Exited(RUN, CLEAN)), None
    assert (first[0].proc.state, first[0].proc.tries) == (State.PENDING, 0)
    second = m.step(proc(State.RUNNING, job, started_at=NOW - 1, streak=4), m.Exited(RUN, CLEAN), ctx())
    assert (second.proc.state, second.proc.deadline, second.proc.tries) == (State.BACKOFF, NOW + 0.8, 0)


@pytest.mark.parametrize("end", [CLEAN, FAILED])
def test_an_end_before_successdelay_is_a_failed_start_whatever_the_code(end: Exit) -> None:
    found = m.step(proc(State.STARTING, spec(successdelay=5.0, backoff=STILL)), m.Exited(RUN, end), ctx())
    assert (found.proc.state, found.proc.tries, found.proc.deadline) == (State.BACKOFF, 1, NOW + 0.1)
    told = facts(found, "exited")[0]
    assert (told["early"], told["expected"], told["state"]) == (True, False, "backoff")
    assert facts(found, "backoff") == [{"run": RUN, "state": "backoff", "delay": 0.1, "tries": 1, "of": 4}]


def test_never_gives_up_at_the_first_failed_start() -> None:
    found = m.step(proc(State.STARTING, spec(restart=Restart.NEVER)), m.SpawnFailed(RUN, NO_SUCH_FILE), ctx())
    assert found.proc.state is State.FATAL
    assert facts(found, "failed")[0]["stage"] == "exec"


def test_backoff_of_a_job_that_retries_for_ever_has_no_budget_to_tell() -> None:
    found = m.step(proc(State.STARTING, spec(retry=None)), m.SpawnFailed(RUN, NO_SUCH_FILE), ctx())
    assert facts(found, "backoff")[0]["of"] is None


def test_when_the_backoff_is_over_it_queues() -> None:
    found = m.step(proc(State.BACKOFF), m.Deadline(), ctx())
    assert (found.proc.state, found.proc.tries, found.proc.streak) == (State.PENDING, 1, 2)


def test_L31_stop_during_backoff_cancels_the_retry() -> None:
    down, late = run_of(proc(State.BACKOFF), m.Stop(), m.Deadline())
    assert (down.proc.state, down.proc.deadline) == (State.STOPPED, None)
    assert late == m.Step(down.proc)


def test_L31_removal_during_backoff_leaves_no_ghost() -> None:
    gone, late = run_of(proc(State.BACKOFF), m.Remove(), m.Deadline())
    assert (gone.proc.deadline, doing(gone)) == (None, [m.Forget(KEY)])
    assert late == m.Step(gone.proc)


def test_L31_removal_during_stop_lets_the_recipe_go_on() -> None:
    leaving, kill, gone = run_of(proc(State.STOPPING), m.Remove(), m.Deadline(), m.Exited(RUN, KILLED))
    assert leaving.proc.deadline == NOW + 10
    assert doing(kill) == [m.KillTree(KEY, RUN, tree=True)]
    assert doing(gone) == [m.Forget(KEY)]


def test_L32_exit_at_the_border_of_successdelay_is_one_transition_whichever_comes_first() -> None:
    ripe = proc(State.STARTING, spec(successdelay=5.0), started_at=NOW - 5, deadline=NOW)
    died, _ = run_of(ripe, m.Exited(RUN, FAILED), m.Deadline())
    ran, fell = run_of(ripe, m.Deadline(), m.Exited(RUN, FAILED))
    assert facts(died, "exited")[0]["early"] is True
    assert [kinds(ran), kinds(fell)] == [["running"], ["exited"]]


def test_K04_a_late_look_at_successdelay_does_not_change_when_it_began() -> None:
    ripe = proc(State.STARTING, spec(successdelay=5.0), started_at=NOW - 5, deadline=NOW)
    assert m.step(ripe, m.Deadline(), ctx(NOW + 30)).proc.started_at == NOW - 5


# Reset, signals ------------------------------------------------------------------------------------------------------


def test_reset_forgets_the_counts() -> None:
    found = m.step(proc(State.RUNNING, tries=2, streak=2, restarts=9), m.Reset(), ctx())
    assert (found.proc.state, found.proc.tries, found.proc.streak, found.proc.restarts) == (State.RUNNING, 0, 0, 0)
    assert kinds(found) == ["reset"]


def test_reset_of_a_job_that_gave_up_leaves_it_stopped() -> None:
    found = m.step(proc(State.FATAL), m.Reset(), ctx())
    assert (found.proc.state, found.proc.goal, found.proc.tries) == (State.STOPPED, Goal.DOWN, 0)


def test_reset_during_backoff_tries_at_once() -> None:
    found = m.step(proc(State.BACKOFF), m.Reset(), ctx())
    assert (found.proc.state, found.proc.tries, kinds(found)) == (State.PENDING, 0, ["reset"])


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_send_goes_to_the_leader_and_changes_nothing(state: State) -> None:
    found = m.step(proc(state), m.Send(10), ctx())
    assert found.proc == proc(state)
    assert doing(found) == [m.Signal(KEY, RUN, 10, group=False, stopping=False)]
    assert facts(found, "signalled")[0]["signum"] == 10


def test_send_to_a_run_that_is_not_born_is_refused() -> None:
    assert m.step(proc(State.STARTING, pid=None), m.Send(10), ctx()).refused == "web:0 is not running (starting)"


# New specs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_a_change_that_needs_a_new_run_restarts_gently(state: State) -> None:
    found = m.step(proc(state), m.Reconfigured(relaunch=True), ctx())
    assert (found.proc.state, found.proc.goal) == (State.STOPPING, Goal.UP)
    assert isinstance(doing(found)[0], m.Signal)


def test_a_live_change_touches_nothing() -> None:
    assert m.step(proc(State.RUNNING), m.Reconfigured(relaunch=False), ctx()) == m.Step(proc(State.RUNNING))


def test_a_new_successdelay_counts_from_the_birth() -> None:
    young = proc(State.STARTING, spec(successdelay=9.0), started_at=NOW - 1, deadline=NOW + 4)
    assert m.step(young, m.Reconfigured(relaunch=False), ctx()).proc.deadline == NOW + 8


def test_a_new_successdelay_before_the_birth_waits_for_it() -> None:
    unborn = proc(State.STARTING, started_at=None, pid=None, deadline=None)
    assert m.step(unborn, m.Reconfigured(relaunch=False), ctx()) == m.Step(unborn)


@pytest.mark.parametrize("state", [State.BACKOFF, State.EXITED, State.FATAL])
def test_a_corrected_job_starts_by_itself_if_it_is_wanted(state: State) -> None:
    assert m.step(proc(state), m.Reconfigured(relaunch=True), ctx()).proc.state is State.PENDING
    unwanted = proc(state, goal=Goal.DOWN)
    assert m.step(unwanted, m.Reconfigured(relaunch=True), ctx()) == m.Step(unwanted)
    assert m.step(proc(state), m.Reconfigured(relaunch=False), ctx()) == m.Step(proc(state))


# The shim is lost and found ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_what_is_not_heard_of_is_unknown(state: State) -> None:
    found = m.step(proc(state), m.LinkLost(), ctx())
    assert (found.proc.state, found.proc.goal, found.proc.deadline) == (State.UNKNOWN, proc(state).goal, None)


def test_a_living_run_is_adopted_where_it_stands() -> None:
    found = m.step(proc(State.UNKNOWN), m.Found(9, 99, NOW - 50), ctx())
    assert (found.proc.state, found.proc.run, found.proc.pid) == (State.RUNNING, 9, 99)
    assert (found.proc.since, found.proc.started_at, found.proc.deadline) == (NOW - 50, NOW - 50, None)
    assert doing(found) == []
    assert facts(found, "adopted") == [{"run": 9, "state": "running", "pid": 99}]


def test_a_young_run_is_adopted_as_starting() -> None:
    found = m.step(proc(State.UNKNOWN, spec(successdelay=5.0)), m.Found(9, 99, NOW - 1), ctx())
    assert (found.proc.state, found.proc.deadline) == (State.STARTING, NOW + 4)


@pytest.mark.parametrize(("goal", "stopping"), [(Goal.DOWN, False), (Goal.GONE, False), (Goal.UP, True)])
def test_a_living_run_that_is_not_wanted_or_was_being_stopped_is_stopped(goal: Goal, stopping: bool) -> None:
    found = m.step(proc(State.UNKNOWN, goal=goal), m.Found(RUN, PID, NOW - 50, stopping), ctx())
    assert (found.proc.state, found.proc.goal) == (State.STOPPING, goal)
    assert doing(found) == [m.Signal(KEY, RUN, 15, group=True, stopping=True)]


def test_what_is_not_there_starts_if_wanted() -> None:
    found = m.step(proc(State.UNKNOWN, pid=PID), m.NotFound(), ctx())
    assert (found.proc.state, found.proc.pid) == (State.PENDING, None)
    assert found.effects == ()


def test_what_its_last_run_left_behind_is_cleared_first_though_nobody_knows_whether_it_lives() -> None:
    found = m.step(proc(State.UNKNOWN, lingering=2), m.NotFound(), ctx())
    assert found.proc.state is State.STOPPING
    assert doing(found) == [m.KillTree(KEY, RUN, tree=True)]
    spared = m.step(proc(State.UNKNOWN, spec(killgroup=False), lingering=2), m.NotFound(), ctx())
    assert (spared.proc.state, spared.proc.lingering) == (State.PENDING, 0)


@pytest.mark.parametrize(("goal", "effects"), [(Goal.DOWN, []), (Goal.GONE, [m.Forget(KEY)])])
def test_what_is_not_there_and_not_wanted_rests(goal: Goal, effects: list[m.Effect]) -> None:
    found = m.step(proc(State.UNKNOWN, goal=goal, pid=PID, reason=""), m.NotFound(), ctx())
    assert (found.proc.state, found.proc.pid, found.proc.reason) == (State.STOPPED, None, "is not wanted")
    assert doing(found) == effects


@pytest.mark.parametrize(("command", "goal"), [(m.Start(), Goal.UP), (m.Stop(), Goal.DOWN), (m.Remove(), Goal.GONE)])
def test_commands_to_the_unknown_wait_for_the_shim(command: m.Stimulus, goal: Goal) -> None:
    found = m.step(proc(State.UNKNOWN), command, ctx())
    assert (found.proc.state, found.proc.goal, found.effects) == (State.UNKNOWN, goal, ())


# Words ---------------------------------------------------------------------------------------------------------------


def test_an_end_is_told_with_what_it_has_to_say() -> None:
    found = m.step(proc(State.RUNNING, spec(restart=Restart.NEVER)), m.Exited(RUN, CLEAN), ctx())
    assert facts(found, "exited") == [{"run": RUN, "state": "exited", "code": 0, "expected": True, "lingering": 0}]
