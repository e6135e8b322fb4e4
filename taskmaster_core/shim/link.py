"""The wire to the core, and the ledger of reports that no core may miss.

Decides what is sent when and what is kept; what the orders mean is for `orders`. A report with a number stays here
until a core has acknowledged it, whichever core that is.
"""

from __future__ import annotations

import errno
import select
import socket

import frames
import rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from loop import Loop

    Report = dict[str, Any]

_READ = 1 << 16  # more would be mapped and unmapped for each of the short frames of every day
_BATCH = 500  # reports in one frame
_LOOSE = 10_000  # reports without a number that may wait
_CROWD = 64  # reports that wait for the end of the turn
_AGAIN = 0.02  # seconds until the kernel is asked again for what it had no memory for
_FOR_NOW = (errno.ENOMEM, errno.ENOBUFS)  # says nothing about the core
_PENDING = 1 << 18  # bytes waiting in our buffer before more is encoded: a core that does not read costs no memory


class Ledger:
    """Number the reports and keep them until they are acknowledged."""

    def __init__(self) -> None:
        self.next = 1
        self._first = 1
        self._kept: dict[int, Report] = {}

    def add(self, report: Report) -> None:
        """Give the report its number and keep it."""
        report["n"] = self.next
        self._kept[self.next] = report
        self.next += 1

    def acknowledge(self, n: int) -> None:
        """Forget the reports up to this number."""
        while self._first <= n and self._first < self.next:
            self._kept.pop(self._first, None)
            self._first += 1

    def after(self, n: int) -> list[Report]:
        """Return the next reports that follow number n."""
        first = max(n + 1, self._first)
        return [self._kept[number] for number in range(first, min(self.next, first + _BATCH))]


class Link:
    """Exchange frames with one core."""

    def __init__(self, loop: Loop, sock: socket.socket, ledger: Ledger, lost: Callable[[str], None]) -> None:
        self.loop = loop
        self.ledger = ledger
        self.on_order: Callable[[Report], None] = lambda _: None
        self.live = False  # the ledger is told only after `hello`
        self._lost = lost
        self._sock = sock
        self._decoder = frames.Decoder()
        self._groups: rights.Groups = []
        self._handed: list[tuple[Report, Callable[[], tuple[int, ...]]]] = []
        self._loose: list[Report] = []
        self._told = 0
        self._out = bytearray()
        self._writing = False
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready, rank=0)

    def say(self, report: Report) -> None:
        """Send what needs no acknowledgement; to a core that reads nothing for long not all of it."""
        if len(self._loose) < _LOOSE:
            self._loose.append(report)

    def hand(self, report: Report, source: Callable[[], tuple[int, ...]]) -> None:
        """Send a report with the descriptors that `source` returns by then; without any it is not sent."""
        self._handed.append((report, source))

    @property
    def crowded(self) -> bool:
        """Tell whether the core is behind with reading."""
        return len(self._out) >= _PENDING >> 1 or len(self._loose) > _CROWD

    def begin(self, hello: Report) -> None:
        """Greet the core; all that is not acknowledged follows."""
        self._loose.append(hello)
        self._told = 0
        self.live = True

    def again(self, reports: list[Report]) -> None:
        """Repeat reports that were told before."""
        self._loose += [report for report in reports if report["n"] <= self._told]

    def flush(self) -> None:
        """Send what has gathered; called once a turn."""
        if self._handed:
            self._hand_over()
        while len(self._out) < _PENDING:
            objects, self._loose = self._loose, []
            if self.live:
                fresh = self.ledger.after(self._told)
                if fresh:
                    self._told = fresh[-1]["n"]
                    objects = objects + fresh
            if not objects:
                break
            self._out += frames.encode(objects)
        if self._out:
            self._send()
        elif self._writing:
            self._wait(writing=bool(self._handed))

    def _hand_over(self) -> None:
        """Send frames with descriptors, each in a call of its own, and never in the midst of another frame."""
        if self._out:
            self._send()
        while self._handed and not self._out:
            report, source = self._handed[0]
            fds = source()
            try:
                frame = frames.encode([report])
                self._out += frame[rights.send(self._sock, frame, fds) :] if fds else b""
            except BlockingIOError:
                self._wait(writing=True)
                return
            except OSError:
                pass  # the core is gone, which reading tells; or the kernel holds too many: this one is not safe
            del self._handed[0]

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno in _FOR_NOW:
                self.loop.after(_AGAIN, lambda: None)  # the turn that it makes tries again
            else:
                self._out.clear()  # the core is gone; reading tells it
            return
        del self._out[:sent]
        self._wait(writing=bool(self._out or self._handed))

    def _wait(self, *, writing: bool) -> None:
        if writing != self._writing:
            self._writing = writing
            self.loop.change(self._sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if writing else 0))

    def _ready(self, mask: int) -> None:
        if mask & ~select.EPOLLOUT:
            self.receive()

    def receive(self) -> bool:
        """Carry out what has arrived; False when nothing more will come."""
        try:
            data = rights.receive(self._sock, _READ, self._groups)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno in _FOR_NOW:
                return True  # the bytes are still there, and epoll says so
            self._lost(f"the wire broke: {error.strerror}")
            return False
        if not data:
            self._lost("")
            return False
        try:
            batches = self._decoder.feed(data)
        except frames.BadFrame as error:
            self._lost(f"the core sent no frame: {error}")
            return False
        for batch in batches:
            for order in batch:
                if order.get("t") == "fds":
                    order["fds"] = rights.claim(self._groups, order.get("what"))
                self.on_order(order)
        return True

    def drain(self) -> None:
        """Carry out all that a core which is gone had sent in whole."""
        for _ in range(1 << 12):
            try:
                data = self._sock.recv(1, socket.MSG_PEEK)
            except OSError as error:
                if error.errno in _FOR_NOW:
                    continue
                return
            if not data or not self.receive():
                return

    def close(self) -> None:
        """Close our end: a core that still lives is fenced by it."""
        self.loop.forget(self._sock.fileno())
        self._sock.close()
        for group in self._groups:
            rights.close(group)
