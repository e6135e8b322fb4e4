"""The time index beside an output file: which bytes came when, and from whom.

Decides when two chunks are one entry; an index that cannot be written is given up for the moment, the output never
waits for it. The sinks call it after each write. Layout: docs/shim-protocol.md.
"""

from __future__ import annotations

import errno
import os
import struct
import time

import files

_RECORD = struct.Struct("<QdII")
_CLOSE = 0.001  # chunks of one tag that follow each other within this time are one entry
_LONGEST = (1 << 32) - 1


class Index:
    """Append (offset, time, tag, length) records; keep the numbers of the tags."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._end = 0
        self._tags: dict[str, int] = {}
        self._last: tuple[int, float, int, int] | None = None

    def _attach(self, size: int) -> None:
        """Open it beside a file of this size; records beyond the size belong to a file that is gone."""
        files.make_parents(self.path)
        self._tags = self._read_tags()
        self._fd = files.open_output(self.path, uid=None, gid=None)
        self._last = None
        self._end = os.fstat(self._fd).st_size // _RECORD.size * _RECORD.size
        if self._end and self._reach() > size:
            self.reset()

    def _reach(self) -> int:
        offset, _, _, length = _RECORD.unpack(os.pread(self._fd, _RECORD.size, self._end - _RECORD.size))
        return int(offset) + int(length)

    def _read_tags(self) -> dict[str, int]:
        try:
            with open(f"{self.path}.tags", encoding="utf-8", errors="surrogateescape") as lines:
                return {line.rstrip("\n"): number for number, line in enumerate(lines)}
        except OSError:
            return {}

    def note(self, offset: int, length: int, tag: str) -> None:
        """Record that these bytes were written now; raises OSError."""
        if self._fd < 0:
            self._attach(offset)
        wall = time.time()
        number = self._tags.get(tag)
        if number is None:
            number = self._add_tag(tag)
        last = self._last
        joins = (
            last is not None
            and last[2] == number
            and last[0] + last[3] == offset
            and 0 <= wall - last[1] < _CLOSE
            and last[3] + length <= _LONGEST
        )
        if joins and last is not None:
            self._last = (last[0], last[1], number, last[3] + length)
            os.pwrite(self._fd, _RECORD.pack(*self._last), self._end - _RECORD.size)
            return
        fresh = (offset, wall, number, length)
        if os.pwrite(self._fd, _RECORD.pack(*fresh), self._end) < _RECORD.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the torn one is overwritten by the next
        self._last = fresh
        self._end += _RECORD.size

    def _add_tag(self, tag: str) -> int:
        path = f"{self.path}.tags"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, files.MODE)
        try:
            size, line = os.fstat(fd).st_size, f"{tag}\n".encode("utf-8", "surrogateescape")
            if os.write(fd, line) < len(line):
                os.ftruncate(fd, size)  # half a name would become one with the next
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        number = len(self._tags)
        self._tags[tag] = number
        return number

    def reset(self) -> None:
        """Forget all records: the file they were about was emptied."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            self._end = 0
            self._last = None

    def rotate(self, suffix: str) -> None:
        """Leave the records to the part of this suffix and begin anew at the next attach."""
        self.close()
        try:
            os.rename(self.path, f"{self.path}.{suffix}")
        except FileNotFoundError:
            pass  # nothing was recorded since it could not be opened

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
