"""Tell when that happened which a report of the shim tells: an event has the time of what it is about.

Decides nothing but the wall time of facts; the runtime asks it for each, within the turn that the report came in.
"""

from __future__ import annotations

import time
from typing import Any

from taskmaster_core import shimlink
from taskmaster_core.effects import Fact

AT_ONCE = 5.0
"""Seconds within which the end of a process is heard of while somebody listens: its last output is drained before."""


class Instants:
    """Hold the wall times of the reports that were taken in and of which not all is settled yet."""

    def __init__(self) -> None:
        self._happened: dict[tuple[str, str, int], float] = {}

    def heard(self, report: dict[str, Any]) -> None:
        """Note when that happened which a report tells."""
        fact, wall = shimlink.fact_of(report), report.get("wall")
        if fact is not None and isinstance(wall, (int, float)):
            self._happened[fact] = wall

    def of(self, fact: Fact) -> float:
        """Return the wall time of a fact: that of the shim for a start, and for an end that was not heard of at once.

        An end heard of at once has the time of hearing: what the process wrote last is older than that.
        """
        now = time.time()
        wall = self._happened.get((fact.type, fact.key, fact.data.get("run", 0)), now)
        return wall if wall < now - (0.0 if fact.type == "started" else AT_ONCE) else now

    def forget(self) -> None:
        """Begin with other reports: all events of those before have been told."""
        self._happened.clear()
