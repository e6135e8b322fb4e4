"""Answers "which lines": of several sources, merged by time, the last n, since, until, matching, and what is new.

Decides what a page holds and where the next one goes on; all state is in the cursor, which is JSON and belongs to the
asker, so that a slow viewer costs nothing and loses nothing. The server calls `page`, programs with files alone `read`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, ValidationError, convert

from taskmaster_core.errors import BadRequest
from taskmaster_core.logs.lines import Label, LogLine, Sift
from taskmaster_core.logs.merge import merge
from taskmaster_core.logs.parts import Listing
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.stream import BLOCK, Ask, Batch, Cursor, Stream

_SMALLEST = 16 * 1024
_OURS = "taskmaster"
"""The tag of what the shim itself writes into a file (how much was lost); no process has it, and all may see it."""


class Source(Struct, frozen=True):
    """Name where one stream of one process is found."""

    path: str
    index: str | None = None
    """None where the shim writes none (`direct`)."""
    tag: str | None = None
    """Only lines with this tag in the index (files that many processes share), None for all. Bytes that no index
    tells of pass: better a line too many than one lost."""
    key: str = ""
    """How its lines are shown when the index does not tell more."""
    stream: str = "out"


class Query(Struct, frozen=True):
    """Hold a question."""

    sources: tuple[Source, ...]
    n: int | None = None
    """The last n lines of the merged output; None for all."""
    since: float | None = None
    until: float | None = None
    pattern: str | None = None
    ignorecase: bool = False
    follow: bool = False
    """The answer has no end: an unfinished last line waits until it is whole (unless `partial`)."""
    partial: bool = False
    """With `follow`: give unfinished lines too, as when the process has ended; the rest comes as `cont`."""


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


class _State(Struct):
    """Hold what the cursor says."""

    v: int = 1
    at: dict[str, Cursor] = {}
    to: dict[str, Cursor] | None = None
    left: int = 0
    """Lines that are still to be counted backwards before the answer begins."""


class _Limits(NamedTuple):
    """Say when a page is full."""

    bytes: int
    deadline: float
    clock: Callable[[], float]

    def expired(self) -> bool:
        return self.clock() >= self.deadline


class _Group:
    """Hold the sources that share a file: it is read once for all of them."""

    def __init__(self, sources: Sequence[Source], listing: Listing) -> None:
        index = next((source.index for source in sources if source.index), None)
        self.stream = Stream(sources[0].path, index, listing)
        self._by_tag = {source.tag: source for source in reversed(sources)}
        self._only = sources[0]

    def label(self, tag: str) -> Label | None:
        """Return how a line with that tag is shown, None if nobody asked for it."""
        if tag == _OURS:
            return Label(tag, self._only.stream)
        source = self._by_tag.get(tag) or self._by_tag.get(None)
        if source is None:
            return None if tag else Label(self._only.key if len(self._by_tag) == 1 else "", self._only.stream)
        return Label(tag or source.key, source.stream)

    @property
    def tagged(self) -> bool:
        return None not in self._by_tag


class _Feed:
    """Give the lines of one group and know how far they were taken."""

    def __init__(
        self, group: _Group, start: Cursor, ask: Ask, patiently: Callable[[Callable[[], Batch]], Batch]
    ) -> None:
        self._group = group
        self._ask = ask
        self._patiently = patiently
        self._batch: Batch | None = None
        self._place: int | None = None
        self._cursor = start
        self.more = True
        self.held = False
        self.problem = ""

    def forward(self) -> Iterator[tuple[float, LogLine] | None]:
        """Give lines, oldest first."""
        return self._run(self._group.stream.read, backwards=False)

    def backward(self) -> Iterator[tuple[float, LogLine] | None]:
        """Give lines, newest first."""
        return self._run(self._group.stream.back, backwards=True)

    def _run(self, read: Callable[[Cursor, Ask], Batch], *, backwards: bool) -> Iterator[tuple[float, LogLine] | None]:
        while self.more:
            batch = self._patiently(lambda: read(self._cursor, self._ask))
            self._batch, self._place = batch, None
            self.problem = self.problem or batch.problem
            self.held = batch.held
            yield from reversed(batch.lines) if backwards else batch.lines
            self._cursor, self._batch, self.more = batch.next, None, batch.more
            if not batch.lines and batch.more:
                yield None

    def took(self, place: int) -> None:
        """Note that everything up to that offset of the present batch was given away."""
        self._place = place

    @property
    def cursor(self) -> Cursor:
        """Return where to go on."""
        return self._cursor if self._batch is None or self._place is None else self._batch.cursor(self._place)


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
    answer = _Answer(query, _Limits(max_bytes, clock() + budget, clock))
    return answer.page(_load(cursor) if cursor is not None else answer.begin())


def read(query: Query) -> Iterator[LogLine]:
    """Yield all lines of an answer that has an end."""
    found = page(query)
    yield from found.lines
    while found.more:
        found = page(query, found.cursor)
        yield from found.lines


def _load(cursor: Mapping[str, Any]) -> _State:
    try:
        state = convert(dict(cursor), _State)
    except (ValidationError, TypeError, ValueError) as error:
        raise BadRequest(f"not a cursor of a page: {error}") from None
    if state.v != 1:
        raise BadRequest(f"a cursor of version {state.v}; this core knows 1")
    return state


class _Answer:
    """Make one page."""

    def __init__(self, query: Query, limits: _Limits) -> None:
        self._query = query
        self._limits = limits
        self._pattern = Pattern(query.pattern, ignorecase=query.ignorecase) if query.pattern else None
        listing = Listing()
        by_path: dict[str, list[Source]] = {}
        for source in query.sources:
            by_path.setdefault(source.path, []).append(source)
        self._groups = {path: _Group(sources, listing) for path, sources in by_path.items()}

    def begin(self) -> _State:
        """Return the state before the first page: where to read from, and unless it is followed, how far."""
        query = self._query
        start = {path: self._start(group) for path, group in self._groups.items()}
        end = {path: self._end(group) for path, group in self._groups.items()}
        to = None if query.follow and query.until is None else end
        return _State(at=start, to=to) if query.n is None else _State(at=end, to=to, left=max(0, query.n))

    def _start(self, group: _Group) -> Cursor:
        since = self._query.since
        return group.stream.start() if since is None else group.stream.at_time(since)

    def _end(self, group: _Group) -> Cursor:
        until = self._query.until
        return group.stream.end() if until is None else group.stream.at_time(math.nextafter(until, math.inf))

    def page(self, state: _State) -> Page:
        if state.left:
            problems = self._count_back(state)
            if state.left:
                return Page((), _json(state), more=True, problems=problems)
        return self._forward(state)

    def _count_back(self, state: _State) -> tuple[str, ...]:
        """Move the cursors back until `left` lines are after them, or the time is over."""
        floor = (
            {path: self._start(group) for path, group in self._groups.items()} if self._query.since is not None else {}
        )
        feeds = {
            path: self._feed(group, state.at.get(path) or group.stream.end(), floor.get(path))
            for path, group in self._groups.items()
        }
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
        state.at = {path: feed.cursor for path, feed in feeds.items()}
        return _problems(by_number)

    def _forward(self, state: _State) -> Page:
        if self._query.follow and self._query.until is None:
            state.to = None
        to = state.to or {}
        feeds = {
            path: self._feed(group, state.at.get(path) or group.stream.start(), to.get(path))
            for path, group in self._groups.items()
        }
        by_number = list(feeds.values())
        lines: list[LogLine] = []
        room = self._limits.bytes
        more = False
        for found in merge([feed.forward() for feed in by_number]):
            if found is not None:
                number, line = found
                by_number[number].took(line.offset + len(line.data))
                lines.append(line)
                room -= len(line.data)
            if room <= 0 or ((found is None or not len(lines) % 256) and self._limits.expired()):
                more = True
                break
        state.at = {path: feed.cursor for path, feed in feeds.items()}
        held = any(feed.held for feed in by_number)
        return Page(tuple(lines), _json(state), more, held, _problems(by_number))

    def _feed(self, group: _Group, start: Cursor, bound: Cursor | None) -> _Feed:
        query, pattern = self._query, self._pattern
        share = max(_SMALLEST, min(pattern.block if pattern else BLOCK, self._limits.bytes // len(self._groups)))
        sift = Sift(group.label, pattern.may, pattern.hit) if pattern else Sift(group.label)
        partial = query.partial or not query.follow
        ask = Ask(sift, share, bound, partial, settle=query.follow and group.tagged)
        return _Feed(group, start, ask, pattern.patiently if pattern else lambda work: work())


def _problems(feeds: Sequence[_Feed]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(feed.problem for feed in feeds if feed.problem))


def _json(state: _State) -> dict[str, Any]:
    to = None if state.to is None else {path: list(cursor) for path, cursor in state.to.items()}
    return {"v": 1, "at": {path: list(cursor) for path, cursor in state.at.items()}, "to": to, "left": state.left}
