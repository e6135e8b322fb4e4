"""The event log for people: one line per event, rotated by size, written by a thread of its own.

It decides which events are worth a line (`loglevel`) and what happens when they cannot be written: nothing waits, what
is lost is counted, and the file says so once it can be written again. The publisher feeds it.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from msgspec.structs import asdict

from taskmaster_core.sentences import LEVELS, level, sentence
from taskmaster_core.wire import Cause

MAX_SIZE = 10_000_000
KEPT = 5
"""Rotated parts."""

WAITING = 10_000
"""Lines that wait for the disk at most; a target that blocks (a pipe nobody reads) must not fill the memory."""

CLOSE_WITHIN = 2.0

RETRY = 2.0
"""Seconds between two tries while it cannot be written."""


class _Line(NamedTuple):
    wall: float
    type: str
    key: str
    cause: Cause
    data: Mapping[str, Any]


IN_ORDER = 5.0
"""Seconds by which a line may be older than the one before it and gets its time; what is older was told late, or the
clock was set back."""


class EventLog:
    """Hold the thread and its file; the file is opened by the first line."""

    def __init__(
        self, path: str, loglevel: str, max_size: int = MAX_SIZE, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        """Where lines go from now on; it may be replaced at any time, and so may `loglevel`."""
        self.loglevel = loglevel
        self.lost = 0
        """Lines that were never written."""
        self.trouble = ""
        """What is wrong, in words; `on_change` is called, from the thread, when it comes and when it goes."""
        self._max_size = max_size
        self._on_change = on_change
        self._lines: SimpleQueue[_Line | None] = SimpleQueue()
        self._fd: int | None = None
        self._open_path = ""
        self._untold = 0
        self._newest = 0.0
        self._thread = threading.Thread(target=self._run, name="eventlog", daemon=True)
        self._thread.start()

    def write(self, wall: float, type_: str, key: str, cause: Cause, data: Mapping[str, Any]) -> None:
        """Hand an event over; never waits, never raises. `data` must not change afterwards."""
        if LEVELS.index(level(type_, data)) < _rank(self.loglevel):
            return
        if 0.0 < self._newest - wall < IN_ORDER:
            wall = self._newest
        self._newest = wall
        if self._lines.qsize() < WAITING:
            self._lines.put(_Line(wall, type_, key, cause, data))
        else:
            self.lost += 1
            self._untold += 1

    def close(self) -> None:
        """Write what waits and end the thread; a target that blocks is left behind."""
        self._lines.put(None)
        self._thread.join(CLOSE_WITHIN)

    # The thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        more = True
        while more:
            batch: list[_Line | None] = []
            with suppress(Empty):
                batch.append(self._lines.get(timeout=RETRY if self.trouble else None))
                while len(batch) < 1000:
                    batch.append(self._lines.get_nowait())
            more = None not in batch
            before = self.trouble
            self._write([line for line in batch if line is not None])
            if bool(before) is not bool(self.trouble):
                self._on_change()
        self._close()

    def _write(self, lines: list[_Line]) -> None:
        texts = [render(*line) for line in lines]
        try:
            self._reopen()
            if self._untold:
                texts.insert(0, _now(f"WARNING {self._untold} lines were lost here"))
            self._put("".join(texts).encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.lost += len(lines)
            self._untold += len(lines)
            self.trouble = f"the event log {self.path} cannot be written: {error.strerror}"
            self._close()
            return
        self._untold = 0
        self.trouble = ""

    def _put(self, data: bytes) -> None:
        if not data or self._fd is None:
            return
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        seen = os.fstat(self._fd)
        if stat.S_ISREG(seen.st_mode) and seen.st_size >= self._max_size:
            with suppress(OSError):  # the lines are written; a file that cannot be renamed grows on
                self._rotate()

    def _reopen(self) -> None:
        """Open the file unless it is open and still the one of that name: somebody else may have rotated it."""
        if self._fd is not None and self.path == self._open_path and _is_same(self._fd, self.path):
            return
        self._close()
        # NONBLOCK: opening a pipe that nobody reads must fail, not wait.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        self._fd = os.open(self.path, flags, 0o640)
        self._open_path = self.path
        os.set_blocking(self._fd, True)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def _rotate(self) -> None:
        """Rename the file once, never shift names: a crash in between loses nothing."""
        folder, name = os.path.split(self.path)
        parts = sorted((each for each in os.listdir(folder or ".") if _is_part(each, name)), key=_number)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        number = _number(parts[-1]) + 1 if parts else 1  # it only ever grows; the clock may be set back
        os.rename(self.path, f"{self.path}.{stamp}.{number:06d}")
        self._close()
        for old in parts[: 1 - KEPT]:
            os.unlink(os.path.join(folder, old))


def _rank(loglevel: str) -> int:
    return LEVELS.index(loglevel) if loglevel in LEVELS else 1


def _is_same(fd: int, path: str) -> bool:
    try:
        named, ours = os.stat(path), os.fstat(fd)
    except OSError:
        return False
    return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)


def _is_part(each: str, name: str) -> bool:
    stamp, _, number = each.removeprefix(f"{name}.").partition(".")
    return each.startswith(f"{name}.") and len(stamp) == 15 and stamp[8] == "T" and number.isdigit()


def _number(part: str) -> int:
    return int(part.rpartition(".")[2])


def _now(text: str) -> str:
    return f"{_instant(time.time())} {text}\n"


def _instant(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")


def render(wall: float, type_: str, key: str, cause: Cause, data: Mapping[str, Any]) -> str:
    """Return the line: UTC instant, level, sentence."""
    return f"{_instant(wall)} {level(type_, data).upper()} {sentence(type_, key, asdict(cause), data)}\n"
