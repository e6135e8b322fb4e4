"""The table of live rows: jobs, events, plan rows, generations, whatever a `RowSource` has.

Decides which rows are on screen, where the cursor is, what must be painted again and what the mouse means. Does not
know what a row says (the source does) and binds no keys (the screens do). Only what is visible is ever asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from rich.cells import cell_len
from textual import events
from textual.geometry import Region
from textual.strip import Strip

from taskmaster_tui.model.columns import Column
from taskmaster_tui.model.words import GLYPHS
from taskmaster_tui.widgets import row_messages
from taskmaster_tui.widgets.cells import Span, fit, fit_spans
from taskmaster_tui.widgets.listed import Listed
from taskmaster_tui.widgets.painted import component_classes, role_css
from taskmaster_tui.widgets.slots import Slot, lay_out

__all__ = ["Cell", "Column", "Parted", "RowSource", "RowTree", "Tinted"]

Cell = Span | Sequence[Span]
"""(text, role), or several of them where one cell has parts of different roles."""

FOLDS = frozenset(glyphs[name] for glyphs in GLYPHS.values() for name in ("open", "closed"))
"""What a row that can be folded begins with, after its indent; a blank follows."""


class RowSource(Protocol):
    """What a `RowTree` shows."""

    def ids(self) -> Sequence[str]:
        """Return the ids of all rows in their order."""

    def cells(self, row_id: str, columns: Sequence[Column]) -> Sequence[Cell]:
        """Return a cell per column; called for visible rows only, with the widths that were laid out."""

    def marked(self, row_id: str) -> bool:
        """Tell whether the person marked the row."""


@runtime_checkable
class Parted(Protocol):
    """A source whose first cell has parts of different roles: a coloured glyph before a plain name."""

    def name_parts(self, row_id: str) -> Sequence[Span]:
        """Return the parts of the first cell."""


@runtime_checkable
class Tinted(Protocol):
    """A source whose rows have a role as a whole, under those of their cells."""

    def row_role(self, row_id: str) -> str:
        """Return the role of the whole row."""


class _Line(NamedTuple):
    """A row as last asked for, and as painted: plain, under the cursor, under the cursor without focus."""

    cells: tuple[Cell, ...]
    marked: bool
    role: str
    painted: dict[str, Strip]


class RowTree(Listed, can_focus=True):
    """Rows under a header, with a cursor that stays on its row whatever comes and goes."""

    PREFIX = "row-tree"
    COMPONENT_CLASSES = component_classes(PREFIX, "cursor", "blurred", "header", "thumb", "track")
    DEFAULT_CSS = f"""
    RowTree {{
        width: 1fr;
        height: 1fr;
        overflow: hidden hidden;
        {role_css(
            PREFIX,
            cursor="color: $role-accent; text-style: reverse;",
            blurred="text-style: bold; background: $block-cursor-blurred-background;",
            header="color: $role-dim; text-style: bold;",
            thumb="color: $role-dim;",
            track="color: $role-dim;",
        )}
    }}
    """

    Moved: TypeAlias = row_messages.Moved
    Chosen: TypeAlias = row_messages.Chosen
    FoldClicked: TypeAlias = row_messages.FoldClicked
    MarkClicked: TypeAlias = row_messages.MarkClicked
    HeaderClicked: TypeAlias = row_messages.HeaderClicked

    def __init__(
        self,
        source: RowSource,
        columns: Sequence[Column],
        *,
        id: str | None = None,  # noqa: A002  # Textual's word
        classes: str | None = None,
        empty: str = "",
        header: bool = True,
        marks: bool = True,
    ) -> None:
        super().__init__(source, id=id, classes=classes, empty=empty)
        self.source: RowSource = source
        self.sort = ""
        self.reverse = False
        # asked once: what a protocol tells at run time costs more than the row itself
        self._role_of = source.row_role if isinstance(source, Tinted) else None
        self._parts_of = source.name_parts if isinstance(source, Parted) else None
        self._columns = tuple(columns)
        self._header = int(header)
        self._margin = 2 if marks else 1
        self._lines: dict[str, _Line] = {}  # of rows on screen only
        self._laid: tuple[int, tuple[Slot, ...]] = (-1, ())

    @property
    def shown(self) -> int:
        """How many rows have room."""
        return max(self.outer_size.height - self._header, 0)

    @property
    def whole(self) -> int:
        """The height that shows everything."""
        return self._header + (self.total or len(self.empty.split("\n")))

    @property
    def track(self) -> range:
        """The lines of the scroll bar: beside the rows."""
        return range(self._header, self.outer_size.height)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns it was given; which of them have room is its own business."""
        return self._columns

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The columns that have room, with their widths and places."""
        width = self.outer_size.width - self._edge
        if self._laid[0] != width:
            self._laid = (width, lay_out(self._columns, width, self._margin))
            self._lines = {}
        return self._laid[1]

    @property
    def _edge(self) -> int:
        """The scroll bar's cell, whether it is there or not: columns must not jump when it comes; and a blank."""
        return 2 if self.outer_size.width >= 60 else 1

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns."""
        self._columns = tuple(columns)
        self._laid = (-1, ())
        self.refresh()

    def set_sort(self, column_id: str, *, reverse: bool = False) -> None:
        """Show in the header by which column the rows are sorted, "" for none; the source does the sorting."""
        self.sort, self.reverse = column_id, reverse
        self.refresh(Region(0, 0, self.outer_size.width, 1))

    # Painting -------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget the rows as last asked for."""
        self._lines = {}

    def restyled(self) -> None:
        """Forget the rows as painted."""
        self._lines = {}

    def scrolled(self) -> None:
        """Paint again, and keep nothing of the rows that left: nobody would tell that they changed."""
        visible = set(self.on_screen)
        self._lines = {row_id: line for row_id, line in self._lines.items() if row_id in visible}
        super().scrolled()

    def paint_rows(self, ids: set[str]) -> list[Region]:
        """Ask for these rows again and return what of the widget changed."""
        slots = self.slots  # first: it forgets the rows when the width is another one
        changed = []
        for y, row_id in enumerate(self.on_screen, self._header):
            old = self._lines.get(row_id)
            if row_id in ids and old is not None:
                new = self._lines[row_id] = self._asked(row_id)
                changed.extend(_difference(old, new, slots, y, self.outer_size.width))
        return changed

    def paint_line(self, y: int) -> Strip:
        """Return the header, a row, or what is said where there are none."""
        slots = self.slots
        if y < self._header:
            return self.strip(self._titles(slots))
        if not self._ids:
            return self.strip([(self.empty_line(y - self._header), "dim")])
        index = self.first + y - self._header
        if index >= len(self._ids):
            return self.strip([(" " * (self.outer_size.width - 1), ""), self.bar_at(y)])
        return self._row(self._ids[index], index == self._cursor, slots, self.bar_at(y))

    def _row(self, row_id: str, under_cursor: bool, slots: Sequence[Slot], bar: Span) -> Strip:
        line = self._lines.get(row_id) or self._lines.setdefault(row_id, self._asked(row_id))
        way = ("cursor" if self.has_focus else "blurred") if under_cursor else ""
        key = f"{way}{bar[0]}"
        painted = line.painted.get(key)
        if painted is None:
            spans = self._spans(line, slots, under_cursor)
            if way == "cursor":  # one colour: parts that are reversed one by one are a patchwork
                spans = [("".join(text for text, _ in spans), "cursor")]
            over = ("blurred",) if way == "blurred" else ()
            painted = Strip([*self.segments(spans, *over), *self.segments([bar])], self.outer_size.width)
            line.painted[key] = painted
        return painted

    def _asked(self, row_id: str) -> _Line:
        """Ask the source for a row."""
        role = self._role_of(row_id) if self._role_of is not None else ""
        try:
            cells = tuple(self._cells(row_id))
        except KeyError:  # it went away, and `rows_changed` is on its way
            return _Line((), False, "", {})
        return _Line(cells, self.source.marked(row_id), role, {})

    def _cells(self, row_id: str) -> Sequence[Cell]:
        columns = [slot.column for slot in self.slots]
        cells = self.source.cells(row_id, columns)
        if self._parts_of is not None and columns and columns[0].id == "name":
            return [self._parts_of(row_id), *cells[1:]]
        return cells

    def _spans(self, line: _Line, slots: Sequence[Slot], under_cursor: bool) -> list[Span]:
        """Return a row cut and padded to its columns."""
        mark = "+" if line.marked else " "
        spans: list[Span] = [(">" if under_cursor else " ", line.role), (mark[: self._margin - 1], "accent")]
        x = self._margin
        for slot, cell in zip(slots, line.cells, strict=False):
            if slot.x > x:
                spans.append((" " * (slot.x - x), line.role))
            fitted = fit_spans(spans_of(cell), slot.column.width, slot.column.align, self.more)
            spans += [(text, role or line.role) for text, role in fitted]
            x = slot.x + slot.column.width
        return [*spans, (" " * (self.outer_size.width - 1 - x), line.role)]

    def _titles(self, slots: Sequence[Slot]) -> list[Span]:
        """Return the header; the column that sorts has an arrow."""
        text = ""
        for slot in slots:
            column = slot.column
            title = column.title + (self._arrow() if column.id == self.sort else "")
            # with an arrow and no room it is the title that gives way
            text += " " * (slot.x - self._margin - cell_len(text))
            text += fit(title[-column.width :], column.width, column.align)
        rest = self.outer_size.width - self._margin - cell_len(text)
        return [(" " * self._margin, ""), (text, "header"), (" " * rest, "")]

    def _arrow(self) -> str:
        down, up = ("v", "^") if self.ascii else ("▼", "▲")
        return down if self.reverse else up

    def announce(self, row_id: str) -> None:
        """Say that the cursor is on this row now."""
        self.post_message(self.Moved(self, row_id))

    def region_of(self, index: int) -> Region:
        """Return where a visible row lies on the widget."""
        return Region(0, self._header + index - self.first, self.outer_size.width, 1)

    # The mouse ------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Move the cursor there, and say what else the place means."""
        if self.on_bar(event):
            return
        event.stop()
        if event.y < self._header:
            self._header_clicked(event.x)
        elif (index := self.first + event.y - self._header) < len(self._ids):
            self._row_clicked(self._ids[index], event)

    def _header_clicked(self, x: int) -> None:
        slot = next((slot for slot in reversed(self.slots) if slot.x <= x), None)
        if slot is not None:
            self.post_message(self.HeaderClicked(self, slot.column.id))

    def _row_clicked(self, row_id: str, event: events.Click) -> None:
        self.move_to(row_id)
        if event.x < self._margin or event.ctrl:
            self.post_message(self.MarkClicked(self, row_id))
        elif self._on_fold(row_id, event.x):
            self.post_message(self.FoldClicked(self, row_id))
        elif event.chain == 2:
            self.post_message(self.Chosen(self, row_id))

    def _on_fold(self, row_id: str, x: int) -> bool:
        """Tell whether `x` is on the row's fold glyph, the indent before it or the blank behind."""
        line = self._lines.get(row_id)
        if line is None or not line.cells or not self.slots:
            return False
        text = "".join(text for text, _ in spans_of(line.cells[0]))
        glyph = text.lstrip()[:2]
        return glyph[:1] in FOLDS and glyph[1:] == " " and x <= self.slots[0].x + len(text) - len(text.lstrip()) + 1


def spans_of(cell: Cell) -> Sequence[Span]:
    """Return the parts of a cell."""
    return [cell] if cell and isinstance(cell[0], str) else cell  # type: ignore[list-item,return-value]


def _difference(old: _Line, new: _Line, slots: Sequence[Slot], y: int, width: int) -> list[Region]:
    """Return the part of the line that shows what differs: few bytes where only a number changed."""
    if old.marked != new.marked or old.role != new.role or len(old.cells) != len(new.cells):
        return [Region(0, y, width, 1)]
    changed = [slot for slot, a, b in zip(slots, old.cells, new.cells, strict=False) if a != b]
    if not changed:
        return []
    begin, last = changed[0].x, changed[-1]
    return [Region(begin, y, last.x + last.column.width - begin, 1)]
