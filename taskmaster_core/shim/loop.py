"""The one loop: descriptors, timers, and the order in which a turn serves them.

Decides who comes first (the wire and the signals, then exits, then output) and how long to sleep; an error of a
handler is told to `complain` and never leaves the loop. Everything else in the shim is called from here.
"""

from __future__ import annotations

import errno
import heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]

WIRE, EXITS, STREAMS = 0, 1, 2
"""Ranks within a turn."""
STREAMS_A_TURN = 16
"""How many streams are pumped before the wire is looked at again: bounds a turn to some 16 MiB."""

_FAILURES = 5  # in a row, until a descriptor is given a rest
_REST = 1.0  # seconds
_ROUNDS = 20  # of timers that set timers, until what is left may wait
_AGAIN = 0.05  # seconds until the kernel is asked again to watch what it had no room for
_NO_ROOM = (errno.ENOMEM, errno.ENOSPC)


class Timer:
    """Hold one deadline."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Make it never fire."""
        self.action = None

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class _Entry:
    __slots__ = ("failures", "fd", "handler", "mask", "rank", "watched")

    def __init__(self, fd: int, handler: Handler, rank: int, mask: int) -> None:
        self.fd = fd
        self.handler: Handler | None = handler
        self.rank = rank
        self.mask = mask
        self.failures = 0
        self.watched = False  # by the kernel: it may have no room at first


class Loop:
    """Wait in one system call; CLOCK_MONOTONIC, which is the clock epoll sleeps by."""

    def __init__(self, complain: Callable[[BaseException], None]) -> None:
        self._complain = complain
        self._epoll = select.epoll()
        self._streams = select.epoll()  # in an epoll of its own: a thousand busy streams cannot hide the wire
        self._epoll.register(self._streams.fileno(), select.EPOLLIN)
        self._entries: dict[int, _Entry] = {}
        self._timers: list[Timer] = []

    def watch(self, fd: int, handler: Handler, rank: int = EXITS, mask: int = select.EPOLLIN) -> None:
        """Call the handler with the mask whenever the descriptor is ready."""
        self._register(_Entry(fd, handler, rank, mask))

    def change(self, fd: int, mask: int) -> None:
        """Wait for something else from now on."""
        self._entries[fd].mask = mask
        self._modify(self._entries[fd], mask)

    def watch_stream(self, fd: int, handler: Handler) -> None:
        """Call the handler when output is there, a bounded number of streams a turn."""
        self._register(_Entry(fd, handler, STREAMS, select.EPOLLIN))

    def forget_stream(self, fd: int) -> None:
        """Stop waiting for output of this descriptor; it is still open."""
        self._drop(fd)

    def forget(self, fd: int) -> None:
        """Stop waiting for this descriptor; it is still open."""
        self._drop(fd)

    def _drop(self, fd: int) -> None:
        entry = self._entries.pop(fd)
        # an event of this turn for the old owner must not reach a new one that got the same number
        entry.handler = None
        if entry.watched:
            try:
                self._epoll_of(entry).unregister(fd)
            except OSError:
                pass  # nobody is called for it any more, and the kernel forgets what is closed

    def _epoll_of(self, entry: _Entry) -> select.epoll:
        return self._streams if entry.rank == STREAMS else self._epoll

    def _register(self, entry: _Entry) -> None:
        """Have the kernel watch it; where it has no room now, soon: nothing is to be given up for that."""
        try:
            self._epoll_of(entry).register(entry.fd, entry.mask)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self.after(_AGAIN, lambda: self._register_again(entry))
        else:
            entry.watched = True
        self._entries[entry.fd] = entry

    def _register_again(self, entry: _Entry) -> None:
        if self._entries.get(entry.fd) is entry:
            self._register(entry)

    def _modify(self, entry: _Entry, mask: int) -> None:
        if entry.watched:
            self._epoll_of(entry).modify(entry.fd, mask)

    def after(self, delay: float, action: Callable[[], None]) -> Timer:
        """Call the action once, `delay` seconds from now."""
        return self.at(time.monotonic() + delay, action)

    def at(self, instant: float, action: Callable[[], None]) -> Timer:
        """Call the action once, at this instant of CLOCK_MONOTONIC."""
        timer = Timer(instant, action)
        heapq.heappush(self._timers, timer)
        return timer

    def turn(self) -> None:
        """Sleep until something is due, and serve it."""
        events = self._epoll.poll(self._timeout())
        entries = self._entries
        streams = self._streams.fileno()
        pump = False
        ready = []
        for fd, mask in events:
            if fd == streams:
                pump = True
            elif fd in entries:
                ready.append((entries[fd], mask))
        if len(ready) > 1:
            ready.sort(key=_rank)
        for entry, mask in ready:
            self._serve(entry, mask)
        self._fire()
        if pump:
            self._pump()

    def _pump(self) -> None:
        events = self._streams.poll(0, STREAMS_A_TURN)
        ready = [(self._entries[fd], mask) for fd, mask in events if fd in self._entries]
        for entry, mask in ready:
            self._serve(entry, mask)

    def _serve(self, entry: _Entry, mask: int) -> None:
        if entry.handler is None:
            return
        try:
            entry.handler(mask)
            entry.failures = 0
        except Exception as error:  # the edge of the loop: an error becomes a report
            self._complain(error)
            self._suspend(entry)

    def _suspend(self, entry: _Entry) -> None:
        """Give a descriptor whose handler fails every time a rest: level-triggered, it would wake us for ever."""
        entry.failures += 1
        if entry.failures < _FAILURES or self._entries.get(entry.fd) is not entry:
            return
        self._modify(entry, 0)
        self.after(_REST, lambda: self._resume(entry))

    def _resume(self, entry: _Entry) -> None:
        if self._entries.get(entry.fd) is entry:
            self._modify(entry, entry.mask)

    def _timeout(self) -> float:
        while self._timers and self._timers[0].action is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return -1
        return max(0.0, self._timers[0].at - time.monotonic())

    def settle(self) -> None:
        """Do all that is due by now, and what follows from that at once."""
        for _ in range(_ROUNDS):
            if self._timeout() != 0:
                return
            self._fire()

    def _fire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            action = heapq.heappop(self._timers).action
            if action is None:
                continue
            try:
                action()
            except Exception as error:  # the edge of the loop: an error becomes a report
                self._complain(error)


def _rank(pair: tuple[_Entry, int]) -> int:
    return pair[0].rank
