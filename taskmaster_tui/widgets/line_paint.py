"""Turns rows into strips: time, label, stream mark, the coloured line, what was found in it, what is selected.

Decides how one line looks and remembers the strips it made lately. Knows no position on the screen and asks no source
for more; `LinePager` calls it with the styles of the theme.
"""

from __future__ import annotations

import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from taskmaster_tui.line_source import Row
from taskmaster_tui.widgets import sgr
from taskmaster_tui.widgets.sgr import Run

TIMES = ("off", "clock", "date", "relative", "delta")
TIME_WIDTH = {"off": 0, "clock": 12, "date": 23, "relative": 7, "delta": 9}
PALETTE = 8
LABEL_MAX = 18
WRAP_CELLS = 4096
"""Cells of a line that are laid out when lines are wrapped; the rest is counted."""
_REMEMBERED = 512
_MATCHES = 200
"""At most so many matches of one line are marked."""

GLYPHS = {
    "unicode": {"rule": "─", "more": "…", "bar": "│", "thumb": "█", "paused": "║", "cursor": ">"},
    "ascii": {"rule": "-", "more": "~", "bar": "|", "thumb": "#", "paused": "=", "cursor": ">"},
}


class Look(NamedTuple):
    """Hold all that changes how every line is painted; with another look all strips are made anew."""

    width: int = 80
    x: int = 0
    wrap: bool = False
    time: str = "clock"
    labels: bool = False
    label_width: int = 0
    glyphs: str = "unicode"
    match: re.Pattern[str] | None = None


class Shade(NamedTuple):
    """Hold what changes how one line is painted."""

    current: bool = False
    """The match `n` stopped at is in this line."""
    cursor: bool = False
    picked: bool = False
    span: tuple[int, int] | None = None
    """Characters the mouse selected; -1: to the end."""


_PLAIN_SHADE = Shade()


class Body(NamedTuple):
    """Hold a parsed line, in rows if it is wrapped."""

    rows: list[list[Run]]
    more: bool


