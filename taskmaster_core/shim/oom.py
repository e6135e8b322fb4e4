"""Who was killed because memory ran out: the kernel sends SIGKILL then, as anybody else may.

Decides by what the kernel counts for the run's control group and writes into its log; where it may not be read, only
that it is likely. Runs ask when they were killed by somebody else than us.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RECENT = 60.0  # seconds: an older line of the log may speak of another process that had the same number
_RECORD = 1 << 13  # bytes of one record of the kernel's log


class Oom:
    """Hold how often the kernel has killed so, as far as we have seen."""

    def __init__(self) -> None:
        self._seen = _count()
        self._noticed = -_RECENT

    def mark(self, pid: int, leaf: str | None, end: dict[str, Any], *, by_us: bool) -> None:
        """Add to the end of a run that it was killed for want of memory, if it was."""
        oom = "" if by_us else self.of(pid, leaf, end.get("signal"))
        if oom:
            end["oom"] = oom

    def of(self, pid: int, leaf: str | None, signum: int | None) -> str:
        """Return "yes", "likely" or "" for a run that has just ended."""
        if leaf is not None and _count_of(leaf):
            return "yes"
        if signum != signal.SIGKILL:
            return ""
        count, now = _count(), time.monotonic()
        if count != self._seen:
            self._seen, self._noticed = count, now
        if now - self._noticed >= _RECENT:
            return ""
        try:
            return "yes" if _logged(pid, now) else ""
        except OSError:
            return "likely"


def _number(path: str, name: bytes) -> int:
    try:
        with open(path, "rb", buffering=0) as file:
            words = file.read(1 << 16).split()
        return int(words[words.index(name) + 1])
    except (OSError, ValueError):
        return 0


def _count() -> int:
    return _number("/proc/vmstat", b"oom_kill")


def _count_of(leaf: str) -> int:
    return _number(f"{leaf}/memory.events", b"oom_kill")


def _logged(pid: int, now: float) -> bool:
    """Tell whether the kernel's log says that it killed this process; raises OSError where it may not be read."""
    words = b"Killed process %d (" % pid
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(fd, _RECORD)
            except BrokenPipeError:
                continue  # overwritten while we read: the next read goes on after it
            except BlockingIOError:
                return False
            if words in record and now - int(record.split(b",", 3)[2]) / 1e6 < _RECENT:
                return True
    finally:
        os.close(fd)
