"""Keep one listening unix socket and the connections made to it, within bounds that no peer can move.

It decides who may stay when there is no more room, how much is read of whom in a turn, and how much waits for whom.
What messages mean is for the server, which makes two of these: one for requests, one for events.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import count, islice
from time import monotonic
from typing import NamedTuple

from taskmaster_core import zmtp
from taskmaster_core.errors import Refused

BACKLOG = 128
ACCEPTED = 16
"""Connections taken in one turn; the others wait in the kernel."""

EACH = 20
"""Messages taken of one peer in one turn, so that a flood of one cannot keep the others waiting."""

SLICE = 0.02
"""Seconds a turn takes messages: what waits behind them (the shim's reports) waits no longer."""

GULP = 65_536
"""Bytes read of one peer in one turn."""

HANDSHAKE = 2.0
"""Seconds a peer has to say who it is."""

TIRED = 0.5
"""Seconds no connection is taken after the kernel refused one (no descriptors left)."""

FULL = 1 << 20
"""Bytes waiting for a peer: beyond, nothing more is read of it until it has read."""

WAITING, BEHIND = 1_000, 8 << 20
"""Messages, and bytes of them, waiting for a subscriber: beyond, it loses what comes, and sees the gap."""

HELD = 64 << 20
"""Bytes kept of all peers together: of messages that are not whole, and of answers not read. The greediest goes."""

_PEERGROUPS = 59  # SO_PEERGROUPS, Linux 4.13; the socket module does not name it


class Credentials(NamedTuple):
    """Hold who made a connection, as the kernel says, at the moment it was made."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int]

    def __str__(self) -> str:
        """Return what events and logs call the peer."""
        return f"uid {self.uid} pid {self.pid}"


def credentials(made: socket.socket) -> Credentials:
    """Return who is at the other end of a unix socket; the pid is for people, it may be another's by now."""
    pid, uid, gid = struct.unpack("3i", made.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups: tuple[int, ...] = ()
    with suppress(OSError):  # ERANGE: more than Python's 1,024 bytes hold; or a kernel that does not tell: none count
        raw = made.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, 1024)
        groups = struct.unpack(f"{len(raw) // 4}I", raw)
    return Credentials(uid & 0xFFFFFFFF, gid & 0xFFFFFFFF, pid, frozenset((gid & 0xFFFFFFFF, *groups)))


class Connection:
    """Hold one peer: what is not whole yet, and what waits for it."""

    def __init__(self, number: int, made: socket.socket, kind: bytes) -> None:
        self.number = number
        self.socket = made
        self.who = credentials(made)
        self.reader = zmtp.Reader(kind)
        self.queue: deque[bytes | memoryview] = deque()
        self.queued = 0
        self.interests: Counter[str] = Counter()
        """What it waits for: topics, or requests that are not answered."""
        self.lengths: Counter[int] = Counter()
        """The lengths of its topics."""
        self.born = self.used = monotonic()
        self.mask = select.EPOLLIN
        self.more = False
        """What was read of it may hold a whole message still."""
        self.deaf = False
        """Nothing can be sent to it any more."""
        self.gone = False

    @property
    def paused(self) -> bool:
        """Tell whether it must read before it is read on."""
        return self.queued > FULL

    def wants(self, topic: str) -> bool:
        """Tell whether one of its topics is the beginning of this one."""
        return any(topic[:length] in self.interests for length in self.lengths)


class Listener:
    """Hold a listening socket and its file."""

    def __init__(self, path: str, gid: int | None) -> None:
        self.path = path
        self._gid = gid
        self._socket: socket.socket | None = None

    @property
    def fd(self) -> int:
        """Return its descriptor, -1 while it is closed."""
        return self._socket.fileno() if self._socket is not None else -1

    def bind(self) -> None:
        """Listen at the path, mode 0600 (0660 for the group); raise Refused when something else stands there."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                help_ = "move it away, or use --instance"
                raise Refused(f"{self.path} is not a socket: it was not made by taskmaster", help_)
            os.unlink(self.path)
        made = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177 if self._gid is None else 0o117)
        try:
            made.bind(self.path)
        except OSError as error:
            made.close()
            raise Refused(f"cannot bind {self.path}: {error}", "is the run directory writable?") from error
        finally:
            os.umask(before)
        if self._gid is not None:
            os.chown(self.path, -1, self._gid)
        made.setblocking(False)
        made.listen(BACKLOG)
        self.close()
        self._socket = made

    def accept(self) -> socket.socket | None:
        """Return the next connection, None if nobody waits; raise OSError where the kernel has no room."""
        if self._socket is None:
            return None
        while True:
            try:
                return self._socket.accept()[0]
            except BlockingIOError:
                return None
            except ConnectionError:
                continue

    def waits(self) -> bool:
        """Tell whether somebody waits: a kernel without room says so even where nobody does."""
        asking = select.poll()
        asking.register(self.fd, select.POLLIN)
        return bool(asking.poll(0))

    def close(self) -> None:
        """Listen no more; the file stays."""
        if self._socket is not None:
            self._socket.close()  # an epoll forgets what is closed
            self._socket = None


def _missed_least(connections: Collection[Connection], uid: int | None) -> Connection | None:
    """Return the idlest connection of the greediest user; one that waits for something only for another user's sake."""
    shares = Counter(each.who.uid for each in connections)
    greediest = max(shares, key=lambda each: shares[each], default=None)
    its = [each for each in connections if each.who.uid == greediest]
    idle = [each for each in its if not each.interests] or (its if uid not in (None, greediest) else [])
    return min(idle, key=lambda each: each.used, default=None)


Take = Callable[[Connection, list[bytes]], None]
Tell = Callable[[Connection], None]


class Port:
    """Hold the listening socket, the connections, and who waits for what."""

    def __init__(self, path: str, kind: bytes, most: int, gid: int | None, take: Take, gone: Tell) -> None:
        self.connections: dict[int, Connection] = {}
        self._kind = kind
        self._most = most
        self._take_in = take
        self._tell_gone = gone
        self._epoll = select.epoll()
        self._listener = Listener(path, gid)
        self._by_fd: dict[int, Connection] = {}
        self._strangers: dict[int, Connection] = {}
        self._unread: dict[int, Connection] = {}
        self._unsent: dict[int, Connection] = {}
        self._big: dict[int, Connection] = {}
        self._queued = 0
        self._numbers = count(1)
        self._tired_until: float | None = None

    @property
    def fd(self) -> int:
        """Return the descriptor that is readable when there is something to do."""
        return self._epoll.fileno()

    @property
    def waits(self) -> bool:
        """Tell whether something was read that no turn has taken yet."""
        return bool(self._unread)

    def bind(self) -> None:
        """Listen, once more if the file is gone; raise Refused when something else stands there (P16)."""
        self._listener.bind()
        self._epoll.register(self._listener.fd, select.EPOLLIN)

    def close(self, linger: float) -> None:
        """Send what still waits, for `linger` seconds at most, and close everything; the file stays."""
        self._listener.close()
        until = monotonic() + linger
        while waiting := [each for each in self.connections.values() if each.queue]:
            for each in waiting:
                self._write(each)
            left = until - monotonic()
            if left <= 0:
                break
            select.select([], [each.socket for each in waiting if each.queue][:500], [], left)
        for each in self.connections.values():
            each.gone = True
            each.socket.close()
        self._epoll.close()

    def turn(self) -> bool:
        """Take in what has come, as much as a turn may; return whether more waits."""
        self._dismiss_strangers()
        for fd, mask in self._epoll.poll(0, 256):
            if fd == self._listener.fd:
                self._accept()
            elif (each := self._by_fd.get(fd)) is not None:
                self._serve(each, mask)
        until = monotonic() + SLICE
        for _ in range(len(self._unread)):  # one after the other, each once
            if not self._unread or monotonic() >= until:
                break
            each = self._unread.pop(next(iter(self._unread)))
            self._take(each) if each.more else self._read(each)
        return bool(self._unread)

    def _serve(self, each: Connection, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._write(each)
        if each.paused:
            if mask & (select.EPOLLHUP | select.EPOLLERR):
                self.drop(each)
        elif mask & ~select.EPOLLOUT:
            self._unread.setdefault(each.number, each)

    def _accept(self) -> None:
        for _ in range(ACCEPTED):
            try:
                made = self._listener.accept()
            except OSError:  # no descriptors left: whoever only sits there has to go, and the next turn goes on
                if self._listener.waits() and not self._make_room(None):
                    self._epoll.unregister(self._listener.fd)  # asking again at once would spin
                    self._tired_until = monotonic() + TIRED
                return
            if made is None:
                return
            self._welcome(made)

    def _welcome(self, made: socket.socket) -> None:
        made.setblocking(False)
        each = Connection(next(self._numbers), made, self._kind)
        if len(self.connections) >= self._most and not self._make_room(each.who.uid):
            made.close()
            return
        self.connections[each.number] = self._by_fd[made.fileno()] = self._strangers[each.number] = each
        self._epoll.register(made.fileno(), each.mask)
        each.queue.append(zmtp.GREETING)
        each.queued = len(zmtp.GREETING)
        self._queued += each.queued
        self._write(each)

    def _make_room(self, uid: int | None) -> bool:
        """End the connection that is missed least; return False when everybody has more right to stay than `uid`."""
        victim = next(iter(self._strangers.values()), None) or _missed_least(self.connections.values(), uid)
        if victim is not None:
            self.drop(victim)
        return victim is not None

    def _dismiss_strangers(self) -> None:
        now = monotonic()
        for each in list(islice(self._strangers.values(), 64)):
            if now - each.born < HANDSHAKE:
                break
            self.drop(each)
        if self._tired_until is not None and now >= self._tired_until:
            self._tired_until = None
            self._epoll.register(self._listener.fd, select.EPOLLIN)

    # Reading -------------------------------------------------------------------------------------------------------

    def _read(self, each: Connection) -> None:
        try:
            data = each.socket.recv(GULP)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            each.reader.feed(data)
            self._take(each)
        else:
            self.drop(each)

    def _take(self, each: Connection) -> None:
        """Hand over what is whole; what a turn has no time for is taken in the next."""
        each.more = True
        try:
            for _ in range(EACH):
                if each.gone or each.paused:
                    break
                frames = each.reader.next()
                if frames is None:
                    each.more = False
                    break
                each.used = monotonic()
                self._take_in(each, frames)
            else:
                self._unread[each.number] = each
        except zmtp.Broken:
            self.drop(each)
            return
        self._after_reading(each)

    def _after_reading(self, each: Connection) -> None:
        if each.gone:
            return
        if each.reader.met:
            self._strangers.pop(each.number, None)
        if each.reader.reply:
            said = bytes(each.reader.reply)
            each.reader.reply.clear()
            self.send(each, said)
            self._write(each)
        if each.reader.held > GULP:
            self._big[each.number] = each
            self._bound((held.reader.held, held) for held in self._big.values())
        else:
            self._big.pop(each.number, None)

    def _bound(self, shares: Iterable[tuple[int, Connection]]) -> None:
        """Cut the greediest off when all together hold too much."""
        found = list(shares)
        if sum(size for size, _ in found) > HELD:
            self.drop(max(found, key=lambda share: share[0])[1])

    # Writing -------------------------------------------------------------------------------------------------------

    def send(self, each: Connection, data: bytes) -> None:
        """Send at the end of the turn."""
        if each.gone or each.deaf:
            return
        each.queue.append(data)
        each.queued += len(data)
        self._queued += len(data)
        self._unsent[each.number] = each
        if self._queued > HELD and each.queued > FULL:
            self._bound((held.queued, held) for held in self.connections.values())

    def publish(self, topic: str, data: bytes) -> None:
        """Send to whoever wants this topic; one that does not read loses it."""
        for each in self.connections.values():
            if len(each.queue) < WAITING and each.queued < BEHIND and each.wants(topic):
                each.queue.append(data)  # shared by all of them: what waits for many costs as for one
                each.queued += len(data)
                self._queued += len(data)
                self._unsent[each.number] = each

    def flush(self) -> None:
        """Send what this turn brought."""
        while self._unsent:
            _, each = self._unsent.popitem()
            if each.mask & select.EPOLLOUT == 0:  # else it is called once the peer has room
                self._write(each)

    def _write(self, each: Connection) -> None:
        was_paused = each.paused
        try:
            with suppress(BlockingIOError):
                while each.queue:
                    self._sent(each, each.socket.sendmsg(list(islice(each.queue, 64))))
        except OSError:
            self._sent(each, each.queued)  # what it had said before it went is still read
            each.deaf = True
        self._arm(each)
        if was_paused and not each.paused and not each.gone:
            self._unread[each.number] = each

    def _sent(self, each: Connection, size: int) -> None:
        each.queued -= size
        self._queued -= size
        while size and each.queue:
            head = each.queue.popleft()
            if len(head) > size:
                each.queue.appendleft(memoryview(head)[size:])
                return
            size -= len(head)

    def _arm(self, each: Connection) -> None:
        mask = (0 if each.paused else select.EPOLLIN) | (select.EPOLLOUT if each.queue else 0)
        if mask != each.mask and not each.gone:
            each.mask = mask
            self._epoll.modify(each.socket.fileno(), mask)

    # The end of one ------------------------------------------------------------------------------------------------

    def drop(self, each: Connection) -> None:
        """Cut a peer off."""
        if each.gone:
            return
        each.gone = True
        self._queued -= each.queued
        del self.connections[each.number], self._by_fd[each.socket.fileno()]
        for known in (self._strangers, self._unread, self._unsent, self._big):
            known.pop(each.number, None)
        each.socket.close()
        if self._tired_until is not None:
            self._tired_until = 0.0  # there is a descriptor again
        self._tell_gone(each)
