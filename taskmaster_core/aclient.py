"""Speak to a core from asyncio: the same as `client`, for programs that must never block.

It decides when a request is sent again and what `state` says of the connection; it never gives up by itself, because
whoever shows a live picture wants it back whenever the core is. The TUI calls it, and programs of users.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import msgspec
import zmq

from taskmaster_core import __version__, paths, wire
from taskmaster_core.dial import Dial
from taskmaster_core.drain import Drain
from taskmaster_core.errors import BadRequest, TaskmasterError, TimedOut, UsageError
from taskmaster_core.follow import PAGE, Follower, Verdict
from taskmaster_core.reach import Denial, Diagnosis, Look, diagnose
from taskmaster_core.wire import MAX_FRAME, VERSION, Request

if TYPE_CHECKING:
    from taskmaster_core.keys import Curve

__all__ = [
    "PAGE", "AsyncClient", "AsyncSubscription", "CoreSeen", "Denial", "Diagnosis", "Follower", "Look", "Message",
    "State", "Subscription", "Verdict",
]  # fmt: skip

State = Literal["searching", "connected", "lost"]
"""`searching`: no core was found yet; `connected`: it can be asked; `lost`: it was there, and is awaited."""

SILENCE = 2.5
"""Seconds without an answer until a request is repeated (its id makes that harmless)."""

SAFETY = 0.25
"""Seconds between two looks at a socket whose descriptor is silent, only while an answer is awaited."""

AHEAD = 256
"""Messages that wait for a slow reader of a subscription; more stay in the socket's queue."""

HEARD = 1_000
"""Messages that wait in a subscription's socket; more are dropped, and seen as a gap."""

_SLOW = frozenset({
    "start", "stop", "restart", "kill", "wait", "scale", "reset", "hold", "release", "signal", "undo", "reload",
    "shutdown", "logs", "find",
})  # fmt: skip
"""Operations whose answer comes after an effect, or brings much: they tell nothing of the round trip."""


class Message(NamedTuple):
    """Hold one published message; `body` is plain data (`wire` has the types to convert it to)."""

    topic: str
    body: Any


class CoreSeen(NamedTuple):
    """Hold what a core told of itself in its last answer to `ping` or `status`."""

    version: str
    boot: str
    pid: int
    shim_pid: int | None
    statedir: str

    @property
    def differs(self) -> bool:
        """Tell whether it is of another version than this client."""
        return self.version != __version__


def _seen(result: Any, before: CoreSeen | None) -> CoreSeen:
    """Return what a result of `ping` (which tells less) or `status` says of the core."""
    said = msgspec.to_builtins(result.core) if isinstance(result, wire.Status) else result
    said = said.get("core", said) if isinstance(said, dict) else {}
    old = before if before is not None and before.boot == said.get("boot") else None
    return CoreSeen(
        version=said.get("version", ""),
        boot=said.get("boot", ""),
        pid=said.get("pid", 0),
        shim_pid=said.get("shim_pid", old.shim_pid if old else None),
        statedir=said.get("statedir", old.statedir if old else ""),
    )


class _Answer(msgspec.Struct):
    v: int
    id: str
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: wire.ErrorBody | None = None


_answers = msgspec.json.Decoder(_Answer)


class _Waiting:
    """Hold one request until its answer is there."""

    def __init__(self, op: str, frame: bytes, into: Any) -> None:
        self.op = op
        self.frame = frame
        self.into = into
        self.sent: float | None = None
        self.answer: asyncio.Future[tuple[Any, bytes]] = asyncio.get_running_loop().create_future()

    def settle(self, answer: _Answer, raw: bytes) -> None:
        """Hand the answer, or the error it brings, to who waits."""
        try:
            if not answer.ok:
                wire.result_of(wire.Reply(answer.v, answer.id, False, error=answer.error))
            self.answer.set_result((msgspec.json.decode(answer.result, type=self.into), raw))
        except TaskmasterError as error:
            self.answer.set_exception(error)
        except msgspec.MsgspecError as error:
            self.answer.set_exception(BadRequest(f"the core's answer to `{self.op}` was not understood: {error}"))


