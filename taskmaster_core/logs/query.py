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
from taskmaster_core.logs.cursors import Cursor, Cursors, Rest, State, Writer, load
from taskmaster_core.logs.feeds import Feed, Feeds, Group, Limits, Patient, Source
from taskmaster_core.logs.lines import LogLine, Sift
from taskmaster_core.logs.merge import merge
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.stream import BACK, BLOCK, REST, Ask
from taskmaster_core.logs.survey import Survey

__all__ = ["Page", "Place", "Query", "Source", "around", "as_place", "back", "page", "read"]

BUDGET = 0.04
"""Seconds after which a page is given as it is; to write it down takes some more, so that all is done in 50 ms."""
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
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return the next lines of an answer; raise UsageError for a bad pattern, Refused for one that does not end.

    At most about `max_bytes` of output and `budget` seconds: a page may be empty and say `more`.
    """
    answer = _Answer(query, Limits.of(max_bytes, budget, clock))
    return answer.page(answer.load(cursor) if cursor is not None else answer.begin())


def back(
    query: Query,
    cursor: Mapping[str, Any] | None = None,
    *,
    max_bytes: int = 1 << 20,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return the last `query.n` lines before the cursor (None: before the end), oldest first; raise as `page`.

    With `more` there are fewer, because time or bytes were up: ask again from `begin` for the rest.
    """
    answer = _Answer(query, Limits.of(max_bytes, budget, clock), back=True)
    return answer.back(answer.load(cursor) if cursor is not None else answer.end())


