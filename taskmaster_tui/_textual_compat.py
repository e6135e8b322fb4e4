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
from functools import lru_cache, partial, wraps
from queue import Queue
from typing import TYPE_CHECKING, Any

import textual
from rich.console import Console
from textual import events
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate
from textual._styles_cache import StylesCache
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter, Monochrome, NoColor
from textual.geometry import Region, Size
from textual.message import Message
from textual.message_pump import MessagePump
from textual.style import Style
from textual.timer import Timer

from taskmaster_tui._typeahead import InOrder
from taskmaster_tui.governor import FPS, Governor
from taskmaster_tui.lean import lean
from taskmaster_tui.live import Live

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.screen import Screen
    from textual.strip import Strip

LOWEST, BEYOND = (8, 2, 8), (9, 0, 0)  # read and tried; another major version may have moved what is used here
ROW = 2  # where the cursor is asked for: in row 1 an answer could be the key F3 with shift, alt or ctrl (CSI 1;2R)
FIRST_COLUMN = 2
FULL = 24  # of the writer's 30 places: one more frame (up to three writes) still fits, then `put` would stop the loop
AT_REST = 0.3  # seconds after the last change of size; tmux takes up to 0.25 between two steps
RETRY = 0.1  # seconds until a frame that was left away is tried again
PATIENCE = 0.6  # seconds to wait for the last answer before the terminal is left
F3_MODIFIERS = {2: "shift", 3: "alt", 4: "alt+shift", 5: "ctrl", 6: "ctrl+shift", 7: "alt+ctrl", 8: "alt+ctrl+shift"}


def known(version: str = textual.__version__) -> bool:
    """Say whether this version of Textual is one whose private parts are known."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    return LOWEST <= numbers < BEYOND


def never_skip() -> None:
    """Let a timer that rings once ring, however late: Textual's skips what is overdue.

    A thread that loses the processor for a moment at the wrong place is enough. A change of the size of a terminal
    hangs on such a timer of 8 ms, and all later ones wait for it: the screen stayed at the old size for ever.
    """
    stock = MessagePump.set_timer
    if getattr(stock, "rings", False) or not known():
        return

    @wraps(stock)
    def set_timer(self: MessagePump, *args: Any, **options: Any) -> Timer:
        timer = stock(self, *args, **options)
        timer._skip = False  # noqa: SLF001  # read when its task begins, which is later than now
        return timer

    set_timer.rings = True  # type: ignore[attr-defined]
    MessagePump.set_timer = set_timer  # type: ignore[method-assign]


def render_what_changed() -> None:
    """Render for a partial update only the widgets that something changed in.

    Textual renders all within the smallest rectangle around everything that changed: a clock on top and an age at the
    bottom are the whole screen, once a second.
    """
    stock, renders = Compositor.render_partial_update, Compositor._get_renders  # noqa: SLF001
    if getattr(stock, "sparing", False) or not known():
        return

    @wraps(stock)
    def render_partial_update(self: Compositor) -> ChopsUpdate | None:
        under_way.append((self, list(self._dirty_regions)))
        try:
            return stock(self)
        finally:
            under_way.pop()

    @wraps(renders)
    def get_renders(self: Compositor, crop: Region | None = None) -> Iterator[tuple[Region, Region, list[Strip]]]:
        if not under_way or under_way[-1][0] is not self:  # the whole, or what lies below a dialog
            return iter(renders(self, crop))
        visible, changed = self.visible_widgets, under_way[-1][1]
        part = {
            widget: (region, clip)
            for widget, (region, clip) in visible.items()
            if any(clip.overlaps(each) and region.overlaps(each) for each in changed)
        }
        self._visible_widgets = part
        try:
            return iter(list(renders(self, crop)))
        finally:
            if self._visible_widgets is part:  # else a widget has had something moved while it rendered
                self._visible_widgets = visible

    under_way: list[tuple[Compositor, list[Region]]] = []
    render_partial_update.sparing = True  # type: ignore[attr-defined]
    Compositor.render_partial_update = render_partial_update  # type: ignore[method-assign]
    Compositor._get_renders = get_renders  # type: ignore[method-assign]  # noqa: SLF001


def let_go() -> None:
    """Let the rendered lines of a widget go with it.

    Textual remembers two styles for each of 1,024 caches of lines, by the cache: each dialog that was ever open stays
    in memory as it was painted, 10 MB after some minutes of use. The styles depend on the colours alone.
    """
    stock: Any = StylesCache.get_inner_outer
    styles = getattr(stock, "__wrapped__", None)
    if styles is None or getattr(stock, "lets_go", False) or not known():
        return
    of_colours = lru_cache(1024)(partial(styles, StylesCache))

    @wraps(stock)
    def get_inner_outer(_: StylesCache, base_background: Color, background: Color) -> tuple[Style, Style]:
        return of_colours(base_background, background)  # type: ignore[no-any-return]  # lru_cache has no types for it

    get_inner_outer.lets_go = True  # type: ignore[attr-defined]
    StylesCache.get_inner_outer = get_inner_outer  # type: ignore[method-assign,assignment]


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


never_skip()
render_what_changed()
let_go()


class Governed(InOrder):
    """An app whose live frames are acknowledged by the terminal, and whose loop a stuck terminal cannot stop."""

    def __init__(self, *args: Any, fps: float = FPS, **options: Any) -> None:
        # before Textual begins, which may display already; a subclass may have brought its own
        self.governor: Governor = getattr(self, "governor", None) or Governor(fps)
        self.live: Live = getattr(self, "live", None) or Live(self.governor)
        self._frame_owed = False
        super().__init__(*args, **options)

    _resting: asyncio.TimerHandle | None = None
    _at_size: Size | None = None

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

    def to_terminal(self, data: str) -> bool:
        """Write something that is no picture; return False where it was not: nobody may wait for the writer here.

        It stands still while an editor or an attached job has the terminal, and is dead once the terminal is gone.
        """
        driver = self._driver
        if driver is None or driver.is_web:
            return False
        writer = getattr(driver, "_writer_thread", None)
        if writer is not None and not (writer.is_alive() and self._waiting_writes() <= FULL):
            return False
        driver.write(data)
        driver.flush()
        return True

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

    def on_resize(self, event: events.Resize) -> None:
        """Paint the whole once more when the size has come to rest.

        tmux may resize a pane in steps and ends at a size that is known already: what was painted for it in between is
        cut off by then, and Textual does not paint for a size that is not new.
        """
        if self._at_size is None:
            self._at_size = event.size  # the first one: nothing was painted that could be lost
            return
        if self._resting is not None:
            self._resting.cancel()
        self._resting = asyncio.get_running_loop().call_later(AT_REST, self._rested)

    def _rested(self) -> None:
        self._resting = None
        if self._running and self._screen_stack:
            self._pay_a_frame()

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
        self.resumed()

    def resumed(self) -> None:
        """Set again what only the app knows of: the terminal is back from somebody who may have changed it."""

    def exit(self, result: Any = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Leave, as `App.exit` does, but not before the answer that is under way has come."""
        if self.governor.in_flight and not self.governor.quiet:
            self.run_worker(self._settle_and_exit(result, return_code, message), name="settle")
        else:
            super().exit(result, return_code, message)

    async def _shutdown(self) -> None:
        """Cancel the workers before their widgets go: one that is answered in between finds nothing to show it in."""
        self.workers.cancel_all()
        await super()._shutdown()

    async def _settle_and_exit(self, result: Any, return_code: int, message: RenderableType | None) -> None:
        await self.settle()
        super().exit(result, return_code, message)
