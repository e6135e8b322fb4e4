"""Opens files of output for reading and hands out ranges of them.

Decides what may be opened: regular files, not through links that somebody else planted. Knows nothing of lines.
Streams, indexes and archives read through it. Nothing is mapped: a mapped file that a job truncates is a SIGBUS.
"""

from __future__ import annotations

import errno
import os
import stat
from types import TracebackType
from typing import Protocol, Self

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Readable(Protocol):
    """Name what a stream needs of a file, plain or packed: its size and ranges of it."""

    @property
    def size(self) -> int:
        """Return the bytes of output in it."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from `offset`, fewer only where the file ends."""

    def close(self) -> None:
        """Give the descriptor back."""


def open_regular(path: str) -> int:
    """Return a descriptor of the regular file at `path`; raise OSError for anything else.

    The core may be root and the directory a job's: a link is followed only if root or we ourselves made it.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        fd = os.open(_trusted_target(path), _FLAGS)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return fd


def resolve(path: str) -> str:
    """Return where the file really lies, beside which its rotated parts are; a link of others is not followed."""
    try:
        return _trusted_target(path) if os.path.islink(path) else path
    except OSError:
        return path


def _trusted_target(path: str) -> str:
    """Return where a link leads to, read from the very link whose owner was checked."""
    link = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(link).st_uid not in {0, os.geteuid()}:
            raise OSError(errno.ELOOP, "a link made by somebody else", path)
        target = os.readlink("", dir_fd=link)
    finally:
        os.close(link)
    return os.path.realpath(os.path.join(os.path.dirname(path), target))


class PlainFile:
    """Read ranges of an open regular file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stat = os.fstat(fd)

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the regular file at `path`; raise OSError."""
        return cls(open_regular(path))

    @property
    def size(self) -> int:
        """Return its size when it was opened."""
        return self._stat.st_size

    @property
    def ino(self) -> int:
        """Return its inode."""
        return self._stat.st_ino

    @property
    def mtime(self) -> float:
        """Return when it was last written, when it was opened."""
        return self._stat.st_mtime

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from `offset`, fewer only where the file ends."""
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]  # a signal or a page at the end of the file may cut a read short
        while data:
            offset += len(data)
            length -= len(data)
            data = os.pread(self._fd, length, offset)
            pieces.append(data)
        return b"".join(pieces)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
