"""Lists of things with ids and a cursor: what stays where when things come, go and are sorted.

Decides where the cursor and the first line are after every change, and when dirty things are painted. Does not know
what a thing looks like nor how many are on a line. `RowTree` and `PulseGrid` are made of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Protocol, runtime_checkable

from textual import events
from textual.geometry import Offset, Region, Size

from taskmaster_tui.live import live_of
from taskmaster_tui.widgets.cells import fit
from taskmaster_tui.widgets.painted import Scrolled


class HasIds(Protocol):
    """What a list shows."""

    def ids(self) -> Sequence[str]:
        """Return the ids of all there is, in its order."""


@runtime_checkable
class Treed(Protocol):
    """A source whose rows lie inside others: the cursor of a row that is folded away goes to its parent."""

    def parent(self, row_id: str) -> str | None:
        """Return the row that this one lies in; called for rows that are gone, too."""


class Listed(Scrolled):
    """A scrolled widget with a cursor on one of many ids."""

    def __init__(
        self, source: HasIds, *, id: str | None = None, classes: str | None = None, empty: str = ""  # noqa: A002
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._from = source
        self._empty = empty
        self._cursor = 0
        self._wanted: str | None = None  # where the cursor is to go as soon as that row exists
        self._stale: set[str] = set()
        self._all_stale = False
        self._hidden = False
        self._ids: Sequence[str] = ()
        self._place: dict[str, int] = {}
        self._take_ids()

    @property
    def cursor_id(self) -> str | None:
        """What is under the cursor; None where there is nothing."""
        return self._ids[self._cursor] if self._ids else None

    @property
    def per_line(self) -> int:
        """How many things are on a line."""
        return 1

    @property
    def total(self) -> int:
        """How many lines of things there are."""
        return -(-len(self._ids) // self.per_line)

    @property
    def on_screen(self) -> Sequence[str]:
        """The ids that have room, the first one first."""
        return self._ids[self.first * self.per_line : (self.first + self.shown) * self.per_line]

    @property
    def empty(self) -> str:
        """What is said where there is nothing."""
        return self._empty

    @empty.setter
    def empty(self, text: str) -> None:
        if text != self._empty:
            self._empty = text
            if not self._ids:
                self.refresh()

    # For those who are made of it -----------------------------------------------------------------------------------

    @abstractmethod
    def announce(self, row_id: str) -> None:
        """Post the message that the cursor is here now."""

    @abstractmethod
    def forget(self) -> None:
        """Forget what was asked of the source."""

    @abstractmethod
    def paint_rows(self, ids: set[str]) -> list[Region]:
        """Ask for these again and return what of the widget changed."""

    @abstractmethod
    def region_of(self, index: int) -> Region:
        """Return where a visible thing lies on the widget."""

    @property
    @abstractmethod
    def whole(self) -> int:
        """The height that shows everything."""

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the height that CSS calls `auto`: lists of a few rows leave the room to others."""
        return self.whole

    def empty_line(self, y: int) -> str:
        """Return line `y` of what is said where there is nothing, in the middle of the room."""
        lines = self._empty.split("\n")
        at = y - max((len(self.track) - len(lines)) // 2, 0)
        return fit(lines[at] if 0 <= at < len(lines) else "", self.outer_size.width, "center")

    def scrolled(self) -> None:
        """Paint again: another line is the first one now."""
        self.refresh()
        self._place_terminal_cursor()

    # What the source tells ------------------------------------------------------------------------------------------

    def rows_changed(self, *, live: bool = False) -> None:
        """Take the ids again: the cursor stays on its own and on its line, or goes to the nearest that is left.

        With `live` nobody pressed a key for it: it is painted with the next live frame.
        """
        before = self.cursor_id
        line = self._cursor // self.per_line - self.first
        seen = 0 <= line < self.shown
        old = self._take_ids()
        if self._wanted is not None and self._wanted in self._place:
            self._cursor, self._wanted = self._place[self._wanted], None
            self._show_cursor()
        else:
            first = self._survivor(old, self.first * self.per_line) // self.per_line
            self._cursor = self._survivor(old, self._cursor)
            self.first = self.clamped(self._cursor // self.per_line - line if seen else first)
        self.forget()
        if len(old) != len(self._ids) and self.is_mounted and self.styles.is_auto_height:
            self.refresh(layout=True)
        self._repaint_all(live)
        self._announce_change(before)

    def dirty(self, ids: Iterable[str] | None = None, *, live: bool = True) -> None:
        """Ask for these again, for all if None, as far as they are on screen.

        With the next live frame; at once if not `live`: a key did it.
        """
        if self._hidden or not self.is_mounted:
            return
        visible = self.on_screen
        self._stale.update(visible if ids is None else set(visible).intersection(ids))
        if not live:
            self.paint_live()
        elif self._stale:
            live_of(self).request(self)

    def paint_live(self) -> None:
        """Paint what changed of all that was said to be dirty."""
        stale, self._stale = self._stale, set()
        if self._all_stale:
            self._all_stale = False
            self.refresh()
        elif regions := self.paint_rows(stale):
            self.refresh(*regions)

    # The cursor -----------------------------------------------------------------------------------------------------

    def move(self, delta: int) -> None:
        """Move the cursor, not further than the first or the last one."""
        self._go(self._cursor + delta)

    def move_to(self, row_id: str) -> None:
        """Move the cursor there; to what does not exist yet as soon as it does, unless the cursor is moved before."""
        if row_id in self._place:
            self._go(self._place[row_id])
        else:
            self._wanted = row_id

    def top(self) -> None:
        """Move the cursor to the first one."""
        self._go(0)

    def bottom(self) -> None:
        """Move the cursor to the last one."""
        self._go(len(self._ids) - 1)

    def page(self, delta: float) -> None:
        """Move by pages, or parts of one, cursor and view together: the cursor keeps its line."""
        lines = round(delta * self.shown)
        self.scroll_lines(lines)
        self.move(lines * self.per_line)

    def _go(self, index: int) -> None:
        before, old = self.cursor_id, self._cursor
        self._wanted = None
        self._cursor = max(min(index, len(self._ids) - 1), 0)
        if not self._show_cursor() and self._cursor != old:
            self._repaint_cursor(old)
        self._announce_change(before)

    def _repaint_cursor(self, old: int) -> None:
        if self._all_stale:  # other rows wait to be painted: half of them would be in their old places
            self._all_stale = False
            self.refresh()
        else:
            self.refresh(*(self.region_of(each) for each in (old, self._cursor) if self._is_seen(each)))
        self._place_terminal_cursor()

    def _is_seen(self, index: int) -> bool:
        return self.first <= index // self.per_line < self.first + self.shown

    def _show_cursor(self) -> bool:
        """Scroll as little as brings the cursor into view; return whether that was needed."""
        line = self._cursor // self.per_line
        before = self.first
        if self.shown:
            self.scroll_to_line(max(min(self.first, line), line - self.shown + 1))
        return self.first != before

    def _announce_change(self, before: str | None) -> None:
        now = self.cursor_id
        if now is not None and now != before:
            self.announce(now)

    def _take_ids(self) -> Sequence[str]:
        """Take the ids as they are now and return those before."""
        old, self._ids = self._ids, list(self._from.ids())
        self._place = {row_id: index for index, row_id in enumerate(self._ids)}
        return old

    def _survivor(self, old: Sequence[str], index: int) -> int:
        """Return the new place of what was at `index`, of its parent, or of the nearest that is left."""
        if index >= len(old):
            return 0
        parent = self._from.parent(old[index]) if isinstance(self._from, Treed) else None
        after, before = islice(old, index + 1, None), reversed(old[:index])
        candidates = chain(old[index : index + 1], (parent,) if parent else (), after, before)
        return next((self._place[each] for each in candidates if each in self._place), 0)

    def _repaint_all(self, live: bool) -> None:
        if live and self.is_mounted:
            self._all_stale = True
            live_of(self).request(self)
        else:
            self.refresh()
        self._place_terminal_cursor()

    def _place_terminal_cursor(self) -> None:
        """Put the terminal's own cursor on the row, where somebody reads with it (Braille, screen readers)."""
        if self.is_mounted and self.has_focus and getattr(self.app, "plain_cursor", False):
            at = self.region_of(self._cursor)
            self.app.cursor_position = Offset(self.region.x + at.x, self.region.y + at.y)

    # What Textual tells ---------------------------------------------------------------------------------------------

    def on_focus(self) -> None:
        """Paint the cursor as one that keys act on."""
        self.refresh()
        self._place_terminal_cursor()

    def on_blur(self) -> None:
        """Paint the cursor as one that keys do not act on."""
        self.refresh()

    def on_resize(self, event: events.Resize) -> None:
        """Keep the cursor in view where it was, and no room empty."""
        self.first = self.clamped(self.first)
        self._show_cursor()
        self._place_terminal_cursor()

    def on_hide(self) -> None:
        """Stop asking the source: nothing of it can be seen."""
        self._hidden = True
        self.forget()

    def on_show(self) -> None:
        """Show how things are now."""
        self._hidden = False
        self.forget()
        self.refresh()
