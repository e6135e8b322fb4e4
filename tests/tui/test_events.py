"""The Events view goes back through the whole journal, and shows no hole where more happened than anybody keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from taskmaster_core.errors import Refused
from taskmaster_core.wire import Event
from taskmaster_tui.model import fmt
from taskmaster_tui.model.event_rows import EventRows
from taskmaster_tui.screens import stretch
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
        await happened(stage, journal, [event(n) for n in range(MANY + 1, MANY + RECENT + 11)])
        await stage.press("3")
        await stage.until(lambda: numbers(stage)[-1:] == [MANY + RECENT + 10])
        assert (found := numbers(stage)) == list(range(found[0], MANY + RECENT + 11))


async def happened(stage: Stage, journal: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    """Let these events happen, no faster than anybody can hear them."""
    journal += more
    for each in more:
        stage.core.publish(f"event.{each['type']}", each)
        if each["seq"] % 200 == 0 or each is more[-1]:
            await stage.until(lambda seq=each["seq"]: stage.app.link.recent[-1].seq == seq)


async def begun(stage: Stage) -> None:
    await stage.press("3")
    await stage.until(lambda: numbers(stage)[:1] == [MANY - 499])


async def test_a_view_that_is_come_back_to_keeps_the_order_of_time(core: FakeCore, journal: list[dict[str, Any]]):
    async with running(core) as stage:
        await happened(stage, journal, [event(n) for n in range(MANY + 1, MANY + 701)])
        await stage.press("3")
        await stage.until(lambda: numbers(stage)[:1] == [MANY + 201])
        await stage.press("1", "3", "exclamation_mark", "exclamation_mark")
        assert numbers(stage) == list(range(MANY + 201, MANY + 701))


async def test_what_happened_while_the_picture_stood_still_is_there_afterwards(
    core: FakeCore, journal: list[dict[str, Any]]
):
    async with running(core) as stage:
        await begun(stage)
        await stage.press("F")
        await happened(stage, journal, [event(n) for n in range(MANY + 1, MANY + 11)])
        await stage.press("F")
        await stage.until(lambda: numbers(stage)[-1] == MANY + 10)


async def test_a_question_that_failed_is_asked_again_by_the_next_key(core: FakeCore, journal: list[dict[str, Any]]):
    async with running(core) as stage:
        await begun(stage)
        core.on("events", refused)
        await stage.press("g")
        await stage.says("the journal is locked")
        core.on("events", lambda request: answer(journal, request["args"]))
        await stage.press("g")
        await stage.until(lambda: numbers(stage)[0] == MANY - 999)


def refused(request: dict[str, Any]) -> Any:
    raise Refused("the journal is locked", "try again")


async def test_a_filter_that_matches_nothing_says_how_far_it_looked_and_a_key_looks_further(
    core: FakeCore, journal: list[dict[str, Any]]
):
    journal[4] = event(5, "fatal", "cron")
    async with running(core) as stage:
        await begun(stage)
        await stage.press("slash")
        await stage.type("cron")
        await stage.press("enter")
        await stage.says("none of 500 events since", "g looks further back")
        await stage.press("g")
        await stage.until(lambda: numbers(stage) == [5])


async def test_a_filter_that_matches_nothing_at_all_says_that_too(core: FakeCore):
    async with running(core) as stage:
        await begun(stage)
        await stage.press("slash")
        await stage.type("nothing-is-called-so")
        await stage.press("enter", "g")
        await stage.says(f"none of {fmt.count(MANY)} events since")
        assert "looks further back" not in stage.text


async def test_the_event_before_of_the_same_process_is_found_in_the_journal(
    core: FakeCore, journal: list[dict[str, Any]]
):
    journal[4], journal[-1] = event(5, "started", "cron"), event(MANY, "fatal", "cron")
    async with running(core) as stage:
        await begun(stage)
        await stage.press("left_square_bracket")
        await stage.until(lambda: stage.app.view.rowtree.cursor_id == "5")  # type: ignore[union-attr]


async def test_who_reads_far_back_keeps_his_place_and_comes_forward_again_without_a_hole(
    core: FakeCore, journal: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stretch, "READ", 1_000)
    async with running(core) as stage:
        await begun(stage)
        for first in (MANY - 999, 1):
            await stage.press("g")
            await stage.until(lambda first=first: numbers(stage)[0] == first)
        place = stage.app.view.rowtree.cursor_id  # type: ignore[union-attr]
        await happened(stage, journal, [event(n) for n in range(MANY + 1, MANY + 51)])
        assert stage.app.view.rowtree.cursor_id == place  # type: ignore[union-attr]
        assert numbers(stage) == list(range(1, 1_001))
        while numbers(stage)[-1] < MANY + 50:  # down, page by page
            await stage.press("pagedown")
        assert (found := numbers(stage)) == list(range(found[0], MANY + 51))
        assert len(found) <= 1_000


async def test_what_happens_while_somebody_reads_older_events_takes_none_of_them_away(
    core: FakeCore, journal: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stretch, "READ", 1_020)
    async with running(core) as stage:
        await begun(stage)
        await stage.press("g")
        await stage.until(lambda: numbers(stage)[0] == MANY - 999)
        await happened(stage, journal, [event(n) for n in range(MANY + 1, MANY + 51)])
        await stage.until(lambda: stage.app.view.stretch.cut)  # type: ignore[union-attr]
        found = numbers(stage)
        assert found == list(range(MANY - 999, found[-1] + 1))


async def test_the_end_that_is_gone_to_is_the_newest_event_there_is(
    core: FakeCore, journal: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stretch, "READ", 600)
    async with running(core) as stage:
        await begun(stage)
        await stage.press("g")
        await stage.until(lambda: numbers(stage)[0] == MANY - 999)
        assert numbers(stage)[-1] < MANY
        await stage.press("G")
        await stage.until(lambda: numbers(stage)[-1] == MANY)
        await stage.says("following")
        await happened(stage, journal, [event(MANY + 1)])
        await stage.until(lambda: numbers(stage)[-1] == MANY + 1)


async def test_a_core_that_lost_its_journal_is_followed_in_its_new_one(core: FakeCore, journal: list[dict[str, Any]]):
    async with running(core) as stage:
        await begun(stage)
        journal[:] = [event(n, boot="b2") for n in (1, 2, 3)]
        for each in journal:
            core.publish("event.started", each)
        await stage.until(lambda: numbers(stage) == [1, 2, 3])


async def test_the_events_of_a_process_are_there_though_the_picture_stood_still(
    core: FakeCore, journal: list[dict[str, Any]]
):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("L")
        await stage.says("[Events]")
        await stage.press("F")
        await happened(stage, journal, [event(MANY + 1, "fatal", "cron")])
        await stage.press("F")
        await stage.until(lambda: fmt.stamp(1764000000.0 + MANY + 1)[5:16] in stage.text)


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


def test_what_is_not_newer_than_all_that_is_here_is_not_added():
    rows = EventRows()
    rows.load(some(5, 8))
    rows.add(some(1, 10))
    assert list(rows.ids()) == ["5", "6", "7", "8", "9", "10"]


def test_of_more_events_than_may_be_read_the_newest_are_forgotten():
    rows = EventRows()
    rows.load(some(11, 20))
    assert not rows.prepend(some(6, 10), most=15)
    assert rows.prepend(some(1, 5), most=15)
    assert list(rows.ids()) == [str(n) for n in range(1, 16)]


def test_what_is_forgotten_under_a_filter_takes_no_other_row_with_it():
    rows = EventRows()
    rows.filter = "exited"
    rows.add(some(1, 10), most=10)
    rows.load([*some(1, 9), Event(10, "b1", 1.0, "exited", "web:0", next(some(1, 1)).cause, {"run": 1})])
    rows.add(some(11, 12), most=10)
    assert list(rows.ids()) == ["10"]
