"""Output files: appending, rotation by size, what happens when the disk is full or somebody moves the file.

Decides where a byte of output goes, and when it cannot go anywhere whether it is dropped or waits. The streams hand
in what the jobs wrote; nobody else writes to these files.
"""

from __future__ import annotations

import errno
import os
import time

import files
import parts
from losses import Losses
from times import Times
from troubles import Troubles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from loop import Loop
    from streams import Stream

    Opened = TypeVar("Opened")

_LOOK_EVERY = 1.0  # seconds between two looks whether the path still names our file, while writing
_ROTATE_AGAIN = 60.0  # seconds until a rotation that failed is tried again
_SMALLEST = 1024  # bytes; a smaller maxsize would make a file of every few bytes and stop the loop
_TELL_EVERY = 0.05  # seconds between two words that a watched file grew
_UNLIMITED = 1 << 62
_LINGER = 60.0  # seconds after its last stream for which a file that lost something is still to be told of it


class Sink:
    """Append to one file for one or more streams."""

    def __init__(self, path: str, sinks: Sinks) -> None:
        self.path = path
        self.real = path
        self.sinks = sinks
        self.users = 0
        self.shared = False
        self.splices = True
        self.blocked: list[Stream] = []
        self._losses = Losses(path, sinks.loop, sinks.tell)
        self.block = False
        self._fd = -1
        self._pos = 0
        self._inode = 0
        self._looked = 0.0
        self._maxsize: int | None = None
        self._keep = 0
        self._uid: int | None = None
        self._gid: int | None = None
        self._times = Times(path, sinks.troubles)
        self.left_at: float | None = None  # since when it has no streams, though its losses are not over
        self._parts: parts.Parts | None = None
        self._rotate_after = 0.0

    def configure(self, spec: dict[str, Any]) -> None:
        """Take over what an order says about the file; the last word holds."""
        maxsize = spec.get("maxsize")
        self._maxsize = max(maxsize, _SMALLEST) if maxsize else None
        self._keep = spec.get("keep") or 0
        self.block = spec.get("full") == "block"
        self._uid, self._gid = spec.get("uid"), spec.get("gid")
        index = spec.get("index")
        if index != self._times.path:
            self.close()
            self._times.keep_in(index)

    # -- opening ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the file at its end; raise OSError when that is not possible or not allowed."""
        managed = self.sinks.owns(self.path)
        if managed:
            files.make_parents(self.path)
        self.real = files.resolve(self.path)
        fd = self.sinks.with_spare(lambda: files.open_output(self.real, uid=self._uid, gid=self._gid))
        self.close()
        self._fd = fd
        entry = os.fstat(fd)
        self._inode = entry.st_ino
        self._pos = os.lseek(fd, 0, os.SEEK_END)
        self._looked = time.monotonic()
        self._times.opened()
        self.sinks.opened(self)

    def close(self) -> None:
        """Give the descriptors back; the next write opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.sinks.closed(self)
        self._times.close()

    def reopen(self) -> None:
        """Close and open the file: somebody moved it away."""
        self.close()
        try:
            self.open()
        except OSError as error:
            self._fail(error)

    def _sync(self, now: float) -> None:
        """See to it that we stand at the end of the file that the path names (deleted, truncated, moved)."""
        if self._fd < 0:
            self.open()
            return
        self.sinks.used(self)
        entry = os.fstat(self._fd)
        if entry.st_nlink == 0:
            self.open()
            return
        if entry.st_size != self._pos:
            if entry.st_size == 0:
                self._times.reset()
            self._pos = os.lseek(self._fd, 0, os.SEEK_END)
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._follow_path()

    def _follow_path(self) -> None:
        if files.inode_of(self.real) != self._inode:
            try:
                self.open()
            except OSError:
                pass  # the file we have still has a name somewhere: better there than nowhere

    # -- writing ------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Tell whether a write may be tried now; ends a spell of losses when it can."""
        if self._losses.waiting:
            return False
        try:
            self._sync(time.monotonic())
            if self._losses.on:
                self._heal()
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: OSError) -> None:
        if self.users == 0 and self.left_at is not None and time.monotonic() - self.left_at > _LINGER:
            self.sinks.drop(self)
            return
        self._losses.begin(error, self.ready, drops=not self.block)

    @property
    def lost_by(self) -> str:
        """Return the name of the errno by which output is being lost, as far as that was told."""
        return self._losses.told

    def lose(self, count: int) -> None:
        """Count bytes that could not be kept."""
        self._losses.count(count)

    def _heal(self) -> None:
        """Say in the file how much is missing; raises OSError when even that cannot be written."""
        line = self._losses.marker()
        if line:
            line = line if files.at_line_start(self._fd, self._pos) else b"\n" + line
            written = os.write(self._fd, line)
            self._account(written, "taskmaster")
            if written < len(line):
                raise OSError(errno.ENOSPC, "")
        self._losses.end()
        if self.users == 0:
            self.sinks.drop(self)
        waiting, self.blocked = self.blocked, []
        for stream in waiting:
            self.sinks.loop.after(0, stream.resume)

    def room(self) -> int:
        """Return how many bytes fit before the next rotation."""
        if self._maxsize is None or time.monotonic() < self._rotate_after:
            return _UNLIMITED
        return max(0, self._maxsize - self._pos)

    def splice(self, fifo: int, count: int, tag: str) -> int:
        """Move bytes from a FIFO without touching them; 0 is its end. BlockingIOError: nothing there.

        Returns -1 when writing failed: the bytes are still in the FIFO.
        """
        try:
            moved = os.splice(fifo, self._fd, count)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                self.splices = False
            else:
                self._fail(error)
            return -1
        if moved:
            self._account(moved, tag)
        return moved

    def put(self, data: bytes, tag: str) -> int:
        """Append bytes, rotating on the way; return how many are done with (written, or lost and counted)."""
        done = 0
        while done < len(data):
            if not self.ready():
                if self.block:
                    return done
                self.lose(len(data) - done)
                return len(data)
            size = self._cut(data, done)
            if size == 0:
                self._rotate()
                continue
            try:
                written = os.write(self._fd, data[done : done + size])
            except OSError as error:
                self._fail(error)
                continue
            self._account(written, tag)
            done += written
        return done

    def _cut(self, data: bytes, start: int) -> int:
        """Return how many bytes go into the present file: up to the last newline that fits, 0 to rotate first."""
        left = len(data) - start
        room = self.room()
        if left <= room:
            return left
        lines = data.rfind(b"\n", start, start + room) + 1 - start
        if lines > 0:
            return lines
        if room == 0 or (self._pos > 0 and files.at_line_start(self._fd, self._pos)):
            return 0
        return room  # a line longer than the file may be: it is split

    def _account(self, count: int, tag: str) -> None:
        offset = self._pos
        self._pos += count
        self._times.note(offset, count, tag)
        if self.path in self.sinks.watched:
            self.sinks.grew(self.path, self._pos)

    # -- rotation -----------------------------------------------------------------------------------------------

    def _rotate(self) -> None:
        if files.inode_of(self.real) != self._inode:
            self.reopen()
            return
        if self._parts is None:
            self._parts = parts.Parts(self.real)
        suffix = self._parts.next_suffix()
        part = f"{self.real}.{suffix}"
        try:
            files.as_user(self._uid, self._gid, lambda: os.rename(self.real, part))
        except OSError as error:
            self._rotate_after = time.monotonic() + _ROTATE_AGAIN
            why = f"{self.path} cannot be rotated: {error.strerror}; it grows on"
            self.sinks.troubles.note("rotation", self.path, why)
            return
        self.sinks.troubles.note("rotation", self.path, "")
        self._parts.add(suffix)
        self._times.rotate(suffix)
        self.close()
        self.sinks.tell({"t": "rotated", "path": self.path, "part": part})
        self._prune(self._parts)

    def _prune(self, old: parts.Parts) -> None:
        files.as_user(self._uid, self._gid, lambda: old.prune(self._keep, self._times.path))

    def retire(self) -> bool:
        """Close for good: nobody writes here any more. False while it waits to say in the file what is missing."""
        if self._losses.on and self.left_at is None:
            self.left_at = time.monotonic()
            return False
        self._losses.give_up()
        self._times.end()
        self.sinks.troubles.note("rotation", self.path, "")
        self.close()
        return True


