"""Cursors over many files: what the asker keeps, as JSON, and gives back to go on.

Decides how they are written: a few files by their paths, many packed into one short string, of which later cursors
differ in a few files. Touches no file. Pages and searches are asked with them.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from array import array
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct, ValidationError, convert

from taskmaster_core.errors import BadRequest

MARK = 64
"""Bytes before a cursor that its checksum is of."""

_PACKED = 64
"""More files than that are packed, and with more differences than that they are packed anew."""
_NAME = 6
"""Bytes of a path's hash: two of 4,000 paths have the same one once in 35 million times."""
_HEAD = struct.Struct("<BII")
_UNPACKED = 4
_MOST = 1 << 63
_DIGITS = 19
_LARGEST = 8 << 20
"""Bytes that somebody's string may unpack to: of 300,000 files."""


class Cursor(NamedTuple):
    """Point between two bytes of a stream, for as long as they exist; a list of its fields is its JSON."""

    after: str = ""
    """The suffix of the rotated part before the file pointed into: names it while it is live, rotated, compressed."""
    offset: int = 0
    ino: int = 0
    """The file's inode, 0 if there was none."""
    mark: int = 0
    """A checksum of the 64 bytes before the point: tells another file of the same name, or one written anew."""


Cursors = dict[str, Cursor]
"""Where one is in each file, by its path."""


class Rest(Struct, frozen=True):
    """Say where the files are begun that a cursor does not name yet: finding that out was too long for one request."""

    kind: str
    """`end`, or `time`: the first byte of that time or later, or `line`: the first line of it."""
    when: float = 0.0
    first: str = ""
    """This file is first of those with a line of just that time."""


class State(Struct):
    """Hold what a cursor says. A file it does not name is at its start."""

    v: int = 1
    packed: str = ""
    """Most of `at`; what `at` says itself overrules it."""
    at: Cursors = {}
    to: Cursors | None = None
    packed_to: str = ""
    """The same for `to`, which stays as it is."""
    left: int = 0
    """Lines that are still to be counted backwards before the answer begins."""
    total: int = 0
    """Of a search: bytes to be looked at in all, 0 before it began."""
    lines: int = 0
    """Of a count: lines so far."""
    rest: Rest | None = None
    rest_to: Rest | None = None
    waits: int = 0
    """Slices that came to nothing because there were so many files to look at."""


class Writer:
    """Write cursors of one answer: those that have most in common share a packed string."""

    def __init__(self, packed: str = "", base: Cursors | None = None, packed_to: str = "") -> None:
        self._packed = packed
        self._packed_to = packed_to
        self._base = base or {}

    def plain(self, cursors: Cursors, state: State) -> dict[str, Any]:
        """Return a cursor that only names a place: it serves in both directions."""
        said = {"v": 1} | self._places(cursors)
        if state.rest is not None:
            said["rest"] = _told(state.rest)
        return said | ({"waits": state.waits} if state.waits else {})

    def dump(self, state: State) -> dict[str, Any]:
        """Return a state as the JSON that the asker keeps."""
        said = self.plain(state.at, state) | {"to": None if state.to is None else _lists(state.to), "left": state.left}
        if state.to is not None and len(state.to) > _PACKED and state.rest_to is None:
            self._packed_to = self._packed_to or pack(state.to)
            said |= {"to": {}, "packed_to": self._packed_to}
        if state.rest_to is not None:
            said["rest_to"] = _told(state.rest_to)
        return said | ({"total": state.total, "lines": state.lines} if state.total else {})

    def _places(self, cursors: Cursors) -> dict[str, Any]:
        differ = {path: its for path, its in cursors.items() if self._base.get(path) is not its}
        if self._packed or len(differ) > _PACKED:
            differ = {path: its for path, its in differ.items() if self._base.get(path) != its}
        if len(differ) > _PACKED:
            self._packed, self._base, differ = pack(cursors), cursors.copy(), {}
        places: dict[str, Any] = {"at": _lists(differ)}
        return {"packed": self._packed} | places if self._packed else places


