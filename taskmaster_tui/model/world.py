"""Hold what the core last told: jobs in the order of the config, their processes, and what a person just asked for.

Decides how snapshots, batches and samples become one picture, and when that picture must be asked for anew
(`stale_shape`). Asks nobody and reads no clock. The link fills it, rows and cards read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskmaster_core import wire
from taskmaster_tui.model.fmt import plain, short
from taskmaster_tui.model.history import History
from taskmaster_tui.model.words import (
    ALIVE,
    KINDS,
    RANK,
    WORST_FIRST,
    Look,
    done_word,
    held,
    kind_of,
    view_look,
)

__all__ = ["Counts", "History", "Job", "Proc", "Tally", "World"]

_STATE_WIDTH = 10
_BUSY_WORDS = {"stopping": "stop", "unknown": "?"}


TWICE = 2
"""Restarts by itself that are no accident any more."""

SETTLED = 300.0
"""Seconds up after which earlier restarts are history."""


class Counts(NamedTuple):
    """Count processes. `up busy failed off done` add up to `total`; `held` are among them."""

    up: int = 0
    busy: int = 0
    failed: int = 0
    off: int = 0
    done: int = 0
    held: int = 0
    total: int = 0


class Tally(NamedTuple):
    """Sum up a job. `face` is the process that stands for it: the newest of the worst kind."""

    counts: Counts
    face: Proc | None
    sent: str
    """The verb on its way to all of them, "" for none."""
    asked: bool
    """A verb is on its way to some of them."""
    refused: str
    restarts: int
    cpu: float | None
    rss: int | None


class Proc:
    """Hold one process as last heard."""

    __slots__ = ("_cpu", "_history", "_mark", "_rss", "job", "key", "label", "refused", "sent", "sent_at", "view")

    def __init__(self, view: wire.ProcessView, job: Job) -> None:
        self.view = view
        self.job = job
        self.key = view.key
        self.label = f":{view.index}"
        self.sent = ""
        """The verb on its way, "" for none."""
        self.sent_at = 0.0
        self.refused = ""
        """Why the last verb was refused, until `World.forget_refusals`."""
        self._cpu: float | None = None
        self._rss: int | None = None
        self._history: History | None = None
        self._mark: tuple[Any, ...] = ()

    @property
    def cpu(self) -> float | None:
        """Return its tree's CPU in percent of one core, as last sampled; None if nobody measured."""
        return self.view.cpu if self._cpu is None else self._cpu

    @property
    def rss(self) -> int | None:
        """Return its tree's memory in bytes, None as above."""
        return self.view.rss if self._rss is None else self._rss

    @property
    def history(self) -> History:
        """Return its last ten minutes."""
        if self._history is None:
            self._history = History()
        return self._history

    @property
    def kind(self) -> str:
        """Return which of `words.KINDS` it is."""
        return kind_of(self.view, self.job.exitcodes)

    @property
    def held(self) -> bool:
        """Tell whether it restarts only by hand."""
        return held(self.view)

    def shaky(self, now: float) -> bool:
        """Tell whether it runs, but began again more than once and only just: up, and not well."""
        view, begun = self.view, self.view.started_at
        return view.state == "running" and view.restarts >= TWICE and begun is not None and now - begun < SETTLED

    def look(self, now: float | None = None) -> Look:
        """Return how it is shown: what was asked of it first, then its state."""
        if self.sent:
            return Look("busy", f"{self.sent}…", "busy")
        seen = view_look(self.view, now, self.job.exitcodes)
        return Look(seen.glyph, "! refused", "error") if self.refused else seen

    def hear(self, view: wire.ProcessView) -> None:
        """Take what the core says now. Once that is another state, it speaks for itself and the mark goes."""
        if view.run != self.view.run:
            self.refused = ""
        self.view = view
        if self.sent and _moment(view) != self._mark:
            self.sent = ""

    def ask(self, verb: str, at: float) -> None:
        """Show that a verb is on its way."""
        self.sent, self.sent_at, self.refused = verb, at, ""
        self._mark = _moment(self.view)

    def sampled(self, at: float, cpu: float | None, rss: int | None) -> None:
        """Take a measurement; None and None: it was not there to be measured."""
        self._cpu, self._rss = cpu, rss
        if cpu is not None or rss is not None:
            self.history.add(at, cpu, rss)


