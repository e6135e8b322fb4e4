"""Speak to a core from asyncio: the same as `client`, for programs that must never block.

It decides when a request is sent again and what `state` says of the connection; it never gives up by itself, because
whoever shows a live picture wants it back whenever the core is. The TUI calls it, and programs of users.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Literal, NamedTuple, Self

import msgspec
import zmq
import zmq.asyncio

from taskmaster_core import paths, wire
from taskmaster_core.errors import BadRequest, TimedOut, UsageError
from taskmaster_core.follow import PAGE, Follower, Verdict
from taskmaster_core.wire import MAX_FRAME, VERSION, Reply, Request

State = Literal["searching", "connected", "lost"]
"""`searching`: no core was found yet; `connected`: it can be asked; `lost`: it was there, and is awaited."""

SILENCE = 2.5
"""Seconds without an answer until a request is repeated (its id makes that harmless)."""

LOOK = 0.5
"""Seconds between two looks for a core where none is: there is nobody yet who could tell that one has come."""


class Message(NamedTuple):
    """Hold one published message; `body` is plain data (`wire` has the types to convert it to)."""

    topic: str
    body: Any


class _Waiting(NamedTuple):
    frame: bytes
    answer: asyncio.Future[tuple[Reply, bytes]]


class AsyncClient:
    """Ask one core, for ever. Use it as `async with AsyncClient(…) as client`."""

    def __init__(
        self,
        instance: str = paths.DEFAULT_INSTANCE,
        at: str | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        on_state: Callable[[State], None] | None = None,
        silence: float = SILENCE,
    ) -> None:
        self.state: State = "searching"
        self.commands: str | None = None
        """The command socket, once a core was found."""
        self._candidates = paths.where_to_look(instance, environ, os.geteuid(), at)
        self._on_state = on_state
        self._silence = silence
        self._context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._subscriptions: set[AsyncSubscription] = set()
        self._numbers = count(1)
        self._name = f"{os.getpid():x}-{os.urandom(6).hex()}"
        self._found = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def open(self) -> None:
        """Begin to look for the core; return at once."""
        self._tasks.append(asyncio.create_task(self._search()))

    async def close(self) -> None:
        """Drop everything; requests that still wait are cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._waiting.values():
            waiting.answer.cancel()
        self._context.destroy(linger=0)

    async def connected(self) -> None:
        """Wait until a core was found."""
        await self._found.wait()

    # Asking ----------------------------------------------------------------------------------------------------------

    async def call(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # what it raises is ours, as of the sync client
    ) -> Any:
        """Return the result of an operation; raise the error the reply brings, or TimedOut after `timeout` seconds."""
        return (await self.call_raw(op, select, args, timeout=timeout))[0]

    async def call_raw(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # what it raises is ours, as of the sync client
    ) -> tuple[Any, bytes]:
        """Return the result and the raw bytes that came with it; otherwise as `call`."""
        request = f"{self._name}-{next(self._numbers)}"
        frame = _encode(Request(VERSION, request, op, list(select), dict(args or {})))
        answer: asyncio.Future[tuple[Reply, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[request] = _Waiting(frame, answer)
        try:
            async with asyncio.timeout(timeout):
                reply, raw = await self._ask(frame, answer)
        except TimeoutError:
            raise TimedOut(f"no answer to `{op}` within {timeout:g} s", "it may still be done") from None
        finally:
            del self._waiting[request]
        return wire.result_of(reply), raw

    async def _ask(self, frame: bytes, answer: asyncio.Future[tuple[Reply, bytes]]) -> tuple[Reply, bytes]:
        await self._found.wait()
        await self._post(frame)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._silence):
                    return await asyncio.shield(answer)
            # What takes long is answered once however often it is asked; what got lost on the way is heard now.
            await self._post(frame)

    async def _post(self, frame: bytes) -> None:
        if self._socket is not None:
            with suppress(zmq.Again):  # a full queue: the repetition comes when there is room
                await self._socket.send_multipart([b"", frame], zmq.DONTWAIT)

    # Connection ------------------------------------------------------------------------------------------------------

    async def _search(self) -> None:
        while (found := next((each for each in self._candidates if _listens(each)), None)) is None:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        self.commands = found
        self._socket = dealer = self._context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.reconnect_ivl = 100
        monitor = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._tasks += [asyncio.create_task(self._watch(monitor)), asyncio.create_task(self._read(dealer))]
        dealer.connect(f"ipc://{found}")
        for subscription in self._subscriptions:
            subscription.connect(paths.events_beside(found))
        self._found.set()

    async def _watch(self, monitor: zmq.asyncio.Socket) -> None:
        """Follow the connection; a new one may be to another core, which is asked again what is still open."""
        while True:
            frames = await monitor.recv_multipart()
            if int.from_bytes(frames[0][:2], "little") == zmq.EVENT_DISCONNECTED:
                self._become("lost")
                continue
            again = self.state == "lost"
            self._become("connected")
            if again:
                for waiting in list(self._waiting.values()):
                    await self._post(waiting.frame)

    def _become(self, state: State) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)

    async def _read(self, dealer: zmq.asyncio.Socket) -> None:
        while True:
            frames = await dealer.recv_multipart()
            try:
                reply = wire.decode_reply(frames[1])
            except (BadRequest, IndexError):
                continue  # nobody can be told: it names no request
            waiting = self._waiting.get(reply.id)
            if waiting is not None and not waiting.answer.done():
                waiting.answer.set_result((reply, frames[2] if len(frames) > 2 else b""))

    # Following -------------------------------------------------------------------------------------------------------

    def subscribe(self, topics: Iterable[str]) -> AsyncSubscription:
        """Return what the core publishes under these topics (or prefixes of them) from now on."""
        made = AsyncSubscription(self._context.socket(zmq.SUB), topics, self._subscriptions.discard)
        self._subscriptions.add(made)
        if self.commands is not None:
            made.connect(paths.events_beside(self.commands))
        return made

    async def follow_events(self, since: int | None = None) -> AsyncIterator[wire.Event]:
        """Yield every event after number `since` (None: from now on), for ever, none twice and none left out."""
        with self.subscribe(("event", "beat")) as heard:
            follower = Follower((await self.call("ping"))["seq"] if since is None else since)
            for event in await self._caught_up(follower):
                yield event
            async for topic, body in heard:
                for event in await self._next_events(follower, topic, body):
                    yield event

    async def _next_events(self, follower: Follower, topic: str, body: dict[str, Any]) -> list[wire.Event]:
        boot, seq = body["boot"], body["seq"]
        verdict = follower.beat(boot, seq) if topic == "beat" else follower.event(boot, seq)
        if verdict is Verdict.NEXT:
            return [msgspec.convert(body, wire.Event)]
        if verdict is Verdict.DROP:
            return []
        found = await self._caught_up(follower)
        if topic != "beat" and follower.take(seq):
            found.append(msgspec.convert(body, wire.Event))
        follower.settle(seq)
        return found

    async def _caught_up(self, follower: Follower) -> list[wire.Event]:
        found: list[wire.Event] = []
        while True:
            page = msgspec.convert(await self.call("events", args={"since": follower.seq}), list[wire.Event])
            found += [event for event in page if follower.take(event.seq)]
            if len(page) < PAGE:
                return found


