"""Some lines of clickable pieces: the cards and panels that explain something and offer what to do next.

It decides how sentences are broken to the width; what they say comes from those who show it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from taskmaster_tui.widgets.bar import Piece, harmless, style_of

Line = Sequence[Piece]


class Card(Widget):
    """Show lines of pieces; as high as they are."""

    DEFAULT_CSS = "Card { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, lines: Iterable[Line] = (), *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._lines = [tuple(map(harmless, line)) for line in lines]
        self._painted: list[Line] = []

    @property
    def text(self) -> str:
        """Return what it says, for copying."""
        return "\n".join("".join(piece.text for piece in line) for line in self._lines)

    def set_lines(self, lines: Iterable[Line]) -> None:
        """Show other lines; nothing is painted when they are the same."""
        new = [tuple(map(harmless, line)) for line in lines]
        if new != self._lines:
            height = len(self._broken(self.size.width))
            self._lines = new
            self.refresh(layout=len(self._broken(self.size.width)) != height)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of lines at that width."""
        return len(self._broken(width))

    def render(self) -> Content:
        """Return the lines."""
        self._painted = self._broken(self.size.width)
        return Content("\n").join(
            [Content.assemble(*((piece.text, style_of(piece)) for piece in line)) for line in self._painted]
        )

    def _broken(self, width: int) -> list[Line]:
        return [part for line in self._lines for part in broken(line, width)]

    async def on_click(self, event: events.Click) -> None:
        """Carry out what stands under the mouse."""
        x, y = event.get_content_offset_capture(self)
        line = self._painted[y] if 0 <= y < len(self._painted) else ()
        for piece in line:
            x -= cell_len(piece.text)
            if x < 0:
                if piece.do:
                    event.stop()
                    await self.run_action(f"app.do('{piece.do}')")
                return


def broken(line: Line, width: int) -> list[Line]:
    """Break a line to the width: a sentence between words, a row of buttons between buttons."""
    if width <= 0 or sum(cell_len(piece.text) for piece in line) <= width:
        return [line]
    if len(line) != 1:
        return _in_rows(line, width) if any(piece.do for piece in line) else [line]
    text = line[0].text
    indent = " " * (len(text) - len(text.lstrip()))
    parts = textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return [(line[0]._replace(text=part),) for part in parts]


def _in_rows(line: Line, width: int) -> list[Line]:
    rows: list[list[Piece]] = [[]]
    used = 0
    for _, group in groupby(line, key=lambda piece: piece.do):
        button = list(group)
        wide = sum(cell_len(piece.text) for piece in button)
        if rows[-1] and used + wide > width:
            rows.append([])
            used = 0
        rows[-1] += button
        used += wide
    return list(rows)
