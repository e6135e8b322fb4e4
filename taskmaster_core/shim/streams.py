"""The streams of jobs: a FIFO from which output is carried to its sink.

Decides how much is carried at a time and where lines are cut for a shared file; the file itself is the sink's
affair. A run makes its streams, and ends them when nobody is left who could write.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from loop import Loop
    from sinks import Sink, Sinks

_BUDGET = 1 << 20  # bytes of one stream a turn
_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 16  # in a shared file; a longer one is cut
_PIPE = 1 << 16  # what the kernel gives at first
_BIG_PIPE = 1 << 20  # what an unprivileged user may ask for


def make_fifo(path: str, uid: int | None, *, busy: bool) -> tuple[int, int]:
    """Return our end of a FIFO (not blocking) and the job's (O_RDWR: it never sees SIGPIPE).

    One that an earlier run left is taken again, unless it is busy: descendants of that run still write to it.
    """
    if busy:
        os.unlink(path)  # they hold it by descriptor
    try:
        ours = _open_fifo(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        os.mkfifo(path, 0o600)
        ours = _open_fifo(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        theirs = _open_fifo(path, os.O_RDWR)
        try:
            owner = os.geteuid() if uid is None else uid
            if os.fstat(theirs).st_uid != owner:
                os.fchown(theirs, owner, -1)  # a job of another user may open /dev/stdout again
        except OSError:
            os.close(theirs)
            raise
    except OSError:
        os.close(ours)
        raise
    return ours, theirs


def open_again(paths: list[str], inode: int) -> int | None:
    """Return a reading end of a FIFO that an earlier shim made; None when none of the paths leads to it."""
    for path in paths:
        try:
            if os.stat(path).st_ino != inode:
                continue
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        entry = os.fstat(fd)
        if entry.st_ino == inode and stat.S_ISFIFO(entry.st_mode):
            return fd
        os.close(fd)
    return None


def _open_fifo(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)


class Stream:
    """Carry what one run writes to one of its outputs."""

    __slots__ = ("_big", "_carry", "_over", "_waiting", "fd", "loop", "path", "sink", "sinks", "tag")

    def __init__(self, loop: Loop, sinks: Sinks, sink: Sink, tag: str, path: str, fd: int) -> None:
        self.loop = loop
        self.sinks = sinks
        self.sink = sink
        self.tag = tag
        self.path = path
        self.fd = fd
        sinks.fifos[path] = self
        sinks.streams.add(self)
        self._carry = b""
        self._big = False
        self._waiting = False  # in the epoll set
        self._over = False  # the run has ended: nobody known is left

    @property
    def inode(self) -> int:
        """Return what tells the FIFO from another of its name."""
        return os.fstat(self.fd).st_ino

    def begin(self) -> None:
        """Wait for output."""
        if not self._waiting:
            self._waiting = True
            self.loop.watch_stream(self.fd, self._readable)

    def _rest(self) -> None:
        if self._waiting:
            self._waiting = False
            self.loop.forget_stream(self.fd)

    def _readable(self, _: int) -> None:
        if not self._carry_over(_BUDGET):
            self._hang_up()

    def _carry_over(self, limit: int) -> bool:
        """Move up to `limit` bytes; False at the end of the FIFO: no process has it open any more."""
        moved = 0
        try:
            while moved < limit:
                count = self._step(limit - moved)
                if count == 0:
                    return False
                if count < 0:
                    return True
                moved += count
                if count < _CHUNK and limit == _BUDGET:
                    return True  # likely empty; level-triggered epoll says if not
        except BlockingIOError:
            pass
        return True

    def _step(self, limit: int) -> int:
        """Move one chunk; return its size, 0 at the end, -1 when it has to wait for the disk."""
        sink = self.sink
        if sink.shared or self._carry or not sink.splices:
            return self._copy()
        if not sink.ready():
            return self._wait_for_disk() if sink.block else self._discard()
        room = sink.room()
        if room <= _BIG_PIPE and self._available() >= room:  # at no room at all splice would say 0, which means the end
            return self._copy()
        moved = sink.splice(self.fd, min(limit, room), self.tag)
        if moved < 0:
            return self._step(limit)  # no splice to that file, or it failed: another way is taken now
        if moved >= _PIPE and not self._big:
            self._enlarge()
        return moved

    def _available(self) -> int:
        answer = fcntl.ioctl(self.fd, termios.FIONREAD, b"\0\0\0\0")
        return int.from_bytes(answer, sys.byteorder)

    def _enlarge(self) -> None:
        self._big = True
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, _BIG_PIPE)
        except OSError as error:  # the user's share of pipe memory is used up: the small one works too
            self.sinks.say_small(error)

    def _discard(self) -> int:
        data = os.read(self.fd, _CHUNK)
        self.sink.lose(len(data))
        return len(data)

    def _wait_for_disk(self) -> int:
        self._rest()
        self.sink.blocked.append(self)
        return -1

    def resume(self) -> None:
        """Go on after the disk had no room."""
        if self.fd < 0:
            return
        if self._carry and not self._put(self._carry):
            return
        self.begin()
        if self._over:
            self.finish()

    def _read(self) -> bytes:
        return os.read(self.fd, _CHUNK)

    def _copy(self) -> int:
        data = self._read()
        if not data:
            return 0
        if len(data) == _CHUNK and not self._big:
            self._enlarge()
        whole = self._carry + data
        if not self.sink.shared:
            return len(data) if self._put(whole) else -1
        cut = whole.rfind(b"\n") + 1
        if len(whole) - cut >= _LONGEST_LINE:
            cut = len(whole)
        return len(data) if self._put(whole, cut) else -1

    def _put(self, data: bytes, cut: int | None = None) -> bool:
        """Write data[:cut], keep the rest; False when the disk must be waited for."""
        ready = data if cut is None else data[:cut]
        done = self.sink.put(ready, self.tag) if ready else 0
        self._carry = data[done:]
        if done < len(ready):
            self._wait_for_disk()
            return False
        return True

    def flush(self) -> None:
        """Write what is left of a last line; in a shared file it gets the newline it lacks."""
        if self._carry and self not in self.sink.blocked:
            end = b"\n" if self.sink.shared and not self._carry.endswith(b"\n") else b""
            self._put(self._carry + end)

    def drain(self) -> bool:
        """Move all that is in the FIFO now (not what comes later); False at its end."""
        if self in self.sink.blocked:
            return True
        open_still = True
        available = self._available()
        if available:
            open_still = self._carry_over(available)
        self.flush()
        return open_still

    def switch(self, sink: Sink, tag: str) -> None:
        """Send what comes from now on to another file."""
        self.flush()
        if self in self.sink.blocked:
            self.sink.blocked.remove(self)
            self.begin()
        self.sinks.detach(self.sink)
        self.sink, self.tag = sink, tag

    def finish(self) -> None:
        """Drain and close: the run is over. Somebody unknown who still holds the FIFO goes on being logged."""
        self._over = True
        self.drain()
        if self.fd < 0 or self in self.sink.blocked:
            return
        if self._at_end():
            self.close()
        else:
            self.begin()

    def _at_end(self) -> bool:
        try:
            at_end = self._copy() == 0
        except BlockingIOError:
            at_end = False
        self.flush()
        return at_end

    def _hang_up(self) -> None:
        self.flush()
        self._rest()  # HUP would wake us for ever
        if self._over:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        if self.fd < 0:
            return
        self._rest()
        os.close(self.fd)
        self.fd = -1
        self.sinks.streams.discard(self)
        self.sinks.detach(self.sink)
        if self.sinks.fifos.get(self.path) is self:  # a newer run may have made its own there
            del self.sinks.fifos[self.path]
