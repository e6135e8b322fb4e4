"""Say what a column of a row list is, and which ones the job tree has.

Decides titles, widths, places, and which column goes first when it gets narrow. Paints nothing. Rows fill them,
`RowTree` paints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

GAP = 1
"""Cells between two columns."""

REST_MIN = 12
"""A column that takes the rest gets at least so much, or others are dropped for it."""


class Column(NamedTuple):
    """Describe one column. `width` 0 takes the rest; the higher `keep`, the earlier it is dropped when narrow."""

    id: str
    title: str
    width: int
    align: str = "left"
    keep: int = 0


class Slot(NamedTuple):
    """Say where a column lies: its first cell, and the column with the width it got."""

    x: int
    column: Column


def lay_out(columns: Sequence[Column], width: int, margin: int = 0) -> tuple[Slot, ...]:
    """Return the columns that have room in `width` cells, of which the first `margin` are taken."""
    kept = list(columns)
    while kept and _wanted(kept) > width - margin and max(each.keep for each in kept) > 0:
        kept.remove(max(kept, key=lambda each: each.keep))
    fixed = sum(each.width for each in kept) + GAP * (len(kept) - 1)
    rests = sum(each.width == 0 for each in kept)
    room = max(width - margin - fixed, 0)
    slots, x = [], margin
    for column in kept:
        got = column.width
        if got == 0:
            got = room // rests
            room, rests = room - got, rests - 1
        got = max(min(got, width - x), 0)
        slots.append(Slot(x, column._replace(width=got)))
        x += got + GAP
    return tuple(slot for slot in slots if slot.column.width)


def _wanted(columns: Sequence[Column]) -> int:
    return sum(each.width or REST_MIN for each in columns) + GAP * (len(columns) - 1)


NAME = Column("name", "NAME", 0)
STATE = Column("state", "STATE", 10, "left", 1)
UP = Column("up", "UP", 7, "left", 2)
CPU = Column("cpu", "CPU", 4, "right", 3)
SPARK = Column("spark", "60s", 5, "left", 6)
MEM = Column("mem", "MEM", 4, "right", 4)
RESTARTS = Column("restarts", "↻", 3, "right", 5)

JOB_COLUMNS = (NAME, STATE, UP, CPU, SPARK, MEM, RESTARTS)
"""The job tree. What is in them keeps to the widths whatever the numbers (`fmt`)."""

SORTS = ("", "name", "state", "up", "cpu", "mem", "restarts")
"""What rows can be sorted by; "" is the order of the config."""


def sort_of(column_id: str) -> str:
    """Return what a click on a column's head sorts by."""
    return "cpu" if column_id == "spark" else column_id if column_id in SORTS else ""
