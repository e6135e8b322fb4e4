"""The rows of the journal, the questions asked of them, and the short memory that bridges a disk in trouble.

Pure: it decides which rows answer a question and which rows are remembered. Both sides of the journal use it, the
thread that writes and the main thread that asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec

from taskmaster_core.wire import Cause, Event

REMEMBERED = 10_000
"""Rows that wait in memory at most while the disk is in trouble."""

KEPT = 1_000
"""Written rows that are remembered, so that a journal that is lost while we run does not begin empty."""

MOST = 10_000
"""Rows one question returns at most."""

_cause = msgspec.json.Decoder(Cause)
_data = msgspec.json.Decoder(dict[str, Any])


class EventRow(NamedTuple):
    """Hold one event as it is stored; `cause` and `payload` are JSON."""

    seq: int
    boot: str
    at: float
    type: str
    key: str = ""
    """`job:index`, a job's name, or empty."""
    cause: str = "{}"
    payload: str = "{}"
    request: str = ""
    """The id of the request that caused it, or empty."""

    def to_event(self) -> Event:
        """Return the event as it is published."""
        cause, data = _cause.decode(self.cause), _data.decode(self.payload)
        return Event(self.seq, self.boot, self.at, self.type, self.key, cause, data)


def storable(row: EventRow) -> EventRow:
    """Return the row with what SQLite cannot store (lone surrogates) replaced."""
    clean = (each.encode("utf-8", "replace").decode() if isinstance(each, str) else each for each in row)
    return EventRow._make(clean)


class Question(NamedTuple):
    """Hold what is asked of the journal; None asks nothing. Rows come oldest first."""

    since_seq: int | None = None
    """Only events after this one."""
    before_seq: int | None = None
    """Only events before this one; with `tail` it pages back."""
    since_time: float | None = None
    until: float | None = None
    keys: Sequence[str] | None = None
    """Exact keys or globs; `web:*` means the processes, `web` the job's own events."""
    types: Sequence[str] | None = None
    limit: int | None = None
    """At most so many, the oldest."""
    tail: int | None = None
    """At most so many, the newest."""

    def meets(self, row: EventRow) -> bool:
        """Tell whether the row is asked for."""
        return (
            (self.since_seq is None or row.seq > self.since_seq)
            and (self.before_seq is None or row.seq < self.before_seq)
            and (self.since_time is None or row.at >= self.since_time)
            and (self.until is None or row.at <= self.until)
            and (self.keys is None or any(fnmatchcase(row.key, key) for key in self.keys))
            and (self.types is None or row.type in self.types)
        )

    def sql(self) -> tuple[str, list[Any]]:
        """Return the SELECT and its parameters."""
        terms, values = ["1"], list[Any]()
        bounds = (("seq > ?", self.since_seq), ("seq < ?", self.before_seq), ("at >= ?", self.since_time))
        for term, value in (*bounds, ("at <= ?", self.until)):
            if value is not None:
                terms.append(term)
                values.append(value)
        for column, wanted in (("key", self.keys), ("type", self.types)):
            if wanted is not None:
                tests = [f"{column} {'GLOB' if _is_glob(each) else '='} ?" for each in wanted]
                terms.append(f"({' OR '.join(tests) or '0'})")
                values += wanted
        newest = self.tail is not None
        order = "DESC" if newest else "ASC"
        text = f"SELECT * FROM events WHERE {' AND '.join(terms)} ORDER BY seq {order} LIMIT ?"  # noqa: S608 no input in it
        return text, [*values, self.most]

    @property
    def most(self) -> int:
        """Return how many rows the answer has at most."""
        wishes = [MOST, *(max(each, 0) for each in (self.limit, self.tail) if each is not None)]
        return min(wishes)

    def answer(self, stored: Iterable[EventRow], remembered: Iterable[EventRow]) -> list[EventRow]:
        """Return the rows asked for out of what the disk and the memory hold."""
        found = {row.seq: row for row in remembered if self.meets(row)}
        found.update((row.seq, row) for row in stored)
        rows = [found[seq] for seq in sorted(found)]
        return rows[max(len(rows) - self.most, 0) :] if self.tail is not None else rows[: self.most]


def _is_glob(text: str) -> bool:
    return any(char in text for char in "*?[")


class Memory:
    """Remember the newest rows: all that are not on disk (bounded) and a few that are."""

    def __init__(self) -> None:
        self.rows: deque[EventRow] = deque(maxlen=REMEMBERED)

    def add(self, rows: Sequence[EventRow], written: int) -> None:
        """Remember rows; of those up to `written` the oldest may be forgotten."""
        self.rows.extend(rows)
        while len(self.rows) > KEPT and self.rows[0].seq <= written:
            self.rows.popleft()

    def after(self, seq: int) -> list[EventRow]:
        """Return the rows with a greater number."""
        found: list[EventRow] = []
        for row in reversed(self.rows):
            if row.seq <= seq:
                break
            found.append(row)
        return found[::-1]
