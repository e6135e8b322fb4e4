"""The parent's half of a spawn: lock, control group, files and FIFOs, then the fork.

Decides whether the run may begin at all (never beside an older copy) and what its descriptors are; what the child
does is in `spawn`. An error on the way gives back all that was taken and becomes a `failed` report.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time

import cgroups
import files
import inlets
import kernel
import paths
import records
import sentences
import shelf
import spawn
import streams
import terminals
from runs import Run, boottime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from house import House
    from paths import Places

_RESERVE = 16  # descriptors that no spawn takes: for output files, a new core, the work of killing


class Launch:
    """Carry one spawn order out; `stage` names what it is doing."""

    def __init__(self, house: House, places: Places, order: dict[str, Any]) -> None:
        self.house = house
        self.places = places
        self.order = order
        self.key: str = order["key"]
        self.run: int = order["run"]
        self.stage = "lock"
        self.what = ""
        self.setup = spawn.Setup(order, house.heritage, null=house.null, spared=house.spared)
        self.lock_path = self.places.lock_of(self.key)
        self._close: list[int] = []
        self._streams: dict[str, streams.Stream] = {}
        self._locked = False
        self._inlet: inlets.Inlet | None = None

    def begin(self) -> None:
        """Start the run, or tell why not."""
        try:
            self._prepare()
            self._fork()
        except OSError as error:
            self._undo()
            message = self.what or sentences.sentence(self.stage, error.errno or errno.EIO, error.strerror or "")
            self.house.tell_failed(self.key, self.run, self.stage, error.errno or errno.EIO, message)
        except BaseException:
            self._undo()
            raise
        finally:
            for fd in self._close:
                os.close(fd)

    def _hold(self, fd: int) -> int:
        self._close.append(fd)
        return fd

    def _prepare(self) -> None:
        self._take_lock()
        if self.house.groves is not None:
            self.setup.leaf = self.house.groves.plant(f"{paths.encode(self.key)}.{self.run}")
        out = self.order.get("out") or {"kind": "null"}
        err = self.order.get("err") or {"kind": "null"}
        if self.order.get("tty"):
            self.setup.out = self.setup.err = self.setup.null = self._terminal(out)
        else:
            self.setup.out = self._output("stdout", "out", out, 1)
            self.setup.err = self.setup.out if err.get("kind") == "out" else self._output("stderr", "err", err, 2)
            if self.order.get("stdin") == "pipe":
                self.setup.null = self._pipe()
        given = {"out": out, "err": err}
        sinks = {name: {**given[name], "fifo": each.inode} for name, each in self._streams.items()}
        kind = "" if self._inlet is None else "terminal" if self._inlet.terminal else "pipe"
        self.setup.record = records.tail(self.order, self.setup.heritage.boot, self.setup.leaf, sinks, kind)
        self.stage = "fifo"
        read, write = os.pipe2(os.O_CLOEXEC)
        self._close += [read, write]
        self.setup.status = write

    # -- the lock -----------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        """Take it in the state directory; where that takes nothing, in the run directory: jobs must start on."""
        self.house.shelf.look()
        try:
            self._lock_here()
        except OSError as error:
            if not self.house.shelf.fails(error):
                raise
            self._refuse_copy(self.lock_path)
            if self._locked:
                self.house.unlock(self.lock_path)
            self.lock_path = self.places.spare_lock_of(self.key)
            self._lock_here()

    def _refuse_copy(self, path: str) -> None:
        """Raise OSError if the lock file that cannot be written is that of an older copy."""
        try:
            fd = self._hold(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError:
            return
        self._judge(fd)

    def _lock_here(self) -> None:
        fd = self._open_lock()
        if fd >= self.house.nofile - _RESERVE:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        held, record = self._judge(fd)
        number = record.run if record is not None else 0
        if held or (self.key, number) in self.house.runs:  # its descendants may live without the lock
            fd = self._set_aside(number)
        self._locked = True
        empty = records.open_to_write(fd)
        try:
            os.ftruncate(empty, 0)
            shelf.reserve(empty)
        finally:
            os.close(empty)
        self.setup.lock = fd

    def _judge(self, fd: int) -> tuple[bool, records.Record | None]:
        """Return whether somebody holds a lock, and its record; raise OSError if an older copy may live."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = False
        except BlockingIOError:
            held = True
        record = records.read(fd)
        if record is not None and record.alive(self.house.heritage.boot):
            self.what = f"an older copy still runs: pid {record.pid}, run {record.run}"
            raise OSError(errno.EEXIST, "")
        if held and record is not None and record.foreign:
            self.what = f"an older copy may still run, in another pid namespace: pid {record.pid} there"
            raise OSError(errno.EEXIST, "")
        return held, record

    def _open_lock(self) -> int:
        # For reading only: the job keeps it, and must not write what the next shim will believe of it.
        return self._hold(os.open(self.lock_path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))

    def _set_aside(self, run: int) -> int:
        """Descendants of an older run hold the lock, its leader is gone: they keep theirs under another name."""
        aside = self.places.old_lock_of(self.key, run, self.lock_path)
        records.move(self.lock_path, aside)
        older = self.house.runs.get((self.key, run))
        if older is not None:
            older.lock = aside
        fd = self._open_lock()
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd

    # -- outputs ------------------------------------------------------------------------------------------------

    def _output(self, stage: str, name: str, spec: dict[str, Any], ours: int) -> int:
        self.stage = stage
        kind = spec.get("kind")
        if kind == "null":
            return self.house.null
        if kind == "inherit":
            return ours
        if kind != "file":
            self.what = f"an output of the kind {kind!r} is not known"
            raise OSError(errno.EINVAL, "")
        try:
            return self._file(name, spec)
        except OSError as error:
            if self.stage == stage:
                self.what = files.explain(error, spec["path"], managed=self.places.owns(spec["path"]))
            raise

    def _file(self, name: str, spec: dict[str, Any]) -> int:
        path = spec["path"]
        if path == "/dev/null":
            return self.house.null
        descriptor = files.special(path, self.house.inherited)
        if descriptor is not None:
            return descriptor
        if not path.startswith("/") or self.places.reserves(path):
            raise files.Unfit(errno.EINVAL, f"output cannot go to '{path}': it is not an absolute path or is our own")
        if spec.get("direct"):
            return self._hold(self.house.sinks.open_direct(spec))
        sink = self.house.sinks.attach(spec)
        self.stage = "fifo"
        fifo = self.places.fifo_of(self.key, name)
        try:
            ours, theirs = streams.make_fifo(fifo, self.order.get("uid"), busy=fifo in self.house.sinks.fifos)
        except OSError:
            self.house.sinks.detach(sink)
            raise
        self._hold(theirs)
        tag = spec.get("tag") or self.key
        self._streams[name] = streams.Stream(self.house.loop, self.house.sinks, sink, tag, fifo, ours)
        return theirs

    # -- inputs -------------------------------------------------------------------------------------------------

    def _terminal(self, out: dict[str, Any]) -> int:
        self.stage = "stdout"
        sink = None
        if out.get("kind") == "file" and out["path"] != "/dev/null":
            try:
                sink = self.house.sinks.attach(out)
            except OSError as error:
                self.what = files.explain(error, out["path"], managed=self.places.owns(out["path"]))
                raise
        self.stage = "terminal"
        terminal, theirs = terminals.lay(self.house, self.order, sink)
        self._streams["out"] = terminal
        self._inlet = terminal.inlet
        self.setup.terminal = True
        return theirs

    def _pipe(self) -> int:
        self.stage = "stdin"
        theirs, ours = self.house.sinks.with_spare(lambda: os.pipe2(os.O_CLOEXEC))
        os.set_blocking(ours, False)
        self._inlet = inlets.Inlet(self.house.loop, ours, terminal=False)
        return self._hold(theirs)

    # -- the fork -----------------------------------------------------------------------------------------------

    def _fork(self) -> None:
        self.stage = "fork"
        read = self._close[-2]
        born = boottime(), time.time()  # before it can do anything: its first output is not older than it is
        pid = self._born()
        if pid == 0:
            spawn.become(self.setup)
        run = Run(self.house, self.order, pid, self._open_pidfd(pid), read)
        run.at, run.wall = born
        self._close.remove(read)
        run.leaf = self.setup.leaf
        run.lock = self.lock_path
        run.streams = self._streams
        self.house.add(run)
        if self._inlet is not None and self.house.keepsakes is not None:
            self.house.keepsakes.opened((self.key, self.run), self._inlet)
        run.begin()

    def _born(self) -> int:
        """Return the pid of a child, 0 in the child itself."""
        if self.setup.leaf is not None:
            self.setup.inside = True
            try:
                return kernel.fork_into(self.setup.leaf)
            except OSError:  # an old kernel, or a filter of system calls: the child walks in by itself
                self.setup.inside = False
        return os.fork()

    def _open_pidfd(self, pid: int) -> int:
        try:
            return os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # what we cannot watch must not run
            os.waitid(os.P_PID, pid, os.WEXITED)
            raise

    def _undo(self) -> None:
        for stream in self._streams.values():
            stream.close()
        if self._inlet is not None:
            self._inlet.close()
        if self.setup.leaf is not None:
            cgroups.clear(self.setup.leaf)
        if self._locked:
            self.house.unlock(self.lock_path)
