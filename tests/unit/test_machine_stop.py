"""Stopping: the recipe's steps, escalation, trees, what is left behind, what does not die."""

from __future__ import annotations

import pytest

from taskmaster_core import machine as m
from taskmaster_core.spec import Goal, State
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

TERM, INT = 15, 2


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_stop_sends_the_stop_signal_to_the_group_and_waits_stopdelay(state: State) -> None:
    found = m.step(proc(state), m.Stop(), ctx(why="stopped by hand"))
    assert (found.proc.state, found.proc.goal, found.proc.reason) == (State.STOPPING, Goal.DOWN, "stopped by hand")
    assert found.proc.deadline == NOW + 10
    assert doing(found) == [m.Signal(KEY, RUN, TERM, group=True, stopping=True)]
    assert facts(found, "stopping") == [{"run": RUN, "state": "stopping", "goal": "down"}]


def test_without_killgroup_only_the_leader_is_signalled_and_killed() -> None:
    alone = proc(State.RUNNING, spec(killgroup=False))
    term, kill = run_of(alone, m.Stop(), m.Deadline())
    assert doing(term) == [m.Signal(KEY, RUN, TERM, group=False, stopping=True)]
    assert doing(kill) == [m.KillTree(KEY, RUN, tree=False)]


def test_steps_follow_one_another_then_sigkill() -> None:
    first = proc(State.RUNNING, spec(stop=[(INT, 10.0), (TERM, 5.0)]))
    one, two, three = run_of(first, m.Stop(), m.Deadline(), m.Deadline())
    assert [doing(one), one.proc.deadline] == [[m.Signal(KEY, RUN, INT, group=True, stopping=True)], NOW + 10]
    assert [doing(two), two.proc.deadline] == [[m.Signal(KEY, RUN, TERM, group=True, stopping=True)], NOW + 5]
    assert doing(three) == [m.KillTree(KEY, RUN, tree=True)]
    assert facts(three, "killed") == [{"run": RUN, "state": "stopping", "pid": PID, "forced": True}]


def test_escalation_keeps_the_goal_of_a_restart() -> None:
    *_, killed = run_of(proc(State.RUNNING), m.Relaunch(), m.Deadline())
    assert killed.proc.goal is Goal.UP


def test_a_process_that_survives_sigkill_stays_stopping_and_says_so_for_ever() -> None:
    *_, once, again = run_of(proc(State.RUNNING), m.Stop(), m.Deadline(), m.Deadline(), m.Deadline())
    for found in (once, again):
        assert found.proc.state is State.STOPPING
        assert found.proc.unkillable
        assert found.proc.reason == "does not die of SIGKILL"
        assert kinds(found) == ["unkillable", "KillTree"]
        assert found.proc.deadline == NOW + 60


def test_the_shims_word_that_it_does_not_die_is_passed_on() -> None:
    found = m.step(proc(State.STOPPING, step=-1), m.Unkillable(RUN, (PID, 5)), ctx())
    assert facts(found, "unkillable") == [{"run": RUN, "state": "stopping", "pid": PID, "pids": [PID, 5]}]
    assert found.proc.unkillable
    assert found.proc.deadline == NOW + 10


def test_the_end_of_the_tree_is_told_with_what_was_swept() -> None:
    end = m.Exited(RUN, KILLED, swept=("77 mole",))
    found = m.step(proc(State.STOPPING, step=-1, unkillable=True, tries=2, streak=2), end, ctx())
    assert (found.proc.state, found.proc.pid, found.proc.exit) == (State.STOPPED, None, KILLED)
    assert (found.proc.tries, found.proc.streak, found.proc.unkillable, found.proc.deadline) == (0, 0, False, None)
    assert facts(found, "stopped") == [
        {"run": RUN, "state": "stopped", "signal": "SIGKILL", "swept": ["77 mole"], "forced": True}
    ]


def test_without_killgroup_the_rest_is_left_and_named_until_it_has_ended() -> None:
    left = proc(State.STOPPING, spec(killgroup=False))
    found = m.step(left, m.Exited(RUN, CLEAN, lingering=2, left=("7 sh", "8 nap")), ctx())
    told = facts(found, "stopped")[0]
    assert (told["lingering"], told["left"]) == (2, ["7 sh", "8 nap"])
    assert (found.proc.state, found.proc.lingering, found.proc.left) == (State.STOPPED, 2, ("7 sh", "8 nap"))
    fewer = m.step(found.proc, m.Exited(RUN, CLEAN, lingering=0), ctx()).proc
    assert (fewer.lingering, fewer.left) == (0, ())


