"""Answers "where": the places of all lines that match, and how many lines there are, a slice at a time.

Decides the order (that of the merged output, from either end) and when a slice is full; no text leaves it. What matches
is the pattern's business. The server calls it for the search of a viewer, `alogs` where there is no server.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from taskmaster_core.logs.cursors import Cursor, Rest, State, Writer, load
from taskmaster_core.logs.feeds import Feed, Feeds, Group, Limits, Patient
from taskmaster_core.logs.lines import LogLine, Sift
from taskmaster_core.logs.merge import merge
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.query import BUDGET, Query
from taskmaster_core.logs.stream import Ask, Stream
from taskmaster_core.logs.survey import Survey

MOST = 5_000
"""Places in one answer."""

_AT_ONCE = 8 << 20
_SMALLEST = 16 << 10
"""Bytes searched in all files before the first place can be told, and in each of very many."""

_NONE = -math.inf
_COUNTED = 1 << 20
"""Bytes that are counted at once."""


class Found(Struct, frozen=True):
    """Hold what one slice of a search found."""

    lines: tuple[LogLine, ...]
    """In the order of the search."""
    cursor: dict[str, Any]
    more: bool
    scanned: int
    total: int
    """Bytes looked at so far, and in all."""
    count: int = 0
    """Lines so far, of a count."""
    problems: tuple[str, ...] = ()


def find(
    query: Query,
    cursor: Mapping[str, Any] | None = None,
    *,
    back: bool = True,
    most: int = MOST,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Return the next lines that match, from the end, or forwards from the start; a cursor goes on from there.

    The cursor may be that of a page. Raise UsageError for a bad pattern, Refused for one that does not end.
    """
    hunt = _Hunt(query, Limits.of(most, budget, clock), back=back)
    return hunt.find(hunt.state(cursor))


