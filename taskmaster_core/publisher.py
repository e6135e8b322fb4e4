"""Turn facts into numbered events: into the journal, into the human log, and then to whoever subscribed.

Decides the number and the wall time of an event, and that nobody hears of one before its row is written. It also sends
the conflated states and the heart-beat. The runtime calls it at the end of each turn of the loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from taskmaster_core import views, wire
from taskmaster_core.eventlog import EventLog
from taskmaster_core.journal import EventRow, Journal
from taskmaster_core.server import Server
from taskmaster_core.spec import Key
from taskmaster_core.supervisor import Fact, Supervisor
from taskmaster_core.timers import Timer, Timers
from taskmaster_core.wire import Event

STATE_EVERY = 0.1
"""Seconds between two batches of states (DESIGN §8)."""

BEAT_EVERY = 1.0

STEP = 0.5
"""Seconds by which the wall clock may drift until what was told by it is told again (K01)."""

_MOVES = frozenset({"added", "removed", "started"})


class Publisher:
    """Hold the events that are written but not yet published, and the rhythm of states and beats."""

    def __init__(self, boot: str, seq: int, journal: Journal, eventlog: EventLog, timers: Timers) -> None:
        self.boot = boot
        self.seq = seq
        """The number of the newest event."""
        self.journalled = seq
        """The number of the newest event whose row is written."""
        self.batches = 0
        """The number of the newest batch of states."""
        self.server: Server | None = None
        self.fill: Callable[[Iterable[wire.ProcessView], float], None] = lambda *_: None
        """Write into views what is known of cpu and memory."""
        self.wall_offset: Callable[[], float] = lambda: 0.0
        """Return what makes Unix time of an instant, now."""
        self.on_moved: Callable[[], None] = lambda: None
        """Called when processes came or went, or began another run: what is written elsewhere now."""
        self._offset: float | None = None
        self._journal = journal
        self._eventlog = eventlog
        self._timers = timers
        self._rows: list[EventRow] = []
        self._unpublished: deque[Event] = deque()
        self._unlogged: list[Event] = []
        self._changed: set[Key] = set()
        self._states_at: Timer | None = None
        self._last_states = 0.0
        self._beat: Timer | None = None

    def fact(self, fact: Fact, wall: float) -> None:
        """Give a fact its number; it is journalled by the next `flush` and published once that is done."""
        self.seq += 1
        event = Event(self.seq, self.boot, wall, fact.type, fact.key, fact.cause, fact.data)
        cause, data = wire.encode(event.cause).decode(), wire.encode(event.data).decode()
        self._rows.append(EventRow(self.seq, self.boot, wall, fact.type, fact.key, cause, data, fact.cause.request))
        self._unpublished.append(event)
        self._unlogged.append(event)
        if fact.type in _MOVES:
            self.on_moved()

    def recover(self, rows: Iterable[EventRow]) -> None:
        """Take over events that the core before had numbered and told the shim, but not the journal."""
        for row in rows:
            self.seq = row.seq
            self._rows.append(row)
            self._unpublished.append(row.to_event())

    @property
    def fresh(self) -> Sequence[EventRow]:
        """Return the events that the next `flush` hands to the journal."""
        return self._rows

    def flush(self) -> None:
        """Hand this turn's events to the journal and to the log; called once the shim has its orders.

        Both wake a thread that competes for the interpreter: an order must not wait for that.
        """
        if self._rows:
            self._journal.append(self._rows)
            self._rows = []
        for event in self._unlogged:
            self._eventlog.write(event.at, event.type, event.key, event.cause, event.data)
        self._unlogged.clear()

    def written(self, upto: int) -> None:
        """Publish every event whose row is in the journal (or, with the journal in trouble, in its memory)."""
        self.journalled = max(self.journalled, upto)
        while self._unpublished and self._unpublished[0].seq <= upto:
            event = self._unpublished.popleft()
            if self.server is not None and self.server.wanted(f"event.{event.type}"):
                self.server.publish(f"event.{event.type}", wire.encode(event))

    # States and beats --------------------------------------------------------------------------------------------

    def changed(self, keys: Iterable[Key], supervisor: Supervisor, now: float, wall: Callable[[], float]) -> None:
        """Note that processes changed; the batch goes out at once, or a tenth of a second after the last one."""
        if self.server is None or not self.server.wanted("state"):
            self.batches += 1  # nobody hears it, and whoever subscribes at this moment must see that it missed one
            return
        self._changed.update(keys)
        if self._states_at is None:
            due = max(now, self._last_states + STATE_EVERY)
            self._states_at = self._timers.at(due, lambda: self._send_states(supervisor, due, wall()))

    def _send_states(self, supervisor: Supervisor, now: float, wall: float) -> None:
        self._states_at = None
        self._last_states = now
        self.batches += 1
        keys, self._changed = self._changed, set()
        procs = [supervisor.procs.get(key) for key in sorted(keys)]
        alive = [views.process_view(proc, now, wall) for proc in procs if proc is not None]
        self.fill(alive, now)
        gone = [str(key) for key in sorted(keys) if key not in supervisor.procs]
        if self.server is not None:
            self.server.publish("state", wire.encode(wire.StateBatch(self.boot, self.seq, alive, gone, self.batches)))

    def last_states(self, supervisor: Supervisor, now: float, wall: float) -> None:
        """Send the batch that still waits for its time: the core ends, and viewers must not keep an older picture."""
        if self._states_at is not None:
            self._states_at.cancel()
            self._send_states(supervisor, now, wall)

    def topics_changed(self, now: float) -> None:
        """Beat while anybody subscribes to anything, and only then."""
        if self.server is not None and self.server.topics:
            if self._beat is None:
                self._send_beat(now)
        elif self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def _send_beat(self, now: float) -> None:
        if self.server is not None:
            offset = self.wall_offset()
            self._look_at_clock(offset)
            self.server.publish("beat", wire.encode(wire.Beat(self.boot, self.seq, self.batches, now + offset)))
        due = now + BEAT_EVERY  # after a suspend one beat is late, not one for each second of it
        self._beat = self._timers.at(due, lambda: self._send_beat(max(due, self._timers.now)))

    def _look_at_clock(self, offset: float) -> None:
        """Have every client ask anew when the wall clock was set: what views say of the past is told in its times."""
        if self._offset is not None and abs(offset - self._offset) < STEP:
            return
        self.batches += self._offset is not None  # a batch that nobody got: the beat shows that it is missing
        self._offset = offset
