"""Choose a signal: what it is for beside its name, the last one used first."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import ClassVar

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

_FOR = {
    "HUP": "reload the configuration, by custom", "USR1": "reopen logs, by custom", "USR2": "up to the program",
    "TERM": "end, politely", "INT": "interrupt, as ctrl+c", "QUIT": "end and dump core", "KILL": "end now, not caught",
    "STOP": "pause, not caught", "CONT": "go on after a pause", "WINCH": "the window changed its size",
    "ALRM": "a timer ran out", "ABRT": "abort, dump core", "PIPE": "nobody reads any more", "TSTP": "pause, as ctrl+z",
}  # fmt: skip

_last: list[str] = []


class SignalPicker(Picker[str]):
    """Return the name of a signal."""

    TITLE_TEXT = "Send a signal"
    HINT = "⏎ send   esc close"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("number", "", 4, "right"), Column("name", "", 10), Column("for", "", 0),
    )  # fmt: skip

    def __init__(self, selectors: Sequence[str]) -> None:
        super().__init__(_entries())
        self.TITLE_TEXT = clean(f"Send a signal to {', '.join(selectors)}")

    def chosen(self, entry_id: str) -> None:
        """Return the signal and remember it."""
        if entry_id in _last:
            _last.remove(entry_id)
        _last.insert(0, entry_id)
        self.dismiss(entry_id)


def _entries() -> list[Entry]:
    names = {each.name.removeprefix("SIG"): int(each) for each in signal.Signals}
    order = [*_last, *(name for name in _FOR if name not in _last)]
    order += [name for name in names if name not in order]
    return [
        Entry(
            name,
            ((str(names[name]), "dim"), (name, ""), (_FOR.get(name, ""), "dim")),
            f"{name}\n{_FOR.get(name, '')}".lower(),
        )
        for name in order
        if name in names
    ]
