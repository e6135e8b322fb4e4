"""Reads only the lines that match, in pages like any other output: the keep-only mode of the log view.

Decides how hits become lines again: a search gives places, the pages around them give the text. `LogBuffer` reads from
it as from the core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from taskmaster_core.alogs import BOTH, Cursor, Found, Line, Lines, LogPages, Place
from taskmaster_tui.log_search import ignores_case, without

_AT_ONCE = 8
_DENSE = 100
"""Lines fetched at once where hits are close together."""
_SLICES = 20
"""Slices of a search until a page is given as it is: a second of the core's time."""


class FilteredLogs:
    """Pages of the lines that match, or that do not."""

    def __init__(self, logs: Callable[[], LogPages], text: str, *, inverse: bool = False) -> None:
        self._logs = logs
        self.text, self.inverse = text, inverse
        self._pattern = without(text) if inverse else text
        self._ignorecase = ignores_case(text)

    async def tail(self, select: Iterable[str], n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        chosen = list(select)
        last = await self._logs().tail(chosen, 1, streams)
        page = await self.back(chosen, last.end, n, streams)
        return page._replace(end=last.end)

    async def back(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        chosen = list(select)
        found = await self._find(chosen, cursor, n, streams, back=True)
        page = await self._page(chosen, found.places[:n][::-1], found, streams)
        cut = len(found.places) > n
        begin = page.begin if cut else found.cursor
        more = found.more or cut
        return page._replace(begin=begin, end=cursor, more=more, start=not more)

    async def forward(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        chosen = list(select)
        found = await self._find(chosen, cursor, n, streams, back=False)
        page = await self._page(chosen, found.places[:n], found, streams)
        cut = len(found.places) > n
        end = found.cursor
        if cut:  # what was found beyond the page is found again
            end = (await self._logs().around(chosen, found.places[n - 1], 1, streams)).end
        return page._replace(begin=cursor, end=end, more=found.more or cut)

    async def at_time(self, select: Iterable[str], t: float, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        chosen = list(select)
        start = await self._logs().at_time(chosen, t, 1, streams)
        return await self.forward(chosen, start.begin, n, streams)

    async def around(self, select: Iterable[str], place: Place, n: int, streams: Sequence[str] = BOTH) -> Lines:
        """See `LogPages`."""
        chosen = list(select)
        start = await self._logs().around(chosen, place, 1, streams)
        return await self.forward(chosen, start.begin, n, streams)

    async def find(
        self, select: Iterable[str], pattern: str, *, ignorecase: bool = False, cursor: Cursor | None = None,
        back: bool = True, streams: Sequence[str] = BOTH,
    ) -> Found:  # fmt: skip
        """See `LogPages`: a search in all lines, not only in these."""
        return await self._logs().find(
            select, pattern, ignorecase=ignorecase, cursor=cursor, back=back, streams=streams
        )

    async def count(self, select: Iterable[str], cursor: Cursor | None = None, streams: Sequence[str] = BOTH) -> Found:
        """See `LogPages`."""
        return await self._logs().count(select, cursor, streams)

    async def _find(self, select: list[str], cursor: Cursor, n: int, streams: Sequence[str], *, back: bool) -> Found:
        """Search until there are enough hits, or for long enough."""
        places: list[Place] = []
        for _ in range(_SLICES):
            found = await self._logs().find(
                select, self._pattern, ignorecase=self._ignorecase, cursor=cursor, back=back, streams=streams
            )
            places += found.places
            cursor = found.cursor
            if len(places) >= n or not found.more:
                break
        return found._replace(places=places)

    async def _page(self, select: list[str], places: list[Place], found: Found, streams: Sequence[str]) -> Lines:
        """Fetch the lines at places (oldest first)."""
        parts: list[Lines] = []
        lines: list[Line] = []
        count, left = _DENSE, places
        while left:
            batch = left[:1] if count > 1 else left[:_AT_ONCE]
            got = await asyncio.gather(*(self._logs().around(select, place, count, streams) for place in batch))
            wanted = set(map(_identity, left))
            hits = [line for page in got for line in page.lines if _identity(line.place) in wanted]
            parts += got
            lines += hits
            done = {_identity(line.place) for line in hits} | {_identity(place) for place in batch}
            left = [place for place in left if _identity(place) not in done]
            count = _DENSE if count > 1 and len(hits) > _DENSE // 10 else 1
        begin, before = (parts[0].begin, parts[0].before) if parts else (found.cursor, 0)
        return Lines(
            lines, begin, found.cursor, found.more, held=False, before=before, total=found.total, problems=[]
        )  # fmt: skip


def _identity(place: Place) -> tuple[str, str, int]:
    return place.key, place.stream, place.offset