def count(
    query: Query,
    cursor: Mapping[str, Any] | None = None,
    *,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Return how many lines there are as far as could be looked; ask again with the cursor while `more`."""
    hunt = _Hunt(query, Limits.of(0, budget, clock), back=False)
    return hunt.count(hunt.state(cursor))


class _Hunt:
    """Make one slice of a search."""

    def __init__(self, query: Query, limits: Limits, *, back: bool) -> None:
        self._query = query
        self._limits = limits
        self._back = back
        self._pattern = Pattern(query.pattern, ignorecase=query.ignorecase) if query.pattern else None
        self._patient = Patient(limits)
        self._survey = Survey(query.sources, self._patient.tired, (back, query.pattern, query.ignorecase))
        self._groups = self._survey.groups
        self._writer = Writer()

    def state(self, cursor: Mapping[str, Any] | None) -> State:
        """Return where to go on, or where a search begins and ends."""
        state = State()
        if cursor is not None:
            state, self._writer = load(cursor, self._groups)
        self._patient.waited(state.waits)
        if state.to is None:
            state.to, state.rest_to = {}, self._first() if self._back else self._last()
            if cursor is None or not (state.at or state.rest):
                state.rest = self._last() if self._back else self._first()
        return state

    def _first(self) -> Rest | None:
        return None if self._query.since is None else Rest("line", self._query.since)

    def _last(self) -> Rest:
        until = self._query.until
        return Rest("end") if until is None else Rest("line", math.nextafter(until, math.inf))

    def _begun(self, state: State) -> bool:
        """Find the places that are not known yet; False if there was no time for all."""
        to = state.to if state.to is not None else {}
        if state.rest_to is not None and self._survey.settle(to, state.rest_to):
            state.rest_to = None
        if state.rest_to is None and state.rest is not None and self._survey.settle(state.at, state.rest):
            state.rest = None
        if state.rest_to is not None or state.rest is not None:
            return False
        state.total = state.total or max(1, self._remaining(state))
        return True

    def _remaining(self, state: State) -> int:
        here, there = self._survey.before(state.at), self._survey.before(state.to or {})
        return max(0, here - there if self._back else there - here)

    def find(self, state: State) -> Found:
        """Look for lines on from there."""
        chosen = self._chosen(state) if self._begun(state) else None
        if chosen is None:
            return Found((), self._writer.dump(state), True, 0, max(1, state.total))
        feeds, bounds = chosen
        lines: list[LogLine] = []
        limits, more = self._limits, False
        for found in merge(feeds, newest=self._back, bounds=bounds, tired=self._patient.tired):
            if found is not None and not found[1].note:
                feeds.took(*found)
                lines.append(found[1])
            full = len(lines) >= limits.size
            if full or ((found is None or not len(lines) % 16) and limits.expired()):
                more = True
                break
        self._moved(state, feeds, came=bool(lines) or not more)
        return self._found(state, tuple(lines), feeds.problems(), more=more)

    def _moved(self, state: State, feeds: Feeds, *, came: bool) -> None:
        """Put the cursors where the feeds are."""
        self._survey.saw(feeds)
        now = feeds.cursors()
        came = came or any(state.at.get(path) != cursor for path, cursor in now.items())
        state.at = state.at | now
        state.waits = 0 if came else state.waits + 1

    def _chosen(self, state: State) -> tuple[Feeds, list[float | None]] | None:
        """Return feeds of the files that have not been searched, and the bounds; None if there was no time to look."""
        at, to = state.at, state.to or {}
        paths = [path for path in self._groups if path not in at or at[path] != to.get(path)]
        bounds = self._survey.bounds(paths, at) if self._back else self._survey.heads(paths, at)
        if self._survey.spent:
            state.waits += 1
            return None
        some = [(path, bound) for path, bound in zip(paths, bounds, strict=True) if not (self._back and bound == _NONE)]
        feeds = Feeds(
            [path for path, _ in some], lambda path: self._feed(path, at.get(path), to.get(path)), backwards=self._back
        )
        return feeds, [bound for _, bound in some]

    def _feed(self, path: str, start: Cursor | None, bound: Cursor | None) -> Feed:
        pattern, group, stream = self._pattern, self._groups[path], self._survey.stream(path)
        if pattern is None:
            return Feed(stream, start, Ask(Sift(group.label), bound=bound), lambda work: work())
        sift = Sift(group.label, pattern.may, pattern.hit, pattern.spans)
        block = max(_SMALLEST, min(pattern.block, _AT_ONCE // len(self._groups)))
        return Feed(stream, start, Ask(sift, block, bound, window=block), pattern.patiently)

    def count(self, state: State) -> Found:
        """Count lines on from there, one file after the other."""
        more = not self._begun(state)
        to = state.to or {}
        for path, group in self._groups.items() if not more else ():
            bound, more = to.get(path), state.at.get(path) != to.get(path)
            while more:
                start = state.at.get(path) or self._survey.stream(path).start()
                state.at[path], lines, more = _count_block(group, self._survey.stream(path), start, bound)
                state.lines += lines
                more = more and state.at[path] != bound
                if self._limits.expired():
                    return self._found(state, (), (), more=True)
        return self._found(state, (), (), more=more)

    def _found(self, state: State, lines: tuple[LogLine, ...], problems: tuple[str, ...], *, more: bool) -> Found:
        scanned = max(0, state.total - self._remaining(state)) if more and state.rest is None else state.total
        return Found(lines, self._writer.dump(state), more, scanned, state.total, state.lines, problems)


def _count_block(group: Group, stream: Stream, cursor: Cursor, bound: Cursor | None) -> tuple[Cursor, int, bool]:
    """Return the cursor after some more lines, how many they are, and whether there are more."""
    counted = 0

    def newlines(data: bytes) -> list[tuple[int, int]]:
        nonlocal counted
        counted += data.count(b"\n")
        return []

    sift = Sift(group.label) if group.tagged else Sift(group.label, spans=newlines)
    batch = stream.read(cursor, Ask(sift, _COUNTED, bound))
    counted += sum(line.data.endswith(b"\n") for _, line in batch.lines)
    return batch.next, counted, batch.more
