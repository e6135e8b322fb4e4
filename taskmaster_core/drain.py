"""Bring a ZeroMQ socket's messages into an asyncio loop without ever starving it.

It decides how long one turn may read (4 ms) and when it reads on; what a message means is for whoever made the drain.
The async client calls it for each of its sockets: `zmq.asyncio` does not yield while messages wait, which froze a loop
for 7.4 s when 20,000 messages a second came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import zmq

BUDGET = 0.004
"""Seconds one turn reads at most: a key press waits no longer than that."""

PAUSE = 0.001
"""Seconds the loop has for others between two turns of a flood. `call_soon` would not let the selector look at keys."""


class Drain:
    """Read one socket whenever it has something, and hand each message over as its frames."""

    def __init__(self, socket: zmq.Socket[bytes], take: Callable[[list[bytes]], object]) -> None:
        self.socket = socket
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._fd = int(socket.getsockopt(zmq.FD))
        self._later: asyncio.Handle | None = None
        self._held = False
        self._loop.add_reader(self._fd, self._ready)
        self.look_again()

    def close(self) -> None:
        """Stop reading and close the socket."""
        if not self.socket.closed:
            self._loop.remove_reader(self._fd)
            self._cancel()
            self.socket.close(linger=0)

    def send(self, frames: list[bytes]) -> bool:
        """Send without waiting; return False when the queue is full."""
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            return False
        finally:
            self.look_again()  # sending may have eaten the descriptor's word that something came
        return True

    def look_again(self) -> None:
        """Read in the next turn if something is there: the descriptor tells of changes only, and each call eats one."""
        if self._later is None and not self._held and self._waits():
            self._later = self._loop.call_soon(self._read)

    def hold(self) -> None:
        """Read no further: the socket's own queue fills up, then the sender drops, and the follower sees the gap."""
        self._held = True
        self._cancel()

    def release(self) -> None:
        """Read on after `hold`."""
        if self._held:
            self._held = False
            self.look_again()

    def empty(self) -> None:
        """Read all that is there, however much; for a connection that is over."""
        with suppress(zmq.Again):
            while not self.socket.closed:
                self._take(self.socket.recv_multipart(zmq.DONTWAIT))

    def _waits(self) -> bool:
        return bool(int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def _cancel(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _ready(self) -> None:
        # Asking for the events quiets the descriptor; while a flood is read in turns, it must not call in between.
        if self._waits() and self._later is None and not self._held:
            self._read()

    def _read(self) -> None:
        self._later = None
        until = monotonic() + BUDGET
        try:
            while not self._held and not self.socket.closed and monotonic() < until:
                self._take(self.socket.recv_multipart(zmq.DONTWAIT))
        except zmq.Again:
            return
        finally:  # also after an error of whoever takes: what waits behind it must not wait for the next message
            if not self._held and not self.socket.closed and self._later is None and self._waits():
                self._later = self._loop.call_later(PAUSE, self._read)
