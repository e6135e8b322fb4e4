"""The view of output: the pane, with searching, keeping only what matches, marks and copies.

Decides what a search and a filter do to what is shown. Finds nothing (`LogSearch` asks the core), binds no key: the
Jobs and Logs views call its methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from textual import on, work
from textual.widgets import Static

from taskmaster_core.alogs import LogSource, Place
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.line_source import Row
from taskmaster_tui.log_search import Kept, LogSearch, marker
from taskmaster_tui.model.fmt import clock
from taskmaster_tui.widgets.line_pager import LinePager
from taskmaster_tui.widgets.log_input import LogInput
from taskmaster_tui.widgets.log_moves import LogMoves
from taskmaster_tui.widgets.log_pane import say
from taskmaster_tui.widgets.sgr import plain


class LogView(LogMoves):
    """Show output and find things in it. The arguments are those of `LogPane`."""

    def __init__(self, logs: Callable[[], LogSource], **options: Any) -> None:
        super().__init__(logs, **options)
        self.search_state = LogSearch(logs, self._tell)
        self._own_marks: list[Row] = []
        self._mark_at = 0
        self._hit: Place | None = None

    def on_unmount(self) -> None:
        """Ask for nothing any more."""
        super().on_unmount()
        self.search_state.clear()

    def show(self, select: Iterable[str], labels: bool = False, *, marks: Iterable[Row] = (), empty: str = "") -> None:
        """Show the output of processes from its end; nothing selected: of all. `labels`: say whose each line is."""
        self._own_marks = []
        self.search_state.clear()
        self._hit = self.pager.match = None
        self._close_input()
        super().show(select, labels, marks=marks, empty=empty)

    def grew(self, keys: set[str]) -> bool:
        """Hear that these processes have new output; False if it is not of those that are shown."""
        shown = super().grew(keys)
        if shown and not self._hidden:
            self.search_state.poke()
        return shown

    # Search

    def open_search(self, text: str = "") -> None:
        """Ask what to search for."""
        self._open_input("/", text)

    def open_keep(self) -> None:
        """Keep only the matches of the search there is, or ask which lines to keep; again: show all."""
        if self.filter is not None:
            self.keep_only(None)
        elif self.search_state.text:
            self.keep_only(self.search_state.text)
        else:
            self._open_input("&", "")

    def search(self, text: str) -> None:
        """Find a text or an expression, from here outwards; an empty one ends the search."""
        self.search_state.clear()
        self._hit = None
        self.pager.set_match(marker(text))
        if text:
            self._begin_search(text)
        self._paint()
        self.refresh_bindings()

    @work(group="log-search", exclusive=True)
    async def _begin_search(self, text: str) -> None:
        """Begin exactly at the first line on the screen, at the end if that is followed."""
        cursor = None
        back_first = self.following
        first, _ = self.pager.on_screen
        try:
            if back_first and self.buffer.window.chunks and self.filter is None:
                cursor = self.buffer.window.chunks[-1].end
            elif not back_first and self.buffer.first <= first < self.buffer.end:
                row = self.buffer.line(first)
                place = Place(row.at, row.key, row.stream, row.offset) if row.kind == "line" else Place(row.at)
                cursor = (await self._logs().around(self.select, place, 1, self.streams)).begin
        except TaskmasterError as error:
            self.buffer.failed(error)
        self.search_state.start(text, self.select, self.streams, cursor, back_first=back_first)

    def next_hit(self) -> None:
        """Go to the next match."""
        self._step(1)

    def previous_hit(self) -> None:
        """Go to the match before."""
        self._step(-1)

    def _step(self, delta: int) -> None:
        self.search_state.step(delta)
        self._to_hit()
        self._paint()

    def _to_hit(self) -> None:
        """Go to the hit the search stands at."""
        hit = self.search_state.hit
        if hit is None or hit == self._hit:
            return
        self._hit = hit
        self._go(self._goto_hit(hit))

    async def _goto_hit(self, hit: Place) -> None:
        before = self.buffer.revision
        number = await self.buffer.locate(hit)
        if number is not None:
            self.pager.current = number
            self._land(number, stay=self.buffer.revision == before)

    # Filter

    def keep_only(self, text: str | None, inverse: bool = False) -> None:
        """Show only the lines that match (`inverse`: that do not); None: all lines again."""
        self.filter = Kept(text, inverse) if text else None
        self.pager.match = marker(text) if text and not inverse else marker(self.search_state.text)
        self._again()

    def choose(self) -> Row | None:
        """Leave the filter at the line that keys act on and return that line, None if there is none."""
        row = self.row_here()
        if self.filter is not None and row is not None:
            self.filter = None
            self._reopen(load=False)
            self.jump_to(row.at, row.key, stream=row.stream, offset=row.offset)
        return row

    def on_line_pager_chosen(self, event: LinePager.Chosen) -> None:
        """Go to a line that was clicked twice: out of the filter, or with a cursor on it."""
        event.stop()
        self.pager.pause()
        self.pager.cursor = event.line
        self.choose()

    def escape(self) -> bool:
        """Go back one step: the input, the selection, the search, the filter; False if there was nothing."""
        if self._close_input():
            self.pager.set_match(marker(self.search_state.text), self.pager.current)
        elif self.pager.picked_from is not None or self.pager.cursor is not None:
            self.pager.drop_cursor()
        elif self.search_state.text:
            self.search("")
        elif self.filter is not None:
            self.keep_only(None)
        else:
            return False
        self._tell()
        return True

    # The input

    def _open_input(self, asks: str, text: str) -> None:
        if self.is_mounted:
            self.query_one(LogInput).open(asks, text)

    def _close_input(self) -> bool:
        """Close the input; False if it was not open."""
        if not self.is_mounted or not (asking := self.query_one(LogInput)).is_open:
            return False
        asking.close()
        self.pager.focus()
        return True

    @on(LogInput.Said)
    def _said(self, event: LogInput.Said) -> None:
        """Search or filter; while it is typed, mark what is on the screen already."""
        event.stop()
        text, keep = event.text, event.asks == "&"
        if event.done:
            self.pager.focus()
        if text is None:
            self.pager.set_match(marker(self.search_state.text), self.pager.current)
        elif not event.done:
            self.pager.set_match(marker(text.removeprefix("!") if keep else text))
        elif keep:
            self.keep_only(text.removeprefix("!") or None, inverse=text.startswith("!"))
        else:
            self.search(text)

    def paint_live(self) -> None:
        """Paint what came since, and go to a hit that was found."""
        self._to_hit()
        super().paint_live()

    def _paint(self) -> None:
        """Say what is shown, and what was found."""
        super()._paint()
        if self.is_mounted:
            found = self.query_one("#log-found", Static)
            words = self.found_words()
            found.set_class(bool(words), "-open")
            say(found, words)

    def found_words(self) -> str:
        """Return what is said of search and filter, empty if there is neither."""
        search, dot = self.search_state, " · " if self.pager.glyphs == "unicode" else " - "
        parts = []
        if self.filter is not None:
            kept = "without" if self.filter.inverse else "only"
            parts.append(f"{kept} {self.filter.text}")
            parts.append("enter shows it in its place")
        if search.text:
            parts.append(f"/{search.text}  {search.words()}")
            parts += ["n next", "N prev"] + (["& keep only"] if self.filter is None else [])
        return clean(dot.join([*parts, "esc clears"])) if parts else ""

    # Marks and copies

    def mark(self) -> None:
        """Put a mark line here."""
        row = self.row_here()
        at = row.at if row is not None and not self.following else self._now()
        mark = Row(f"mark {len(self._own_marks) + 1} · {clock(self._now())}".encode(), at, kind="mark", role="accent")
        self._own_marks.append(mark)
        self.add_marks([mark])

    def jump_mark(self) -> None:
        """Go to the mark before, from the newest on."""
        if self._own_marks:
            self._mark_at = (self._mark_at - 1) % len(self._own_marks)
            self.jump_to(self._own_marks[self._mark_at].at)

    def visual(self) -> None:
        """Begin to select lines, or stop."""
        self.pager.visual()
        self._paint()

    def copy(self) -> str:
        """Return what is selected, or the line that keys act on."""
        return self.pager.selected_text()

    def place(self) -> tuple[str, str, int] | None:
        """Return process, stream and offset of the line that keys act on: where a pager is opened."""
        row = self.row_here()
        return (row.key, row.stream, row.offset) if row is not None and row.kind == "line" else None

    def save_shown(self, path: str) -> int:
        """Write the lines in memory to a file, as they are shown but without colours; return how many there were."""
        rows = [row for _, row in self.pager.rows(self.buffer.first, self.buffer.end)]
        with open(path, "w", encoding="utf-8") as file:
            for row in rows:
                label = f"{row.key} " if self.pager.labels and row.kind == "line" else ""
                text = plain(row.data)
                file.write(f"{label}{text}\n" if row.kind == "line" else f"── {text} ──\n")
        return len(rows)
