"""The Jobs view: the live tree of jobs and processes, and everything about the one under the cursor.

It decides what is selected and where a person is (folds, marks, filter, order), and remembers it; what rows show is
`model.rows`, what the pane beside it shows is `screens.detail`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from taskmaster_tui.actions import VIEWS
from taskmaster_tui.bindings import bindings
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt
from taskmaster_tui.model.columns import SORTS, sort_of
from taskmaster_tui.model.rows import JobRows
from taskmaster_tui.screens.acting import Acting
from taskmaster_tui.screens.detail import Detail
from taskmaster_tui.screens.listing import Listing
from taskmaster_tui.screens.view import NOTHING, Selection
from taskmaster_tui.widgets.filter_line import FilterLine
from taskmaster_tui.widgets.row_tree import RowTree

_LIST_ROWS = 0.62
"""Of the height, the most that the list takes in a narrow terminal; the log gets the rest (TUI.md §4.1)."""


class JobsView(Acting, Listing):
    """Show jobs."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["jobs"]))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self.rows: JobRows
        self._range_from: str | None = None

    def compose(self) -> ComposeResult:
        """Lay out list and details."""
        self.rows = self._restored()
        with Container(id="jobs-pane", classes="pane"):
            yield RowTree(self.rows, JobRows.COLUMNS, id="jobs-tree", empty="")
            yield FilterLine(id="jobs-filter", prompt="/ ")
        yield Detail(id="detail", classes="pane")

    def on_mount(self) -> None:
        """Go where the person was."""
        self._apply_split()
        self._rebuild()
        if self.tm.place.cursor:
            self.rowtree.move_to(self.tm.place.cursor)
        self._follow_cursor()

    @property
    def rowtree(self) -> RowTree:
        """Return the list."""
        return self.query_one("#jobs-tree", RowTree)

    @property
    def detail(self) -> Detail:
        """Return the pane beside it."""
        return self.query_one(Detail)

    # Place ------------------------------------------------------------------------------------------------------------

    def _restored(self) -> JobRows:
        place, rows = self.tm.place, JobRows(self.tm.world, self.tm.glyphs)
        rows.folded, rows.touched = set(place.folded), {*place.folded, *place.unfolded}
        rows.filter, rows.problems, rows.flat = place.filter, place.problems, place.flat
        rows.sort, rows.reverse, rows.marks = place.sort, place.reverse, set(place.marks)
        return rows

    def _remember(self) -> None:
        rows = self.rows
        self.tm.remember(
            folded=sorted(rows.folded & rows.touched), unfolded=sorted(rows.touched - rows.folded), filter=rows.filter,
            problems=rows.problems, flat=rows.flat, sort=rows.sort, reverse=rows.reverse, marks=sorted(rows.marks),
        )  # fmt: skip

    # What changed -----------------------------------------------------------------------------------------------------

    def shown(self) -> None:
        """Bring everything up to date."""
        if self.is_mounted and self.query("#jobs-tree"):
            self._rebuild()
            self.rowtree.focus()
            self.tm.link.watch_metrics(on=True)
            self.detail.come()

    def hidden(self) -> None:
        """Stop what only serves the eye."""
        self.detail.leave()

    def changed(self, change: Change) -> None:
        """Take in what changed."""
        if not self.query("#jobs-tree"):
            return
        self.rows.now = self.tm.now()
        if change.world:
            self._rebuild(live=True)
        elif change.metrics:
            self.rowtree.dirty()
        elif change.keys:
            if self.rows.problems or self.rows.filter:
                self._rebuild(live=True)
            self.rowtree.dirty(self.rows.touch(change.keys))
        if change.world or change.keys:
            self._title()
        self.detail.changed(change)

    def tick(self) -> None:
        """Let ages grow."""
        self.rows.now = self.tm.now()
        self.rowtree.dirty()
        self.detail.tick()

    def _rebuild(self, *, live: bool = False) -> None:
        rows = self.rows
        rows.now, rows.glyphs = self.tm.now(), self.tm.glyphs
        rows.rebuild()
        self.rowtree.empty = self._nothing()
        self.rowtree.rows_changed(live=live)
        self._title()

    def _nothing(self) -> str:
        if self.tm.world.jobs and self.rows.filter:
            return f'nothing matches "{self.rows.filter}" ({self.rows.hidden} hidden) · esc clears'
        if self.tm.world.jobs and self.rows.problems:
            return "nothing failed · esc shows all"
        if self.tm.world.core is None:
            return ""
        where = ", ".join(self.tm.world.core.config) or "no file"
        return f"No jobs yet.\nTaskmaster reads {where}\nn adds a job · E opens the file · D shows the demo"

    def _title(self) -> None:
        pane, rows, world = self.query_one("#jobs-pane"), self.rows, self.tm.world
        order = f"by {rows.sort}{' ↑' if rows.reverse else ''}" if rows.sort else "config order"
        parts = [f"Jobs {fmt.count(len(world.jobs))}", order]
        if rows.filter:
            parts.append(f"/{rows.filter}")
        if rows.problems:
            parts.append("problems only")
        if rows.hidden:
            parts.append(f"{fmt.count(rows.hidden)} hidden")
        if rows.marks:
            parts.append(f"{len(rows.marks)} marked")
        if not self.tm.context.live and world.as_of:
            parts.append(f"as of {fmt.clock(world.as_of)}")
        pane.border_title = Content(" · ".join(parts))
        pane.border_subtitle = Content("/ filter   ! problems only")

    # Selection --------------------------------------------------------------------------------------------------------

    def selection(self) -> Selection:
        """Return the marks, else the row under the cursor."""
        if not self.is_mounted or not self.query("#jobs-tree"):
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
            self._follow_cursor()

    def _follow_cursor(self) -> None:
        cursor = self.rowtree.cursor_id
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
        self._rebuild()
        self.rowtree.move_to(row_id)
        self._follow_cursor()

    def copied(self) -> str:
        """Return the row as text."""
        cursor = self.rowtree.cursor_id
        if cursor is None:
            return ""
        cells = self.rows.cells(cursor, JobRows.COLUMNS)
        return "  ".join(str(cell[0]).strip() for cell in cells if cell[0])

    # Folds, marks, filter, order --------------------------------------------------------------------------------------

    @on(RowTree.FoldClicked)
    def _fold_clicked(self, event: RowTree.FoldClicked) -> None:
        if event.tree.id == "jobs-tree":
            self._fold(event.row_id, fold=event.row_id not in self.rows.folded)

    def _fold(self, name: str, *, fold: bool) -> None:
        (self.rows.folded.add if fold else self.rows.folded.discard)(name)
        self.rows.touched.add(name)
        self._rebuild()
        self._remember()

    def do_jobs_fold(self) -> None:
        """Fold; on a process, go to its job."""
        job = self.tm.world.job(self.rowtree.cursor_id or "")
        if job is None or self.rows.flat:
            return
        if self.rowtree.cursor_id == job.name:
            self._fold(job.name, fold=True)
        else:
            self.rowtree.move_to(job.name)
            self._follow_cursor()

    def do_jobs_unfold(self) -> None:
        """Unfold; where it is unfolded, go to the first process."""
        job = self.tm.world.job(self.rowtree.cursor_id or "")
        if job is None or self.rows.flat or self.rowtree.cursor_id != job.name:
            return
        if job.name in self.rows.folded:
            self._fold(job.name, fold=False)
        elif job.procs:
            self.rowtree.move(1)

    def do_jobs_mark(self) -> None:
        """Mark this row, or take the mark away, and go on."""
        cursor = self.rowtree.cursor_id
        if cursor is None:
            return
        self.rows.marks.symmetric_difference_update({cursor})
        self._range_from = cursor
        self._marked([cursor])
        self.rowtree.move(1)

    @on(RowTree.MarkClicked)
    def _mark_clicked(self, event: RowTree.MarkClicked) -> None:
        if event.tree.id == "jobs-tree":
            self.rows.marks.symmetric_difference_update({event.row_id})
            self._marked([event.row_id])

    def do_jobs_mark_range(self) -> None:
        """Mark from the last mark to here."""
        ids, cursor = self.rows.ids(), self.rowtree.cursor_id
        if cursor is None or self._range_from not in ids:
            self.do_jobs_mark()
            return
        first, last = sorted((ids.index(self._range_from), ids.index(cursor)))
        self.rows.marks.update(ids[first : last + 1])
        self._marked(ids[first : last + 1])

    def do_jobs_mark_all(self) -> None:
        """Mark all that is shown; when all is marked, nothing."""
        ids = self.rows.ids()
        self.rows.marks = set() if self.rows.marks.issuperset(ids) else {*self.rows.marks, *ids}
        self._marked(ids)

    def _marked(self, ids: Iterable[str]) -> None:
        self.rowtree.dirty(set(ids))
        self._title()
        self._remember()
        self.refresh_bindings()

    def do_jobs_filter(self) -> None:
        """Type a filter; the rows follow as it is typed."""
        self.query_one("#jobs-filter", FilterLine).ask(self.rows.filter)

    @on(FilterLine.Changed)
    def _filtered(self, event: FilterLine.Changed) -> None:
        if event.line.id == "jobs-filter":
            self.rows.filter = event.text
            self._rebuild()
            self._remember()

    @on(FilterLine.Done)
    def _filter_done(self, event: FilterLine.Done) -> None:
        if event.line.id == "jobs-filter":
            self.rowtree.focus()

    def do_jobs_problems(self) -> None:
        """Show only what failed, or all again."""
        self.rows.problems = not self.rows.problems
        self._rebuild()
        self._remember()

    def do_jobs_flat(self) -> None:
        """Show processes below their jobs, or all in one list."""
        self.rows.flat = not self.rows.flat
        self._rebuild()
        self._remember()

    def do_jobs_sort_next(self) -> None:
        """Sort by the next column."""
        self._sort(SORTS[(SORTS.index(self.rows.sort) + 1) % len(SORTS)])

    def do_jobs_sort_previous(self) -> None:
        """Sort by the column before."""
        self._sort(SORTS[SORTS.index(self.rows.sort) - 1])

    def do_jobs_sort_invert(self) -> None:
        """Turn the order around."""
        self.rows.reverse = not self.rows.reverse
        self._sort(self.rows.sort)

    @on(RowTree.HeaderClicked)
    def _header_clicked(self, event: RowTree.HeaderClicked) -> None:
        if event.tree.id != "jobs-tree":
            return
        wanted = sort_of(event.column_id)
        if wanted == self.rows.sort:
            self.rows.reverse = not self.rows.reverse
        self._sort(wanted)

    def _sort(self, column: str) -> None:
        self.rows.sort = column
        self.rowtree.set_sort(column, reverse=self.rows.reverse)
        self._rebuild()
        self._remember()

    def back(self) -> bool:
        """Clear the filter, then the marks, then the problems-only; from the details go to the list."""
        rows = self.rows
        if not self.rowtree.has_focus:
            self.rowtree.focus()
        elif rows.marks:
            rows.marks = set()
        elif rows.filter or rows.problems:
            rows.filter, rows.problems = "", False
        else:
            return False
        self._rebuild()
        self._remember()
        return True

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
        self._apply_split()

    def _apply_split(self) -> None:
        """Share the room: beside each other where it is wide, else one above the other."""
        pane = self.query_one("#jobs-pane")
        narrow = self.app.size.width < 100
        pane.styles.width = "100%" if narrow else f"{self.tm.place.split}%"
        if narrow:
            rows = max(min(len(self.rows.ids()) + 3, int(self.app.size.height * _LIST_ROWS)), 5)
            pane.styles.height = rows if self.app.size.height >= 16 else "100%"
        else:
            pane.styles.height = "100%"

    def on_resize(self) -> None:
        """Share the room anew."""
        self._apply_split()

    def do_jobs_add(self) -> None:
        """Fill in a form for a new job."""
        from taskmaster_tui.screens.job_form import JobForm  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(JobForm())

    def do_jobs_edit_file(self) -> None:
        """Open the whole file."""
        self.tm.run_worker(self.tm.edit_config(""), group="outside")