def test_what_is_left_is_not_counted_as_the_next_runs() -> None:
    left = proc(State.STOPPING, spec(killgroup=False), goal=Goal.UP)
    queued = m.step(left, m.Exited(RUN, CLEAN, lingering=1, left=("7 sh",)), ctx())
    assert facts(queued, "stopped")[0]["left"] == ["7 sh"]
    assert (queued.proc.state, queued.proc.lingering, queued.proc.left) == (State.PENDING, 0, ())


def test_who_did_not_end_with_the_leader_and_was_killed_is_named() -> None:
    end = m.Exited(RUN, CLEAN, swept=("mole (7)",), outlived=("sh (8)",), unnamed=3)
    told = facts(m.step(proc(State.STOPPING, step=-1), end, ctx()), "stopped")[0]
    assert (told["swept"], told["outlived"], told["unnamed"]) == (["mole (7)"], ["sh (8)"], 3)


def test_a_job_at_rest_whose_rest_is_left_names_it_when_it_is_stopped() -> None:
    resting = proc(State.EXITED, spec(killgroup=False), lingering=1, left=("7 sh",))
    assert facts(m.step(resting, m.Stop(), ctx()), "stopped")[0]["left"] == ["7 sh"]


def test_restart_stops_first_and_queues_when_the_tree_is_gone() -> None:
    stopping, down, launched = run_of(proc(State.RUNNING), m.Relaunch(), m.Exited(RUN, CLEAN), m.GateOpened())
    assert stopping.proc.goal is Goal.UP
    assert down.proc.state is State.PENDING
    assert facts(down, "stopped")[0]["state"] == "pending"
    assert doing(launched) == [m.Spawn(KEY, RUN + 1, launched.proc.spec)]


def test_removal_is_gentle_and_forgets_at_the_end() -> None:
    stopping, gone = run_of(proc(State.RUNNING), m.Remove(), m.Exited(RUN, CLEAN))
    assert doing(stopping) == [m.Signal(KEY, RUN, TERM, group=True, stopping=True)]
    assert stopping.proc.goal is Goal.GONE
    assert doing(gone) == [m.Forget(KEY)]


@pytest.mark.parametrize("state", [State.STOPPED, State.PENDING, State.BACKOFF, State.EXITED, State.FATAL])
def test_removal_of_what_does_not_run_forgets_at_once(state: State) -> None:
    found = m.step(proc(state), m.Remove(), ctx())
    assert doing(found) == [m.Forget(KEY)]
    assert found.proc.goal is Goal.GONE


@pytest.mark.parametrize("state", [State.STOPPING, State.UNKNOWN])
def test_removal_during_stop_changes_the_goal_only(state: State) -> None:
    found = m.step(proc(state), m.Remove(), ctx(why="gone from the config"))
    assert (found.proc.state, found.proc.goal, found.effects) == (state, Goal.GONE, ())
    assert found.proc.reason == "gone from the config"


def test_what_is_being_removed_cannot_be_started_or_merely_stopped() -> None:
    leaving = proc(State.STOPPING, goal=Goal.GONE)
    assert "being removed" in m.step(leaving, m.Start(), ctx()).refused
    assert m.step(leaving, m.Stop(), ctx()).proc.goal is Goal.GONE
    assert m.step(leaving, m.Kill(), ctx()).proc.goal is Goal.GONE


def test_a_job_that_comes_back_is_wanted_again() -> None:
    assert m.step(proc(State.STOPPING, goal=Goal.GONE), m.Readmit(Goal.UP), ctx()).proc.goal is Goal.UP
    assert m.step(proc(State.STOPPING, goal=Goal.DOWN), m.Readmit(Goal.UP), ctx()).proc.goal is Goal.DOWN


@pytest.mark.parametrize("state", [State.PENDING, State.BACKOFF, State.EXITED, State.FATAL])
@pytest.mark.parametrize("command", [m.Stop(), m.Kill()], ids=["stop", "kill"])
def test_stop_of_what_does_not_run_settles_it(command: m.Stimulus, state: State) -> None:
    found = m.step(proc(state), command, ctx())
    assert (found.proc.state, found.proc.goal, found.proc.deadline) == (State.STOPPED, Goal.DOWN, None)
    assert (found.proc.tries, found.proc.streak, found.proc.reason) == (0, 0, "is not wanted")
    assert kinds(found) == ["stopped"]


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_kill_kills_the_tree_at_once(state: State) -> None:
    found = m.step(proc(state), m.Kill(), ctx(why="killed by hand"))
    assert doing(found) == [m.KillTree(KEY, RUN, tree=True)]
    assert (found.proc.state, found.proc.goal, found.proc.deadline) == (State.STOPPING, Goal.DOWN, NOW + 10)
    assert facts(found, "killed")[0]["forced"] is False


