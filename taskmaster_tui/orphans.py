"""Find what still runs of processes that nobody looks after any more: core and shim are gone, the last state is known.

It decides from pid and start time whether a process is the one that was known; a pid alone may be somebody else's by
now. It ends nothing. The card about the connection asks it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from taskmaster_core.wire import ProcessView

_SLACK = 2.0
"""Seconds by which a start may differ: the kernel counts from the boot, and the clock may have been set since."""

_LAST_WORDS = 4096
"""Bytes of the core's own output that are looked at for its last lines."""


def alive(views: Iterable[ProcessView], proc: str = "/proc") -> list[tuple[str, int]]:
    """Return key and pid of those that still run."""
    booted = _booted(proc)
    return [
        (view.key, view.pid)
        for view in views
        if view.pid is not None and view.started_at is not None
        and (began := _began(view.pid, booted, proc)) is not None and abs(began - view.started_at) <= _SLACK
    ]  # fmt: skip


def _booted(proc: str) -> float:
    try:
        with open(f"{proc}/stat", encoding="ascii") as file:
            return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)
    except OSError:
        return 0.0


def _began(pid: int, booted: float, proc: str) -> float | None:
    """Return when a process started (Unix seconds), None if there is none or it is a zombie."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # its name is in parentheses and may contain anything
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def last_words(statedir: str, lines: int) -> list[str]:
    """Return the last lines a core in the background wrote; none if it was not one, or they cannot be read."""
    try:
        with open(os.path.join(statedir, "core.out"), "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _LAST_WORDS, 0))
            said = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in said.splitlines() if line.strip()][-lines:] if statedir else []
