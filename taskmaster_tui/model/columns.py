"""Say what a column of a row list is, and which ones the job tree has.

Decides titles, widths and which column goes first when it gets narrow. Paints nothing. Rows fill them, `RowTree` lays
them out.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """Describe one column. `width` 0 takes the rest; the higher `keep`, the earlier it is dropped when narrow."""

    id: str
    title: str
    width: int
    align: str = "left"
    keep: int = 0


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
