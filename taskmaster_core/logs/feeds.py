"""What an answer about output is made from: files read once for all who share them, and cursors over many of them.

Decides how lines of a shared file find their process, and what a cursor over several streams means; which lines make a
page is not its business. Pages, searches and counts are built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Self, overload

from msgspec import Struct

from taskmaster_core.logs.cursors import Cursor, Cursors
from taskmaster_core.logs.lines import Label, LogLine
from taskmaster_core.logs.stream import Ask, Batch, Stream

Patience = Callable[[Callable[[], Batch]], Batch]

_LEAST = 64
"""Files that are opened in any case, a few milliseconds; twice as many each time that was not enough."""
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


class Limits(NamedTuple):
    """Say when a page is full."""

    size: int
    """Bytes of output, or places."""
    budget: float
    deadline: float
    clock: Callable[[], float]

    @classmethod
    def of(cls, size: int, budget: float, clock: Callable[[], float]) -> Self:
        """Return limits that count from now."""
        return cls(size, budget, clock() + budget, clock)

    def expired(self) -> bool:
        """Tell whether the time is over."""
        return self.clock() >= self.deadline


class Patient:
    """Say when the time is over for opening files, but not before some were: so that every slice comes somewhere."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._least = _LEAST

    def waited(self, times: int) -> None:
        """Allow more to a question that came to nothing so many times."""
        self._least = _LEAST << min(times, 20)

    def tired(self) -> bool:
        """Count a file that was opened; tell whether it was the last."""
        self._least -= 1
        return self._least < 0 and self._limits.expired()


class Group:
    """Hold the sources that share a file: it is read once for all of them."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.path = sources[0].path
        self._only = sources[0]
        self._by_tag = {source.tag: source for source in reversed(sources)}
        self.tagged = None not in self._by_tag
        """Only lines with certain tags are wanted."""

    @property
    def index(self) -> str | None:
        """Return the path of the file's index."""
        return next((source.index for source in self.sources if source.index), None)

    def label(self, tag: str) -> Label | None:
        """Return how a line with that tag is shown, None if nobody asked for it."""
        if tag == _OURS:
            return Label(tag, self._only.stream)
        source = self._by_tag.get(tag) or self._by_tag.get(None)
        if source is None:
            return None if tag else Label(self._only.key if len(self._by_tag) == 1 else "", self._only.stream)
        return Label(tag or source.key, source.stream)

    @property
    def tags(self) -> frozenset[str | None]:
        """Return the tags that are wanted; with None all."""
        return frozenset(self._by_tag)


_grouped: list[tuple[tuple[Source, ...], dict[str, Group]]] = []
_GROUPED = 4
"""Viewers ask for the same files again and again."""


def groups_of(sources: tuple[Source, ...]) -> dict[str, Group]:
    """Return the files of some sources by their paths; nobody changes what is returned."""
    for number, (known, groups) in enumerate(_grouped):
        if known == sources:
            _grouped.insert(0, _grouped.pop(number))
            return groups
    by_path: dict[str, list[Source]] = {}
    for source in sources:
        by_path.setdefault(source.path, []).append(source)
    groups = {path: Group(its) for path, its in by_path.items()}
    _grouped.insert(0, (sources, groups))
    del _grouped[_GROUPED:]
    return groups


class Feed:
    """Give the lines of one group and know how far they were taken."""

    def __init__(self, stream: Stream, start: Cursor | None, ask: Ask, patiently: Patience) -> None:
        self._stream = stream
        self._ask = ask
        self._patiently = patiently
        self._batch: Batch | None = None
        self._place: int | None = None
        self._cursor = start
        self.more = True
        self.head: float | None = None
        """What orders the next line from the cursor, if that line was seen."""
        self.held = False
        self.problem = ""

    def forward(self) -> Iterator[tuple[float, LogLine] | None]:
        """Give lines, oldest first."""
        return self._run(self._stream.read, backwards=False)

    def backward(self) -> Iterator[tuple[float, LogLine] | None]:
        """Give lines, newest first."""
        return self._run(self._stream.back, backwards=True)

    def _run(self, read: Callable[[Cursor, Ask], Batch], *, backwards: bool) -> Iterator[tuple[float, LogLine] | None]:
        cursor = self._cursor or self._stream.start()
        while self.more:
            batch = self._patiently(partial(read, cursor, self._ask))
            self._cursor, self._batch, self._place = cursor, batch, None
            self.problem = self.problem or batch.problem
            self.held = batch.held
            for found in reversed(batch.lines) if backwards else batch.lines:
                self.head = found[0] if found[1].at is not None else None
                yield found
            self._cursor, self._batch, self.more, self.head = batch.next, None, batch.more, None
            cursor = batch.next
            self._ask = self._ask.wider()
            if not batch.lines and batch.more:
                yield None

    def took(self, place: int) -> None:
        """Note that everything up to that offset of the present batch was given away."""
        self._place, self.head = place, None

    @property
    def cursor(self) -> Cursor | None:
        """Return where to go on; None is where the output begins."""
        return self._cursor if self._batch is None or self._place is None else self._batch.cursor(self._place)


class Feeds(Sequence[Iterable[tuple[float, LogLine] | None]]):
    """Make the feeds of an answer when they are needed: of a thousand files a page needs a few."""

    def __init__(self, paths: Sequence[str], make: Callable[[str], Feed], *, backwards: bool) -> None:
        self.paths = paths
        self._make = make
        self._backwards = backwards
        self._made: dict[int, Feed] = {}

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, number: int) -> Iterable[tuple[float, LogLine] | None]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Iterable[tuple[float, LogLine] | None]]: ...

    def __getitem__(self, number: int | slice) -> Any:
        """Return the lines of a file."""
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        feed = self._made[number] = self._make(self.paths[number])
        return feed.backward() if self._backwards else feed.forward()

    def took(self, number: int, line: LogLine) -> None:
        """Note that a line was given away."""
        self._made[number].took(line.offset if self._backwards else line.offset + len(line.data))

    @property
    def held(self) -> bool:
        """Tell whether something cannot be read for a moment."""
        return any(feed.held for feed in self._made.values())

    def made(self) -> Iterator[tuple[str, Feed]]:
        """Give those that were needed, with their paths."""
        for number, feed in self._made.items():
            yield self.paths[number], feed

    def cursors(self) -> Cursors:
        """Return where each goes on."""
        return {path: cursor for path, feed in self.made() if (cursor := feed.cursor) is not None}

    def problems(self) -> tuple[str, ...]:
        """Return what could not be read, each said once."""
        return tuple(dict.fromkeys(feed.problem for feed in self._made.values() if feed.problem))
