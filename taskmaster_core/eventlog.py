"""Write the log for people: a sentence per event, into a rotated file.

Decides how a line looks and what is too minor for it. It never holds the loop up and never fails it: lines go through
a queue to a thread, and a disk that is full costs lines, which are counted. The publisher calls it.
"""

from __future__ import annotations

import datetime
import os
import threading
from logging.handlers import RotatingFileHandler
from queue import SimpleQueue
from typing import Any

import msgspec

from taskmaster_core import sentences

MAX_BYTES = 10_000_000
KEEP = 5

_RANK = {"debug": 0, "info": 1, "warning": 2, "error": 3}


class _File(RotatingFileHandler):
    """Rotate as the standard library does, but create files that only the owner writes and the group reads."""

    def _open(self) -> Any:
        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)


class EventLog:
    """Hold the file and its thread."""

    def __init__(self, path: str, loglevel: str = "info") -> None:
        self._path = path
        self._rank = _RANK.get(loglevel, 1)
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._file: _File | None = None
        self.lost = 0
        """How many lines could not be written, ever."""
        self._thread = threading.Thread(target=self._run, name="eventlog", daemon=True)
        self._thread.start()

    def write(self, at: float, type_: str, key: str, cause: msgspec.Struct, data: dict[str, Any]) -> None:
        """Queue the sentence of an event that happened at `at` (Unix time)."""
        grave = sentences.level(type_, data)
        if _RANK[grave] < self._rank:
            return
        said = sentences.sentence(type_, key, msgspec.structs.asdict(cause), data)
        stamp = datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="milliseconds")
        self._lines.put(f"{stamp} {grave.upper():7} {said}\n")

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._lines.put(None)
        self._thread.join(2.0)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._append(line)
        if self._file is not None:
            self._file.close()

    def _append(self, line: str) -> None:
        try:
            file = self._opened()
            if file.stream.tell() + len(line) > MAX_BYTES:
                file.doRollover()
            file.stream.write(line)
            file.stream.flush()
        except (OSError, ValueError):
            self.lost += 1
            self._give_up()

    def _opened(self) -> _File:
        """Return the open file; opened anew where it is gone or was moved away."""
        if self._file is not None and not os.path.exists(self._path):
            self._give_up()
        if self._file is None:
            os.makedirs(os.path.dirname(self._path) or ".", mode=0o700, exist_ok=True)
            self._file = _File(self._path, maxBytes=MAX_BYTES, backupCount=KEEP)
        return self._file

    def _give_up(self) -> None:
        """Close a file that does not take lines; the next line tries again."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                return
