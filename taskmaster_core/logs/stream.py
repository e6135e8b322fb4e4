"""One stream of output: its rotated parts and the live file, read as if they were one file.

Decides where a cursor points now, after rotation, compression, truncation or deletion, and hands out lines after or
before it. Holds nothing open and nothing in memory between calls. Queries and searches read through it.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple, Self, TypeVar

from taskmaster_core.logs.archive import open_archive, part_size
from taskmaster_core.logs.cursors import MARK, Cursor
from taskmaster_core.logs.files import PlainFile, Readable, resolve
from taskmaster_core.logs.index import Index
from taskmaster_core.logs.known import LATE, memory, written_within
from taskmaster_core.logs.lines import Label, LogLine, Origin, Sift, Times, annotate, annotate_spans, pieces, ready
from taskmaster_core.logs.parts import File, Listing, order

T = TypeVar("T")

BLOCK = 256 * 1024
REST = 0.3
"""Seconds without growth after which an unfinished line counts as one: a prompt, not a line caught half written."""
BACK = 64 * 1024
"""Bytes read at once going backwards, unless asked otherwise."""
_BACK_FAR = 1024 * 1024
"""So far back the start of a line is looked for; of a longer one the pieces begin elsewhere than going forward."""
_TRIES = 6
_UNSETTLED_MAX = 1024 * 1024
"""More than this without an index record means that the index is broken, not late."""


class Ask(NamedTuple):
    """Say what to read and how."""

    sift: Sift
    limit: int = BLOCK
    bound: Cursor | None = None
    """Read up to there (backwards: down to there)."""
    partial: bool = True
    """An unfinished last line counts as a line."""
    rest: float = 0.0
    """With `partial`: not before the file has not grown for so many seconds."""
    window: int = BACK
    """Bytes to look at in one step backwards."""
    most: int = 0
    """What `limit` and `window` may become, see `wider`."""
    settle: bool = False
    """Leave bytes alone that the shim has not indexed yet, if they are fresh: their tag would be unknown."""

    def wider(self) -> Ask:
        """Return what to ask next: a page often needs a little of each file, and then much of one."""
        if self.limit >= self.most and self.window >= min(self.most, BACK):
            return self
        return self._replace(
            limit=max(self.limit, min(2 * self.limit, self.most)),
            window=max(self.window, min(2 * self.window, self.most, BACK)),
        )


class Batch(NamedTuple):
    """Hold some lines in the order of the stream, with the times that order them among streams."""

    lines: list[tuple[float, LogLine]]
    next: Cursor
    """Where to go on."""
    more: bool
    """There is something beyond `next` already."""
    cursor: Callable[[int], Cursor]
    """Make a cursor to a byte of this batch from its offset."""
    held: bool = False
    """Bytes were left alone because they are not indexed yet; nothing may tell when they are: ask again."""
    problem: str = ""


class _Stale(Exception):
    """Tell that the listing is no longer true."""


class _Open:
    """Hold a file and its index open, checked to be the file that was listed."""

    def __init__(self, file: File, *, lenient: bool) -> None:
        self.file = file
        self.data = _open(file)
        self.index: Index | None = None
        try:
            self.index = Index.open(file.index_path)
            stat = os.stat(file.path)  # after both were opened: so they belong together
            if stat.st_ino != file.ino or (self._index_may_come(stat.st_mtime) and not lenient):
                raise _Stale
            self.mtime = stat.st_mtime
        except FileNotFoundError:
            self.close()
            raise _Stale from None
        except BaseException:
            self.close()
            raise

    def _index_may_come(self, mtime: float) -> bool:
        """Tell whether a rotation may have renamed the file and not yet its index."""
        file = self.file
        missing = self.index is None and file.index_path is not None
        return missing and file.suffix != "" and written_within(LATE, mtime)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.data.close()
        if self.index is not None:
            self.index.close()

    def read(self, start: int, end: int) -> _Block:
        """Return the bytes of that range with what is needed to make cursors inside it."""
        before = min(MARK, start)
        return _Block(self.file, start - before, self.data.read(start - before, end - start + before))

    def cursor(self, offset: int) -> Cursor:
        return self.read(offset, offset).cursor(offset)

    def fits(self, cursor: Cursor) -> bool:
        return cursor.offset == 0 or (
            cursor.offset <= self.data.size and self.cursor(cursor.offset).mark == cursor.mark
        )

    def settled(self, end: int) -> int:
        """Return up to where the bytes are indexed, or `end` if waiting for the index is not worth it."""
        if self.file.index_path is None or not written_within(LATE, self.mtime):
            return end
        covered = self.index.covered() if self.index else 0  # the index is made with its first record
        return covered if covered < end <= covered + _UNSETTLED_MAX else end

    def at_time(self, when: float) -> int | None:
        """Return the offset of the first byte here that arrived at `when` or later."""
        found = self.index.first_at(when) if self.index else None
        if found is not None or self.mtime < when:
            return found
        covered = self.index.covered() if self.index else 0
        return covered if covered < self.data.size else None

    def time_of(self, offset: int) -> tuple[float, float]:
        """Return what orders the line at `offset`, and the time it tells (0 if it has none)."""
        records = self.index.around(offset, offset + 1) if self.index else ()
        order_of, record = Times(records, self.mtime).of(offset)
        return order_of, record.at if record else 0.0

    def line_from(self, offset: int) -> int:
        """Return the offset of the first line that begins there or later."""
        while 0 < offset < self.data.size:
            data = self.data.read(offset - 1, BACK)
            newline = data.find(b"\n")
            if newline >= 0:
                return offset + newline
            offset += max(1, len(data) - 1)
        return offset

    def origin(self, block: _Block, start: int, low: int, high: int) -> Origin:
        """Return what is known of the bytes from `start` on: where and when those of [low, high) in them arrived."""
        continues = start > 0 and block.data[start - block.base - 1 : start - block.base] != b"\n"
        if not self.index:
            return Origin(self.file.after, start, continues, (), (), self.mtime)
        tags = self.index.tags(self.file.index_path.removesuffix(self.file.suffix) if self.file.index_path else None)
        return Origin(self.file.after, start, continues, self.index.around(start + low, start + high), tags, self.mtime)


class _Block(NamedTuple):
    """Hold bytes of a file, with up to 64 before those that were asked for."""

    file: File
    base: int
    data: bytes

    def cursor(self, offset: int) -> Cursor:
        at = offset - self.base
        mark = zlib.crc32(self.data[max(0, at - MARK) : at]) if offset else 0
        return Cursor(self.file.after, offset, self.file.ino, mark)


def _open(file: File) -> Readable:
    try:
        return open_archive(file.path) if file.packed else PlainFile.open(file.path)
    except FileNotFoundError:
        raise _Stale from None


class Stream:
    """Read one stream. `listing` may be shared by streams that are read for the same answer."""

    def __init__(self, path: str, index: str | None, listing: Listing | None = None) -> None:
        self.path = resolve(path)
        self.index_path = index
        self._listing = listing or Listing()

    def files(self) -> list[File]:
        """Return the parts, oldest first, and the live file."""
        return self._listing.files(self.path, self.index_path)

    def read(self, cursor: Cursor, ask: Ask) -> Batch:
        """Return lines after the cursor."""
        return self._retry(lambda lenient: self._read(cursor, ask, lenient=lenient), _nothing(cursor, held=True))

    def back(self, cursor: Cursor, ask: Ask) -> Batch:
        """Return the lines before the cursor, in their order; `next` is before the first of them."""
        return self._retry(lambda lenient: self._back(cursor, ask, lenient=lenient), _nothing(cursor, held=True))

    def start(self) -> Cursor:
        """Return the place of the oldest byte there is."""
        first = self.files()[0]
        return Cursor(first.after, 0, first.ino)

    def end(self) -> Cursor:
        """Return the place after the newest byte."""
        return self._retry(lambda lenient: self._end(lenient=lenient), self.start())

    def place(self, after: str, offset: int) -> Cursor:
        """Return the cursor to a place that a LogLine told."""
        return self._retry(lambda lenient: self._place(after, offset, lenient=lenient), self.start())

    def at_time(self, when: float) -> Cursor:
        """Return the place of the first byte that arrived at `when` or later, as well as the indexes know."""
        return self._retry(lambda lenient: self._at_time(when, lenient=lenient), self.start())

    def line_after(self, when: float) -> Cursor:
        """Return the place of the first line that began at `when` or later, as well as the indexes know."""
        return self._retry(lambda lenient: self._at_time(when, lenient=lenient, whole=True), self.start())

    def line_at(self, at: float, offset: int) -> tuple[float, Cursor] | None:
        """Return what orders the line that told this time and offset, and its place; None if it is gone."""
        return self._retry(lambda lenient: self._line_at(at, offset, lenient=lenient), None)

    def extent(self, cursor: Cursor | None) -> tuple[int, int]:
        """Return how many bytes of output are before the cursor, and how many there are."""
        files, number = self._find(cursor or Cursor())
        sizes = [part_size(file.path, file.ino) if file.suffix else file.size for file in files]
        inside = min(cursor.offset, sizes[number]) if cursor else 0
        return sum(sizes[:number]) + inside, sum(sizes)

    def _retry(self, attempt: Callable[[bool], T], otherwise: T) -> T:
        """Do it again while files are renamed under our hands; the last time a missing index is accepted."""
        for number in range(_TRIES):
            try:
                return attempt(number == _TRIES - 1)
            except _Stale:
                self._listing.forget(self.path)
                if number:
                    time.sleep(0.001)  # two renames in a row take the shim less than that
        return otherwise

    def _find(self, cursor: Cursor) -> tuple[list[File], int]:
        """Return the files and the number of the one the cursor points into."""
        files = self.files()
        known = order(cursor.after)
        number = next((i for i, file in enumerate(files) if order(file.suffix) > known), len(files) - 1)
        file = files[number]
        if cursor.ino not in {0, file.ino} and not file.packed:
            moved = self._listing.moved(files[-1], cursor.ino)
            if moved is not None and self._fits(moved._replace(after=file.after), cursor):
                files.insert(number, moved._replace(after=file.after))
        return files, number

    def _fits(self, file: File, cursor: Cursor) -> bool:
        try:
            with _Open(file, lenient=True) as opened:
                return opened.fits(cursor)
        except OSError:
            return False

    def _read(self, cursor: Cursor, ask: Ask, *, lenient: bool) -> Batch:
        files, number = self._find(cursor)
        place, problem = cursor, ""
        for file in files[number:]:
            if not file.ino:
                break
            first, last = file is files[number], file is files[-1]
            place = cursor if first else Cursor(file.after, 0, file.ino)
            try:
                with _Open(file, lenient=lenient and not ask.settle) as opened:
                    if first and (_is_gone(file, cursor) or not opened.fits(cursor)):
                        if not lenient:
                            raise _Stale  # look again before telling anybody that output is lost
                        return _begin_again(file, cursor, opened.mtime, ask)
                    end = _bound(file, opened.data.size, ask.bound)
                    if place.offset < end:
                        return _forward(opened, place.offset, end, ask, last=last)._replace(problem=problem)
            except OSError as error:
                problem = f"{file.path}: {error.strerror or error}"
            if file.moved and not files[-1].size:
                break  # whoever moved it may not have told the shim yet: more can come there
        return _nothing(place, problem=problem)

    def _back(self, cursor: Cursor, ask: Ask, *, lenient: bool) -> Batch:
        files, number = self._find(cursor)
        offset: int | None = cursor.offset
        problem = ""
        for file in reversed(files[: number + 1]):
            low = _floor(file, ask.bound)
            if low is None:
                break
            try:
                if file.ino:
                    with _Open(file, lenient=lenient) as opened:
                        if offset is not None and (_is_gone(file, cursor) or not opened.fits(cursor)):
                            if not lenient:
                                raise _Stale
                            return _gone_before(file, cursor, opened.mtime, ask)
                        end = min(opened.data.size, opened.data.size if offset is None else offset)
                        if end > low:
                            return _backward(opened, low, end, ask)._replace(problem=problem)
            except OSError as error:
                problem = f"{file.path}: {error.strerror or error}"
            offset = None
        return _nothing(cursor, problem=problem)

    def _end(self, *, lenient: bool) -> Cursor:
        return self._cursor_in(self.files()[-1], None, lenient=lenient)

    def _place(self, after: str, offset: int, *, lenient: bool) -> Cursor:
        files, number = self._find(Cursor(after))
        return self._cursor_in(files[number], offset, lenient=lenient)

    def _cursor_in(self, file: File, offset: int | None, *, lenient: bool) -> Cursor:
        if not file.ino:
            return Cursor(file.after)
        try:
            with _Open(file, lenient=lenient) as opened:
                size = opened.data.size
                return opened.cursor(size if offset is None else min(offset, size))
        except OSError:
            return Cursor(file.after, 0, file.ino)  # whoever reads there is told what is wrong with it

    def _line_at(self, at: float, offset: int, *, lenient: bool) -> tuple[float, Cursor] | None:
        for file in reversed(self.files()):
            try:
                with _Open(file, lenient=lenient) as opened:
                    if offset < opened.data.size:
                        order_of, told = opened.time_of(offset)
                        if told == at:
                            return order_of, opened.cursor(offset)
            except OSError:
                continue
        return None

    def _at_time(self, when: float, *, lenient: bool, whole: bool = False) -> Cursor:
        for file in self.files():
            if not file.ino:
                break
            try:
                if _is_before(file, when):
                    continue
                with _Open(file, lenient=lenient) as opened:
                    offset = opened.at_time(when)
                    if offset is not None:
                        offset = min(offset, opened.data.size)
                        return opened.cursor(opened.line_from(offset) if whole else offset)
            except OSError:
                continue  # a damaged part holds nothing that could be read
        return self._end(lenient=lenient)


def _is_before(file: File, when: float) -> bool:
    """Tell whether all of a part is known to be older: then it need not be opened."""
    try:
        return bool(file.suffix) and memory.part(file) < when
    except FileNotFoundError:
        raise _Stale from None


def _nothing(cursor: Cursor, *, problem: str = "", held: bool = False) -> Batch:
    return Batch([], cursor, more=False, cursor=lambda _: cursor, held=held, problem=problem)


def _is_gone(file: File, cursor: Cursor) -> bool:
    """Tell whether the part pointed into was removed and this is a later one."""
    return bool(cursor.after and file.suffix) and order(file.suffix) > order(cursor.after) + 1


def _begin_again(file: File, cursor: Cursor, mtime: float, ask: Ask) -> Batch:
    """Tell that the bytes the cursor pointed between are gone; go on at the start of what is there."""
    place = Cursor(file.after, 0, file.ino)
    label = ask.sift.label("") or Label("", "out")
    line = LogLine(None, *label, 0, b"", after=file.after, note=_what_happened(file, cursor))
    return Batch([(mtime, line)], place, more=True, cursor=lambda _: place)


def _gone_before(file: File, cursor: Cursor, mtime: float, ask: Ask) -> Batch:
    """Tell that the bytes before the cursor are gone; go on before the file that took their place."""
    begun = _begin_again(file, cursor, mtime, ask)
    return begun._replace(more=file.after != "")


def _what_happened(file: File, cursor: Cursor) -> str:
    if file.suffix:
        return "older output was removed"
    return "the file was truncated" if file.ino == cursor.ino else "the file was replaced"


def _bound(file: File, size: int, bound: Cursor | None) -> int:
    """Return the offset in this file at which reading forward ends."""
    if bound is None or order(file.after) < order(bound.after):
        return size
    same = order(file.after) == order(bound.after) and (file.suffix or bound.ino == file.ino)
    return min(size, bound.offset) if same else 0


def _floor(file: File, bound: Cursor | None) -> int | None:
    """Return the offset in this file at which reading backwards ends, None if it is before the bound altogether."""
    if bound is None or order(file.after) > order(bound.after):
        return 0
    return bound.offset if order(file.after) == order(bound.after) else None


def _forward(opened: _Open, offset: int, end: int, ask: Ask, *, last: bool) -> Batch:
    settled = opened.settled(end) if ask.settle and last else end
    held = settled < end
    if settled <= offset:
        return _nothing(opened.cursor(offset), held=held)
    stop = min(settled, offset + ask.limit)
    block = opened.read(offset, stop)
    data = block.data[offset - block.base :]
    reached = stop == settled
    resting = not ask.rest or not last or not written_within(ask.rest, opened.mtime)
    used = ready(data, final=reached and (not last or (ask.partial and resting)))
    held = held or (ask.partial and not resting and reached and used < len(data))
    lines = _sifted(opened, block, offset, offset + used, ask.sift)
    return Batch(lines, block.cursor(offset + used), not (reached and last), block.cursor, held)


def _backward(opened: _Open, low: int, end: int, ask: Ask) -> Batch:
    for window in (ask.window, max(ask.window, BACK), _BACK_FAR):
        start = max(low, end - window)
        block = opened.read(start, end)
        if start == low:
            break
        newline = block.data.find(b"\n", start - block.base, end - block.base - 1)
        if newline >= 0:  # begin with a whole line
            start = newline + 1 + block.base
            break
    else:  # there is only a part of a giant one; begin with a whole character
        inside = start - block.base
        start += next((i for i in range(4) if block.data[inside + i] & 0xC0 != 0x80), 0)
    lines = _sifted(opened, block, start, end, ask.sift)
    return Batch(lines, block.cursor(start), start > 0 or opened.file.after != "", block.cursor)


def _sifted(opened: _Open, block: _Block, start: int, end: int, sift: Sift) -> list[tuple[float, LogLine]]:
    data = block.data[start - block.base : end - block.base]
    if not data or (sift.may is not None and not sift.may(data)):
        return []
    if sift.spans is not None:
        spans = sift.spans(data)
        origin = opened.origin(block, start, spans[0][0], spans[-1][1]) if spans else None
        return annotate_spans(data, spans, origin, sift) if origin is not None else []
    return annotate(pieces(data, final=True), opened.origin(block, start, 0, len(data)), sift)
