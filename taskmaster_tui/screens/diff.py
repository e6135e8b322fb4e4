"""Show changed lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from taskmaster_tui.line_source import Fixed, Row
from taskmaster_tui.model.fmt import plain
from taskmaster_tui.widgets.line_pager import LinePager


class DiffDialog(ModalScreen[None]):
    """Show lines with their roles, to scroll through."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,d", "close", "Close"), ("j,down", "move(1)", "Down"), ("k,up", "move(-1)", "Up"),
        ("pagedown,space", "page(1)", "Page down"), ("pageup", "page(-1)", "Page up"),
    ]  # fmt: skip

    def __init__(self, heading: str, lines: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._heading = heading
        self._lines = list(lines) or [("nothing differs", "dim")]

    def compose(self) -> ComposeResult:
        """Show the lines."""
        with Vertical(classes="dialog wide tall") as dialog:
            dialog.border_title = Content(plain(self._heading))
            dialog.border_subtitle = Content("j k scroll   esc close")
            yield LinePager(times="off")

    def on_mount(self) -> None:
        """Begin at the top."""
        pager = self.query_one(LinePager)
        pager.set_source(Fixed([Row(text.encode(), role=role) for text, role in self._lines]), follow=False)
        pager.top()
        pager.focus()

    def action_move(self, step: int) -> None:
        """Scroll."""
        self.query_one(LinePager).move(step)

    def action_page(self, step: int) -> None:
        """Scroll a page."""
        self.query_one(LinePager).page(step)

    def action_close(self) -> None:
        """Close."""
        self.dismiss()
