"""Take requests in, send replies and events out, over two unix sockets that speak ZeroMQ (docs/protocol.md).

Decides what is a request, who sent it and which role that gives; what it means is for the operations. Nothing that
arrives makes it raise: a frame that is no request is answered, or dropped where there is nobody to answer. The daemon
polls `fds`, calls `pump` in every turn, and `flush` at its end.
"""

from __future__ import annotations

import os
import resource
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from taskmaster_core import wire, zmtp
from taskmaster_core.access import Grants, Role, grants, of_prefix, of_topic
from taskmaster_core.errors import BadRequest, Refused, TaskmasterError
from taskmaster_core.ports import Connection, Port

REMEMBERED = 1_000
REMEMBERED_BYTES = 16 << 20
"""So many replies, and bytes of them, are kept for requests that are repeated (RELIABILITY P09)."""

OPEN = 256
"""Requests of one peer that wait for their effect; one more is refused."""

MAX_SUBSCRIPTION = 128
MAX_SUBSCRIPTIONS = 4_096
"""Longer and more topics of one peer than these are not remembered: they bring nothing (P13)."""

MOST = 1_024
"""Connections to one socket, where there are descriptors for so many."""


class Peer(Struct, frozen=True):
    """Name who asked: where the answer goes, and what is known of who is there."""

    address: int | bytes
    """The number of a local connection, or how a remote one is called."""
    delimiter: bool
    who: str
    """For events and logs: "uid 0 pid 123", or the name of a key and an address."""
    principal: str = ""
    """Who that is over all its connections."""
    role: Role = Role.NOBODY


class Asked(Struct):
    """Hold a request and where its answer goes."""

    peer: Peer
    request: wire.Request


class Remote(Protocol):
    """What the server wants of the door for peers of other machines."""

    topics: set[str]

    @property
    def fds(self) -> list[int]:
        """Return the descriptors to poll."""

    def turn(self) -> bool:
        """Take in what has come; return whether more waits."""

    def pending(self) -> bool:
        """Tell whether something waits."""

    def send(self, address: bytes, frames: list[bytes]) -> None:
        """Send to one peer, or drop it."""

    def publish(self, topic: str, frames: list[bytes]) -> None:
        """Send to whoever subscribed."""

    def close(self) -> None:
        """Close everything."""