class Painter:
    """Make strips. `styles` maps roles to partial styles, "" to the style of the whole widget."""

    def __init__(self) -> None:
        self.look = Look()
        self.styles: Mapping[str, Style] = {"": Style.null()}
        self._bodies: OrderedDict[int, Body] = OrderedDict()
        self._strips: OrderedDict[tuple[object, ...], Strip] = OrderedDict()
        self._clock: tuple[int, str, str] = (-1, "", "")
        self.finish: Callable[[Strip], Strip] = _as_it_is

    def clear(self) -> None:
        """Forget all strips: the theme, the look or the numbers of lines changed."""
        self._bodies.clear()
        self._strips.clear()

    def set_look(self, look: Look) -> bool:
        """Paint differently from now on; False if it is no difference."""
        if look == self.look:
            return False
        self.look = look
        self.clear()
        return True

    # How wide things are

    @property
    def prefix_width(self) -> int:
        """Cells before the text of a line."""
        look = self.look
        label = look.label_width + 1 if look.labels and look.label_width else 0
        clock = TIME_WIDTH[look.time]
        return (clock + 1 if clock else 0) + label + 2

    @property
    def text_width(self) -> int:
        """Cells for the text of a line; at least one, however narrow the pane is."""
        return max(1, self.look.width - self.prefix_width)

    def rows_of(self, number: int, row: Row) -> int:
        """Return how many screen rows a line takes."""
        if not self.look.wrap or row.kind != "line":
            return 1
        return len(self._body(number, row).rows)

    # Text

    def _body(self, number: int, row: Row) -> Body:
        body = self._bodies.get(number)
        if body is None:
            body = self._bodies[number] = self._parsed(row)
            if len(self._bodies) > _REMEMBERED:
                self._bodies.popitem(last=False)
        else:
            self._bodies.move_to_end(number)
        return body

    def _parsed(self, row: Row) -> Body:
        look, width = self.look, self.text_width
        cells = WRAP_CELLS if look.wrap else look.x + width + 1
        runs, size, more = sgr.parse(row.data, cells)
        runs = self._marked(runs)
        if not look.wrap:
            return Body([sgr.crop(runs, look.x, width)], more or size > look.x + width)
        if more:
            runs = [*sgr.crop(runs, 0, WRAP_CELLS), (self.rest_words(row, WRAP_CELLS), self._style("dim"))]
        elif row.more or len(row.data) > sgr.CAP:
            runs.append((self.rest_words(row, sgr.CAP), self._style("dim")))
        return Body(sgr.fold(runs, width), more=False)

    def rest_words(self, row: Row, shown: int) -> str:
        """Say how much of a line is not shown."""
        rest = max(0, len(row.data) - shown) + max(0, row.more)
        mark = GLYPHS[self.look.glyphs]["more"]
        return f"{mark} +{_size(rest)}" if rest else mark

    def _marked(self, runs: list[Run]) -> list[Run]:
        """Lay the search over the text."""
        if self.look.match is None or not runs:
            return runs
        style = self._style("match")
        text = "".join(part for part, _ in runs)
        for count, found in enumerate(self.look.match.finditer(text)):
            if count >= _MATCHES:
                break
            if found.end() > found.start():
                runs = sgr.overlay(runs, found.start(), found.end(), style)
        return runs

    # Columns before the text

    def _prefix(self, row: Row, before: Row | None, now: float) -> list[Run]:
        look = self.look
        runs: list[Run] = []
        if look.time != "off":
            text = self.time_text(row.at, before.at if before else 0.0, now)
            runs.append((f"{text:>{TIME_WIDTH[look.time]}} ", self._style("time")))
        if row.kind != "line":
            return runs
        if look.labels and look.label_width:
            runs.append((self._label(row.key), self._style(f"label-{colour_of(row.key)}")))
        mark = {"out": "1", "err": "2"}.get(row.stream, " ")
        runs.append((f"{mark} ", self._style(f"stream-{row.stream}" if row.stream else "dim")))
        return runs

    def _label(self, key: str) -> str:
        width = self.look.label_width
        text = sgr.middle_cut(sgr.plain(key.encode("utf-8", "replace")), width)
        return text + " " * (width + 1 - sgr.cells_of(text))

    def time_text(self, at: float, before: float, now: float) -> str:
        """Return what the time column says of a line."""
        if not at:
            return ""
        mode = self.look.time
        if mode == "relative":
            return _span(now - at) if now >= at else "now"
        if mode == "delta":
            return f"{min(at - before, 99999.0):+.3f}"[:9] if before else ""
        second = int(at)
        if self._clock[0] != second:
            day = time.localtime(second)
            self._clock = (second, time.strftime("%Y-%m-%d ", day), time.strftime("%H:%M:%S", day))
        clock = f"{self._clock[2]}.{int(at * 1000) % 1000:03}"
        return self._clock[1] + clock if mode == "date" else clock

    # Strips

    def strip(
        self, number: int, row: Row, part: int, *, before: Row | None, now: float, shade: Shade = _PLAIN_SHADE
    ) -> Strip:
        """Return one screen row of a line, exactly as wide as the look says."""
        stamp = self.time_text(row.at, before.at if before else 0.0, now) if self.look.time != "off" else ""
        key = (number, part, stamp, shade)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self.finish(self._painted(number, row, part, before, now, shade))
            if len(self._strips) > _REMEMBERED:
                self._strips.popitem(last=False)
        else:
            self._strips.move_to_end(key)
        return strip

    def _painted(self, number: int, row: Row, part: int, before: Row | None, now: float, shade: Shade) -> Strip:
        prefix = self._prefix(row, before, now) if part == 0 else [(" " * self.prefix_width, Style.null())]
        if row.kind != "line":
            text = self._remark(row, sum(sgr.cells_of(part) for part, _ in prefix))
        else:
            body = self._body(number, row)
            text = body.rows[min(part, len(body.rows) - 1)]
            text = self._shaded(text, number, row, part, shade)
            if not self.look.wrap:
                text = self._ended(text, row, more=body.more)
        return self._joined([*prefix, *text], shade)

    def _shaded(self, text: list[Run], number: int, row: Row, part: int, shade: Shade) -> list[Run]:
        if shade.span is not None:
            start = self.column(number, row, part)
            length = sum(len(piece) for piece, _ in text)
            begin, end = shade.span
            text = sgr.overlay(text, begin - start, length if end < 0 else end - start, self._style("selection"))
        if shade.current and self.look.match is not None:
            style = self._style("current")
            shown = "".join(piece for piece, _ in text)
            for found in list(self.look.match.finditer(shown))[:_MATCHES]:
                text = sgr.overlay(text, found.start(), found.end(), style)
        return text

    def column(self, number: int, row: Row, part: int) -> int:
        """Return which character of the line is the first of this screen row."""
        if not self.look.wrap:
            return len("".join(piece for piece, _ in sgr.crop(sgr.parse(row.data, self.look.x).runs, 0, self.look.x)))
        rows = self._body(number, row).rows
        return sum(len(piece) for runs in rows[:part] for piece, _ in runs)

    def _ended(self, text: list[Run], row: Row, *, more: bool) -> list[Run]:
        """Say at the right edge that the line goes on, and how far if it is worth a number."""
        width = self.text_width
        size = sum(sgr.cells_of(piece) for piece, _ in text)
        hidden = len(row.data) - self.look.x - width
        if more and hidden <= sgr.CAP // 4 and not row.more:
            tail = GLYPHS[self.look.glyphs]["more"]
        elif more or row.more or (size < width and len(row.data) > sgr.CAP):
            tail = self.rest_words(row, self.look.x + width if more else min(len(row.data), sgr.CAP))
        else:
            return text
        room = max(0, width - len(tail))
        return [*sgr.crop(text, 0, room), (tail[:width], self._style("dim"))]

    def _remark(self, row: Row, used: int) -> list[Run]:
        """Paint a remark between lines as a rule through the pane."""
        rule = GLYPHS[self.look.glyphs]["rule"]
        label = f"{sgr.plain(row.key.encode())} " if self.look.labels and row.key else ""
        text = sgr.plain(row.data)
        if self.look.glyphs == "ascii":
            text = text.replace("·", "-")
        words = f"{rule * 2} {label}{text} "
        room = max(0, self.look.width - used)
        words += rule * max(0, room - sgr.cells_of(words) - 1)
        return sgr.crop([(words, self._style(row.role or "mark"))], 0, room)

    def _joined(self, runs: list[Run], shade: Shade) -> Strip:
        base = self.styles[""]
        width = self.look.width
        if shade.picked or shade.cursor:
            over = self._style("cursor" if shade.cursor else "picked")
            base += over  # of one colour: parts reversed one by one are a patchwork
            segments = [Segment("".join(text for text, _ in runs), base)]
        else:
            segments = [Segment(text, base + style if style else base) for text, style in runs if text]
        size = sum(sgr.cells_of(segment.text) for segment in segments)
        if size < width:
            segments.append(Segment(" " * (width - size), base))
            return Strip(segments, width)
        return Strip(segments, size).crop(0, width) if size > width else Strip(segments, width)

    def _style(self, role: str) -> Style:
        return self.styles.get(role) or Style.null()


def _as_it_is(strip: Strip) -> Strip:
    return strip


def colour_of(key: str) -> int:
    """Return which of the label colours a process has: the same in every session."""
    return zlib.crc32(key.encode("utf-8", "replace")) % PALETTE


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    for unit in ("kB", "MB"):
        count_of = count / (1e3 if unit == "kB" else 1e6)
        if count_of < 999.5:
            return f"{count_of:.1f} {unit}" if count_of < 10 else f"{count_of:.0f} {unit}"
    return f"{count / 1e9:.1f} GB"


def _span(seconds: float) -> str:
    """Return an age in at most seven cells."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    return f"{min(whole // 86400, 99999)}d"
