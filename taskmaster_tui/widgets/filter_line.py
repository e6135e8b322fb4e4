"""A line to type a filter or a search into; it takes no room while nobody types.

It decides nothing about what the text means: it tells every change, at once: the next key may ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static


class FilterLine(Horizontal):
    """Ask for a text at the bottom of a pane."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "drop", "Clear"), ("down,up,tab", "keep", "Back to the list")]

    def __init__(self, *, prompt: str, told: Callable[[str], None], id: str) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id, classes="filter-line")
        self._prompt = prompt
        self._told = told
        self._back: Widget | None = None

    def compose(self) -> ComposeResult:
        """Show the prompt and the text."""
        yield Static(Content(self._prompt), classes="filter-prompt")
        yield Input(compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        """Begin unseen."""
        self.display = False

    def ask(self, text: str, back: Widget) -> None:
        """Open the line with a text in it; the focus goes `back` there when it is done."""
        self._back = back
        field = self.query_one(Input)
        with self.prevent(Input.Changed):
            field.value = text
        field.select_all()  # what is typed takes its place, an arrow key keeps it
        self.display = True
        self.screen.set_focus(field)  # at once, where `focus()` waits: what is typed next is meant for it

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self._told(event.value)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Keep what was typed."""
        self.display = False
        self.screen.set_focus(self._back)  # at once, as above

    def action_drop(self) -> None:
        """Take what was typed away."""
        self._told("")
        self.action_keep()
