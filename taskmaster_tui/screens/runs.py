"""Choose one of the earlier runs: when it began, how it ended, and where that is in the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.wire import Event
from taskmaster_tui.model import fmt, story
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_EVENTS = 2_000
"""Events of these processes that are looked at."""

_TYPES = ["started", "exited", "failed", "stopped", "backoff", "fatal", "killed"]


class RunPicker(Picker[tuple[float, str]]):
    """Return time and process."""

    TITLE_TEXT = "Earlier runs"
    HINT = "⏎ go there in the output   esc close"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("at", "", 14), Column("key", "", 18), Column("text", "", 0),
    )  # fmt: skip

    def __init__(self, app: TaskmasterApp, selectors: Sequence[str]) -> None:
        super().__init__([])
        self._known = app
        self._selectors = list(selectors)
        self._places: dict[str, tuple[float, str]] = {}

    def on_mount(self) -> None:
        """Ask for the events."""
        super().on_mount()
        self.run_worker(self._fetch())

    async def _fetch(self) -> None:
        try:
            found = await self._known.link.call("events", self._selectors, {"n": _EVENTS, "types": _TYPES}, timeout=10)
        except TaskmasterError as error:
            self._known.complain(error)
            self.dismiss(None)
            return
        self.entries.replace(list(self._rows(msgspec.convert(found, list[Event]))))
        self.rowtree.rows_changed()

    def _rows(self, events: Sequence[Event]) -> Iterator[Entry]:
        now = self._known.now()
        for number, mark in enumerate(reversed(story.run_marks(events))):
            row_id = str(number)
            self._places[row_id] = (mark.at, mark.key)
            cells = ((fmt.when(mark.at, now), "dim"), (clean(mark.key), ""), (mark.text, mark.role))
            yield Entry(row_id, cells, f"{mark.key}\n{mark.text}".lower())

    def chosen(self, entry_id: str) -> None:
        """Return the place."""
        self.dismiss(self._places[entry_id])
