"""One line of clickable pieces: header, tabs, status line and key bar are made of it.

It decides where each piece is and what a click on it does; what the pieces say comes from those who show it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.content import Content
from textual.widget import Widget

from taskmaster_core.logs.sanitize import clean

_VARIED = re.compile("[\ufe00-\ufe0f]")
"""Printable, but what they do to the width of the character before them differs between terminals."""


class Piece(NamedTuple):
    """Hold a part of the line: its text, the role it is painted in, and the action that a click on it carries out."""

    text: str
    role: str = ""
    do: str = ""
    bold: bool = False


GAP = Piece("\0")
"""Takes what room is left: what stands behind it is at the right."""


class Bar(Widget):
    """Paint pieces on one line."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id, classes=classes)
        self._shown: tuple[Piece, ...] = ()

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return what to show on so many cells."""
        raise NotImplementedError

    def render(self) -> Content:
        """Return the line, cut to the width."""
        self._shown = tuple(fitted(self.pieces(self.size.width), self.size.width))
        return Content.assemble(*((piece.text, style_of(piece)) for piece in self._shown))

    def piece_at(self, x: int) -> Piece | None:
        """Return the piece at a column."""
        for piece in self._shown:
            x -= cell_len(piece.text)
            if x < 0:
                return piece
        return None

    async def on_click(self, event: events.Click) -> None:
        """Carry out what stands under the mouse."""
        piece = self.piece_at(event.x)
        if piece is not None and piece.do:
            event.stop()
            await self.run_action(f"app.do('{piece.do}')")


def fitted(pieces: Sequence[Piece], width: int) -> list[Piece]:
    """Return pieces that fill the width exactly: the gap grows, what is too much is cut at the end."""
    pieces = [piece if piece is GAP else harmless(piece) for piece in pieces]
    room = width - sum(cell_len(piece.text) for piece in pieces if piece is not GAP)
    found: list[Piece] = []
    left = width
    for piece in pieces:
        text = " " * max(room, 0) if piece is GAP else piece.text
        if cell_len(text) > left:
            text = set_cell_size(text, left)
        left -= cell_len(text)
        if text:
            found.append(piece._replace(text=text))
    return found


def harmless(piece: Piece) -> Piece:
    """Return a piece that no terminal acts on: the last gate, whatever was forgotten before it."""
    text = piece.text
    if text.isascii() and text.isprintable():
        return piece
    shown = _VARIED.sub("", clean(text.replace("\r", " ")))  # not a progress bar: all of it counts
    return piece._replace(text="".join(each if each.isprintable() else _instead(each) for each in shown))


def _instead(character: str) -> str:
    return " " if character.isspace() else ""


def style_of(piece: Piece) -> str:
    """Return the style of a piece as Textual writes it."""
    colour = f"$role-{piece.role}" if piece.role else ""
    return f"bold {colour}".strip() if piece.bold else colour
