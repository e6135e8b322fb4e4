"""The one screen: header, tabs, the view that is shown, status line and key bar.

It decides which view is shown and passes on what changed. A view is made at its first visit, so that the first picture
costs only itself.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.link import Change
from taskmaster_tui.model import fmt
from taskmaster_tui.screens.view import View
from taskmaster_tui.widgets.banner import Banner
from taskmaster_tui.widgets.bars import Header, KeyBar, StatusLine, Tabs
from taskmaster_tui.widgets.trouble import Trouble

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

VIEWS = ("jobs", "logs", "events", "metrics", "config")


_TICK = 1.0
"""Seconds: ages are told to the second."""


class MainScreen(Screen[None]):
    """Hold the views."""

    BINDINGS: ClassVar[list[BindingType]] = []
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012  # Textual's
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (8, "-short"), (16, "-low"), (30, "-high")]  # noqa: RUF012  # the same

    def __init__(self) -> None:
        super().__init__()
        self._views: dict[str, View] = {}
        self._shown_name = "jobs"
        self._last = "jobs"
        self._ticked = 0.0
        self._seen = (0, 0)  # the last event before the picture was frozen, and of which journal
        self.zoomed = False

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    @property
    def view(self) -> View | None:
        """Return the view that is shown."""
        return self._views.get(self._shown_name)

    @property
    def view_name(self) -> str:
        """Return the name of the view that is shown."""
        return self._shown_name

    def compose(self) -> ComposeResult:
        """Lay out what every view shares."""
        yield Header(id="header")
        yield Tabs(id="tabs")
        yield Banner(id="banner")
        yield Trouble(id="trouble")
        yield Container(id="views")
        yield StatusLine(id="status")
        yield KeyBar(id="keys")

    async def on_mount(self) -> None:
        """Show the view that was shown last, and let ages grow."""
        await self.go(self.tm.place.view if self.tm.place.view in VIEWS else "jobs")
        self.connected_or_not()
        self.set_interval(_TICK, self._tick)

    # Views ------------------------------------------------------------------------------------------------------------

    async def go(self, name: str) -> View:
        """Show a view."""
        before = self._views.get(self._shown_name)
        if name != self._shown_name:
            self._last = self._shown_name
            if before is not None:
                before.hidden()
                before.display = False
        self._shown_name = name
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = _made(name)
            await self.query_one("#views").mount(view)
        view.display = True
        view.shown()
        self.tm.remember(view=name)
        self._refresh_bars()
        return view

    async def do_go_jobs(self) -> None:
        """Show the jobs."""
        await self.go("jobs")

    async def do_go_logs(self) -> None:
        """Show the merged logs."""
        await self.go("logs")

    async def do_go_events(self) -> None:
        """Show the events."""
        await self.go("events")

    async def do_go_metrics(self) -> None:
        """Show the metrics."""
        await self.go("metrics")

    async def do_go_config(self) -> None:
        """Show the config."""
        await self.go("config")

    async def do_go_last(self) -> None:
        """Show the view before."""
        await self.go(self._last)

    async def do_app_back(self) -> None:
        """Go one step back: in the view, then to the jobs."""
        view = self.view
        if view is not None and view.back():
            return
        if self.zoomed:
            self.do_app_zoom()
        elif self._shown_name != "jobs":
            await self.go("jobs")

    def do_app_zoom(self) -> None:
        """Give all the room to the pane that has the focus, or share it again."""
        self.zoomed = not self.zoomed
        self.set_class(self.zoomed, "-zoomed")
        if self.view is not None:
            self.view.share_room()

    def on_resize(self) -> None:
        """Give the view the focus again that a terminal too small for its panes has taken away."""
        self.call_after_refresh(self._focus_again)

    def _focus_again(self) -> None:
        lost = self.focused is None or self._is_elsewhere(self.focused)
        if lost and self.view is not None and self.query_one("#views").display:
            # at once: asked for and given later, it would be taken from a field that was opened meanwhile
            self.set_focus(next((each for each in self.focus_chain if self.view in each.ancestors), None))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Give the focus back to the view that is shown: what was begun in another one may ask for it late."""
        if self._is_elsewhere(event.widget):
            self.call_after_refresh(self._focus_again)

    def on_descendant_blur(self) -> None:
        """Give the view the focus where it went with what had it: without one the view's keys are dead."""
        if self.tm.app_focus:
            self.call_after_refresh(self._focus_again)

    def _is_elsewhere(self, widget: Widget) -> bool:
        """Tell whether a widget is of a view that is not shown."""
        return any(isinstance(each, View) and each is not self.view for each in widget.ancestors)

    def do_app_next_pane(self) -> None:
        """Put the focus on the next pane."""
        self.focus_next()

    def do_app_previous_pane(self) -> None:
        """Put the focus on the pane before."""
        self.focus_previous()

    def do_app_freeze(self) -> None:
        """Stop the picture, or let it live again."""
        app = self.tm
        app.frozen = app.now() if app.frozen is None else None
        recent = app.link.recent
        if app.frozen is not None:
            self._seen = recent[-1].seq if recent else 0, recent.journal
        else:  # all that was not passed on meanwhile
            missed = recent.after(*self._seen)
            keys = {proc.key for proc in app.world.procs()}
            self.changed(Change(world=True, health=True, logs=keys, events=list(recent) if missed is None else missed))
        self._refresh_bars()

    # What changed -----------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """Tell the bars and the view."""
        if not self.is_mounted:
            return
        for event in change.events:
            self.query_one(StatusLine).heard(event)
        if change.another:
            self._replaced(change)
        if change.health:
            self.connected_or_not()
        if change.world:
            self.query_one(Banner).renew()
        if change.world or change.health or change.keys or change.metrics:
            self.query_one(Header).request()
            self.query_one(Tabs).request()
        view = self.view
        if view is not None:
            view.changed(change)
        if change.metrics:
            self._grow_old()

    def connected_or_not(self) -> None:
        """Say how the connection is, and paint what is not heard any more as what it was."""
        past = not self.tm.context.live
        if past is not self.has_class("-past"):
            self.set_class(past, "-past")
            self.refresh()
        self.query_one(Banner).renew()
        trouble = self.query_one(Trouble)
        trouble.show(self.tm.link.health)
        self.set_class(trouble.display and not self.tm.world.jobs, "-alone")
        self.refresh_bindings()

    def _replaced(self, change: Change) -> None:
        """Say that another core answers, and that the jobs did not feel it."""
        core = self.tm.world.core
        if core is None:
            return
        kept = f"{fmt.count(change.kept)} process{'es' * (change.kept != 1)} kept"
        text = f"core {clean(core.version)} (pid {core.pid}) took over: {kept}, {fmt.count(change.lost)} lost"
        self.tm.notify(text, severity="warning" if change.lost else "information", timeout=8, markup=False)
        self.say(text, "warn" if change.lost else "good")

    def say(self, text: str, role: str) -> None:
        """Show a sentence."""
        if self.is_mounted:
            self.query_one(StatusLine).say(text, role)

    def _tick(self) -> None:
        """Let ages grow, unless a sample of the core's has just done so: two pictures a second say no more than one."""
        if self.tm.frozen is not None or not self.is_current or monotonic() - self._ticked < _TICK * 0.8:
            return
        self._grow_old()

    def _grow_old(self) -> None:
        self._ticked = monotonic()
        self.query_one(Header).request()
        self.query_one(Trouble).tick()
        view = self.view
        if view is not None:
            view.tick()

    def _refresh_bars(self) -> None:
        self.query_one(Header).refresh()
        self.query_one(Tabs).refresh()
        self.refresh_bindings()


def _made(name: str) -> View:
    """Return a new view; each is loaded when it is first wanted (TUI.md §3.1)."""
    from importlib import import_module  # noqa: PLC0415

    module: Any = import_module(f"taskmaster_tui.screens.{name}")
    view: View = getattr(module, f"{name.capitalize()}View")(id=name)
    return view