def load(cursor: Mapping[str, Any], paths: Mapping[str, object]) -> tuple[State, Writer]:
    """Return what the asker's cursor says of these files, and what writes the next one; raise BadRequest if it is none.

    One that is to be written in a few bytes more begins with what this one said.
    """
    try:
        state = convert(dict(cursor), State)
    except (ValidationError, TypeError, ValueError) as error:
        raise BadRequest(f"not a cursor of a page: {error}") from None
    if state.v != 1:
        raise BadRequest(f"a cursor of version {state.v}; this core knows 1")
    base = _unpacked_of(state.packed, paths) if state.packed else {}
    writer = Writer(state.packed, base, state.packed_to)
    state.at = base | state.at
    if state.packed_to:
        state.to = _unpacked_of(state.packed_to, paths) | (state.to or {})
    if not _sound(state):
        raise BadRequest("not a cursor of a page: it points nowhere")
    return state, writer


def _sound(state: State) -> bool:
    """Tell whether what an asker gave back may have been ours: he may have made it up."""
    numbers = (state.left, state.total, state.lines, state.waits)
    points = (each for cursors in (state.at, state.to or {}) for each in cursors.values())
    return all(0 <= number < _MOST for number in numbers) and all(map(_points, points))


def _points(cursor: Cursor) -> bool:
    number = cursor.after.rpartition(".")[2]
    named = not cursor.after or (number.isascii() and number.isdecimal() and len(number) < _DIGITS)
    return named and all(0 <= each < _MOST for each in (cursor.offset, cursor.ino, cursor.mark))


def _told(rest: Rest) -> dict[str, Any]:
    return {"kind": rest.kind, "when": rest.when, "first": rest.first}


def _lists(cursors: Cursors) -> dict[str, list[Any]]:
    return {path: list(cursor) for path, cursor in cursors.items()}


@lru_cache(8192)
def name_of(path: str) -> bytes:
    """Return the short name of a path in packed cursors."""
    return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=_NAME).digest()


def pack(cursors: Cursors) -> str:
    """Return many cursors as one string, some 20 characters for each file."""
    its = cursors.values()
    suffixes = {"": 0}
    numbers = array("I", [suffixes.setdefault(each.after, len(suffixes)) for each in its])
    columns = [
        b"".join(map(name_of, cursors)),
        numbers.tobytes(),
        array("Q", [each.offset for each in its]).tobytes(),
        array("Q", [each.ino for each in its]).tobytes(),
        array("I", [each.mark for each in its]).tobytes(),
        "\n".join(suffixes).encode("utf-8", "surrogatepass"),
    ]
    raw = zlib.compress(b"".join(columns), 1)
    return base64.b64encode(_HEAD.pack(1, len(cursors), sum(map(len, columns))) + raw).decode()


_unpacked: list[tuple[str, Mapping[str, object], Cursors]] = []
"""The strings that were last given back: who follows gives the same one again and again."""


def _unpacked_of(packed: str, paths: Mapping[str, object]) -> Cursors:
    """Return what a string says of these files; nobody changes what is returned. Raise BadRequest."""
    for number, (text, whose, base) in enumerate(_unpacked):
        if whose is paths and text == packed:
            _unpacked.insert(0, _unpacked.pop(number))
            return base
    try:
        table = _unpack_anew(packed)
    except (ValueError, TypeError, struct.error, zlib.error, IndexError) as error:
        raise BadRequest(f"not a cursor of a page: {error}") from None
    base = {path: its for path in paths if (its := table.get(name_of(path))) is not None}
    _unpacked.insert(0, (packed, paths, base))
    del _unpacked[_UNPACKED:]
    return base


def _unpack_anew(packed: str) -> dict[bytes, Cursor]:
    raw = base64.b64decode(packed, validate=True)
    version, count, size = _HEAD.unpack_from(raw)
    data = zlib.decompressobj().decompress(raw[_HEAD.size :], _LARGEST)
    if version != 1 or len(data) != size:
        raise ValueError("it is damaged")
    at = _NAME * count
    names = [data[start : start + _NAME] for start in range(0, at, _NAME)]
    columns = []
    for kind, width in (("I", 4), ("Q", 8), ("Q", 8), ("I", 4)):
        columns.append(array(kind, data[at : at + width * count]))
        at += width * count
    suffixes = data[at:].decode("utf-8", "surrogatepass").split("\n")
    after = [suffixes[number] for number in columns[0]]
    return dict(zip(names, map(Cursor, after, *columns[1:]), strict=True))