# Runs that are not born yet ------------------------------------------------------------------------------------------


def unborn() -> m.Proc:
    return proc(State.STARTING, pid=None, started_at=None, deadline=None)


def test_L30_stop_during_start_waits_for_the_pid_then_stops() -> None:
    waiting, born, down = run_of(unborn(), m.Stop(), m.Spawned(RUN, PID, NOW), m.Exited(RUN, CLEAN))
    assert doing(waiting) == []
    assert waiting.proc.deadline is None
    assert doing(born) == [m.Signal(KEY, RUN, TERM, group=True, stopping=True)]
    assert (born.proc.deadline, born.proc.pid) == (NOW + 10, PID)
    assert down.proc.state is State.STOPPED


def test_L30_kill_during_start_kills_once_born() -> None:
    waiting, born = run_of(unborn(), m.Kill(), m.Spawned(RUN, PID, NOW))
    assert kinds(waiting) == ["killed"]
    assert kinds(born) == ["started", "KillTree"]
    assert born.proc.deadline == NOW + 10


def test_L30_kill_after_stop_during_start_reaches_a_run_on_its_way() -> None:
    *_, killed = run_of(unborn(), m.Stop(), m.Kill())
    assert doing(killed) == [m.KillTree(KEY, RUN, tree=True)]


def test_L30_a_run_that_was_unwanted_and_never_born_is_stopped() -> None:
    _, found = run_of(unborn(), m.Stop(), m.SpawnFailed(RUN, NO_SUCH_FILE))
    assert (found.proc.state, found.proc.exit) == (State.STOPPED, NO_SUCH_FILE)
    assert facts(found, "failed")[0]["errno"] == "ENOENT"


def test_L30_start_during_stop_starts_again_afterwards() -> None:
    wanted, down = run_of(proc(State.STOPPING), m.Start(), m.Exited(RUN, CLEAN))
    assert wanted.effects == ()
    assert down.proc.state is State.PENDING


def test_L30_last_command_of_a_burst_wins() -> None:
    burst: list[m.Stimulus] = [m.Stop(), m.Start(), m.Relaunch(), m.Stop(), m.Start(), m.Stop()]
    found = run_of(proc(State.RUNNING), *burst, m.Exited(RUN, CLEAN))
    assert [len(doing(step)) for step in found] == [1, 0, 0, 0, 0, 0, 0]
    assert found[-1].proc.state is State.STOPPED


def test_L30_ten_restarts_in_a_burst_are_one() -> None:
    found = run_of(proc(State.RUNNING), *[m.Relaunch()] * 10, m.Exited(RUN, CLEAN), m.GateOpened())
    assert sum(isinstance(effect, m.Signal) for step in found for effect in step.effects) == 1
    assert sum(isinstance(effect, m.Spawn) for step in found for effect in step.effects) == 1


def test_a_doubled_report_of_the_birth_does_not_begin_the_recipe_again() -> None:
    *_, second, doubled = run_of(
        proc(State.RUNNING, spec(stop=[(INT, 10.0), (TERM, 5.0)])), m.Stop(), m.Deadline(), m.Spawned(RUN, PID, NOW)
    )
    assert doubled == m.Step(second.proc)


# What the last run left behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.EXITED, State.FATAL, State.STOPPED])
def test_what_was_left_behind_is_cleared_before_the_next_run(state: State) -> None:
    clearing, cleared, launched = run_of(
        proc(state, lingering=2, run=RUN), m.Start(), m.Exited(RUN, FAILED), m.GateOpened()
    )
    assert clearing.proc.state is State.STOPPING
    assert kinds(clearing) == ["stopping", "KillTree"]
    assert facts(clearing, "stopping")[0]["lingering"] == 2
    assert kinds(cleared) == ["cleared"]
    assert (cleared.proc.state, cleared.proc.lingering) == (State.PENDING, 0)
    assert doing(launched) == [m.Spawn(KEY, RUN + 1, launched.proc.spec)]


def test_restart_after_a_death_clears_first() -> None:
    found = m.step(proc(State.RUNNING), m.Exited(RUN, FAILED, lingering=1), ctx())
    assert kinds(found) == ["exited", "stopping", "KillTree"]
    assert facts(found, "exited")[0]["lingering"] == 1


def test_retry_after_backoff_clears_first() -> None:
    found = m.step(proc(State.BACKOFF, lingering=1), m.Deadline(), ctx())
    assert kinds(found) == ["stopping", "KillTree"]


