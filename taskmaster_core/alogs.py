"""Pages of output for whoever scrolls: lines of many processes merged by time, back, forward, around, and searches.

Decides how often the core is asked until a page is full, and what a line is to a reader; which lines they are is the
core's answer; `filelogs` does without a core. The TUI calls it, and programs of users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

from taskmaster_core.logs.lines import CUT

Cursor = dict[str, Any]
"""A place between two lines of each file: JSON, and valid in both directions for as long as the files exist."""

BOTH = ("out", "err")

_TURNS = 20
"""Slices after which a page that is still not full is given as it is, with `more`: a second of the core's time."""


class Line(NamedTuple):
    r"""Hold one line, or a piece of one.

    Pieces: a line of more than 8 KiB comes cut (`cut`: more of it follows; `cont`: it goes on the line before), and an
    unfinished last line is given as far as it is written once its file was quiet for 0.3 s, as a prompt; its rest comes
    later with `cont`. `extend` puts them together.
    """

    at: float
    """When its first byte arrived (Unix seconds), 0 where nothing tells."""
    key: str
    stream: str
    offset: int
    data: bytes
    r"""With its `\n`, if it has one."""
    cut: int = 0
    note: str = ""
    """Not output, but something to tell at this place (the file was truncated); `data` is empty."""
    cont: int = 0

    @property
    def place(self) -> Place:
        """Return what `around` finds it by."""
        return Place(self.at, self.key, self.stream, self.offset)


class Place(NamedTuple):
    """Name a line; without a key: a time."""

    at: float
    key: str = ""
    stream: str = "out"
    offset: int = 0


class Lines(NamedTuple):
    """Hold a page, oldest line first."""

    lines: list[Line]
    begin: Cursor
    """Before the first line."""
    end: Cursor
    """After the last line."""
    more: bool
    """There is more in the direction that was asked for."""
    held: bool
    """Something new cannot be given yet: ask forward again in 0.3 s even if nothing tells that a file grew."""
    before: int
    total: int
    """Bytes of output before `begin` and in all: the place of a scroll bar."""
    problems: list[str]
    """What could not be read, in words."""
    start: bool = False
    """Nothing is before `begin`."""


class Found(NamedTuple):
    """Hold one slice of a search."""

    places: list[Place]
    """In the order of the search: oldest first, backwards newest first."""
    cursor: Cursor
    """Where it goes on."""
    more: bool
    """It is not at its end."""
    scanned: int
    total: int
    """Bytes looked at since the search began, and in all of it."""
    lines: int = 0
    """Lines so far, of a count."""


