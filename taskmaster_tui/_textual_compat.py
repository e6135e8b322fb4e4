"""The only module that knows private parts of Textual: how a frame reaches the terminal, and what waits for it.

It does not decide when to paint (`governor.Governor` does). Outside the versions it was written for, and where there is
no real terminal (tests, browser), it does nothing and Textual is as it was. The app inherits from `Governed`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import TYPE_CHECKING, Any

import textual
from rich.console import Console
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.filter import LineFilter, Monochrome, NoColor
from textual.message import Message

from taskmaster_tui._typeahead import InOrder
from taskmaster_tui.governor import FPS, Governor
from taskmaster_tui.lean import lean
from taskmaster_tui.live import Live

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.screen import Screen

LOWEST, BEYOND = (8, 2, 8), (9, 0, 0)  # read and tried; another major version may have moved what is used here
ROW = 2  # where the cursor is asked for: in row 1 an answer could be the key F3 with shift, alt or ctrl (CSI 1;2R)
FIRST_COLUMN = 2
FULL = 24  # of the writer's 30 places: one more frame (up to three writes) still fits, then `put` would stop the loop
RETRY = 0.1  # seconds until a frame that was left away is tried again
PATIENCE = 0.6  # seconds to wait for the last answer before the terminal is left
F3_MODIFIERS = {2: "shift", 3: "alt", 4: "alt+shift", 5: "ctrl", 6: "ctrl+shift", 7: "alt+ctrl", 8: "alt+ctrl+shift"}


def known(version: str = textual.__version__) -> bool:
    """Say whether this version of Textual is one whose private parts are known."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    return LOWEST <= numbers < BEYOND


def question(number: int) -> str:
    """Return the bytes that ask the terminal where its cursor is, at a place that tells the number of the question."""
    # DECSC, CUP, DSR, DECRC: the cursor is back where Textual left it
    return f"\x1b7\x1b[{ROW};{FIRST_COLUMN + number}H\x1b[6n\x1b8"


def answer(event: events.CursorPosition) -> int | None:
    """Return the number of the question that a cursor report answers, None if it answers none of ours."""
    return event.x + 1 - FIRST_COLUMN if event.y + 1 == ROW else None


def pressed(event: events.CursorPosition) -> str | None:
    """Return the key that Textual took for a cursor report: F3 with modifiers is CSI 1;2R to CSI 1;8R."""
    modifiers = F3_MODIFIERS.get(event.x + 1) if event.y == 0 else None
    return f"{modifiers}+f3" if modifiers else None


def without_colours(app: App[Any]) -> None:
    """Paint no colour at all: Textual's own answer to NO_COLOR is shades of grey."""
    app._filters[:] = [*(each for each in app._filters if not isinstance(each, Monochrome)), NoColor()]  # noqa: SLF001


def add_filter(app: App[Any], line_filter: LineFilter) -> None:
    """Have every painted line pass a filter."""
    app._filters.append(line_filter)  # noqa: SLF001


class Lean(CompositorUpdate):
    """A frame of Textual's in fewer bytes."""

    def __init__(self, frame: CompositorUpdate) -> None:
        self.frame = frame

    def render_segments(self, console: Console) -> str:
        """Render the frame and leave away styles that are on already."""
        return lean(self.frame.render_segments(console))


class Governed(InOrder):
    """An app whose live frames are acknowledged by the terminal, and whose loop a stuck terminal cannot stop."""

    def __init__(self, *args: Any, fps: float = FPS, **options: Any) -> None:
        # before Textual begins, which may display already; a subclass may have brought its own
        self.governor: Governor = getattr(self, "governor", None) or Governor(fps)
        self.live: Live = getattr(self, "live", None) or Live(self.governor)
        self._frame_owed = False
        super().__init__(*args, **options)

    def _real_terminal(self) -> bool:
        driver = self._driver
        if driver is None or self.is_headless or driver.is_web or driver.is_inline:
            return False
        # the answer comes in where the keys come in
        return bool(getattr(driver, "input_tty", False)) and os.environ.get("TERM") != "dumb"

    def _writer_queue(self) -> Queue[str | None] | None:
        queue = getattr(getattr(self._driver, "_writer_thread", None), "_queue", None)
        return queue if isinstance(queue, Queue) else None

    def _waiting_writes(self) -> int:
        queue = self._writer_queue()
        return queue.qsize() if queue is not None else 0

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if renderable is None or self._batch_count or not known() or not self._real_terminal():
            super()._display(screen, renderable)
            return
        if not self.governor.asking:
            self.governor.asking = True
            self.governor.queued = self._waiting_writes
        if self._waiting_writes() > FULL:
            self._owe_a_frame()
            return
        frame: Any = Lean(renderable) if isinstance(renderable, CompositorUpdate) else renderable
        super()._display(screen, frame)
        number = self.governor.question()
        if number is not None and self._driver is not None:
            self._driver.write(question(number))
            self._driver.flush()

    def _owe_a_frame(self) -> None:
        """Leave this frame away and paint the whole screen when the terminal takes bytes again."""
        if not self._frame_owed:
            self._frame_owed = True
            self.set_timer(RETRY, self._pay_a_frame)

    def _pay_a_frame(self) -> None:
        self._frame_owed = False
        self.screen.refresh()

    def hung_up(self) -> None:
        """Take note that the terminal is gone: Textual's last words must not wait for a writer that is dead."""
        queue = self._writer_queue()
        if queue is not None:
            queue.maxsize = 0
        self.governor.quiet = True  # nobody will answer what was asked

    async def _post_message(self, message: Message) -> bool:
        # the driver's thread hands in what the terminal says; an answer does not queue up behind the app's own messages
        if isinstance(message, events.CursorPosition):
            return self._reported(message)
        return await super()._post_message(message)

    def _reported(self, event: events.CursorPosition) -> bool:
        """Take the terminal's answer, or give back the key that was mistaken for one."""
        number = answer(event)
        if number is not None:
            self.governor.answered(number)
        elif (key := pressed(event)) is not None:
            return self.post_message(events.Key(key, None))
        return True

    # Leaving the terminal to somebody else: an answer that comes too late would be typed into the shell or the editor

    async def settle(self, patience: float = PATIENCE) -> None:
        """Ask nothing more and wait for the answer that is under way; call it before `suspend`."""
        self.governor.quiet = True
        end = time.monotonic() + patience
        while self.governor.in_flight and time.monotonic() < end:  # noqa: ASYNC110 - the governor knows no loop
            await asyncio.sleep(0.01)

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Hand the terminal over; nothing is painted meanwhile (a paint would wait for ever for the stopped writer)."""
        try:
            with self.batch_update(), super().suspend():
                yield
        finally:
            self.governor.forget()

    def exit(self, result: Any = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Leave, as `App.exit` does, but not before the answer that is under way has come."""
        if self.governor.in_flight and not self.governor.quiet:
            self.run_worker(self._settle_and_exit(result, return_code, message), name="settle")
        else:
            super().exit(result, return_code, message)

    async def _settle_and_exit(self, result: Any, return_code: int, message: RenderableType | None) -> None:
        await self.settle()
        super().exit(result, return_code, message)
