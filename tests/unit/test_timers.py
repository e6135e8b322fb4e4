"""What is to be called later is called once, in order, and never after it was cancelled."""

from __future__ import annotations

from taskmaster_core.timers import Timers


def test_calls_come_in_the_order_of_their_instants() -> None:
    timers, called = Timers(), []
    for when in (3.0, 1.0, 2.0):
        timers.at(when, lambda when=when: called.append(when))
    timers.run(10.0)
    assert called == [1.0, 2.0, 3.0]


def test_calls_of_one_instant_come_in_the_order_they_were_asked_for() -> None:
    timers, called = Timers(), []
    for name in "abc":
        timers.at(1.0, lambda name=name: called.append(name))
    timers.run(1.0)
    assert called == ["a", "b", "c"]


def test_nothing_is_called_before_its_time_nor_twice() -> None:
    timers, called = Timers(), []
    timers.at(2.0, lambda: called.append(2))
    timers.run(1.9)
    assert called == []
    timers.run(2.0)
    timers.run(3.0)
    assert called == [2]


def test_first_instant_is_that_of_the_first_call_that_stands() -> None:
    timers = Timers()
    assert timers.deadline is None
    first = timers.at(1.0, lambda: None)
    timers.at(2.0, lambda: None)
    timers.run(0.5)
    first.cancel()
    assert timers.deadline == 2.0


def test_cancelled_call_never_happens() -> None:
    timers, called = Timers(), []
    timers.at(1.0, lambda: called.append(1)).cancel()
    timers.run(5.0)
    assert called == []
    assert timers.deadline is None


def test_call_may_cancel_another_that_is_due_too() -> None:
    timers, called = Timers(), []
    later = timers.at(2.0, lambda: called.append(2))
    timers.at(1.0, later.cancel)
    timers.run(5.0)
    assert called == []


def test_call_may_ask_for_another() -> None:
    timers, called = Timers(), []
    timers.at(1.0, lambda: called.append(timers.at(9.0, lambda: None).when))
    timers.run(5.0)
    assert timers.deadline == 9.0


def test_call_that_fails_is_not_called_again() -> None:
    timers = Timers()

    def fail() -> None:
        raise ZeroDivisionError

    timers.at(1.0, fail)
    try:
        timers.run(1.0)
    except ZeroDivisionError:
        assert timers.deadline is None
