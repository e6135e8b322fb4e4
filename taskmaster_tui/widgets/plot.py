"""A chart of one measure over time: braille with axes, and what it is now, at least and at most.

Decides scale, labels and how it shrinks. Draws with `model.plot`; the panes and the metrics view hand it their history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, nan

from rich.cells import cell_len
from textual.strip import Strip

from taskmaster_tui.live import live_of
from taskmaster_tui.model.fmt import span as duration
from taskmaster_tui.model.plot import bars, braille, spark
from taskmaster_tui.widgets.cells import Span, cut, fit, fit_spans
from taskmaster_tui.widgets.painted import Painted, component_classes, role_css

_AXIS = 5  # cells of a label beside the chart: `1.2G ` and `212% `
_PART = 8  # lines between two labels at the side, at least


class Chart(Painted):
    """A history of numbers, one per `step` seconds, the newest at the right; NaN is a gap."""

    PREFIX = "chart"
    COMPONENT_CLASSES = component_classes(PREFIX, "line", "axis")
    DEFAULT_CSS = f"""
    Chart {{
        width: 1fr;
        height: 10;
        {role_css(PREFIX, line="color: $role-accent;", axis="color: $role-dim;")}
    }}
    """

    def __init__(
        self,
        title: str,
        unit: Callable[[float], str],
        *,
        floor: float = 10.0,
        step: float = 1.0,
        id: str | None = None,  # noqa: A002  # Textual's word
        classes: str | None = None,
    ) -> None:
        """Make a chart; `unit` words a number, `floor` is the least top of the scale: noise must not look like work."""
        super().__init__(id=id, classes=classes)
        self._title = title
        self._unit = unit
        self._floor = floor
        self._step = step
        self._values: list[float] = []
        self._maximum: float | None = None
        self._drawn: list[list[Span]] | None = None
        self._drawn_size: object = None

    def show(self, values: Sequence[float], *, title: str = "", maximum: float | None = None) -> None:
        """Show these values with the next live frame; `maximum` fixes the top of the scale."""
        fresh = list(values)
        if title not in ("", self._title):
            self._title = title
        elif maximum == self._maximum and _same(fresh, self._values):
            return
        self._values, self._maximum = fresh, maximum
        if self.is_mounted:
            live_of(self).request(self)

    def paint_live(self) -> None:
        """Draw what was last shown."""
        self._drawn = None
        self.refresh()

    def restyled(self) -> None:
        """Draw again: the glyphs may be others."""
        self._drawn = None

    def paint_line(self, y: int) -> Strip:
        """Return a line of the chart."""
        if self._drawn is None or self._drawn_size != self.outer_size:
            self._drawn, self._drawn_size = self._draw(), self.outer_size
        return self.strip(self._drawn[y] if y < len(self._drawn) else [(" " * self.outer_size.width, "")])

    def _draw(self) -> list[list[Span]]:
        width, height = self.outer_size
        known = [each for each in self._values if isfinite(each)]
        head = self._head(known)
        if not known:
            blank = [(" " * width, "")]
            middle: list[Span] = [(fit("no samples yet", width, "center"), "dim")]
            return [head, *([blank] * ((height - 2) // 2)), middle]
        top = self._maximum or nice(max(*known, self._floor), binary=self._is_binary())
        if height < 4 or width < 3 * _AXIS:
            return [head, [(spark(self._values, width, top, ascii_only=self.ascii), "line")]][:height]
        return [head, *self._body(top, width - _AXIS - 1, height - 2), self._foot(width - _AXIS - 1)]

    def _head(self, known: Sequence[float]) -> list[Span]:
        """Return the title, and the numbers at the right as far as there is room."""
        width = self.outer_size.width
        now = self._values[-1] if self._values else nan
        facts = [("now", now)] + ([("min", min(known)), ("max", max(known))] if known else [])
        spans: list[Span] = []
        room = width - cell_len(cut(self._title, width)) - 1
        for word, value in facts:
            text = self._unit(value)
            room -= len(word) + len(text) + 3
            if room < 0:
                break
            spans += [(f"  {word} ", "dim"), (text, "title")]
        right = sum(cell_len(text) for text, _ in spans)
        return [*fit_spans([(self._title, "title")], width - right), *spans]

    def _body(self, top: float, width: int, height: int) -> list[list[Span]]:
        draw = bars if self.ascii else braille
        side, joint = ("|", "+") if self.ascii else ("│", "┤")
        labels = self._labels(top, height)
        return [
            [(fit(labels.get(y, ""), _AXIS - 1, "right") + " ", "axis"), (joint if y in labels else side, "axis"),
             (line, "line")]
            for y, line in enumerate(draw(self._values, width, height, top))
        ]  # fmt: skip

    def _labels(self, top: float, height: int) -> dict[int, str]:
        """Return what is written beside which line: the top, and what lies at equal parts below it."""
        parts = max(min(height // _PART * 2, 4), 1) if height >= _PART else (2 if height >= 5 else 1)
        at = {round((height - 1) * part / parts): top * (parts - part) / parts for part in range(parts + 1)}
        return {y: self._unit(value) for y, value in at.items()}

    def _foot(self, width: int) -> list[Span]:
        """Return the axis of time."""
        whole = len(self._values) * self._step
        left, middle = f" {duration(whole)} ago", f"{duration(whole / 2)} ago"
        corner = "+" if self.ascii else "└"
        gap = width - len(left) - len(middle) - 3
        text = f"{left}{fit(middle, gap + len(middle), 'center')}now" if gap >= 4 else fit("now", width, "right")
        return [(" " * _AXIS, ""), (corner, "axis"), (text, "axis")]

    def _is_binary(self) -> bool:
        """Tell whether the unit counts by 1024."""
        return self._unit(1024.0).startswith("1K")


def _same(a: Sequence[float], b: Sequence[float]) -> bool:
    return len(a) == len(b) and all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))  # noqa: PLR0124  # NaN


def nice(value: float, *, binary: bool = False) -> float:
    """Return the next round number: 1, 2 or 5 with noughts; `binary`, such a number of the bytes' units."""
    unit = 1.0
    while binary and value > 1000 * unit:
        unit *= 1024
    scaled, ten = value / unit, 1.0
    while scaled > 10 * ten:
        ten *= 10
    while scaled <= ten and ten > 1e-6:
        ten /= 10
    return next((step * ten * unit for step in (1, 2, 4, 5, 10) if scaled <= step * ten), value)