class AsyncClient:
    """Ask one core, for ever. Use it as `async with AsyncClient(…) as client`."""

    def __init__(
        self,
        instance: str = paths.DEFAULT_INSTANCE,
        at: str | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        on_state: Callable[[State], None] | None = None,
        on_attempt: Callable[[], None] | None = None,
        silence: float = SILENCE,
        curve: Curve | None = None,
    ) -> None:
        self.state: State = "searching"
        self.rtt: float | None = None
        """Seconds the last request took whose answer waits for no effect."""
        self.core: CoreSeen | None = None
        self.statedirs: set[str] = set() if at else {paths.places(instance, environ, os.geteuid()).statedir}
        """Where a shim of this instance may hold its lock; what cores told is added."""
        self.candidates = paths.where_to_look(instance, environ, os.geteuid(), at)
        self._on_state = on_state
        self._on_attempt = on_attempt
        self._silence = silence
        self.held_to = ""
        """A role ("read-only") beyond which the core is to refuse everything."""
        self._context = zmq.Context()
        if curve is not None:
            curve.secure(self._context)
        self._dial = Dial(self._context, self.candidates, self)
        self._waiting: dict[str, _Waiting] = {}
        self._subscriptions: set[Subscription] = set()
        self._numbers = count(1)
        self._name = f"{os.getpid():x}-{os.urandom(6).hex()}"
        self._found = asyncio.Event()
        self._safety: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def open(self) -> None:
        """Begin to look for the core; return at once."""
        self._dial.open()

    async def close(self) -> None:
        """Drop everything; requests that still wait are cancelled."""
        self._dial.close()
        for waiting in self._waiting.values():
            waiting.answer.cancel()
        for subscription in list(self._subscriptions):
            subscription.close()
        if self._safety is not None:
            self._safety.cancel()
        self._context.destroy(linger=0)

    async def connected(self) -> None:
        """Wait until a core was found."""
        await self._found.wait()

    # Connection ------------------------------------------------------------------------------------------------------

    @property
    def commands(self) -> str | None:
        """Return the command socket, once a core was found."""
        return self._dial.commands

    @property
    def attempt(self) -> int:
        """Return how many attempts were made since there was a connection; 0 while there is one."""
        return self._dial.attempt

    @property
    def next_in(self) -> float | None:
        """Return the seconds until the next attempt; None while connected or while one is under way."""
        return self._dial.next_in

    def retry_now(self) -> None:
        """Make the next attempt to connect now."""
        self._dial.retry_now()

    def redial(self) -> None:
        """Drop the connection and make another, for one that is there but brings nothing."""
        self._dial.redial()

    def diagnosis(self) -> Diagnosis:
        """Say why there is no connection, from what lies on the disk of this machine."""
        return diagnose(self.candidates, [paths.Places(each, "").lock for each in sorted(self.statedirs)])

    def dial_up(self, commands: str) -> None:
        """Ask again what is still open: the core may be another one, which knows nothing of it."""
        for subscription in self._subscriptions:
            subscription.connect(paths.events_beside(commands))
        self._found.set()
        self._become("connected")
        for waiting in list(self._waiting.values()):
            self._post(waiting)

    def dial_down(self, *, was_up: bool) -> None:
        """Tell what is shown of the connection."""
        if was_up:
            self._become("lost")  # subscriptions stay: what the core said last may be on its way still
        if self._on_attempt is not None:
            self._on_attempt()

    def dial_heard(self, frames: list[bytes]) -> None:
        """Settle the request that an answer names; what names none of ours is dropped."""
        try:
            answer = _answers.decode(frames[1])
        except (msgspec.MsgspecError, RecursionError, IndexError):
            return
        waiting = self._waiting.get(answer.id)
        if waiting is None or waiting.answer.done():
            return
        if waiting.op not in _SLOW and waiting.sent is not None:
            self.rtt = monotonic() - waiting.sent
        waiting.settle(answer, frames[2] if len(frames) > 2 else b"")

    def _become(self, state: State) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)

    # Asking ----------------------------------------------------------------------------------------------------------

    async def call(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # what it raises is ours, as of the sync client
        into: Any = Any,
    ) -> Any:
        """Return the result of an operation; raise the error the reply brings, or TimedOut after `timeout` seconds.

        `into` is the type the result is decoded to, which is quicker than converting it afterwards.
        """
        return (await self.call_raw(op, select, args, timeout=timeout, into=into))[0]

    async def call_raw(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # what it raises is ours, as of the sync client
        into: Any = Any,
    ) -> tuple[Any, bytes]:
        """Return the result and the raw bytes that came with it; otherwise as `call`."""
        request = f"{self._name}-{next(self._numbers)}"
        frame = _encode(Request(VERSION, request, op, list(select), dict(args or {}), self.held_to or msgspec.UNSET))
        self._waiting[request] = waiting = _Waiting(op, frame, into)
        self._watch_over()
        try:
            async with asyncio.timeout(timeout):
                result, raw = await self._ask(waiting)
        except TimeoutError:
            raise TimedOut(f"no answer to `{op}` within {timeout:g} s", "it may still be done") from None
        finally:
            del self._waiting[request]
        self._learn(op, result)
        return result, raw

    async def _ask(self, waiting: _Waiting) -> tuple[Any, bytes]:
        while True:
            self._post(waiting)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._silence):
                    return await asyncio.shield(waiting.answer)
            # What takes long is answered once however often it is asked; what got lost on the way is heard now.

    def _post(self, waiting: _Waiting) -> None:
        if self._dial.up:
            waiting.sent = monotonic()
            self._dial.send(waiting.frame)

    def _watch_over(self) -> None:
        """Look at the socket now and then while an answer is awaited, whatever its descriptor says."""
        if self._safety is None:
            self._safety = asyncio.get_running_loop().call_later(SAFETY, self._look_after)

    def _look_after(self) -> None:
        self._safety = None
        if self._waiting:
            self._dial.look_again()
            self._watch_over()

    def _learn(self, op: str, result: Any) -> None:
        if op in ("ping", "status"):
            self.core = _seen(result, self.core)
            self.statedirs |= {self.core.statedir} - {""}

    # Following -------------------------------------------------------------------------------------------------------

    def subscribe(self, topics: Iterable[str]) -> AsyncSubscription:
        """Return what the core publishes under these topics (or prefixes of them) from now on."""
        made = AsyncSubscription(self._context.socket(zmq.SUB), topics, self._subscriptions.discard)
        self._join(made)
        return made

    def listen(self, topics: Iterable[str], on_message: Callable[[str, bytes], object]) -> Subscription:
        """Call `on_message` with topic and document (JSON, not decoded) of what is published from now on."""
        made = Subscription(self._context.socket(zmq.SUB), topics, self._subscriptions.discard, on_message)
        self._join(made)
        return made

    def _join(self, made: Subscription) -> None:
        self._subscriptions.add(made)
        if self._dial.up and self.commands is not None:
            made.connect(paths.events_beside(self.commands))

    async def follow_events(self, since: int | None = None) -> AsyncIterator[wire.Event]:
        """Yield every event after number `since` (None: from now on), for ever, none twice and none left out."""
        with self.subscribe(("event", "beat")) as heard:
            follower = Follower((await self.call("ping"))["seq"] if since is None else since)
            for event in await self.caught_up(follower):
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
        found = await self.caught_up(follower)
        if topic != "beat" and follower.take(seq):
            found.append(msgspec.convert(body, wire.Event))
        follower.settle(seq)
        return found

    async def caught_up(self, follower: Follower, n: int | None = None) -> list[wire.Event]:
        """Return the events after the follower's, oldest first, and move it on; with `n` only the last so many."""
        found: list[wire.Event] = []
        while True:
            args = {"since": follower.seq} | ({} if n is None else {"n": n})
            page = await self.call("events", args=args, into=list[wire.Event])
            found += [event for event in page if follower.take(event.seq)]
            if n is not None or len(page) < PAGE:
                return found


