"""Answers "which lines": of several sources, merged by time, the last n, since, until, matching, and what is new.

Decides what a page holds and where the next one goes on; all state is in the cursor, which is JSON and belongs to the
asker, so that a slow viewer costs nothing and loses nothing. The server calls `page`, programs with files alone `read`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, ValidationError, convert

from taskmaster_core.errors import BadRequest
from taskmaster_core.logs.feeds import (
    Cursors,
    Feed,
    Group,
    Limits,
    Source,
    State,
    cursors_of,
    dump,
    extent,
    groups_of,
    load,
    plain,
    problems_of,
)
from taskmaster_core.logs.lines import LogLine, Sift
from taskmaster_core.logs.merge import merge
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.stream import BACK, BLOCK, REST, Ask, Cursor

__all__ = ["Page", "Place", "Query", "Source", "around", "as_place", "back", "page", "read"]

_SMALLEST = 16 * 1024
_FIRST = 4 * 1024
_USUAL = 400
"""Bytes looked at for each line that is wanted, at first: a line of 130, and half as many again for uneven files."""


class Query(Struct, frozen=True):
    """Hold a question."""

    sources: tuple[Source, ...]
    n: int | None = None
    """The last n lines of the merged output; None for all."""
    since: float | None = None
    until: float | None = None
    pattern: str | None = None
    ignorecase: bool = False
    most: int | None = None
    """At most so many lines on a page."""
    follow: bool = False
    """The answer has no end: an unfinished last line waits until it is whole (unless `partial`)."""
    partial: bool = False
    """With `follow`: give an unfinished line too once its file is at rest (`stream.REST`), as a prompt or when the
    process has ended; the rest comes as `cont`."""


class Place(Struct, frozen=True):
    """Name a line; no key: only a time."""

    at: float = 0.0
    """As the line told it; 0 if it has no time."""
    key: str = ""
    stream: str = "out"
    offset: int = 0


class Page(Struct, frozen=True):
    """Hold some lines of an answer."""

    lines: tuple[LogLine, ...]
    cursor: dict[str, Any]
    """Give it back to go on."""
    more: bool
    """There is more already: ask again at once."""
    held: bool = False
    """Something new is not readable for a moment: ask again soon even if nothing tells that the file grew."""
    problems: tuple[str, ...] = ()
    """Files that could not be read, in words."""
    begin: dict[str, Any] = {}
    end: dict[str, Any] = {}
    """The places before the first and after the last line: cursors for both directions."""
    before: int = 0
    total: int = 0
    """Bytes of output before `begin`, and in all."""
    start: bool = False
    """Nothing is before `begin`."""


def page(
    query: Query,
    cursor: Mapping[str, Any] | None = None,
    *,
    max_bytes: int = 1 << 20,
    budget: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return the next lines of an answer; raise UsageError for a bad pattern, Refused for one that does not end.

    At most about `max_bytes` of output and `budget` seconds: a page may be empty and say `more`.
    """
    answer = _Answer(query, Limits.of(max_bytes, budget, clock))
    return answer.page(load(cursor) if cursor is not None else answer.begin())


