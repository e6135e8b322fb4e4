"""A line to type a filter or a search into; it takes no room while nobody types.

It decides nothing about what the text means: it tells every change, and when it is done.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static


class FilterLine(Horizontal):
    """Ask for a text at the bottom of a pane."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "drop", "Clear"), ("down,up,tab", "keep", "Back to the list")]

    class Changed(Message):
        """The text is another one now."""

        def __init__(self, line: FilterLine, text: str) -> None:
            super().__init__()
            self.line, self.text = line, text

    class Done(Message):
        """The person is done: with Enter, or dropped it (the text is then empty)."""

        def __init__(self, line: FilterLine, text: str, *, kept: bool) -> None:
            super().__init__()
            self.line, self.text, self.kept = line, text, kept

    def __init__(self, *, prompt: str, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id, classes="filter-line")
        self._prompt = prompt

    def compose(self) -> ComposeResult:
        """Show the prompt and the text."""
        yield Static(Content(self._prompt), classes="filter-prompt")
        yield Input(compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        """Begin unseen."""
        self.display = False

    def ask(self, text: str = "", prompt: str = "") -> None:
        """Open the line with a text in it."""
        if prompt:
            self.query_one(Static).update(Content(prompt))
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
            self.post_message(self.Changed(self, event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_keep()

    def action_keep(self) -> None:
        """Keep what was typed."""
        self._close(self.query_one(Input).value, kept=True)

    def action_drop(self) -> None:
        """Take what was typed away."""
        self.post_message(self.Changed(self, ""))
        self._close("", kept=False)

    def _close(self, text: str, *, kept: bool) -> None:
        self.display = False
        self.post_message(self.Done(self, text, kept=kept))