@pytest.mark.parametrize(("command", "end"), [(m.Stop(), []), (m.Remove(), [m.Forget(KEY)])], ids=["stop", "remove"])
def test_stop_and_removal_clear_what_was_left_behind(command: m.Stimulus, end: list[m.Effect]) -> None:
    clearing, cleared = run_of(proc(State.EXITED, lingering=3), command, m.Exited(RUN, CLEAN))
    assert doing(clearing) == [m.KillTree(KEY, RUN, tree=True)]
    assert cleared.proc.state is State.STOPPED
    assert doing(cleared) == end


def test_clearing_can_be_told_not_to_die() -> None:
    clearing, told = run_of(proc(State.EXITED, lingering=1), m.Start(), m.Unkillable(RUN, (9,)))
    assert clearing.proc.pid is None
    assert told.proc.unkillable


def test_a_doubled_report_of_the_birth_does_not_disturb_clearing() -> None:
    clearing, doubled = run_of(proc(State.EXITED, lingering=1, started_at=NOW - 9), m.Start(), m.Spawned(RUN, PID, NOW))
    assert doubled == m.Step(clearing.proc)


def test_without_killgroup_what_was_left_behind_is_let_be() -> None:
    found = m.step(proc(State.EXITED, spec(killgroup=False), lingering=1), m.Start(), ctx())
    assert (found.proc.state, found.proc.lingering, doing(found)) == (State.PENDING, 0, [])


@pytest.mark.parametrize("state", [State.STOPPED, State.BACKOFF, State.EXITED, State.FATAL])
def test_what_was_left_behind_and_ended_by_itself_needs_no_clearing(state: State) -> None:
    noted = m.step(proc(state, run=RUN, lingering=2), m.Exited(RUN, CLEAN), ctx())
    assert noted == m.Step(proc(state, run=RUN, lingering=0))
    assert m.step(noted.proc, m.Start(), ctx()).proc.state is State.PENDING


def test_a_leader_that_ended_before_the_stop_reached_it_takes_its_rest_along() -> None:
    _, clearing, cleared = run_of(
        proc(State.RUNNING), m.Stop(), m.Exited(RUN, FAILED, lingering=2), m.Exited(RUN, FAILED)
    )
    assert kinds(clearing) == ["exited", "KillTree"]
    assert (clearing.proc.state, clearing.proc.lingering, clearing.proc.exit) == (State.STOPPING, 2, FAILED)
    assert clearing.proc.deadline == NOW + 10
    assert kinds(cleared) == ["cleared"]
    assert cleared.proc.state is State.STOPPED


def test_the_first_end_told_twice_does_not_end_the_clearing() -> None:
    clearing, doubled = run_of(proc(State.EXITED, lingering=2), m.Start(), m.Exited(RUN, CLEAN, lingering=2))
    assert doubled == m.Step(clearing.proc)


# Extremes ------------------------------------------------------------------------------------------------------------


def test_K06_stopdelay_zero_kills_at_the_next_look() -> None:
    term, kill = run_of(proc(State.RUNNING, spec(stop=[(TERM, 0.0)])), m.Stop(), m.Deadline())
    assert term.proc.deadline == NOW
    assert doing(kill) == [m.KillTree(KEY, RUN, tree=True)]


def test_K06_stopdelay_of_decades_is_a_deadline_like_any_other() -> None:
    found = m.step(proc(State.RUNNING, spec(stop=[(TERM, 1e9)])), m.Stop(), ctx())
    assert found.proc.deadline == NOW + 1e9


def test_K04_a_deadline_that_is_seen_late_escalates_one_step() -> None:
    patient = proc(State.RUNNING, spec(stop=[(INT, 1.0), (TERM, 1.0)]))
    stopping = m.step(patient, m.Stop(), ctx()).proc
    late = m.step(stopping, m.Deadline(), ctx(NOW + 30))
    assert doing(late) == [m.Signal(KEY, RUN, TERM, group=True, stopping=True)]
    assert late.proc.deadline == NOW + 31


def test_L32_exit_at_the_border_of_stopdelay_is_one_transition_whichever_comes_first() -> None:
    stopping = m.step(proc(State.RUNNING), m.Stop(), ctx()).proc
    first_exit = run_of(stopping, m.Exited(RUN, CLEAN), m.Deadline(), now=NOW + 10)
    first_deadline = run_of(stopping, m.Deadline(), m.Exited(RUN, CLEAN), now=NOW + 10)
    assert first_exit[-1] == m.Step(first_exit[0].proc)
    assert [first_exit[-1].proc.state, first_deadline[-1].proc.state] == [State.STOPPED, State.STOPPED]


def test_a_restart_that_clears_first_keeps_the_reason_of_the_restart() -> None:
    found = m.step(proc(State.RUNNING), m.Exited(RUN, FAILED, lingering=1), ctx())
    assert found.proc.reason.startswith("restarted after")
