"""Folds, marks, filter and order of the job tree: where a person is in it.

It decides which rows are shown and remembers that, so that a client that was killed comes back to the same place. What
is done to the rows is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from textual import on
from textual.content import Content

from taskmaster_tui.model import fmt
from taskmaster_tui.model.columns import SORTS, sort_of
from taskmaster_tui.model.rows import JobRows
from taskmaster_tui.screens.listing import Listing
from taskmaster_tui.widgets.filter_line import FilterLine
from taskmaster_tui.widgets.row_tree import RowTree


class Arranging(Listing):
    """Be a view with the job tree."""

    rows: JobRows
    _range_from: str | None = None

    @property
    def rowtree(self) -> RowTree:
        """Return the list."""
        return self.query_one("#jobs-tree", RowTree)

    def follow_cursor(self) -> None:
        """Bring what depends on the cursor up to date."""
        raise NotImplementedError

    def restored(self) -> JobRows:
        """Return the rows as the person left them."""
        place, rows = self.tm.place, JobRows(self.tm.world, self.tm.glyphs)
        rows.folded, rows.touched = set(place.folded), {*place.folded, *place.unfolded}
        rows.filter, rows.problems, rows.flat = place.filter, place.problems, place.flat
        rows.sort, rows.reverse, rows.marks = place.sort, place.reverse, set(place.marks)
        return rows

    def keep(self) -> None:
        """Note where the person is."""
        rows = self.rows
        self.tm.remember(
            folded=sorted(rows.folded & rows.touched), unfolded=sorted(rows.touched - rows.folded), filter=rows.filter,
            problems=rows.problems, flat=rows.flat, sort=rows.sort, reverse=rows.reverse, marks=sorted(rows.marks),
        )  # fmt: skip

    def rebuild(self, *, live: bool = False) -> None:
        """Decide anew which rows there are."""
        rows = self.rows
        rows.now, rows.glyphs = self.tm.moment(), self.tm.glyphs
        rows.rebuild()
        self.rowtree.empty = self._nothing()
        self.rowtree.rows_changed(live=live)
        if self.rowtree.cursor_id is None:  # nobody moved, and what is said of the row that was there is no more true
            self.follow_cursor()
        self.entitle()

    def _nothing(self) -> str:
        if self.tm.world.jobs and self.rows.filter:
            return f'nothing matches "{self.rows.filter}" ({self.rows.hidden} hidden) · esc clears'
        if self.tm.world.jobs and self.rows.problems:
            return "nothing failed · esc shows all"
        if self.tm.world.core is None:
            return ""
        where = ", ".join(self.tm.world.core.config) or "no file"
        return f"No jobs yet.\nTaskmaster reads {where}\nn adds a job · E opens the file · D shows the demo"

    def entitle(self) -> None:
        """Say above the list what is shown."""
        pane, rows, world = self.query_one("#jobs-pane"), self.rows, self.tm.world
        order = f"by {rows.sort}{' ↑' if rows.reverse else ''}" if rows.sort else "config order"
        parts = [f"Jobs {fmt.count(len(world.jobs))}", order]
        if rows.filter:
            parts.append(f"/{fmt.plain(rows.filter)}")
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

    # Folds, marks, filter, order --------------------------------------------------------------------------------------

    @on(RowTree.FoldClicked)
    def _fold_clicked(self, event: RowTree.FoldClicked) -> None:
        if event.tree.id == "jobs-tree":
            self._fold(event.row_id, fold=event.row_id not in self.rows.folded)

    def _fold(self, name: str, *, fold: bool) -> None:
        (self.rows.folded.add if fold else self.rows.folded.discard)(name)
        self.rows.touched.add(name)
        self.rebuild()
        self.keep()

    def do_jobs_fold(self) -> None:
        """Fold; on a process, go to its job."""
        job = self.tm.world.job(self.rowtree.cursor_id or "")
        if job is None or self.rows.flat:
            return
        if self.rowtree.cursor_id == job.name:
            self._fold(job.name, fold=True)
        else:
            self.rowtree.move_to(job.name)
            self.follow_cursor()

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
        self.entitle()
        self.keep()
        self.refresh_bindings()

    def do_jobs_filter(self) -> None:
        """Type a filter; the rows follow as it is typed."""
        self.query_one("#jobs-filter", FilterLine).ask(self.rows.filter, self.rowtree)

    def filtered(self, text: str) -> None:
        """Show what matches."""
        self.rows.filter = text
        self.rebuild()
        self.keep()

    def do_jobs_problems(self) -> None:
        """Show only what failed, or all again."""
        self.rows.problems = not self.rows.problems
        self.rebuild()
        self.keep()

    def do_jobs_flat(self) -> None:
        """Show processes below their jobs, or all in one list."""
        self.rows.flat = not self.rows.flat
        self.rebuild()
        self.keep()

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
        self.rebuild()
        self.keep()

    def back(self) -> bool:
        """From the details go to the list; then clear the filter, the problems-only, the marks: a step each."""
        rows = self.rows
        if not self.rowtree.has_focus:
            self.rowtree.focus()
        elif rows.filter:
            rows.filter = ""
        elif rows.problems:
            rows.problems = False
        elif rows.marks:
            rows.marks = set()
        else:
            return False
        self.rebuild()
        self.keep()
        return True
