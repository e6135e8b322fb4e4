"""Ask for one short text."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from taskmaster_tui.model.fmt import plain


class Prompt(ModalScreen[str]):
    """Return the text, None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Close")]

    def __init__(self, question: str, text: str = "", kind: Literal["integer", "text"] = "text") -> None:
        super().__init__()
        self._question = question
        self._text = text
        self._kind = kind

    def compose(self) -> ComposeResult:
        """Show the line."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(plain(self._question))
            dialog.border_subtitle = Content("⏎ do it   esc leave it")
            yield Input(self._text, type=self._kind, compact=True)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Leave it."""
        self.dismiss(None)