def back(
    query: Query,
    cursor: Mapping[str, Any] | None = None,
    *,
    max_bytes: int = 1 << 20,
    budget: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return the last `query.n` lines before the cursor (None: before the end), oldest first; raise as `page`.

    With `more` there are fewer, because time or bytes were up: ask again from `begin` for the rest.
    """
    answer = _Answer(query, Limits.of(max_bytes, budget, clock))
    return answer.back(load(cursor) if cursor is not None else answer.end())


def around(
    query: Query,
    place: Place,
    *,
    max_bytes: int = 1 << 20,
    budget: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return `query.n` lines from that very one on (if it is gone: from its time on); raise as `page`."""
    answer = _Answer(query, Limits.of(max_bytes, budget, clock))
    return answer.page(State(at=answer.at_place(place)))


def as_place(said: Mapping[str, Any]) -> Place:
    """Return the place that somebody names; raise BadRequest if it is none."""
    try:
        return convert({name: value for name, value in said.items() if value is not None}, Place)
    except (ValidationError, TypeError) as error:
        raise BadRequest(f"not a place: {error}") from None


def read(query: Query) -> Iterator[LogLine]:
    """Yield all lines of an answer that has an end."""
    found = page(query)
    yield from found.lines
    while found.more:
        found = page(query, found.cursor)
        yield from found.lines


class _Answer:
    """Make one page."""

    def __init__(self, query: Query, limits: Limits) -> None:
        self._query = query
        self._limits = limits
        self._pattern = Pattern(query.pattern, ignorecase=query.ignorecase) if query.pattern else None
        self._groups = groups_of(query.sources)

    def begin(self) -> State:
        """Return the state before the first page: where to read from, and unless it is followed, how far."""
        query = self._query
        start = {path: self._start(group) for path, group in self._groups.items()}
        end = self._ends()
        to = None if query.follow and query.until is None else end
        return State(at=start, to=to) if query.n is None else State(at=end, to=to, left=max(0, query.n))

    def end(self) -> State:
        """Return the state after the last line."""
        return State(at=self._ends())

    def _ends(self) -> Cursors:
        return {path: self._end(group) for path, group in self._groups.items()}

    def _start(self, group: Group) -> Cursor:
        since = self._query.since
        return group.stream.start() if since is None else group.stream.at_time(since)

    def _end(self, group: Group) -> Cursor:
        until = self._query.until
        return group.stream.end() if until is None else group.stream.at_time(math.nextafter(until, math.inf))

    def at_place(self, place: Place) -> Cursors:
        """Return the cursors before that line, in the merged order."""
        named = [path for path, group in self._groups.items() if _has(group, place)]
        exact: Cursors = {}
        when = place.at
        for path in named or (self._groups if place.key else ()):
            found = self._groups[path].stream.line_at(place.at, place.offset)
            if found is not None:
                when, exact = found[0], {path: found[1]}
                break
        at: Cursors = {}
        for path, group in self._groups.items():
            first = bool(exact) and not exact.keys() & at.keys()  # at equal times those named first are first
            at[path] = exact.get(path) or group.stream.line_after(math.nextafter(when, math.inf) if first else when)
        return at

    def page(self, state: State) -> Page:
        """Return lines after the cursors."""
        if state.left:
            problems = self._count_back(state)
            if state.left:
                return self._page([], dump(state), state.at, state.at, more=True, problems=problems)
        return self._forward(state)

    def _floor(self) -> Cursors:
        if self._query.since is None:
            return {}
        return {path: self._start(group) for path, group in self._groups.items()}

    def _backward(self, at: Cursors) -> dict[str, Feed]:
        """Return feeds that begin at the cursors; a file that a cursor does not know has come after it."""
        floor = self._floor()
        return {
            path: self._feed(group, at.get(path) or group.stream.start(), floor.get(path))
            for path, group in self._groups.items()
        }

    def _count_back(self, state: State) -> tuple[str, ...]:
        """Move the cursors back until `left` lines are after them, or the time is over."""
        feeds = self._backward(state.at)
        by_number = list(feeds.values())
        for found in merge([feed.backward() for feed in by_number], newest=True):
            if found is not None:
                number, line = found
                by_number[number].took(line.offset)
                state.left -= 1
            if not state.left or self._limits.expired():
                break
        else:
            state.left = 0
        state.at = cursors_of(feeds)
        return problems_of(by_number)

    def back(self, state: State) -> Page:
        """Return lines before the cursors."""
        feeds = self._backward(state.at)
        by_number = list(feeds.values())
        left = self._query.n if self._query.n is not None else math.inf
        limits, more, first = self._limits, False, False
        room = limits.size
        lines: list[LogLine] = []
        for found in merge([feed.backward() for feed in by_number], newest=True) if left > 0 else ():
            if found is not None:
                number, line = found
                limits = limits if lines else limits.granted()
                by_number[number].took(line.offset)
                lines.append(line)
                room -= len(line.data)
            if len(lines) >= left:
                break
            if room <= 0 or ((found is None or not len(lines) % 16) and limits.expired()):
                more = True
                break
        else:
            first = left > 0
        begin = cursors_of(feeds)
        problems = problems_of(by_number)
        return self._page(lines[::-1], plain(begin), begin, state.at, more=more, problems=problems, start=first)

    def _forward(self, state: State) -> Page:
        query = self._query
        if query.follow and query.until is None:
            state.to = None
        to = state.to or {}
        feeds = {
            path: self._feed(group, state.at.get(path) or group.stream.start(), to.get(path))
            for path, group in self._groups.items()
        }
        by_number = list(feeds.values())
        lines: list[LogLine] = []
        limits, most = self._limits, query.most or math.inf
        room = limits.size
        more = False
        for found in merge([feed.forward() for feed in by_number]):
            if found is not None:
                number, line = found
                limits = limits if lines else limits.granted()
                by_number[number].took(line.offset + len(line.data))
                lines.append(line)
                room -= len(line.data)
            full = room <= 0 or len(lines) >= most
            if full or ((found is None or not len(lines) % 16) and limits.expired()):
                more = True
                break
        begin, state.at = state.at, cursors_of(feeds)
        held = any(feed.held for feed in by_number)
        return self._page(lines, dump(state), begin, state.at, more=more, held=held, problems=problems_of(by_number))

    def _page(
        self,
        lines: Sequence[LogLine],
        cursor: dict[str, Any],
        begin: Cursors,
        end: Cursors,
        *,
        more: bool,
        held: bool = False,
        problems: tuple[str, ...] = (),
        start: bool = False,
    ) -> Page:
        before, total = extent(self._groups, begin)
        return Page(
            tuple(lines), cursor, more, held, problems, plain(begin), plain(end), before, total, start or not before
        )

    def _feed(self, group: Group, start: Cursor, bound: Cursor | None) -> Feed:
        query, pattern = self._query, self._pattern
        share = max(_SMALLEST, min(pattern.block if pattern else BLOCK, self._limits.size // len(self._groups)))
        few = query.most or (query.n if not query.follow else None)
        needed = share if few is None or pattern else few * _USUAL // len(self._groups)
        first = max(_SMALLEST, min(share, needed))
        window = share if pattern else max(_FIRST, min(BACK, share, needed))
        sift = Sift(group.label, pattern.may, pattern.hit, pattern.spans) if pattern else Sift(group.label)
        partial = query.partial or not query.follow
        rest = REST if query.follow else 0.0
        ask = Ask(sift, first, bound, partial, rest, window, share, settle=query.follow and group.tagged)
        return Feed(group, start, ask, pattern.patiently if pattern else lambda work: work())


def _has(group: Group, place: Place) -> bool:
    return any(source.key == place.key and source.stream == place.stream for source in group.sources)
