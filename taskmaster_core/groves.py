"""Read what a run's control group tells: who is in it, and what they and the dead among them have used.

Decides which group is a run's own, by where its leader lives; whether there are any was decided by the shim, which
makes them. `trees` reads runs through this where they have a group.
"""

from __future__ import annotations

import os
from time import CLOCK_BOOTTIME, clock_gettime
from typing import NamedTuple

from taskmaster_core.procfs import File, Files, resident

QUIET = 10
"""So many looks at a group that has not run are believed without reading its memory: the kernel may have taken some."""


class Root(NamedTuple):
    """Name a run: the pid of its leader, and its number."""

    pid: int
    run: int


class Reading(NamedTuple):
    """Hold what a tree takes: when that was read, seconds of processor time it has used in all, bytes resident."""

    at: float
    used: float
    rss: int
    away: int = 0
    """How many of it have left the group of the leader."""


class Grove:
    """Hold the files of a run's control group."""

    def __init__(self, files: Files, path: str, leader: int = 0) -> None:
        self.path = path
        self._leader = leader
        self._away = 0
        self._files = files
        self._cpu = files.open(f"{path}/cpu.stat")
        self._procs = files.open(f"{path}/cgroup.procs")
        self._memory: dict[int, File] = {}
        self._used = -1
        self._rss = 0
        self._quiet = 0

    def read(self) -> Reading | None:
        """Return what it takes; None when it is gone."""
        try:
            used = int(self._cpu.read().split(None, 2)[1])
            at = clock_gettime(CLOCK_BOOTTIME)
            if used == self._used and self._quiet < QUIET:
                self._quiet += 1  # nothing has run in there: nobody came, grew or ended
            else:
                self._rss = self._look()
                self._quiet = 0
        except (OSError, ValueError, IndexError):
            return None
        self._used = used
        return Reading(at, used / 1e6, self._rss, self._away)

    def _look(self) -> int:
        pids = [int(pid) for pid in self._procs.read_all().split()] or _below(self.path)
        for pid in self._memory.keys() - set(pids):
            self._memory.pop(pid).close()
        self._away = sum(_has_left(pid, self._leader) for pid in pids)
        return sum(map(self._resident, pids))

    def _resident(self, pid: int) -> int:
        memory = self._memory.get(pid)
        if memory is None:
            memory = self._memory[pid] = self._files.open(f"/proc/{pid}/statm")
        try:
            return resident(memory)
        except (OSError, ValueError, IndexError):
            self._memory.pop(pid).close()  # it ended since; should its pid come again, the next look opens that one
            return 0

    def close(self) -> None:
        """Give all descriptors back."""
        for file in (self._cpu, self._procs, *self._memory.values()):
            file.close()


def _has_left(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) != group
    except ProcessLookupError:
        return False


def _below(group: str) -> list[int]:
    """Return the processes in the groups inside of one that has none itself; raise OSError when it is gone."""
    with open(f"{group}/cgroup.events", "rb", buffering=0) as file:
        if b"populated 1" not in file.read(256):
            return []
    found: list[int] = []
    for entry in os.scandir(group):
        if entry.is_dir(follow_symlinks=False):
            with open(f"{entry.path}/cgroup.procs", "rb", buffering=0) as file:
                found += [int(pid) for pid in file.readall().split()] or _below(entry.path)
    return found


class Groups:
    """Know where control groups are mounted, and find the one that the shim has made for a run."""

    def __init__(self) -> None:
        self._mount, self._top = mounted()
        self._own = _group_of("self") or "/"
        self._any = self._mount != "" and _has_groves(self._where(self._own))

    def of(self, root: Root) -> str | None:
        """Return the directory of a run's own group; None if it has none."""
        path = _group_of(str(root.pid)) if self._any else None
        found = own_group(path or "/", root.run)
        if found is None or (self._own + "/").startswith(found + "/"):
            return None  # the second: a core that is itself a job of another one, and makes no groups for its own
        return self._where(found)

    def _where(self, path: str) -> str:
        if self._top != "/" and (path + "/").startswith(self._top + "/"):  # a container without a namespace of its own
            path = path[len(self._top) :]
        return self._mount + path


def _has_groves(home: str) -> bool:
    """Tell whether a shim has made groups beside its own: there is no need to ask for each run where none can be."""
    try:
        return any(name.startswith("taskmaster-") for name in os.listdir(home))
    except OSError:
        return False


def own_group(path: str, run: int) -> str | None:
    """Return that part of a process's group that is its run's own, `…/taskmaster-INSTANCE/KEY.RUN`; None if none is."""
    parts = path.split("/")
    for at in range(len(parts) - 1, 1, -1):  # a job may make groups of its own in there
        if parts[at - 1].startswith("taskmaster-") and parts[at].endswith(f".{run}"):
            return "/".join(parts[: at + 1])
    return None


def mounted(mountinfo: str = "/proc/self/mountinfo") -> tuple[str, str]:
    """Return where control groups of version 2 are mounted, and which one is at the top there; "" if nowhere."""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if right.startswith("cgroup2 "):
                fields = [each.replace("\\040", " ").replace("\\134", "\\") for each in left.split(" ")]
                return fields[4], fields[3]
    return "", "/"


def _group_of(pid: str) -> str | None:
    try:
        with open(f"/proc/{pid}/cgroup", "rb", buffering=0) as file:
            lines = file.read(1 << 16).split(b"\n")
    except OSError:
        return None
    return next((os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")), None)
