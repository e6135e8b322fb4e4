"""The Events view goes back through the whole journal, and shows no hole where more happened than anybody keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from taskmaster_core.wire import Event
from taskmaster_tui.model import fmt
from taskmaster_tui.model.event_rows import EventRows
from taskmaster_tui.sync import RECENT
from tests.fakecore import FakeCore, event
from tests.tui.support import Stage, running, scripted

MANY = 1_200


@pytest.fixture
def journal() -> list[dict[str, Any]]:
    return [event(n) for n in range(1, MANY + 1)]


@pytest.fixture
def core(journal: list[dict[str, Any]]) -> Iterator[FakeCore]:
    core = scripted()
    core.on("events", lambda request: answer(journal, request["args"]))
    yield core
    core.close()


def answer(journal: list[dict[str, Any]], args: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer as the core does: of what lies between the bounds the newest n."""
    found = [each for each in journal if args.get("since", 0) < each["seq"] < args.get("before", 10**9)]
    return found[-args["n"] :] if "n" in args else found[:5_000]


def numbers(stage: Stage) -> list[int]:
    return [int(each) for each in stage.app.view.rows.ids()]  # type: ignore[union-attr]


async def test_who_goes_to_the_top_again_and_again_comes_to_the_very_first_event(core: FakeCore):
    async with running(core) as stage:
        await stage.press("3")
        await stage.until(lambda: numbers(stage)[:1] == [MANY - 499])
        for first in (MANY - 999, 1):
            await stage.press("g")
            await stage.until(lambda first=first: numbers(stage)[0] == first)
            await stage.press("G")
        assert numbers(stage) == list(range(1, MANY + 1))


async def test_a_view_that_was_left_for_long_comes_back_without_a_hole(core: FakeCore, journal: list[dict[str, Any]]):
    async with running(core) as stage:
        await stage.press("3")
        await stage.until(lambda: numbers(stage)[:1] == [MANY - 499])
        await stage.press("1")
        more = [event(n) for n in range(MANY + 1, MANY + RECENT + 11)]
        journal += more
        for each in more:
            core.publish(f"event.{each['type']}", each)
            if each["seq"] % 200 == 0 or each is more[-1]:  # no faster than anybody can hear it
                await stage.until(lambda seq=each["seq"]: stage.app.link.recent[-1].seq == seq)
        await stage.press("3")
        await stage.until(lambda: numbers(stage)[-1:] == [MANY + RECENT + 10])
        assert (found := numbers(stage)) == list(range(found[0], MANY + RECENT + 11))


async def test_an_event_of_another_day_has_its_date_and_its_minute(core: FakeCore):
    async with running(core) as stage:
        await stage.press("3")
        await stage.until(lambda: numbers(stage)[:1] == [MANY - 499])
        assert f"{fmt.stamp(1764000000.0 + MANY)[5:16]} " in stage.text.splitlines()[-4]


# What is kept in memory -----------------------------------------------------------------------------------------------


def some(first: int, last: int) -> Iterator[Event]:
    return iter(msgspec.convert([event(n) for n in range(first, last + 1)], list[Event]))


def test_of_more_events_than_may_be_kept_the_oldest_are_forgotten():
    rows = EventRows()
    assert not rows.add(some(1, 10), most=10)
    assert rows.add(some(11, 15), most=10)
    assert list(rows.ids()) == [str(n) for n in range(6, 16)]
    assert (rows.first, rows.last) == (6, 15)


def test_what_is_forgotten_under_a_filter_takes_no_other_row_with_it():
    rows = EventRows()
    rows.filter = "exited"
    rows.add(some(1, 10), most=10)
    rows.load([*some(1, 9), Event(10, "b1", 1.0, "exited", "web:0", next(some(1, 1)).cause, {"run": 1})])
    rows.add(some(11, 12), most=10)
    assert list(rows.ids()) == ["10"]