class Sinks:
    """Hold every output file in use; keep only so many of them open at a time."""

    def __init__(self, loop: Loop, tell: Callable[[dict[str, Any]], None], complain: Callable[[str], None]) -> None:
        self.loop = loop
        self.tell = tell
        self.complain = complain
        self.troubles = Troubles(tell)
        self.limit = 256
        self.owns: Callable[[str], bool] = lambda _: False
        self.hint: Callable[[dict[str, Any]], None] = tell
        self.live: Callable[[dict[str, Any]], bool] = lambda _: False
        self.watched: dict[str, float] = {}
        self.fifos: dict[str, Stream] = {}
        self._said_small = False
        self.streams: set[Stream] = set()
        self._due: dict[str, int] = {}
        self._sinks: dict[str, Sink] = {}
        self._open: dict[Sink, None] = {}  # least recently used first

    def attach(self, spec: dict[str, Any], *, later: bool = False) -> Sink:
        """Return the sink of a path for one more stream; raise OSError when it is not ours and cannot be written.

        `later`: what cannot be written now is lost or waits, as with a full disk; the stream is there already.

        A managed file is opened by its first byte: most processes of a thousand say nothing for long, and making
        files is the dearest part of a start.
        """
        path = spec["path"]
        sink = self._sinks.get(path) or Sink(path, self)
        sink.configure(spec)
        if sink.users == 0:
            if not later and not self.owns(path):
                sink.open()
            sink.left_at = None
            self._sinks[path] = sink
        sink.users += 1
        sink.shared = sink.shared or sink.users > 1
        return sink

    def say_small(self, error: OSError) -> None:
        """Say once that pipes stay small: it costs speed, nothing else."""
        if not self._said_small:
            self._said_small = True
            why = f"pipes stay small: {error.strerror}"
            self.complain(f"{why}; all is kept, only slower (sysctl fs.pipe-user-pages-soft)")

    def listed(self) -> list[dict[str, Any]]:
        """Return the troubles that were told and are not over, for the next core."""
        lost = ((path, sink.lost_by) for path, sink in self._sinks.items() if sink.lost_by)
        texts = [{"part": "log", "name": path, "text": f"output to {path} is being lost: {why}"} for path, why in lost]
        return texts + self.troubles.listed()

    def detach(self, sink: Sink) -> None:
        """Take one stream away; the last one closes the file."""
        sink.users -= 1
        if sink.users == 0:
            self.drop(sink)

    def drop(self, sink: Sink) -> None:
        """Forget a file that nobody writes to, unless it must be told first what was lost there."""
        if sink.retire():
            self._sinks.pop(sink.path, None)

    def open_direct(self, spec: dict[str, Any]) -> int:
        """Return a descriptor for appending that the job itself gets."""
        if self.owns(spec["path"]):
            files.make_parents(spec["path"])
        return files.open_output(files.resolve(spec["path"]), uid=spec.get("uid"), gid=spec.get("gid"), append=True)

    def reopen(self) -> None:
        """Close and open every file in use."""
        for sink in list(self._open):
            sink.reopen()

    def opened(self, sink: Sink) -> None:
        """Note an open file; close the least recently used one beyond the limit."""
        self._open[sink] = None
        if len(self._open) > self.limit:
            next(iter(self._open)).close()

    def closed(self, sink: Sink) -> None:
        """Note that a file was closed."""
        self._open.pop(sink, None)

    def used(self, sink: Sink) -> None:
        """Note a use."""
        if len(self._open) > 1:
            self._open.pop(sink, None)
            self._open[sink] = None

    def with_spare(self, opening: Callable[[], Opened]) -> Opened:
        """Open something; when there are no descriptors left, close the file used longest ago and try again."""
        try:
            return opening()
        except OSError as error:
            if error.errno != errno.EMFILE or not self._open:
                raise
        next(iter(self._open)).close()
        return opening()

    def watch(self, path: str, on: bool) -> None:
        """Begin or end telling that a file grows."""
        if on:
            self.watched.setdefault(path, 0.0)
        else:
            self.watched.pop(path, None)

    def grew(self, path: str, size: int) -> None:
        """Tell that a watched file grew, at most every 50 ms."""
        now = time.monotonic()
        wait = self.watched[path] + _TELL_EVERY - now
        if path in self._due:
            self._due[path] = size
        elif wait <= 0:
            self.watched[path] = now
            self.hint({"t": "grew", "path": path, "size": size})
        else:
            self._due[path] = size
            self.loop.after(wait, lambda: self._grew_late(path))

    def _grew_late(self, path: str) -> None:
        size = self._due.pop(path)
        if path in self.watched:
            self.watched[path] = 0.0
            self.grew(path, size)
