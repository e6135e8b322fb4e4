"""Say that there is no core, or none that answers, and what to do: the first thing a tired person must understand.

It decides the words for each phase of the connection. It takes no room while all is well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Container

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui import keys, outside
from taskmaster_tui.actions import BY_ID
from taskmaster_tui.link import Health, Phase
from taskmaster_tui.model import fmt
from taskmaster_tui.widgets.bar import Piece
from taskmaster_tui.widgets.card import Card

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

PATIENCE = 2.0
"""Seconds of connecting before the step is told: below that it is just a start."""


class Trouble(Container):
    """Hold the card; shown in every phase but the good ones."""

    def compose(self) -> ComposeResult:
        """Hold one card."""
        yield Card(id="trouble-card")

    def on_mount(self) -> None:
        """Begin unseen."""
        self._asked = self._known = False
        self._config = ""
        self.display = False

    def show(self, health: Health) -> None:
        """Show what the connection is like."""
        app = cast("TaskmasterApp", self.app)
        lines = told(health, keymap=app.keymap, as_of=app.world.as_of, jobs=len(app.world.jobs), now=app.now())
        if health.phase is Phase.NO_CORE and self._known:
            said = f"Its config would be {self._config}." if self._config else "There is no config file yet: add a job."
            lines.insert(1, [Piece(f"  {said}")])
        self.display = bool(lines)
        self.set_class(health.phase is Phase.NO_CORE, "calm")
        self.border_title = _TITLES.get(health.phase, "Connection")
        self.query_one(Card).set_lines(lines)
        if health.phase is Phase.NO_CORE and not self._asked:
            self._asked = True
            self.run_worker(self._find_config(), group="config-path", exclusive=True)

    async def _find_config(self) -> None:
        """Ask our own command which config a core would be started with, and say it."""
        app = cast("TaskmasterApp", self.app)
        command = outside.cli(app.options.instance, app.options.socket, "config", "path")
        status, out, _ = await outside.quietly(command)
        path = out.strip().splitlines()[0] if out.strip() else ""
        self._config = clean(path) if status == 0 else ""
        self._known = True
        self.show(app.link.health)


_TITLES = {Phase.NO_CORE: "No core", Phase.DENIED: "Permission denied", Phase.CORE_GONE: "The core is gone"}


def told(health: Health, *, keymap: dict[str, str], as_of: float, jobs: int, now: float) -> list[list[Piece]]:
    """Return the lines for a phase, none where nothing is wrong."""
    since = time.monotonic() - health.since
    if health.phase in (Phase.LIVE, Phase.STALE) or (health.phase is Phase.CONNECTING and since < PATIENCE):
        return []
    says, offers = _WORDS[health.phase]
    lines = [[Piece("  " + clean(each))] for each in says(health, since)]
    if jobs and as_of:
        lines.append([Piece(f"  What you see below is the last known state, as of {fmt.when(as_of, now)}.", "dim")])
    lines.append([Piece("")])
    lines += [_offer(action_id, keymap) for action_id in offers]
    return lines


def _offer(action_id: str, keymap: dict[str, str]) -> list[Piece]:
    action = BY_ID[action_id]
    key = keys.shown(keys.keys_of(action_id, keymap)[0])
    return [Piece(f"    {key:<3}", "accent", action_id, bold=True), Piece(f" {action.help}", "", action_id)]


def _connecting(health: Health, since: float) -> Sequence[str]:
    return (f"Connecting for {fmt.age(since)}: {health.step or 'looking for a core'}.", *_where(health))


def _reconnecting(health: Health, since: float) -> Sequence[str]:
    return (
        f"The core does not answer (for {fmt.age(since)}). Your jobs do not depend on this connection.",
        f"{health.detail or 'Trying again, for ever.'}",
    )


def _core_gone(health: Health, since: float) -> Sequence[str]:
    return (
        f"The core is not answering (for {fmt.age(since)}).",
        f"Your jobs are still running: the shim (pid {health.shim_pid}) is alive and keeps their output.",
        "It brings the core back; actions wait until then, filter, search and logs still work.",
    )


def _no_core(health: Health, since: float) -> Sequence[str]:
    return ("No core is running here, so no jobs are looked after.", *_where(health))


def _denied(health: Health, since: float) -> Sequence[str]:
    return ("A core is there, but you may not speak to it.", health.detail)


def _where(health: Health) -> Sequence[str]:
    return [f"Looked at {', '.join(health.where)}."] if health.where else []


_WORDS = {
    Phase.CONNECTING: (_connecting, ("core.retry", "app.connect", "app.quit")),
    Phase.RECONNECTING: (_reconnecting, ("core.retry", "app.connect", "app.quit")),
    Phase.CORE_GONE: (_core_gone, ("core.retry", "app.connect", "app.quit")),
    Phase.NO_CORE: (_no_core, ("core.start", "jobs.add", "jobs.demo", "app.connect", "app.quit")),
    Phase.DENIED: (_denied, ("core.retry", "app.connect", "app.quit")),
}
