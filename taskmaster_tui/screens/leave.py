"""The menu of ways to leave: only the first leaves everything as it is, the others ask for a typed word."""

from __future__ import annotations

from typing import ClassVar

from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

_WAYS = (
    ("leave", "Leave", "the jobs keep running, `taskmaster tui` comes back", ""),
    ("stop", "Stop all jobs", "in order; the core stays", "warn"),
    ("shutdown", "Shut down", "stop all jobs in order, then core and shim", "error"),
)


class Leave(Picker[str]):
    """Return which way."""

    TITLE_TEXT = "Leave"
    COLUMNS: ClassVar[tuple[Column, ...]] = (Column("label", "", 16), Column("help", "", 0))

    def __init__(self, *, live: bool, write: bool) -> None:
        ways = _WAYS if live and write else _WAYS[:1]
        super().__init__([Entry(way, ((label, role), (told, "dim")), label.lower()) for way, label, told, role in ways])

    def chosen(self, entry_id: str) -> None:
        """Return it."""
        self.dismiss(entry_id)
