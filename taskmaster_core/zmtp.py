"""Speak ZMTP 3.0 with the NULL mechanism, the server's half of it: bytes in, messages out, and no I/O at all.

It decides what a peer may say and how much of it: whatever breaks the protocol or a bound is `Broken`, and costs no
more memory than the bound. Who may connect is for `ports`, what a message means for the server. Any libzmq from 4.0 on
is a peer; ADR 0006 tells why the core does not use libzmq itself here.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_FRAME = 1 << 20
"""Bytes of one frame. A longer one is known by its header, before a byte of it is kept (P05)."""

MAX_FRAMES = 8
"""Frames of one message; a multipart message without end is cut here (P04)."""

_SIGNATURE = 10
_GREETING = 64
_MORE, _LONG, _COMMAND = 1, 2, 4
_NULL = b"NULL".ljust(20, b"\0")

# 3.0 and not 3.1: subscriptions then come as messages, as every libzmq from 4.0 on can send them.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + _NULL + bytes(32)

ROUTER, XPUB = b"ROUTER", b"XPUB"
_FITS = {ROUTER: frozenset({b"REQ", b"DEALER", b"ROUTER"}), XPUB: frozenset({b"SUB", b"XSUB"})}


class Broken(Exception):  # no error of ours: it carries the reason why a peer is cut off
    """Tell what a peer did that nobody may do."""


def _head(length: int, flags: int) -> bytes:
    if length < 256:
        return bytes((flags, length))
    return bytes((flags | _LONG,)) + length.to_bytes(8, "big")


def pack(frames: Iterable[bytes]) -> bytes:
    """Return a message as it goes over the wire."""
    parts = list(frames)
    last = len(parts) - 1
    return b"".join(_head(len(part), _MORE if at < last else 0) + part for at, part in enumerate(parts))


def _command(name: bytes, body: bytes) -> bytes:
    body = bytes((len(name),)) + name + body
    return _head(len(body), _COMMAND) + body


def ready(kind: bytes) -> bytes:
    """Return the command that ends our half of the handshake."""
    return _command(b"READY", b"\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind)


class Reader:
    """Take the bytes of one peer in and give messages out; what must be said at once collects in `reply`."""

    def __init__(self, kind: bytes) -> None:
        self.reply = bytearray()
        """What the peer is to be sent: handshake and pongs."""
        self.met = False
        """Whether the handshake is over."""
        self._kind = kind
        self._buffer = bytearray()
        self._greeted = False
        self._frames: list[bytes] = []
        self._size = 0

    @property
    def held(self) -> int:
        """Return how many bytes are kept of what is not whole yet."""
        return len(self._buffer) + self._size

    def feed(self, data: bytes) -> None:
        """Take bytes in; `next` says what they make."""
        self._buffer += data

    def next(self) -> list[bytes] | None:
        """Return the next whole message, None until more bytes have come; raise Broken."""
        if not self._greeted and not self._greet():
            return None
        while (frame := self._frame()) is not None:
            flags, body = frame
            if flags & _COMMAND:
                self._obey(body)
                continue
            if not self.met:
                raise Broken("a message before the handshake")
            self._keep(body)
            if not flags & _MORE:
                frames, self._frames, self._size = self._frames, [], 0
                return frames
        return None

    def _keep(self, body: bytes) -> None:
        self._frames.append(body)
        self._size += len(body)
        if len(self._frames) > MAX_FRAMES or self._size > MAX_FRAME + 256:
            raise Broken("a message too long")

    def _greet(self) -> bool:
        seen = self._buffer
        if seen and (seen[0] != 0xFF or (len(seen) >= _SIGNATURE and seen[9] != 0x7F)):
            raise Broken("no ZMTP")
        if len(seen) < _GREETING:
            return False
        if seen[10] < 3 or seen[12:32] != _NULL:
            raise Broken("another version or mechanism")
        del seen[:_GREETING]
        self._greeted = True
        self.reply += ready(self._kind)
        return True

    def _frame(self) -> tuple[int, bytes] | None:
        """Return flags and body of the next frame, None until it is whole."""
        seen = self._buffer
        if len(seen) < 2:
            return None
        flags = seen[0]
        if flags & ~(_MORE | _LONG | _COMMAND) or (flags & _COMMAND and flags & _MORE):
            raise Broken("flags that do not exist")
        if flags & _LONG and len(seen) < 9:
            return None
        start, length = (9, int.from_bytes(seen[1:9], "big")) if flags & _LONG else (2, seen[1])
        if length > MAX_FRAME:
            raise Broken("a frame too long")
        if len(seen) < start + length:
            return None
        body = bytes(seen[start : start + length])
        del seen[: start + length]
        return flags, body

    def _obey(self, body: bytes) -> None:
        size = body[0] if body else 0
        name, rest = body[1 : 1 + size], body[1 + size :]
        if name == b"READY" and not self.met:
            if _property(rest, b"socket-type") not in _FITS[self._kind]:
                raise Broken("a socket of a kind that has no business here")
            self.met = True
        elif name == b"PING" and self.met:
            self.reply += _command(b"PONG", rest[2:18])
            if len(self.reply) > 4096:
                raise Broken("more pings than are answered")
        elif name not in (b"PONG", b"ERROR"):
            raise Broken("a command that does not exist")


def _property(data: bytes, wanted: bytes) -> bytes:
    """Return a property of a READY command; empty where there is none."""
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + len(name)
        length = int.from_bytes(data[at : at + 4], "big")
        value = data[at + 4 : at + 4 + length]
        at += 4 + length
        if name.lower() == wanted:
            return value
    return b""