def room() -> int:
    """Return how many connections one socket may have: never so many that descriptors run out."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(8, min(MOST, soft // 4))


class Topics:
    """Hold what local subscribers want to hear, and may."""

    def __init__(self, granted: Grants) -> None:
        self.grants = granted
        self.wanted: set[str] = set()
        self.changed = False
        self._counts: Counter[str] = Counter()

    def subscribed(self, each: Connection, frames: list[bytes]) -> None:
        """Take a subscription, or take one back; what is too long, too many or not allowed brings nothing."""
        frame = frames[0]
        if len(frames) > 1 or not frame or frame[0] > 1 or len(frame) > MAX_SUBSCRIPTION:
            return
        topic = frame[1:].decode("utf-8", "replace")
        if frame[0] == 0:
            self._drop(each, topic)
        elif topic not in each.interests and len(each.interests) < MAX_SUBSCRIPTIONS and self._may_hear(each, topic):
            each.interests[topic] = 1
            each.lengths[len(topic)] += 1
            self._counts[topic] += 1
            if self._counts[topic] == 1:
                self.wanted.add(topic)
                self.changed = True

    def _may_hear(self, each: Connection, topic: str) -> bool:
        wanted = of_prefix(topic)
        return wanted is not None and self.grants.role(each.who.uid, each.who.groups) >= wanted

    def _drop(self, each: Connection, topic: str) -> None:
        if each.interests.pop(topic, None) is None:
            return
        each.lengths[len(topic)] -= 1
        if not each.lengths[len(topic)]:
            del each.lengths[len(topic)]
        self._counts[topic] -= 1
        if not self._counts[topic]:
            del self._counts[topic]
            self.wanted.discard(topic)
            self.changed = True

    def unsubscribed(self, each: Connection) -> None:
        """Forget a subscriber that is gone."""
        for topic in list(each.interests):
            self._drop(each, topic)

    def hold_to(self, granted: Grants, connections: Iterable[Connection]) -> None:
        """Take the roles that hold from now on; whoever has lost his hears no more."""
        self.grants = granted
        for each in connections:
            for topic in [topic for topic in each.interests if not self._may_hear(each, topic)]:
                self._drop(each, topic)


class Server:
    """Hold the sockets, the subscriptions, and the replies of late."""

    def __init__(
        self, commands: str, events: str, on_request: Callable[[Asked], None], gid: int | None = None,
        most: int | None = None,
    ) -> None:  # fmt: skip
        self._paths = (commands, events)
        self._on_request = on_request
        most = most or room()
        self._commands = Port(commands, zmtp.ROUTER, most, gid, self._heard, self._gone)
        self._heard_by = Topics(grants(os.getuid(), (), (), gid))
        self._events = Port(events, zmtp.XPUB, most, gid, self._heard_by.subscribed, self._heard_by.unsubscribed)
        self._answers: OrderedDict[tuple[str, str], list[bytes] | None] = OrderedDict()
        self._remembered = 0
        self._late: dict[tuple[str, str], list[Peer]] = {}
        self._whose: dict[str, str] = {}
        """Who asked each open request: behind this, requests are known by their ids alone."""
        self._away: dict[str, Counter[str]] = {}
        self.remote: Remote | None = None
        self.on_topics: Callable[[], None] = lambda: None
        self.on_gone: Callable[[str, int], bool] = lambda *_: False
        """Told of a request nobody waits for any more, and by whom it was made; True: it is given up."""

    @property
    def fds(self) -> list[int]:
        """Return the descriptors to poll."""
        return [self._commands.fd, self._events.fd, *(self.remote.fds if self.remote is not None else ())]

    @property
    def grants(self) -> Grants:
        """Return who has which role; it may be replaced at any time, and holds for connections that are there."""
        return self._heard_by.grants

    @grants.setter
    def grants(self, granted: Grants) -> None:
        self._heard_by.hold_to(granted, self._events.connections.values())

    @property
    def topics(self) -> set[str]:
        """Return what anybody subscribes to."""
        return self._heard_by.wanted if self.remote is None else self._heard_by.wanted | self.remote.topics

    def bind(self) -> None:
        """Bind both sockets, mode 0600 (0660 for the group); raise Refused when something else stands there."""
        self._commands.bind()
        self._events.bind()

    def rebind(self) -> None:
        """Bind again after somebody removed the socket files."""
        self.bind()

    def close(self, *, to_be_bound_again: bool = False) -> None:
        """Say what is still to be said and close. The files go too: one that is left tells that a core will follow."""
        for port, path in zip((self._commands, self._events), self._paths, strict=True):
            port.close(0.2)
            if not to_be_bound_again:
                with suppress(OSError):
                    os.unlink(path)
        if self.remote is not None:
            self.remote.close()

    # Turns -------------------------------------------------------------------------------------------------------

    def pump(self) -> bool:
        """Take in what has come; return whether more waits than one turn takes."""
        more = self._events.turn()
        if self.remote is not None:
            before = frozenset(self.remote.topics)
            more = self.remote.turn() or more
            self._heard_by.changed = self._heard_by.changed or before != self.remote.topics
        if self._heard_by.changed:
            self._heard_by.changed = False
            self.on_topics()
        more = self._commands.turn() or more
        self.flush()
        return more

    def pending(self) -> bool:
        """Tell whether something waits that was read already; asked before sleeping."""
        away = self.remote is not None and self.remote.pending()
        return self._commands.waits or self._events.waits or away

    def flush(self) -> None:
        """Send what this turn brought."""
        self._commands.flush()
        self._events.flush()

    # Requests ----------------------------------------------------------------------------------------------------

    def _heard(self, each: Connection, frames: list[bytes]) -> None:
        who = each.who
        role = self.grants.role(who.uid, who.groups)
        delimiter = not frames[0] and len(frames) > 1
        peer = Peer(each.number, delimiter, str(who), _principal(each), role)
        self.receive(peer, frames[1:] if delimiter else frames)

    def receive(self, peer: Peer, body: list[bytes]) -> None:
        """Take what somebody sent: a request is handed over, everything else is answered with an error."""
        if len(body) != 1 or not body[0]:
            what = f"a request is one frame, not {len(body)}" if len(body) != 1 else "a request is no empty frame"
            self._refuse(peer, "", BadRequest(what))
            return
        frame = body[0]
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
        key = _key(asked)
        if key not in self._answers:
            refusal = self._refusal(asked)
            if refusal is not None:
                self._refuse(asked.peer, asked.request.id, refusal)
                return
            self._answers[key] = None
            self._whose[asked.request.id] = asked.peer.principal
            self._forget_old()
            self._on_request(asked)
            return
        answer = self._answers[key]
        if answer is not None:
            self._send(asked.peer, answer)
        else:
            self._wait_too(key, asked.peer)

    def _wait_too(self, key: tuple[str, str], peer: Peer) -> None:
        late = self._late.setdefault(key, [])
        if len(late) < OPEN:
            late.append(peer)

    def _refusal(self, asked: Asked) -> Refused | None:
        """Return why a request cannot be opened, None once it is."""
        if self._whose.get(asked.request.id, asked.peer.principal) != asked.peer.principal:  # ids are told in events
            return Refused("an open request of somebody else has this `id`", "make ids up at random")
        if not self._opened(asked):
            message = f"{OPEN} requests of this connection wait for their effect already"
            return Refused(message, "wait for answers before you ask more")
        return None

    def _opened(self, asked: Asked) -> bool:
        """Count a request that is open; return False when its peer has too many of them."""
        interests = self._interests(asked.peer)
        if len(interests) >= OPEN:
            return False
        interests[asked.request.id] = 1
        return True

    def _interests(self, peer: Peer) -> Counter[str]:
        """Return the open requests of a connection, or of a key: what those of other machines have in common."""
        each = self._connection(peer)
        if each is not None:
            return each.interests
        return self._away.setdefault(peer.principal, Counter())

    def _connection(self, peer: Peer) -> Connection | None:
        return self._commands.connections.get(peer.address) if isinstance(peer.address, int) else None

    def _forget_old(self) -> None:
        while len(self._answers) > REMEMBERED or self._remembered > REMEMBERED_BYTES:
            oldest = next((key for key, answer in self._answers.items() if answer is not None), None)
            if oldest is None:
                return  # all of them still wait for their effect
            self._remembered -= sum(map(len, self._answers.pop(oldest) or ()))

    def _gone(self, each: Connection) -> None:
        """Let go of what only a peer that is gone has waited for."""
        for request_id in list(each.interests):
            key = (_principal(each), request_id)
            if key not in self._late and self._answers.get(key, ()) is None and self.on_gone(request_id, each.number):
                del self._answers[key]
                self._whose.pop(request_id, None)

    def answer(self, asked: Asked, result: object, raw: bytes | None = None, *, keep: bool = True) -> None:
        """Send a result; `keep` False: do not remember it (reading twice is harmless, and the answer may be large)."""
        frames = [wire.reply_ok(asked.request.id, result)] + ([raw] if raw is not None else [])
        self._finish(asked, frames, keep)

    def refuse(self, asked: Asked, error: TaskmasterError, detail: object = None, *, keep: bool = True) -> None:
        """Send an error."""
        self._finish(asked, [wire.reply_error(asked.request.id, error, detail)], keep)

    def _finish(self, asked: Asked, frames: list[bytes], keep: bool) -> None:
        key = _key(asked)
        self._whose.pop(asked.request.id, None)
        if keep:
            self._answers[key] = frames
            self._remembered += sum(map(len, frames))
        else:
            self._answers.pop(key, None)
        interests = self._interests(asked.peer)
        interests.pop(asked.request.id, None)
        if not interests:
            self._away.pop(asked.peer.principal, None)
        for peer in (asked.peer, *self._late.pop(key, ())):
            self._send(peer, frames)

    def _refuse(self, peer: Peer, request_id: str, error: TaskmasterError) -> None:
        self._send(peer, [wire.reply_error(request_id, error)])

    def _send(self, peer: Peer, frames: list[bytes]) -> None:
        """Send to a peer; one that is gone or does not read loses its answer, nobody waits for it (P08)."""
        frames = [b"", *frames] if peer.delimiter else frames
        each = self._connection(peer)
        if each is not None:
            self._commands.send(each, zmtp.pack(frames))
        elif isinstance(peer.address, bytes) and self.remote is not None:
            self.remote.send(peer.address, frames)

    # Events --------------------------------------------------------------------------------------------------------

    def wanted(self, topic: str) -> bool:
        """Tell whether anybody subscribed to this topic (by prefix, as ZeroMQ does)."""
        found = self.topics
        if len(found) > len(topic):
            return any(topic[:end] in found for end in range(len(topic) + 1))
        return any(topic.startswith(prefix) for prefix in found)

    def publish(self, topic: str, body: bytes, raw: bytes | None = None) -> None:
        """Send to whoever subscribed; a slow one loses it and sees the gap by seq, or by offset."""
        if of_topic(topic) is None:
            return  # nobody has said who may hear it
        frames = [topic.encode(), body] + ([raw] if raw is not None else [])
        self._events.publish(topic, zmtp.pack(frames))
        if self.remote is not None:
            self.remote.publish(topic, frames)


def _principal(each: Connection) -> str:
    return f"uid {each.who.uid}"


def _key(asked: Asked) -> tuple[str, str]:
    """Return what a repeated request has in common with the first: nobody gets the answer to another's."""
    return asked.peer.principal, asked.request.id
