"""Everything about the row under the cursor: why it is down, its output, facts, events, charts, environment, config.

It decides which tab is shown and when the core is asked; a tab that is not shown asks nothing. Fast cursor moves ask
once, when the cursor rests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.timer import Timer
from textual.widget import AwaitMount, Widget

from taskmaster_core.errors import TaskmasterError
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt, story
from taskmaster_tui.screens.panes import ChartPane, EventPane, LogPane, TextPane, config_lines, env_lines, info_lines
from taskmaster_tui.widgets.bar import Piece
from taskmaster_tui.widgets.bars import LiveBar
from taskmaster_tui.widgets.card import Card

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

TABS = ("logs", "info", "events", "metrics", "env", "config")

_LOW = 30
"""Lines of a terminal below which the card has no room for all that it says."""

_REST = 0.08
"""Seconds a cursor must rest before the core is asked about its row."""


class Tab(Protocol):
    """Show one aspect of a row."""

    def about(self, row_id: str | None) -> None:
        """Show another row; None shows nothing."""

    def changed(self, change: Change) -> None:
        """Take in what changed while it is shown."""


class TabBar(LiveBar):
    """Name the tabs."""

    chosen = "logs"

    def pieces(self, width: int) -> list[Piece]:
        """Return the names, the chosen one set off."""
        found = [Piece(" ")]
        for name in TABS:
            here = name == self.chosen
            word = f"[{name.capitalize()}]" if here else f" {name.capitalize()} "
            found.append(Piece(word, "title" if here else "dim", f"tab.{name}", bold=here))
        return found

    async def on_click(self, event: events.Click) -> None:
        """Show the tab that was clicked."""
        piece = self.piece_at(event.x)
        if piece is not None and piece.do:
            event.stop()
            cast("Detail", self.parent).open(piece.do.partition(".")[2])


class Detail(Container):
    """Hold the tabs."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id, classes=classes)
        self.row_id: str | None = None
        self._tab = "logs"
        self._tabs: dict[str, Widget] = {}
        self._rest: Timer | None = None
        self._here = True
        self._why: dict[str, Any] | None = None

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    def compose(self) -> ComposeResult:
        """Lay out tabs, the why card and the room for one tab."""
        yield TabBar(id="detail-tabs")
        yield Card(id="why-card")
        yield Container(id="detail-room")

    def on_mount(self) -> None:
        """Show the tab that was shown last."""
        self.query_one("#why-card").display = False
        self._title()
        self.open(self.tm.place.tab if self.tm.place.tab in TABS else "logs")

    # Tabs -------------------------------------------------------------------------------------------------------------

    async def output(self) -> LogPane:
        """Bring the output to the front and return its pane, with a log in it."""
        mounted = self.open("logs")
        if mounted is not None:
            await mounted
        return cast("LogPane", self._tabs["logs"])

    def open(self, name: str) -> AwaitMount | None:
        """Show a tab; it is made at its first visit, which may be waited for."""
        for other in self._tabs.values():
            other.display = False
        self._tab = name
        bar = self.query_one(TabBar)
        bar.chosen = name
        bar.refresh()
        tab = self._tabs.get(name)
        mounted = None
        if tab is None:
            tab = self._tabs[name] = _made(name)
            mounted = self.query_one("#detail-room").mount(tab)
        tab.display = True
        self.tm.remember(tab=name)
        if self._here:
            cast("Tab", tab).about(self.row_id)
        return mounted

    def turn(self, step: int) -> None:
        """Show the next tab, or the one before."""
        self.open(TABS[(TABS.index(self._tab) + step) % len(TABS)])

    def log_at(self, at: float, key: str) -> None:
        """Show the output of a process at a time (Unix seconds)."""
        self.open("logs")
        cast("LogPane", self._tabs["logs"]).at_moment(at, key)

    @property
    def searched(self) -> bool:
        """Tell whether something is searched for in the output."""
        tab = self._tabs.get(self._tab)
        return isinstance(tab, LogPane) and tab.searched

    def back(self) -> bool:
        """Clear the search, filter or selection in the output if it has the focus; False if there was none."""
        tab = self._tabs.get(self._tab)
        return isinstance(tab, LogPane) and tab.has_focus_within and tab.log_view.escape()

    # Row --------------------------------------------------------------------------------------------------------------

    def about(self, row_id: str | None) -> None:
        """Show another row once the cursor rests on it."""
        if row_id == self.row_id:
            return
        self.row_id = row_id
        self._why = None
        self._title()
        self._card()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_REST, self._rested)

    def _rested(self) -> None:
        tab = self._tabs.get(self._tab)
        if tab is not None and self._here:
            cast("Tab", tab).about(self.row_id)
        self._ask_why()

    def come(self) -> None:
        """Be seen again."""
        self._here = True
        self._rested()

    def leave(self) -> None:
        """Ask for nothing while nobody looks."""
        self._here = False
        tab = self._tabs.get(self._tab)
        if tab is not None:
            cast("Tab", tab).about(None)

    def changed(self, change: Change) -> None:
        """Take in what changed."""
        concerned = self.row_id is not None and not change.keys.isdisjoint(self.tm.world.keys_of(self.row_id))
        if change.world or concerned:
            self._title()
            self._card()
            if concerned:
                self._ask_why()
        tab = self._tabs.get(self._tab)
        if tab is not None:
            cast("Tab", tab).changed(change)

    def tick(self) -> None:
        """Let ages grow."""
        if self.query_one("#why-card").display:
            self._card()
        if self._tab == "logs" and (tab := self._tabs.get("logs")) is not None:
            cast("LogPane", tab).tick()

    def _title(self) -> None:
        self.border_title = Content(fmt.plain(self.row_id or "") or "nothing selected")
        self.border_subtitle = Content("[ ] tabs   tab here")

    # The why card -----------------------------------------------------------------------------------------------------

    def _troubled(self) -> str | None:
        """Return the key of the process that the card is about: the row's own, or its worst if that is in trouble."""
        world = self.tm.world
        procs = [proc for key in world.keys_of(self.row_id or "") if (proc := world.proc(key)) is not None]
        bad = [proc for proc in procs if proc.kind == "failed"]
        if bad:
            return bad[0].view.key
        held = [proc for proc in procs if proc.held]
        return held[0].view.key if held else None

    def _ask_why(self) -> None:
        key = self._troubled()
        if key is not None and self.tm.context.live:
            self.run_worker(self._fetch_why(key), group="why", exclusive=True)

    async def _fetch_why(self, key: str) -> None:
        try:
            found = await self.tm.link.call("why", [key], timeout=5)
        except TaskmasterError:
            return  # the card says what the view knows; the next change asks again
        if key == self._troubled():
            self._why = next(iter(found.get("processes", ())), None)
            self._card()

    def _card(self) -> None:
        card, key = self.query_one("#why-card", Card), self._troubled()
        proc = self.tm.world.proc(key) if key is not None else None
        card.display = proc is not None
        if proc is None:
            return
        reply = self._why if self._why is not None and self._why.get("key") == key else None
        told = story.why_card(proc, proc.job, self.tm.now(), reply)
        title = [Piece(told.title, "failed" if proc.kind == "failed" else "held", bold=True)]
        lines = [[Piece(line)] for line in told.lines]
        offers = _offers(told.hints, self.tm.key_of)
        low = self.app.size.height < _LOW  # the end of the card may be cut: what to do next comes first
        card.set_lines([title, offers, *lines] if low else [title, *lines, offers])


def _offers(hints: Any, key_of: Any) -> list[Piece]:
    pieces = []
    for hint in hints:
        pieces.append(Piece(f"  {key_of(hint.action)}", "accent", hint.action, bold=True))
        pieces.append(Piece(f" {hint.text}  ", "", hint.action))
    return pieces


def _made(name: str) -> Widget:
    made: dict[str, Any] = {
        "logs": LogPane, "events": EventPane, "metrics": ChartPane,
        "info": lambda: TextPane("show", info_lines), "env": lambda: TextPane("show", env_lines),
        "config": lambda: TextPane("config", config_lines),
    }  # fmt: skip
    widget: Widget = made[name]()
    return widget
