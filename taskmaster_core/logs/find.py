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

from taskmaster_core.logs.feeds import (
    Cursors,
    Feed,
    Group,
    Limits,
    State,
    cursors_of,
    dump,
    extent,
    groups_of,
    load,
    problems_of,
)
from taskmaster_core.logs.lines import LogLine, Sift
from taskmaster_core.logs.merge import merge
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.query import Query
from taskmaster_core.logs.stream import Ask, Cursor

MOST = 5_000
"""Places in one answer."""

_AT_ONCE = 8 << 20
_SMALLEST = 16 << 10
"""Bytes searched in all files before the first place can be told, and in each of very many."""

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
    budget: float = 0.05,
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
    budget: float = 0.05,
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
        self._groups = groups_of(query.sources)

    def state(self, cursor: Mapping[str, Any] | None) -> State:
        """Return where to go on, or where a search begins and ends."""
        state = load(cursor) if cursor is not None else State()
        if state.total:
            return state
        first = {path: self._first(group) for path, group in self._groups.items()}
        last = {path: self._last(group) for path, group in self._groups.items()}
        at = (state.at or last) if self._back else (state.at or first)
        begun = State(at=at, to=first if self._back else last)
        begun.total = max(1, self._remaining(begun))
        return begun

    def _first(self, group: Group) -> Cursor:
        since = self._query.since
        return group.stream.start() if since is None else group.stream.line_after(since)

    def _last(self, group: Group) -> Cursor:
        until = self._query.until
        return group.stream.end() if until is None else group.stream.line_after(math.nextafter(until, math.inf))

    def _remaining(self, state: State) -> int:
        here, there = extent(self._groups, self._known(state.at))[0], extent(self._groups, state.to or {})[0]
        return max(0, here - there if self._back else there - here)

    def _known(self, at: Cursors) -> Cursors:
        return {path: at.get(path) or group.stream.start() for path, group in self._groups.items()}

    def find(self, state: State) -> Found:
        """Look for lines on from there."""
        feeds = {path: self._feed(path, group, state) for path, group in self._groups.items()}
        by_number = list(feeds.values())
        runs = [feed.backward() if self._back else feed.forward() for feed in by_number]
        lines: list[LogLine] = []
        limits, more = self._limits, False
        for found in merge(runs, newest=self._back):
            if found is not None and not found[1].note:
                number, line = found
                limits = limits if lines else limits.granted()
                by_number[number].took(line.offset if self._back else line.offset + len(line.data))
                lines.append(line)
            full = len(lines) >= limits.size
            if full or ((found is None or not len(lines) % 16) and limits.expired()):
                more = True
                break
        state.at = cursors_of(feeds)
        return self._found(state, tuple(lines), problems_of(by_number), more=more)

    def _feed(self, path: str, group: Group, state: State) -> Feed:
        pattern = self._pattern
        start = state.at.get(path) or group.stream.start()
        bound = (state.to or {}).get(path)
        if pattern is None:
            return Feed(group, start, Ask(Sift(group.label), bound=bound), lambda work: work())
        sift = Sift(group.label, pattern.may, pattern.hit, pattern.spans)
        block = max(_SMALLEST, min(pattern.block, _AT_ONCE // len(self._groups)))
        return Feed(group, start, Ask(sift, block, bound, window=block), pattern.patiently)

    def count(self, state: State) -> Found:
        """Count lines on from there, one file after the other."""
        state.at = self._known(state.at)
        for path, group in self._groups.items():
            bound, more = (state.to or {}).get(path), True
            while more:
                state.at[path], lines, more = _count_block(group, state.at[path], bound)
                state.lines += lines
                if more and self._limits.expired():
                    return self._found(state, (), (), more=True)
        return self._found(state, (), (), more=False)

    def _found(self, state: State, lines: tuple[LogLine, ...], problems: tuple[str, ...], *, more: bool) -> Found:
        scanned = max(0, state.total - self._remaining(state)) if more else state.total
        return Found(lines, dump(state), more, scanned, state.total, state.lines, problems)


def _count_block(group: Group, cursor: Cursor, bound: Cursor | None) -> tuple[Cursor, int, bool]:
    """Return the cursor after some more lines, how many they are, and whether there are more."""
    counted = 0

    def newlines(data: bytes) -> list[tuple[int, int]]:
        nonlocal counted
        counted += data.count(b"\n")
        return []

    sift = Sift(group.label) if group.tagged else Sift(group.label, spans=newlines)
    batch = group.stream.read(cursor, Ask(sift, _COUNTED, bound))
    counted += sum(line.data.endswith(b"\n") for _, line in batch.lines)
    return batch.next, counted, batch.more