class AsyncSubscription:
    """Bring what the core publishes under some topics; it reconnects by itself, what was missed is not sent again."""

    def __init__(
        self, heard: zmq.asyncio.Socket, topics: Iterable[str], forget: Callable[[AsyncSubscription], None]
    ) -> None:
        self._socket = heard
        self._socket.linger = 0
        self._socket.reconnect_ivl = 100
        self._forget = forget
        for topic in topics:
            self.add(topic)

    def connect(self, events: str) -> None:
        """Listen at an event socket; the client says where it is."""
        self._socket.connect(f"ipc://{events}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while True:
            message = _read_message(await self._socket.recv_multipart())
            if message is not None:
                return message

    def add(self, topic: str) -> None:
        """Subscribe to one more topic (or prefix of topics)."""
        self._socket.subscribe(topic)

    def drop(self, topic: str) -> None:
        """Take a topic back."""
        self._socket.unsubscribe(topic)

    def close(self) -> None:
        """Stop listening."""
        self._forget(self)
        self._socket.close(linger=0)


def _encode(request: Request) -> bytes:
    try:
        frame = wire.encode(request)
    except (TypeError, ValueError) as error:
        raise UsageError(f"this cannot be sent to the core: {error}") from error
    if len(frame) > MAX_FRAME:
        raise UsageError(
            f"the request has {len(frame)} bytes, at most {MAX_FRAME} can be sent", "select fewer at a time"
        )
    return frame


def _read_message(frames: list[bytes]) -> Message | None:
    try:
        return Message(frames[0].decode(), msgspec.json.decode(frames[1]))
    except (ValueError, IndexError):
        return None  # of a future version; a follower sees the gap and asks


def _listens(path: str) -> bool:
    """Tell whether somebody listens at a unix socket. It never waits: unix sockets connect at once or not at all."""
    with socket.socket(socket.AF_UNIX) as probing:
        probing.setblocking(False)
        try:
            probing.connect(path)
        except BlockingIOError:
            return True  # somebody listens, the backlog is full
        except OSError:
            return False
    return True
