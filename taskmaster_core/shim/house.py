"""What all runs share: the loop, the reports, the files, and the table of runs itself.

Decides which answer an order got (so that the same order twice starts nothing twice) and which of our children are
strangers. Orders, runs and the shutdown reach each other through it.
"""

from __future__ import annotations

import os
import time

import records
import sentences
import tree
from oom import Oom
from orphans import Looker
from shelf import Shelf
from survey import Strays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cgroups import Groves
    from inlets import Inlet
    from keepsakes import Keepsakes
    from loop import Loop
    from paths import Places
    from runs import Run
    from sinks import Sinks
    from spawn import Heritage

    Report = dict[str, Any]

_REAP_DELAY = 0.2  # seconds: one look at all children answers a burst of SIGCHLD


class House:
    """Hold the runs and what they need."""

    def __init__(self, loop: Loop, sinks: Sinks, heritage: Heritage, tell: Callable[[Report], None]) -> None:
        self.loop = loop
        self.sinks = sinks
        self.heritage = heritage
        self.tell = tell
        self.places: Places | None = None
        self.groves: Groves | None = None
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.looker = Looker()
        self.strays = Strays(self)
        self.shelf = Shelf(self)
        self.oom = Oom()
        self.spared = False
        self.inherited: frozenset[int] = frozenset((1, 2))
        self.nofile = 1024
        self.runs: dict[tuple[str, int], Run] = {}
        self.inlets: dict[tuple[str, int], Inlet] = {}
        self.keepsakes: Keepsakes | None = None
        self.pids: set[int] = set()
        self.on_empty: Callable[[], None] = lambda: None
        self._answers: dict[str, tuple[int, list[Report]]] = {}
        self._reaping = False

    def add(self, run: Run) -> None:
        """Take in a run that was just forked, or found."""
        self.runs[run.key, run.run] = run
        if run.ours:
            self.pids.add(run.pid)

    def forget(self, run: Run) -> None:
        """Let go of a run of which nothing is left."""
        self.runs.pop((run.key, run.run), None)
        inlet = self.inlets.pop((run.key, run.run), None)
        if inlet is not None:
            inlet.close()
        if run.ours:
            self.pids.discard(run.pid)
        self.loop.after(0, self.on_empty)

    def amend(self, run: Run, **changes: Any) -> None:
        """Write down for a later shim what has changed about a run since its birth."""
        run.amended.update(changes)
        try:
            records.amend(run.lock, run.run, run.amended)
        except OSError as error:
            if not self.shelf.fails(error):
                self.sinks.complain(f"what changed about {run.key} is not on disk: {error.strerror}")

    def unlock(self, path: str) -> None:
        """Remove the lock file of a run that is over."""
        for each in (path, records.amendment_of(path)):
            try:
                os.unlink(each)
            except OSError:
                pass  # there was none, or the directory was removed under us

    def answers(self, key: str, run: int) -> list[Report] | None:
        """Return what was told about this run, None when it is not the newest one we know."""
        known = self._answers.get(key)
        return known[1] if known is not None and known[0] == run else None

    def answer(self, key: str, run: int, report: Report) -> None:
        """Tell something about a run and remember it."""
        known = self._answers.get(key)
        if known is None or known[0] < run or (known[0] != run and (key, known[0]) not in self.runs):
            self._answers[key] = known = (run, [])
        if known[0] == run:
            known[1].append(report)
        self.tell(report)

    def tell_failed(self, key: str, run: int, stage: str, code: int, message: str) -> None:
        """Tell that there is no process, and why."""
        at, wall = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        name = sentences.name_of(code)
        report = {"t": "failed", "key": key, "run": run, "stage": stage, "errno": name, "message": message}
        self.answer(key, run, {**report, "at": at, "wall": wall})

    def tell_gone(self, key: str, run: int) -> None:
        """Tell that nothing is left of a run that only a shim before us knew; how it ended was told before."""
        at, wall = time.clock_gettime(time.CLOCK_BOOTTIME), time.time()
        report = {"t": "exited", "key": key, "run": run, "pid": 0, "lingering": 0}
        self.answer(key, run, {**report, "at": at, "wall": wall})

    def leave(self) -> None:
        """Remove what only we needed; called once, at the very end."""
        if self.places is not None:
            try:
                self.places.sweep_fifos(self.sinks.fifos)
            except OSError:
                pass  # somebody removed the directory
            try:
                os.rmdir(self.places.spare)
            except OSError:
                pass  # it was never needed, or what does not die has its record there
        if self.groves is not None:
            self.groves.fell()

    def strangers(self) -> list[int]:
        """Return the children we did not start: orphans that the kernel gave to us."""
        return [pid for pid in tree.children(os.getpid()) if pid not in self.pids]

    def nobody(self, members: Callable[[], list[tree.Member]]) -> bool:
        """Tell whether it is to be believed that a tree has no members.

        A link of a chain may fork and die while we look: so nobody may have come, gone or died meanwhile.
        """
        before = self.strangers()
        if members():
            return False
        dead = [pid for pid in before if (seen := tree.look(pid)) is None or seen.dead]
        for pid in dead:
            _reap(pid)
        return not dead and self.strangers() == before

    def child_ended(self) -> None:
        """Reap strangers soon; leaders have their own descriptors and are reaped by their runs."""
        if not self._reaping:
            self._reaping = True
            self.loop.after(_REAP_DELAY, self._reap_strangers)

    def _reap_strangers(self) -> None:
        self._reaping = False
        strangers = self.strangers()
        for pid in strangers:
            _reap(pid)
        if strangers:
            self.strays.look()


def _reap(pid: int) -> None:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass  # not a child any more