def _moment(view: wire.ProcessView) -> tuple[Any, ...]:
    return view.state, view.goal, view.run, view.since, held(view)


class Job:
    """Hold one job and its processes, ordered by index."""

    def __init__(self, view: wire.JobView) -> None:
        self.name = view.name
        self.label = plain(view.name)
        self.history = History()
        self.procs: dict[str, Proc] = {}
        self.hear(view)
        self._tally: Tally | None = None

    def hear(self, view: wire.JobView) -> None:
        """Take the declaration."""
        self.spec = view.spec
        self.numprocess = view.numprocess
        self.declared_goal = view.goal
        self.exitcodes = frozenset(_listed(view.spec.get("exitcodes", (0,))))
        self.tags = tuple(plain(str(tag)) for tag in _listed(view.spec.get("tags", ())))

    def changed(self) -> None:
        """Forget the sums: something of it changed."""
        self._tally = None

    @property
    def tally(self) -> Tally:
        """Return its sums."""
        if self._tally is None:
            self._tally = _tally(self.procs.values())
        return self._tally

    @property
    def goal(self) -> str:
        """Return what is wanted of it: up if it is of any process."""
        goals = {proc.view.goal for proc in self.procs.values()}
        return "up" if "up" in goals else next(iter(goals), self.declared_goal)

    @property
    def state(self) -> str:
        """Return the worst state of its processes; "stopped" without any."""
        present = {proc.view.state for proc in self.procs.values()}
        return next((state for state in WORST_FIRST if state in present), "stopped")

    @property
    def up(self) -> int:
        """Return how many of its processes run and are well."""
        return self.tally.counts.up

    @property
    def restarts(self) -> int:
        """Return how often its processes were started again by themselves."""
        return self.tally.restarts

    @property
    def cpu(self) -> float | None:
        """Return the sum over its processes, None if none is known."""
        return self.tally.cpu

    @property
    def rss(self) -> int | None:
        """Return the sum over its processes, None if none is known."""
        return self.tally.rss

    @property
    def kind(self) -> str:
        """Return the worst of its processes' kinds; "off" without any."""
        face = self.tally.face
        return face.kind if face is not None else "off"

    @property
    def held(self) -> bool:
        """Tell whether all its processes restart only by hand."""
        counts = self.tally.counts
        return 0 < counts.total == counts.held

    @property
    def protected(self) -> bool:
        """Tell whether the config wants every action on it confirmed."""
        return bool(self.spec.get("protected"))

    @property
    def tty(self) -> bool:
        """Tell whether its processes have a terminal."""
        return bool(self.spec.get("tty"))

    def look(self, now: float | None = None) -> Look:
        """Return how its row is shown: what was asked, else its processes summed up ("3/4 retry")."""
        tally = self.tally
        if tally.sent:
            return Look("busy", f"{tally.sent}…", "busy")
        seen = self._sum(tally, now)
        if tally.refused:
            return Look(seen.glyph, "! refused", "error")
        return Look("busy", seen.word, "busy") if tally.asked else seen

    def _sum(self, tally: Tally, now: float | None) -> Look:
        face, counts = tally.face, tally.counts
        if face is None:
            return Look("off", "off", "off")
        seen = view_look(face.view, now, self.exitcodes)
        kind = face.kind
        if kind in ("off", "done") and not counts.up:
            word = self._done_word(counts, seen.word) if kind == "done" and seen.role != "off" else seen.word
            return Look(seen.glyph, word, seen.role)
        if kind in ("off", "done", "up"):
            return Look("up", _of(counts.up, counts, "up"), "up")
        return Look(seen.glyph, _of(getattr(counts, kind), counts, _job_word(face.view)), seen.role)

    def _done_word(self, counts: Counts, word: str) -> str:
        """Return `done 0`; `done` alone where the processes' ends differ."""
        words = {done_word(proc.view.exit) for proc in self.procs.values() if proc.kind == "done"}
        return word if len(words) == 1 else "done"


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _job_word(view: wire.ProcessView) -> str:
    """Return the word of a job whose worst process is this one."""
    if view.state == "fatal":
        return "FATAL"
    if view.state == "backoff":
        return "retry"
    if view.state in ("starting", "pending"):
        return "start"
    return _BUSY_WORDS.get(view.state, "failed" if view.state == "exited" else "sick")


