"""`a`: the terminal of a job in place of the screen, and the reasons why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from taskmaster_tui import keys, outside
from tests.fakecore import FakeCore, job, process
from tests.tui.support import Stage, running, scripted

TTY = {"cmd": "vim", "tty": True}


@pytest.fixture
def core() -> Iterator[FakeCore]:
    off = process("off:0", "stopped", goal="down", run=0)
    made = scripted(
        job("vim", process("vim:0"), spec=TTY),
        job("many", process("many:0"), process("many:1"), spec=TTY),
        job("plain", process("plain:0")),
        job("off", off, spec=TTY),
    )
    yield made
    made.close()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found: list[list[str]] = []

    async def in_terminal(app: object, command: Sequence[str]) -> int:
        await asyncio.sleep(0)
        found.append(list(command)[-2:])
        return 0

    monkeypatch.setattr(outside, "in_terminal", in_terminal)
    return found


async def pressed_at(stage: Stage, row: str) -> str:
    await stage.at(row)
    await stage.press("a")
    await stage.settled()
    return stage.status


async def test_a_attaches_to_the_process_under_the_cursor_or_the_only_one_of_a_job(
    core: FakeCore, ran: list[list[str]]
):
    async with running(core) as stage:
        assert await pressed_at(stage, "vim") == "back from vim:0"
        assert await pressed_at(stage, "many:1") == "back from many:1"
    assert ran == [["attach", "vim:0"], ["attach", "many:1"]]


async def test_a_says_why_not(core: FakeCore, ran: list[list[str]]):
    async with running(core) as stage:
        assert "2 are selected" in await pressed_at(stage, "many")
        assert "this job has no terminal: `tty = true`" in await pressed_at(stage, "plain")
        assert "off does not run" in await pressed_at(stage, "off")
    assert ran == []


async def test_the_key_bar_and_the_palette_offer_it_only_where_there_is_a_terminal(core: FakeCore):
    async with running(core) as stage:
        for row, offered in (("vim", True), ("plain", False), ("many:1", True), ("off", True), ("plain", False)):
            await stage.at(row)
            await stage.settled()
            assert ("a Attach" in stage.text) is offered, row
            await stage.press("colon")
            await stage.type("job.")
            await stage.until(lambda: "stop if it runs" in stage.text)
            assert ("give it this terminal" in stage.text) is offered, row
            await stage.press("escape")
            await stage.settled()


@pytest.mark.parametrize("preset", keys.PRESETS)
def test_the_key_clashes_with_no_other_in_any_preset(preset: str):
    assert not [each for each in keys.problems(preset, {}) if "job.attach" in each]
