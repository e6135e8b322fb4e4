"""What can be done with output, in the detail pane and full screen: the `log` scope of the action table.

It decides what is watched and which remarks stand between the lines; searching, paging and painting is the log view's.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import msgspec
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.widget import Widget

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.wire import Event
from taskmaster_tui import outside
from taskmaster_tui.line_source import Row
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt, story
from taskmaster_tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_MARKED = 500
"""Events of which remarks are made at first; what is scrolled to beyond that has its lines without remarks."""

_REMARKS = ["started", "exited", "failed", "stopped", "backoff", "fatal", "signalled", "adopted", "killed"]


class LogMoves(Widget):
    """Carry out what moves in a log view, or looks at it in another way."""

    @property
    def log_view(self) -> LogView:
        """Return the log view."""
        return self.query_one(LogView)

    @property
    def searched(self) -> bool:
        """Tell whether something is searched for."""
        try:
            return bool(self.log_view.search_state.text)
        except NoMatches:
            return False

    # Moving -----------------------------------------------------------------------------------------------------------

    def do_log_down(self) -> None:
        """Go one line down."""
        self.log_view.move(1)

    def do_log_up(self) -> None:
        """Go one line up."""
        self.log_view.move(-1)

    def do_log_page_down(self) -> None:
        """Go a page down."""
        self.log_view.page(1)

    def do_log_page_up(self) -> None:
        """Go a page up."""
        self.log_view.page(-1)

    def do_log_half_down(self) -> None:
        """Go half a page down."""
        self.log_view.page(0.5)

    def do_log_half_up(self) -> None:
        """Go half a page up."""
        self.log_view.page(-0.5)

    def do_log_first(self) -> None:
        """Go to the oldest line."""
        self.log_view.goto_start()

    def do_log_last(self) -> None:
        """Go to the newest line and follow."""
        self.log_view.goto_end()

    def do_log_left(self) -> None:
        """Scroll to the left."""
        self.log_view.pager.left()

    def do_log_right(self) -> None:
        """Scroll to the right."""
        self.log_view.pager.right()

    def do_log_recent(self) -> None:
        """Begin five minutes ago."""
        self.log_view.last_minutes(5)

    def do_log_next_error(self) -> None:
        """Go to the next line that matters."""
        self.log_view.next_trouble(1)

    def do_log_previous_error(self) -> None:
        """Go to the line before that matters."""
        self.log_view.next_trouble(-1)

    def do_log_mark(self) -> None:
        """Put a mark here."""
        self.log_view.mark()

    def do_log_jump_mark(self) -> None:
        """Go to the next mark."""
        self.log_view.jump_mark()

    # Looking ----------------------------------------------------------------------------------------------------------

    def do_log_follow(self) -> None:
        """Follow or pause."""
        self.log_view.follow()

    def do_log_search(self) -> None:
        """Ask what to search for."""
        self.log_view.open_search()

    def do_log_next(self) -> None:
        """Go to the next hit."""
        self.log_view.next_hit()

    def do_log_previous(self) -> None:
        """Go to the hit before."""
        self.log_view.previous_hit()

    def do_log_keep(self) -> None:
        """Keep only what matches."""
        self.log_view.open_keep()

    def do_log_wrap(self) -> None:
        """Wrap or cut."""
        self.log_view.toggle_wrap()

    def do_log_time(self) -> None:
        """Show another kind of time."""
        self.log_view.cycle_time()

    def do_log_streams(self) -> None:
        """Show other streams."""
        self.log_view.cycle_streams()

    def do_log_select(self) -> None:
        """Select lines."""
        self.log_view.visual()


class LogActions(LogMoves):
    """Hold a log view and carry out actions on it."""

    DEFAULT_CSS = "LogActions { height: 1fr; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self._selectors: tuple[str, ...] | None = None
        self._logs: object = None
        self._watched: set[str] = set()

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    @property
    def selectors(self) -> tuple[str, ...]:
        """Whose output is shown; empty: of all."""
        return self._selectors or ()

    def compose(self) -> ComposeResult:
        """Hold one log view."""
        yield LogView(lambda: self.tm.link.logs, now=self.tm.now, times=self.tm.preferences.time)

    def on_mount(self) -> None:
        """Begin as the person likes it."""
        if self.tm.preferences.wrap:
            self.log_view.toggle_wrap()

    # What is shown ----------------------------------------------------------------------------------------------------

    def follow_output(self, selectors: Sequence[str] | None, *, at: float | None = None, key: str = "") -> None:
        """Show the output of processes, or of all (`()`), or none (None); from a time on, or the newest."""
        chosen = None if selectors is None else tuple(selectors)
        if chosen == self._selectors and at is None:
            return
        self._selectors = chosen
        if chosen is None:
            self.tm.link.watch_logs(set())
            return
        keys = self._keys()
        self._watched = set(keys)
        self.tm.link.watch_logs(self._watched if chosen else {""})
        self._logs = self.tm.link.logs
        self.log_view.show(chosen, labels=not chosen or len(keys) > 1, empty=self._empty(keys))
        self.run_worker(self._fetch_marks(chosen), group="marks", exclusive=True)
        if at is not None:
            self.log_view.jump_to(at, key)

    def _empty(self, keys: Sequence[str]) -> str:
        """Return the words for output that there is none of, and why."""
        procs = [proc for key in keys if (proc := self.tm.world.proc(key)) is not None]
        if len(procs) != 1:
            return "no output yet"
        where = procs[0].job.spec.get("stdout", "log")
        if where in ("null", "inherit"):
            return {"null": "its output is thrown away (stdout is null)",
                    "inherit": "its output goes where the core's goes (stdout is inherit)"}[where]  # fmt: skip
        view = procs[0].view
        if view.started_at is None:
            return "no output yet: it never ran"
        if view.pid is not None and where == "log":
            return f"no output yet (running {fmt.age(self.tm.moment() - view.started_at)})"
        return "no output yet" if where == "log" else f"no output yet; it goes to {where}"

    async def _fetch_marks(self, selectors: tuple[str, ...]) -> None:
        try:
            found = await self.tm.link.call("events", selectors, {"n": _MARKED, "types": _REMARKS}, timeout=10)
        except TaskmasterError:
            return  # the lines are shown without remarks
        if selectors == self._selectors:
            self._remark(msgspec.convert(found, list[Event]))

    def _remark(self, events: Sequence[Event]) -> None:
        marks = story.run_marks(events)
        rows = [Row(mark.text.encode(), mark.at, mark.key, kind="mark", role=mark.role) for mark in marks]
        if rows:
            self.log_view.add_marks(rows)

    def changed(self, change: Change) -> None:
        """Fetch what is new."""
        if self._selectors is None:
            return
        if change.health and self.tm.link.logs is not self._logs:
            self._logs = self.tm.link.logs  # the core is gone and its files are here, or it is back
            self.log_view.reread()
        if change.world and self._selectors:
            self._watch_new()
        if change.logs:
            self.log_view.grew(change.logs)
        if change.events:
            meant = [event for event in change.events if event.type in _REMARKS and self._means(event.key)]
            self._remark(meant)

    def _keys(self) -> list[str]:
        return [each for selector in self.selectors for each in self.tm.world.keys_of(selector)]

    def _watch_new(self) -> None:
        """Follow the processes that have come since, too; say whose each line is once there are several."""
        keys = set(self._keys())
        if keys == self._watched:
            return
        new, self._watched = keys - self._watched, keys
        self.tm.link.watch_logs(keys)
        if len(keys) > 1 and not self.log_view.pager.labels:
            self.log_view.pager.labels = True
            self.log_view.pager.refresh()
        if new:
            self.log_view.grew(new)

    def tick(self) -> None:
        """Let ages grow; and look for new output where no core is there to tell of it."""
        if self._selectors is None:
            return
        keys = self._keys()
        self.log_view.set_empty(self._empty(keys))
        if not self.tm.context.live:
            self.log_view.grew(set(keys) or {""})

    def _means(self, key: str) -> bool:
        return not self._selectors or key in self._selectors or key.rpartition(":")[0] in self._selectors

    def do_log_runs(self) -> None:
        """Choose one of the runs and go to its beginning or end."""
        from taskmaster_tui.screens.runs import RunPicker  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(RunPicker(self.tm, self.selectors), self._went_to_run)

    def _went_to_run(self, place: tuple[float, str] | None) -> None:
        if place is not None:
            self.log_view.jump_to(*place)

    # Taking away ------------------------------------------------------------------------------------------------------

    def do_log_copy(self) -> None:
        """Copy the line or what is selected."""
        self.tm.copy(self.log_view.copy())

    def do_log_copy_command(self) -> None:
        """Copy the command that shows this."""
        self.tm.copy(self.command())

    def command(self) -> str:
        """Return the command line that shows the same."""
        words = ["taskmaster", *self.tm.options.where, "logs", *self.selectors]
        if self.log_view.following:
            words.append("-f")
        return shlex.join(words)

    def do_log_open(self) -> None:
        """Open in the pager, at this line."""
        self.tm.run_worker(self._open(), group="outside")

    async def _open(self) -> None:
        place = self.log_view.row_here()
        words = ["logs", *(self._selectors or ()), "-t", "-n", "20000"]
        if place is not None and place.at:
            words += ["--since", f"@{place.at - 600:.3f}"]
        pager = os.environ.get("PAGER") or "less"
        command = shlex.join(outside.cli(self.tm.options.instance, self.tm.options.socket, *words))
        try:
            await outside.in_terminal(self.app, ["sh", "-c", f"{command} --color always | LESS=-R {pager}"])
        except OSError as error:
            self.tm.say(str(error), "error")

    def do_log_save(self) -> None:
        """Ask for a file and save the lines there."""
        from taskmaster_tui.screens.prompt import Prompt  # noqa: PLC0415  # a dialog is loaded when it is wanted

        name = (self._selectors[0] if self._selectors else "all").replace("/", "_").replace(":", "-")
        proposal = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.log"
        self.app.push_screen(Prompt("Save the lines that are shown to", proposal), self._save)

    def _save(self, path: str | None) -> None:
        if not path:
            return
        try:
            count = self.log_view.save_shown(os.path.expanduser(path))
        except OSError as error:
            self.tm.say(f"{path}: {error.strerror}", "error")
            return
        self.tm.say(f"{count} lines saved to {path}", "good")

    async def do_log_goto(self) -> None:
        """Leave the filter at this line; else go to the process that wrote it."""
        filtered = self.log_view.filter is not None
        row = self.log_view.choose()
        if row is None or filtered:
            return
        if self.tm.world.proc(row.key) is None:
            self.tm.say("there is no such process any more", "warn")
            return
        view = await self.tm.main.go("jobs")
        view.goto(row.key)  # type: ignore[attr-defined]  # JobsView
