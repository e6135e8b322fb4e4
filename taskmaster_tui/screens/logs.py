"""The Logs view: the output of all jobs, or of those that were picked, merged by time.

It decides whose output is shown; everything about the lines is the log view's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.actions import VIEWS
from taskmaster_tui.bindings import bindings
from taskmaster_tui.link import Change
from taskmaster_tui.screens.log_actions import LogActions
from taskmaster_tui.screens.view import NOTHING, Selection, View
from taskmaster_tui.widgets.log_view import LogView


class LogsView(View):
    """Show output full screen."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["logs"]))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self.selectors: tuple[str, ...] = ()
        self._wanted: tuple[Sequence[str], float | None] | None = None

    def compose(self) -> ComposeResult:
        """Hold one log."""
        with Container(id="logs-pane", classes="pane"):
            yield LogActions(id="logs-log")

    def on_mount(self) -> None:
        """Begin with what was asked for, else with everything."""
        wanted, self._wanted = self._wanted or ((), None), None
        self.show(*wanted)

    @property
    def output(self) -> LogActions:
        """Return the log."""
        return self.query_one("#logs-log", LogActions)

    def given(self) -> frozenset[str]:
        """Tell whether something is searched for."""
        searched = self.is_mounted and self.holds("#logs-log") and self.output.searched
        return frozenset({"hits"} if searched else ())

    def show(self, selectors: Sequence[str], at: float | None = None) -> None:
        """Show the output of these, of all if none is named; from a time on, or the newest."""
        self.selectors = tuple(selectors)
        if not self.holds("#logs-log"):
            self._wanted = (selectors, at)
            return
        key = selectors[0] if len(selectors) == 1 else ""
        self.output.follow_output(self.selectors, at=at, key=key)
        self._title()
        self.output.log_view.pager.focus()

    def _title(self) -> None:
        jobs = len(self.tm.world.jobs)
        who = ", ".join(self.selectors) if self.selectors else f"all {jobs} jobs"
        self.query_one("#logs-pane").border_title = Content(f"Logs · {clean(who)} · merged by time")

    def selection(self) -> Selection:
        """Return the process whose line is under the eyes."""
        row = self.output.log_view.row_here() if self.holds("#logs-log LogView") else None
        proc = self.tm.world.proc(row.key) if row is not None else None
        return Selection((proc.view.key,), (proc.view.key,), proc.job.name) if proc is not None else NOTHING

    def shown(self) -> None:
        """Go on where it was left."""
        if self.holds("#logs-log"):
            self._title()
            self.output.follow_output(self.selectors)
            self.output.log_view.pager.focus()

    def hidden(self) -> None:
        """Ask for nothing while nobody looks."""
        self.output.follow_output(None)

    def changed(self, change: Change) -> None:
        """Fetch what is new."""
        if self.holds("#logs-log"):
            self.output.changed(change)
            if change.world:
                self._title()

    def tick(self) -> None:
        """Look for output where nobody tells of it."""
        if self.holds("#logs-log"):
            self.output.tick()

    @on(LogView.Changed)
    def _log_changed(self) -> None:
        self.refresh_bindings()

    def do_log_pick(self) -> None:
        """Choose whose output is shown."""
        from taskmaster_tui.screens.pick_jobs import JobPicker  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(JobPicker(self.tm, self.selectors), self._picked)

    def _picked(self, selectors: tuple[str, ...] | None) -> None:
        if selectors is not None:
            self.show(selectors)

    def back(self) -> bool:
        """Clear search, filter, selection."""
        return self.output.log_view.escape()
