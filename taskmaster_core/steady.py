"""Tell the wall time for what cannot be taken back: the deletion of what is too old.

It decides how far a wall clock is believed that was set forward while we looked: not beyond what CLOCK_BOOTTIME
counted, until it has said the same for a day. The journal and the core's log keeping ask it before they delete.
"""

from __future__ import annotations

from collections.abc import Callable
from time import CLOCK_BOOTTIME, clock_gettime, time

BELIEVED = 86400.0
"""Seconds for which a clock that was set forward must stand before anything is deleted by it."""

SLACK = 60.0
"""Seconds by which the two clocks may differ for good reasons: a clock is slewed, or set by a little."""


def _boottime() -> float:
    return clock_gettime(CLOCK_BOOTTIME)


class Steady:
    """Hold what the wall clock said, and when."""

    def __init__(self, wall: Callable[[], float] = time, boot: Callable[[], float] = _boottime) -> None:
        self._wall, self._boot = wall, boot
        self._offset = wall() - boot()
        self._doubted: float | None = None
        """Since when it says something else."""

    def now(self) -> float:
        """Return the Unix time, of a clock that was set forward the one it would tell without that."""
        boot = self._boot()
        offset = self._wall() - boot
        if offset <= self._offset + SLACK:
            self._offset, self._doubted = offset, None
            return boot + offset
        if self._doubted is None:
            self._doubted = boot
        if boot - self._doubted >= BELIEVED:
            self._offset, self._doubted = offset, None
        return boot + self._offset
