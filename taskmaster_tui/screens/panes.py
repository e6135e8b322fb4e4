"""The tabs of the detail pane.

Each decides what of a row it shows and asks the core for that alone; none knows the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.wire import Event
from taskmaster_tui.bindings import bindings
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt
from taskmaster_tui.model.event_rows import EVENT_COLUMNS, EventRows
from taskmaster_tui.screens.log_actions import LogActions
from taskmaster_tui.widgets.bar import Piece
from taskmaster_tui.widgets.card import Card, Line
from taskmaster_tui.widgets.log_view import LogView
from taskmaster_tui.widgets.plot import Chart
from taskmaster_tui.widgets.row_tree import RowTree

if TYPE_CHECKING:
    from textual.worker import Worker

    from taskmaster_tui.app import TaskmasterApp
    from taskmaster_tui.screens.logs import LogsView

_EVENTS = 200
"""Events of one row that the pane shows; the Events view has them all."""


class LogPane(LogActions):
    """Show its output."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings("log"))

    _wanted: tuple[float, str] | None = None

    def on_mount(self) -> None:
        """Go to the moment that was asked for before there was a log."""
        if self._wanted is not None:
            self.at_moment(*self._wanted)

    def about(self, row_id: str | None) -> None:
        """Follow the output of another row."""
        if self.query(LogView):
            self.follow_output(None if row_id is None else (row_id,))

    def at_moment(self, at: float, key: str) -> None:
        """Show what a process wrote at a time."""
        self._wanted = (at, key)
        if self.query(LogView):
            self._wanted = None
            self.follow_output((key,), at=at, key=key)

    async def do_log_goto(self) -> None:
        """Leave the filter at this line; else show the line full screen."""
        filtered = self.log_view.filter is not None
        row = self.log_view.choose()
        if filtered:
            return
        view = await self._full_screen(self.selectors)
        if row is not None:
            view.output.log_view.jump_to(row.at, row.key, stream=row.stream, offset=row.offset)

    def do_log_pick(self) -> None:
        """Choose whose output is shown, full screen."""
        from taskmaster_tui.screens.pick_jobs import JobPicker  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(JobPicker(self.tm, self.selectors), self._picked)

    async def _picked(self, selectors: tuple[str, ...] | None) -> None:
        if selectors is not None:
            await self._full_screen(selectors)

    async def _full_screen(self, selectors: Sequence[str]) -> LogsView:
        view = cast("LogsView", await self.tm.main.go("logs"))
        view.show(selectors)
        return view


class TextPane(VerticalScroll):
    """Show facts, one per line."""

    def __init__(self, op: str, lines: Callable[[Any, str, TaskmasterApp], Iterable[Line]]) -> None:
        super().__init__()
        self._op = op
        self._lines = lines
        self._row: str | None = None
        self._owing = False
        """What is shown is not of the row: it is asked for once it can be."""

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    def compose(self) -> ComposeResult:
        """Hold one card."""
        yield Card()

    def about(self, row_id: str | None) -> None:
        """Ask for another row."""
        if row_id is not None and self.tm.context.live:
            self.run_worker(self._fetch(row_id), group="facts", exclusive=True)
        elif row_id is not None and row_id != self._row:
            self._owing = True
            for card in self.query(Card):  # it may be told of a row before it is laid out
                card.set_lines([[Piece("the core cannot be asked now", "dim")]])
        self._row = row_id

    async def _fetch(self, row_id: str) -> None:
        try:
            found = await self.tm.link.call(self._op, [row_id] if self._op == "show" else [], timeout=10)
        except TaskmasterError as error:
            self._owing = True
            self.query_one(Card).set_lines([[Piece(clean(error.message), "error")]])
            return
        self._owing = False
        if row_id == self._row:
            self.query_one(Card).set_lines(self._lines(found, row_id, self.tm))

    def changed(self, change: Change) -> None:
        """Ask again when the row changed."""
        if self._row is None:
            return
        owed = self._owing and (change.world or change.health) and self.tm.context.live
        if owed or not change.keys.isdisjoint(self.tm.world.keys_of(self._row)):
            self._owing = False
            self.about(self._row)


