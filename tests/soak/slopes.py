"""Say what grows: a robust slope through samples, and whether it is more than what is allowed.

Decides what counts as growth, by bounds that stand here; measures nothing. The report asks it once the soak is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

HOUR = 3600.0
MOST = 400
"""Points a line is laid through: the median of all pairs' slopes wants their square."""

KIB, MIB = 1 << 10, 1 << 20


class Bound(NamedTuple):
    """Say what may grow without being called a leak."""

    per_hour: float
    floor: float
    """Growth over the whole window that is never judged: caches that fill, pages that an allocator has kept."""


BOUNDS: dict[tuple[str, str], Bound] = {
    ("core", "private"): Bound(MIB, 2 * MIB),  # 1,000 answers and 1,000 events it keeps, pages of the journal
    ("shim", "private"): Bound(256 * KIB, 192 * KIB),
    ("tui", "private"): Bound(4 * MIB, 6 * MIB),  # 5,000 events it keeps (7 MiB), Textual's caches of shapes and styles
    ("core", "fds"): Bound(2.0, 20.0),  # three of each process it samples, and these come and go
    ("shim", "fds"): Bound(2.0, 16.0),  # up to six of each process
    ("tui", "fds"): Bound(1.0, 2.0),
    **{(role, "threads"): Bound(1.0, 1.5) for role in ("core", "shim", "tui")},
    **{(role, "zombies"): Bound(1.0, 1.5) for role in ("core", "shim", "tui")},
    ("state", "bytes"): Bound(24 * MIB, 12 * MIB),
    ("state", "journal"): Bound(12 * MIB, 6 * MIB),
    ("state", "files"): Bound(20.0, 40.0),
}
"""Bytes (private: of this process alone, what a leak takes) and numbers. What does not stand here is told only."""


class Slope(NamedTuple):
    """Hold what became of one figure over one window."""

    role: str
    what: str
    life: str
    seconds: float
    first: float
    last: float
    per_hour: float
    bound: Bound | None

    @property
    def grew(self) -> float:
        """Return by how much the line rises over the window."""
        return self.per_hour * self.seconds / HOUR

    @property
    def leaks(self) -> bool:
        """Tell whether it is more than what is allowed."""
        return self.bound is not None and self.per_hour > self.bound.per_hour and self.grew > self.bound.floor


def thin(points: Sequence[tuple[float, float]], most: int = MOST) -> list[tuple[float, float]]:
    """Return at most so many points: the median of as many neighbours as it takes."""
    step = -(-len(points) // most) if points else 1
    groups = (points[at : at + step] for at in range(0, len(points), step))
    return [(median(x for x, _ in each), median(y for _, y in each)) for each in groups]


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """Return the median of the slopes of all pairs: what a third of wild values cannot turn; 0.0 for less than two."""
    few = thin(points)
    pairs = ((few[i], few[j]) for i in range(len(few)) for j in range(i + 1, len(few)))
    found = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0]]
    return median(found) if found else 0.0


def slope(role: str, what: str, life: str, points: Sequence[tuple[float, float]]) -> Slope:
    """Return the slope of one figure, an hour."""
    fifth = max(len(points) // 5, 1)
    first, last = (median(y for _, y in part) for part in (points[:fifth], points[-fifth:]))
    seconds = points[-1][0] - points[0][0]
    return Slope(role, what, life, seconds, first, last, theil_sen(points) * HOUR, BOUNDS.get((role, what)))
