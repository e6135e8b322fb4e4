"""Searches one stream in slices, so that whoever serves others too can go on serving them.

Decides how much to look at before it gives back control; what matches is the pattern's business, where lines are the
stream's. The server calls `step` between other work for the search of a viewer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from taskmaster_core.logs.cursors import Cursor
from taskmaster_core.logs.lines import Label, LogLine, Sift
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.stream import Ask, Batch, Stream


def _any(tag: str) -> Label:
    return Label(tag, "out")


class Search:
    """Find the lines that match, from `start` (else the oldest byte) on, or backwards from it (else the newest)."""

    def __init__(
        self,
        stream: Stream,
        pattern: Pattern,
        *,
        start: Cursor | None = None,
        backwards: bool = False,
        label: Callable[[str], Label | None] = _any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = 0
        """Matches so far."""
        self.done = False
        self.cursor = start or (stream.end() if backwards else stream.start())
        """Where it goes on: a search that is given up is resumed by starting another one there."""
        self._read = stream.back if backwards else stream.read
        self._pattern = pattern
        self._ask = Ask(Sift(label, pattern.may, pattern.hit), pattern.block)
        self._backwards = backwards
        self._clock = clock

    def step(self, budget: float, most: int = 1000) -> list[LogLine]:
        """Look on for about `budget` seconds or until `most` are found; raise Refused for a pattern without end.

        The nearest to the start are first. One block is looked at in any case, so a step may overrun a little.
        """
        deadline = self._clock() + budget
        found: list[LogLine] = []
        while not self.done:
            batch = self._pattern.patiently(self._next)
            lines = [line for _, line in batch.lines if not line.note]
            found += reversed(lines) if self._backwards else lines
            self.cursor, self.done = batch.next, not batch.more
            if len(found) >= most or self._clock() >= deadline:
                break
        self.count += len(found)
        return found

    def _next(self) -> Batch:
        return self._read(self.cursor, self._ask)
