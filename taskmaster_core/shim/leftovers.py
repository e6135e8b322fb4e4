"""What an earlier shim left behind: found by its lock files, taken over where the record says enough, else ended.

Decides which of the two, and sees to it that nothing new is started before: never two copies, never an unknown orphan.
The opening calls it once.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

import adopted
import cgroups
import records
import tree
from orphans import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from house import House
    from paths import Places

_LOOK = 0.05  # seconds between two looks at what does not belong to us and cannot be waited for
_PATIENCE = 10.0  # seconds after the kill until we go on without


class Leftover:
    """Hold one run of an earlier shim."""

    def __init__(self, path: str, record: records.Record | None, *, leader: bool, held: bool) -> None:
        self.path = path
        self.record = record
        self.leader = leader
        self.held = held
        entry = os.stat(path)
        self.lock = (entry.st_dev, entry.st_ino)
        recipe = record.recipe if record is not None else {}
        self.name: str = recipe.get("key") or os.path.basename(path)
        self.leaf: str | None = recipe.get("leaf")
        self.tags = [tag.encode("utf-8", "surrogateescape") for tag in recipe.get("tags") or ()]
        self.steps: list[list[float]] = list(recipe.get("stop") or [])
        self.group: bool = recipe.get("killgroup", True)
        self.due = 0.0
        self.killed_at: float | None = None

    def find(self, now: Snapshot | None = None) -> list[tree.Member]:
        """Return what still lives of it."""
        now = now or Snapshot()
        roots = cgroups.pids(self.leaf) if self.leaf else []
        if self.record is not None and self.leader:
            roots.append(self.record.pid)
        roots += now.tagged(self.tags)
        if self.held:
            roots += now.holders(self.lock)
        found = {each.pid: each for each in tree.below(roots) if not each.dead}
        return [each for each in found.values() if each.pid != os.getpid()]

    def step(self, now: float, seen: Snapshot) -> bool:
        """Do what is due; False when nothing of it is left."""
        members = self.find(seen)
        if not members:
            return False
        if now < self.due:
            return True
        if self.steps and self.leader:
            signum, delay = self.steps.pop(0)
            self.due = now + delay
            self._signal(members, int(signum))
            return True
        if self.killed_at is None:
            self.killed_at = now
        if self.leaf is None or not cgroups.kill(self.leaf):
            tree.stop_and_kill(self.find)
        return now - self.killed_at < _PATIENCE

    def _signal(self, members: list[tree.Member], signum: int) -> None:
        pid = self.record.pid if self.record is not None else 0
        for each in members:
            if each.pid == pid or (self.group and each.pgrp == pid):
                tree.send(each, signum)
                tree.send(each, signal.SIGCONT)


class Leftovers:
    """Go through all of them side by side, then call `done`; what was taken over is in `adopted`."""

    def __init__(self, house: House, places: Places) -> None:
        self.house = house
        self.places = places
        self.done: Callable[[], None] = lambda: None
        self.adopted: list[adopted.Adopted] = []
        """The newest runs first; they are to be begun once the core knows of them."""
        self._left: list[Leftover] = []

    def begin(self) -> None:
        """Look at every lock file."""
        for path in self.places.locks():
            self._judge(path)
        if self.house.keepsakes is not None:
            self.house.keepsakes.close_rest()
        self._sweep_amendments()
        self.adopted.sort(key=lambda run: run.run, reverse=True)
        self._turn()

    def _judge(self, path: str) -> None:
        record, held = _examine(path)
        boot = self.house.heritage.boot
        if record is not None and record.foreign and held:
            self._say_foreign(path, record)
        elif record is not None and record.boot == boot and record.adoptable and not record.foreign:
            self._take_over(path, record, held=held)
        else:
            self._judge_old(path, record, held=held)

    def _take_over(self, path: str, record: records.Record, *, held: bool) -> None:
        try:
            self.adopted.append(adopted.take_over(self.house, self.places, path, record))
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
            self.house.sinks.complain(f"the record {path} makes no sense: {error!r}")
            record.recipe = {}  # of what lives of it nothing is believed but the numbers: it is ended
            self._judge_old(path, record, held=held)

    def _judge_old(self, path: str, record: records.Record | None, *, held: bool) -> None:
        """Look at one that cannot be taken over: it never came to write its record, or another version wrote it."""
        boot = self.house.heritage.boot
        leader = record is not None and record.alive(boot)
        known = record is not None and record.boot == boot
        found = Leftover(path, record, leader=leader, held=held)
        if held or leader or (known and found.find()):
            self._left.append(found)
            self._say(found, "is being ended: it was left running by an earlier shim")
        else:
            self.house.unlock(path)

    def _sweep_amendments(self) -> None:
        names = set(os.listdir(self.places.runs))
        for name in names:
            if not name.endswith(".lock") and f"{name.removesuffix('~').removesuffix('.now')}.lock" not in names:
                os.unlink(f"{self.places.runs}/{name}")

    def _turn(self) -> None:
        now = time.monotonic()
        seen = Snapshot() if self._left else None
        still = []
        for each in self._left:
            if seen is not None and each.step(now, seen):
                still.append(each)
            else:
                self._close(each)
        self._left = still
        if still:
            self.house.loop.after(_LOOK, self._turn)
        else:
            self.done()

    def _close(self, each: Leftover) -> None:
        if each.leaf is not None:
            cgroups.clear(each.leaf)
        gone = not each.find()
        self._say(each, "has ended" if gone else "cannot be killed; it runs on, unknown to us")
        if gone:
            self.house.unlock(each.path)

    def _say_foreign(self, path: str, record: records.Record) -> None:
        name = record.recipe.get("key") or os.path.basename(path)
        what = f"may still run in another pid namespace (pid {record.pid} there), where nothing can be done about it"
        self.house.tell({"t": "adopted", "message": f"{name} (run {record.run}) {what}"})

    def _say(self, each: Leftover, what: str) -> None:
        who = f"pid {each.record.pid}, run {each.record.run}" if each.record is not None else "pid unknown"
        self.house.tell({"t": "adopted", "message": f"{each.name} ({who}) {what}"})


def _examine(path: str) -> tuple[records.Record | None, bool]:
    """Return the record in a lock file, and whether somebody holds the lock."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        held = False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        return records.read(fd), held
    finally:
        os.close(fd)
