"""The same pages as `alogs` without a core: read from the files, which are on this machine.

Decides nothing of its own: which lines there are is `logs/`, in a thread. The TUI loads it when the core is gone, so
that a start does not pay for it; programs of users may, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from taskmaster_core.alogs import BOTH, Cursor, Found, Line, Lines, Paged
from taskmaster_core.logs import find as finder
from taskmaster_core.logs.lines import LogLine
from taskmaster_core.logs.query import Page, Query, Source, around, as_place, back, page
from taskmaster_core.spec import matches, parse_key

T = TypeVar("T")

_reading = threading.Lock()


class FileLogs(Paged):
    """Read pages from the files themselves: the core is gone, and they are on this machine.

    `files`: of each process its streams, as `show` answers under `files`. Without a core no tags are known, so `@tag`
    selects nothing.
    """

    def __init__(
        self, files: Mapping[str, Mapping[str, Mapping[str, Any]]], only: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(only)
        self._files = files
        self._sources = [
            (parse_key(key), Source(sink["path"], sink.get("index"), sink.get("tag"), key, stream))
            for key, streams in files.items()
            for stream, sink in streams.items()
        ]

    def matching(self, pattern: str, *, ignorecase: bool = False) -> FileLogs:
        """See `LogPages`."""
        return FileLogs(self._files, {"pattern": pattern, "ignorecase": ignorecase})

    def _chosen(self, select: Iterable[str], streams: Sequence[str]) -> tuple[Source, ...]:
        selectors = list(select)
        return tuple(
            source
            for key, source in self._sources
            if source.stream in streams and (not selectors or any(matches(each, key, ()) for each in selectors))
        )

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
        query = Query(self._chosen(select, streams), pattern=pattern, ignorecase=ignorecase)
        found = await asyncio.to_thread(_alone, partial(finder.find, query, cursor, back=back))
        places = [_line(line).place for line in found.lines]
        return Found(places, found.cursor, found.more, found.scanned, found.total)

    async def count(self, select: Iterable[str], cursor: Cursor | None = None, streams: Sequence[str] = BOTH) -> Found:
        """See `LogPages`."""
        found = await asyncio.to_thread(_alone, partial(finder.count, Query(self._chosen(select, streams)), cursor))
        return Found([], found.cursor, found.more, found.scanned, found.total, found.count)

    async def _slice(self, select: Iterable[str], args: dict[str, Any]) -> Lines:
        return await asyncio.to_thread(_alone, partial(self._read, self._chosen(select, args["streams"]), args))

    @staticmethod
    def _read(sources: tuple[Source, ...], args: Mapping[str, Any]) -> Lines:
        cursor = args.get("cursor")
        if not sources:
            return Lines(
                [], cursor or {}, cursor or {}, more=False, held=False, before=0, total=0, problems=[], start=True
            )
        named = {
            name: args[name] for name in ("n", "most", "follow", "partial", "pattern", "ignorecase") if name in args
        }
        query = Query(sources, **named)
        if "around" in args:
            return _lines(around(query, as_place(args["around"])))
        return _lines(back(query, cursor) if args.get("back") else page(query, cursor))


def _alone(read: Callable[[], T]) -> T:
    """Read while no other thread does: what is remembered between pages is shared."""
    with _reading:
        return read()


def _lines(found: Page) -> Lines:
    lines = [_line(line) for line in found.lines]
    return Lines(
        lines,
        found.begin,
        found.end,
        found.more,
        found.held,
        found.before,
        found.total,
        list(found.problems),
        found.start,
    )


def _line(line: LogLine) -> Line:
    at = line.at or 0.0
    return Line(at, line.tag, line.stream, line.offset, line.data, line.cut, line.note, line.cont)