def _of(n: int, counts: Counts, word: str) -> str:
    """Return "3/4 word"; where that is too wide, how many are so: "12k FATAL"."""
    whole = f"{counts.up}/{counts.total} {word}"
    return whole if len(whole) <= _STATE_WIDTH else f"{short(n)} {word}"


_KIND_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


def _urgency(proc: Proc) -> tuple[int, int, float]:
    """Order processes so that the least is the one to show: the worst kind, the worst state, the newest."""
    view = proc.view
    begun = view.started_at if view.state == "running" and view.started_at is not None else view.since
    return _KIND_RANK[proc.kind], RANK.get(view.state, 1), -begun


def _tally(procs: Iterable[Proc]) -> Tally:
    procs = list(procs)
    kinds = Counter(proc.kind for proc in procs)
    verbs = {proc.sent for proc in procs}
    cpus = [cpu for proc in procs if (cpu := proc.cpu) is not None]
    sizes = [rss for proc in procs if (rss := proc.rss) is not None]
    return Tally(
        counts=Counts(**kinds, held=sum(proc.held for proc in procs), total=len(procs)),
        face=min(procs, key=_urgency, default=None),
        sent=verbs.pop() if len(verbs) == 1 else "",
        asked=any(verbs),
        refused=next((proc.refused for proc in procs if proc.refused), ""),
        restarts=sum(proc.view.restarts for proc in procs),
        cpu=sum(cpus) if cpus else None,
        rss=sum(sizes) if sizes else None,
    )


SAME_TIME = 1.0
"""Seconds by which two clocks may differ and count as one: so long may an answer be under way."""


