"""Reads the time index of a file of output: which bytes arrived when, and from whom.

Decides what an index can be trusted with: a torn last record, a missing file and records of bytes that were truncated
away are all expected. Streams ask it; it never looks into the output itself.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from functools import partial
from math import inf
from operator import le
from typing import NamedTuple, Self

from taskmaster_core.logs.files import PlainFile

RECORD = struct.Struct("<QdII")
"""Offset of the chunk, wall time of its arrival, number of the tag, length of the chunk."""

_SCAN = 16_384
_END = 1 << 63
_REMEMBERED = 4096
_TAGS_MAX = 1 << 20


class Record(NamedTuple):
    """Hold one chunk: bytes [offset, offset + length) arrived at `at` from tag number `tag`."""

    offset: int
    at: float
    tag: int
    length: int

    @property
    def end(self) -> int:
        """Return the offset after the chunk."""
        return self.offset + self.length


class Index:
    """Look up offsets and times in an open index file; closed it is of no use."""

    def __init__(self, file: PlainFile, path: str) -> None:
        self._file = file
        self._path = path
        self._count = file.size // RECORD.size
        self._first = _run_start(file, self._count)

    @classmethod
    def open(cls, path: str | None) -> Self | None:
        """Return the index at `path`, None if there is none that can be read."""
        if path is None:
            return None
        try:
            file = PlainFile.open(path)
        except OSError:
            return None
        return cls(file, path)

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()

    def __len__(self) -> int:
        return self._count - self._first

    def record(self, number: int) -> Record:
        """Return the record with that number, counted from the first that is valid."""
        return Record(*RECORD.unpack(self._file.read((self._first + number) * RECORD.size, RECORD.size)))

    def covered(self) -> int:
        """Return the offset up to which the index tells of bytes."""
        return self.record(len(self) - 1).end if len(self) else 0

    def around(self, low: int, high: int) -> list[Record]:
        """Return the records of the bytes [low, high), and one more after them if there is one."""
        numbers = range(len(self))
        start = max(0, bisect_right(numbers, low, key=self._offset) - 1)
        end = bisect_left(numbers, high, start, key=self._offset)
        raw = self._file.read((self._first + start) * RECORD.size, (end + 1 - start) * RECORD.size)
        whole = len(raw) - len(raw) % RECORD.size
        return [Record._make(fields) for fields in RECORD.iter_unpack(raw[:whole])]

    def first_at(self, when: float) -> int | None:
        """Return the offset of the first chunk that arrived at `when` or later, None if there is none.

        Where the wall clock was set back times are not in order; then all of them are looked at.
        """
        if not _in_order(self._file, self._first, self._count):
            return next((found.offset for found in self.around(0, _END) if found.at >= when), None)
        number = bisect_left(range(len(self)), when, key=lambda each: self.record(each).at)
        return self.record(number).offset if number < len(self) else None

    def tags(self, fallback: str | None) -> list[str]:
        """Return the tags by number, from the file beside this index or else beside `fallback`."""
        for path in (self._path, fallback):
            if path is not None and (found := _read_tags(f"{path}.tags")) is not None:
                return found
        return []

    def _offset(self, number: int) -> int:
        return self.record(number).offset


def _read_tags(path: str) -> list[str] | None:
    try:
        with PlainFile.open(path) as file:
            text = file.read(0, min(file.size, _TAGS_MAX))
    except OSError:
        return None
    return text[: text.rfind(b"\n") + 1].decode("utf-8", "surrogateescape").split("\n")[:-1]


_runs: OrderedDict[int, tuple[int, int, int]] = OrderedDict()
"""Of each index's inode: records looked at, where the last run starts, offset of the last one looked at."""


def _run_start(file: PlainFile, count: int) -> int:
    """Return the number of the first record that is still true.

    A file that others truncated begins again at 0, so offsets in its index fall; what is before the fall tells of
    bytes that are gone. Each record is looked at once per process, not once per question.
    """
    seen, start, last = _runs.pop(file.ino, (0, 0, 0))
    if seen > count or (seen and _offset_at(file, seen - 1) != last):
        seen, start, last = 0, 0, 0  # another index under the same inode
    read = partial(_offsets, file)
    while seen < count:
        offsets = [last, *read(seen, min(_SCAN, count - seen))]
        if offsets != sorted(offsets):
            fall = max(i for i in range(1, len(offsets)) if offsets[i] < offsets[i - 1])
            start = seen + fall - 1
        seen, last = seen + len(offsets) - 1, offsets[-1]
        if len(offsets) == 1:
            break  # shrunk under our eyes
    _runs[file.ino] = (seen, start, last)
    if len(_runs) > _REMEMBERED:
        _runs.popitem(last=False)
    return min(start, count)


def _offsets(file: PlainFile, number: int, count: int) -> array[int]:
    raw = file.read(number * RECORD.size, count * RECORD.size)
    return array("Q", raw[: len(raw) - len(raw) % RECORD.size])[::3]


_times: OrderedDict[tuple[int, int], tuple[int, float, bool]] = OrderedDict()
"""Of each index's inode and first record: records whose times were looked at, the last one, whether they never fall."""


def _in_order(file: PlainFile, first: int, count: int) -> bool:
    """Tell whether no record is older than the one before it; each is looked at once per process."""
    seen, last, ordered = _times.pop((file.ino, first), (first, -inf, True))
    if seen > count or (seen > first and _times_of(file, seen - 1, 1) != array("d", [last])):
        seen, last, ordered = first, -inf, True  # another index under the same inode
    while ordered and seen < count:
        times = _times_of(file, seen, min(_SCAN, count - seen))
        if not times:
            break  # shrunk under our eyes
        ordered = times[0] >= last and all(map(le, times, times[1:]))
        seen, last = seen + len(times), times[-1]
    _times[file.ino, first] = (seen, last, ordered)
    if len(_times) > _REMEMBERED:
        _times.popitem(last=False)
    return ordered


def _times_of(file: PlainFile, number: int, count: int) -> array[float]:
    raw = file.read(number * RECORD.size, count * RECORD.size)
    return array("d", raw[: len(raw) - len(raw) % RECORD.size])[1::3]


def _offset_at(file: PlainFile, number: int) -> int:
    found = _offsets(file, number, 1)
    return found[0] if found else -1
