"""Hold what is to be called at a later instant; the main loop asks for the first and calls what is due.

Decides nothing; nothing runs here when nothing is due. Instants are seconds of CLOCK_BOOTTIME.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Timer:
    """Hold one call; `cancel` makes it never happen."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Never call it."""
        self.call = None


def _nothing() -> None:
    """Be the call of a timer that was cancelled; `deadline` has dropped those before they are due."""


class Timers:
    """Hold the calls in the order of their instants."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._number = count()
        self.now = 0.0
        """The instant of the last look: what is called may be long overdue, and plans its next call by this."""

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call `call` once `when` has come."""
        timer = Timer(when, call)
        heappush(self._heap, (when, next(self._number), timer))
        return timer

    @property
    def deadline(self) -> float | None:
        """Return the first instant, None if nothing is to be called."""
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Call everything that is due, in order."""
        self.now = now
        while (first := self.deadline) is not None and first <= now:
            timer = heappop(self._heap)[2]
            call, timer.call = timer.call or _nothing, None
            call()
