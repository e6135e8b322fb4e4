"""The pager: what a person does with lines: follow, pause, scroll, select, copy, jump to trouble.

Decides what movements, wheel, clicks and selections mean; `LineCanvas` paints. Binds no key: screens call its methods,
`LogView` gives it a source.
"""

from __future__ import annotations

import re
from typing import ClassVar

from textual import events
from textual.message import Message
from textual.selection import Selection

from taskmaster_tui.widgets import sgr
from taskmaster_tui.widgets.line_canvas import LineCanvas
from taskmaster_tui.widgets.line_paint import TIMES
from taskmaster_tui.widgets.viewport import Spot

TROUBLE = r"error|fatal|exception|traceback|panic|critical|failed|segfault|refused|cannot|unable to"
_TROUBLE = re.compile(rf"(?i)\b(?:{TROUBLE})".encode())
_LOOKED_AT = 2048
"""Bytes of a line that are looked through for trouble."""
_WHEEL = 3
_SIDEWAYS = 16
_COPIED = 20_000
"""Lines that are copied at once, at most."""


class LinePager(LineCanvas, can_focus=True):
    """Show lines of a source and move in them."""

    ALLOW_SELECT: ClassVar[bool] = True
    _dragging = False

    class Chosen(Message):
        """A line was clicked twice."""

        def __init__(self, pager: LinePager, line: int) -> None:
            self.pager = pager
            self.line = line
            super().__init__()

    class Scrolled(Message):
        """The position changed by a person, or it follows again, or no longer."""

    class Dragged(Message):
        """The scroll bar was pulled to a place, 0 to 1, of all there is."""

        def __init__(self, place: float) -> None:
            self.place = place
            super().__init__()

    # Movement

    def follow(self) -> None:
        """Show the newest lines from now on."""
        self.view.following = True
        self.cursor = self.picked_from = None
        self._paused_at = None
        self._moved()

    def pause(self) -> None:
        """Stay where it is whatever comes."""
        if self.view.following:
            self._layout()
            self.view.following = False
        if self._paused_at is None:
            self._paused_at = self.source.arrived
        self._moved()

    def toggle_follow(self) -> None:
        """Follow, or pause."""
        self.pause() if self.following else self.follow()

    def move(self, delta: int) -> None:
        """Move the cursor if there is one, else scroll."""
        if self.cursor is None:
            self.scroll_rows(delta)
            return
        self.cursor = min(max(self.cursor + delta, self.source.first), max(self.source.first, self.source.end - 1))
        self.show_line(self.cursor, center=False)

    def scroll_rows(self, delta: int) -> None:
        """Scroll by rows of the screen; down from the very end follows."""
        if not delta:
            return
        was_following = self.following
        moved = self.view.scroll(delta, self.source, self._rows_of)
        if was_following and not self.following:
            self._paused_at = self.source.arrived
        if not moved and delta > 0 and not self.source.more:
            self.view.following = True
        if self.following:
            self._paused_at = None
        self._moved()

    def page(self, delta: float) -> None:
        """Move by screens, or by parts of one; one line stays in sight."""
        rows = max(1, self.size.height - 1)
        self.move(int(rows * delta) or (1 if delta > 0 else -1))

    def show_line(self, number: int, *, center: bool = True, stay: bool = True) -> None:
        """Bring a line onto the screen and pause; with `stay` nothing moves if it is there already."""
        if self.following and self._paused_at is None:
            self._paused_at = self.source.arrived
        self.view.show(number, self.source, self._rows_of, center=center, stay=stay)
        self._moved()

    def top(self) -> None:
        """Go to the first line in memory."""
        if self.cursor is not None:
            self.cursor = self.source.first
        self.pause()
        self.view.top = Spot(self.source.first)
        self._moved()

    def go_to(self, number: int) -> None:
        """Put a line at the top."""
        self.pause()
        self.view.top = Spot(number)
        self._moved()

    def set_cursor(self) -> None:
        """Begin to move line by line, from the line that keys act on."""
        self.cursor = self.here()
        self.pause()

    def drop_cursor(self) -> None:
        """Move the screen again, not a cursor."""
        self.cursor = self.picked_from = None
        self._moved()

    def sideways(self, delta: int) -> None:
        """Scroll by cells to the side; it goes on following. Wrapped lines have no side."""
        if not self.wrap:
            self.x = min(max(0, self.x + delta), sgr.CAP)
            self.refresh()

    def left(self) -> None:
        """Scroll half a word list to the left."""
        self.sideways(-_SIDEWAYS)

    def right(self) -> None:
        """Scroll to the right."""
        self.sideways(_SIDEWAYS)

    def next_trouble(self, step: int = 1) -> bool:
        """Go to the next (-1: previous) line that looks like an error or is about the life of a process."""
        spot = self.here()
        if spot is None:
            return False
        number = spot + step
        while self.source.first <= number < self.source.end:
            row = self.source.line(number)
            if row.kind != "line" or _TROUBLE.search(row.data, 0, _LOOKED_AT):
                self.cursor = number
                self.show_line(number)
                return True
            number += step
        return False

    # Ways to look

    def toggle_wrap(self) -> None:
        """Break long lines, or let them run out to the right."""
        self.wrap = not self.wrap
        self.view.top = Spot(self.view.top.line)
        self.refresh()

    def cycle_time(self) -> None:
        """Show the next kind of time: off, clock, date, relative, delta."""
        self.times = TIMES[(TIMES.index(self.times) + 1) % len(TIMES)]
        self.refresh()

    # Selection

    def visual(self) -> None:
        """Begin to select lines, or stop."""
        if self.picked_from is not None:
            self.picked_from = self.cursor = None
        else:
            here = self.here()
            self.pause()
            self.picked_from = self.cursor = here
        self.refresh()

    def selected_text(self) -> str:
        """Return what is selected by mouse or line by line, else the line that keys act on; without colours."""
        if (selection := self.text_selection) is not None and (found := self.get_selection(selection)):
            return found[0]
        here = self.here()
        if here is None:
            return ""
        low, high = sorted((self.picked_from if self.picked_from is not None else here, here))
        return "\n".join(sgr.plain(row.data) for _, row in self.rows(low, min(high + 1, low + _COPIED)))

    def shown_text(self) -> str:
        """Return the lines on the screen, without colours."""
        return "\n".join(sgr.plain(row.data) for _, row in self.rows(*self.on_screen))

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the text the mouse selected."""
        first, end = self.on_screen
        low = selection.start.y if selection.start else first
        high = selection.end.y + 1 if selection.end else end
        lines = []
        for number, row in self.rows(low, min(high, low + _COPIED)):
            span = selection.get_span(number)
            text = sgr.plain(row.data)
            if span is not None:
                lines.append(text[max(0, span[0]) : None if span[1] < 0 else span[1]])
        return ("\n".join(lines), "\n") if lines else None

    # Mouse

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll, or to the side with shift."""
        self._wheel(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll, or to the side with shift."""
        self._wheel(event, 1)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        """Scroll to the side."""
        event.stop()
        self.left()

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        """Scroll to the side."""
        event.stop()
        self.right()

    def _wheel(self, event: events.MouseEvent, step: int) -> None:
        event.stop()
        event.prevent_default()
        if event.shift or event.ctrl:
            self.sideways(step * _SIDEWAYS)
        else:
            self.scroll_rows(step * _WHEEL)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the scroll bar."""
        if event.x >= self.size.width - 1 and self.source.end > self.source.first:
            event.stop()
            self.screen.clear_selection()
            self._dragging = True
            self.capture_mouse()
            self._drag(event.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pull the scroll bar."""
        if self._dragging:
            event.stop()
            self._drag(event.y)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let go of the scroll bar."""
        if self._dragging:
            event.stop()
            self._dragging = False
            self.release_mouse()

    def _drag(self, y: int) -> None:
        height = max(1, self.size.height - 1)
        self.post_message(self.Dragged(min(1.0, max(0.0, y / height))))

    def on_click(self, event: events.Click) -> None:
        """Choose a line by two clicks; what Textual does (select all) is of no use in a long log."""
        event.prevent_default()
        if event.chain == 2 and 0 <= event.y < len(self._spots):
            self.post_message(self.Chosen(self, self._spots[event.y].line))

    def _moved(self) -> None:
        self.refresh()
        self.post_message(self.Scrolled())
