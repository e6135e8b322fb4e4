"""A run: one incarnation of a process, from its fork until nobody of its tree is left.

Decides when an exit may be told, what of a tree is killed when, and what is kept until then; which run is wanted or
unwanted is for the core, or without one for `shutdown`. The orders and the loop call it.
"""

from __future__ import annotations

import os
import signal
import time

import cgroups
import records
import tree
from kinship import NAMED, Killed, Kinship

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from house import House
    from loop import Loop, Timer

_PATIENCE = 10.0  # seconds after SIGKILL until a process counts as unkillable
_REPEAT = 60.0  # seconds between two words that it still is
_SOON = 0.005  # seconds until a look that could not be believed is repeated
_QUIET = 6  # so many quiet looks in a row are wanted where one was not: /proc may leave out who is just being moved
_DOUBTS = 200  # so many in a row are believed: what disturbs them are the orphans of another job, not a chain of ours
_NO_CONT = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT})


def boottime() -> float:
    """Return the seconds of CLOCK_BOOTTIME, the clock of all decisions."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Watch:
    """Wait until one of many processes has ended; one descriptor is enough, for then the others are looked at too."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._fd = -1
        self._timer: Timer | None = None
        self._doubts = 0  # looks in a row that saw nobody and could not be believed
        self._quiet = 0  # looks in a row that could
        self._suspect = False  # somebody outlived the leader: it may be a chain of forks that runs away

    def on(self, members: list[tree.Member], action: Callable[[], None]) -> None:
        """Wait for any of them, then act; without a descriptor to wait with, look again soon."""
        self._doubts = self._quiet = 0
        self._suspect = True
        for each in members:
            try:
                self._fd = os.pidfd_open(each.pid)
            except ProcessLookupError:
                continue
            except OSError:
                break
            self._loop.watch(self._fd, lambda _: action())
            return
        self._timer = self._loop.after(0.02, action)

    def again(self, action: Callable[[], None]) -> None:
        """Act soon: what was seen is not to be believed yet."""
        self._timer = self._loop.after(_SOON, action)

    def believes(self, *, quiet: bool) -> bool:
        """Tell whether nobody is left, after a look that saw nobody; `quiet`: nor did anybody come or go meanwhile."""
        self._quiet, self._doubts = (self._quiet + 1, 0) if quiet else (0, self._doubts + 1)
        wanted, bearable = (_QUIET, _DOUBTS) if self._suspect else (1, _DOUBTS // 10)
        return self._quiet >= wanted or self._doubts >= bearable

    def off(self) -> None:
        """Wait no longer."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Run(Kinship):
    """Hold one run; `house` is what all runs share."""

    ours = True  # a child of ours; `adopted` has those that are not

    def __init__(self, house: House, order: dict[str, Any], pid: int, pidfd: int, status: int) -> None:
        super().__init__(house, pid)
        self.key: str = order["key"]
        self.run: int = order["run"]
        self.stop: list[list[float]] = order.get("stop") or [[signal.SIGTERM, 10.0]]
        self.killgroup: bool = order.get("killgroup", True)
        self.nice: int = order.get("nice") or 0
        self.at, self.wall = boottime(), time.time()
        self.tags = [tag.encode("utf-8", "surrogateescape") for tag in records.tags(order.get("env") or {})]
        self.amended: dict[str, Any] = {}  # what changed since its record was written
        self.stopping = False
        self._killing = False
        self._leader_only = False  # the rest of the tree is left alone
        self._pidfd = pidfd
        self._status = status
        self._told: dict[str, Any] | None = None
        self._killed = Killed(pid)
        self._deferred: list[tuple[int, bool, bool]] = []
        self._watch = Watch(house.loop)
        self._patience: Timer | None = None
        self.stuck = False  # something of it does not die

    # -- birth --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Wait for the outcome of the exec, for the end of the leader, and for output."""
        self.house.loop.watch(self._status, self._settled)
        self.house.loop.watch(self._pidfd, self._ended)
        for stream in self.streams.values():
            stream.begin()

    @property
    def unborn(self) -> bool:
        """Tell whether the child is still setting itself up."""
        return self._status >= 0

    def _settled(self, _: int = 0) -> None:
        report = os.read(self._status, 4096)
        self.house.loop.forget(self._status)
        os.close(self._status)
        self._status = -1
        if report:
            self._failed(report)
            return
        self._tell({"t": "spawned", "pid": self.pid}, at=self.at, wall=self.wall)
        deferred, self._deferred = self._deferred, []
        for signum, group, stopping in deferred:
            self.signal(signum, group=group, stopping=stopping)

    def _failed(self, report: bytes) -> None:
        stage, code, message = report.decode("utf-8", "surrogateescape").split("\0", 2)
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # it is on its last instruction; should somebody stop it
        self.house.loop.forget(self._pidfd)
        os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._release()
        self.house.tell_failed(self.key, self.run, stage, int(code), message)

    def _tell(self, report: dict[str, Any], *, at: float, wall: float) -> None:
        report.update(key=self.key, run=self.run, at=at, wall=wall)
        self.house.answer(self.key, self.run, report)

    # -- orders -------------------------------------------------------------------------------------------------

    def signal(self, signum: int, *, group: bool, stopping: bool) -> None:
        """Send a signal to the leader or its group; before the exec it is kept, so that the job gets it."""
        self.stopping = self.stopping or stopping
        if self.unborn:
            self._deferred.append((signum, group, stopping))
            return
        if stopping and self.leaf is not None:
            cgroups.thaw(self.leaf)  # else the signal would never arrive
        elif stopping:
            self.remember()
        self._send(signum, group)
        if stopping and signum not in _NO_CONT:
            self._send(signal.SIGCONT, group)  # a stopped process would never see the signal
        if stopping and self._end is not None:
            self.look()

    def _send(self, signum: int, group: bool) -> None:
        try:
            if group:
                os.killpg(self.pid, signum)  # the leader is not reaped: nobody else can have this number
            elif self._end is None:
                signal.pidfd_send_signal(self._pidfd, signum)
        except (ProcessLookupError, PermissionError):
            pass  # it ended at this moment, its exit is on the way; or it became another user (sudo), and lives

    def kill(self, *, whole: bool) -> None:
        """Send SIGKILL to the tree or to the leader alone."""
        self.stopping = True
        if not whole:
            self._leader_only = True
            self._send(signal.SIGKILL, group=False)
        else:
            self._leader_only = False
            self._killing = True
            self._kill_tree()
        if self._patience is None:
            self._patience = self.house.loop.after(_PATIENCE, self._lose_patience)
        if self._end is not None:
            self.look()

    def renice(self, nice: int) -> None:
        """Change the niceness of the leader's group."""
        os.setpriority(os.PRIO_PGRP, self.pid, nice)
        self.nice = nice

    # -- the end ------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Tell whether nothing of it is left."""
        return (self.key, self.run) not in self.house.runs

    @property
    def told(self) -> bool:
        """Tell whether its end was told already and only descendants are left."""
        return self._told is not None

    @property
    def left_alone(self) -> bool:
        """Tell whether what is left of it is to be left: the leader is gone and the rest is not ours to kill."""
        return self._end is not None and not self._killing and not self.killgroup

    def _ended(self, _: int) -> None:
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if result is None:
            return
        if self.unborn:
            self._settled()  # "spawned" or "failed" comes before the end
            if self.finished:
                return
        self.house.loop.forget(self._pidfd)
        os.close(self._pidfd)  # the zombie keeps the number from being used again
        self._pidfd = -1
        code = result.si_code == os.CLD_EXITED
        self._end = {
            "code" if code else "signal": result.si_status,
            "core": result.si_code == os.CLD_DUMPED,
            "at": boottime(), "wall": time.time(),
        }
        self.house.oom.mark(self.pid, self.leaf, self._end, by_us=self._killing or self._leader_only)
        self._drain()
        self.look()

    def _drain(self) -> None:
        """Carry over what it wrote last; whatever goes wrong with that, its end must be told."""
        for stream in self.streams.values():
            try:
                stream.drain()
            except OSError as error:
                self.house.sinks.complain(f"the last output of {self.key} cannot be read: {error.strerror}")

    def look(self) -> None:
        """Decide by what is left of the tree, now that the leader has ended."""
        self._watch.off()
        members = self.members()
        if not members:
            if self.leaf is not None or self._watch.believes(quiet=self.house.nobody(self.members)):
                self._finish()
            else:
                self._watch.again(self.look)
        elif self._spares():
            self._linger(members)
        elif self._killing or not any(each.pgrp == self.pid for each in members):
            self._kill_tree()  # what has left the group is not waited for
            self._watch.on(members, self.look)
            if self._patience is None:
                self._patience = self.house.loop.after(_PATIENCE, self._lose_patience)
        else:
            self._watch.on([each for each in members if each.pgrp == self.pid], self.look)

    def _spares(self) -> bool:
        if self._killing:
            return False
        return not self.stopping or self._leader_only or not self.killgroup

    def _linger(self, members: list[tree.Member]) -> None:
        if self._told is None:
            self._tell_end(members)
            self.house.amend(self, told=self._end)
            self.house.loop.after(0, self.house.on_empty)  # what is left alone holds no end of everything up
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
        self._watch.on(members, self.look)

    def _kill_tree(self) -> None:
        if self.leaf is not None:
            hit = self.members()
            if cgroups.kill(self.leaf):
                self._killed.note(hit, ended=self.ended)
                self._send(signal.SIGKILL, group=False)  # a child that has not entered the leaf yet
                return
        self._send(signal.SIGSTOP, group=False)
        self._killed.note(tree.stop_and_kill(self.members), ended=self.ended)
        self._send(signal.SIGKILL, group=False)  # the leader apart: before setsid it has no group
        self._send(signal.SIGKILL, group=True)

    def _lose_patience(self) -> None:
        self._patience = None
        if self.finished or (self._end is not None and self._spares()):
            return
        pids = [each.pid for each in self.members()]
        if self._end is None:
            pids.insert(0, self.pid)
        self.stuck = True
        self.house.tell({"t": "unkillable", "key": self.key, "run": self.run, "pids": pids[:NAMED]})
        self.house.loop.after(0, self.house.on_empty)  # an end of everything does not wait for it
        self._patience = self.house.loop.after(_REPEAT, self._lose_patience)
        if self._killing:
            self._kill_tree()

    def _finish(self) -> None:
        if self.ours:
            os.waitid(os.P_PID, self.pid, os.WEXITED)
        self._release()
        self._tell_end([])

    def _release(self) -> None:
        """Give back all that the run held."""
        self.house.forget(self)
        self._watch.off()
        if self._patience is not None:
            self._patience.cancel()
        for stream in self.streams.values():
            try:
                stream.finish()
            except OSError as error:
                self.house.sinks.complain(f"the last output of {self.key} cannot be read: {error.strerror}")
                stream.close()
        if self.leaf is not None:
            cgroups.clear(self.leaf)
        self.house.unlock(self.lock)

    def _tell_end(self, members: list[tree.Member]) -> None:
        report: dict[str, Any] = {"t": "exited", "pid": self.pid, **(self._end or {})}
        report["lingering"] = len(members)
        report.update(self._killed.told())
        if members:
            report["left"] = [[each.pid, each.comm] for each in members[:NAMED]]
        self._told = report
        self._tell(report, at=report["at"], wall=report["wall"])
