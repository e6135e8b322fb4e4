"""Suspends, steps of the wall clock and starved loops, in the parts that keep time (G11, K01, K02, K04).

No clock of the host is touched: `now` and the wall are arguments. tests/integration/test_clocks.py moves the clocks of
a whole instance.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core import machine as m
from taskmaster_core.eventlog import KEPT, EventLog
from taskmaster_core.logs.cursors import Cursor
from taskmaster_core.logs.index import Index
from taskmaster_core.logs.lines import Label, Sift
from taskmaster_core.logs.stream import Ask, Stream
from taskmaster_core.publisher import Publisher
from taskmaster_core.spec import Backoff, StopStep
from taskmaster_core.steady import Steady
from taskmaster_core.supervisor import Supervisor
from taskmaster_core.timers import Timers
from taskmaster_core.wire import Cause
from tests.harness import wait_until
from tests.logs_shim import FakeShim
from tests.world import TERM, World, job

HOUR = 3600.0
YEAR = 31536000.0


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


# K02, K04: what was due while nobody looked --------------------------------------------------------------------------


def in_backoff(number: int, **backoff: float) -> World:
    """Return a world in which all processes of a job wait for their next try, for as long as can be."""
    usual = {"first": 20.0, "factor": 1.0, "max": 20.0, "jitter": 0.5}
    world = World(job("web", number, retry=None, backoff=Backoff(**{**usual, **backoff})))
    world.born()
    for _ in range(2):
        for index in range(number):
            world.die(f"web:{index}")
        world.born()
    assert set(world.core.states().values()) == {"backoff"}
    return world


def starts_by_second(world: World, seconds: int) -> list[int]:
    """Return how many runs begin in each of the coming seconds."""
    begun = []
    for _ in range(seconds):
        before = len(world.shim.order)
        world.wait(1.0)
        world.born()
        begun.append(len(world.shim.order) - before)
    return begun


def test_K02_retries_after_a_suspend_are_spread_by_their_jitter() -> None:
    """A hundred retries that were slept through do not come at once: their jitter parts them, and each comes once."""
    world = in_backoff(100)
    spawned = len(world.shim.order)
    world.wait(8 * HOUR)
    at_once = len(world.shim.order) - spawned
    begun = starts_by_second(world, 16)
    assert at_once + sum(begun) == 100
    assert max(at_once, *begun) <= 30
    assert sum(count > 0 for count in begun) >= 8
    assert set(world.core.states().values()) == {"running"}


def test_K02_retry_that_is_a_little_late_comes_at_once() -> None:
    world = in_backoff(1)
    due = world.core.supervisor.deadline
    assert due is not None
    world.wait(due + 4.0 - world.shim.now)
    assert world.core.states() == {"web:0": "starting"}


def test_K02_retry_without_jitter_comes_at_once_after_a_suspend() -> None:
    world = in_backoff(1, jitter=0.0)
    world.wait(8 * HOUR)
    world.wait(0.0)
    assert world.core.states() == {"web:0": "starting"}


@pytest.mark.parametrize("gap", [30.0, 8 * HOUR])
def test_K02_stop_that_was_slept_through_is_followed_by_one_kill(gap: float) -> None:
    """Delays are of CLOCK_BOOTTIME: a stop whose delay passed in a suspend is escalated once, and not twice."""
    world = World(job("web"))
    world.born()
    world.core.command(m.Stop(), "web")
    world.core.turn()
    world.wait(gap)
    world.wait(0.0)
    assert world.shim.runs["web:0"].signals == [TERM, 9]
    world.obey()
    assert world.core.states() == {"web:0": "stopped"}


def test_K02_start_that_was_slept_through_counts_as_running() -> None:
    world = World(job("web", successdelay=60.0))
    world.born()
    world.wait(8 * HOUR)
    assert world.core.states() == {"web:0": "running"}
    assert world.core.told("running") == ["web:0"]


def test_K04_starved_loop_meets_each_deadline_once_and_the_oldest_first() -> None:
    """A loop that stood still for 30 s meets what it missed once each, in its order; nobody is killed twice."""
    slow, fast = job("a", successdelay=9.0), job("b", successdelay=3.0)
    world = World(slow, fast, job("c"), job("d", stop=(StopStep(TERM, 2.0),)))
    world.born()
    world.core.command(m.Stop(), "c", "d")
    world.core.turn()
    world.wait(30.0)
    world.wait(0.0)
    assert world.core.told("running") == ["b:0", "a:0"]
    assert world.core.told("killed") == ["d:0", "c:0"]
    assert [world.shim.runs[key].signals for key in ("c:0", "d:0")] == [[TERM, 9], [TERM, 9]]


def test_K04_exit_that_was_not_read_in_time_is_not_killed_again() -> None:
    """What the shim had told before the loop stood still is taken in before any deadline is looked at."""
    world = World(job("web"))
    world.born()
    world.core.command(m.Stop(), "web")
    world.core.turn()
    world.shim.die(world.shim.runs["web:0"], signal=TERM)
    world.wait(30.0)
    assert world.core.told("killed") == []
    assert world.core.states() == {"web:0": "stopped"}


# K01: what cannot be taken back --------------------------------------------------------------------------------------


class Clocks:
    """A wall and a boot clock that a test moves."""

    def __init__(self) -> None:
        self.at, self.boot = 1.7e9, 1000.0
        self.steady = Steady(lambda: self.at, lambda: self.boot)

    def passes(self, seconds: float, *, step: float = 0.0) -> float:
        """Let time pass and the wall clock be set; return what is believed, as an offset from the start."""
        self.boot += seconds
        self.at += seconds + step
        return self.steady.now() - 1.7e9


def test_K01_clock_set_forward_is_not_deleted_by_until_it_has_stood_for_a_day() -> None:
    """Nothing is deleted for its age because the clock jumped a year: a new time must stand for a day first."""
    clocks = Clocks()
    assert clocks.passes(10, step=YEAR) == 10
    assert clocks.passes(3600) == 3610
    assert clocks.passes(86400) == pytest.approx(90010 + YEAR)


def test_K01_clock_set_forward_and_back_was_never_believed() -> None:
    clocks = Clocks()
    clocks.passes(10, step=YEAR)
    assert clocks.passes(80000, step=-YEAR) == 80010
    assert clocks.passes(80000, step=YEAR) == 160010


def test_K01_clock_set_back_is_believed_at_once() -> None:
    clocks = Clocks()
    assert clocks.passes(10, step=-YEAR) == 10 - YEAR


def test_K01_clock_that_storms_by_a_second_stays_what_it_is() -> None:
    clocks = Clocks()
    for number in range(1000):
        clocks.passes(1, step=(-1.0) ** number)
    assert clocks.passes(0) == pytest.approx(1000, abs=1)


def test_K02_suspend_is_no_step() -> None:
    clocks = Clocks()
    assert clocks.passes(8 * HOUR) == 8 * HOUR


# K01: output and logs that seem to come from the future --------------------------------------------------------------


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[FakeShim]:
    made = FakeShim(tmp_path)
    yield made
    made.close()


def read(shim: FakeShim, **more: Any) -> tuple[list[bytes], bool]:
    batch = Stream(shim.path, shim.index).read(Cursor(), Ask(Sift(lambda tag: Label(tag, "out")), **more))
    return [line.data for _, line in batch.lines], batch.held


def test_K01_prompt_written_before_the_clock_was_set_back_is_shown(shim: FakeShim) -> None:
    """A last line without an end is shown once it rests, also where the clock says that it is not written yet."""
    shim.append(b"password: ", time.time() + YEAR)
    assert read(shim, rest=0.3) == ([b"password: "], False)


def test_K01_output_without_index_is_shown_though_its_file_is_of_the_future(shim: FakeShim) -> None:
    shim.append(b"one\n", time.time() + YEAR)
    shim.append(b"two\n", time.time() + YEAR, record=False)
    assert read(shim, settle=True) == ([b"one\n", b"two\n"], False)


@pytest.mark.parametrize("times", [(0, -YEAR, 10), (0, YEAR, 10), (0, -YEAR, -YEAR + 5, 10, YEAR, 20)])
def test_K01_first_line_since_is_found_though_the_clock_was_set(shim: FakeShim, times: tuple[float, ...]) -> None:
    """`logs --since` begins with the first line of that time or later, in whatever order the clock stamped them."""
    for number, at in enumerate(times):
        shim.append(b"%d\n" % number, 1.7e9 + at)
    index = Index.open(shim.index)
    assert index is not None
    for since in (-2 * YEAR, -YEAR + 1, -1, 1, 15, YEAR - 1):
        wanted = next((2 * number for number, at in enumerate(times) if at >= since), None)
        assert index.first_at(1.7e9 + since) == wanted
    index.close()


def told_in(directory: Path) -> str:
    texts = []
    for each in directory.iterdir():
        with suppress(FileNotFoundError):  # rotated away meanwhile
            texts.append(each.read_text())
    return "".join(texts)


def test_K01_newest_parts_of_the_log_are_kept_when_the_clock_is_set_back(tmp_path: Path) -> None:
    """Of the core's own log the parts rotated last are kept, also if they seem to be a year older."""
    path = tmp_path / "taskmaster.log"
    log = EventLog(str(path), "info", max_size=100)
    for number in range(12):
        log.write(1e9, "notice", "", Cause("boot"), {"message": f"n{number} " + "x" * 100})
        # each line is a part of its own: it is rotated once it is written
        wait_until(lambda number=number: f" n{number} " in told_in(tmp_path) and not path.exists())
        for each in tmp_path.glob("taskmaster.log.*"):
            if f" n{number} " in each.read_text():
                os.utime(each, (1e9 - number * 1000, 1e9 - number * 1000))
    log.close()
    kept = told_in(tmp_path)
    assert [number for number in range(12) if f" n{number} " in kept] == list(range(12 - KEPT, 12))
