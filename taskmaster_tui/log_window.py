"""The part of the output that is in memory: pages in a row, numbered for ever, with a cursor at each seam.

Decides what is kept and what is dropped, and where remarks stand between lines. Fetches nothing: `LogBuffer` fills it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from sys import intern

from taskmaster_core.alogs import Cursor, Line, Lines, Place
from taskmaster_tui.line_source import Row

LINES_MAX = 10_000
BYTES_MAX = 8 * 1024 * 1024
MARKS_MAX = 2_000
_JOINED = 400
"""Pages are put together up to so many rows: a follower gets few lines at a time."""
_LOOK_BACK = 50
_LINE_MAX = 16 * 1024
"""An unfinished line grows in place up to so many bytes; what comes after it is a piece of its own."""
_FOREVER = float("inf")


@dataclass(slots=True)
class Chunk:
    """Hold rows between two cursors; cursors are only known here, so that is where the window can be cut."""

    first: int
    rows: list[Row]
    begin: Cursor
    end: Cursor
    before: int
    """Bytes of output before it."""
    size: int
    """Bytes in it."""

    @property
    def stop(self) -> int:
        """The number after its last row."""
        return self.first + len(self.rows)


@dataclass(slots=True)
class LogWindow:
    """Hold the window. `low` and `high` are the times between which remarks have been put in."""

    chunks: list[Chunk] = field(default_factory=list)
    marks: list[Row] = field(default_factory=list)
    low: float = _FOREVER
    high: float = -_FOREVER
    revision: int = 0
    total: int = 0
    at_start: bool = False
    at_end: bool = False
    tailing: bool = False
    """Its newer end grew with the output; it may be behind by what has come since the last page."""

    @property
    def first(self) -> int:
        """The number of the oldest row."""
        return self.chunks[0].first if self.chunks else 0

    @property
    def end(self) -> int:
        """The number after the newest row."""
        return self.chunks[-1].stop if self.chunks else 0

    @property
    def bytes(self) -> int:
        """Bytes of output in memory."""
        return sum(chunk.size for chunk in self.chunks)

    def line(self, number: int) -> Row:
        """Return a row; IndexError if it is not in memory."""
        chunk = self.chunk_of(number)
        return chunk.rows[number - chunk.first]

    def chunk_of(self, number: int) -> Chunk:
        """Return what holds a row; IndexError if it is not in memory."""
        if not self.first <= number < self.end:
            raise IndexError(number)
        return self.chunks[bisect_right(self.chunks, number, key=lambda chunk: chunk.first) - 1]

    def bytes_before(self, number: int) -> int:
        """Return about how many bytes of output are before a row."""
        if not self.first <= number < self.end:
            return self.total
        chunk = self.chunk_of(number)
        return chunk.before + chunk.size * (number - chunk.first) // max(1, len(chunk.rows))

    def number_of_byte(self, wanted: int) -> int | None:
        """Return the row that about so many bytes are before, None if it is not in memory."""
        last = self.chunks[-1] if self.chunks else None
        if last is None or not self.bytes_before(self.first) <= wanted <= last.before + last.size:
            return None
        return self.first + bisect_left(range(self.first, self.end - 1), wanted, key=self.bytes_before)

    def number_of(self, place: Place) -> int | None:
        """Return the number of a line, None if it is not in memory."""
        for chunk in self.chunks:
            for number, row in enumerate(chunk.rows, chunk.first):
                if row.offset == place.offset and row.key == place.key and row.stream == place.stream:
                    return number
        return None

    def number_at(self, at: float) -> int | None:
        """Return the number of the first line at or after a time, None if there is none in memory."""
        for chunk in self.chunks:
            for number, row in enumerate(chunk.rows, chunk.first):
                if row.at >= at:
                    return number
        return None

    # Filling

    def reset(self, page: Lines, *, at_end: bool) -> None:
        """Hold that page alone. Numbers go on, so that a number never means two lines to a cache of an instant."""
        first = self.end
        self.revision += 1
        rows = rows_of(page.lines)
        self.low = -_FOREVER if page.start else rows[0].at if rows else _FOREVER
        rows = self._with_marks(rows, self.low, _FOREVER if at_end else rows[-1].at if rows else -_FOREVER)
        self.high = rows[-1].at if rows else -_FOREVER
        self.chunks = [Chunk(first, rows, page.begin, page.end, page.before, _bytes(rows))]
        self.total, self.at_start, self.at_end, self.tailing = page.total, page.start, at_end, at_end

    def prepend(self, page: Lines) -> None:
        """Put an older page before the first."""
        rows = rows_of(page.lines)
        self.at_start = page.start or not page.more
        low = -_FOREVER if self.at_start else min(rows[0].at if rows else self.low, self.low)
        rows = self._with_marks(rows, low, self.low, upto=True)
        self.low, self.total = low, max(self.total, page.total)
        if not rows:
            self.chunks[0].begin = page.begin
            return
        chunk = Chunk(self.first - len(rows), rows, page.begin, page.end, page.before, _bytes(rows))
        self.chunks.insert(0, chunk)

    def extend(self, page: Lines) -> int:
        """Put a newer page after the last; return how many rows that made."""
        lines = self._grown(page.lines)
        rows = rows_of(lines)
        self.at_end, self.total = not page.more, max(page.total, self.total)
        self.tailing = self.tailing or self.at_end
        until = _FOREVER if self.at_end else rows[-1].at if rows else self.high
        rows = self._with_marks(rows, self.high, until, after=True)
        self.high = max([self.high, *(row.at for row in rows)])
        if self.low == _FOREVER and rows:
            self.low = rows[0].at
        last = self.chunks[-1]
        if len(last.rows) + len(rows) <= _JOINED:
            last.rows += rows
            last.size += _bytes(rows)
            last.end = page.end
        else:
            self.chunks.append(Chunk(self.end, rows, page.begin, page.end, page.before, _bytes(rows)))
        return len(rows)

    def _grown(self, lines: Sequence[Line]) -> Sequence[Line]:
        """Put the rest of an unfinished line (a prompt, a progress bar) to its begin."""
        if not any(line.cont for line in lines):
            return lines
        fresh: list[Line] = []
        for line in lines:
            if not line.cont or not (_joined(fresh, line) or self._grow(line)):
                fresh.append(line)
        return fresh

    def _grow(self, line: Line) -> bool:
        chunk = self.chunks[-1]
        for index in range(len(chunk.rows) - 1, max(-1, len(chunk.rows) - _LOOK_BACK), -1):
            row = chunk.rows[index]
            if row.key == line.key and row.stream == line.stream and row.kind == "line":
                fits = row.offset + len(row.data) == line.offset and len(row.data) + len(line.data) <= _LINE_MAX
                if not fits or row.data.endswith(b"\n") or row.more:
                    return False
                chunk.rows[index] = row._replace(data=row.data + line.data, more=-1 if line.cut else 0)
                chunk.size += len(line.data)
                self.revision += 1
                return True
        return False

    def trim(self, low: int, high: int) -> None:
        """Drop pages until the window is small enough, those farthest from the rows `low` to `high` first."""
        while len(self.chunks) > 1 and (self.end - self.first > LINES_MAX or self.bytes > BYTES_MAX):
            if low - self.first >= self.end - high and self.chunks[0].stop <= low:
                self._drop_first()
            elif self.chunks[-1].first >= high:
                self._drop_last()
            elif self.chunks[0].stop <= low:
                self._drop_first()
            else:
                return

    def _drop_first(self) -> None:
        del self.chunks[0]
        self.at_start = False
        self.low = self.chunks[0].rows[0].at if self.chunks[0].rows else self.low

    def _drop_last(self) -> None:
        del self.chunks[-1]
        self.at_end = self.tailing = False
        self.high = self.chunks[-1].rows[-1].at if self.chunks[-1].rows else self.high

    # Remarks

    def add_marks(self, marks: Iterable[Row]) -> bool:
        """Remember remarks; those between lines in memory are put there. True if some belong after the last."""
        late = False
        for mark in marks:
            if self._knows(mark):
                continue
            insort(self.marks, mark, key=lambda row: row.at)
            if self.low <= mark.at <= self.high:
                self._insert(mark)
            late = late or mark.at > self.high
        if len(self.marks) > MARKS_MAX:
            del self.marks[: len(self.marks) - MARKS_MAX]
        return late

    def _knows(self, mark: Row) -> bool:
        """Tell whether a remark is here already: what happened is heard live and asked for, and both may tell it.

        Heard live, less may be known (how long the run had lasted): the longer words stay.
        """
        for index in range(bisect_left(self.marks, mark.at, key=lambda row: row.at), len(self.marks)):
            known = self.marks[index]
            if known.at != mark.at:
                break
            if known.key == mark.key and known.data.startswith(mark.data):
                return True
            if known.key == mark.key and mark.data.startswith(known.data):
                self.marks[index] = mark
                self._replace(known, mark)
                return True
        return False

    def _replace(self, old: Row, new: Row) -> None:
        for chunk in self.chunks:
            if old in chunk.rows:
                chunk.rows[chunk.rows.index(old)] = new
                self.revision += 1

    def _insert(self, mark: Row) -> None:
        chunk = next(chunk for chunk in reversed(self.chunks) if (chunk.rows and chunk.rows[0].at <= mark.at) or
                     chunk is self.chunks[0])  # fmt: skip
        index = len(chunk.rows)
        while index and chunk.rows[index - 1].at > mark.at:
            index -= 1
        chunk.rows.insert(index, mark)
        for after in self.chunks[self.chunks.index(chunk) + 1 :]:
            after.first += 1
        self.revision += 1

    def _with_marks(
        self, rows: list[Row], low: float, high: float, *, after: bool = False, upto: bool = False
    ) -> list[Row]:
        """Put the remarks of a span of time between the rows; `after`: none at `low`, `upto`: none at `high`."""
        marks = [
            mark for mark in self.marks
            if (mark.at > low if after else mark.at >= low) and (mark.at < high if upto else mark.at <= high)
        ]  # fmt: skip
        if not marks:
            return rows
        merged: list[Row] = []
        waiting = iter(marks)
        mark = next(waiting, None)
        for row in rows:
            while mark is not None and mark.at < row.at:
                merged.append(mark)
                mark = next(waiting, None)
            merged.append(row)
        if mark is not None:
            merged += [mark, *waiting]
        return merged


def _joined(lines: list[Line], piece: Line) -> bool:
    """Put a piece to the line of the same page it goes on."""
    for index in range(len(lines) - 1, max(-1, len(lines) - _LOOK_BACK), -1):
        line = lines[index]
        if (line.key, line.stream) == (piece.key, piece.stream):
            fits = line.offset + len(line.data) == piece.offset and len(line.data) + len(piece.data) <= _LINE_MAX
            if not fits or line.cut or line.data.endswith(b"\n"):
                return False
            lines[index] = line._replace(data=line.data + piece.data, cut=piece.cut)
            return True
    return False


def rows_of(lines: Iterable[Line]) -> list[Row]:
    """Return lines as rows; what a line says about itself becomes a remark."""
    return [
        Row(line.note.encode(), line.at, intern(line.key), intern(line.stream), line.offset, 0, "gap", "warn")
        if line.note
        else Row(line.data, line.at, intern(line.key), intern(line.stream), line.offset, -1 if line.cut else 0)
        for line in lines
    ]


def _bytes(rows: Iterable[Row]) -> int:
    return sum(len(row.data) for row in rows if row.kind == "line")
