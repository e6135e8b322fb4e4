"""The screen of the pager: paints the rows of a source that are in sight, the scroll bar, and what is said in between.

Decides which rows are in sight and asks the source for those near them. Moves nothing: `LinePager` adds what a person
does; `Painter` decides how a line looks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from taskmaster_tui.line_source import Fixed, LineSource, Row
from taskmaster_tui.widgets import sgr
from taskmaster_tui.widgets.label_colours import is_grey, label_colours
from taskmaster_tui.widgets.line_paint import GLYPHS, LABEL_MAX, Look, Painter, Shade
from taskmaster_tui.widgets.painted import ROLE_CSS, component_classes, role_css
from taskmaster_tui.widgets.viewport import Spot, Viewport

_MORE_CSS = {
    "time": "color: $role-dim;",
    "stream-out": "color: $role-dim;",
    "stream-err": "color: $role-err; text-style: bold;",
    "selection": "text-style: reverse;",
    "picked": "text-style: reverse;",
    "cursor": "text-style: reverse bold;",
    "bar": "color: $role-dim;",
    "thumb": "color: $role-accent;",
    "paused": "color: $role-warn; text-style: bold reverse;",
}
_PARTS = (*ROLE_CSS, *_MORE_CSS)
_AHEAD = 3
"""Screens of lines that are asked for before they are seen."""


class LineCanvas(Widget):
    """Paint lines of a source. `now` is the clock of the relative times."""

    DEFAULT_CSS = f"""
    LineCanvas {{
        height: 1fr; background: $surface; color: $foreground;
        {role_css("line-pager")}
        {"".join(f"& > .line-pager--{name} {{ {rules} }}" for name, rules in _MORE_CSS.items())}
    }}
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = component_classes("line-pager", *_MORE_CSS)

    def __init__(
        self,
        source: LineSource | None = None,
        *,
        id: str | None = None,  # noqa: A002 (Textual's word)
        now: Callable[[], float] = time.time,
        labels: bool = False,
        times: str = "clock",
        glyphs: str = "unicode",
    ) -> None:
        super().__init__(id=id)
        self.source: LineSource = source or Fixed(())
        self.empty = ""
        """What is said where there is no line."""
        self.view = Viewport()
        self.painter = Painter()
        self.match: re.Pattern[str] | None = None
        self.current: int | None = None
        """The line of the match that `n` stopped at."""
        self.cursor: int | None = None
        self.picked_from: int | None = None
        """Where the line-visual selection began."""
        self.x = 0
        self.wrap = False
        self.times = times
        self.labels = labels
        self.glyphs = glyphs
        self._now = now
        self._label_width = 0
        self._spots: list[Spot] = []
        self._seen_revision = -1
        self._paused_at: int | None = None
        self._ground: object = None
        self._background = Color(0, 0, 0)

    def set_source(self, source: LineSource, *, follow: bool = True) -> None:
        """Show another source from its end, or from where `show_line` will say."""
        self.source = source
        self._label_width = 0
        self.current = self.cursor = self.picked_from = None
        self._paused_at = None
        self.view = Viewport()
        self.view.following = follow
        self._seen_revision = -1
        self.painter.clear()
        self.refresh()

    def set_match(self, match: re.Pattern[str] | None, current: int | None = None) -> None:
        """Mark what the expression finds, and one line of it as the one where the person is."""
        self.match, self.current = match, current
        self.refresh()

    def paint_live(self) -> None:
        """Paint what came since; called at most once per frame."""
        self.refresh()

    @property
    def following(self) -> bool:
        """Tell whether the newest line is always on the screen."""
        return self.view.following

    @property
    def fresh(self) -> int:
        """How many lines came since the pager was paused."""
        return max(0, self.source.arrived - self._paused_at) if self._paused_at is not None else 0

    @property
    def on_screen(self) -> tuple[int, int]:
        """Return the numbers of the lines on the screen: from, and up to but not with."""
        if not self._spots:
            return self.source.first, self.source.first
        return self._spots[0].line, self._spots[-1].line + 1

    def here(self) -> int | None:
        """Return the line that keys act on: the cursor's, the match's, else the last one followed or the top one."""
        first, end = self.on_screen
        if self.cursor is not None:
            return self.cursor
        if self.current is not None and first <= self.current < end:
            return self.current
        if first == end:
            return None
        return end - 1 if self.following else first

    # Painting

    def notify_style_update(self) -> None:
        """Take the styles of a new theme."""
        super().notify_style_update()
        self._ground = None

    def _take_styles(self) -> None:
        styles = {part: self.get_component_rich_style(f"line-pager--{part}", partial=True) for part in _PARTS}
        theme = self.app.current_theme
        colours = label_colours(dark=theme.dark, ansi=theme.ansi, grey=self.app.no_color or is_grey(theme.primary))
        styles |= {f"label-{number}": style for number, style in enumerate(colours)}
        self.painter.styles = styles | {"": self.rich_style}
        self.painter.finish = self._filtered
        self.painter.clear()

    def _filtered(self, strip: Strip) -> Strip:
        """Apply what Textual does to all colours: the 16 colours of a theme, NO_COLOR."""
        for each in self.get_line_filters():
            strip = strip.apply_filter(each, self._background)
        return strip

    def _rows_of(self, number: int) -> int:
        return self.painter.rows_of(number, self.source.line(number)) if self.wrap else 1

    def _layout(self) -> list[Spot]:
        """Find what is on the screen now and ask for what is near it."""
        width, height = self.size
        if not height:
            self._spots = []
            return []
        if self._ground != (ground := self.background_colors):  # a container changed its colour: nobody tells us
            self._ground, self._background = ground, ground[1]
            self._take_styles()
        if self.source.revision != self._seen_revision:
            self._seen_revision = self.source.revision
            self.painter.clear()
        self._set_look(max(1, width - 1))
        rows = max(1, height - 1) if height > 1 and self._paused_words() else height
        self.view.fit(rows, self.source, self._rows_of)
        spots = self.view.layout(self.source, self._rows_of)
        if self.labels and self._wider_labels(spots):
            self._set_look(max(1, width - 1))
            spots = self.view.layout(self.source, self._rows_of)
        self._spots = spots
        first, end = self.on_screen
        self.source.want(first - _AHEAD * height, end if self.following else end + _AHEAD * height)
        return spots

    def _set_look(self, width: int) -> None:
        label_width = min(self._label_width, max(4, width // 4))
        self.painter.set_look(
            Look(
                width=width, x=0 if self.wrap else self.x, wrap=self.wrap, time=self.times, labels=self.labels,
                label_width=label_width, glyphs=self.glyphs, match=self.match,
            )
        )  # fmt: skip

    def _wider_labels(self, spots: list[Spot]) -> bool:
        """Widen the column of labels for those on the screen; it never gets narrower: nothing shall jump."""
        keys = {self.source.line(spot.line).key for spot in spots}
        width = min(LABEL_MAX, max((sgr.cells_of(key) for key in keys), default=0))
        wider = width > self._label_width
        self._label_width = max(width, self._label_width)
        return wider

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the strips of a part of the widget, past Textual's own styling of lines: it costs more than ours."""
        spots = self._layout()
        if not spots:
            return [self._empty(y).crop(*crop.column_span) for y in crop.line_range]
        bar = self._bar()
        now = self._now()
        bar += [bar[-1]] * (crop.bottom - len(bar))  # a picture of the size before may still be asked for
        strips = [Strip.join([self._text_strip(y, spots, now), bar[y]]) for y in crop.line_range]
        if crop.column_span != (0, self.size.width) or self.size.width < 2:
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _text_strip(self, y: int, spots: list[Spot], now: float) -> Strip:
        width = max(1, self.size.width - 1)
        if y == self.size.height - 1 and (words := self._paused_words()):
            style = self.painter.styles[""] + self.painter.styles["paused"]
            return self._words(words, width, style)
        if y >= len(spots):
            return Strip.blank(width, self.painter.styles[""])
        number, part = spots[y]
        row = self.source.line(number)
        before = self.source.line(number - 1) if number > self.source.first else None
        return self.painter.strip(number, row, part, before=before, now=now, shade=self._shade(number))

    def _shade(self, number: int) -> Shade:
        selection = self.text_selection
        span = selection.get_span(number) if selection is not None else None
        if self.cursor is None and self.current is None and span is None:
            return Shade()
        anchor, cursor = self.picked_from, self.cursor
        picked = anchor is not None and cursor is not None and min(anchor, cursor) <= number <= max(anchor, cursor)
        return Shade(number == self.current, number == cursor, picked, span)

    def _paused_words(self) -> str:
        if self.following or not self.fresh:
            return ""
        mark = GLYPHS[self.glyphs]["paused"]
        dot = "·" if self.glyphs == "unicode" else "-"
        count = f"{self.fresh:,}{'+' if self.source.more else ''}"
        lines = "line" if count == "1" else "lines"
        return f" {mark} paused here {dot} {count} new {lines} below {dot} G or f to follow"

    def _words(self, words: str, width: int, style: Style) -> Strip:
        runs = sgr.crop([(words, style)], 0, width)
        return self._filtered(Strip([Segment(text, style) for text, style in runs]).adjust_cell_length(width, style))

    def _empty(self, y: int) -> Strip:
        style = self.painter.styles[""] + self.painter.styles["dim"]
        text = f" {self.empty}" if y == 0 and self.empty else ""
        return self._words(sgr.plain(text.encode("utf-8", "replace")), self.size.width, style)

    def _bar(self) -> list[Strip]:
        """Return the scroll bar, one cell per row."""
        height = max(1, self.size.height)
        begin, length = self.source.position(*self.on_screen)
        size = max(1, round(length * height))
        if length >= 1:
            low = high = 0
        else:
            low = height - size if self.following else min(height - size, int(begin * height))
            high = low + size
        base, glyphs = self.painter.styles[""], GLYPHS[self.glyphs]
        track = self._words(glyphs["bar"], 1, base + self.painter.styles["bar"])
        thumb = self._words(glyphs["thumb"], 1, base + self.painter.styles["thumb"])
        return [thumb if low <= y < high else track for y in range(height)]

    def render_line(self, y: int) -> Strip:
        """Return one row with the place of each character in it: Textual asks for it to know what the mouse selects."""
        spots = self._layout()
        if not 0 <= y < len(spots):
            return Strip.blank(self.size.width)
        number, part = spots[y]
        row = self.source.line(number)
        before = self.source.line(number - 1) if number > self.source.first else None
        strip = self.painter.strip(number, row, part, before=before, now=self._now())
        width = self.painter.prefix_width if row.kind == "line" else 0
        begin = self.painter.column(number, row, part)
        prefix, text = strip.crop(0, width), strip.crop(width, self.size.width - 1)
        return Strip.join([prefix.apply_offsets(begin - len(prefix.text), number), text.apply_offsets(begin, number)])

    def rows(self, begin: int, end: int) -> Iterator[tuple[int, Row]]:
        """Give the rows in a range that are in memory."""
        for number in range(max(begin, self.source.first), min(end, self.source.end)):
            yield number, self.source.line(number)
