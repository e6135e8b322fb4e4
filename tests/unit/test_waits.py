"""When a command's effect has come: each judge, and the requests that wait for many processes."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core import machine as m
from taskmaster_core import waits as w
from taskmaster_core.spec import Goal, Key, State
from tests.samples import KEY, RUN, proc

OTHER = Key("web", 10)


@pytest.mark.parametrize(
    ("state", "changes", "verdict"),
    [
        (State.RUNNING, {"run": RUN + 1}, True),
        (State.RUNNING, {}, None),
        (State.EXITED, {"run": RUN + 1}, True),
        (State.EXITED, {}, False),
        (State.FATAL, {}, False),
        (State.STOPPED, {}, False),
        (State.PENDING, {}, None),
        (State.STARTING, {"run": RUN + 1}, None),
        (State.BACKOFF, {}, None),
        (State.STOPPING, {"goal": Goal.UP}, None),
        (State.STOPPING, {"goal": Goal.GONE}, False),
    ],
)
def test_a_start_is_done_once_the_new_run_has_been_running(state: State, changes: Any, verdict: bool | None) -> None:
    assert w.started(proc(state, **changes), RUN) is verdict


@pytest.mark.parametrize(
    ("state", "changes", "verdict"),
    [
        (State.STOPPED, {}, True),
        (State.STOPPING, {}, None),
        (State.STOPPING, {"goal": Goal.UP}, False),
        (State.RUNNING, {}, False),
        (State.UNKNOWN, {"goal": Goal.DOWN}, None),
    ],
)
def test_a_stop_is_done_once_nothing_is_left(state: State, changes: Any, verdict: bool | None) -> None:
    assert w.stopped(proc(state, **changes), RUN) is verdict


def test_what_is_gone_is_stopped_and_cannot_start() -> None:
    assert w.stopped(None, RUN) is True
    assert w.started(None, RUN) is False
    assert w.gone(None, RUN) is True
    assert w.gone(proc(State.STOPPING), RUN) is None


@pytest.mark.parametrize(
    ("wanted", "state", "verdict"),
    [
        ("up", State.RUNNING, True), ("up", State.STARTING, None), ("down", State.EXITED, True),
        ("down", State.STOPPING, None), ("fatal", State.FATAL, True), ("fatal", State.BACKOFF, None),
    ],
)  # fmt: skip
def test_waiting_for_a_state(wanted: str, state: State, verdict: bool | None) -> None:
    assert w.in_state(wanted)(proc(state), 0) is verdict


def test_waiting_for_what_is_gone() -> None:
    assert w.in_state("down")(None, 0) is True
    assert w.in_state("running")(None, 0) is False


def test_a_request_is_answered_when_the_last_is_settled_in_the_order_of_the_indices() -> None:
    waits = w.Waits()
    waits.add("r", w.stopped, {OTHER: 1, KEY: RUN})
    waits.tell(OTHER, None)
    assert waits.settled() == []
    waits.tell(KEY, proc(State.STOPPED))
    (settled,) = waits.settled()
    assert [(each.key, each.ok, each.state) for each in settled.done.outcomes] == [
        ("web:0", True, "stopped"), ("web:10", True, "gone"),
    ]  # fmt: skip
    assert settled.done.ok
    assert len(waits) == 0


def test_two_requests_may_wait_for_one_process() -> None:
    waits = w.Waits()
    waits.add("stop", w.stopped, {KEY: RUN})
    waits.add("start", w.started, {KEY: RUN})
    waits.tell(KEY, proc(State.STOPPED, reason="by hand"))
    found = {each.request: each.done for each in waits.settled()}
    assert [found["stop"].ok, found["start"].ok] == [True, False]
    assert found["start"].outcomes[0].note == "by hand"


def test_what_is_known_already_counts_and_nobody_is_waited_for_twice() -> None:
    waits = w.Waits()
    waits.add("r", w.stopped, {}, [w.outcome(KEY, proc(State.RUNNING), ok=False, note="no")])
    waits.tell(KEY, proc(State.STOPPED))
    (settled,) = waits.settled()
    assert (settled.done.ok, settled.done.outcomes[0].note) == (False, "no")


def test_giving_up_tells_how_far_it_came() -> None:
    waits = w.Waits()
    stuck: m.Proc = proc(State.STOPPING, reason="does not die of SIGKILL")
    waits.add("r", w.stopped, {KEY: RUN})
    done = waits.give_up("r", {KEY: stuck}.get)
    assert done is not None
    assert (done.ok, done.outcomes[0].note) == (False, "does not die of SIGKILL")
    assert waits.give_up("r", {KEY: stuck}.get) is None
    waits.tell(KEY, None)
    assert waits.settled() == []


def test_what_is_on_its_way_settles_nothing() -> None:
    waits = w.Waits()
    waits.add("r", w.stopped, {KEY: RUN})
    waits.tell(KEY, proc(State.STOPPING))
    assert (waits.settled(), len(waits)) == ([], 1)


@pytest.mark.parametrize(
    ("lingering", "left", "said"),
    [
        (0, (), ""),
        (1, ("4711 sleep",), "1 process of it still runs: 4711 sleep"),
        (2, ("4711 sleep", "4712 sh"), "2 processes of it still run: 4711 sleep, 4712 sh"),
        (12, ("4711 sleep",), "12 processes of it still run: 4711 sleep and 11 more"),
        (3, (), "3 processes of it still run"),
    ],
)
def test_who_outlives_a_stop_is_named(lingering: int, left: tuple[str, ...], said: str) -> None:
    assert w.left_behind(lingering, left) == said
