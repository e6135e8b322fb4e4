"""Decide the rows of the job tree: which, in what order, and what their cells say.

Decides folding, filtering, sorting and marks over the world; lays out and paints nothing. `RowTree` asks it for ids
and, of the rows on the screen only, for cells; the jobs view sets its switches and calls `rebuild`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskmaster_tui.model import filters
from taskmaster_tui.model.columns import JOB_COLUMNS, SORTS, Column
from taskmaster_tui.model.fmt import DASH, age, ago, percent, plain, short, size
from taskmaster_tui.model.plot import spark
from taskmaster_tui.model.words import ALIVE, RANK, Look, glyphs, kind_of
from taskmaster_tui.model.world import Job, Proc, World

Span = tuple[str, str]
Cell = Span | Sequence[Span]
"""Text and role; several where the parts of one cell differ."""

OPEN_UP_TO = 8
"""A job with more processes starts folded, unless one of them failed."""

_SPARK_FLOOR = 20.0
"""Percent of a core that fill a bar at least: an idle job's noise must not look like work."""


class JobRows:
    """Be the row source of the job tree."""

    COLUMNS = JOB_COLUMNS

    def __init__(self, world: World, glyph_set: str = "unicode") -> None:
        self.world = world
        self.folded: set[str] = set()
        self.touched: set[str] = set()
        """Jobs whose fold a person decided; it is never decided for them again."""
        self.marks: set[str] = set()
        """Ids of rows, jobs or keys."""
        self.filter = ""
        self.problems = False
        """Only what failed."""
        self.sort = ""
        self.reverse = False
        self.flat = False
        self.glyphs = glyph_set
        self.now = 0.0
        """Unix seconds: what ages and countdowns are told by."""
        self.hidden = 0
        """How many jobs (flat: processes) filter and `problems` keep away."""
        self._ids: list[str] = []
        self._seen: set[str] = set()

    # Which rows ------------------------------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """Return the ids of the last `rebuild`: a job's name or a process's key."""
        return self._ids

    def rebuild(self) -> None:
        """Decide anew which rows there are and their order."""
        self._begin_folded()
        keep = self._keep()
        self.hidden = 0
        self._ids = self._flat_ids(keep) if self.flat else self._tree_ids(keep)

    def touch(self, keys: Iterable[str]) -> set[str]:
        """Return the rows that show something of these processes: their own and their job's."""
        keys = set(keys)
        return keys | {key.rpartition(":")[0] or key for key in keys}

    def _begin_folded(self) -> None:
        """Fold jobs that were never seen before as fits them."""
        for name, job in self.world.jobs.items():
            if name not in self._seen:
                self._seen.add(name)
                if name not in self.touched and not _begins_open(job):
                    self.folded.add(name)

    def _keep(self) -> Callable[[Job, Proc | None], bool] | None:
        """Return the test that rows must pass, None if all do."""
        wanted = filters.parse(self.filter)
        if not self.problems:
            return wanted.matches if wanted else None
        return lambda job, proc: proc is not None and self._is_problem(proc) and wanted.matches(job, proc)

    def _is_problem(self, proc: Proc) -> bool:
        return proc.kind == "failed" or proc.shaky(self.now)

    def _tree_ids(self, keep: Callable[[Job, Proc | None], bool] | None) -> list[str]:
        found: list[str] = []
        for job in self._ordered_jobs():
            procs = list(job.procs.values())
            kept = procs if keep is None else [proc for proc in procs if keep(job, proc)]
            if keep is not None and not kept and (procs or not keep(job, None)):
                self.hidden += 1
                continue
            found.append(job.name)
            if job.name not in self.folded or len(kept) < len(procs):  # a hit within a folded job is shown
                found.extend(proc.key for proc in self._ordered(kept))
        return found

    def _flat_ids(self, keep: Callable[[Job, Proc | None], bool] | None) -> list[str]:
        procs = [proc for job in self._ordered_jobs() for proc in job.procs.values()]
        kept = procs if keep is None else [proc for proc in procs if keep(proc.job, proc)]
        self.hidden = len(procs) - len(kept)
        return [proc.key for proc in self._ordered(kept)]

    def _ordered_jobs(self) -> list[Job]:
        jobs = list(self.world.jobs.values())
        rank = _JOB_RANK.get(self.sort)
        if rank is not None:
            return sorted(jobs, key=rank, reverse=self.reverse)
        return jobs[::-1] if self.reverse else jobs

    def _ordered(self, procs: list[Proc]) -> list[Proc]:
        rank = _PROC_RANK.get(self.sort)
        return procs if rank is None else sorted(procs, key=rank, reverse=self.reverse)

    # What a person does ----------------------------------------------------------------------------------------------

    def fold(self, name: str, folded: bool | None = None) -> bool:
        """Fold or unfold a job (None: the other way round); tell whether the rows must be rebuilt."""
        if name not in self.world.jobs or folded is (name in self.folded):
            return False
        self.touched.add(name)
        self.folded.symmetric_difference_update({name})
        return True

    def mark(self, row_id: str) -> None:
        """Mark a row, or take its mark away."""
        self.marks.symmetric_difference_update({row_id})

    def marked(self, row_id: str) -> bool:
        """Tell whether a row is marked, by itself or with its job."""
        return bool(self.marks) and (row_id in self.marks or row_id.rpartition(":")[0] in self.marks)

    def next_sort(self, step: int = 1) -> str:
        """Sort by the next column; return which."""
        now = SORTS.index(self.sort) if self.sort in SORTS else 0
        self.sort = SORTS[(now + step) % len(SORTS)]
        return self.sort

    def parent(self, row_id: str) -> str | None:
        """Return the job of a process's row, None for a job's own."""
        proc = self.world.proc(row_id)
        return proc.job.name if proc is not None else None

    # Cells -----------------------------------------------------------------------------------------------------------

    def cells(self, row_id: str, columns: Sequence[Column]) -> list[Cell]:
        """Return text and role of each column; empty ones for a row that has gone."""
        thing = self.world.proc(row_id) or self.world.jobs.get(row_id)
        if thing is None:
            return [("", "")] * len(columns)
        look = thing.look(self.now)
        return [_CELLS.get(column.id, _no_cell)(self, thing, look, column) for column in columns]

    def text(self, row_id: str) -> list[str]:
        """Return what stands in the row, for the clipboard; empty cells are left out."""
        cells = (_flat(cell).strip() for cell in self.cells(row_id, self.COLUMNS))
        return [text for text in cells if text]

    def _name(self, thing: Job | Proc, look: Look, _: Column) -> Cell:
        """Return indent and fold, glyph, name, tags."""
        names = glyphs(self.glyphs)
        if isinstance(thing, Proc):
            before, name = ("", plain(thing.key)) if self.flat else ("    ", thing.label)
            tags = _proc_tags(thing)
        else:
            shut = thing.name in self.folded
            before = f"{names['closed' if shut else 'open'] if thing.procs else ' '} "
            name, tags = thing.label, _job_tags(thing)
        parts = [(before, "dim"), (names[look.glyph], look.role), (f" {name}", "" if look.role == "up" else look.role)]
        return [*parts, (f"  {tags}", "dim")] if tags else parts

    def _state(self, thing: Job | Proc, look: Look, _: Column) -> Cell:
        return (look.word if self.glyphs != "ascii" else look.word.replace("…", "..")), look.role

    def _up(self, thing: Job | Proc, _: Look, __: Column) -> Cell:
        proc = thing if isinstance(thing, Proc) else thing.tally.face
        text = up_text(proc, self.now) if proc is not None else DASH
        return self._dashed(text)

    def _cpu(self, thing: Job | Proc, _: Look, __: Column) -> Cell:
        return self._dashed(percent(thing.cpu))

    def _spark(self, thing: Job | Proc, _: Look, column: Column) -> Cell:
        values = thing.history.cells(column.width, self.now)
        highest = max((each for each in values if each == each), default=0.0)  # noqa: PLR0124  # NaN
        return spark(values, column.width, max(highest, _SPARK_FLOOR), ascii_only=self.glyphs == "ascii"), "accent"

    def _mem(self, thing: Job | Proc, _: Look, __: Column) -> Cell:
        return self._dashed(size(thing.rss))

    def _restarts(self, thing: Job | Proc, _: Look, __: Column) -> Cell:
        n = thing.view.restarts if isinstance(thing, Proc) else thing.restarts
        procs = [thing] if isinstance(thing, Proc) else thing.procs.values()
        shaky = n and any(proc.shaky(self.now) for proc in procs)
        return short(n), "warn" if shaky else "" if n else "dim"

    def _pid(self, thing: Job | Proc, _: Look, __: Column) -> Cell:
        pid = thing.view.pid if isinstance(thing, Proc) else None
        return self._dashed(DASH if pid is None else str(pid))

    def _dashed(self, text: str) -> Cell:
        return (glyphs(self.glyphs)["dash"], "dim") if text == DASH else (text, "")


