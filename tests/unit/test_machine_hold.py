"""What a hold keeps back, what it leaves alone, and what its release makes up for."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core import machine as m
from taskmaster_core.spec import ALIVE, Goal, Restart, State
from tests.samples import CLEAN, FAILED, NO_SUCH_FILE, NOW, RUN, ctx, kinds, proc, run_of, spec

OWING: dict[str, Any] = {"held": True, "owed": True, "exit": FAILED}


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_what_runs_goes_on_when_it_is_held(state: State) -> None:
    before = proc(state)
    found = m.step(before, m.Hold(), ctx())
    assert (found.proc.state, found.proc.pid, found.proc.deadline) == (state, before.pid, before.deadline)
    assert found.proc.held
    assert kinds(found) == ["held"]


@pytest.mark.parametrize("state", State)
def test_hold_of_what_is_held_is_refused(state: State) -> None:
    assert m.step(proc(state, held=True), m.Hold(), ctx()).refused == "web:0 is held already"


@pytest.mark.parametrize("state", State)
def test_release_of_what_is_not_held_is_refused(state: State) -> None:
    assert m.step(proc(state), m.Release(), ctx()).refused == "web:0 is not held"


def test_end_while_held_rests_and_says_so() -> None:
    found = m.step(proc(State.RUNNING, held=True), m.Exited(RUN, FAILED), ctx())
    assert (found.proc.state, found.proc.goal, found.proc.owed) == (State.EXITED, Goal.UP, True)
    assert found.proc.reason == "exit code 1; held: not started again until it is released"
    assert found.proc.restarts == 0
    assert kinds(found) == ["exited"]


def test_early_end_and_failed_start_while_held_rest_too() -> None:
    held = proc(State.STARTING, spec(successdelay=5.0), held=True)
    assert m.step(held, m.Exited(RUN, CLEAN), ctx()).proc.state is State.EXITED
    assert m.step(held, m.SpawnFailed(RUN, NO_SUCH_FILE), ctx()).proc.owed


def test_expected_end_while_held_owes_nothing() -> None:
    found = m.step(proc(State.RUNNING, held=True), m.Exited(RUN, CLEAN), ctx()).proc
    assert (found.state, found.owed, found.reason) == (State.EXITED, False, "exit code 0")


def test_policy_always_owes_a_run_after_an_expected_end() -> None:
    found = m.step(proc(State.RUNNING, spec(restart=Restart.ALWAYS), held=True), m.Exited(RUN, CLEAN), ctx()).proc
    assert found.owed


def test_used_up_budget_is_fatal_while_held_too() -> None:
    found = m.step(proc(State.RUNNING, spec(retry=0), held=True), m.Exited(RUN, FAILED), ctx()).proc
    assert (found.state, found.owed) == (State.FATAL, False)


@pytest.mark.parametrize("state", [State.BACKOFF, State.PENDING])
def test_hold_takes_a_retry_back_and_its_count(state: State) -> None:
    found = m.step(proc(state, streak=2, restarts=5, exit=FAILED), m.Hold(), ctx())
    assert (found.proc.state, found.proc.deadline, found.proc.owed) == (State.EXITED, None, True)
    assert (found.proc.streak, found.proc.restarts) == (1, 4)
    assert kinds(found) == ["held"]


def test_hold_leaves_a_start_by_hand_that_waits_for_its_slot() -> None:
    found = m.step(proc(State.PENDING), m.Hold(), ctx()).proc
    assert (found.state, found.held, found.owed) == (State.PENDING, True, False)


def test_release_makes_up_for_the_restart_and_counts_it() -> None:
    found = m.step(proc(State.EXITED, **OWING, streak=1, restarts=4), m.Release(), ctx(why="released by uid 0"))
    assert (found.proc.state, found.proc.reason) == (State.PENDING, "released by uid 0")
    assert (found.proc.streak, found.proc.restarts, found.proc.held, found.proc.owed) == (2, 5, False, False)
    assert kinds(found) == ["released"]


@pytest.mark.parametrize("state", [State.EXITED, State.FATAL, State.STOPPED, State.RUNNING])
def test_release_of_what_owes_nothing_starts_nothing(state: State) -> None:
    assert m.step(proc(state, held=True), m.Release(), ctx()).proc.state is state


def test_release_first_ends_what_the_last_run_left_behind() -> None:
    found = m.step(proc(State.EXITED, **OWING, lingering=1), m.Release(), ctx())
    assert found.proc.state is State.STOPPING
    assert kinds(found) == ["released", "stopping", "KillTree"]


@pytest.mark.parametrize("command", [m.Start(), m.Relaunch()])
def test_start_by_hand_works_while_held_and_pays_the_debt(command: m.Stimulus) -> None:
    found = m.step(proc(State.EXITED, **OWING), command, ctx()).proc
    assert (found.state, found.held, found.owed) == (State.PENDING, True, False)


def test_restart_by_hand_of_what_runs_works_while_held() -> None:
    *_, last = run_of(proc(State.RUNNING, held=True), m.Relaunch(), m.Exited(RUN, CLEAN))
    assert (last.proc.state, last.proc.held) == (State.PENDING, True)


def test_stop_of_what_a_hold_kept_back_takes_the_debt_away() -> None:
    stopped, released = run_of(proc(State.EXITED, **OWING), m.Stop(), m.Release())
    assert (stopped.proc.state, stopped.proc.owed) == (State.STOPPED, False)
    assert released.proc.state is State.STOPPED


def test_new_command_of_the_config_waits_for_the_release() -> None:
    fatal = proc(State.FATAL, held=True)
    kept, released = run_of(fatal, m.Reconfigured(relaunch=True), m.Release())
    assert (kept.proc.state, kept.proc.owed) == (State.FATAL, True)
    assert (released.proc.state, released.proc.tries) == (State.PENDING, 0)


def test_clearing_before_a_retry_ends_at_rest_when_it_is_held() -> None:
    clearing = m.step(proc(State.BACKOFF, lingering=1), m.Deadline(), ctx()).proc
    held, cleared = run_of(clearing, m.Hold(), m.Exited(RUN, FAILED))
    assert held.proc.state is State.STOPPING
    assert (cleared.proc.state, cleared.proc.owed) == (State.EXITED, True)


def test_clearing_before_a_start_by_hand_goes_on_when_it_is_held() -> None:
    clearing = m.step(proc(State.EXITED, lingering=1), m.Start(), ctx()).proc
    *_, cleared = run_of(clearing, m.Hold(), m.Exited(RUN, FAILED))
    assert (cleared.proc.state, cleared.proc.held) == (State.PENDING, True)


def test_what_is_held_does_not_start_with_the_core() -> None:
    kept, released = run_of(proc(State.UNKNOWN, held=True, run=0), m.NotFound(), m.Release())
    assert (kept.proc.state, kept.proc.owed) == (State.EXITED, True)
    assert released.proc.state is State.PENDING


def test_what_is_held_and_lives_is_taken_over_by_the_next_core() -> None:
    found = m.step(proc(State.UNKNOWN, held=True), m.Found(RUN, 9, NOW - 5), ctx()).proc
    assert (found.state, found.held) == (State.RUNNING, True)
    assert found.state in ALIVE
