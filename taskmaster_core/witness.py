"""Remember how what runs will have ended, for the time in which no shim does.

Decides nothing. When the shim dies the core opens a pidfd for each living leader: what ends before the next shim has
taken over is then still known exactly, where the kernel tells (Linux 6.15). `recovery.py` asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from taskmaster_core.machine import Proc
from taskmaster_core.shim import pidfds
from taskmaster_core.spec import Key

_TICKS = os.sysconf("SC_CLK_TCK")
_NEAR = 1.0
"""Seconds between the start the kernel knows and the one we were told, at most: else the number is somebody else's."""


class Witness:
    """Hold pidfds of leaders."""

    def __init__(self) -> None:
        self._fds: dict[tuple[Key, int], int] = {}

    def watch(self, procs: Iterable[Proc]) -> None:
        """Look at those of them that run, from now on."""
        if not pidfds.TOLD:
            return
        for proc in procs:
            mark = (proc.key, proc.run)
            if proc.pid is not None and proc.started_at is not None and mark not in self._fds:
                fd = _open(proc.pid, proc.started_at)
                if fd is not None:
                    self._fds[mark] = fd

    def ended(self, key: Key, run: int) -> dict[str, object]:
        """Return the end of a run as a report tells it, nothing if it is not known."""
        fd = self._fds.get((key, run))
        status = pidfds.status_of(fd) if fd is not None else None
        return pidfds.end_of(status) if status is not None else {}

    def close(self) -> None:
        """Look no longer."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def _open(pid: int, started_at: float) -> int | None:
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # reaped already, or no descriptors left
        return None
    if abs(_started(pid) - started_at) < _NEAR:
        return fd
    os.close(fd)
    return None


def _started(pid: int) -> float:
    """Return when a process began, in seconds since boot; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return int(fields[19]) / _TICKS
