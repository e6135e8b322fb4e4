"""The line in which a search or a filter is typed, under output.

Decides when it is open and what was meant by what was typed. Searches nothing: `LogView` hears its messages.
"""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static


class LogInput(Horizontal):
    """Ask for a text: `/` what to search for, `&` what to keep."""

    DEFAULT_CSS = """
    LogInput { height: 1; display: none; }
    LogInput.-open { display: block; }
    LogInput > Static { width: auto; height: 1; padding: 0 0 0 1; color: $role-accent; text-style: bold; }
    LogInput > Input { width: 1fr; height: 1; border: none; padding: 0; background: $surface; }
    """

    class Said(Message):
        """Something was typed: so far (`done` is False), or at last. `text` None: it was given up."""

        def __init__(self, asks: str, text: str | None, *, done: bool) -> None:
            self.asks = asks
            self.text = text
            self.done = done
            super().__init__()

    asks = "/"

    def compose(self) -> ComposeResult:
        """Build the parts."""
        yield Static("/", markup=False)
        yield Input(compact=True, select_on_focus=False)

    @property
    def is_open(self) -> bool:
        """Tell whether somebody is typing."""
        return self.has_class("-open")

    def open(self, asks: str, text: str = "") -> None:
        """Ask."""
        self.asks = asks
        self.query_one(Static).update(asks)
        self.add_class("-open")
        asked = self.query_one(Input)
        asked.value = text
        self.screen.set_focus(asked)  # at once, where `focus()` waits: what is typed next is meant for it

    def close(self) -> None:
        """Stop asking."""
        self.remove_class("-open")

    @on(Input.Changed)
    def _typing(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open:
            self.post_message(self.Said(self.asks, event.value, done=False))

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        self.close()
        self.post_message(self.Said(self.asks, event.value, done=True))

    def on_key(self, event: events.Key) -> None:
        """Give up with escape; all other keys belong to the screen."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.close()
            self.post_message(self.Said(self.asks, None, done=True))
