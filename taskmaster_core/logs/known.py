"""What is remembered of files between two pages: where a file ends, and how new its newest line can be.

Decides when what is remembered still holds: as long as the file's inode, size and time of change are the same. It
spares the core opening a thousand idle files for each page of a viewer; pages and searches look here first.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections import OrderedDict
from typing import NamedTuple, TypeVar

from taskmaster_core.logs.archive import part_size
from taskmaster_core.logs.cursors import MARK, Cursor
from taskmaster_core.logs.files import open_regular
from taskmaster_core.logs.parts import File, Listing

_K = TypeVar("_K")
_V = TypeVar("_V")

LATE = 1.0
"""Seconds the shim is given between appending bytes and indexing them, and between renaming a file and its index."""

def written_within(seconds: float, mtime: float) -> bool:
    """Tell whether a file was written so lately. A time in the future tells nothing: the clock was set back since."""
    return 0 <= time.time() - mtime < seconds


_REMEMBERED = 4096
"""Files, at some 400 bytes: of 2,000 processes. More only while one viewer looks at more."""
_WAYS = 6
_FRESH = 50_000_000
"""Nanoseconds: a file written so lately can be written again at the same time of change, for that is only as fine as
the kernel's tick (1 to 10 ms); so it is not believed that nothing happened."""
_RECORD = struct.Struct("<QdII")
_TAIL = 170
"""Records at the end of an index (4 KiB) that are looked at for the newest: after the clock was set back it is not the
last one, and a line has the time of its first chunk."""

Sign = tuple[int, int, int]
"""Inode, size, time of change: a file with the same ones was not written meanwhile."""


class Known(NamedTuple):
    """Hold what is known of a stream."""

    where: str
    """What the path of the live file leads to."""
    sign: Sign | None
    """None: there is no live file; then it holds as long as the directory was not changed."""
    scan: object
    end: Cursor
    older: int
    """Bytes in the parts before the live file."""
    newest: float
    """No line is ordered after this."""


class Memory:
    """Remember streams by the path of their live file, those used last."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._parts: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._heads: OrderedDict[object, OrderedDict[str, tuple[Cursor, float]]] = OrderedDict()
        self._room = _REMEMBERED

    def make_room(self, files: int) -> None:
        """Be ready to remember so many at once: else a page over more of them would never be done."""
        self._room = max(_REMEMBERED, 2 * files)

    def get(self, path: str) -> Known | None:
        """Return what was known, which may not hold any more."""
        return self._known.get(path)

    def put(self, path: str, known: Known) -> None:
        """Remember a stream."""
        _put(self._known, path, known, self._room)

    def heads(self, way: object) -> OrderedDict[str, tuple[Cursor, float]]:
        """Return which cursors the next lines were seen from in a direction, and what orders them."""
        found = self._heads.get(way)
        if found is None:
            found = self._heads[way] = OrderedDict()
            while len(self._heads) > _WAYS:
                self._heads.popitem(last=False)
        return found

    def saw(self, way: object, path: str, cursor: Cursor, order: float) -> None:
        """Remember what orders the next line from a cursor."""
        _put(self.heads(way), path, (cursor, order), self._room)

    def part(self, file: File) -> float:
        """Return a time after which no line of a rotated part is ordered; raise OSError. A part never changes."""
        key = (file.path, file.ino)
        found = self._parts.get(key)
        if found is None:
            stat = os.stat(file.path)
            late = LATE if written_within(LATE, stat.st_mtime) else 0.0  # its index may not have been renamed yet
            found = max(stat.st_mtime, _newest(file.index_path)[0]) + late
            if not late:
                _put(self._parts, key, found, self._room)
        return found


def _put(memory: OrderedDict[_K, _V], key: _K, value: _V, room: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > room:
        memory.popitem(last=False)


memory = Memory()


def look(path: str, listing: Listing, where: str, index: str | None) -> Known | None:
    """Return what there is to know of a stream now, None if it is not to be had in passing.

    It is remembered by `path`; `where` is the file it really is.
    """
    try:
        files = listing.files(where, index)
        older = sum(part_size(part.path, part.ino) for part in files[:-1])
        before = memory.part(files[-2]) if len(files) > 1 else -float("inf")
        known = _look_into(files[-1], older, before, listing.at_rest(where))
    except OSError:
        return None
    if known is not None and not _is_fresh(known):
        memory.put(path, known)
    return known


def sign_of(path: str) -> Sign | None:
    """Return what tells that a file was not written, None if it is not there."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _is_fresh(known: Known) -> bool:
    if known.sign is None:
        return known.scan is None
    # A time of change in the future (the clock was set back) is no danger: a write now would change it.
    return 0 <= time.time_ns() - known.sign[2] < _FRESH


def _look_into(live: File, older: int, before: float, scan: object) -> Known | None:
    """Return what is known by the end of the live file and of its index; None if it was just rotated."""
    if not live.ino:
        return Known(live.path, None, scan, Cursor(live.after), older, before)
    fd = open_regular(live.path)
    try:
        stat = os.fstat(fd)
        size = stat.st_size
        said = os.pread(fd, min(MARK, size), max(0, size - MARK))
    finally:
        os.close(fd)
    if stat.st_ino != live.ino:
        return None
    end = Cursor(live.after, size, live.ino, zlib.crc32(said) if size else 0)
    sign = (stat.st_ino, size, stat.st_mtime_ns)
    # The bound of the newest line. The file's time alone would not do: the clock may have been set back between two
    # chunks or since, the index is written after the output, a copy may have any time. A line has either the time of
    # one of the last records or, if none tells of it, that of the file; a record that is still to come is LATE at most.
    newest, covered = _newest(live.index_path)
    newest = max(newest, stat.st_mtime) + (LATE if covered < size else 0.0)
    return Known(live.path, sign, scan, end, older, newest if size else before)


def _newest(index: str | None) -> tuple[float, int]:
    """Return the latest time at the end of an index and the offset it tells of; -inf and 0 without one."""
    try:
        fd = open_regular(index or "")
    except OSError:
        return -float("inf"), 0
    try:
        count = os.fstat(fd).st_size // _RECORD.size
        first = max(0, count - _TAIL)
        raw = os.pread(fd, (count - first) * _RECORD.size, first * _RECORD.size)
    finally:
        os.close(fd)
    records = list(_RECORD.iter_unpack(raw[: len(raw) - len(raw) % _RECORD.size]))
    if not records:
        return -float("inf"), 0
    return max(record[1] for record in records), records[-1][0] + records[-1][3]
