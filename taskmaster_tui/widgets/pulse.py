"""The pulse grid: a small chart for each of many things, side by side, with a cursor.

Decides how many are beside each other and paints only those on screen. Their order, their words and their numbers are
the source's; the metrics view shows jobs with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from taskmaster_tui.model.plot import bars, braille
from taskmaster_tui.widgets.cells import Span, fit, fit_spans, flat
from taskmaster_tui.widgets.listed import Listed
from taskmaster_tui.widgets.painted import component_classes, role_css

CELL_WIDTH = 26  # cells, at least: a name, two numbers, and 52 dots of history
CHART_LINES = 3
CELL_HEIGHT = CHART_LINES + 2  # its words above it and a blank line below
GAP = 2


class Pulse(NamedTuple):
    """One thing as the grid shows it."""

    title: Sequence[Span]
    note: str
    """Its numbers, at the right."""
    values: Sequence[float]
    maximum: float | None = None
    """The top of its scale; None: its own highest value."""
    role: str = "accent"
    """Of its chart."""


class PulseSource(Protocol):
    """What a `PulseGrid` shows."""

    def ids(self) -> Sequence[str]:
        """Return the ids in their order, the greatest share first."""

    def pulse(self, row_id: str) -> Pulse:
        """Return one; called for visible ones only."""


class _Tile(NamedTuple):
    """One as last asked for: what is compared, and its lines as spans of the same width."""

    pulse: Pulse
    lines: list[list[Span]]


class PulseGrid(Listed, can_focus=True):
    """Small charts in a grid, scrolled by lines of them."""

    PREFIX = "pulse-grid"
    WHEEL = 1
    COMPONENT_CLASSES = component_classes(PREFIX, "cursor", "blurred", "thumb", "track")
    DEFAULT_CSS = f"""
    PulseGrid {{
        width: 1fr;
        height: 1fr;
        overflow: hidden hidden;
        {role_css(
            PREFIX,
            cursor="color: $role-accent; text-style: reverse;",
            blurred="text-style: bold; background: $block-cursor-blurred-background;",
            thumb="color: $role-dim;",
            track="color: $role-dim;",
        )}
    }}
    """

    class _OfOne(Message):
        def __init__(self, grid: PulseGrid, row_id: str) -> None:
            super().__init__()
            self.grid = grid
            self.row_id = row_id

        @property
        def control(self) -> PulseGrid:
            """The grid it comes from."""
            return self.grid

    class Moved(_OfOne):
        """The cursor is on another one now."""

    class Chosen(_OfOne):
        """It was clicked twice."""

    def __init__(
        self, source: PulseSource, *, id: str | None = None, classes: str | None = None, empty: str = ""  # noqa: A002
    ) -> None:
        super().__init__(source, id=id, classes=classes, empty=empty)
        self.source = source
        self._tiles: dict[str, _Tile] = {}
        self._tile_width = 0
        self._beside = 1  # how many were beside each other when `first` was set

    @property
    def per_line(self) -> int:
        """How many are beside each other."""
        return max((self.outer_size.width - 1 + GAP) // (CELL_WIDTH + GAP), 1)

    @property
    def shown(self) -> int:
        """How many lines of them have room."""
        return self.outer_size.height // CELL_HEIGHT or min(self.outer_size.height, 1)

    @property
    def whole(self) -> int:
        """The height that shows everything."""
        return self.total * CELL_HEIGHT or len(self.empty.split("\n"))

    @property
    def on_screen(self) -> Sequence[str]:
        """The ids on screen, those that the lower edge cuts off too."""
        seen = self._seen()
        return self._ids[seen.start : seen.stop]

    def move_lines(self, delta: int) -> None:
        """Move the cursor to the one above or below."""
        self.move(delta * self.per_line)

    def forget(self) -> None:
        """Forget all as last asked for."""
        self._tiles = {}

    restyled = forget

    def announce(self, row_id: str) -> None:
        """Say that the cursor is on this one now."""
        self.post_message(self.Moved(self, row_id))

    def region_of(self, index: int) -> Region:
        """Return where a visible one lies."""
        line, column = divmod(index - self.first * self.per_line, self.per_line)
        width = self._widths()
        return Region(column * (width + GAP), line * CELL_HEIGHT, width, CELL_HEIGHT - 1)

    def scrolled(self) -> None:
        """Paint again, and keep nothing of what left."""
        self._tiles = {}
        super().scrolled()

    def on_resize(self, event: events.Resize) -> None:
        """Keep the first one first when another number of them is beside each other."""
        self.first = self.first * self._beside // self.per_line
        self._beside = self.per_line
        super().on_resize(event)

    def paint_rows(self, ids: set[str]) -> list[Region]:
        """Ask for these again and return where they changed."""
        changed = []
        for index in self._seen():
            row_id = self._ids[index]
            old = self._tiles.get(row_id)
            if row_id in ids and old is not None and (pulse := self._asked(row_id)) != old.pulse:
                self._tiles[row_id] = self._tile(pulse)
                changed.append(self.region_of(index))
        return changed

    def paint_line(self, y: int) -> Strip:
        """Return a line that crosses several charts."""
        if not self._ids:
            return self.strip([(self.empty_line(y), "dim")])
        self._widths()
        line, part = divmod(y, CELL_HEIGHT)
        begin = (self.first + line) * self.per_line
        indexes = range(begin, min(begin + self.per_line, len(self._ids))) if part < CELL_HEIGHT - 1 else ()
        spans: list[Span] = []
        for index in indexes:
            spans += [*self._part(index, part), (" " * GAP, "")]
        used = max(len(indexes) * (self._tile_width + GAP) - GAP, 0)
        if indexes:
            spans.pop()
        return self.strip([*spans, (" " * (self.outer_size.width - 1 - used), ""), self.bar_at(y)])

    def _widths(self) -> int:
        """Return the width of one; forget all when it is another one."""
        width = (self.outer_size.width - 1 + GAP) // self.per_line - GAP
        if width != self._tile_width:
            self._tile_width = width
            self._tiles = {}
        return width

    def _seen(self) -> range:
        """Return the indexes of all that has room, whole or cut off by the lower edge."""
        lines = -(-self.outer_size.height // CELL_HEIGHT)
        return range(self.first * self.per_line, min((self.first + lines) * self.per_line, len(self._ids)))

    def _part(self, index: int, part: int) -> list[Span]:
        row_id = self._ids[index]
        tile = self._tiles.get(row_id)
        if tile is None:
            tile = self._tiles[row_id] = self._tile(self._asked(row_id))
        spans = tile.lines[part]
        if part or index != self._cursor:
            return spans
        text = ">" + "".join(text for text, _ in spans)[1:]
        return [(text, "cursor" if self.has_focus else "blurred")]

    def _asked(self, row_id: str) -> Pulse:
        try:
            pulse = self.source.pulse(row_id)
        except KeyError:  # it went away, and `rows_changed` is on its way
            return Pulse((), "", ())
        return pulse._replace(values=tuple(pulse.values))  # a copy: what it is compared with later must not change

    def _tile(self, pulse: Pulse) -> _Tile:
        width = self._tile_width
        note = flat(pulse.note)[: width // 2]
        title = fit_spans(list(pulse.title) or [("", "")], max(width - len(note) - 2, 0), "left", self.more)
        draw = bars if self.ascii else braille
        chart = draw(pulse.values, width - 1, CHART_LINES, pulse.maximum)
        head: list[Span] = [(" ", ""), *title, (fit(note, len(note) + 1, "right"), "dim")]
        return _Tile(pulse, [head, *([(" ", ""), (line, pulse.role)] for line in chart)])

    def on_click(self, event: events.Click) -> None:
        """Move the cursor there."""
        if self.on_bar(event):
            return
        event.stop()
        column = event.x // (self._widths() + GAP)
        index = (self.first + event.y // CELL_HEIGHT) * self.per_line + column
        if column < self.per_line and index < len(self._ids):
            self.move_to(self._ids[index])
            if event.chain == 2:
                self.post_message(self.Chosen(self, self._ids[index]))