def _fact(name: str, value: object, role: str = "") -> Line:
    shown = clean(str(value)).replace("\n", " ")
    return (Piece(f" {name:<14}", "dim"), Piece(shown, role))


def info_lines(found: dict[str, Any], row_id: str, app: TaskmasterApp) -> Iterable[Line]:
    """Return what there is to know about a job or process."""
    now = app.now()
    for each in found.get("jobs", ()):
        job = each["job"]
        spec: dict[str, Any] = job["spec"]
        yield (Piece(f" {clean(job['name'])}", "title", bold=True),)
        if spec.get("description"):
            yield _fact("", spec["description"])
        yield _fact("command", _words(spec.get("cmd", "")))
        yield _fact("directory", spec.get("workingdir", ""))
        yield _fact("processes", f"{len(job['processes'])} of {spec.get('numprocess', '?')} declared")
        yield _fact("restart", f"{spec.get('restart', '')}, retry {spec.get('retry')}, restarts {job['restarts']}")
        for intent in each.get("intents", ()):
            yield _fact("by hand", intent if isinstance(intent, str) else _words(intent), "held")
        for process in job["processes"]:
            if row_id in (job["name"], process["key"]):
                key = process["key"]
                yield from _process_lines(process, each.get("paths", {}).get(key, {}), now)
                yield from _relative_lines(each.get("trees", {}).get(key, {}), now)


def _process_lines(process: dict[str, Any], paths: dict[str, Any], now: float) -> Iterable[Line]:
    yield (Piece(""),)
    yield (Piece(f" {clean(process['key'])}", "title", bold=True), Piece(f"  {process['state']}", ""))
    if process.get("reason"):
        yield _fact("because", process["reason"])
    yield _fact("pid", process["pid"] if process["pid"] is not None else "-")
    yield _fact("run", process["run"])
    yield _fact("since", f"{fmt.when(process['since'], now)} ({fmt.ago(now - process['since'])})")
    if process.get("started_at"):
        yield _fact("started", fmt.when(process["started_at"], now))
    yield _fact("tries", f"{process['tries']}, restarts {process.get('restarts', 0)}")
    yield _fact("generation", process["generation"])
    if process.get("lingering"):
        yield _fact("lingering", f"{process['lingering']} processes of its last run", "warn")
    for stream, path in paths.items():
        yield _fact(stream, path["path"] if isinstance(path, dict) else path)


def _relative_lines(tree: dict[str, Any], now: float) -> Iterable[Line]:
    """Return who of its descendants is on his own, and whether its main process stands still."""
    if tree.get("halted"):
        yield _fact("halted", f"its main process is {tree['halted']}", "warn")
    for number, each in enumerate(tree.get("relatives", ())):
        how = f"outlived run {each['run']}" if each["ended"] else "left the group"
        text = f"{each['pid']} {each['command']} ({how}, {fmt.ago(now - each['started_at'])})"
        yield _fact("" if number else "descendants", text, "warn" if each["ended"] else "")
    if tree.get("more"):
        yield _fact("", f"and {tree['more']} more")


def env_lines(found: dict[str, Any], row_id: str, app: TaskmasterApp) -> Iterable[Line]:
    """Return the names of the variables; values stay in the core unless an operator asks."""
    for each in found.get("jobs", ()):
        entries = each.get("env", ())
        yield (Piece(f" {len(entries)} variables set by the config", "dim"),)
        pairs = entries.items() if isinstance(entries, dict) else ((entry, "") for entry in entries)
        for name, value in sorted(pairs):
            yield _fact(clean(str(name)), value) if value else (Piece(f" {clean(str(name))}"),)


def config_lines(found: dict[str, Any], row_id: str, app: TaskmasterApp) -> Iterable[Line]:
    """Return the job's declaration as it is in force."""
    job = app.world.job(row_id)
    name_of_job = job.name if job is not None else ""
    spec: dict[str, Any] = next((each for each in found.get("jobs", ()) if each["name"] == name_of_job), {})
    yield (Piece(f" in force since generation {found.get('generation', '?')}; e edits it", "dim"),)
    for name, value in spec.items():
        if value not in (None, "", [], {}):
            yield _fact(name, _words(value))


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_words(each) for each in value)
    return str(value)


