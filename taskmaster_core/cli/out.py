"""Write to the terminal: what goes to which stream, in which colours, how wide.

It decides only looks. Every handler prints through it; names and sentences from jobs and configs are made harmless here
(RELIABILITY §5) before they reach a terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from json import dumps
from shutil import get_terminal_size
from typing import Any, Self, TextIO

from taskmaster_core.cli.suggest import colorless
from taskmaster_core.logs.sanitize import clean

STYLES = {
    "good": "32",
    "bad": "1;31",
    "busy": "33",
    "off": "2",
    "head": "1",
    "dim": "2",
    "name": "1",
}

PALETTE = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
"""Colours that tell processes apart."""


class Cell(str):
    """Hold the text of a table's cell and its style."""

    __slots__ = ("style",)
    style: str

    def __new__(cls, text: str, style: str = "") -> Self:
        """Return the text, which knows its style."""
        cell = super().__new__(cls, text)
        cell.style = style
        return cell


class Out:
    """Print data on stdout, and hints, progress and errors on stderr."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        color: str = "auto",
        quiet: bool = False,
        verbose: bool = False,
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.quiet = quiet
        self.verbose = verbose
        self.terminal = stdout.isatty()
        self.live = stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
        """Whether a line on stderr can be drawn again and again."""
        self._color = color

    def colored(self, stream: TextIO) -> bool:
        """Tell whether colours go to that stream."""
        if self._color != "auto":
            return self._color == "always"
        return stream.isatty() and not colorless()

    @property
    def width(self) -> int:
        """Return how many columns a line may have; 0 means any number."""
        return get_terminal_size().columns if self.terminal else 0

    @property
    def unicode(self) -> bool:
        """Tell whether stdout can carry more than ASCII."""
        return "utf" in (self.stdout.encoding or "").lower()

    def say(self, text: str = "") -> None:
        """Print a line of data."""
        self.stdout.write(text + "\n")

    def data(self, value: Any) -> None:
        """Print a document as JSON."""
        self.say(dumps(value, ensure_ascii=not self.unicode, indent=2 if self.terminal else None))

    def line(self, value: Any) -> None:
        """Print a document as one line of JSON."""
        self.say(dumps(value, ensure_ascii=not self.unicode))

    def hint(self, text: str) -> None:
        """Print a line beside the data, unless the person wants quiet."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """Print a line beside the data, always."""
        self.stdout.flush()  # or the lines come in another order where both streams are one
        self.stderr.write(text + "\n")
        self.stderr.flush()

    def paint(self, text: str, style: str, stream: TextIO | None = None) -> str:
        """Return the text in a style (of STYLES, or an SGR), if the stream is coloured."""
        if not style or not text or not self.colored(stream or self.stdout):
            return text
        return f"\x1b[{STYLES.get(style, style)}m{text}\x1b[0m"

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
        """Print rows in columns; the last column is cut at the terminal's edge. `right`: columns set to the right."""
        cells = [[Cell(clean(cell).replace("\n", " "), getattr(cell, "style", "")) for cell in row] for row in rows]
        widths = [max(columns(cell) for cell in column) for column in zip(head, *cells, strict=True)]
        for row in ([Cell(cell, "head") for cell in head], *cells):
            self.say(self._line(row, widths, right))

    def _line(self, row: Sequence[Cell], widths: Sequence[int], right: Sequence[int]) -> str:
        parts, used, edge = [], 0, self.width
        for at, cell in enumerate(row):
            last = at == len(row) - 1
            text = cut(cell, edge - used) if last and edge else str(cell)
            gap = " " * (widths[at] - columns(text))
            painted = self.paint(text, cell.style)
            parts.append(gap + painted if at in right else painted if last else painted + gap)
            used += widths[at] + 2
        return "  ".join(parts).rstrip()


def columns(text: str) -> int:
    """Return how many columns of a terminal the text fills."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415  # 1 MB that plain names do not need

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> str:
    """Return at most `width` columns of the text, at least its first few."""
    width = max(width, 8)
    if columns(text) <= width:
        return text
    while columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def plural(number: int, word: str) -> str:
    """Return "1 job", "2 jobs", "2 processes"."""
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number} {word}{ending}"


def span(seconds: float) -> str:
    """Return a length of time in the two largest units: 4s, 3m12s, 2h05m, 12d03h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def standard(**options: Any) -> Out:
    """Return the Out of this process's own streams."""
    return Out(sys.stdout, sys.stderr, **options)