class Subscription:
    """Hand on what the core publishes under some topics; it reconnects by itself, what was missed is not sent again."""

    def __init__(
        self,
        heard: zmq.Socket[bytes],
        topics: Iterable[str],
        forget: Callable[[Any], None],
        on_message: Callable[[str, bytes], object],
    ) -> None:
        heard.linger = 0
        heard.reconnect_ivl = 100
        heard.reconnect_ivl_max = 2_000
        heard.rcvhwm = HEARD
        self._at: str | None = None
        self._forget = forget
        self._on_message = on_message
        self._drain = Drain(heard, self._take)
        for topic in topics:
            self.add(topic)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def connect(self, events: str) -> None:
        """Listen at an event socket, and no longer where it was before; the client says where it is."""
        if self._at is not None:
            self._drain.empty()
            with suppress(zmq.ZMQError):  # the peer is gone, and the endpoint with it
                self._drain.socket.disconnect(self._at)
        self._at = paths.endpoint(events)
        self._drain.socket.connect(self._at)
        self._drain.look_again()

    def add(self, topic: str) -> None:
        """Subscribe to one more topic (or prefix of topics)."""
        self._drain.socket.subscribe(topic)
        self._drain.look_again()

    def drop(self, topic: str) -> None:
        """Take a topic back."""
        self._drain.socket.unsubscribe(topic)
        self._drain.look_again()

    def close(self) -> None:
        """Stop listening."""
        self._forget(self)
        self._drain.close()

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) > 1:
            self._on_message(frames[0].decode("utf-8", "replace"), frames[1])


class AsyncSubscription(Subscription):
    """Bring what the core publishes as an async iterator."""

    def __init__(
        self, heard: zmq.Socket[bytes], topics: Iterable[str], forget: Callable[[AsyncSubscription], None]
    ) -> None:
        self._messages: deque[Message] = deque()
        self._more = asyncio.Event()
        super().__init__(heard, topics, forget, self._keep)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            self._more.clear()
            await self._more.wait()
        message = self._messages.popleft()
        if not self._messages:
            self._drain.release()
        return message

    def _keep(self, topic: str, body: bytes) -> None:
        with suppress(ValueError):  # of a future version; a follower sees the gap and asks
            self._messages.append(Message(topic, msgspec.json.decode(body)))
            self._more.set()
            if len(self._messages) >= AHEAD:
                self._drain.hold()


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
