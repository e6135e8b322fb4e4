"""Work out how much of the processors a tree has used, from what the kernel tells of its processes.

Pure arithmetic over numbers that others have read: children come, end and are waited for between two looks, and none of
that may make the sum fall or count a second time. It reads nothing and knows no clock. `trees` and the sampler call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

GRAIN = 2
"""Ticks by which a birth may lie before the last look and still be later: both clocks are rounded."""


class Seen(NamedTuple):
    """Hold what was read of one process; times are in ticks of the kernel."""

    started: int
    """When it was born, since boot: tells it from a later process of the same pid."""
    parent: int
    own: int
    reaped: int
    """What its children had used that have ended and that it has waited for, with all below them."""


class Tally:
    """Add up the ticks a tree has used, over all the processes it ever had as far as they can be known."""

    def __init__(self) -> None:
        self.ticks = 0
        self._seen: Mapping[int, Seen] | None = None
        self._at = 0
        self._owed: dict[int, int] = {}

    def take(self, seen: Mapping[int, Seen], at: int) -> None:
        """Add what was used until this look; `at` is its instant in ticks since boot.

        Of the first look everything counts: it is what the tree has used in its life so far.
        """
        before = self._seen
        if before is None:
            self.ticks = sum(each.own + each.reaped for each in seen.values())
        else:
            self._add(before, seen)
        self._seen, self._at = seen, at

    def _add(self, before: Mapping[int, Seen], seen: Mapping[int, Seen]) -> None:
        gone, owed = _inheritance(before, seen), self._owed
        self._owed = {}
        for pid, now in seen.items():
            old = before.get(pid)
            if old is not None and old.started == now.started:
                # what a child that ended had used until the last look has been counted, as its own
                grown, fresh = max(now.reaped - old.reaped, 0), gone.get(pid, 0)
                known = fresh + owed.get(pid, 0)
                self.ticks += max(now.own - old.own, 0) + max(grown - known, 0)
                # it may be waited for between the look at its parent and the one at itself: the parent tells next time
                self._owed[pid] = min(fresh, max(known - grown, 0))
            elif now.started >= self._at - GRAIN:
                self.ticks += now.own + now.reaped


def _inheritance(before: Mapping[int, Seen], seen: Mapping[int, Seen]) -> dict[int, int]:
    """Return, by the nearest ancestor that lives, what those had used that are gone since."""
    found: dict[int, int] = {}
    for pid, old in before.items():
        if _lives(pid, old, seen):
            continue
        heir = old.parent
        for _ in before:  # no longer than the longest chain: with a pid that came again it could be a circle
            if heir not in before or _lives(heir, before[heir], seen):
                break
            heir = before[heir].parent
        if heir in before:
            found[heir] = found.get(heir, 0) + old.own + old.reaped
    return found


def _lives(pid: int, old: Seen, seen: Mapping[int, Seen]) -> bool:
    now = seen.get(pid)
    return now is not None and now.started == old.started


def percent(used: float, seconds: float, processors: int) -> float:
    """Return seconds of processor time as percent of one processor, one decimal; never more than there are."""
    if seconds <= 0:
        return 0.0
    return round(min(max(used / seconds, 0.0), float(processors)) * 100, 1)
