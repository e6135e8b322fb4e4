"""Suspends, steps of the wall clock and starved loops, in the parts that keep time (G11, K01, K02, K04).

No clock of the host is touched: `now` and the wall are arguments. tests/integration/test_clocks.py moves the clocks of
a whole instance.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskmaster_core.eventlog import EventLog
from taskmaster_core.publisher import Publisher
from taskmaster_core.supervisor import Supervisor
from taskmaster_core.timers import Timers

HOUR = 3600.0


class Heard:
    """A server that somebody subscribed to everything of."""

    topics = ("beat",)

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def wanted(self, topic: str) -> bool:
        return True

    def publish(self, topic: str, body: bytes) -> None:
        self.told.append((topic, json.loads(body)))

    def beats(self) -> list[dict[str, Any]]:
        return [body for topic, body in self.told if topic == "beat"]


class Beating:
    """A publisher that beats, and its clocks."""

    def __init__(self) -> None:
        self.timers, self.heard, self.offset = Timers(), Heard(), 1.7e9
        self.publisher = Publisher("b", 0, None, EventLog("/dev/null", "info"), self.timers)  # type: ignore[arg-type]
        self.publisher.server = self.heard  # type: ignore[assignment]
        self.publisher.wall_offset = lambda: self.offset
        self.publisher.topics_changed(1000.0)

    def look(self, now: float) -> list[dict[str, Any]]:
        """Return the beats of one turn of the loop."""
        self.heard.told.clear()
        self.timers.run(now)
        return self.heard.beats()


# K02: suspend --------------------------------------------------------------------------------------------------------


def test_K02_suspend_of_8_hours_is_followed_by_one_beat() -> None:
    """After a suspend there is one beat, not one for each second of it, and the next one comes a second later."""
    beating = Beating()
    assert len(beating.look(1001.0)) == 1
    assert len(beating.look(1001.0 + 8 * HOUR)) == 1
    assert beating.timers.deadline == 1002.0 + 8 * HOUR
    assert len(beating.look(1002.0 + 8 * HOUR)) == 1


def test_K04_timer_that_plans_its_next_call_by_the_last_look_is_called_once() -> None:
    timers, called = Timers(), []

    def ring() -> None:
        called.append(timers.now)
        timers.at(timers.now + 1.0, ring)

    timers.at(1.0, ring)
    timers.run(30.0)
    assert called == [30.0]
    assert timers.deadline == 31.0


# K01: the wall clock -------------------------------------------------------------------------------------------------


def test_K01_beat_tells_the_wall_clock() -> None:
    beating = Beating()
    assert beating.look(1001.0)[0]["at"] == 1.7e9 + 1001.0


@pytest.mark.parametrize("step", [-31536000.0, 31536000.0, 1.0, -1.0])
def test_K01_clients_are_made_to_ask_anew_when_the_wall_clock_was_set(step: float) -> None:
    """What clients know of the past is told in wall time: after a step of the clock they ask for all of it again."""
    beating = Beating()
    before = beating.look(1001.0)[0]["batches"]
    beating.offset += step
    assert beating.look(1002.0)[0]["batches"] == before + 1
    assert beating.look(1003.0)[0]["batches"] == before + 1


def test_K01_slow_drift_makes_nobody_ask() -> None:
    beating = Beating()
    before = beating.look(1001.0)[0]["batches"]
    for number in range(10):
        beating.offset += 0.01
        beating.look(1002.0 + number)
    assert beating.publisher.batches == before


def test_K01_states_that_change_while_the_clock_steps_are_numbered_on() -> None:
    beating = Beating()
    beating.look(1001.0)
    beating.offset += HOUR
    beating.look(1002.0)
    beating.publisher.changed((), Supervisor(), 1002.0, lambda: beating.offset)
    beating.look(1002.5)
    states = [body for topic, body in beating.heard.told if topic == "state"]
    assert [each["n"] for each in states] == [2]
