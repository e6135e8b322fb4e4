"""How the columns of a table share a width.

Decides which columns a width has room for, how wide each is and where it begins. Does not cut or pad text. `RowTree`
lays out its rows with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from taskmaster_tui.model.columns import Column

GAP = 1  # cells between two columns
REST_MIN = 14  # a column that takes the rest is not left less: others are dropped first


class Slot(NamedTuple):
    """Where a column lies on the line; its width is the one laid out, never 0."""

    x: int
    column: Column


def lay_out(columns: Sequence[Column], width: int, x: int = 0) -> tuple[Slot, ...]:
    """Share `width` cells, of which the first `x` are taken, between as many columns as it has room for."""
    shown = list(columns)
    while _needed(shown) > width - x and (victim := _victim(shown)) is not None:
        shown.remove(victim)
    return _placed(shown, width, x)


def _needed(columns: list[Column]) -> int:
    return sum(column.width or REST_MIN for column in columns) + GAP * max(len(columns) - 1, 0)


def _victim(columns: list[Column]) -> Column | None:
    """Return the column to drop first: of the highest `keep` the rightmost, None if all that is left stays."""
    highest = max((column.keep for column in columns), default=0)
    return next((column for column in reversed(columns) if column.keep == highest), None) if highest else None


def _placed(columns: list[Column], width: int, x: int) -> tuple[Slot, ...]:
    greedy = sum(not column.width for column in columns)
    fixed = sum(column.width for column in columns) + GAP * max(len(columns) - 1, 0)
    rest = max(width - x - fixed, 0)
    slots: list[Slot] = []
    for column in columns:
        cells = column.width
        if not cells:
            cells = rest // greedy
            rest, greedy = rest - cells, greedy - 1
        cells = min(cells, width - x)
        if cells > 0:
            slots.append(Slot(x, column._replace(width=cells)))
            x += cells + GAP
    return tuple(slots)
