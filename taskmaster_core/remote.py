"""Let clients of other machines in: tcp, CURVE, and a list of keys; who is not on it does not get a word in.

It decides whether a key may connect (the ZAP protocol of libzmq) and what role its messages have, from one file that it
looks at again whenever it changes. It fails closed: without an answer of this handler libzmq refuses everybody. The
daemon makes it when the config says `listen`; the server asks it like its own ports.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep

import zmq
from zmq.utils import z85

from taskmaster_core import keys, wire
from taskmaster_core.access import Role, of_prefix
from taskmaster_core.errors import Refused
from taskmaster_core.paths import events_beside
from taskmaster_core.server import MAX_SUBSCRIPTION, MAX_SUBSCRIPTIONS, Peer

DOMAIN = b"taskmaster"
TURN = 100
LOOK_EVERY = 0.5
"""Seconds between two looks whether the list of keys has changed."""

REOPEN = 0.3
"""Seconds the core may spend on opening again what it has shut; it happens when an admin takes a key away."""

Socket = zmq.Socket[bytes]
Receive = Callable[[Peer, list[bytes]], None]


class Door:
    """Hold the sockets and the list of keys."""

    def __init__(self, address: str, statedir: str, receive: Receive, tell: Callable[[str], None]) -> None:
        self.address = address
        self.topics: set[str] = set()
        self._tell = tell
        self._receive = receive
        self._pair = keys.pair_at(keys.of_core(statedir))
        self._list = keys.of_authorized(statedir)
        self._mark: object = None
        self._looked = 0.0
        self._known: dict[str, keys.Authorized] = {}
        self._context = zmq.Context(1)
        self._epoll = select.epoll()
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind("inproc://zeromq.zap.01")  # before anybody can ask it
        self._watch(self._zap)
        self._look()
        try:
            self._open()
        except Refused:
            self.close()
            raise

    @property
    def public(self) -> str:
        """Return the key by which clients know this core."""
        return self._pair.public

    @property
    def fds(self) -> list[int]:
        """Return the descriptor to poll."""
        return [self._epoll.fileno()]

    def _watch(self, socket: Socket) -> None:
        self._epoll.register(int(socket.getsockopt(zmq.FD)), select.EPOLLIN)

    def _open(self) -> None:
        self.topics = set()
        self._router = self._listen(zmq.ROUTER, self.address)
        try:
            self._xpub = self._listen(zmq.XPUB, events_beside(self.address))
        except Refused:
            self._router.close(0)
            raise

    def _listen(self, kind: int, address: str) -> Socket:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # else a dead handler would let every key in
        socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 2_000)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6_000)
        socket.setsockopt(zmq.LINGER, 200)
        socket.setsockopt(zmq.SNDHWM, 1_000)
        socket.setsockopt(zmq.RCVHWM, 100)
        socket.setsockopt(zmq.IPV6, int("[" in address))
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close(0)
            raise Refused(f"cannot listen at {address}: {error.strerror}") from error
        self._watch(socket)
        return socket

    def close(self) -> None:
        """Shut the door."""
        self._epoll.close()
        self._context.destroy(linger=200 if self._known else 0)

    # The list ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Take the list as it is now; when somebody is off it, everybody has to come in again."""
        mark = _mark(self._list)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            known, trouble = keys.read_authorized(self._list), ""
        except Refused as error:
            known, trouble = {}, f"no key is let in: {error.message}"
        self._tell(trouble)
        less = [key for key, each in self._known.items() if key not in known or known[key].role < each.role]
        self._known = known
        if less:  # a connection outlives the list it was let in by
            for socket in (self._router, self._xpub):
                socket.close(0)
            self._reopen()

    def _reopen(self) -> None:
        """Open again at once: libzmq closes in a thread of its own, which takes some milliseconds."""
        until = monotonic() + REOPEN
        while monotonic() < until:
            try:
                self._open()
            except Refused:
                sleep(0.002)
            else:
                return
        self._tell(f"the door for other machines could not be opened again at {self.address}")

    def _look_again(self) -> None:
        now = monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look()
            if self._router.closed or self._xpub.closed:
                with suppress(Refused):
                    self._open()
                    self._tell("")

    # Turns ---------------------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Take in what has come; return whether more waits."""
        self._look_again()
        more = self._judge_all()
        if self._router.closed or self._xpub.closed:
            return more
        for _ in range(TURN):
            frames = _received(self._router)
            if frames is None:
                break
            self._heard(frames)
        else:
            more = True
        return self._subscriptions() or more

    def pending(self) -> bool:
        """Tell whether something waits; asked before sleeping, for the descriptors tell of changes only."""
        open_ = [each for each in (self._zap, self._router, self._xpub) if not each.closed]
        return any(int(each.getsockopt(zmq.EVENTS)) & zmq.POLLIN for each in open_)

    def _judge_all(self) -> bool:
        for _ in range(TURN):
            try:
                question = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                return False
            self._zap.send_multipart(self._judge(question))
        return True

    def _judge(self, question: list[bytes]) -> list[bytes]:
        """Return the answer to one who wants to come in."""
        self._look()
        number = question[1] if len(question) > 1 else b""
        try:
            _, _, domain, _, _, mechanism, credential = question
            key = z85.encode(credential).decode() if len(credential) == 32 else ""
        except ValueError:
            domain, mechanism, key = b"", b"", ""
        if domain == DOMAIN and mechanism == b"CURVE" and key in self._known:
            return [b"1.0", number, b"200", b"OK", key.encode(), b""]
        return [b"1.0", number, b"400", b"this key is not authorized", b"", b""]

    def _heard(self, frames: list[zmq.Frame]) -> None:
        address, last = frames[0].bytes, frames[-1]
        try:
            key, place = str(last.get("User-Id")), str(last.get("Peer-Address"))
        except zmq.ZMQError:
            return  # nobody without a key is let in
        known = self._known.get(key)
        role, name = (known.role, known.name) if known is not None else (Role.NOBODY, "unknown")
        body = [each.bytes for each in frames[1:]]
        delimiter = len(body) > 1 and not body[0]
        peer = Peer(address, delimiter, f"key {name} from {place}", f"key {key}", role)
        self._receive(peer, body[1:] if delimiter else body)

    def send(self, address: bytes, frames: list[bytes]) -> None:
        """Send to one peer; one that is gone or does not read loses it."""
        with suppress(zmq.ZMQError):
            self._router.send_multipart([address, *frames], zmq.NOBLOCK)

    # Events --------------------------------------------------------------------------------------------------------

    def _subscriptions(self) -> bool:
        for _ in range(TURN):
            try:
                frame = self._xpub.recv(zmq.NOBLOCK)
            except zmq.ZMQError:
                return False
            if not frame or frame[0] > 1 or len(frame) > MAX_SUBSCRIPTION:
                continue
            topic = frame[1:].decode("utf-8", "replace")
            if frame[0] == 0:
                self.topics.discard(topic)
            elif of_prefix(topic) is not None and len(self.topics) < MAX_SUBSCRIPTIONS:
                self.topics.add(topic)
        return True

    def publish(self, topic: str, frames: list[bytes]) -> None:
        """Send to whoever subscribed: every key on the list may read, and every topic that has a role is to be read."""
        if any(topic.startswith(prefix) for prefix in self.topics):
            self._look_again()
            with suppress(zmq.ZMQError):
                self._xpub.send_multipart(frames, zmq.NOBLOCK)


def _received(socket: Socket) -> list[zmq.Frame] | None:
    try:
        return socket.recv_multipart(zmq.NOBLOCK, copy=False)
    except zmq.ZMQError:
        return None


def _mark(path: str) -> object:
    try:
        seen = os.stat(path)
    except OSError:
        return "none"
    return seen.st_ino, seen.st_mtime_ns, seen.st_size, seen.st_mode
