"""Finds the files of a stream: its rotated parts, oldest first, and the live file.

Decides by names alone which files belong together and in which order; opens none. Streams read what it lists, the
core has it remove what is too old.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

_PART = re.compile(r"(?P<base>.+)(?P<suffix>\.\d{8}T\d{6}\.\d{6,})(?P<packed>\.gz)?", re.DOTALL)

_COARSEST = 2_500_000_000
"""Nanoseconds that the times of some file systems may be behind."""
_NAMES = 16_384
_NAMES_OF_NONE = 4
"""What is remembered of directories: 1 MiB, at 64 bytes for a name and four times that for a directory."""
_RESCANS = 8

_OURS = re.compile(r"\.\d{8}T\d{6}\.\d{6,}")
"""What follows the name in parts, also in one that is being compressed."""


class File(NamedTuple):
    """Name one file of a stream."""

    path: str
    index_path: str | None
    suffix: str
    """What rotation added to the name, empty for the live file."""
    after: str
    """The suffix of the part before it: what this file is known by while it is live, rotated and compressed."""
    ino: int
    """0 if it does not exist."""
    size: int
    """Of the live file when it was listed, else 0: a part is looked at when it is opened."""
    packed: bool = False
    moved: bool = False
    """Taken away under a name that is none of ours, as logrotate does."""


class _Entry(NamedTuple):
    name: str
    ino: int
    packed: bool


class _Scan:
    """Hold one reading of a directory."""

    def __init__(self, path: str) -> None:
        self.names: dict[str, int] = {}
        self._parts: dict[str, dict[str, _Entry]] = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    self._add(entry.name, entry.inode())
        except OSError:
            return  # a directory that is not there holds no files

    def _add(self, name: str, ino: int) -> None:
        self.names[name] = ino
        found = _PART.fullmatch(name)
        if not found:
            return
        parts = self._parts.setdefault(found["base"], {})
        packed = found["packed"] is not None
        if not packed or found["suffix"] not in parts:  # both are there while one replaces the other
            parts[found["suffix"]] = _Entry(name, ino, packed)

    def view(self, base: str) -> _View:
        return _View(self._parts.get(base, {}), self.names.get(base, 0))


class _View(NamedTuple):
    """Hold what a scan says of one stream."""

    parts: dict[str, _Entry]
    live: int


class _Scans:
    """Remember scans of directories that were at rest, for the next answer: until their time of change is another."""

    def __init__(self) -> None:
        self._scans: OrderedDict[str, tuple[int, _Scan]] = OrderedDict()
        self._names = 0
        self._lock = threading.RLock()  # the core's worker lists files to expire them, beside the loop

    def get(self, where: str, changed: int) -> _Scan | None:
        found = self._scans.get(where)
        return found[1] if found is not None and found[0] == changed else None

    def put(self, where: str, changed: int, scan: _Scan) -> None:
        with self._lock:
            self.forget(where)
            self._scans[where] = (changed, scan)
            self._names += _NAMES_OF_NONE + len(scan.names)
            while self._names > _NAMES and len(self._scans) > 1:
                self.forget(next(iter(self._scans)))

    def forget(self, where: str) -> None:
        with self._lock:
            found = self._scans.pop(where, None)
            if found is not None:
                self._names -= _NAMES_OF_NONE + len(found[1].names)


_scans = _Scans()


class Listing:
    """Remember directories for as long as one answer takes: a thousand streams share a few of them.

    A scan can miss a file that is renamed meanwhile, under both of its names. So unless the directory is at rest it
    is scanned until two scans agree on the stream: what the first one missed, the second one would have seen.
    """

    def __init__(self) -> None:
        self._scans: dict[str, tuple[_Scan, _Scan]] = {}

    def forget(self, path: str) -> None:
        """Read the directory of that file again when it is asked for next."""
        where = os.path.dirname(path)
        self._scans.pop(where, None)
        _scans.forget(where)

    def _pair(self, where: str) -> tuple[_Scan, _Scan]:
        if where not in self._scans:
            began, changed = time.time_ns(), _mtime(where)
            known = _scans.get(where, changed)
            scan = known or _Scan(where or ".")
            if known is None and changed == _mtime(where) and changed < began - _COARSEST:
                _scans.put(where, changed, scan)
                known = scan
            self._scans[where] = (scan, known or _Scan(where or "."))
        return self._scans[where]

    def at_rest(self, path: str) -> object:
        """Return what stays the same for as long as the directory of that file does, None if it was just changed."""
        older, newer = self._pair(path.rpartition("/")[0] or os.path.dirname(path))
        return newer if older is newer else None

    def _view(self, path: str) -> _View:
        where, base = os.path.split(path)
        older, newer = self._pair(where)
        for _ in range(_RESCANS):
            if older is newer or older.view(base) == newer.view(base):
                break
            older, newer = newer, _Scan(where or ".")
            self._scans[where] = (older, newer)
        return newer.view(base)

    def files(self, path: str, index: str | None) -> list[File]:
        """Return the parts, oldest first, and last the live file, whether it exists or not."""
        view = self._view(path)
        found: list[File] = []
        after = ""
        for suffix in sorted(view.parts, key=order):
            entry = view.parts[suffix]
            where = os.path.join(os.path.dirname(path), entry.name)
            found.append(File(where, _suffixed(index, suffix), suffix, after, entry.ino, 0, entry.packed))
            after = suffix
        return [*found, File(path, index, "", after, view.live, _size(path) if view.live else 0)]

    def moved(self, live: File, ino: int) -> File | None:
        """Return the file that was live under this inode and now has another name in the same directory."""
        where, base = os.path.split(live.path)
        for name, its in self._pair(where)[1].names.items():
            if its == ino and name.startswith(base) and name != base and not _OURS.match(name, len(base)):
                return live._replace(path=os.path.join(where, name), index_path=None, ino=ino, moved=True)
        return None


def order(suffix: str) -> int:
    """Return the number of a part, which only ever grows (its time need not); -1 for the empty suffix."""
    return int(suffix.rpartition(".")[2]) if suffix else -1


def _suffixed(index: str | None, suffix: str) -> str | None:
    return None if index is None else index + suffix


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _mtime(directory: str) -> int:
    try:
        return os.stat(directory or ".").st_mtime_ns
    except OSError:
        return 0


def expire(parts: Iterable[File], maxage: float, now: float) -> list[str]:
    """Remove the parts last written more than `maxage` seconds before `now`, with their indexes; return their paths."""
    removed = []
    for part in parts:
        if part.suffix and _age(part.path, now) > maxage:
            _remove(part.path)
            if part.index_path is not None:
                _remove(part.index_path)
                _remove(f"{part.index_path}.tags")
            removed.append(part.path)
    return removed


def _age(path: str, now: float) -> float:
    try:
        return now - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