class EventPane(Container):
    """Show what happened to it: every run with how it began and ended."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = EventRows()
        self._row: str | None = None
        self._asking: Worker[None] | None = None
        self._seen = 0
        self._journal = -1
        """The last number looked at, and of which journal; -1: none, it is still to be asked."""

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    def compose(self) -> ComposeResult:
        """Hold a list."""
        yield RowTree(self._rows, EVENT_COLUMNS, empty="nothing happened yet", marks=False)

    def about(self, row_id: str | None) -> None:
        """Ask for the events of another row."""
        if row_id != self._row:
            self._row, self._journal = row_id, -1
        if not self._ask(another=True) and row_id is not None:
            self._rows.load(())
            self._show(live=False, last=True)

    def _ask(self, *, another: bool) -> bool:
        if self._row is None or not self.tm.context.live:
            return False
        self._asking = self.run_worker(self._fetch(self._row, another), group="events", exclusive=True)
        return True

    async def _fetch(self, row_id: str, another: bool) -> None:
        import msgspec  # noqa: PLC0415  # in memory already: the link needs it

        link = self.tm.link
        seen, journal = link.recent[-1].seq if link.recent else 0, link.recent.journal
        try:
            found = msgspec.convert(await link.call("events", [row_id], {"n": _EVENTS}, timeout=10), list[Event])
        except TaskmasterError:
            return
        if row_id != self._row:
            return
        self._seen, self._journal = seen, journal
        last = another or self._at_last()
        self._rows.load(found)
        self._show(live=False, last=last)
        self._take()

    @property
    def _tree(self) -> RowTree | None:
        """Return the list; None before it is laid out, when the pane may have been told of a row already."""
        return next(iter(self.query(RowTree)), None)

    def _at_last(self) -> bool:
        return self._tree is None or self._tree.cursor_id == next(reversed(self._rows.ids()), None)

    def changed(self, change: Change) -> None:
        """Add what happened."""
        asking = self._asking is not None and not self._asking.is_finished
        if self._row is not None and (change.events or change.world) and not asking:
            self._take()

    def _take(self) -> None:
        new = self.tm.link.recent.after(self._seen, self._journal)
        if new is None:
            self._ask(another=False)
            return
        self._seen = max(self._seen, new[-1].seq if new else 0)
        meant: Sequence[str] = [self._row or "", *self.tm.world.keys_of(self._row or "")]
        told = [event for event in new if event.key in meant]
        if told:
            last = self._at_last()
            self._rows.add(told)
            self._show(live=True, last=last)

    def _show(self, *, live: bool, last: bool) -> None:
        tree = self._tree
        if tree is None:
            return
        tree.empty = "nothing happened yet" if self._journal >= 0 else "the journal cannot be read now"
        self._rows.now = self.tm.now()
        tree.rows_changed(live=live)
        if last:
            tree.bottom()


class ChartPane(VerticalScroll):
    """Show its CPU and memory over the last ten minutes."""

    def __init__(self) -> None:
        super().__init__()
        self._row: str | None = None

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    def compose(self) -> ComposeResult:
        """Hold two charts."""
        yield Chart("CPU, % of one core", fmt.percent, id="cpu-chart")
        yield Chart("Memory", fmt.size, id="memory-chart")

    def about(self, row_id: str | None) -> None:
        """Show another row."""
        self._row = row_id
        self._fill()

    def changed(self, change: Change) -> None:
        """Show the newest sample."""
        if change.metrics:
            self._fill()

    def _fill(self) -> None:
        world = self.tm.world
        thing = world.proc(self._row or "") or world.jobs.get(self._row or "")
        if thing is None or not self.query(Chart):
            return
        now = self.tm.now()
        seconds = thing.history.window(600)
        self.query_one("#cpu-chart", Chart).show(thing.history.cpu(seconds, now))
        self.query_one("#memory-chart", Chart).show(thing.history.rss(seconds, now))
