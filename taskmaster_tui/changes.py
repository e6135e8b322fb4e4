"""Gather what changed, and tell it in one piece.

It decides when the app hears of changes: the first at once, then at most ten times a second; what is said of the
connection never waits. It knows nothing of what the changes mean. The link notes, the app is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from taskmaster_core import wire

EVERY = 0.1
"""Seconds between two tellings: the rhythm of the core's own batches (DESIGN §8)."""


class Change(Struct):
    """Say what changed since the last one."""

    world: bool = False
    """Rows came or went, or all is new: rebuild."""
    keys: set[str] = field(default_factory=set)
    events: list[wire.Event] = field(default_factory=list)
    """What has just happened; not what was read of earlier times (that is in `Link.recent`, and told as `world`)."""
    health: bool = False
    metrics: bool = False
    logs: set[str] = field(default_factory=set)
    """Processes whose output grew."""
    another: bool = False
    """Another core answers than before: it was restarted or upgraded."""
    kept: int = 0
    """Processes that went on through that."""
    lost: int = 0
    """Processes that ran before and do not any more."""


class Changes:
    """Hold what is not told yet."""

    def __init__(self, tell: Callable[[Change], None]) -> None:
        self._tell = tell
        self._change: Change | None = None
        self._handle: asyncio.Handle | None = None
        self._soon = False
        self._last = float("-inf")

    def rows(self, keys: Iterable[str] = (), *, world: bool = False) -> None:
        """Note that processes changed, or (`world`) which there are."""
        change = self._noted()
        change.keys.update(keys)
        change.world = change.world or world

    def events(self, events: Iterable[wire.Event]) -> None:
        """Note events."""
        self._noted().events.extend(events)

    def metrics(self) -> None:
        """Note that there are new samples."""
        self._noted().metrics = True

    def logs(self, key: str) -> None:
        """Note that a process's output grew."""
        self._noted().logs.add(key)

    def another(self, kept: int, lost: int) -> None:
        """Note that it is another core, and how many processes went on."""
        change = self._noted()
        change.another, change.kept, change.lost = True, kept, lost

    def health(self) -> None:
        """Note that the connection is another, and tell at the end of this turn."""
        self._noted(soon=True).health = True

    def close(self) -> None:
        """Tell nothing more."""
        if self._handle is not None:
            self._handle.cancel()
        self._tell = lambda _: None

    def _noted(self, *, soon: bool = False) -> Change:
        if self._change is None:
            self._change = Change()
        if self._handle is not None and soon and not self._soon:
            self._handle.cancel()
            self._handle = None
        if self._handle is None:
            loop = asyncio.get_running_loop()
            due = self._last + EVERY
            self._soon = soon or due <= loop.time()
            self._handle = loop.call_soon(self._flush) if self._soon else loop.call_at(due, self._flush)
        return self._change

    def _flush(self) -> None:
        change, self._change, self._handle = self._change, None, None
        self._last = asyncio.get_running_loop().time()
        if change is not None:
            self._tell(change)
