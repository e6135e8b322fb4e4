"""The journal: events and intents on disk, written by one thread, readable at any time.

The main thread hands rows over and never waits; what is on disk is told by completions. When the disk is full, locked,
broken or gone, the journal says so in `trouble`, remembers what it can and heals by itself. The core's runtime, its
publisher and the operation `events` use it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

from msgspec import Struct

from taskmaster_core.errors import Refused, TimedOut
from taskmaster_core.intents import Intent
from taskmaster_core.journal.rows import EventRow, Memory, Question
from taskmaster_core.journal.store import TooSlow, is_unreadable, read
from taskmaster_core.journal.writer import Completion, Order, Writer

__all__ = ["Completion", "EventRow", "Journal", "Start"]

ANSWER_WITHIN = 1.0
"""Seconds a question may keep the caller, who is the main loop."""

CLOSE_WITHIN = 10.0
"""Seconds the last commit may take; a disk that hangs must not hold the end up."""


class Start(Struct):
    """Tell what the journal knew when it was opened."""

    last_seq: int
    """The next event is this plus one."""
    intents: list[Intent]
    recent_requests: list[str]
    trouble: str


class Journal:
    """Hold the main thread's side."""

    def __init__(self, path: str, keep_seconds: float, wake: Callable[[], None]) -> None:
        self._path = path
        self._wake = wake
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._done: deque[Completion] = deque()
        self._writer = Writer(path, keep_seconds, self._orders, self._deliver)
        self._memory = Memory()
        self._written = 0
        self._thread: threading.Thread | None = None

    @property
    def trouble(self) -> str:
        """Tell what is wrong, in words; empty: nothing."""
        return self._writer.trouble

    def keep(self, seconds: float) -> None:
        """Keep events for so long from now on."""
        self._writer.keep = seconds

    def start(self) -> Start:
        """Open the journal and start the thread; never raises: what is wrong is in `trouble`."""
        last = self._writer.begin()
        requests: list[str] = []
        if not self._writer.off:
            try:
                requests = self._writer.store.recent_requests()
            except sqlite3.Error as error:
                self._suspect(error)
        begun = Start(last, list(self._writer.intents.values()), requests, self.trouble)
        self._written = last
        self._thread = threading.Thread(target=self._writer.run, name="journal", daemon=True)
        self._thread.start()
        return begun

    def append(self, rows: Sequence[EventRow]) -> None:
        """Hand rows over, in the order of their numbers; a completion without token tells that they are written."""
        self._memory.add(rows, self._written)
        self._orders.put(Order(rows=tuple(rows)))

    def barrier(self, token: int, full: bool = True) -> None:
        """Have a completion with the token once everything before is written; with `full` it survives a power cut."""
        self._orders.put(Order(token=token, full=full))

    def put_intents(self, changes: Sequence[Intent], token: int) -> None:
        """Write changes of the intents, for good; then have a completion with the token."""
        self._orders.put(Order(changes=tuple(changes), token=token, full=True))

    def completions(self) -> Iterator[Completion]:
        """Give what was done since the last call; call it after `wake`."""
        while self._done:
            done = self._done.popleft()
            if done.ok:
                self._written = done.upto
            yield done

    def events(
        self,
        since_seq: int | None = None,
        before_seq: int | None = None,
        since_time: float | None = None,
        until: float | None = None,
        keys: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        limit: int | None = None,
        tail: int | None = None,
    ) -> list[EventRow]:
        """Return events, oldest first, at most 10,000; raise TimedOut if they are too many to look through.

        `keys` are exact keys or globs. While the disk is in trouble, what memory holds is the answer; Refused is raised
        where what is asked for is older than that, so that nobody takes it for the beginning of the journal.
        """
        question = Question(since_seq, before_seq, since_time, until, keys, types, limit, tail)
        stored: list[EventRow] = []
        try:
            stored = read(self._path, question, ANSWER_WITHIN)
        except TooSlow:
            raise TimedOut("the journal holds too many events for this question", "ask for a shorter time") from None
        except sqlite3.Error as error:
            self._suspect(error)
            if (before_seq or 0) > 1 and not any(row.seq < (before_seq or 0) for row in self._memory.rows):
                raise Refused(f"older events cannot be read now: {error}", "try again") from None
        return question.answer(stored, self._memory.rows)

    def close(self) -> None:
        """Write what is left and end the thread; `completions` tells the rest."""
        self._orders.put(Order(close=True))
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN)

    def _suspect(self, error: sqlite3.Error) -> None:
        if is_unreadable(error):
            self._orders.put(Order(suspect=str(error)))

    def _deliver(self, done: list[Completion]) -> None:
        self._done.extend(done)
        self._wake()
