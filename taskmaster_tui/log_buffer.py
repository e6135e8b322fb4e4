"""Follows, scrolls and jumps in the output of processes with a window of it in memory; the files are the buffer.

Decides when which page is asked for: near an edge that is looked at, at most 15 times a second at the growing end, the
tail at once when that end runs away. What is kept is `LogWindow`'s business. `LogView` owns one for its pager.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from taskmaster_core.alogs import BOTH, Cursor, Lines, LogPages, Place
from taskmaster_tui.line_source import Row
from taskmaster_tui.log_fetch import Fetcher
from taskmaster_tui.log_window import LINES_MAX, LogWindow

RATE = 15
"""Fetches at the growing end per second while it is followed."""
SLOW_RATE = 4
"""The same while the view is paused: only the number of new lines changes."""
_PAGE = 300
_BEHIND = 150
"""More new lines than that between two fetches: nobody reads them, the tail is shown."""
_HELD = 0.3
_PROBES = 10
_CLOSE = 0.01
"""Shares of the whole that a person cannot tell apart on a scroll bar."""
_ROOM = LINES_MAX // 2
"""New lines that are loaded while the view is paused."""


class LogBuffer(Fetcher):
    """A source of lines for the pager.

    `logs` gives the reader (another one when the core is gone), `tell` is told to repaint, `following` tells whether
    somebody looks at the growing end.
    """

    def __init__(
        self, logs: Callable[[], LogPages], tell: Callable[[], None], following: Callable[[], bool],
        *, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        super().__init__(logs, tell, clock=clock)
        self._grown = False
        self._seen = (0, 0)
        self.window = LogWindow()
        self.select: tuple[str, ...] = ()
        self.streams: Sequence[str] = BOTH
        self._following = following
        self.arrived = 0
        """Rows that came while somebody looked; counts up."""
        self.loaded = False
        """An answer has come; before that nothing is known, not even that there is nothing."""

    # A source for the pager

    @property
    def following(self) -> bool:
        """Tell whether somebody looks at the growing end."""
        return self._following()

    @property
    def first(self) -> int:
        """The number of the oldest row in memory."""
        return self.window.first

    @property
    def end(self) -> int:
        """The number after the newest row in memory."""
        return self.window.end

    @property
    def revision(self) -> int:
        """Counts up when numbers do not mean the rows they meant before."""
        return self.window.revision

    @property
    def more(self) -> bool:
        """Tell whether there are rows after the newest in memory."""
        return self.loaded and not self.window.at_end

    def line(self, number: int) -> Row:
        """Return a row; IndexError if it is not in memory."""
        return self.window.line(number)

    def position(self, top: int, bottom: int) -> tuple[float, float]:
        """Return where the rows lie in the whole, by bytes."""
        total = max(1, self.window.total)
        before = self.window.bytes_before(top)
        after = self.window.bytes_before(bottom)
        if self.window.at_end and bottom >= self.end:
            after = total
        if self.window.at_start and top <= self.first:
            before = 0
        return min(1.0, before / total), min(1.0, max(0, after - before) / total)

    def want(self, begin: int, end: int) -> None:
        """Load what is missing near the screen."""
        self._seen = (begin, end)
        if self.blocked:
            return
        if not self.loaded:
            if self.trouble and not self._tasks:  # the first page could not be had: try again
                self.go_end()
            return
        count = max(_PAGE, end - begin)
        if begin < self.first and not self.window.at_start:
            self._start("back", lambda: self._back(count))
        if end > self.end and not self.window.at_end and not self.following:
            self._start("forward", lambda: self._forward(count))

    # What is shown

    def show(self, select: Iterable[str], streams: Sequence[str] = BOTH, marks: Iterable[Row] = ()) -> None:
        """Show other output, from its end. `marks` are remarks from the events known so far."""
        self.prepare(select, streams, marks)
        self.go_end()

    def prepare(self, select: Iterable[str], streams: Sequence[str] = BOTH, marks: Iterable[Row] = ()) -> None:
        """Forget what there is and wait to be told which place of other output to load."""
        self.close()
        revision, end = self.window.revision, self.window.end
        self.window = LogWindow(revision=revision + 1)
        self.window.add_marks(marks)
        self.select, self.streams = tuple(select), streams
        self.loaded, self.trouble, self.problems = False, "", []
        self._seen, self._grown, self._blocked_until = (end, end), False, 0.0

    def go_end(self) -> None:
        """Load the newest page."""
        self._restart("load", self._tail)

    async def locate(self, place: Place) -> int | None:
        """Return the number of a line, loading the page around it if need be; None if it cannot be had."""
        number = self.window.number_of(place) if self.loaded else None
        if number is None:
            await self._load(lambda logs: logs.around(self.select, place, _PAGE, self.streams))
            number = self.window.number_of(place)
        return self._near(place.at) if number is None else number

    async def locate_time(self, at: float) -> int | None:
        """Return the number of the first line at or after a time, loading it if need be."""
        window = self.window
        if not (self.loaded and window.end > window.first and window.line(window.first).at <= at <= window.high):
            await self._load(lambda logs: logs.at_time(self.select, at, _PAGE, self.streams))
        return self._near(at)

    async def locate_share(self, share: float) -> int | None:
        """Return the number of the line at a share of the bytes (0 to 1), by searching for its time."""
        number = self.window.number_of_byte(int(share * self.window.total))
        if number is None:
            at = await self._time_of(share)
            await self._load(lambda logs: logs.at_time(self.select, at, _PAGE, self.streams))
            number = self._near(at)
        return number

    async def _time_of(self, share: float) -> float:
        """Return about the time when that share of the output had come: the files know times, not lines."""
        logs = self._logs()
        begin = await logs.at_time(self.select, 0.0, 1, self.streams)
        end = await logs.tail(self.select, 1, self.streams)
        low, high = (page.lines[0].at if page.lines else 0.0 for page in (begin, end))
        for _ in range(_PROBES):
            middle = (low + high) / 2
            page = await logs.at_time(self.select, middle, 1, self.streams)
            found = page.before / max(1, page.total)
            if abs(found - share) < _CLOSE:
                return middle
            low, high = (middle, high) if found < share else (low, middle)
        return (low + high) / 2

    def cursor_at(self, number: int) -> Cursor | None:
        """Return a cursor not after that row: where a search from the screen begins."""
        if not self.first <= number < self.end:
            return None
        return self.window.chunk_of(number).begin

    def add_marks(self, marks: Iterable[Row]) -> None:
        """Put remarks between the lines, by their time."""
        if self.window.add_marks(marks) and self.loaded:
            self.poke()
        self._tell()

    def poke(self) -> None:
        """Hear that there is new output: fetch it, soon, together with what comes until then."""
        self._grown = True
        if self.loaded and "follow" not in self._tasks:
            self._start("follow", self._follow)

    # Fetching

    async def _load(self, ask: Callable[[LogPages], Coroutine[Any, Any, Lines]]) -> None:
        """Replace the window by a page and what is before it."""
        self.close()
        page = await self._got(ask(self._logs()))
        self.window.reset(page, at_end=not page.more)
        self.loaded = True
        if not self.window.at_start:
            await self._back(_PAGE)
        self._tell()

    async def _tail(self) -> None:
        page = await self._got(self._logs().tail(self.select, self._screens(), self.streams))
        if not self.following and self.loaded:  # paused while it was on its way
            self.window.at_end = False
            return
        self.window.reset(page._replace(start=page.start or not page.more), at_end=True)
        self.loaded = True
        if page.held or self._grown:
            self.poke()

    async def _back(self, count: int) -> None:
        window = self.window
        chunk = window.chunks[0]
        page = await self._got(self._logs().back(self.select, chunk.begin, count, self.streams))
        if window is self.window and window.chunks and window.chunks[0] is chunk:  # else it was replaced meanwhile
            window.prepend(page)
            window.trim(*self._seen)

    async def _forward(self, count: int, *, counted: bool = False) -> bool:
        """Fetch at the newer end; True if it should be asked again soon."""
        window = self.window
        chunk, end = window.chunks[-1], window.chunks[-1].end
        page = await self._got(self._logs().forward(self.select, end, count, self.streams))
        if window is self.window and window.chunks and window.chunks[-1] is chunk and chunk.end is end:
            came = window.extend(page)
            self.arrived += came if counted else 0
            window.trim(*((window.end, window.end) if self.following else self._seen))
        return page.held

    async def _follow(self) -> None:
        """Fetch until there is nothing new, as slowly as eyes are."""
        while self._grown:
            self._grown = False
            began = self._clock()
            held = await self._catch_up()
            self._tell()
            pause = 1 / (RATE if self.following else SLOW_RATE)
            await asyncio.sleep(max(_HELD if held and not self._grown else 0.0, pause - (self._clock() - began)))
            self._grown = self._grown or held

    async def _catch_up(self) -> bool:
        if not self.following:
            return await self._count_new()
        if not self.window.at_end:
            await self._tail()
            return False
        held = await self._forward(_BEHIND, counted=True)
        return await self._catch_up() if self._runs_away() else held

    def _runs_away(self) -> bool:
        return self.following and not self.window.at_end

    async def _count_new(self) -> bool:
        """Load what came below a paused view, up to a limit; the rest stays in the files until somebody looks."""
        window = self.window
        if not window.tailing or window.end - self._seen[1] >= _ROOM:
            window.at_end = window.tailing = False
            return False
        held = await self._forward(_PAGE, counted=True)
        self._grown = self._grown or not self.window.at_end
        return held

    def _screens(self) -> int:
        return max(_BEHIND, self._seen[1] - self._seen[0])

    def _near(self, at: float) -> int | None:
        number = self.window.number_at(at)
        return self.window.end - 1 if number is None and self.window.end > self.window.first else number
