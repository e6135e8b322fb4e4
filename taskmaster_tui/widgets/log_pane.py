"""The pane of output: the pager and one line that says what is shown.

Decides what is shown and when it is painted. Paints no line of output (`LinePager` does) and fetches none (`LogBuffer`
does); `LogMoves` and `LogView` are made of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from taskmaster_core.alogs import BOTH, LogPages, LogSource
from taskmaster_tui.line_source import Row
from taskmaster_tui.live import live_of
from taskmaster_tui.log_buffer import LogBuffer
from taskmaster_tui.log_search import Kept
from taskmaster_tui.widgets import log_words
from taskmaster_tui.widgets.line_pager import LinePager
from taskmaster_tui.widgets.log_input import LogInput

_CSS = """
LogPane { layout: vertical; height: 1fr; background: $surface; }
LogPane > .log-line { height: 1; padding: 0 1; color: $role-dim; text-wrap: nowrap; text-overflow: ellipsis; }
LogPane > #log-found { display: none; color: $role-accent; }
LogPane > #log-found.-open { display: block; }
"""


def say(line: Static, text: str) -> None:
    """Put a text on a line; nothing is painted where it stands already."""
    content = Content(text)
    if line.content != content:
        line.update(content, layout=False)


class LogPane(Widget):
    """Show the output of processes. `logs` returns the reader to use now, `now` the wall clock."""

    DEFAULT_CSS = _CSS

    class Changed(Message):
        """What keys do now may have changed: following, searching, filtering, selecting."""

    def __init__(
        self,
        logs: Callable[[], LogSource],
        *,
        id: str | None = None,  # noqa: A002  # Textual's word
        now: Callable[[], float] = time.time,
        times: str = "clock",
    ) -> None:
        super().__init__(id=id)
        self._logs = logs
        self._now = now
        self.pager = LinePager(id="log-pager", now=now, times=times)
        self.buffer = LogBuffer(self._reader, self._tell, lambda: self.pager.following)
        self.filter: Kept | None = None
        self.select: tuple[str, ...] = ()
        self.streams: Sequence[str] = BOTH
        self.title_words = ""
        """What is shown, for the status line: `all 42 jobs`."""
        self.empty_words = "no output yet"
        self._marks: list[Row] = []
        self._hidden = False

    def compose(self) -> ComposeResult:
        """Build the parts."""
        yield self.pager
        yield LogInput()
        yield Static("", id="log-found", classes="log-line", markup=False)
        yield Static("", id="log-status", classes="log-line", markup=False)

    def on_mount(self) -> None:
        """Take the app's glyphs."""
        self.pager.glyphs = getattr(self.app, "glyphs", "unicode")
        self._ticker = self.set_interval(1, self._tell, pause=self.pager.times != "relative")
        self._paint()

    def on_unmount(self) -> None:
        """Ask for nothing any more."""
        self.buffer.close()

    # What is shown

    def show(self, select: Iterable[str], labels: bool = False, *, marks: Iterable[Row] = (), empty: str = "") -> None:
        """Show the output of processes from its end; nothing selected: of all. `labels`: say whose each line is."""
        self.select = tuple(select)
        self.pager.labels = labels
        self.empty_words = empty or "no output yet"
        self._marks = list(marks)
        self.filter = None
        self._reopen()

    def set_empty(self, words: str) -> None:
        """Say what stands where there is no line."""
        if words != self.empty_words:
            self.empty_words = words
            if self.buffer.first == self.buffer.end:  # else nobody sees them, and an age in them changes each second
                self._tell()

    def add_marks(self, marks: Iterable[Row]) -> None:
        """Put remarks between the lines: what happened to the processes that are shown."""
        found = list(marks)
        self._marks = (self._marks + found)[-2000:]
        if self.filter is None:
            self.buffer.add_marks(found)

    def grew(self, keys: set[str]) -> bool:
        """Hear that these processes have new output; False if it is not of those that are shown."""
        if not any(self._shows(key) for key in keys):
            return False
        if not self._hidden:
            self.buffer.poke()
        return True

    def _shows(self, key: str) -> bool:
        """Tell whether a process may be among those that are shown; tags and patterns are the core's to resolve."""
        wide = any(each[:1] == "@" or "*" in each or "[" in each for each in self.select)
        return wide or not self.select or key in self.select or key.rpartition(":")[0] in self.select

    def _reopen(self, *, load: bool = True) -> None:
        """Begin a new window over the same output."""
        self.buffer.close()
        self.buffer = LogBuffer(self._reader, self._tell, lambda: self.pager.following)
        marks = [] if self.filter is not None else self._marks
        self.pager.set_source(self.buffer)
        if load:
            self.buffer.show(self.select, self.streams, marks)
        else:
            self.buffer.prepare(self.select, self.streams, marks)
        self._tell()

    @property
    def following(self) -> bool:
        """Tell whether the newest line is always on the screen."""
        return self.pager.following

    def row_here(self) -> Row | None:
        """Return the line that keys act on."""
        number = self.pager.here()
        if number is None or not self.buffer.first <= number < self.buffer.end:
            return None
        return self.buffer.line(number)

    def _reader(self) -> LogPages:
        return self._logs() if self.filter is None else self.filter.of(self._logs())

    # Painting

    def on_line_pager_scrolled(self, event: LinePager.Scrolled) -> None:
        """Load the newest lines when they are followed again."""
        event.stop()
        if self.following and self.buffer.more:
            self.buffer.go_end()
        self._paint()
        self.post_message(self.Changed())

    def on_hide(self, event: events.Hide) -> None:
        """Fetch nothing that nobody sees."""
        self._hidden = True

    def on_show(self, event: events.Show) -> None:
        """Catch up."""
        self._hidden = False
        if self.buffer.loaded:
            self.buffer.poke()

    def _tell(self) -> None:
        """Paint what came, with the next frame."""
        if self.is_mounted and not self._hidden:
            live_of(self).request(self)

    def paint_live(self) -> None:
        """Paint what came since; called at most once per frame."""
        self._paint()
        self.pager.paint_live()

    def _paint(self) -> None:
        """Say what is shown."""
        if self.is_mounted:
            kept = self.filter.text if self.filter is not None else None
            self.pager.empty = log_words.empty(self.buffer, kept, self.empty_words)
            say(self.query_one("#log-status", Static), self.status())

    def status(self) -> str:
        """Return the line that says what is shown."""
        return log_words.status(self.pager, self.buffer, self.streams, self.title_words)
