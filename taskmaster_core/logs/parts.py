"""Finds the files of a stream: its rotated parts, oldest first, and the live file.

Decides by names alone which files belong together and in which order; opens none. Streams read what it lists, the
core has it remove what is too old.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

_PART = re.compile(r"(?P<base>.+)(?P<suffix>\.\d{8}T\d{6}\.\d{6,})(?P<packed>\.gz)?", re.DOTALL)


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


class _Directory:
    """Hold one reading of a directory."""

    def __init__(self, path: str) -> None:
        self.inodes: dict[int, list[str]] = {}
        self.parts: dict[str, dict[str, _Entry]] = {}
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    self._add(entry.name, entry.inode())
        except OSError:
            return  # a directory that is not there holds no files

    def _add(self, name: str, ino: int) -> None:
        self.inodes.setdefault(ino, []).append(name)
        found = _PART.fullmatch(name)
        if not found:
            return
        parts = self.parts.setdefault(found["base"], {})
        packed = found["packed"] is not None
        if not packed or found["suffix"] not in parts:  # both are there while one replaces the other
            parts[found["suffix"]] = _Entry(name, ino, packed)


class Listing:
    """Remember directories for as long as one answer takes: a thousand streams share a few of them."""

    def __init__(self) -> None:
        self._directories: dict[str, _Directory] = {}

    def forget(self, path: str) -> None:
        """Read the directory of that file again when it is asked for next."""
        self._directories.pop(os.path.dirname(path), None)

    def _directory(self, path: str) -> _Directory:
        where = os.path.dirname(path)
        if where not in self._directories:
            self._directories[where] = _Directory(where or ".")
        return self._directories[where]

    def files(self, path: str, index: str | None) -> list[File]:
        """Return the parts, oldest first, and last the live file, whether it exists or not."""
        parts = self._directory(path).parts.get(os.path.basename(path), {})
        found: list[File] = []
        after = ""
        for suffix in sorted(parts, key=order):
            entry = parts[suffix]
            where = os.path.join(os.path.dirname(path), entry.name)
            found.append(File(where, _suffixed(index, suffix), suffix, after, entry.ino, 0, entry.packed))
            after = suffix
        return [*found, _live(path, index, after)]

    def moved(self, live: File, ino: int) -> File | None:
        """Return the file that was live under this inode and now has another name in the same directory."""
        base = os.path.basename(live.path)
        for name in self._directory(live.path).inodes.get(ino, []):
            if name.startswith(base) and name != base and not _PART.fullmatch(name):
                where = os.path.join(os.path.dirname(live.path), name)
                return live._replace(path=where, index_path=None, ino=ino, moved=True)
        return None


def order(suffix: str) -> int:
    """Return the number of a part, which only ever grows (its time need not); -1 for the empty suffix."""
    return int(suffix.rpartition(".")[2]) if suffix else -1


def _suffixed(index: str | None, suffix: str) -> str | None:
    return None if index is None else index + suffix


def _live(path: str, index: str | None, after: str) -> File:
    try:
        found = os.stat(path)
    except OSError:
        return File(path, index, "", after, 0, 0)
    return File(path, index, "", after, found.st_ino, found.st_size)


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
