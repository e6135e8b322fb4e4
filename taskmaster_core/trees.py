"""Read what each run's whole tree of processes takes, processor time and memory, in small pieces.

Decides which process belongs to which run: by its control group where the shim has made one, else by descent, session,
group and, for orphans, environment. When to look, and how long one piece may last, is for the sampler.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from time import CLOCK_BOOTTIME, clock_gettime

from taskmaster_core.groves import Groups, Grove, Reading, Root
from taskmaster_core.procfs import File, Files, resident, stat_in
from taskmaster_core.spec import Key
from taskmaster_core.usage import Tally

TICKS = os.sysconf("SC_CLK_TCK")

_ENTRIES = 64
"""So many entries of /proc are one piece."""

_ENVIRON = 1 << 17
"""Bytes of an orphan's environment that are searched for the marks of its run; they may be at the end."""


class Process:
    """Hold one process by its files, and what was last read of it."""

    __slots__ = ("_file", "_memory", "_new", "_text", "changed", "inode", "pid", "root", "rss", "stat")

    def __init__(self, files: Files, pid: int, inode: int, file: File, text: bytes) -> None:
        self.pid = pid
        self.inode = inode
        self.stat = stat_in(text)
        self.rss = 0
        self.root: Root | None = None
        self.changed = True
        """Whether it has run since the look before, or is gone."""
        self._file = file
        self._memory = files.open(f"/proc/{pid}/statm")
        self._text = text
        self._new = True

    def read(self) -> bool:
        """Look again; False when it is gone."""
        started = self.stat.seen.started
        try:
            text = self._text if self._new else self._file.read()
            self.changed = self._new or text != self._text
            if not self.changed:
                return True  # not even a page was touched
            self.stat = stat_in(text)
            self.rss = resident(self._memory) if self.stat.resident else 0
        except (OSError, ValueError, IndexError):
            self.changed = True
            return False
        self._text, self._new = text, False
        return self.stat.seen.started == started

    def close(self) -> None:
        """Give its descriptors back."""
        self._file.close()
        self._memory.close()


def meet(files: Files, pid: int, inode: int) -> Process | None:
    """Return a process as it is now; None if it is gone already."""
    file = files.open(f"/proc/{pid}/stat")
    try:
        return Process(files, pid, inode, file, file.read())
    except (OSError, ValueError, IndexError):
        file.close()
        return None


