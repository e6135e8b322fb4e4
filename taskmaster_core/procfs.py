"""Read small files that the kernel writes, over descriptors that are held open from one look to the next.

Decides how many descriptors may be held and what is done beyond that; what the files tell of is for `trees` and
`groves`, which read through this. A held file of a process that ended can never be another one's of the same pid.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from taskmaster_core.usage import Seen

PAGE = os.sysconf("SC_PAGE_SIZE")

_FILLED = 3_000
"""Bytes from which on the kernel may have more to say than fitted into its page."""


class Files:
    """Open files: held for the next look, or only for this one when no more descriptors are to spare."""

    def __init__(self, room: int) -> None:
        self.room = room
        """So many more may be held."""
        self.hold = True

    def open(self, path: str) -> File:
        """Return a file, which is opened when it is first read."""
        return File(self, path)


class File:
    """Hold the path of one file, and its descriptor while that is held."""

    __slots__ = ("_fd", "_files", "_path")

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path
        self._fd = -1

    def read(self, size: int = 1024) -> bytes:
        """Return its first bytes as they are now; raise OSError when what it tells of is gone."""
        if self._fd >= 0:
            return os.pread(self._fd, size, 0)
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.pread(fd, size, 0)
            if self._files.hold and self._files.room > 0:
                self._files.room -= 1
                self._fd, fd = fd, -1
            return text
        finally:
            if fd >= 0:
                os.close(fd)

    def read_all(self) -> bytes:
        """Return all of it."""
        text = more = self.read(1 << 16)
        while len(more) >= _FILLED:
            with open(self._path, "rb", buffering=0) as file:
                more = os.pread(file.fileno(), 1 << 16, len(text))
            text += more
        return text

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._files.room += 1


class Stat(NamedTuple):
    """Hold what matters here of /proc/PID/stat."""

    seen: Seen
    group: int
    session: int
    resident: bool
    """Whether it has memory at all: a zombie has none."""


def stat_in(text: bytes) -> Stat:
    """Return what a /proc/PID/stat says; raise ValueError for what is none."""
    fields = text[text.rindex(b")") + 2 :].split(None, 22)  # the name may hold spaces and parentheses
    own, reaped = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    seen = Seen(int(fields[19]), int(fields[1]), own, reaped)
    return Stat(seen, int(fields[2]), int(fields[3]), fields[21] != b"0")


def resident(memory: File) -> int:
    """Return the bytes in memory that a /proc/PID/statm tells of."""
    return int(memory.read(64).split(None, 2)[1]) * PAGE
