"""Cuts bytes of output into lines for people and says of each when it arrived and from whom.

Decides what a line is: bytes up to and with a newline, cut into pieces of at most 8 KiB. Touches no file.
Streams build lines with it; everything above passes them on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import NamedTuple

from msgspec import Struct

from taskmaster_core.logs.index import Record

CUT = 8192
"""The longest piece of a line in bytes: a line of 1 GB is shown in pieces, never held."""


class LogLine(Struct, frozen=True, gc=False):
    r"""Hold one line of output, or a piece of one. The `data` of all of them in a row are the bytes of the file."""

    at: float | None
    """When its first byte arrived (Unix seconds), None if no index tells."""
    tag: str
    stream: str
    """`out` or `err`."""
    offset: int
    """Where it begins in its file."""
    data: bytes
    r"""With its `\n`, if it has one."""
    cut: bool = False
    """The line goes on after this piece: show "…"."""
    cont: bool = False
    """This piece goes on a line that began before it."""
    after: str = ""
    """With `offset` its place: which file of the stream (the suffix of the rotated part before it)."""
    note: str = ""
    """Not output but something to tell about it at this place, as that the file was truncated; `data` is empty."""


class Label(NamedTuple):
    """Say how a line is shown: the process and which of its streams."""

    tag: str
    stream: str


class Sift(NamedTuple):
    """Choose lines: `label` by the tag in the index (None: not wanted), the two others by what is in them."""

    label: Callable[[str], Label | None]
    may: Callable[[bytes], bool] | None = None
    """Tell fast whether a block may hold a line that `hit` accepts."""
    hit: Callable[[bytes], object] | None = None
    spans: Callable[[bytes], list[tuple[int, int]]] | None = None
    """Return where in a block the lines are that `hit` accepts: faster than asking `hit` of each."""


class Origin(NamedTuple):
    """Say where a block of bytes comes from."""

    after: str
    offset: int
    continues: bool
    """The byte before the block is no newline."""
    records: Sequence[Record]
    tags: Sequence[str]
    fallback: float
    """The order of lines no record tells of: when the file was last written."""


def pieces(data: bytes, *, final: bool) -> list[bytes]:
    """Return the lines in `data`, cut; an unfinished last one only if `final`, or as far as it fills pieces."""
    lines = BytesIO(data).readlines()
    if not lines:
        return lines
    if not final and not lines[-1].endswith(b"\n"):
        rest = lines.pop()
        lines += _cut(rest)[:-1] if len(rest) >= CUT else []
    if max(map(len, lines), default=0) <= CUT:
        return lines
    return [piece for line in lines for piece in ([line] if len(line) <= CUT else _cut(line))]


def _cut(line: bytes) -> list[bytes]:
    """Return the line in pieces, no UTF-8 character split."""
    found = []
    start = 0
    while len(line) - start > CUT:
        end = start + CUT
        while end > start + CUT - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        found.append(line[start:end])
        start = end
    found.append(line[start:])
    return found


def ready(data: bytes, *, final: bool) -> int:
    """Return how many bytes of `data` `pieces` would make lines of."""
    end = len(data) if final else data.rfind(b"\n") + 1
    if len(data) - end < CUT:
        return end
    return sum(map(len, pieces(data, final=final)))


def annotate(found: Sequence[bytes], origin: Origin, sift: Sift) -> list[tuple[float, LogLine]]:
    """Return the wanted lines with the time that orders them."""
    lines: list[tuple[float, LogLine]] = []
    continues = origin.continues
    teller = _Teller(origin, sift)
    offset = origin.offset
    for data in found:
        here, was_continued = offset, continues
        offset += len(data)
        continues = data[-1] != 10
        if sift.hit is not None and not sift.hit(data):
            continue
        order, at, label = teller.tell(here)
        if label is not None:
            cut = continues and len(data) >= CUT - 4
            lines.append((order, LogLine(at, *label, here, data, cut, was_continued, origin.after)))
    return lines


def annotate_spans(
    data: bytes, spans: Sequence[tuple[int, int]], origin: Origin, sift: Sift
) -> list[tuple[float, LogLine]]:
    """Return the lines in these parts of a block, as `annotate` would."""
    lines: list[tuple[float, LogLine]] = []
    teller = _Teller(origin, sift)
    for start, end in spans:
        here, line = origin.offset + start, data[start:end]
        continues = origin.continues and not start
        if end - start > CUT:  # only some pieces of it may be hits
            within = origin._replace(offset=here, continues=continues)
            lines += annotate(pieces(line, final=True), within, sift)
            continue
        order, at, label = teller.tell(here)
        if label is not None:
            cut = line[-1] != 10 and len(line) >= CUT - 4
            lines.append((order, LogLine(at, *label, here, line, cut, continues, origin.after)))
    return lines


class _Teller:
    """Say of one line after the other when it came and whose it is."""

    def __init__(self, origin: Origin, sift: Sift) -> None:
        self._times = Times(origin.records, origin.fallback)
        self._tags = origin.tags
        self._label = sift.label
        self._labels: dict[int, Label | None] = {}
        self._unknown = sift.label("")

    def tell(self, offset: int) -> tuple[float, float | None, Label | None]:
        """Return what orders the line, its time, and how it is shown (None: not wanted)."""
        order, record = self._times.of(offset)
        if record is None:
            return order, None, self._unknown
        if record.tag not in self._labels:
            self._labels[record.tag] = self._label(_name(self._tags, record.tag))
        return order, record.at, self._labels[record.tag]


def _name(tags: Sequence[str], number: int) -> str:
    return tags[number] if number < len(tags) else ""


class Times:
    """Walk the records beside the lines."""

    def __init__(self, records: Sequence[Record], fallback: float) -> None:
        self._records = records
        self._fallback = fallback
        self._number = 0

    def of(self, offset: int) -> tuple[float, Record | None]:
        """Return what orders the line at `offset`, and the record of the chunk it begins in if there is one."""
        records, number = self._records, self._number
        while number < len(records) and records[number].end <= offset:
            number += 1
        self._number = number
        if number == len(records):
            return self._fallback, None
        record = records[number]
        return record.at, record if record.offset <= offset else None
