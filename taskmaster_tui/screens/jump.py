"""Jump: a letter appears on each row and pane; typing it goes there.

It decides the letters, nearest first; going there is the list's and the screen's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.geometry import Offset
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from taskmaster_tui.widgets.listed import Listed

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

LETTERS = "asdfghjklqwertyuiopzxcvbnmASDFGHJKLQWERTYUIOPZXCVBNM"


class Target(NamedTuple):
    """Hold a place to go to: a row of a list, or a pane (`row_id` empty)."""

    where: Offset
    widget: Widget
    row_id: str


class Jump(ModalScreen[Target]):
    """Return where to go."""

    DEFAULT_CSS = """
    Jump { background: transparent; align: left top; }
    Jump Static { position: absolute; width: auto; height: 1; background: $role-warn; color: $background;
                  text-style: bold; padding: 0; }
    """

    def __init__(self, app: TaskmasterApp) -> None:
        super().__init__()
        self._targets = dict(zip(LETTERS, targets(app), strict=False))

    def compose(self) -> ComposeResult:
        """Show the letters where they lead."""
        for letter, target in self._targets.items():
            label = Static(letter, markup=False)
            label.styles.offset = target.where
            yield label

    def on_key(self, event: events.Key) -> None:
        """Go there; any other key goes nowhere."""
        event.stop()
        event.prevent_default()
        self.dismiss(self._targets.get(event.character or ""))

    def on_click(self) -> None:
        """Go nowhere."""
        self.dismiss(None)


def targets(app: TaskmasterApp) -> list[Target]:
    """Return the panes that can have the focus, and the rows of the lists that are on the screen."""
    found = []
    for widget in app.main.focus_chain:
        if isinstance(widget, Listed):
            at = widget.content_region.offset
            found += [
                Target(at + widget.region_of(number).offset, widget, row_id) for number, row_id in _visible(widget)
            ]
        else:
            found.append(Target(widget.region.offset, widget, ""))
    return found


def _visible(widget: Listed) -> list[tuple[int, str]]:
    first = widget.first * widget.per_line
    return list(enumerate(widget.on_screen, first))