class World:
    """Hold everything the core told."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        """In the order of the config."""
        self.core: wire.CoreView | None = None
        self.seq = 0
        self.boot = ""
        self.as_of = 0.0
        """When something was last heard, by the core's clock."""
        self.ahead = 0.0
        """Seconds by which the core's wall clock is ahead of ours; what it tells of is as old as its clock says."""
        self.stale_shape = False
        """Something came or went that only a new snapshot tells in full."""
        self.shape = 0
        """Grows whenever rows come or go."""
        self._procs: dict[str, Proc] = {}
        self._sampled: set[str] = set()
        self._counts: Counts | None = None

    def set_clock(self, told: float, here: float) -> None:
        """Note what the core's clock said when ours said `here`; 0: it does not tell. Less than a second is the way."""
        if told and abs(told - here - self.ahead) >= SAME_TIME:
            self.ahead = told - here if abs(told - here) >= SAME_TIME else 0.0

    def load(self, status: wire.Status, at: float) -> None:
        """Take a snapshot instead of all that was known; histories and marks of what is still there are kept."""
        before = (list(self.jobs), list(self._procs))
        known, self.jobs, old, self._procs = self.jobs, {}, self._procs, {}
        for view in status.jobs:
            job = known.get(view.name) or Job(view)
            job.hear(view)
            job.procs = {each.key: self._heard(old.get(each.key), each, job) for each in _by_index(view.processes)}
            self._procs.update(job.procs)
            self.jobs[view.name] = job
            job.changed()
        self.core, self.seq, self.boot, self.as_of = status.core, status.core.seq, status.core.boot, at
        self.stale_shape, self._counts = False, None
        self._sampled.intersection_update(self._procs)
        self.shape += before != (list(self.jobs), list(self._procs))

    def _heard(self, proc: Proc | None, view: wire.ProcessView, job: Job) -> Proc:
        if proc is None:
            return Proc(view, job)
        proc.job = job
        proc.hear(view)
        return proc

    def apply(self, batch: wire.StateBatch, at: float) -> set[str]:
        """Take what changed; return the keys. A batch of another core changes nothing: a snapshot is due then.

        One that is older than the snapshot says what the snapshot has overtaken, and is dropped.
        """
        if batch.boot != self.boot:
            self.stale_shape = True
            return set()
        self.as_of = at
        if batch.seq < self.seq:
            return set()
        self.seq, self._counts = batch.seq, None
        procs = self._procs
        for view in batch.processes:
            proc = procs.get(view.key)
            if proc is None:
                self._came(view)
            else:
                proc.hear(view)
                proc.job.changed()
        for key in batch.gone:
            self._went(key)
        return {view.key for view in batch.processes}.union(batch.gone)

    def _came(self, view: wire.ProcessView) -> None:
        """Put a new process of a known job in its place; a job's declaration comes with the snapshot only."""
        self.stale_shape = True
        job = self.jobs.get(view.key.rpartition(":")[0])
        if job is not None:
            job.procs[view.key] = self._procs[view.key] = Proc(view, job)
            job.procs = dict(sorted(job.procs.items(), key=lambda item: item[1].view.index))
            job.changed()
            self.shape += 1

    def _went(self, key: str) -> None:
        proc = self._procs.pop(key, None)
        if proc is not None:
            self.stale_shape = True
            proc.job.procs.pop(key, None)
            proc.job.changed()
            self.shape += 1

    def sample(self, processes: Mapping[str, Sequence[Any]], at: float) -> None:
        """Take a second's measurements: of each key its CPU (percent of one core) and memory (bytes)."""
        for key in self._sampled.difference(processes):
            self._measured(key, None, None, at)
        sums: dict[Job, tuple[float, float]] = {}
        for key, (cpu, rss, *_) in processes.items():
            proc = self._measured(key, cpu, rss, at)
            if proc is not None:
                so_far = sums.get(proc.job, (0.0, 0.0))
                sums[proc.job] = (so_far[0] + (cpu or 0.0), so_far[1] + (rss or 0))
        for job, (cpu_sum, rss_sum) in sums.items():
            job.history.add(at, cpu_sum, rss_sum)
        self._sampled = {key for key in processes if key in self._procs}

    def _measured(self, key: str, cpu: float | None, rss: int | None, at: float) -> Proc | None:
        proc = self._procs.get(key)
        if proc is not None:
            proc.sampled(at, cpu, rss)
            proc.job.changed()
        return proc

    # What a person asked for -----------------------------------------------------------------------------------------

    def sending(self, keys: Iterable[str], verb: str, at: float) -> None:
        """Show on these rows (keys or jobs) that a verb is on its way."""
        for proc in self._named(keys):
            proc.ask(verb, at)

    def answered(self, done: wire.Done | None, error: str, keys: Iterable[str]) -> None:
        """Take the marks away; what was not done shows that it was refused, and why."""
        notes = {each.key: each.note or "refused" for each in done.outcomes if not each.ok} if done is not None else {}
        for proc in self._named(keys):
            proc.sent = ""
            proc.refused = plain(error or notes.get(proc.key, ""))

    def forget_refusals(self) -> set[str]:
        """Take refusals off the screen, at the next key; return the keys that had one."""
        found = [proc for proc in self._procs.values() if proc.refused]
        for proc in self._named([proc.key for proc in found]):
            proc.refused = ""
        return {proc.key for proc in found}

    def _named(self, row_ids: Iterable[str]) -> Iterable[Proc]:
        for row_id in row_ids:
            for key in self.keys_of(row_id):
                proc = self._procs[key]
                proc.job.changed()
                yield proc

    # Questions -------------------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Count processes, for the header."""
        if self._counts is None:
            tallies = [job.tally.counts for job in self.jobs.values()]
            self._counts = Counts(*map(sum, zip(*tallies, strict=True))) if tallies else Counts()
        return self._counts

    def totals(self) -> tuple[float | None, int | None]:
        """Return CPU and memory of everything, None where nothing is known."""
        cpus = [cpu for job in self.jobs.values() if (cpu := job.cpu) is not None]
        sizes = [rss for job in self.jobs.values() if (rss := job.rss) is not None]
        return sum(cpus) if cpus else None, sum(sizes) if sizes else None

    def procs(self) -> Iterable[Proc]:
        """Return all processes, job by job."""
        return (proc for job in self.jobs.values() for proc in job.procs.values())

    def proc(self, key: str) -> Proc | None:
        """Return a process, or None."""
        return self._procs.get(key)

    def job(self, name: str) -> Job | None:
        """Return a job by its name or by the key of one of its processes, or None."""
        proc = self._procs.get(name)
        return proc.job if proc is not None else self.jobs.get(name)

    def keys_of(self, row_id: str) -> list[str]:
        """Return the keys a row stands for: a job's all, a process's own; [] for a row that is gone."""
        job = self.jobs.get(row_id)
        if job is not None:
            return list(job.procs)
        return [row_id] if row_id in self._procs else []


def _by_index(views: list[wire.ProcessView]) -> list[wire.ProcessView]:
    return sorted(views, key=lambda view: view.index)


def alive(proc: Proc) -> bool:
    """Tell whether a unix process may exist."""
    return proc.view.state in ALIVE
