"""Turn events into rows: when, what about, what happened and because of what.

Decides which events are kept in memory and which a filter shows. The Events view and the detail pane show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from taskmaster_core.wire import Event
from taskmaster_tui.model import fmt, story
from taskmaster_tui.model.columns import Column

EVENT_COLUMNS = (
    Column("at", "TIME", 13, "left", 0),
    Column("key", "ABOUT", 14, "left", 0),
    Column("text", "WHAT HAPPENED, AND WHY", 0, "left", 0),
)

KEPT = 5_000
"""Events in memory, 1.4 KiB each; older ones are asked of the journal again when somebody goes there."""
READ = 20_000
"""Events in memory at most while somebody reads older ones: beyond them those at the far end are forgotten, never the
one under the cursor."""

BAD = frozenset({"error", "failed", "warn"})


class EventRows:
    """Be a row source of events, oldest first; the id of a row is the event's number."""

    def __init__(self) -> None:
        self.filter = ""
        self.problems = False
        self.now = 0.0
        self._events: dict[str, Event] = {}
        self._ids: list[str] = []

    def load(self, events: Iterable[Event]) -> None:
        """Show these events and no others."""
        self._events = {str(event.seq): event for event in events}
        self.rebuild()

    def add(self, events: Iterable[Event], most: int = KEPT) -> bool:
        """Add newer events; of more than `most` forget the oldest, and tell whether there were any.

        What is not newer than all that is here is left out: the order is that of the numbers.
        """
        last = self.last or 0
        new = [event for event in events if event.seq > last]
        self._events.update((str(event.seq), event) for event in new)
        self._ids += [str(event.seq) for event in new if self._shows(event)]
        old = list(islice(self._events, max(len(self._events) - most, 0)))
        for each in old:
            del self._events[each]
        gone = next((at for at, each in enumerate(self._ids) if each in self._events), len(self._ids)) if old else 0
        del self._ids[:gone]
        return bool(old)

    def prepend(self, events: Iterable[Event], most: int = READ) -> bool:
        """Add older events in front; of more than `most` forget the newest, and tell whether there were any."""
        older = {str(event.seq): event for event in events}
        self._events = {**older, **self._events}
        self._ids = [number for number, event in older.items() if self._shows(event)] + self._ids
        many = max(len(self._events) - most, 0)
        for _ in range(many):
            gone, _event = self._events.popitem()
            if self._ids[-1:] == [gone]:
                self._ids.pop()
        return bool(many)

    def rebuild(self) -> None:
        """Decide anew which are shown."""
        self._ids = [number for number, event in self._events.items() if self._shows(event)]

    @property
    def total(self) -> int:
        """Return how many events are in memory, shown or not."""
        return len(self._events)

    @property
    def first(self) -> int | None:
        """Return the number of the oldest event in memory."""
        return int(next(iter(self._events))) if self._events else None

    @property
    def since(self) -> float:
        """Return the time of the oldest event in memory; 0 if there is none."""
        return next(iter(self._events.values())).at if self._events else 0.0

    @property
    def last(self) -> int | None:
        """Return the number of the newest event in memory."""
        return int(next(reversed(self._events))) if self._events else None

    @property
    def hidden(self) -> int:
        """Return how many the filter keeps away."""
        return len(self._events) - len(self._ids)

    def event(self, row_id: str | None) -> Event | None:
        """Return the event of a row."""
        return self._events.get(row_id or "")

    def neighbour(self, row_id: str | None, step: int) -> str | None:
        """Return the row of the same process's event before (-1) or after (1) this one, None if there is none."""
        here = self.event(row_id)
        if here is None or row_id not in self._ids:
            return None
        at = self._ids.index(row_id)
        rows = self._ids[at + 1 :] if step > 0 else reversed(self._ids[:at])
        return next((each for each in rows if self._events[each].key == here.key), None)

    def ids(self) -> Sequence[str]:
        """Return the rows that are shown."""
        return self._ids

    def cells(self, row_id: str, columns: Sequence[Column]) -> Sequence[tuple[str, str]]:
        """Return a row's cells."""
        event = self._events[row_id]
        text, role = story.event_line(event)
        text = text.removeprefix(f"{fmt.plain(event.key)} ")
        told = {"at": (fmt.lately(event.at, self.now or event.at), "dim"), "key": (fmt.plain(event.key) or "core", ""),
                "text": (text, role)}  # fmt: skip
        return [told[column.id] for column in columns]

    def marked(self, row_id: str) -> bool:
        """Tell that events are not marked."""
        return False

    def _shows(self, event: Event) -> bool:
        text, role = story.event_line(event)
        if self.problems and role not in BAD:
            return False
        words = self.filter.lower().split()
        if not words:
            return True
        where = f"{event.key} {event.type} {text}".lower()
        return all((word[1:] not in where) if word[:1] == "!" and word[1:] else word in where for word in words)
