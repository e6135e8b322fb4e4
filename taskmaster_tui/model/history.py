"""Keep the last ten minutes of one process's or job's use of CPU and memory, a number a second.

Decides how gaps are kept (as NaN: nobody looked, or it did not run). Reads no clock. The world fills it, sparklines and
charts read it.
"""

from __future__ import annotations

from array import array
from math import nan

from taskmaster_tui.model.plot import mean

SIZE = 600
"""Samples, one a second. Four bytes each: 5,000 processes watched for ten minutes take 24 MB, as objects 350."""

_BACKWARDS = 5
"""Seconds the clock may go back (a step of NTP) before what was kept is no history of now."""

_LATE = 3
"""Seconds a sample may be old and still be the newest bar: else the last one would blink between two samples."""


WINDOWS = (60, 120, 300, 600)
"""Seconds that a chart shows: it begins with a minute, so that the first samples are not a dot in an empty hall."""


class History:
    """Hold a ring of (cpu, rss)."""

    __slots__ = ("_cpu", "_rss", "second")

    def __init__(self) -> None:
        self._cpu = array("f")
        self._rss = array("f")
        self.second = 0
        """The Unix second of the newest sample."""

    def __len__(self) -> int:
        return len(self._cpu)

    def window(self, limit: int) -> int:
        """Return how many seconds to show: as many as there are, in round numbers, at most `limit`."""
        return next((each for each in WINDOWS if each >= len(self) and each <= limit), limit)

    def add(self, at: float, cpu: float | None, rss: float | None) -> None:
        """Take the sample of a second; a second one of the same second replaces it."""
        second = int(at)
        self._step_to(second)
        self.second = second
        self._cpu.append(nan if cpu is None else cpu)
        self._rss.append(nan if rss is None else rss)
        if len(self._cpu) > SIZE:
            del self._cpu[: len(self._cpu) - SIZE]
            del self._rss[: len(self._rss) - SIZE]

    def _step_to(self, second: int) -> None:
        """Make room: fill the seconds that were missed, drop one that comes again."""
        missed = second - self.second - 1
        if not self._cpu or missed == 0:
            return
        if missed > 0:
            hole = [nan] * min(missed, SIZE)
            # one missed second is the sampler's jitter: a hole there would be seen as a flaw of the chart
            self._cpu.extend(self._cpu[-1:] if missed == 1 else array("f", hole))
            self._rss.extend(self._rss[-1:] if missed == 1 else array("f", hole))
        elif missed < -_BACKWARDS:
            self._cpu = array("f")
            self._rss = array("f")
        else:
            self._cpu.pop()
            self._rss.pop()

    def cpu(self, seconds: int, now: float) -> list[float]:
        """Return a value for each of the last seconds, the newest last; NaN where there is none."""
        return self._window(self._cpu, int(now) - seconds + 1, seconds)

    def rss(self, seconds: int, now: float) -> list[float]:
        """Return the same of the memory, in bytes."""
        return self._window(self._rss, int(now) - seconds + 1, seconds)

    def cells(self, width: int, now: float, seconds: int = 60) -> list[float]:
        """Return the mean CPU of each of `width` equal parts of the last seconds.

        The parts lie at fixed instants, so that a bar keeps its height while it moves to the left.
        """
        each = max(seconds // max(width, 1), 1)
        fresh = 0 <= int(now) - self.second <= _LATE
        first = (self.second if fresh else int(now)) // each * each - each * (width - 1)
        if not self._cpu or self.second < first:
            return [nan] * width
        values = self._window(self._cpu, first, each * width)
        return [mean(values[i : i + each]) for i in range(0, each * width, each)]

    def _window(self, ring: array[float], first: int, n: int) -> list[float]:
        """Return the values of the seconds `first` to `first + n - 1`."""
        begin = len(ring) - 1 - (self.second - first)
        end = begin + n
        if end <= 0 or begin >= len(ring):
            return [nan] * n
        found = ring[max(begin, 0) : end].tolist()
        before = [nan] * max(-begin, 0)
        return before + found + [nan] * (n - len(before) - len(found))
