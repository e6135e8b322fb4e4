"""Draw numbers as text: sparklines of eighth blocks, line charts of braille dots, and both in ASCII.

Decides only how values become characters; NaN is a gap and stays empty. Rows and the metrics view call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan, nan

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-=+*#@"

_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""The bits of a braille cell: its left and its right column, each from the bottom upwards."""

_BRAILLE = 0x2800

_LEAST = 1e-9
"""What is smaller is nothing: a share of it would be no finite number."""


def spark(values: Sequence[float], width: int, maximum: float | None = None, *, ascii_only: bool = False) -> str:
    """Return one line of `width` bars for the values, the newest at the right; fewer values leave the left empty."""
    cells = resample(values, width)
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    top = _top(cells, maximum)
    scale = len(blocks) / top
    last = len(blocks) - 1
    return "".join(" " if each != each else blocks[int(min(max(each, 0.0) * scale, last))] for each in cells)  # noqa: PLR0124  # NaN


def resample(values: Sequence[float], width: int) -> list[float]:
    """Return exactly `width` numbers: means of neighbours where there are more values, NaN at the left where fewer."""
    n = len(values)
    if n <= width:
        return [nan] * (width - n) + list(values)
    return [mean(values[n * i // width : n * (i + 1) // width]) for i in range(width)]


def mean(values: Sequence[float]) -> float:
    """Return the mean of what is not NaN; NaN if nothing is."""
    total = sum(values)
    if total == total and values:  # noqa: PLR0124  # not NaN: the quick way for whole data
        return total / len(values)
    known = [each for each in values if not isnan(each)]
    return sum(known) / len(known) if known else nan


def _top(values: Sequence[float], maximum: float | None) -> float:
    """Return the value that fills the height."""
    top = maximum if maximum is not None else max((each for each in values if isfinite(each)), default=0.0)
    return top if top > _LEAST else 1.0


def braille(values: Sequence[float], width: int, height: int, maximum: float | None = None) -> list[str]:
    """Return `height` lines of `width` cells, the top one first: a line chart, two values a cell, four dots a line."""
    points = resample(values, width * 2)
    rows = _levels(points, height * 4, maximum)
    grid = [[0] * width for _ in range(height)]
    before = -1
    for x, level in enumerate(rows):
        if level >= 0:
            for y in _joined(before, level):
                grid[height - 1 - y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        before = level
    return ["".join(chr(_BRAILLE + bits) if bits else " " for bits in line) for line in grid]


def bars(values: Sequence[float], width: int, height: int, maximum: float | None = None) -> list[str]:
    """Return the same as `braille` in ASCII: `#` filled from below, `.` for a value that is next to nothing."""
    rows = _levels(resample(values, width), height, maximum)
    return ["".join(_bar(level, y, height) for level in rows) for y in range(height)]


def _bar(level: int, y: int, height: int) -> str:
    above = height - 1 - y
    if level < 0 or level < above:
        return " "
    return "." if level == 0 else "#"


def _levels(values: Sequence[float], steps: int, maximum: float | None) -> list[int]:
    """Return of each value its step from the bottom, -1 for none."""
    scale = (steps - 1) / _top(values, maximum)
    return [-1 if isnan(each) else round(min(max(each * scale, 0.0), steps - 1)) for each in values]


def _joined(before: int, level: int) -> range:
    """Return the dots that join a value to the one before it."""
    if before < 0 or abs(level - before) <= 1:
        return range(level, level + 1)
    return range(before + 1, level + 1) if level > before else range(level, before)
