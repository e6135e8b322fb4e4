"""Where on a long text the screen stands: which row of which line is on top, and whether it follows the end.

Decides everything about scrolling and never asks how high the whole is: only lines near the screen are laid out.
Paints nothing; `LinePager` owns one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from taskmaster_tui.line_source import LineSource

RowsOf = Callable[[int], int]
"""How many screen rows a line takes."""


class Spot(NamedTuple):
    """Name one row of the screen: the line, and which of its rows (0 if lines are not wrapped)."""

    line: int
    row: int = 0


class Viewport:
    """Hold the position; `following` means that the last line is at the bottom whatever comes."""

    def __init__(self) -> None:
        self.top = Spot(0)
        self.following = True
        self.height = 1

    def layout(self, source: LineSource, rows_of: RowsOf) -> list[Spot]:
        """Return the spots on the screen from top to bottom; fewer than the height where the text is short."""
        if source.end <= source.first or self.height <= 0:
            return []
        if self.following:
            spots = self._above(Spot(source.end, 0), self.height, source, rows_of)
            if spots:
                self.top = spots[0]
            return spots
        self.top = self._inside(source, rows_of)
        spots = self._below(self.top, self.height, source, rows_of)
        if len(spots) < self.height:  # nothing below: the last line is at the bottom, as in `less`
            spots = self._above(Spot(source.end, 0), self.height, source, rows_of)
            self.top = spots[0]
        return spots

    def fit(self, height: int, source: LineSource, rows_of: RowsOf) -> None:
        """Take another height; what ended with the last line still does when a line of something else takes room."""
        if height < self.height and not self.following and source.end > source.first:
            spots = self.layout(source, rows_of)
            if spots and spots[-1].line == source.end - 1 and height > 0:
                self.top = self._above(Spot(source.end, 0), height, source, rows_of)[0]
        self.height = height

    def scroll(self, delta: int, source: LineSource, rows_of: RowsOf) -> bool:
        """Move by screen rows; False if there is nothing to move to in memory."""
        spots = self.layout(source, rows_of)
        if not spots:
            return False
        if delta > 0:
            if self.following or not (below := self._below(self._next(spots[-1], rows_of), delta, source, rows_of)):
                return False
            self.top = self._below(self.top, len(below) + 1, source, rows_of)[-1]
            return True
        above = self._above(self.top, -delta, source, rows_of)
        self.following = False
        if above:
            self.top = above[0]
        return bool(above)

    def show(self, line: int, source: LineSource, rows_of: RowsOf, *, center: bool = True, stay: bool = True) -> None:
        """Bring a line onto the screen; with `stay` it does not move if the line is on it already."""
        spots = self.layout(source, rows_of)
        if stay and any(spot.line == line for spot in spots):
            self.following = False
            return
        self.following = False
        self.top = Spot(line)
        back = self.height // 3 if center else 0 if not spots or line < spots[0].line else self.height - 1
        if above := self._above(self.top, back, source, rows_of):
            self.top = above[0]

    def _inside(self, source: LineSource, rows_of: RowsOf) -> Spot:
        line = min(max(self.top.line, source.first), source.end - 1)
        row = min(self.top.row, rows_of(line) - 1) if line == self.top.line else 0
        return Spot(line, row)

    @staticmethod
    def _next(spot: Spot, rows_of: RowsOf) -> Spot:
        return Spot(spot.line, spot.row + 1) if spot.row + 1 < rows_of(spot.line) else Spot(spot.line + 1)

    @staticmethod
    def _below(start: Spot, count: int, source: LineSource, rows_of: RowsOf) -> list[Spot]:
        """Return up to `count` spots from `start` on."""
        spots: list[Spot] = []
        line, row = start
        while line < source.end and len(spots) < count:
            rows = rows_of(line)
            spots += [Spot(line, number) for number in range(row, min(rows, row + count - len(spots)))]
            line, row = line + 1, 0
        return spots

    @staticmethod
    def _above(start: Spot, count: int, source: LineSource, rows_of: RowsOf) -> list[Spot]:
        """Return up to `count` spots before `start`, in their order."""
        spots = [Spot(start.line, number) for number in range(start.row)]
        line = start.line
        while len(spots) < count and line > source.first:
            line -= 1
            spots[:0] = [Spot(line, number) for number in range(rows_of(line))]
        return spots[-count:] if count > 0 else []
