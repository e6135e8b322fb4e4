"""Own the two ZeroMQ sockets: requests in, replies and events out (docs/protocol.md).

Decides what is a request and who sent it; what it means is for the operations. Nothing that arrives makes it raise: a
frame that is no request is answered, or dropped where there is nobody to answer. The daemon polls `fds` and calls
`pump` whenever something happened, because ZeroMQ's descriptors only tell of changes.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import zmq
from msgspec import Struct

from taskmaster_core import wire
from taskmaster_core.errors import BadRequest, Refused, TaskmasterError

REMEMBERED = 1_000
"""So many replies are kept for requests that are repeated (RELIABILITY P09)."""

MAX_SUBSCRIPTION = 128
MAX_SUBSCRIPTIONS = 4_096
"""Longer and more topics than these are not remembered: nothing is sampled for them (P13)."""

TURN = 200
"""Requests taken in one turn, so that a flood of them cannot starve the shim's reports."""


class Peer(Struct, frozen=True):
    """Name who asked: the return address, and the credentials of the connection ("uid 0 pid 123")."""

    address: bytes
    delimiter: bool
    who: str


class Asked(Struct):
    """Hold a request and where its answer goes."""

    peer: Peer
    request: wire.Request


class Server:
    """Hold the sockets, the subscriptions, and the replies of late."""

    def __init__(self, commands: str, events: str, on_request: Callable[[Asked], None], gid: int | None = None) -> None:
        self._paths = (commands, events)
        self._gid = gid
        self._on_request = on_request
        self._context = zmq.Context(1)
        self._router: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._xpub: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self._answers: OrderedDict[str, list[bytes] | None] = OrderedDict()
        self._late: dict[str, list[Peer]] = {}
        self.topics: set[str] = set()
        self.on_topics: Callable[[], None] = lambda: None

    @property
    def fds(self) -> list[int]:
        """Return the descriptors to poll."""
        return [int(self._router.getsockopt(zmq.FD)), int(self._xpub.getsockopt(zmq.FD))]

    def bind(self) -> None:
        """Bind both sockets, mode 0600 (0660 for the group); raise Refused when something else stands there."""
        for socket in (self._router, self._xpub):
            socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME)
            socket.setsockopt(zmq.HANDSHAKE_IVL, 2_000)
            socket.setsockopt(zmq.LINGER, 200)
            socket.setsockopt(zmq.SNDHWM, 1_000)
        self._bind_at(self._router, self._paths[0])
        self._bind_at(self._xpub, self._paths[1])

    def _bind_at(self, socket: zmq.Socket[bytes], path: str) -> None:
        """Bind; libzmq unlinks whatever is at the path, so what is not a socket is refused first (P16)."""
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            found = None
        if found is not None and not stat.S_ISSOCK(found.st_mode):
            raise Refused(f"{path} is not a socket: it was not made by taskmaster", "move it away, or use --instance")
        before = os.umask(0o177 if self._gid is None else 0o117)
        try:
            socket.bind(f"ipc://{path}")
        except zmq.ZMQError as error:
            raise Refused(f"cannot bind {path}: {error}", "is the run directory writable?") from error
        finally:
            os.umask(before)
        if self._gid is not None:
            os.chown(path, -1, self._gid)

    def rebind(self) -> None:
        """Bind again after somebody removed the socket files."""
        for socket, path in ((self._router, self._paths[0]), (self._xpub, self._paths[1])):
            with suppress(zmq.ZMQError):  # libzmq may have forgotten the address together with the file
                socket.unbind(f"ipc://{path}")
            self._bind_at(socket, path)

    def close(self) -> None:
        """Say what is still to be said and close. The files go too: one that is left tells of a core that died."""
        self._context.destroy(linger=200)
        for path in self._paths:
            with suppress(OSError):
                os.unlink(path)

    # Requests ----------------------------------------------------------------------------------------------------

    def pump(self) -> bool:
        """Take in what has come; return whether more waits than one turn takes."""
        self._subscriptions()
        for _ in range(TURN):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return False
            except zmq.ZMQError:
                continue
            self._receive(frames)
        return True

    def pending(self) -> bool:
        """Tell whether something waits; asked before sleeping, because sending may eat the descriptor's word of it."""
        return any(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN for socket in (self._router, self._xpub))

    def _receive(self, frames: list[zmq.Frame]) -> None:
        peer = Peer(frames[0].bytes, len(frames) > 1 and not frames[1].bytes, _who(frames[-1]))
        body = frames[2:] if peer.delimiter else frames[1:]
        if len(body) != 1:
            self._refuse(peer, "", BadRequest(f"a request is one frame, not {len(body)}"))
            return
        frame = body[0].bytes
        try:
            request = wire.decode_request(frame)
            if not 0 < len(request.id) <= 64:
                raise BadRequest("`id` must have 1 to 64 characters")
        except TaskmasterError as error:
            self._refuse(peer, wire.request_id_in(frame)[:64], error)
            return
        self._dispatch(Asked(peer, request))

    def _dispatch(self, asked: Asked) -> None:
        """Hand a request over, once: a repeated id gets the first one's answer, now or when it is there."""
        request_id = asked.request.id
        if request_id not in self._answers:
            self._answers[request_id] = None
            self._forget_old()
            self._on_request(asked)
            return
        answer = self._answers[request_id]
        if answer is not None:
            self._send(asked.peer, answer)
        else:
            self._late.setdefault(request_id, []).append(asked.peer)

    def _forget_old(self) -> None:
        while len(self._answers) > REMEMBERED:
            oldest = next((key for key, answer in self._answers.items() if answer is not None), None)
            if oldest is None:
                return  # all of them still wait for their effect
            del self._answers[oldest]

    def answer(self, asked: Asked, result: object, raw: bytes | None = None, *, keep: bool = True) -> None:
        """Send a result; `keep` False: do not remember it (reading twice is harmless, and the answer may be large)."""
        frames = [wire.reply_ok(asked.request.id, result)] + ([raw] if raw is not None else [])
        self._finish(asked, frames, keep)

    def refuse(self, asked: Asked, error: TaskmasterError, detail: object = None) -> None:
        """Send an error."""
        self._finish(asked, [wire.reply_error(asked.request.id, error, detail)], keep=True)

    def _finish(self, asked: Asked, frames: list[bytes], keep: bool) -> None:
        request_id = asked.request.id
        if keep:
            self._answers[request_id] = frames
        else:
            self._answers.pop(request_id, None)
        for peer in (asked.peer, *self._late.pop(request_id, ())):
            self._send(peer, frames)

    def _refuse(self, peer: Peer, request_id: str, error: TaskmasterError) -> None:
        self._send(peer, [wire.reply_error(request_id, error)])

    def _send(self, peer: Peer, frames: list[bytes]) -> None:
        """Send to a peer; one that is gone or does not read loses its answer, nobody waits for it (P08)."""
        envelope = [peer.address, b""] if peer.delimiter else [peer.address]
        try:
            self._router.send_multipart([*envelope, *frames], zmq.NOBLOCK)
        except zmq.ZMQError:
            return

    # Events --------------------------------------------------------------------------------------------------------

    def _subscriptions(self) -> None:
        changed = False
        for _ in range(TURN):
            try:
                frame = self._xpub.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            except zmq.ZMQError:
                continue
            changed = self._subscription(frame) or changed
        if changed:
            self.on_topics()

    def _subscription(self, frame: bytes) -> bool:
        if not frame or frame[0] > 1 or len(frame) > MAX_SUBSCRIPTION:
            return False
        topic = frame[1:].decode("utf-8", "replace")
        if frame[0] == 0:
            self.topics.discard(topic)
        elif len(self.topics) < MAX_SUBSCRIPTIONS:
            self.topics.add(topic)
        return True

    def wanted(self, topic: str) -> bool:
        """Tell whether anybody subscribed to this topic (by prefix, as ZeroMQ does)."""
        return any(topic.startswith(prefix) for prefix in self.topics)

    def publish(self, topic: str, body: bytes, raw: bytes | None = None) -> None:
        """Send to whoever subscribed; a slow one loses it and sees the gap by seq, or by offset."""
        try:
            self._xpub.send_multipart([topic.encode(), body] + ([raw] if raw is not None else []), zmq.NOBLOCK)
        except zmq.ZMQError:
            return


def _who(frame: zmq.Frame) -> str:
    """Return the credentials of the connection as text. libzmq gives `host:uid:gid:pid` for ipc."""
    try:
        fields = str(frame.get("Peer-Address")).rsplit(":", 3)
    except (zmq.ZMQError, ValueError):
        return "unknown"
    return f"uid {fields[1]} pid {fields[3]}" if len(fields) == 4 else "unknown"