class LogPages(Protocol):
    """Name what a viewer of output needs. `select`: keys or other selectors, none: all processes.

    Each raises the errors of the core: `UsageError` for a bad pattern, `Refused` for one that takes too long.
    """

    async def tail(self, select: Iterable[str], n: int, streams: Sequence[str] = BOTH) -> Lines:
        """Return the last n lines."""

    async def back(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """Return the n lines before the cursor, fewer only where output begins (`start`)."""

    async def forward(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """Return at most n lines after the cursor: of old output, and of what has come since.

        To follow: ask it with the last `end` when `log.<key>` tells of growth, again at once while `more`, and in
        0.3 s while `held`.
        """

    async def at_time(self, select: Iterable[str], t: float, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """Return n lines, from the first at or after a time on."""

    async def around(self, select: Iterable[str], place: Place, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """Return n lines from that very one on, if it is gone from its time on; `begin` serves `back`."""

    async def find(
        self,
        select: Iterable[str],
        pattern: str,
        *,
        ignorecase: bool = False,
        cursor: Cursor | None = None,
        back: bool = True,
        streams: Sequence[str] = BOTH,
    ) -> Found:
        """Return the next places that match: one slice. No cursor: from the end (forwards: from the start).

        A cursor of a page starts it at that place, the one of the last slice goes on.
        """

    async def count(self, select: Iterable[str], cursor: Cursor | None = None, streams: Sequence[str] = BOTH) -> Found:
        """Return how many lines there are, a slice at a time."""


class LogSource(LogPages, Protocol):
    """Name what both readers below are: pages of all lines, and of those that match."""

    def matching(self, pattern: str, *, ignorecase: bool = False) -> LogPages:
        """Return pages of only the lines that match; their cursors serve only such pages (else: `around` a place).

        Where few match a page may be short or empty and say `more`: ask again from its `begin` (forwards: `end`).
        Only whole lines match, so an unfinished one is not shown.
        """


class Caller(Protocol):
    """Name what is needed of an `AsyncClient`."""

    async def call_raw(
        self, op: str, select: Iterable[str] = (), args: Mapping[str, Any] | None = None
    ) -> tuple[Any, bytes]:
        """Return the result of an operation and the bytes that came with it."""


class Paged:
    """Fill pages from slices; what gives a slice is the business of the two below."""

    def __init__(self, only: Mapping[str, Any] | None) -> None:
        self._only = only or {}

    async def _slice(self, select: Iterable[str], args: dict[str, Any]) -> Lines:
        raise NotImplementedError

    async def tail(self, select: Iterable[str], n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        return await self._back(select, None, n, streams)

    async def back(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        return await self._back(select, cursor, n, streams)

    async def forward(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        return await self._forward(select, {"cursor": cursor}, n, streams)

    async def at_time(self, select: Iterable[str], t: float, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        return await self._forward(select, {"around": {"at": t}}, n, streams)

    async def around(self, select: Iterable[str], place: Place, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        return await self._forward(select, {"around": place._asdict()}, n, streams)

    async def _back(self, select: Iterable[str], cursor: Cursor | None, n: int, streams: Sequence[str]) -> Lines:
        chosen = list(select)
        parts: list[Lines] = []
        first = got = await self._slice(chosen, self._args(streams, back=True, cursor=cursor, n=n))
        left = n - len(got.lines)
        while got.more and left > 0 and len(parts) < _TURNS:
            parts.append(got)
            got = await self._slice(chosen, self._args(streams, back=True, cursor=got.begin, n=left))
            first = first if _placed(first.end) else got
            left -= len(got.lines)
        lines = [line for part in [got, *reversed(parts)] for line in part.lines]
        return got._replace(lines=lines, end=first.end, more=not got.start, problems=_said([*parts, got]))

    async def _forward(self, select: Iterable[str], start: dict[str, Any], n: int, streams: Sequence[str]) -> Lines:
        chosen = list(select)
        parts: list[Lines] = []
        first = got = await self._slice(chosen, self._following(streams, **start, most=n))
        left = n - len(got.lines)
        while got.more and left > 0 and len(parts) < _TURNS:
            parts.append(got)
            got = await self._slice(chosen, self._following(streams, cursor=got.end, most=left))
            first = first if _placed(first.begin) else got
            left -= len(got.lines)
        lines = [line for part in [*parts, got] for line in part.lines]
        whole = got._replace(lines=lines, begin=first.begin, before=first.before, start=first.start)
        return whole._replace(problems=_said([*parts, got]))

    def _args(self, streams: Sequence[str], **args: Any) -> dict[str, Any]:
        return _args(streams, **args, **self._only)

    def _following(self, streams: Sequence[str], **args: Any) -> dict[str, Any]:
        return self._args(streams, **args, follow=True, partial=not self._only)


def _placed(cursor: Cursor) -> bool:
    """Tell whether it is known where a page begins in each file: of a thousand files the first slice may not tell."""
    return not cursor.get("rest") and not cursor.get("waits")


def _args(streams: Sequence[str], **args: Any) -> dict[str, Any]:
    return {"streams": list(streams), **{name: value for name, value in args.items() if value is not None}}


def _said(parts: Iterable[Lines]) -> list[str]:
    return list(dict.fromkeys(problem for part in parts for problem in part.problems))


class CoreLogs(Paged):
    """Read pages through the core."""

    def __init__(self, client: Caller, only: Mapping[str, Any] | None = None) -> None:
        super().__init__(only)
        self._client = client

    def matching(self, pattern: str, *, ignorecase: bool = False) -> CoreLogs:
        """See `LogPages`."""
        return CoreLogs(self._client, {"pattern": pattern, "ignorecase": ignorecase})

    async def _slice(self, select: Iterable[str], args: dict[str, Any]) -> Lines:
        answer, raw = await self._client.call_raw("logs", select, args)
        return Lines(
            _cut_up(answer["lines"], raw), answer["begin"], answer["end"], answer["more"], answer["held"],
            answer["before"], answer["total"], list(answer["problems"]), answer["start"],
        )  # fmt: skip

    async def find(
        self,
        select: Iterable[str],
        pattern: str,
        *,
        ignorecase: bool = False,
        cursor: Cursor | None = None,
        back: bool = True,
        streams: Sequence[str] = BOTH,
    ) -> Found:
        """See `LogPages`."""
        args = _args(streams, pattern=pattern, ignorecase=ignorecase, cursor=cursor, back=back)
        return _found((await self._client.call_raw("find", select, args))[0])

    async def count(self, select: Iterable[str], cursor: Cursor | None = None, streams: Sequence[str] = BOTH) -> Found:
        """See `LogPages`."""
        return _found((await self._client.call_raw("find", select, _args(streams, count=True, cursor=cursor)))[0])


def _cut_up(rows: list[list[Any]], raw: bytes) -> list[Line]:
    ends = accumulate(row[5] for row in rows)
    return [
        Line(row[0] or 0.0, row[1], row[2], row[3], raw[end - row[5] : end], row[4], row[6], row[7])
        for row, end in zip(rows, ends, strict=True)
    ]


def _found(answer: Mapping[str, Any]) -> Found:
    places = [Place(at or 0.0, *rest) for at, *rest in answer["places"]]
    return Found(places, answer["cursor"], answer["more"], answer["scanned"], answer["total"], answer.get("lines", 0))


def extend(held: list[Line], new: Iterable[Line], reach: int = 10_000) -> int:
    """Append lines to those a viewer holds, put pieces to the lines they go on; return the first that changed.

    A piece whose line is not among the last `reach` stays one of its own. No line gets longer than 8 KiB here.
    """
    changed = len(held)
    for line in new:
        number = _goes_on(held, line, reach) if line.cont else None
        if number is None:
            held.append(line)
        else:
            whole = held[number]
            held[number] = whole._replace(data=whole.data + line.data, cut=line.cut)
            changed = min(changed, number)
    return changed


def _goes_on(held: list[Line], piece: Line, reach: int) -> int | None:
    for number in range(len(held) - 1, max(-1, len(held) - 1 - reach), -1):
        line = held[number]
        if (line.key, line.stream) == (piece.key, piece.stream) and not line.note:
            fits = line.offset + len(line.data) == piece.offset and not line.data.endswith(b"\n")
            return number if fits and len(line.data) + len(piece.data) <= CUT else None
    return None
