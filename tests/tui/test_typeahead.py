"""Keys typed ahead: in order, and never lost for good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Static

from taskmaster_tui._typeahead import InOrder
from tests.tui.support import until


class Bare(ModalScreen[None]):
    """A dialog with nothing to put the focus on."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss", "")]

    def compose(self) -> Iterator[Static]:
        yield Static("hi")


class Counting(InOrder):
    BINDINGS: ClassVar[list[BindingType]] = [("o", "open", ""), ("k", "count", "")]
    counted = 0

    def compose(self) -> ComposeResult:
        yield Static("below")

    def action_open(self) -> None:
        self.push_screen(Bare())

    async def action_count(self) -> None:
        await asyncio.sleep(0.01)
        self.counted += 1


async def test_keys_go_on_after_the_loop_was_too_busy_for_timers():
    app = Counting()
    async with app.run_test() as pilot:
        await pilot.pause()
        for key in ("o", "escape", "k", "k", "k"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        for _ in range(10):
            time.sleep(0.06)  # noqa: ASYNC251  # it is busy: Textual leaves out the ticks that were missed
            for _ in range(6):
                await asyncio.sleep(0)
        await until(lambda: app.counted == 3)
