"""Logs in memory that answer like the core's pages: what the tests of the log view read."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Iterable, Sequence

from taskmaster_core.alogs import BOTH, Cursor, Found, Line, Lines, Place

START = 1_764_000_000.0


class FakeLogs:
    """Lines by number; a cursor is `{"at": number}`. `made` makes line i, so that a million cost nothing."""

    def __init__(self, lines: Sequence[Line] | None = None, *, count: int = 0, key: str = "web:0") -> None:
        self.lines = list(lines or ())
        self.count_made = count
        self.key = key
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.slice = 5_000
        self.delay = 0.0
        self.oldest = 0
        self.only: re.Pattern[bytes] | None = None

    def __len__(self) -> int:
        return self.count_made + len(self.lines)

    def line(self, i: int) -> Line:
        if i < self.count_made:
            return line(i, f"line {i} of the log".encode(), key=self.key)
        return self.lines[i - self.count_made]

    def add(self, *lines: Line) -> None:
        self.lines.extend(lines)

    def _page(self, what: str, low: int, high: int, streams: Sequence[str], *, more: bool) -> Lines:
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        low, high = max(self.oldest, low), min(len(self), high)
        only = self.only
        chosen = [one for i in range(low, high) if (one := self.line(i)).stream in streams
                  and (only is None or only.search(one.data.rstrip(b"\n")))]  # fmt: skip
        return Lines(chosen, {"at": low}, {"at": max(low, high)}, more, held=False, before=low * 20,
                     total=len(self) * 20, problems=[], start=low <= self.oldest)  # fmt: skip

    async def tail(self, select: Iterable[str], n: int, streams: Sequence[str] = BOTH) -> Lines:
        return self._page("tail", len(self) - n, len(self), streams, more=len(self) - n > self.oldest)

    async def back(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        return self._page("back", cursor["at"] - n, cursor["at"], streams, more=cursor["at"] - n > self.oldest)

    async def forward(self, select: Iterable[str], cursor: Cursor, n: int, streams: Sequence[str] = BOTH) -> Lines:
        return self._page("forward", cursor["at"], cursor["at"] + n, streams, more=cursor["at"] + n < len(self))

    async def at_time(self, select: Iterable[str], t: float, n: int, streams: Sequence[str] = BOTH) -> Lines:
        first = next((i for i in range(len(self)) if self.line(i).at >= t), len(self))
        return self._page("at_time", first, first + n, streams, more=first + n < len(self))

    async def around(self, select: Iterable[str], place: Place, n: int, streams: Sequence[str] = BOTH) -> Lines:
        first = next((i for i in range(len(self)) if self.line(i).place[1:] == place[1:]), None)
        if first is None:
            return await self.at_time(select, place.at, n, streams)
        return self._page("around", first, first + n, streams, more=first + n < len(self))

    async def find(
        self, select: Iterable[str], pattern: str, *, ignorecase: bool = False, cursor: Cursor | None = None,
        back: bool = True, streams: Sequence[str] = BOTH,
    ) -> Found:  # fmt: skip
        self.asked.append("find back" if back else "find")
        await asyncio.sleep(self.delay)
        found = re.compile(pattern.encode(), re.IGNORECASE if ignorecase else 0)
        at = cursor["at"] if cursor is not None else (len(self) if back else 0)
        to = max(self.oldest, at - self.slice) if back else min(len(self), at + self.slice)
        hits = [one for i in range(min(at, to), max(at, to))
                if found.search((one := self.line(i)).data.rstrip(b"\n")) and one.stream in streams]  # fmt: skip
        places = [one.place for one in hits]
        scanned = (cursor or {}).get("scanned", 0) + abs(at - to)
        return Found(places[::-1] if back else places, {"at": to, "scanned": scanned},
                     to > self.oldest if back else to < len(self), scanned, len(self))  # fmt: skip

    def matching(self, pattern: str, *, ignorecase: bool = False) -> FakeLogs:
        found = copy.copy(self)
        found.lines = self.lines
        found.only = re.compile(pattern.encode(), re.IGNORECASE if ignorecase else 0)
        return found

    async def count(self, select: Iterable[str], cursor: Cursor | None = None, streams: Sequence[str] = BOTH) -> Found:
        return Found([], {}, more=False, scanned=0, total=0, lines=len(self))


def line(i: int, data: bytes, *, key: str = "web:0", stream: str = "out", note: str = "", cut: int = 0) -> Line:
    """Line number i; one each 0.1 s."""
    return Line(START + i / 10, key, stream, i * 20, data if data.endswith(b"\n") or cut else data + b"\n", cut, note)
