"""Decide when processor time and memory are sampled: each second while somebody subscribes, or once when asked.

Nothing is read and no timer runs while nobody looks. A sample is taken in pieces between which the core's loop does its
other work; how a tree is read is for `trees`. The runtime owns it, the operations and the publisher ask it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, time
from typing import NamedTuple

from taskmaster_core import wire
from taskmaster_core.groves import Reading, Root
from taskmaster_core.server import Server
from taskmaster_core.spec import Key
from taskmaster_core.supervisor import Supervisor
from taskmaster_core.timers import Timer, Timers
from taskmaster_core.trees import Trees
from taskmaster_core.usage import percent
from taskmaster_core.wire import ProcessView

TOPIC = "metrics"

EVERY = 1.0
"""Seconds between two samples while anybody subscribes."""

PIECE = 0.005
"""Seconds of the loop's time that one piece of a sample takes."""

FRESH = 1.0
"""A sample younger than this answers who asks for fresh numbers: many who ask cost no more than one who subscribes."""

SHORTEST = 0.25
"""Seconds between two samples at least: the kernel counts in hundredths, so a shorter time tells little."""

SHOWN = 3.0
"""A sample older than this is shown no more."""

REMEMBERED = 10.0
"""A sample older than this is no beginning of a new one: cpu is then the average over the life of the run."""


class Usage(NamedTuple):
    """Hold what a run takes: percent of one processor, bytes; and how many of it have left its group."""

    run: int
    cpu: float
    rss: int
    away: int


class Sampler:
    """Hold the newest sample, and the one that is being taken."""

    def __init__(self, boot: str, shim: int, instance: str, supervisor: Supervisor, timers: Timers) -> None:
        self.server: Server | None = None
        self._boot = boot
        self._about = (shim, instance)
        self._supervisor = supervisor
        self._timers = timers
        self._trees: Trees | None = None
        self._walk: Iterator[None] | None = None
        self._roots: dict[Key, Root] = {}
        self._found: dict[Key, Reading] = {}
        self._before: dict[Key, tuple[int, Reading]] = {}
        self._newest: dict[str, Usage] = {}
        self._taken = -REMEMBERED
        """The instant of the newest sample."""
        self._waiting: list[Callable[[], None]] = []
        self._next: Timer | None = None

    # Who looks ----------------------------------------------------------------------------------------------------

    @property
    def _watched(self) -> bool:
        return self.server is not None and self.server.wanted(TOPIC)

    def topics_changed(self, now: float) -> None:
        """Sample while anybody subscribes, and only then."""
        if not self._watched:
            self._rest()
        elif self._next is None and self._walk is None:
            self._plan(max(now, self._taken + SHORTEST))

    def ask(self, now: float, then: Callable[[], None]) -> None:
        """Call `then` once there is a fresh sample, at once if there is."""
        if now - self._taken < FRESH:
            then()
            return
        self._waiting.append(then)
        if self._walk is None:
            self._begin(now, now)

    def fill(self, views: Iterable[ProcessView], now: float) -> None:
        """Write into views of processes what they take, where that is known and not old."""
        if now - self._taken > SHOWN:
            return
        for view in views:
            usage = self._newest.get(view.key)
            if usage is not None and usage.run == view.run and view.pid is not None:
                view.cpu, view.rss, view.away = usage.cpu, usage.rss, usage.away

    def shim_is(self, pid: int) -> None:
        """Look below another shim from the next sample on."""
        self._about = (pid, self._about[1])
        self._trees = None

    # Sampling -----------------------------------------------------------------------------------------------------

    def _plan(self, due: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._timers.at(due, lambda: self._begin(_now(), due))

    def _begin(self, now: float, due: float) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if now - self._taken > REMEMBERED:
            self._before = {}
        if self._trees is None:
            self._trees = Trees(*self._about, _room())
        self._trees.files.hold = self._watched
        procs = self._supervisor.procs.values()
        self._roots = {proc.key: Root(proc.pid, proc.run) for proc in procs if proc.pid is not None}
        self._found = {}
        self._walk = self._trees.look(self._roots, self._found)
        self._go_on(now, due)

    def _go_on(self, began: float, due: float) -> None:
        """Take the next piece, and plan the one after it."""
        until = monotonic() + PIECE
        for _ in self._walk or ():
            if monotonic() >= until:
                self._timers.at(_now(), lambda: self._go_on(began, due))
                return
        self._walk = None
        self._finish(began, due)

    def _finish(self, began: float, due: float) -> None:
        """Make a sample of what was read, and tell it to those who look."""
        interval = began - self._taken if self._before else None
        processors = os.cpu_count() or 1  # once: each time the C library reads a file for it
        usages = {key: self._usage(key, reading, processors) for key, reading in self._found.items()}
        self._newest = {str(key): usage for key, usage in usages.items() if usage is not None}
        self._before = {key: (self._roots[key].run, reading) for key, reading in self._found.items()}
        self._taken = began
        if self._watched:
            self._publish(interval)
            self._plan(max(due + EVERY, _now()))
        else:
            self._rest()
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def _usage(self, key: Key, reading: Reading, processors: int) -> Usage | None:
        run = self._roots[key].run
        proc = self._supervisor.procs.get(key)
        if proc is None or proc.run != run or proc.pid is None:
            return None  # it ended while the others were looked at
        known, before = self._before.get(key, (0, reading))
        if known == run:
            used, seconds = reading.used - before.used, reading.at - before.at
        else:
            used, seconds = reading.used, reading.at - (proc.started_at or reading.at)
        return Usage(run, percent(used, seconds, processors), reading.rss, reading.away)

    def _publish(self, interval: float | None) -> None:
        processes = {key: (usage.cpu, usage.rss) for key, usage in self._newest.items()}
        document = wire.Metrics(self._boot, time(), interval and round(interval, 3), processes)
        if self.server is not None:
            self.server.publish(TOPIC, wire.encode(document))

    # Resting ------------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Hold nothing open while nobody looks."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._trees is not None and self._walk is None:
            self._trees.files.hold = False
            self._trees.release()


def _now() -> float:
    return clock_gettime(CLOCK_BOOTTIME)


def _room() -> int:
    """Return how many descriptors may be held: half of them, for without any to spare libzmq ends the process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft // 2 if soft > 0 else 1 << 16
