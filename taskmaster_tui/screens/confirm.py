"""Ask before something that may hurt: what will happen, to whom, and a typed word where a key is too little.

Decides nothing: whether to ask is `model.blast`. The default is No.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from taskmaster_tui.model.blast import Question
from taskmaster_tui.model.fmt import plain

_SHOWN = 12
"""Effects that are listed; more are counted."""


class Confirm(ModalScreen[bool]):
    """Return True for yes."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,n", "no", "No"), ("y", "yes", "Yes")]

    def __init__(self, question: Question) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Show title, effects, and the two ways out."""
        question = self._question
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(plain(question.title))
            shown = list(question.effects[:_SHOWN])
            if len(question.effects) > _SHOWN:
                shown.append(f"… and {len(question.effects) - _SHOWN} more")
            yield Static(Content("\n".join(shown)), classes="effects")
            if question.typed:
                yield Label(Content(f"Type {question.typed} to do it:"))
                yield Input(id="typed")
            with Horizontal(classes="buttons"):
                yield Button("No, leave it (esc)", id="no", compact=True)
                yield Button("Yes, do it (y)", id="yes", variant="error", compact=True, disabled=bool(question.typed))

    def on_mount(self) -> None:
        """Put the focus where nothing happens by accident."""
        self.query_one("#typed" if self._question.typed else "#no").focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#yes", Button).disabled = event.value != self._question.typed

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value == self._question.typed:
            self.dismiss(result=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def on_key(self, event: events.Key) -> None:
        """Move between the two buttons with the arrows, and with hjkl."""
        if event.key in ("left", "right", "h", "l", "up", "down", "j", "k") and not self._question.typed:
            event.stop()
            self.query_one("#yes" if event.key in ("right", "l", "down", "j") else "#no").focus()

    def action_yes(self) -> None:
        """Agree; a question that wants a word is not agreed to by a key."""
        if not self._question.typed:
            self.dismiss(result=True)

    def action_no(self) -> None:
        """Leave everything as it is."""
        self.dismiss(result=False)
