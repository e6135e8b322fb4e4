"""A run of an earlier shim, taken over: it lives on, but it is no child of ours.

Decides what holds instead of what only a parent can do: its end is told by a pidfd, its status by the kernel if it
still knows it (else it is not known, never 0), and its tree is found by marks instead of descent. The leftovers make
them; from then on they are runs like others.
"""

from __future__ import annotations

import os
import select
import signal
import time

import pidfds
import records
import runs
import streams
import tree
from runs import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from house import House
    from loop import Timer
    from paths import Places
    from records import Record

_REAPED_WITHIN = 5.0  # seconds the new parent (init) gets to reap it: only then the kernel tells its status
_STOPPED_WITHIN = 0.1  # the same for one that is being stopped: nobody decides anything by its status
_GATHER = 0.02  # seconds until the look after an end: many ends at a time share one look at all processes
_AMENDED = ("stop", "killgroup", "nice", "sinks", "told", "inlet")
_TICKS = os.sysconf("SC_CLK_TCK")


class Adopted(Run):
    """Hold one of them."""

    ours = False

    def __init__(self, house: House, recipe: dict[str, Any], record: Record, path: str, pidfd: int) -> None:
        order = {**recipe, "run": record.run}
        super().__init__(house, order, record.pid, pidfd, -1)
        self.at = record.started / _TICKS
        self.wall = time.time() - (runs.boottime() - self.at)
        self.leaf = recipe["leaf"] if recipe["leaf"] and os.path.isdir(recipe["leaf"]) else None
        self.lock = path
        self.tags = [tag.encode("utf-8", "surrogateescape") for tag in recipe["tags"]]
        entry = os.stat(path)
        self._lock_file = (entry.st_dev, entry.st_ino)
        self._unreaped: Timer | None = None
        self._since = 0.0  # what was seen of its tree before this instant counts no more
        self._looked = False
        self.lost = ""  # what of it died with the shim before us: its terminal, or its pipe for input
        self.amended = {name: recipe[name] for name in _AMENDED if name in recipe}
        if recipe.get("told") is not None:  # its end was told before; what is left are descendants
            self._end = self._told = recipe["told"]

    def begin(self) -> None:
        """Wait for its end and its output; tell at once what ended while nobody looked."""
        for stream in self.streams.values():
            stream.begin()
        if self._end is not None:
            self.look()
        elif self._pidfd >= 0:
            self.house.loop.watch(self._pidfd, self._ended)
        else:
            self._note_end(None)

    # -- the end ------------------------------------------------------------------------------------------------

    def _ended(self, mask: int) -> None:
        status = pidfds.status_of(self._pidfd)
        if status is None and pidfds.TOLD and not mask & select.EPOLLHUP:
            self._await_reaper()
            return
        self._give_back_pidfd()
        self._note_end(status)

    def _await_reaper(self) -> None:
        if self._unreaped is None:
            self.house.loop.change(self._pidfd, 0)  # HUP, which is always told, says that it was reaped
            wait = _STOPPED_WITHIN if self.stopping else _REAPED_WITHIN
            self._unreaped = self.house.loop.after(wait, lambda: self._ended(select.EPOLLHUP))

    def _give_back_pidfd(self) -> None:
        if self._unreaped is not None:
            self._unreaped.cancel()
        self.house.loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1

    def give_up(self) -> None:
        """Be known no more, before `begin`: it could not be taken over whole, and ends by its record alone."""
        for stream in self.streams.values():
            stream.close()
        self.house.forget(self)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _note_end(self, status: int | None) -> None:
        lost = {"lost": self.lost} if self.lost else {}
        self._end = {**pidfds.end_of(status), **lost, "at": runs.boottime(), "wall": time.time()}
        self.house.oom.mark(self.pid, self.leaf, self._end, by_us=self._killing or self._leader_only)
        self._drain()
        self._since = time.monotonic()
        self.house.loop.after(_GATHER, self.look)

    def look(self) -> None:
        """Decide by what is left of the tree; only the first look may share what others have seen."""
        if self.finished:
            return  # an order made us look before the look that was planned
        if self._looked:
            self._since = time.monotonic()
        self._looked = True
        super().look()

    # -- the tree -----------------------------------------------------------------------------------------------

    def members(self) -> list[tree.Member]:
        """Return the living processes of the tree but the leader."""
        if self.leaf is not None:
            return super().members()
        since = time.monotonic() if self._killing else self._since
        return self._grown_from(self.house.looker.look(since).of(self.tags, self._lock_file))

    def _send(self, signum: int, group: bool) -> None:
        """Signal the leader or its group; once it is reaped its number may be somebody else's: then one by one."""
        if self._end is None and self._signal_leader(0 if group else signum):
            if group:
                super()._send(signum, group)  # it was there a moment ago: numbers do not come round so fast
        elif group:
            for each in self.members():
                if each.pgrp == self.pid:
                    tree.send(each, signum)

    def _signal_leader(self, signum: int) -> bool:
        if self._pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, signum)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it became somebody else (sudo), and lives
        return True

    def renice(self, nice: int) -> None:
        """Change the niceness of the leader's group, while the leader lives."""
        if self._end is None:
            super().renice(nice)


def take_over(house: House, places: Places, path: str, record: Record) -> Adopted:
    """Return the run of a record, dead or alive, with its streams; it is known from now on but waits for `begin`."""
    recipe = records.amended(path, record)
    run = Adopted(house, recipe, record, path, _open_pidfd(record, house.heritage.boot))
    house.add(run)
    try:
        _open_streams(house, places, run, recipe)
    except BaseException:
        run.give_up()
        raise
    return run


def _open_streams(house: House, places: Places, run: Adopted, recipe: dict[str, Any]) -> None:
    if house.keepsakes is not None:
        house.keepsakes.restore(run, recipe)
    for name, spec in recipe["sinks"].items():
        if recipe.get("inlet") == "terminal":
            break
        stream = _stream(house, places, run, name, spec)
        if stream is not None:
            run.streams[name] = stream


def _open_pidfd(record: Record, boot: str) -> int:
    """Return a pidfd of the very process that wrote the record, -1 when it is gone: a number may be used again."""
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return -1
    if record.look(boot) is not None:  # a zombie will do: it may still be told how it ended
        return pidfd
    os.close(pidfd)
    return -1


def _stream(house: House, places: Places, run: Adopted, name: str, spec: dict[str, Any]) -> streams.Stream | None:
    """Return a stream that goes on where the shim before us stopped; None when nobody has the FIFO open any more."""
    path = places.fifo_of(run.key, name)
    fd = streams.open_again([path], spec["fifo"])
    if fd is None:  # a newer run has taken the name: the old FIFO is reached through those who hold it
        pids = [run.pid, *(each.pid for each in run.members())]
        fd = streams.open_again([f"/proc/{pid}/fd/{number}" for pid in pids for number in (1, 2)], spec["fifo"])
        path += f" of run {run.run}"
    if fd is None:
        return None
    sink = house.sinks.attach(spec, later=True)
    return streams.Stream(house.loop, house.sinks, sink, spec.get("tag") or run.key, path, fd)