def around(
    query: Query,
    place: Place,
    *,
    max_bytes: int = 1 << 20,
    budget: float = BUDGET,
    clock: Callable[[], float] = time.monotonic,
) -> Page:
    """Return `query.n` lines from that very one on (if it is gone: from its time on); raise as `page`."""
    answer = _Answer(query, Limits.of(max_bytes, budget, clock))
    return answer.page(answer.at_place(place))


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

    def __init__(self, query: Query, limits: Limits, *, back: bool = False) -> None:
        self._query = query
        self._limits = limits
        self._pattern = Pattern(query.pattern, ignorecase=query.ignorecase) if query.pattern else None
        self._patient = Patient(limits)
        self._survey = Survey(query.sources, self._patient.tired, (back, query.pattern, query.ignorecase))
        self._groups = self._survey.groups
        self._writer = Writer()

    def load(self, cursor: Mapping[str, Any]) -> State:
        """Return what the asker's cursor says."""
        state, self._writer = load(cursor, self._groups)
        self._patient.waited(state.waits)
        return state

    def begin(self) -> State:
        """Return the state before the first page: where to read from, and unless it is followed, how far."""
        query = self._query
        start = None if query.since is None else Rest("time", query.since)
        state = State(rest=start) if query.n is None else State(rest=self._last(), left=max(0, query.n))
        if not query.follow or query.until is not None:
            state.to, state.rest_to = {}, self._last()
        return state

    def end(self) -> State:
        """Return the state after the last line."""
        return State(rest=self._last())

    def _last(self) -> Rest:
        until = self._query.until
        return Rest("end") if until is None else Rest("time", math.nextafter(until, math.inf))

    def at_place(self, place: Place) -> State:
        """Return the state before that line, in the merged order."""
        named = [path for path, group in self._groups.items() if _has(group, place)]
        for path in named or (self._groups if place.key else ()):
            found = self._survey.stream(path).line_at(place.at, place.offset)
            if found is not None:
                return State(at={path: found[1]}, rest=Rest("line", found[0], path))
        return State(rest=Rest("line", place.at))

    def _settle(self, state: State) -> bool:
        """Find the places that are not known yet, those of the end first; False if there was no time for all."""
        if state.rest_to is not None and state.to is not None and self._survey.settle(state.to, state.rest_to):
            state.rest_to = None
        if state.rest_to is None and state.rest is not None and self._survey.settle(state.at, state.rest):
            state.rest = None
        return state.rest is None and state.rest_to is None

    def page(self, state: State) -> Page:
        """Return lines after the cursors."""
        if not self._settle(state):
            return self._waiting(state)
        if state.left:
            problems = self._count_back(state)
            if state.left:
                return self._waiting(state, problems)
        return self._forward(state)

    def _waiting(self, state: State, problems: tuple[str, ...] = (), *, waited: int = 0) -> Page:
        """Return a page without lines: it took all the time to find out where they are."""
        state.waits += waited
        place, said = self._writer.plain(state.at, state), self._writer.dump(state)
        return Page((), said, more=True, problems=problems, begin=place, end=place)

    def _before(self, at: Cursors) -> tuple[Feeds, list[float | None]] | None:
        """Return feeds of the files with something before the cursors, and the bounds of their lines.

        None if there was no time to look at all files.
        """
        since = self._query.since
        least = -math.inf if since is None else math.nextafter(since, -math.inf)
        bounds = self._survey.bounds(self._groups, at)
        if self._survey.spent:
            return None
        chosen = [(path, at_) for path, at_ in zip(self._groups, bounds, strict=True) if at_ is None or at_ > least]

        def make(path: str) -> Feed:
            floor = None if since is None else self._survey.at_time(path, since, whole=False)
            return self._feed(path, at.get(path), floor)

        return Feeds([path for path, _ in chosen], make, backwards=True), [bound for _, bound in chosen]

    def _count_back(self, state: State) -> tuple[str, ...]:
        """Move the cursors back until `left` lines are after them, or the time is over."""
        chosen = self._before(state.at)
        if chosen is None:
            state.waits += 1
            return ()
        feeds, bounds = chosen
        was = state.left
        for found in merge(feeds, newest=True, bounds=bounds, tired=self._patient.tired):
            if found is not None:
                feeds.took(*found)
                state.left -= 1
            if not state.left or self._limits.expired():
                break
        else:
            state.left = 0
        self._moved(state, feeds, came=state.left < was)
        return feeds.problems()

    def _moved(self, state: State, feeds: Feeds, *, came: bool) -> None:
        """Put the cursors where the feeds are."""
        self._survey.saw(feeds)
        now = feeds.cursors()
        came = came or any(state.at.get(path) != cursor for path, cursor in now.items())
        state.at = state.at | now
        state.waits = 0 if came else state.waits + 1

    def back(self, state: State) -> Page:
        """Return lines before the cursors."""
        if not self._settle(state):
            return self._waiting(state)
        chosen = self._before(state.at)
        if chosen is None:
            return self._waiting(state, waited=1)
        feeds, bounds = chosen
        left = self._query.n if self._query.n is not None else math.inf
        limits, more, first = self._limits, False, False
        room = limits.size
        lines: list[LogLine] = []
        for found in merge(feeds, newest=True, bounds=bounds, tired=self._patient.tired) if left > 0 else ():
            if found is not None:
                feeds.took(*found)
                lines.append(found[1])
                room -= len(found[1].data)
            if len(lines) >= left:
                break
            if room <= 0 or ((found is None or not len(lines) % 16) and limits.expired()):
                more = True
                break
        else:
            first = left > 0
        end = state.at
        self._moved(state, feeds, came=bool(lines) or not more)
        return self._page(lines[::-1], state, state.at, end, more=more, problems=feeds.problems(), start=first)

    def _after(self, state: State) -> Feeds | None:
        """Return feeds of the files that may have something after the cursors, None if there was no time to look."""
        paths = []
        for path in self._groups:
            idle = self._survey.idle(path, state.at.get(path))
            if self._survey.spent:
                return None
            if not idle:
                paths.append(path)
        at, to = state.at, state.to or {}
        return Feeds(paths, lambda path: self._feed(path, at.get(path), to.get(path)), backwards=False)

    def _forward(self, state: State) -> Page:
        query = self._query
        if query.follow and query.until is None:
            state.to = None
        feeds = self._after(state)
        if feeds is None:
            return self._waiting(state, waited=1)
        lines: list[LogLine] = []
        limits, most = self._limits, query.most or math.inf
        room = limits.size
        more = False
        bounds = self._survey.heads(feeds.paths, state.at)
        for found in merge(feeds, bounds=bounds, tired=self._patient.tired):
            if found is not None:
                feeds.took(*found)
                lines.append(found[1])
                room -= len(found[1].data)
            full = room <= 0 or len(lines) >= most
            if full or ((found is None or not len(lines) % 16) and limits.expired()):
                more = True
                break
        begin = state.at
        self._moved(state, feeds, came=bool(lines) or not more)
        return self._page(lines, state, begin, state.at, more=more, held=feeds.held, problems=feeds.problems())

    def _page(
        self,
        lines: Sequence[LogLine],
        state: State,
        begin: Cursors,
        end: Cursors,
        *,
        more: bool,
        held: bool = False,
        problems: tuple[str, ...] = (),
        start: bool = False,
    ) -> Page:
        if state.waits:
            return self._waiting(state, problems)
        last = self._writer.plain(end, state)
        before, total = self._survey.extent(begin)
        return Page(
            tuple(lines), self._writer.dump(state), more, held, problems, self._writer.plain(begin, state), last,
            before, total, start or not before,
        )  # fmt: skip

    def _feed(self, path: str, start: Cursor | None, bound: Cursor | None) -> Feed:
        query, pattern, group = self._query, self._pattern, self._groups[path]
        share = max(_SMALLEST, min(pattern.block if pattern else BLOCK, self._limits.size // len(self._groups)))
        few = query.most or (query.n if not query.follow else None)
        needed = share if few is None or pattern else few * _USUAL // len(self._groups)
        first = max(_SMALLEST, min(share, needed))
        window = share if pattern else max(_FIRST, min(BACK, share, needed))
        sift = Sift(group.label, pattern.may, pattern.hit, pattern.spans) if pattern else Sift(group.label)
        rest = REST if query.follow else 0.0
        settle = query.follow and group.tagged
        ask = Ask(sift, first, bound, query.partial or not query.follow, rest, window, share, settle=settle)
        return Feed(self._survey.stream(path), start, ask, pattern.patiently if pattern else lambda work: work())


def _has(group: Group, place: Place) -> bool:
    return any(source.key == place.key and source.stream == place.stream for source in group.sources)
