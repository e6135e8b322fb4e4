"""The terminals of jobs: a pty whose output is logged like any other, and shown to those who are attached.

Decides what of a terminal is kept (the last screen) and how fast it is told; who may look and type is for the core.
A run with `tty` has one instead of FIFOs; what is typed goes in through its inlet.
"""

from __future__ import annotations

import binascii
import errno
import fcntl
import os
import signal
import struct
import termios
import time

from inlets import Inlet
from sinks import Sink
from streams import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from house import House
    from loop import Timer
    from sinks import Sinks

KEPT = 1 << 16
"""Bytes of the newest output that a terminal remembers."""
_SLACK = 1 << 14  # so much more is kept before the oldest is cut off: cutting moves all the rest
_CHUNK = 1 << 16
_DRAIN = 1 << 18  # bytes at the end of a run; the kernel holds less
_PACE = 0.004  # seconds between two words of output: the first comes at once
_FLOOD, _FLOOD_PACE = 1 << 14, 0.02  # of more than can be read only the newest is told, and less often
_LATER = 0.02  # seconds until a core that reads slowly is tried again
_NUDGE = 0.03  # seconds a wrong height lasts: a program that redraws only for another size must see it
COLUMNS, ROWS = 80, 24


class Nowhere(Sink):
    """Take output that nobody wants kept."""

    def put(self, data: bytes, tag: str) -> int:
        """Be done with everything."""
        return len(data)


def nowhere(sinks: Sinks) -> Sink:
    """Return a sink for one stream that keeps nothing."""
    sink = Nowhere("/dev/null", sinks)
    sink.users = 1
    return sink


