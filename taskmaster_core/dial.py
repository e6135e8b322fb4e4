"""Keep one connection to a core's command socket, for ever.

It decides when the next attempt is made (0.2 s after the first failure, doubling to 5 s, at once when a socket file
comes or changes) and when a connection counts as made or lost; what is said over it is for the async client, which is
the only one to call it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from sys import byteorder
from typing import Protocol

import zmq

from taskmaster_core import reach
from taskmaster_core.drain import Drain
from taskmaster_core.paths import endpoint

FIRST = 0.2
LONGEST = 5.0
"""Seconds from a failed attempt to the next: the first time, and at most."""

PEEK = 0.5
"""Seconds between two looks for a new socket file while nobody answers: it need not wait for the next attempt."""

HANDSHAKE = 2.0
"""Seconds a peer has to say who it is; a core that is stopped accepts, but says nothing."""

_NEVER = 86_400_000
"""Milliseconds. The attempts are made here, where they are counted and shown; but libzmq's own "never" (-1) throws away
what was received and not yet read when a peer goes, such as the answer to `shutdown`."""

_OVER = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Listener(Protocol):
    """Who is told of the connection."""

    def dial_up(self, commands: str) -> None:
        """Take note that a core can be asked at this socket."""

    def dial_down(self, *, was_up: bool) -> None:
        """Take note that an attempt failed, or (`was_up`) that the connection was lost."""

    def dial_heard(self, frames: list[bytes]) -> None:
        """Take a message."""


class Dial:
    """Hold the socket of the moment and the time of the next attempt."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], candidates: Sequence[str], told: Listener) -> None:
        self.attempt = 0
        """Attempts since there was a connection; 0 while there is one."""
        self.commands: str | None = None
        """The socket that is connected, or that an attempt waits for."""
        self.up = False
        self._context = context
        self._candidates = candidates
        self._told = told
        self._dealer: Drain | None = None
        self._monitor: Drain | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_at: float | None = None
        self._delay = FIRST
        self._seen: object = None
        self._open = False

    @property
    def next_in(self) -> float | None:
        """Return the seconds until the next attempt; None while connected or while one is under way."""
        return None if self._next_at is None else max(0.0, self._next_at - asyncio.get_running_loop().time())

    def open(self) -> None:
        """Make the first attempt now."""
        self._open = True
        self._try()

    def close(self) -> None:
        """Drop the connection and make no more attempts."""
        self._open = False
        self._drop()

    def retry_now(self) -> None:
        """Make the next attempt now instead of later; nothing while one is under way."""
        if self._open and self._next_at is not None:
            self._delay = FIRST
            self._try()

    def redial(self) -> None:
        """Drop the connection and make another."""
        if self._open and self.up:
            self._lost()

    def send(self, frame: bytes) -> None:
        """Send if there is a connection; whoever waits for an answer repeats it otherwise."""
        if self._dealer is not None and self.up:
            self._dealer.send([b"", frame])

    def look_again(self) -> None:
        """Read what the descriptor may not have told."""
        if self._dealer is not None:
            self._dealer.look_again()

    # Attempts --------------------------------------------------------------------------------------------------------

    def _try(self) -> None:
        self._stop_timer()
        self.attempt += 1
        self._seen = reach.mark(self._candidates)
        found = next((path for path in self._candidates if reach.look(path).error == 0), None)
        if found is None:
            self._fail()
        else:
            self._dial(found)

    def _dial(self, path: str) -> None:
        self.commands = path
        dealer = self._context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.reconnect_ivl = _NEVER
        monitor = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | _OVER)
        self._monitor = Drain(monitor, self._news)
        self._dealer = Drain(dealer, self._told.dial_heard)
        dealer.connect(endpoint(path))
        self._dealer.look_again()
        self._arm(HANDSHAKE, self._fail)

    def _news(self, frames: list[bytes]) -> None:
        event = int.from_bytes(frames[0][:2], byteorder)
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._stop_timer()
            self.up, self.attempt, self._delay = True, 0, FIRST
            self._told.dial_up(self.commands or "")
        elif self.up:
            self._lost()
        else:
            self._fail()

    def _lost(self) -> None:
        if self._dealer is not None:
            self._dealer.empty()  # what a core says last (the answer to `shutdown`) came before its end
        self._fail()

    def _fail(self) -> None:
        was_up = self.up
        self._drop()
        if not self._open:
            return  # closed by whoever took the last message
        self._next_at = asyncio.get_running_loop().time() + self._delay
        self._arm(min(self._delay, PEEK), self._peek)
        self._delay = min(self._delay * 2, LONGEST)
        self._told.dial_down(was_up=was_up)

    def _peek(self) -> None:
        left = self.next_in or 0.0
        if left <= 0.001:
            self._try()
        elif reach.mark(self._candidates) != self._seen:
            self._delay = FIRST  # bound, but perhaps not listening yet: the next attempt must not be far
            self._try()
        else:
            self._arm(min(left, PEEK), self._peek)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        self._stop_timer()
        self.up = False
        if self._dealer is not None and self._monitor is not None:
            self._dealer.socket.disable_monitor()
            self._monitor.close()
            self._dealer.close()
        self._dealer = self._monitor = None

    def _arm(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _stop_timer(self) -> None:
        self._next_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
