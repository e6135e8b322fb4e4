"""What was painted for a dialog goes with it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from textual._styles_cache import StylesCache
from textual.app import App
from textual.screen import ModalScreen

from taskmaster_tui import _textual_compat
from tests.tui.support import acore, running

FEW = 8
"""Widgets whose end the loop has not come to yet; three dialogs opened twice more left 18."""
DIALOGS = (("question_mark", "KeySheet"), ("colon", "Palette"), ("comma", "Settings"))


async def left_of_a_dialog() -> bool:
    """Open a dialog, close it; tell whether what was painted for it is there still."""
    async with App[None]().run_test() as pilot:
        dialog: Any = ModalScreen()
        await pilot.app.push_screen(dialog)
        await pilot.pause()
        painted = weakref.ref(dialog._styles_cache)
        await pilot.app.pop_screen()
        await pilot.pause()
        del dialog
    gc.collect()
    return painted() is not None


async def test_nothing_is_left_of_a_dialog() -> None:
    assert _textual_compat.known()
    assert not await left_of_a_dialog()


async def test_without_ours_what_was_painted_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say when Textual has mended it, and ours can go."""
    ours: Any = StylesCache.get_inner_outer
    monkeypatch.setattr(StylesCache, "get_inner_outer", ours.__wrapped__)
    assert await left_of_a_dialog()


def painted() -> int:
    """Return how many widgets there are whose lines are in memory, shown or not."""
    gc.unfreeze()  # the app keeps the collector away from what was there at its start
    gc.collect()
    return sum(type(each) is StylesCache for each in gc.get_objects())


async def test_opening_dialogs_again_and_again_takes_no_more_memory_than_once() -> None:
    with acore() as core:
        async with running(core) as stage:
            counts = []
            for _ in range(3):
                for key, name in DIALOGS:
                    await stage.press(key)
                    await stage.on_dialog(name)
                    await stage.press("escape")
                    await stage.until(lambda: stage.app.screen is stage.app.main)
                counts.append(painted())
            assert counts[2] < counts[0] + FEW, counts


# At the end ----------------------------------------------------------------------------------------------------------


async def test_what_is_answered_while_the_screen_is_being_closed_ends_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = asyncio.Event()

    async def show() -> None:
        await answered.wait()
        stage.app.main.query_one("#of-a-widget-that-is-gone")

    with acore() as core:
        async with running(core) as stage:  # raises what ended the app
            stage.app.run_worker(show())
            await stage.pilot.pause()
            close_all = stage.app._close_all

            async def close() -> None:
                answered.set()
                await asyncio.sleep(0)
                await close_all()

            monkeypatch.setattr(stage.app, "_close_all", close)
        assert answered.is_set()
