"""The Metrics view: CPU and memory of every job's whole tree, over time.

It decides what is charted and in which order; the core samples only while somebody looks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from taskmaster_tui.model.pulses import Pulses
from taskmaster_tui.screens.acting import Acting
from taskmaster_tui.screens.listing import Listing
from taskmaster_tui.screens.view import NOTHING, Selection
from taskmaster_tui.widgets.plot import Chart
from taskmaster_tui.widgets.pulse import Pulse, PulseGrid

_RESORT = 2.0
"""Seconds between two changes of order: what moves under the eyes cannot be read (btop's "cpu lazy")."""

_HISTORY = 600
"""Seconds in the two large charts."""


class _Source:
    """Give pulses to the grid."""

    def __init__(self, pulses: Pulses) -> None:
        self._pulses = pulses

    def ids(self) -> Sequence[str]:
        return self._pulses.ids()

    def pulse(self, row_id: str) -> Pulse:
        return Pulse(*self._pulses.pulse(row_id))


class MetricsView(Acting, Listing):
    """Show charts."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["metrics"]))

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self._pulses: Pulses
        self._sorted_at = 0.0

    def compose(self) -> ComposeResult:
        """Lay out the grid and two large charts of what is under the cursor."""
        self._pulses = Pulses(self.tm.world, self.tm.glyphs)
        self._pulses.kind = self.tm.place.metrics if self.tm.place.metrics in ("cpu", "memory") else "cpu"
        with Container(id="metrics-pane", classes="pane"):
            yield PulseGrid(_Source(self._pulses), id="metrics-grid")
        with Container(id="metrics-detail", classes="pane"):
            yield Chart("CPU, % of one core", fmt.percent, id="metrics-cpu")
            yield Chart("Memory", fmt.size, floor=2**20, id="metrics-memory")

    def on_mount(self) -> None:
        """Look."""
        self._rebuild()
        self.tm.link.watch_metrics(on=True)

    @property
    def rowtree(self) -> PulseGrid:
        """Return the grid."""
        return self.query_one("#metrics-grid", PulseGrid)

    def shown(self) -> None:
        """Look again."""
        if self.is_mounted and self.query("#metrics-grid"):
            self.tm.link.watch_metrics(on=True)
            self._rebuild()
            self.rowtree.focus()

    def changed(self, change: Change) -> None:
        """Take the newest sample in."""
        if not self.query("#metrics-grid"):
            return
        self._pulses.now = self.tm.now()
        if change.world or (change.metrics and time.monotonic() - self._sorted_at > _RESORT):
            self._rebuild(live=True)
        elif change.metrics:
            self.rowtree.dirty()
        if change.metrics:
            self._fill()

    def _rebuild(self, *, live: bool = False) -> None:
        self._sorted_at = time.monotonic()
        self._pulses.now = self.tm.now()
        self._pulses.rebuild()
        self.rowtree.rows_changed(live=live)
        order = "by share" if self._pulses.by_share else "config order"
        level = "processes" if self._pulses.by_process else "jobs"
        span = fmt.span(self._pulses.window)
        kind = "CPU" if self._pulses.kind == "cpu" else "memory"
        self.query_one("#metrics-pane").border_title = Content(f"Metrics · {kind} of {level}, {span} · {order}")
        self._fill()

    def _fill(self) -> None:
        row_id = self.rowtree.cursor_id
        thing = self._pulses.thing(row_id)
        self.query_one("#metrics-detail").border_title = Content(fmt.plain(row_id or ""))
        if thing is not None:
            now = self.tm.now()
            seconds = thing.history.window(_HISTORY)
            self.query_one("#metrics-cpu", Chart).show(thing.history.cpu(seconds, now))
            self.query_one("#metrics-memory", Chart).show(thing.history.rss(seconds, now))

    def selection(self) -> Selection:
        """Return what is under the cursor."""
        if not self.is_mounted or not self.query("#metrics-grid"):
            return NOTHING
        here = self.rowtree.cursor_id or ""
        job = self.tm.world.job(here)
        return Selection((here,), tuple(self.tm.world.keys_of(here)), job.name) if job is not None else NOTHING

    @on(PulseGrid.Moved)
    def _moved(self) -> None:
        self._fill()
        self.refresh_bindings()

    @on(PulseGrid.Chosen)
    async def _chosen(self) -> None:
        await self.do_metrics_goto()

    async def do_metrics_goto(self) -> None:
        """Go to it in the list."""
        here = self.rowtree.cursor_id
        if here is not None:
            view = await self.tm.main.go("jobs")
            view.goto(here)  # type: ignore[attr-defined]  # JobsView, which is loaded when it is first wanted

    def do_metrics_kind(self) -> None:
        """Chart CPU, or memory."""
        self._pulses.kind = "memory" if self._pulses.kind == "cpu" else "cpu"
        self.tm.remember(metrics=self._pulses.kind)
        self._rebuild()

    def do_metrics_sort(self) -> None:
        """Sort by share, or as in the config."""
        self._pulses.by_share = not self._pulses.by_share
        self._rebuild()

    def do_metrics_level(self) -> None:
        """Chart jobs, or processes."""
        self._pulses.by_process = not self._pulses.by_process
        self._rebuild()
