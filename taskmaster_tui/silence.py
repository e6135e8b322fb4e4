"""Notice that a core that is connected says nothing any more.

It decides when silence is worth telling (1.5 s) and when it means that nobody is there (5 s), and that a pause of our
own is no silence of the core. While beats come it wakes nobody. The link tells it of every message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

QUIET = 1.5
"""Seconds without a word until what is shown counts as stale: one beat is due each second."""

SILENT = 5.0
"""Seconds without a word until the core counts as not answering, although the connection stands."""

LAG = 0.5
"""Seconds a timer of ours may be late; beyond that it was us who slept, and the core gets time to be heard."""


class Silence:
    """Hold when something was last heard, and the timer."""

    def __init__(
        self,
        clock: Callable[[], float],
        on_quiet: Callable[[float], None],
        on_silent: Callable[[float], None],
        on_slept: Callable[[], None],
    ) -> None:
        self.last = clock()
        self._clock = clock
        self._on_quiet = on_quiet
        self._on_silent = on_silent
        self._on_slept = on_slept
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def seconds(self) -> float:
        """Return for how long nothing was heard."""
        return self._clock() - self.last

    def heard(self) -> None:
        """Take note of a word."""
        self.last = self._clock()

    def expect(self) -> None:
        """Take note of a beat: another one is due, so this puts the timer off and it need not wake anybody."""
        self.heard()
        self._watch(QUIET)

    def stop(self) -> None:
        """Expect nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self, seconds: float) -> None:
        self.stop()
        self._due = self._clock() + seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        quiet = self.seconds
        if self._clock() - self._due > LAG:
            self._watch(LAG)  # we did not run: what was said meanwhile still waits to be read
            self._on_slept()
        elif quiet < QUIET - 0.01:
            self._watch(QUIET - quiet)
        elif quiet < SILENT - 0.01:
            self._watch(SILENT - quiet)
            self._on_quiet(self.last)
        else:
            self._watch(SILENT)
            self._on_silent(self.last)
