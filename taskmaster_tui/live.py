"""Decides when what nobody asked for may be painted: at most 15 times a second, not before the terminal took the last.

It does not decide what is painted (each widget's `paint_live` does), and paints that a key caused go past it, at once.
Widgets and the app call it through `live_of(widget).request(widget)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from taskmaster_tui.governor import Governor

if TYPE_CHECKING:
    from textual.widget import Widget


class Paints(Protocol):
    """A widget that can bring itself up to date."""

    def paint_live(self) -> None:
        """Refresh what changed since the last call; called at most once per frame."""

    def call_later(self, callback: Callable[[], None], /) -> bool:
        """Run `callback` in the widget's own message loop, where its errors are the app's."""


class Live:
    """The frames that nobody asked for: gathers requests, paints them together, and runs no timer in between."""

    def __init__(self, governor: Governor | None = None) -> None:
        self.governor = governor or Governor()
        self.governor.on_free = self._freed
        self._wanted: dict[Paints, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many widgets wait for the next frame."""
        return len(self._wanted)

    def request(self, widget: Paints) -> None:
        """Have `widget.paint_live()` called with the next frame, once however often it was asked for."""
        self._wanted[widget] = None
        if self._timer is None:
            self._arm()

    def forget(self, widget: Paints) -> None:
        """Drop the request of a widget that has just painted by itself."""
        self._wanted.pop(widget, None)

    def flush(self) -> None:
        """Paint now all that waits, whatever the frame rate: for tests and for the way out."""
        self.close()
        self._paint()

    def close(self) -> None:
        """Stop the timer; requests stay and the next one arms it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.governor.delay(), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._wanted:
            return
        if self.governor.may_paint():
            self._paint()
        else:
            self._arm()

    def _freed(self) -> None:
        """Look again now: what waited for the terminal need not wait for the timer."""
        if self._wanted:
            self.close()
            self._arm()

    def _paint(self) -> None:
        wanted, self._wanted = self._wanted, {}
        # through each widget's own queue: an error there is the app's to show, not the event loop's to swallow
        if [widget for widget in wanted if widget.call_later(widget.paint_live)]:
            self.governor.painted()


_plain: WeakKeyDictionary[Any, Live] = WeakKeyDictionary()  # for apps that have none: tests of one widget


def live_of(widget: Widget) -> Live:
    """Return the `live` of the widget's app, or a plain one (15 fps, asks no terminal) where it has none."""
    app = widget.app
    live = getattr(app, "live", None)
    if isinstance(live, Live):
        return live
    return _plain.setdefault(app, Live())
