"""Speak to a core, synchronously: ask it, and follow what it publishes (docs/protocol.md).

It decides when a silent core is asked again and when it counts as gone; what is asked and how answers look is the
caller's affair. The CLI and programs of users call it; `aclient` is the same for asyncio. Imports here are what every
`taskmaster status` pays for: no msgspec (35 ms), so documents are plain dicts of the standard library's json.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from errno import ECONNREFUSED, ENOENT
from itertools import count
from json import JSONDecodeError, dumps, loads
from sys import byteorder
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import zmq

from taskmaster_core import paths
from taskmaster_core.errors import BadRequest, NoCore, Refused, TaskmasterError, TimedOut, UsageError, from_code
from taskmaster_core.follow import PAGE, Follower, Verdict

if TYPE_CHECKING:  # whoever speaks to this machine needs no keys
    from taskmaster_core.keys import Curve

VERSION = 1
MAX_FRAME = 1 << 20
"""Bytes of one frame; the core cuts off who sends more, so more is refused here (P05)."""

SILENCE = 2.5
"""Seconds without any word from the core, not even to a ping, until a request is repeated."""

FIRST_SILENCE = 1.0
"""Seconds without an answer until the core is asked whether it lives."""

FAR = 5.0
"""Seconds another machine has to answer a connection."""

TRIES = 3
"""How often a request is repeated before the core counts as gone."""

_NO_FILE = "no such file"
_WATCHED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH

Notice = Callable[[str], None]
"""Told, in words, that the core is restarting or silent."""


class Message(NamedTuple):
    """Hold one published message."""

    topic: str
    body: Any


Watch = tuple["Subscription", Callable[[Message], None]]
"""A subscription to read while a request waits, and who is told of what it brings."""


def probe(path: str) -> str | None:
    """Tell why nobody can be reached at a unix socket, None if somebody listens there."""
    if path.startswith("tcp://"):
        return _probe_far(path)
    if len(os.fsencode(path)) > paths.SUN_PATH:
        return "the path is too long for a socket"
    with socket.socket(socket.AF_UNIX) as probing:
        probing.setblocking(False)
        try:
            probing.connect(path)
        except BlockingIOError:
            return None  # EAGAIN: somebody listens, the backlog is full
        except OSError as error:
            known = {ENOENT: _NO_FILE, ECONNREFUSED: "nobody listens"}
            return known.get(error.errno or 0, error.strerror or str(error))
    return None


def _probe_far(address: str) -> str | None:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), FAR).close()
    except (OSError, ValueError) as error:
        return str(error)
    return None


def find(instance: str = paths.DEFAULT_INSTANCE, at: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the command socket of a core that listens; raise NoCore, which says where we looked.

    `at` is a socket or its directory, named by hand: then it is the only place.
    """
    uid = os.geteuid()
    if at is None:
        usual = paths.places(instance, environ, uid).commands
        if probe(usual) is None:
            return usual  # the other candidates cost a hash, and its import
    looked = []
    for path in paths.where_to_look(instance, environ, uid, at):
        reason = probe(path)
        if reason is None:
            return path
        looked.append(f"{path} ({reason})")
    named = "" if instance == paths.DEFAULT_INSTANCE else f" --instance {instance}"
    raise NoCore(
        f"no core of instance `{instance}` answers",
        "\n".join(["looked at:", *(f"  {each}" for each in looked), f"start one: taskmaster{named} up"]),
    )


def connect(
    instance: str = paths.DEFAULT_INSTANCE,
    at: str | None = None,
    environ: Mapping[str, str] = os.environ,
    on_notice: Notice | None = None,
) -> Client:
    """Return a client of the core of that instance; raise NoCore when nobody listens."""
    return Client(find(instance, at, environ), on_notice=on_notice)


def _ignore(_text: str) -> None:
    """Tell nobody."""


