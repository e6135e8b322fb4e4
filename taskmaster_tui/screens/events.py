"""The Events view: the journal, with who did what and because of what.

It decides which events are shown and when the journal is read further; Enter goes to the process and the place in its
output at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from taskmaster_core.wire import Event
from taskmaster_tui.actions import VIEWS
from taskmaster_tui.bindings import bindings
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt
from taskmaster_tui.model.event_rows import EVENT_COLUMNS, READ, EventRows
from taskmaster_tui.screens.acting import Acting
from taskmaster_tui.screens.listing import Listing
from taskmaster_tui.screens.stretch import PAGE, Stretch
from taskmaster_tui.screens.view import NOTHING, Selection
from taskmaster_tui.widgets.filter_line import FilterLine
from taskmaster_tui.widgets.row_tree import RowTree


class EventsView(Acting, Listing):
    """Show events."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["events"]))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self.rows = EventRows()

    def compose(self) -> ComposeResult:
        """Hold a list."""
        with Container(id="events-pane", classes="pane"):
            yield RowTree(self.rows, EVENT_COLUMNS, id="events-tree", empty="nothing happened yet", marks=False)
            yield FilterLine(id="events-filter", prompt="/ ", told=self._filtered)

    def on_mount(self) -> None:
        """Begin with the newest."""
        self._load()

    @property
    def rowtree(self) -> RowTree:
        """Return the list."""
        return self.query_one("#events-tree", RowTree)

    # Events -----------------------------------------------------------------------------------------------------------

    @cached_property
    def stretch(self) -> Stretch:
        """Return what of the journal is in memory."""
        return Stretch(self.rows, self.tm, self._show)

    def _read(self, reading: Coroutine[Any, Any, None]) -> None:
        self.run_worker(reading, group="events", exclusive=True)

    def _load(self) -> None:
        if not self.stretch.loading:
            self.stretch.loading = True
            self._read(self.stretch.load())

    def _look_back(self) -> None:
        """Read older events until another one is shown."""
        top = self.rows.ids()[:1]

        def found() -> bool:
            now = self.rows.ids()[:1]
            return bool(now) and (not top or int(now[0]) < int(top[0]))

        if not (self.stretch.whole or self.stretch.loading):
            self._read(self.stretch.back(found))

    def _look_ahead(self) -> None:
        """Read on where what is in memory ends."""
        if self.stretch.cut and not self.stretch.loading:
            self._read(self.stretch.ahead())

    def go(self, way: int, move: Callable[[], None]) -> None:
        """Move; where no row is further that way, read on in the journal."""
        ids = self.rows.ids()
        if ids and self.rowtree.cursor_id != ids[0 if way < 0 else -1]:
            move()
        elif way < 0:
            self._look_back()
        else:
            self._look_ahead()

    def do_list_last(self) -> None:
        """Go to the newest there is."""
        if self.stretch.cut:
            self._load()
        else:
            super().do_list_last()

    def _take(self) -> None:
        if not self.stretch.take():
            self._load()

    def shown(self) -> None:
        """Take in what happened meanwhile."""
        if self.is_mounted and self.query("#events-tree"):
            self._take()
            self._show()
            self.rowtree.focus()

    def changed(self, change: Change) -> None:
        """Add what happened."""
        if (change.events or change.world) and self.query("#events-tree"):
            last = self.rows.last
            self._take()
            if self.rows.last != last:
                self._show(live=True)

    def _show(self, *, live: bool = False) -> None:
        self.rows.now = self.tm.now()
        self.rowtree.empty = self._nothing()
        self.rowtree.rows_changed(live=live)
        if self.stretch.following:
            self.rowtree.bottom()
        self._title()

    def _nothing(self) -> str:
        """Return what is said where no row is."""
        if self.rows.first is None:
            if self.stretch.loading:
                return "reading the journal"
            return "nothing happened yet" if self.stretch.whole else "the journal cannot be read now"
        since = fmt.lately(self.rows.since, self.rows.now)
        back = "" if self.stretch.whole else f"{self.tm.key_of('list.first')} looks further back, "
        none = f"none of {fmt.count(self.rows.total)} events since {since} matches"
        return f"{none}\n{back}{self.tm.key_of('app.back')} shows all"

    def _title(self) -> None:
        pane = self.query_one("#events-pane")
        how = "following" if self.stretch.following else "paused · f follows"
        parts = ["Events", fmt.count(len(self.rows.ids())), how]
        if self.rows.filter:
            parts.append(f"/{self.rows.filter}")
        if self.rows.problems:
            parts.append("problems only")
        pane.border_title = Content(" · ".join(parts))

    # Selection --------------------------------------------------------------------------------------------------------

    def _event(self) -> Event | None:
        return self.rows.event(self.rowtree.cursor_id) if self.is_mounted and self.query("#events-tree") else None

    def selection(self) -> Selection:
        """Return the process or job of the event under the cursor, if it still exists."""
        event = self._event()
        if event is None:
            return NOTHING
        job = self.tm.world.job(event.key)
        keys = self.tm.world.keys_of(event.key)
        return Selection((event.key,), tuple(keys), job.name) if job is not None else NOTHING

    def copied(self) -> str:
        """Return the event as text."""
        cursor = self.rowtree.cursor_id
        return "  ".join(text for text, _ in self.rows.cells(cursor, EVENT_COLUMNS)) if cursor is not None else ""

    @on(RowTree.Moved)
    def _moved(self, event: RowTree.Moved) -> None:
        if event.row_id != self.rowtree.cursor_id:
            return  # it has gone on since
        ids = self.rows.ids()
        last = bool(ids) and event.row_id == ids[-1]
        self.stretch.following = last and not self.stretch.cut
        self._title()
        if last:
            self._look_ahead()
        elif ids and event.row_id == ids[0]:
            self._look_back()
        self.refresh_bindings()

    @on(RowTree.Chosen)
    async def _chosen(self, event: RowTree.Chosen) -> None:
        await self.do_events_goto()

    # Actions ----------------------------------------------------------------------------------------------------------

    async def do_events_goto(self) -> None:
        """Go to the process, with its output at that moment."""
        event = self._event()
        if event is None or self.tm.world.job(event.key) is None:
            self.tm.say(
                "it is about no process that there is: i shows all it says, o all output of that moment", "warn"
            )
            return
        view = await self.tm.main.go("jobs")
        view.goto(event.key)  # type: ignore[attr-defined]  # JobsView, which is loaded when it is first wanted
        view.detail.log_at(event.at, event.key)  # type: ignore[attr-defined]  # the same

    async def do_events_log(self) -> None:
        """Show the output at that moment full screen."""
        event = self._event()
        if event is None:
            return
        view = await self.tm.main.go("logs")
        known = self.tm.world.job(event.key) is not None
        view.show((event.key,) if known else (), at=event.at)  # type: ignore[attr-defined]  # LogsView, loaded late

    def do_events_filter(self) -> None:
        """Type a filter."""
        self.query_one("#events-filter", FilterLine).ask(self.rows.filter, self.rowtree)

    def _filtered(self, text: str) -> None:
        self.rows.filter = text
        self.rows.rebuild()
        self._show()

    def do_events_follow(self) -> None:
        """Stay at the newest, or stay here."""
        self.stretch.following = not self.stretch.following
        if self.stretch.following and self.stretch.cut:
            self._load()
        self._show()

    def do_events_problems(self) -> None:
        """Show only what went wrong, or all."""
        self.rows.problems = not self.rows.problems
        self.rows.rebuild()
        self._show()

    def do_events_older(self) -> None:
        """Go to the same process's event before."""
        here = self.rowtree.cursor_id
        found = self.rows.neighbour(here, -1)
        if found is None and here is not None and not (self.stretch.whole or self.stretch.loading):
            self._read(self._look_for_older(here))
        else:
            self._step_to(found)

    async def _look_for_older(self, here: str) -> None:
        def found() -> bool:  # or no room to look further without losing the row it is asked for
            return self.rows.neighbour(here, -1) is not None or self.rows.total > READ - PAGE

        await self.stretch.back(found)
        if self.rowtree.cursor_id == here:
            self._step_to(self.rows.neighbour(here, -1))

    def do_events_newer(self) -> None:
        """Go to the same process's next event."""
        self._step_to(self.rows.neighbour(self.rowtree.cursor_id, 1))

    def _step_to(self, found: str | None) -> None:
        if found is not None:
            self.rowtree.move_to(found)
        else:
            self.tm.say("no other event of it here", "dim")

    def do_events_details(self) -> None:
        """Show everything the event says."""
        from taskmaster_tui.screens.text import TextDialog  # noqa: PLC0415  # a dialog is loaded when it is wanted

        event = self._event()
        if event is not None:
            text = msgspec.json.format(msgspec.json.encode(event), indent=2).decode()
            self.tm.push_screen(TextDialog(f"Event {event.seq}", text))

    def back(self) -> bool:
        """Clear the filter."""
        if not self.rows.filter and not self.rows.problems:
            return False
        self.rows.filter, self.rows.problems = "", False
        self.rows.rebuild()
        self._show()
        return True
