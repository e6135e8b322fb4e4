"""Keep each applied config as a numbered file, so that a core that comes back beside a broken config goes on with it.

Decides which of them is the newest that can be read; what a generation means is the reload's affair. Files are of mode
0600, because a config may hold secrets. Boot, reload and the operations call it.
"""

from __future__ import annotations

import os
import time
from base64 import b64decode, b64encode
from typing import Any

import msgspec
from msgspec import Struct

from taskmaster_core.spec import Config

KEPT = 50
"""So many generations are kept; the oldest go."""


class _File(Struct):
    """Hold what a file says. Unknown fields of a newer version are passed over."""

    number: int
    at: float
    cause: str
    config: Config
    texts: dict[str, str]


class Generation(Struct, frozen=True):
    """Hold one applied config and the bytes of the files it came from."""

    number: int
    at: float
    cause: str
    config: Config
    texts: dict[str, bytes]


class Generations:
    """Hold the directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.trouble = ""
        """What could not be read of late, in words."""

    def save(self, number: int, config: Config, texts: dict[str, bytes], cause: str) -> None:
        """Write a generation whole or not at all, durably; raise OSError."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        encoded = {path: b64encode(text).decode() for path, text in texts.items()}
        body = msgspec.json.encode(_File(number, time.time(), cause, config, encoded))
        final = self._path(number)
        unfinished = f"{final}.tmp"
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            os.rename(unfinished, final)
        except OSError:
            _unlink(unfinished)
            raise
        _sync(self._directory)
        for old in self.numbers()[:-KEPT]:
            _unlink(self._path(old))

    def load(self, number: int) -> Generation | None:
        """Return a generation, None if it is not there or cannot be read (then `trouble` says why)."""
        try:
            with open(self._path(number), "rb") as file:
                found = msgspec.json.decode(file.read(), type=_File)
            texts = {path: b64decode(text) for path, text in found.texts.items()}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self.trouble = f"generation {number} of the config cannot be read: {error}"
            return None
        return Generation(found.number, found.at, found.cause, found.config, texts)

    def latest(self) -> Generation | None:
        """Return the newest generation that can be read; a torn one is passed over."""
        return next((found for number in reversed(self.numbers()) if (found := self.load(number)) is not None), None)

    def numbers(self) -> list[int]:
        """Return the numbers that are kept, the oldest first."""
        try:
            names = os.listdir(self._directory)
        except OSError:
            return []
        return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit())

    def summaries(self) -> list[dict[str, Any]]:
        """Return what people want to know of each generation, the oldest first."""
        found = (self.load(number) for number in self.numbers())
        return [
            {"number": each.number, "at": each.at, "cause": each.cause, "jobs": len(each.config.jobs)}
            for each in found
            if each is not None
        ]

    def _path(self, number: int) -> str:
        return f"{self._directory}/{number:06d}.json"


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _sync(directory: str) -> None:
    """Make a rename durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