class Descent:
    """Know the processes below the shim, and those of each run."""

    def __init__(self, files: Files, shim: int, instance: str) -> None:
        self._files = files
        self._shim = shim
        self._instance = f"TASKMASTER_INSTANCE={instance}".encode()
        self._processes: dict[int, Process] = {}
        self._members: dict[Root, dict[int, Process]] = {}
        self._tallies: dict[Root, Tally] = {}
        self._last: dict[Root, tuple[int, Reading]] = {}
        """Of each run how many processes it had, and what they took."""
        self._strangers: dict[int, int] = {}
        """Of what is not ours the pid and the inode of its directory, which is new with each process."""

    def look(self, roots: Mapping[Root, Key]) -> Iterator[None]:
        """Find out who came and who is gone; advance it until it ends."""
        leaders = {root.pid: root for root in roots}
        fresh: list[tuple[int, int]] = []
        yield from self._list(leaders, fresh)
        met: dict[int, Process] = {}
        for pid, inode in fresh:
            yield
            self._meet(pid, inode, met)
        for root in [each for each in self._members if each not in roots]:
            self._forget(root)
        self._place(met, leaders, {f"{key} {root.run}".encode(): root for root, key in roots.items()})

    def _list(self, leaders: Mapping[int, Root], fresh: list[tuple[int, int]]) -> Iterator[None]:
        listed = set()
        with os.scandir("/proc") as entries:
            for number, entry in enumerate(entries):
                if number % _ENTRIES == 0:
                    yield
                if not entry.name.isdecimal():
                    continue
                pid, inode = int(entry.name), entry.inode()
                listed.add(pid)
                known = self._processes.get(pid)
                if known is not None and known.inode == inode:
                    continue
                if pid in leaders or self._strangers.get(pid) != inode:
                    fresh.append((pid, inode))
        for pid in self._processes.keys() - listed:
            self._drop(self._processes[pid])
        for pid in self._strangers.keys() - listed:
            del self._strangers[pid]

    def _meet(self, pid: int, inode: int, met: dict[int, Process]) -> None:
        process, known = meet(self._files, pid, inode), self._processes.get(pid)
        if process is None:
            return
        if known is not None and known.stat.seen.started == process.stat.seen.started:
            known.inode = inode  # the kernel had forgotten the directory, not the process
            process.close()
            return
        if known is not None:
            self._drop(known)
        met[pid] = process

    def _place(self, met: Mapping[int, Process], leaders: Mapping[int, Root], marks: Mapping[bytes, Root]) -> None:
        """Say of the new ones to which run they belong, of parents before their children."""
        done: set[int] = set()
        homeless: list[Process] = []
        for pid in met:
            chain = []
            while pid in met and pid not in done:
                chain.append(met[pid])
                done.add(pid)
                pid = met[pid].stat.seen.parent  # noqa: PLW2901  # up the chain, as far as it is new
            for process in reversed(chain):
                self._settle(process, leaders, marks)
                if process.root is None and process.pid in self._processes:
                    homeless.append(process)
        for process in homeless:  # a run of which we do not know yet: looked at again next time
            self._drop(process)

    def _settle(self, process: Process, leaders: Mapping[int, Root], marks: Mapping[bytes, Root]) -> None:
        pid, stat = process.pid, process.stat
        parent = self._processes.get(stat.seen.parent)
        root = leaders.get(pid) or (parent.root if parent is not None else None)
        root = root or leaders.get(stat.session) or leaders.get(stat.group)
        below = parent is not None or stat.seen.parent == self._shim
        if root is None and (not below or pid == os.getpid()):
            self._strangers[pid] = process.inode
            process.close()
            return
        if root is None and stat.seen.parent == self._shim:
            root = self._marked(pid, marks)
        process.root = root
        self._processes[pid] = process
        if root is not None:
            self._members.setdefault(root, {})[pid] = process

    def _marked(self, pid: int, marks: Mapping[bytes, Root]) -> Root | None:
        """Return the run that an orphan's environment names."""
        try:
            with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
                settings = file.read(_ENVIRON).split(b"\0")
        except OSError:
            return None
        if self._instance not in settings:
            return None
        found = dict(each.split(b"=", 1) for each in settings if each.startswith(b"TASKMASTER_") and b"=" in each)
        job, index, run = (found.get(b"TASKMASTER_" + name, b"") for name in (b"JOB", b"INDEX", b"RUN"))
        return marks.get(b"%s:%s %s" % (job, index, run))

    def read(self, root: Root) -> Iterator[Reading | None]:
        """Yield None for each process of a run that was read, and at the end what they take, if there are any."""
        members = list(self._members.get(root, {}).values())
        changed = False
        for process in members:
            alive = process.read()
            changed = changed or process.changed
            if not alive:
                self._drop(process)
            yield None
        at = clock_gettime(CLOCK_BOOTTIME)
        last = self._last.get(root)
        if last is not None and not changed and last[0] == len(members):
            yield last[1]._replace(at=at)  # nothing ran in there
        elif living := self._members.get(root):
            reading = self._add(root, living, at)
            self._last[root] = (len(living), reading)
            yield reading

    def _add(self, root: Root, living: Mapping[int, Process], at: float) -> Reading:
        tally = self._tallies.setdefault(root, Tally())
        tally.take({pid: process.stat.seen for pid, process in living.items()}, int(at * TICKS))
        away = sum(process.stat.group != root.pid for process in living.values())
        return Reading(at, tally.ticks / TICKS, sum(process.rss for process in living.values()), away)

    def _drop(self, process: Process) -> None:
        process.close()
        self._processes.pop(process.pid, None)
        if process.root is not None:
            self._members.get(process.root, {}).pop(process.pid, None)

    def _forget(self, root: Root) -> None:
        for process in list(self._members[root].values()):
            self._drop(process)
        del self._members[root]
        self._tallies.pop(root, None)
        self._last.pop(root, None)

    def close(self) -> None:
        """Give all descriptors back."""
        for process in self._processes.values():
            process.close()


class Trees:
    """Hold what was learnt of each run, so that the next look costs less."""

    def __init__(self, shim: int, instance: str, room: int) -> None:
        self.files = Files(room)
        self._groups = Groups()
        self._groves: dict[Root, Grove | None] = {}
        self._descent = Descent(self.files, shim, instance)

    def look(self, roots: Mapping[Key, Root], found: dict[Key, Reading]) -> Iterator[None]:
        """Fill `found` with what the trees of these runs take now; advance it until it ends, a piece at a time."""
        for root in self._groves.keys() - set(roots.values()):
            self._fell(root)
        yield from self._plant(roots.values())
        alone = {root: key for key, root in roots.items() if self._groves[root] is None}
        if alone:
            yield from self._descent.look(alone)
        for key, root in roots.items():
            grove = self._groves[root]
            for reading in (grove.read(),) if grove is not None else self._descent.read(root):
                if reading is not None:
                    found[key] = reading
                yield

    def _plant(self, roots: Iterable[Root]) -> Iterator[None]:
        for root in roots:
            if root not in self._groves:
                path = self._groups.of(root)
                self._groves[root] = Grove(self.files, path, root.pid) if path is not None else None
                yield

    def _fell(self, root: Root) -> None:
        grove = self._groves.pop(root)
        if grove is not None:
            grove.close()

    def release(self) -> None:
        """Give all descriptors back; what was learnt is kept."""
        for grove in self._groves.values():
            if grove is not None:
                grove.close()
        self._descent.close()
