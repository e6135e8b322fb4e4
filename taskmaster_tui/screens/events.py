"""The Events view: the journal, with who did what and because of what.

It decides which events are shown and how far back the journal is read; Enter goes to the process and the place in its
output at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.wire import Event
from taskmaster_tui.actions import VIEWS
from taskmaster_tui.bindings import bindings
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt
from taskmaster_tui.model.event_rows import EVENT_COLUMNS, KEPT, READ, EventRows
from taskmaster_tui.screens.acting import Acting
from taskmaster_tui.screens.listing import Listing
from taskmaster_tui.screens.view import NOTHING, Selection
from taskmaster_tui.widgets.filter_line import FilterLine
from taskmaster_tui.widgets.row_tree import RowTree

_PAGE = 500
"""Events asked for at first, and again whenever the oldest is reached."""


class EventsView(Acting, Listing):
    """Show events."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["events"]))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self.rows = EventRows()
        self._following = True
        self._whole = True  # nobody goes back before the newest are here

    def compose(self) -> ComposeResult:
        """Hold a list."""
        with Container(id="events-pane", classes="pane"):
            yield RowTree(self.rows, EVENT_COLUMNS, id="events-tree", empty="nothing happened yet", marks=False)
            yield FilterLine(id="events-filter", prompt="/ ")

    def on_mount(self) -> None:
        """Begin with the newest."""
        self.run_worker(self._fetch_last(), group="events", exclusive=True)

    @property
    def rowtree(self) -> RowTree:
        """Return the list."""
        return self.query_one("#events-tree", RowTree)

    # Events -----------------------------------------------------------------------------------------------------------

    async def _fetch_last(self) -> None:
        found = await self._ask({"n": _PAGE})
        known = [event for event in self.tm.link.recent if not found or event.seq > found[-1].seq]
        self.rows.load([*found, *known])
        self._whole = False
        self._show()
        self.rowtree.bottom()

    async def _fetch_older(self) -> None:
        first = self.rows.first
        if first is None:
            return
        older = [event for event in await self._ask({"before": first, "n": _PAGE}) if event.seq < first]
        self._whole = not older
        self.rows.prepend(older)
        self._show()

    async def _ask(self, args: dict[str, object]) -> list[Event]:
        try:
            return msgspec.convert(await self.tm.link.call("events", args=args, timeout=10), list[Event])
        except TaskmasterError as error:
            self.tm.complain(error)
            return []

    def shown(self) -> None:
        """Take in what happened meanwhile."""
        if self.is_mounted and self.query("#events-tree"):
            recent, last = self.tm.link.recent, self.rows.last
            if recent and last is not None and recent[0].seq > last + 1:  # more happened than the link keeps
                self.run_worker(self._fetch_last(), group="events", exclusive=True)
            else:
                self._add(recent)
            self._show()
            self.rowtree.focus()

    def changed(self, change: Change) -> None:
        """Add what happened."""
        if change.events and self.query("#events-tree"):
            self._add(change.events)
            self._show(live=True)

    def _add(self, events: Iterable[Event]) -> None:
        if self.rows.add(events, KEPT if self._following else READ):
            self._whole = False

    def _show(self, *, live: bool = False) -> None:
        self.rows.now = self.tm.now()
        self.rowtree.rows_changed(live=live)
        if self._following:
            self.rowtree.bottom()
        self._title()

    def _title(self) -> None:
        pane = self.query_one("#events-pane")
        parts = ["Events", fmt.count(len(self.rows.ids())), "following" if self._following else "paused · f follows"]
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
        ids = self.rows.ids()
        self._following = bool(ids) and event.row_id == ids[-1]
        self._title()
        if ids and event.row_id == ids[0] and not self._whole:
            self.run_worker(self._fetch_older(), group="events", exclusive=True)
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
        self.query_one("#events-filter", FilterLine).ask(self.rows.filter)

    @on(FilterLine.Changed)
    def _filtered(self, event: FilterLine.Changed) -> None:
        self.rows.filter = event.text
        self.rows.rebuild()
        self._show()

    @on(FilterLine.Done)
    def _filter_done(self, event: FilterLine.Done) -> None:
        self.rowtree.focus()

    def do_events_follow(self) -> None:
        """Stay at the newest, or stay here."""
        self._following = not self._following
        self._show()

    def do_events_problems(self) -> None:
        """Show only what went wrong, or all."""
        self.rows.problems = not self.rows.problems
        self.rows.rebuild()
        self._show()

    def do_events_older(self) -> None:
        """Go to the same process's event before."""
        self._scrub(-1)

    def do_events_newer(self) -> None:
        """Go to the same process's next event."""
        self._scrub(1)

    def _scrub(self, step: int) -> None:
        found = self.rows.neighbour(self.rowtree.cursor_id, step)
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