class Terminal(Stream):
    """Carry what is painted on one pty, keep the end of it, and tell it while somebody is attached."""

    __slots__ = (
        "_attended",
        "_from",
        "_nudge",
        "_size",
        "_slave",
        "_tail",
        "_timer",
        "_told",
        "_told_at",
        "inlet",
        "total",
    )

    def __init__(self, house: House, sink: Sink, name: tuple[str, int], tag: str, pair: tuple[int, int]) -> None:
        super().__init__(house.loop, house.sinks, sink, tag, f"pty {name[0]} {name[1]}", pair[0])
        self._from = name
        self._slave = pair[1]  # held: a program that closes its terminal may open /dev/tty again later
        self._tail = bytearray()
        self._told = 0  # bytes since the start of the run
        self._told_at = 0.0
        self._attended = False
        self._timer: Timer | None = None
        self._nudge: Timer | None = None
        self._size = (COLUMNS, ROWS)
        self.total = 0
        self.inlet = Inlet(house.loop, self.fd, terminal=True)

    @property
    def pair(self) -> tuple[int, int]:
        """Return the two ends of the pty; nothing to give away once it is closed."""
        return self.fd, self._slave

    # -- output -------------------------------------------------------------------------------------------------

    def _step(self, limit: int) -> int:
        return self._copy()

    def _read(self) -> bytes:
        try:
            data = os.read(self.fd, _CHUNK)
        except OSError as error:
            if error.errno == errno.EIO:  # hung up: the leader of the session has ended
                return b""
            raise
        self.total += len(data)
        self._tail += data
        if len(self._tail) > KEPT + _SLACK:
            del self._tail[:-KEPT]
        if self._attended and self._timer is None:
            flood = self.total - self._told > _FLOOD
            wait = self._told_at + (_FLOOD_PACE if flood else _PACE) - time.monotonic()
            if wait <= 0:
                self._tell()
            else:
                self._timer = self.loop.after(wait, self._tell_late)
        return data

    def _enlarge(self) -> None:
        self._big = True

    def drain(self) -> bool:
        """Move all that is in the pty now."""
        return self in self.sink.blocked or self._drained()

    def _drained(self) -> bool:
        goes_on = self._carry_over(_DRAIN)
        self.flush()
        return goes_on

    def finish(self) -> None:
        """Drain and close: the run is over, and whoever still held the terminal is hung up on."""
        self._over = True
        self.drain()
        if self.fd >= 0 and self not in self.sink.blocked:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        if self.fd < 0:
            return
        if self._attended:
            self._tell()
        for timer in (self._timer, self._nudge):
            if timer is not None:
                timer.cancel()
        self._attended = False
        self.inlet.close()
        os.close(self._slave)
        super().close()

    # -- who is attached ----------------------------------------------------------------------------------------

    def attend(self, on: bool) -> None:
        """Begin or end telling what is painted."""
        if on and not self._attended:
            self._told = self.total
        self._attended = on

    def _tell_late(self) -> None:
        self._timer = None
        if self._attended:
            self._tell()

    def _tell(self) -> None:
        """Tell what is new, as far as it is kept: the offset says what is left out."""
        start, data = self.since(self._told)
        if not data:
            return
        key, run = self._from
        report = {"t": "output", "key": key, "run": run, "offset": start, "data": as_text(data)}
        if self.sinks.live(report):
            self._told, self._told_at = self.total, time.monotonic()
        elif self._timer is None:
            self._timer = self.loop.after(_LATER, self._tell_late)

    def since(self, offset: int) -> tuple[int, bytes]:
        """Return what was painted from this offset on, or all that is kept; and where that begins."""
        first = self.total - len(self._tail)
        start = offset if first <= offset <= self.total else max(first, self.total - KEPT)
        return start, bytes(self._tail[start - first :])

    def go_on(self, picture: bytes) -> None:
        """Take over where an earlier shim was killed: what it remembered is gone, but for what the log says.

        Offsets go on higher than any before: nothing paints 256 MB a second.
        """
        self._tail += picture
        self.total = self._told = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6) << 8
        self._size = size_of(self.fd) or self._size

    # -- its size -----------------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """Return columns and rows."""
        return self._size

    def resize(self, columns: int, rows: int, *, redraw: bool) -> None:
        """Give it another size, of which the kernel tells the job; with `redraw` in any case."""
        same = (columns, rows) == self._size
        self._size = (columns, rows)
        if redraw and same and rows > 1:
            self._set(columns, rows - 1)
            if self._nudge is None:
                self._nudge = self.loop.after(_NUDGE, self._settle)
        else:
            self._set(columns, rows)

    def redraw(self) -> None:
        """Ask whatever is in the foreground to paint itself again."""
        try:
            os.killpg(os.tcgetpgrp(self.fd), signal.SIGWINCH)
        except OSError:
            pass  # nobody is in the foreground

    def _settle(self) -> None:
        self._nudge = None
        self._set(*self._size)

    def _set(self, columns: int, rows: int) -> None:
        set_size(self.fd, columns, rows)


def set_size(fd: int, columns: int, rows: int) -> None:
    """Tell the kernel how large a terminal is."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def size_of(fd: int) -> tuple[int, int] | None:
    """Return columns and rows as the kernel has them, None if nobody has told it."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    return (columns, rows) if columns and rows else None


def as_text(data: bytes) -> str:
    """Return bytes as they travel on the wire."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def make_pair(uid: int | None) -> tuple[int, int]:
    """Return the two ends of a new pty, ours not blocking; the job's belongs to the job's user."""
    ours, theirs = os.openpty()
    try:
        os.set_blocking(ours, False)
        set_size(ours, COLUMNS, ROWS)
        if uid is not None and uid != os.geteuid():
            os.fchown(theirs, uid, -1)
    except OSError:
        os.close(ours)
        os.close(theirs)
        raise
    return ours, theirs


def lay(house: House, order: dict[str, Any], sink: Sink | None) -> tuple[Terminal, int]:
    """Make a terminal for a run and return it with the end that the job gets (the terminal closes it)."""
    kept = sink or nowhere(house.sinks)
    try:
        pair = house.sinks.with_spare(lambda: make_pair(order.get("uid")))
    except OSError:
        house.sinks.detach(kept)
        raise
    tag = (order.get("out") or {}).get("tag") or order["key"]
    return Terminal(house, kept, (order["key"], order["run"]), tag, pair), pair[1]