class Client:
    """Ask one core. Not for use by several threads at a time."""

    def __init__(
        self,
        commands: str,
        *,
        events: str | None = None,
        silence: float = SILENCE,
        tries: int = TRIES,
        on_notice: Notice | None = None,
        curve: Curve | None = None,
    ) -> None:
        """Take the path of a command socket, or the address of a host and what it takes to speak to it."""
        self.commands = commands
        self.events = events or paths.events_beside(commands)
        self.on_notice: Notice = on_notice or _ignore
        self._silence = silence
        self._tries = tries
        self._context = zmq.Context()
        if curve is not None:
            curve.secure(self._context)
        self._numbers = count(1)
        # Unique over all clients and restarts: the core remembers ids to make repetitions harmless.
        self._name = f"{os.getpid():x}-{os.urandom(6).hex()}"
        self._socket, self._monitor = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection, with everything not sent yet."""
        self._context.destroy(linger=0)

    def call(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        watch: Watch | None = None,
    ) -> Any:
        """Return the result of an operation; raise the error the reply brings, NoCore or TimedOut.

        An error's `detail` is what the reply's `detail` was (`detail_of`). `timeout` (seconds) is ours, beside the one
        in `args` that the core keeps.
        """
        return self.call_raw(op, select, args, timeout=timeout, watch=watch)[0]

    def call_raw(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        watch: Watch | None = None,
    ) -> tuple[Any, bytes]:
        """Return the result and the raw bytes that came with it; otherwise as `call`."""
        request = self._new_id()
        frame = encode_request(request, op, list(select), dict(args or {}))
        deadline = None if timeout is None else monotonic() + timeout
        return self._exchange(request, frame, deadline, watch)

    def subscribe(self, topics: Iterable[str]) -> Subscription:
        """Return what the core publishes under these topics (or prefixes of them) from now on."""
        return Subscription(self._context, self.events, topics)

    def follow_events(self, since: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield every event after number `since` (None: from now on), for ever, none twice and none left out.

        Core restarts are bridged; raise NoCore when the core does not come back.
        """
        with self.subscribe(("event", "beat")) as heard:
            follower = Follower(self.call("ping")["seq"] if since is None else since)
            yield from self._catch_up(follower)
            for topic, body in heard:
                yield from self._next_events(follower, topic, body)

    def _next_events(self, follower: Follower, topic: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        boot, seq = body["boot"], body["seq"]
        verdict = follower.beat(boot, seq) if topic == "beat" else follower.event(boot, seq)
        if verdict is Verdict.NEXT:
            yield body
        elif verdict is Verdict.ASK:
            yield from self._catch_up(follower)
            if topic != "beat" and follower.take(seq):
                yield body
            follower.settle(seq)

    def _catch_up(self, follower: Follower) -> Iterator[dict[str, Any]]:
        while True:
            page = self.call("events", args={"since": follower.seq})
            for event in page:
                if follower.take(event["seq"]):
                    yield event
            if len(page) < PAGE:
                return

    # The exchange: Lazy Pirate, with a ping on the side: an answer that takes long is no silence ----------------------

    def _exchange(self, request: str, frame: bytes, deadline: float | None, watch: Watch | None) -> tuple[Any, bytes]:
        self._post(frame)
        repeated, pinged, patience = 0, False, min(FIRST_SILENCE, self._silence)
        while True:
            heard = self._hear(patience, deadline, watch)
            if isinstance(heard, _Answer):
                if heard.id == request:
                    return heard.outcome()
                repeated, pinged = 0, False  # a pong: it lives, and works on it
            elif heard == "back":
                # Another core, or another connection, may know nothing of it; the id makes the repetition harmless.
                self._post(frame)
            elif heard == "lost":
                self.on_notice("the core is restarting")
            else:
                _check(deadline)
                if pinged:
                    repeated = self._repeat(frame, repeated)
                self._post(encode_request(self._new_id(), "ping", [], {}))
                pinged, patience = True, self._silence

    def _repeat(self, frame: bytes, repeated: int) -> int:
        reason = probe(self.commands)
        # A core that ends in good order takes its socket away; one that is replaced leaves it to the next.
        if repeated == self._tries or reason == _NO_FILE:
            said = reason or "it is there, but silent: it is restarting, or hung"
            raise NoCore(f"the core at {self.commands} does not answer ({said})", "ask the machine: taskmaster doctor")
        self.on_notice(f"the core does not answer: restarting? (try {repeated + 1} of {self._tries})")
        self._socket.close(linger=0)
        self._monitor.close(linger=0)
        self._socket, self._monitor = self._open()
        self._post(frame)
        return repeated + 1

    def _new_id(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    def _open(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        dealer = self._context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.reconnect_ivl = 50
        dealer.set_hwm(1000)
        monitor = dealer.get_monitor_socket(_WATCHED)
        dealer.connect(paths.endpoint(self.commands))
        self._met = False
        return dealer, monitor

    def _post(self, frame: bytes) -> None:
        self._socket.send_multipart([b"", frame])

    def _hear(self, patience: float, deadline: float | None, watch: Watch | None) -> _Answer | str | None:
        """Return an answer, "lost" or "back"; None after `patience` seconds, or at the deadline."""
        until = monotonic() + patience if deadline is None else min(monotonic() + patience, deadline)
        poller = self._poller(watch)
        while (left := until - monotonic()) > 0:
            ready = dict(poller.poll(int(left * 1000) + 1))
            if watch and watch[0].socket in ready:
                watch[0].drain(watch[1])
            if self._socket in ready:
                return _read_answer(self._socket.recv_multipart())
            if self._monitor in ready and (news := self._connection_news()):
                return news
        return None

    def _poller(self, watch: Watch | None) -> zmq.Poller:
        poller = zmq.Poller()
        for each in (self._socket, self._monitor, *([watch[0].socket] if watch else [])):
            poller.register(each, zmq.POLLIN)
        return poller

    def _connection_news(self) -> str | None:
        kind = int.from_bytes(self._monitor.recv_multipart()[0][:2], byteorder)
        if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise Refused(f"{self.commands} does not let this key in", "there: taskmaster host authorize NAME KEY")
        if kind == zmq.EVENT_DISCONNECTED:
            return "lost"
        first, self._met = not self._met, True
        return None if first else "back"


class _Answer(NamedTuple):
    id: str
    body: dict[str, Any]
    raw: bytes

    def outcome(self) -> tuple[Any, bytes]:
        """Return result and raw bytes, or raise the error."""
        if self.body.get("ok"):
            return self.body.get("result"), self.raw
        raise error_in(self.body.get("error") or {})


def error_in(body: Mapping[str, Any]) -> TaskmasterError:
    """Return the error that a reply's `error` describes."""
    error = from_code(body.get("code", "error"), body.get("message", "the core said no"), body.get("help", ""))
    error.detail = body.get("detail")  # type: ignore[attr-defined]
    return error


def detail_of(error: TaskmasterError) -> Any:
    """Return what the core added to an error for programs (outcomes, problems), None if nothing."""
    return getattr(error, "detail", None)


def encode_request(request: str, op: str, select: Sequence[str], args: Mapping[str, Any]) -> bytes:
    """Return the frame of a request; raise UsageError for one that is too long (P05) or cannot be written."""
    document = {"v": VERSION, "id": request, "op": op, "select": select, "args": args}
    try:
        frame = dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError: an argument that is not UTF-8
        raise UsageError(f"this cannot be sent to the core: {error}") from error
    if len(frame) > MAX_FRAME:
        raise UsageError(
            f"the request has {len(frame)} bytes, at most {MAX_FRAME} can be sent",
            "select fewer at a time, or by a glob or tag",
        )
    return frame


def _read_answer(frames: list[bytes]) -> _Answer:
    try:
        body = loads(frames[1])
        return _Answer(body["id"], body, frames[2] if len(frames) > 2 else b"")
    except (JSONDecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
        why = f"the core's answer was not understood: {error}"
        raise BadRequest(why, "is it another version? taskmaster version") from error


def _check(deadline: float | None) -> None:
    if deadline is not None and monotonic() >= deadline:
        raise TimedOut("the core did not answer in the time given", "it may still do what was asked: taskmaster status")


class Subscription:
    """Bring what the core publishes under some topics.

    It reconnects by itself; what was missed meanwhile is not sent again.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], events: str, topics: Iterable[str]) -> None:
        self.socket = context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.reconnect_ivl = 50
        for topic in topics:
            self.add(topic)
        self.socket.connect(paths.endpoint(events))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Message]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    def add(self, topic: str) -> None:
        """Subscribe to one more topic (or prefix of topics)."""
        self.socket.subscribe(topic)

    def drop(self, topic: str) -> None:
        """Take a topic back."""
        self.socket.unsubscribe(topic)

    def receive(self, timeout: float | None = None) -> Message | None:
        """Return the next message; None if none came within `timeout` seconds, or if it made no sense."""
        if not self.socket.poll(None if timeout is None else int(timeout * 1000)):
            return None
        return _read_message(self.socket.recv_multipart())

    def drain(self, told: Callable[[Message], None]) -> None:
        """Hand over everything that is there already."""
        while self.socket.poll(0):
            message = _read_message(self.socket.recv_multipart())
            if message is not None:
                told(message)

    def close(self) -> None:
        """Stop listening."""
        self.socket.close(linger=0)


def _read_message(frames: list[bytes]) -> Message | None:
    try:
        return Message(frames[0].decode(), loads(frames[1]))
    except (ValueError, IndexError):
        return None  # of a future version; a follower sees the gap and asks
