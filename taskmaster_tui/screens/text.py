"""Show a text in a dialog: to read, scroll and copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.model.fmt import plain

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp


class TextDialog(ModalScreen[None]):
    """Show a text; y copies it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,enter,d,i", "close", "Close"), ("y", "copy", "Copy"), ("j", "down", "Down"), ("k", "up", "Up"),
    ]  # fmt: skip

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._heading = clean(title)
        self._text = clean(text)

    def compose(self) -> ComposeResult:
        """Show the text."""
        with Vertical(classes="dialog wide") as dialog:
            dialog.border_title = Content(plain(self._heading))
            dialog.border_subtitle = Content("y copy   esc close")
            with VerticalScroll():
                yield Static(Content(self._text))

    def action_close(self) -> None:
        """Close."""
        self.dismiss()

    def action_copy(self) -> None:
        """Copy all of it."""
        cast("TaskmasterApp", self.app).copy(self._text)

    def action_down(self) -> None:
        """Scroll down."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """Scroll up."""
        self.query_one(VerticalScroll).scroll_up(animate=False)
