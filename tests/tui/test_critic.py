"""What a tired person stumbles over: small things that are wrong only at a second look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakecore import FakeCore
from tests.tui.support import running, scripted


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


async def test_what_is_typed_takes_the_place_of_the_filter_there_was(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"cron", "enter", "slash", *"mail", "enter")
        assert stage.jobs.rows.filter == "mail"


async def test_an_arrow_key_keeps_the_filter_to_change_it(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"cro", "enter", "slash", "right", *"n", "enter")
        assert stage.jobs.rows.filter == "cron"


async def test_the_details_are_of_nothing_where_nothing_matches(core: FakeCore):
    async with running(core) as stage:
        await stage.at("mailer")
        await stage.says("mailer:0 is FATAL")
        await stage.press("slash", *"nonsense", "enter")
        await stage.says("nothing selected")
        assert "mailer:0 is FATAL" not in stage.text


async def test_what_to_do_next_is_on_the_card_of_a_low_terminal_too(core: FakeCore):
    chain = [f"reason {n} that takes a line of its own" for n in range(9)]
    core.on("why", {"processes": [{"key": "mailer:0", "state": "fatal", "goal": "up", "chain": chain, "next": "nothing"}]})
    async with running(core, (80, 24)) as stage:
        await stage.at("mailer")
        await stage.says("Reason 1", "try again now", "earlier runs")
