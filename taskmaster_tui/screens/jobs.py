"""The Jobs view: the live tree of jobs and processes, and everything about the one under the cursor.

It decides what is selected and where a person is (folds, marks, filter, order), and remembers it; what rows show is
`model.rows`, what the pane beside it shows is `screens.detail`.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container

from taskmaster_tui.actions import VIEWS
from taskmaster_tui.bindings import bindings
from taskmaster_tui.link import Change
from taskmaster_tui.model.rows import JobRows
from taskmaster_tui.screens.acting import Acting
from taskmaster_tui.screens.arranging import Arranging
from taskmaster_tui.screens.detail import Detail
from taskmaster_tui.screens.panes import LogPane
from taskmaster_tui.screens.view import NOTHING, Selection
from taskmaster_tui.settings import Place
from taskmaster_tui.widgets.filter_line import FilterLine
from taskmaster_tui.widgets.row_tree import RowTree

_WIDEST = 86
"""Cells that the list takes at most until a person shares the room otherwise: its columns need no more, lines of output
do."""

_LIST_ROWS = 0.68
"""Of the height, the most that the list takes in a narrow terminal; the log gets the rest (TUI.md §4.1)."""


_BOTH = 13
"""Lines from which on there is room for the list and the output below it."""


class JobsView(Acting, Arranging):
    """Show jobs."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["jobs"]))

    def compose(self) -> ComposeResult:
        """Lay out list and details."""
        self.rows = self.restored()
        with Container(id="jobs-pane", classes="pane"):
            yield RowTree(self.rows, JobRows.COLUMNS, id="jobs-tree", empty="")
            yield FilterLine(id="jobs-filter", prompt="/ ", told=self.filtered)
        yield Detail(id="detail", classes="pane")

    def on_mount(self) -> None:
        """Go where the person was."""
        self.share_room()
        self.rowtree.set_sort(self.rows.sort, reverse=self.rows.reverse)
        self.rebuild()
        if self.tm.place.cursor:
            self.rowtree.move_to(self.tm.place.cursor)
        self.follow_cursor()

    @property
    def detail(self) -> Detail:
        """Return the pane beside it."""
        return self.query_one(Detail)

    # What changed -----------------------------------------------------------------------------------------------------

    def shown(self) -> None:
        """Bring everything up to date."""
        if self.is_mounted and self.holds("#jobs-tree"):
            self.rebuild()
            self.rowtree.focus()
            self.tm.link.watch_metrics(on=True)
            self.detail.come()

    def hidden(self) -> None:
        """Stop what only serves the eye."""
        self.detail.leave()

    def changed(self, change: Change) -> None:
        """Take in what changed."""
        if not self.holds("#jobs-tree"):
            return
        self.rows.now = self.tm.moment()
        if change.world:
            self.rebuild(live=True)
        elif change.metrics:
            self.rowtree.dirty()
        elif change.keys:
            if self.rows.problems or self.rows.filter:
                self.rebuild(live=True)
            self.rowtree.dirty(self.rows.touch(change.keys))
        if change.world or change.keys:
            self.entitle()
        self.detail.changed(change)

    def tick(self) -> None:
        """Let ages grow."""
        self.rows.now = self.tm.moment()
        self.rowtree.dirty()
        self.detail.tick()

    # Selection --------------------------------------------------------------------------------------------------------

    def selection(self) -> Selection:
        """Return the marks, else the row under the cursor."""
        if not self.is_mounted or not self.holds("#jobs-tree"):
            return NOTHING
        cursor = self.rowtree.cursor_id
        ids = [each for each in self.rows.ids() if each in self.rows.marks] or ([cursor] if cursor else [])
        world = self.tm.world
        keys = list(dict.fromkeys(key for each in ids for key in world.keys_of(each)))
        job = world.job(cursor) if cursor else None
        return Selection(tuple(ids), tuple(keys), job.name if job is not None else "")

    @on(RowTree.Moved)
    def _moved(self, event: RowTree.Moved) -> None:
        if event.tree.id == "jobs-tree":
            self.follow_cursor()

    def follow_cursor(self) -> None:
        """Tell the details, and remember."""
        cursor = self.rowtree.cursor_id
        if cursor is not None:  # where nothing is shown, as before the first snapshot, the place stays what it was
            self.tm.remember(cursor=cursor)
        touched = self.tm.world.forget_refusals()
        if touched:
            self.rowtree.dirty(self.rows.touch(touched))
        self.detail.about(cursor)
        self.refresh_bindings()

    def goto(self, row_id: str) -> None:
        """Put the cursor on a process or job, unfolding and unfiltering as it needs."""
        rows = self.rows
        job = self.tm.world.job(row_id)
        if job is None:
            return
        if row_id != job.name and job.name in rows.folded:
            rows.folded.discard(job.name)
            rows.touched.add(job.name)
        rows.rebuild()
        if row_id not in rows.ids():
            rows.filter, rows.problems = "", False
        self.rebuild()
        self.keep()
        self.rowtree.move_to(row_id)
        self.follow_cursor()

    def copied(self) -> str:
        """Return the row as text."""
        cursor = self.rowtree.cursor_id
        if cursor is None:
            return ""
        return "  ".join(self.rows.text(cursor))

    @on(RowTree.Chosen)
    async def _chosen(self, event: RowTree.Chosen) -> None:
        if event.tree.id == "jobs-tree":
            await self.do_jobs_logs()

    async def perform_behind(self, name: str) -> bool:
        """Bring the output to the front and let it do what is about output: from the keys sheet."""
        if not hasattr(LogPane, name):
            return False
        found = getattr(await self.detail.output(), name)()
        if found is not None:
            await found
        return True

    def given(self) -> frozenset[str]:
        """Tell whether something is searched for."""
        return frozenset({"hits"} if self.is_mounted and self.holds(Detail) and self.detail.searched else ())

    def back(self) -> bool:
        """Go back a step in the details, where the focus is, else in the list."""
        return self.detail.back() or super().back()

    # Going elsewhere --------------------------------------------------------------------------------------------------

    async def do_jobs_logs(self) -> None:
        """Show its output full screen."""
        chosen = self.selection()
        view = await self.tm.main.go("logs")
        view.show(chosen.selectors)  # type: ignore[attr-defined]  # LogsView, which is loaded when it is first wanted

    def do_jobs_details(self) -> None:
        """Show everything about it."""
        self.detail.open("info")

    def do_jobs_runs(self) -> None:
        """Show its earlier runs."""
        self.detail.open("events")

    def do_jobs_next_tab(self) -> None:
        """Show the next tab."""
        self.detail.turn(1)

    def do_jobs_previous_tab(self) -> None:
        """Show the tab before."""
        self.detail.turn(-1)

    def do_jobs_wider(self) -> None:
        """Give the list more room."""
        self._split_by(5)

    def do_jobs_narrower(self) -> None:
        """Give the details more room."""
        self._split_by(-5)

    def _split_by(self, step: int) -> None:
        self.tm.remember(split=min(max(self.tm.place.split + step, 20), 80))
        self.share_room()

    def share_room(self) -> None:
        """Share the room: beside each other where it is wide, else one above the other; all of it where zoomed."""
        pane = self.query_one("#jobs-pane")
        if self.tm.main.zoomed:
            pane.styles.width, pane.styles.max_width, pane.styles.height = "100%", None, "100%"
            return
        narrow = self.app.size.width < 100
        pane.styles.width = "100%" if narrow else f"{self.tm.place.split}%"
        pane.styles.max_width = _WIDEST if self.tm.place.split == Place().split else None
        if narrow:
            room = self.size.height  # less than the screen's where the connection is told about
            rows = max(min(len(self.rows.ids()) + 3, int(room * _LIST_ROWS)), 5)
            pane.styles.height = rows if room >= _BOTH else "100%"
        else:
            pane.styles.height = "100%"

    def on_resize(self) -> None:
        """Share the room anew."""
        self.share_room()

    def do_jobs_add(self) -> None:
        """Fill in a form for a new job."""
        from taskmaster_tui.screens.job_form import JobForm  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(JobForm())

    def do_jobs_edit_file(self) -> None:
        """Open the whole file."""
        self.tm.run_worker(self.tm.edit_config(""), group="outside")
