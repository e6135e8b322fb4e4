"""What a pager shows: rows with a line number, of which only some are in memory.

Decides the shape of a row and of a source of rows; holds none and paints none. Line numbers may be negative: lines that
are loaded before the first one do not renumber the others. `LogBuffer` is a source, `LinePager` asks one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """Hold one line as it came, bytes nobody has cleaned, or a remark between lines (`kind` is `mark` or `gap`)."""

    data: bytes
    at: float = 0.0
    """Unix seconds, 0 if nobody knows."""
    key: str = ""
    stream: str = ""
    """`out`, `err` or empty."""
    offset: int = -1
    more: int = 0
    """How many bytes of the line are not in `data`; -1: some, nobody counted them."""
    kind: str = "line"
    role: str = ""


class LineSource(Protocol):
    """Give rows by number; numbers from `first` up to but not with `end` are there at once."""

    @property
    def first(self) -> int:
        """The number of the oldest row in memory."""

    @property
    def end(self) -> int:
        """The number after the newest row in memory."""

    @property
    def revision(self) -> int:
        """Counts up when numbers do not mean the rows they meant before."""

    @property
    def more(self) -> bool:
        """Tell whether there are rows after `end` that are not in memory."""

    @property
    def arrived(self) -> int:
        """Counts the rows that came at the growing end while somebody looked."""

    def line(self, number: int) -> Row:
        """Return a row; IndexError if it is not in memory."""

    def want(self, begin: int, end: int) -> None:
        """Tell which rows will be looked at soon; those that are missing come later, if there are any."""

    def position(self, top: int, bottom: int) -> tuple[float, float]:
        """Return where the rows lie in the whole: (begin, length), each from 0 to 1."""


class Fixed:
    """A source that is all in memory: a diff, help, a few lines."""

    more = False
    revision = arrived = first = 0

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    @property
    def end(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def line(self, number: int) -> Row:
        """Return a row; IndexError if there is none."""
        if number < 0:
            raise IndexError(number)
        return self._rows[number]

    def want(self, begin: int, end: int) -> None:
        """Do nothing: all is here."""

    def position(self, top: int, bottom: int) -> tuple[float, float]:
        """Return where the rows lie in the whole."""
        count = max(1, len(self._rows))
        return top / count, (bottom - top) / count