def _flat(cell: Cell) -> str:
    return cell[0] if isinstance(cell, tuple) and isinstance(cell[0], str) else "".join(part[0] for part in cell)


def _no_cell(rows: JobRows, thing: Job | Proc, look: Look, column: Column) -> Cell:
    return "", ""


_CELLS: dict[str, Callable[[JobRows, Job | Proc, Look, Column], Cell]] = {
    "name": JobRows._name,  # noqa: SLF001  # the class's own table of cells
    "state": JobRows._state,  # noqa: SLF001
    "up": JobRows._up,  # noqa: SLF001
    "cpu": JobRows._cpu,  # noqa: SLF001
    "spark": JobRows._spark,  # noqa: SLF001
    "mem": JobRows._mem,  # noqa: SLF001
    "restarts": JobRows._restarts,  # noqa: SLF001
    "pid": JobRows._pid,  # noqa: SLF001
}


def up_text(proc: Proc, now: float) -> str:
    """Return how long a process is up, or how long ago it ended; a dash if it never ran."""
    view = proc.view
    if view.state in ALIVE or view.state == "pending":
        return age(now - (view.since if view.started_at is None else view.started_at))
    return DASH if not view.run else ago(now - view.since)


def _begins_open(job: Job) -> bool:
    n = len(job.procs)
    return n > 1 and (n <= OPEN_UP_TO or job.kind == "failed")


