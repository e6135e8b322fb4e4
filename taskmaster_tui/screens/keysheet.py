"""The keys sheet: every key of the view that is shown, searchable; Enter runs one, F2 gives it another key.

It is made from the action table and the keymap in force, so it cannot be out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from taskmaster_tui import keys
from taskmaster_tui.actions import BY_ID, SCOPES, VIEWS, available
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_ORDER = ("Act on > or marked", "Look", "Go to", "Anywhere", "Move")


class KeySheet(Picker[str]):
    """Return the id of the action to run."""

    BINDINGS: ClassVar[list[BindingType]] = [("f2", "rebind", "Another key"), ("f1", "leave", "Close")]
    HINT = "⏎ run   F2 change its key   esc close"
    PLACEHOLDER = "type to search these keys"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("keys", "", 9, "right"), Column("label", "", 13), Column("help", "", 0),
        Column("group", "", 18, "left", 1),
    )  # fmt: skip

    def __init__(self, app: TaskmasterApp) -> None:
        super().__init__(list(_rows(app)))
        self._known = app
        self.TITLE_TEXT = f"Keys · {app.main.view_name.capitalize()}"

    def chosen(self, entry_id: str) -> None:
        """Run it."""
        self.dismiss(entry_id)

    def action_rebind(self) -> None:
        """Ask for another key."""
        if self.rowtree.cursor_id is not None:
            self._known.push_screen(NewKey(self.rowtree.cursor_id), self._rebound)

    def _rebound(self, answer: tuple[str, str] | None) -> None:
        refused = self._known.rebind(*answer) if answer is not None else ""
        dialog = self.query_one(".dialog")
        dialog.border_subtitle = Content(refused or self.HINT)
        dialog.set_class(bool(refused), "refused")
        if answer is not None and not refused:
            self.entries.replace(list(_rows(self._known)))
            self.rowtree.rows_changed()


class NewKey(ModalScreen[tuple[str, str] | None]):
    """Return the action and the key that was pressed for it."""

    def __init__(self, action_id: str) -> None:
        super().__init__()
        self._action_id = action_id

    def compose(self) -> ComposeResult:
        """Say what to do."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(f"Another key for {BY_ID[self._action_id].label}")
            yield Static(
                "Press the key that shall do it.\n\nescape leaves it as it is; delete gives it its own key back."
            )

    def on_key(self, event: events.Key) -> None:
        """Take the key."""
        event.stop()
        event.prevent_default()
        if event.key == "escape":
            self.dismiss(None)
        else:
            self.dismiss((self._action_id, "" if event.key in ("delete", "backspace") else event.key))


def _rows(app: TaskmasterApp) -> Iterator[Entry]:
    context = app.context
    actions = [action for scope in (*VIEWS[app.main.view_name], "global") for action in SCOPES[scope]]
    if app.main.view_name == "jobs":
        actions += [action for action in SCOPES["log"] if action.group != "Move"]
    for group in _ORDER:
        for action in actions:
            if action.group != group or available(action, context) is False:
                continue
            shown = " ".join(keys.shown(key) for key in keys.keys_of(action.id, app.keymap))
            scope = action.id.partition(".")[0]
            where = f"{group} · log" if scope == "log" and app.main.view_name == "jobs" else group
            role = "" if available(action, context) else "dim"
            cells = ((shown, "accent"), (action.label, role), (action.help, "dim"), (where, "dim"))
            yield Entry(action.id, cells, f"{action.label}\n{shown} {action.help} {where}".lower())
