"""The numbered configs that were applied, as files of mode 0600: for `rollback`, and for a core that comes back.

It decides how they are stored and which are kept; what a generation is for is the business of boot and reload. A file
holds the resolved config and the files' own bytes, for one or the other may be wanted; a broken one is passed over.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from taskmaster_core.spec import Config

KEPT = 50
_SUFFIX = ".json"


class Generation(Struct, frozen=True):
    """Hold one applied config."""

    number: int
    at: float
    """Unix time."""
    cause: str
    config: Config
    """Resolved: what the supervisor works with."""
    texts: dict[str, bytes] = {}
    """The files as they were, by path. On disk as base64."""


class Summary(Struct, frozen=True):
    """Tell of a generation without its content."""

    number: int
    at: float
    cause: str
    jobs: int


class _Glance(Struct, frozen=True):
    jobs: list[msgspec.Raw] = []


class _Head(Struct, frozen=True):
    """Decode only what a summary needs."""

    number: int
    at: float
    cause: str
    config: _Glance


class Generations:
    """Hold the directory. Reading never raises: what is wrong is told in `trouble`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.trouble = ""

    def save(self, number: int, resolved: Config, texts: Mapping[str, bytes], cause: str) -> None:
        """Keep a generation for good (fsync), and forget the oldest; raise OSError where that is impossible."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        document = _encode(Generation(number, time.time(), cause, resolved, dict(texts)))
        fresh = os.path.join(self._directory, f".{number}.new")
        try:
            _write(fresh, document)
            os.replace(fresh, self._path(number))
        except OSError:
            with suppress(OSError):
                os.unlink(fresh)
            raise
        _sync_directory(self._directory)
        self._forget_oldest()

    def numbers(self) -> list[int]:
        """Return the numbers there are, oldest first."""
        try:
            names = os.listdir(self._directory)
        except OSError:
            return []
        stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def load(self, number: int) -> Generation | None:
        """Return one generation, None if it is not there or cannot be read."""
        found: Generation | None = self._decode(number, Generation)
        return found

    def latest(self) -> Generation | None:
        """Return the newest generation that can be read, None without one."""
        self.trouble = ""
        return next((found for number in reversed(self.numbers()) if (found := self.load(number)) is not None), None)

    def summaries(self) -> list[Summary]:
        """Return what there is, oldest first."""
        heads = (self._decode(number, _Head) for number in self.numbers())
        return [Summary(head.number, head.at, head.cause, len(head.config.jobs)) for head in heads if head is not None]

    def _decode(self, number: int, kind: type[Any]) -> Any:
        try:
            with open(self._path(number), "rb") as file:
                return msgspec.json.decode(file.read(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            self.trouble = f"generation {number} of the config cannot be read: {error}"
            return None

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, f"{number}{_SUFFIX}")

    def _forget_oldest(self) -> None:
        for number in self.numbers()[:-KEPT]:
            with suppress(OSError):
                os.unlink(self._path(number))


def _encode(generation: Generation) -> bytes:
    try:
        return msgspec.json.encode(generation)
    except UnicodeEncodeError as error:  # a lone surrogate: bytes in a file name that are not UTF-8
        raise OSError(errno.EILSEQ, f"it holds text that is not UTF-8: {error}") from error


def _write(path: str, document: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)  # one that a crash left behind may have another mode
        file.write(document)
        file.flush()
        os.fsync(fd)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)  # the rename itself
    finally:
        os.close(fd)