def _proc_tags(proc: Proc) -> str:
    return " ".join(word for word, holds in (("tty", proc.job.tty), ("held", proc.held)) if holds)


def _job_tags(job: Job) -> str:
    """Return the words after a job's name; a `tty` stands with its processes."""
    return " ".join(word for word, holds in (("held", job.held), ("protected", job.protected)) if holds)


# Orders: what is wanted first has the least rank ---------------------------------------------------------------------


def _severity(proc: Proc | None) -> tuple[int, int]:
    if proc is None:
        return 9, 0
    kind = kind_of(proc.view, proc.job.exitcodes)
    return ("failed", "busy", "up", "done", "off").index(kind), RANK.get(proc.view.state, 1)


def _begun(proc: Proc | None) -> float:
    """Return when a process came up; what is not up comes last."""
    started = proc.view.started_at if proc is not None and proc.view.state in ALIVE else None
    return float("inf") if started is None else started


_JOB_RANK: dict[str, Callable[[Job], Any]] = {
    "name": lambda job: job.name.casefold(),
    "state": lambda job: _severity(job.tally.face),
    "up": lambda job: _begun(job.tally.face),
    "cpu": lambda job: -(job.cpu or 0.0),
    "mem": lambda job: -(job.rss or 0),
    "restarts": lambda job: -job.restarts,
}
_PROC_RANK: dict[str, Callable[[Proc], Any]] = {
    "name": lambda proc: (proc.job.name.casefold(), proc.view.index),
    "state": _severity,
    "up": _begun,
    "cpu": lambda proc: -(proc.cpu or 0.0),
    "mem": lambda proc: -(proc.rss or 0),
    "restarts": lambda proc: -proc.view.restarts,
}
