"""Pick the jobs whose output is shown: Enter takes the marked ones, or the one under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_ALL = "\0all"


class JobPicker(Picker[tuple[str, ...]]):
    """Return selectors; empty means all."""

    BINDINGS: ClassVar[list[BindingType]] = [("tab", "mark", "Mark")]
    TITLE_TEXT = "Whose output?"
    HINT = "⏎ show   tab pick several   esc close"
    COLUMNS: ClassVar[tuple[Column, ...]] = (Column("mark", "", 1), Column("name", "", 0), Column("state", "", 12))

    def __init__(self, app: TaskmasterApp, chosen: Sequence[str]) -> None:
        self._known = app
        self._picked = dict.fromkeys(chosen)
        super().__init__(self._rows())

    def _rows(self) -> list[Entry]:
        found = [Entry(_ALL, ((" ", ""), ("all jobs", ""), ("", "")), "all jobs")]
        for job in self._known.world.jobs.values():
            look = job.look(self._known.now())
            for name in (job.name, *(job.procs if len(job.procs) > 1 else ())):
                mark = ("+" if name in self._picked else " ", "accent")
                state = (look.word, look.role) if name == job.name else ("", "")
                shown = clean(name if name == job.name else f"  {name}")
                found.append(Entry(name, (mark, (shown, ""), state), name.lower()))
        return found

    def action_mark(self) -> None:
        """Pick this one too, or not any more."""
        here = self.rowtree.cursor_id
        if here is None or here == _ALL:
            return
        if here in self._picked:
            del self._picked[here]
        else:
            self._picked[here] = None
        self.entries.replace(self._rows())
        self.entries.search(self.text)
        self.rowtree.rows_changed()
        self.rowtree.move(1)

    def chosen(self, entry_id: str) -> None:
        """Return what was picked."""
        if entry_id == _ALL:
            self.dismiss(())
        else:
            self.dismiss(tuple(self._picked) or (entry_id,))
