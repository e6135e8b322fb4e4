"""What an earlier shim left running: found by its lock files, ended by the recipes recorded in them.

Decides what of it still lives and ends that before anything new is started: never two copies, never an unknown
orphan. The opening calls it once.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time

import cgroups
import records
import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from house import House
    from paths import Places

_LOOK = 0.05  # seconds between two looks at what does not belong to us and cannot be waited for
_PATIENCE = 10.0  # seconds after the kill until we go on without


class Snapshot:
    """Hold what all processes look like at one moment: read once for all leftovers."""

    def __init__(self) -> None:
        self._tagged = {pid: env for pid in _all_pids() if (env := _tagged_environment(pid))}
        self._holders: dict[tuple[int, int], list[int]] | None = None

    def tagged(self, tags: list[bytes]) -> list[int]:
        """Return the orphans that were started with all of these settings.

        Another instance may use the same names: what descends from a living shim is that one's.
        """
        found = [pid for pid, env in self._tagged.items() if tags and all(tag in env for tag in tags)]
        return [pid for pid in found if not _has_shim(pid)]

    def holders(self, lock: tuple[int, int]) -> list[int]:
        """Return the processes that have this file open."""
        if self._holders is None:
            self._holders = {}
            for pid in _all_pids():
                for file in _open_files(pid):
                    self._holders.setdefault(file, []).append(pid)
        return self._holders.get(lock, [])


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


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _tagged_environment(pid: int) -> frozenset[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = file.readall()
    except OSError:
        return frozenset()
    return frozenset(text.split(b"\0")) if b"TASKMASTER_RUN=" in text else frozenset()


def _has_shim(pid: int) -> bool:
    while pid > 1:
        member = tree.look(pid)
        if member is None:
            return False
        pid = member.ppid
        if pid != os.getpid() and _is_shim(_command_line(pid)):
            return True
    return False


def _is_shim(words: list[bytes]) -> bool:
    return b"-I" in words and any(word.endswith(b"taskmaster_core/shim") for word in words)


def _command_line(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return file.readall().split(b"\0")
    except OSError:
        return []


def _open_files(pid: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    if pid == os.getpid():
        return found
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for fd in fds:
        try:
            entry = os.stat(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        found.append((entry.st_dev, entry.st_ino))
    return found


class Leftovers:
    """End all of them side by side, then call `done`."""

    def __init__(self, house: House, places: Places) -> None:
        self.house = house
        self.places = places
        self.done: Callable[[], None] = lambda: None
        self._left: list[Leftover] = []

    def begin(self) -> None:
        """Look at every lock file."""
        seen = Snapshot() if os.listdir(self.places.runs) else None
        for name in sorted(os.listdir(self.places.runs)):
            path = f"{self.places.runs}/{name}"
            found = self._examine(path, seen)
            if found is None:
                os.unlink(path)
            else:
                self._left.append(found)
                self._say(found, "is being ended: it was left running by an earlier shim")
        self._turn()

    def _examine(self, path: str, seen: Snapshot | None) -> Leftover | None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            held = False
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = True
            record = records.read(fd)
        finally:
            os.close(fd)
        boot = self.house.heritage.boot
        leader = record is not None and record.alive(boot)
        same_boot = record is None or record.boot == boot
        if not held and not leader and not (same_boot and record is not None):
            return None
        found = Leftover(path, record, leader=leader, held=held)
        return found if held or leader or found.find(seen) else None

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

    def _say(self, each: Leftover, what: str) -> None:
        who = f"pid {each.record.pid}, run {each.record.run}" if each.record is not None else "pid unknown"
        self.house.tell({"t": "adopted", "message": f"{each.name} ({who}) {what}"})
