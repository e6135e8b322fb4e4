"""The ways through output: follow, pause, scroll, jump to a time, a place, an error; and the ways to look at it.

Decides how a jump loads, lands and pauses. Paints nothing and searches nothing itself; `LogView` is made of it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from taskmaster_core.alogs import BOTH, Place
from taskmaster_core.errors import TaskmasterError
from taskmaster_tui.widgets.line_pager import TROUBLE, LinePager
from taskmaster_tui.widgets.log_pane import LogPane

_STREAMS: tuple[tuple[str, ...], ...] = (BOTH, ("out",), ("err",))


class LogMoves(LogPane):
    """Show output and move in it."""

    # Follow and move

    def follow(self) -> None:
        """Show the newest lines from now on, or stay here if they are shown already."""
        self.pager.pause() if self.following else self.goto_end()

    def goto_end(self) -> None:
        """Go to the newest line and follow."""
        self.pager.current = None
        self.pager.follow()
        if self.buffer.more or not self.buffer.loaded:
            self.buffer.go_end()

    def goto_start(self) -> None:
        """Go to the oldest line there is."""
        self._go(self._goto_time(0.0))

    def last_minutes(self, minutes: float = 5) -> None:
        """Begin some minutes ago."""
        self._go(self._goto_time(self._now() - minutes * 60))

    def jump_to(self, at: float, key: str = "", *, stream: str = "", offset: int = -1) -> None:
        """Show what was written at a time, or that very line."""
        if stream and offset >= 0:
            self._go(self._goto_place(Place(at, key, stream, offset)))
        else:
            self._go(self._goto_time(at))

    async def _goto_time(self, at: float) -> None:
        self._land(await self.buffer.locate_time(at), top=True)

    async def _goto_place(self, place: Place) -> None:
        before = self.buffer.revision
        number = await self.buffer.locate(place)
        self._land(number, cursor=True, stay=self.buffer.revision == before)

    def _land(self, number: int | None, *, top: bool = False, cursor: bool = False, stay: bool = True) -> None:
        if number is None:
            return
        self.pager.cursor = number if cursor else None
        self.pager.go_to(number) if top else self.pager.show_line(number, stay=stay)

    def _go(self, way: Coroutine[Any, Any, None]) -> None:
        """Go somewhere that may have to be loaded; a newer wish replaces an older one."""
        self.pager.pause()
        self.run_worker(self._guarded(way), group="log-jump", exclusive=True)

    async def _guarded(self, way: Coroutine[Any, Any, None]) -> None:
        try:
            await way
        except TaskmasterError as error:
            self.buffer.failed(error)
        self._tell()

    def move(self, delta: int) -> None:
        """Move by lines."""
        if self.filter is not None and self.pager.cursor is None:
            self.pager.set_cursor()
        self.pager.move(delta)

    def page(self, screens: float) -> None:
        """Move by screens."""
        self.pager.page(screens)

    def next_trouble(self, step: int = 1) -> None:
        """Go to the next (-1: previous) line that looks like an error, or the next start or end of a process."""
        if not self.pager.next_trouble(step):
            self._go(self._far_trouble(step))

    async def _far_trouble(self, step: int) -> None:
        """Look beyond what is in memory."""
        edge = self.buffer.first if step < 0 else self.buffer.end - 1
        if (cursor := self.buffer.cursor_at(edge)) is None or (step > 0 and not self.buffer.more):
            return
        cursor = cursor if step < 0 else self.buffer.window.chunks[-1].end
        more = True
        while more:
            found = await self._logs().find(
                self.select, rf"\b(?:{TROUBLE})", ignorecase=True, cursor=cursor, back=step < 0, streams=self.streams
            )
            if found.places:
                await self._goto_place(found.places[0])
                return
            cursor, more = found.cursor, found.more

    def on_line_pager_dragged(self, event: LinePager.Dragged) -> None:
        """Go where the scroll bar was pulled to."""
        event.stop()
        if event.place >= 1:
            self.goto_end()
        else:
            self._go(self._goto_share(event.place))

    async def _goto_share(self, share: float) -> None:
        self._land(await self.buffer.locate_share(share), top=True)

    # Ways to look

    def toggle_wrap(self) -> None:
        """Break long lines, or cut them."""
        self.pager.toggle_wrap()
        self._paint()

    def cycle_time(self) -> None:
        """Show the next kind of time."""
        self.pager.cycle_time()
        self._ticker.resume() if self.pager.times == "relative" else self._ticker.pause()
        self._paint()

    def cycle_streams(self) -> None:
        """Show both streams, stdout alone, stderr alone."""
        self.streams = _STREAMS[(_STREAMS.index(tuple(self.streams)) + 1) % len(_STREAMS)]
        self._again()

    def reread(self) -> None:
        """Show the same again, by the way to the output that there is now."""
        self._again()

    def _again(self) -> None:
        """Show other lines of the same time."""
        row = None if self.following else self.row_here()
        self._reopen(load=row is None)
        if row is None:
            return
        if self.filter is not None and row.kind == "line":  # a cursor shows which line enter would go to
            self.jump_to(row.at, row.key, stream=row.stream, offset=row.offset)
        else:
            self.jump_to(row.at)
