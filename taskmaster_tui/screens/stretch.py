"""The stretch of the journal that is in memory: read on at either end, and kept up with what happens.

It decides what is asked of the core and what is forgotten so that the stretch has no hole; which row the cursor is on,
and when somebody comes to an end, is the view's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.wire import Event
from taskmaster_tui.model.event_rows import KEPT, READ, EventRows

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

PAGE = 500
"""Events asked for at first, and again whenever the oldest is reached."""


class Stretch:
    """Fill rows from the journal; `show` is called when they have changed. One question at a time is the caller's."""

    def __init__(self, rows: EventRows, app: TaskmasterApp, show: Callable[[], None]) -> None:
        self._rows = rows
        self._app = app
        self._show = show
        self.following = True
        """Nobody reads older ones: the newest are kept."""
        self.loading = False
        """The newest are asked for."""
        self.whole = True
        """Nothing is older than what is in memory; nobody goes back before the newest are here."""
        self.cut = False
        """What is newer than what is in memory is left in the journal until somebody goes there."""
        self._journal = 0

    async def load(self) -> None:
        """Begin anew with the newest, and follow. Who calls it says that it is `loading`, before it begins."""
        self._journal = self._app.link.recent.journal
        try:
            found = await self._ask({"n": PAGE})
        finally:
            self.loading = False
        recent = [event for event in self._app.link.recent if not found or event.seq > found[-1].seq]
        self._rows.load([*(found or ()), *recent])
        self.whole, self.cut, self.following = found == [] and not recent, False, True
        self._show()

    async def back(self, found: Callable[[], bool]) -> None:
        """Read older events until there is what is looked for: page by page, at most as many as fit into memory."""
        self.following = False
        read = 0
        while not self.whole and not found() and read < READ:
            first = self._rows.first
            older = await self._ask({"before": first, "n": PAGE}) if first is not None else None
            if first is None or older is None:
                return
            older = [event for event in older if event.seq < first]
            self.whole = not older
            self.cut = self._rows.prepend(older, READ) or self.cut
            read += len(older)
            self._show()

    async def ahead(self) -> None:
        """Read on where what is in memory ends."""
        found = await self._ask({"since": self._rows.last or 0})
        if found is None:
            return
        self.cut = False
        self._add(found, READ)
        self.take()
        self._show()

    def take(self) -> bool:
        """Add what happened since; return False where the newest are to be loaded instead.

        Who reads older ones is left alone: what does not fit stays in the journal.
        """
        if self.loading or self.cut:
            return True
        new = self._app.link.recent.after(self._rows.last or 0, self._journal)
        if new is not None and (self.following or self._rows.total + len(new) <= READ):
            self._add(new, KEPT if self.following else READ)
        elif self.following:
            return False
        else:
            self.cut = True
        return True

    def _add(self, events: list[Event], most: int) -> None:
        if self._rows.add(events, most):
            self.whole = False

    async def _ask(self, args: dict[str, object]) -> list[Event] | None:
        """Return events of the journal; None if it cannot be asked now, which is said."""
        try:
            return msgspec.convert(await self._app.link.call("events", args=args, timeout=10), list[Event])
        except TaskmasterError as error:
            self._app.complain(error)
            return None
