"""What an answer about output is made from: files read once for all who share them, and cursors over many of them.

Decides how lines of a shared file find their process, and what a cursor over several streams means; which lines make a
page is not its business. Pages, searches and counts are built on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from msgspec import Struct, ValidationError, convert

from taskmaster_core.errors import BadRequest
from taskmaster_core.logs.lines import Label, LogLine
from taskmaster_core.logs.parts import Listing
from taskmaster_core.logs.stream import Ask, Batch, Cursor, Stream

Cursors = dict[str, Cursor]
"""Where one is in each file, by its path."""

Patience = Callable[[Callable[[], Batch]], Batch]

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


class State(Struct):
    """Hold what a cursor says."""

    v: int = 1
    at: Cursors = {}
    to: Cursors | None = None
    left: int = 0
    """Lines that are still to be counted backwards before the answer begins."""
    total: int = 0
    """Of a search: bytes to be looked at in all, 0 before it began."""
    lines: int = 0
    """Of a count: lines so far."""


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

    def granted(self) -> Self:
        """Return limits that leave some time from now on.

        Looking for the first line of each of a thousand files may take all there was; then no page would hold much.
        """
        return self._replace(deadline=max(self.deadline, self.clock() + self.budget / 2))


class Group:
    """Hold the sources that share a file: it is read once for all of them."""

    def __init__(self, sources: Sequence[Source], listing: Listing) -> None:
        index = next((source.index for source in sources if source.index), None)
        self.sources = sources
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
        """Tell whether only lines with certain tags are wanted."""
        return None not in self._by_tag


def groups_of(sources: Iterable[Source]) -> dict[str, Group]:
    """Return the files of some sources by their paths; they share one reading of each directory."""
    listing = Listing()
    by_path: dict[str, list[Source]] = {}
    for source in sources:
        by_path.setdefault(source.path, []).append(source)
    return {path: Group(its, listing) for path, its in by_path.items()}


class Feed:
    """Give the lines of one group and know how far they were taken."""

    def __init__(self, group: Group, start: Cursor, ask: Ask, patiently: Patience) -> None:
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
            self._ask = self._ask.wider()
            if not batch.lines and batch.more:
                yield None

    def took(self, place: int) -> None:
        """Note that everything up to that offset of the present batch was given away."""
        self._place = place

    @property
    def cursor(self) -> Cursor:
        """Return where to go on."""
        return self._cursor if self._batch is None or self._place is None else self._batch.cursor(self._place)


def cursors_of(feeds: Mapping[str, Feed]) -> Cursors:
    """Return where each feed goes on."""
    return {path: feed.cursor for path, feed in feeds.items()}


def problems_of(feeds: Iterable[Feed]) -> tuple[str, ...]:
    """Return what could not be read, each said once."""
    return tuple(dict.fromkeys(feed.problem for feed in feeds if feed.problem))


def load(cursor: Mapping[str, Any]) -> State:
    """Return what the asker's cursor says; raise BadRequest if it is none."""
    try:
        state = convert(dict(cursor), State)
    except (ValidationError, TypeError, ValueError) as error:
        raise BadRequest(f"not a cursor of a page: {error}") from None
    if state.v != 1:
        raise BadRequest(f"a cursor of version {state.v}; this core knows 1")
    return state


def plain(cursors: Cursors) -> dict[str, Any]:
    """Return a cursor that only names a place: it serves in both directions."""
    return {"v": 1, "at": _lists(cursors)}


def dump(state: State) -> dict[str, Any]:
    """Return a state as the JSON that the asker keeps."""
    to = None if state.to is None else _lists(state.to)
    said = {"v": 1, "at": _lists(state.at), "to": to, "left": state.left}
    return said | ({"total": state.total, "lines": state.lines} if state.total else {})


def _lists(cursors: Cursors) -> dict[str, list[Any]]:
    return {path: list(cursor) for path, cursor in cursors.items()}


def extent(groups: Mapping[str, Group], at: Cursors) -> tuple[int, int]:
    """Return the bytes of output before the cursors and in all, over all parts of all files."""
    measured = [group.stream.extent(at.get(path)) for path, group in groups.items()]
    return sum(before for before, _ in measured), sum(total for _, total in measured)
