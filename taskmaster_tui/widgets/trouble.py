"""Say that there is no core, or none that answers, and what to do: the first thing a tired person must understand.

It decides what to find out for that (what still runs, which config a core would have, whether that is valid); the words
are `trouble_words`. It takes no room while all is well.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content

from taskmaster_tui import keys, orphans, outside
from taskmaster_tui.actions import BY_ID, available
from taskmaster_tui.link import Health, Phase
from taskmaster_tui.widgets import trouble_words as words
from taskmaster_tui.widgets.bar import Piece
from taskmaster_tui.widgets.card import Card

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_OFFERS = ("core.start", "jobs.edit_file", "jobs.add", "jobs.demo", "core.retry", "app.connect", "app.quit")
"""What is offered of all that can be done then, in this order."""

_LAST_LINES = 3


class Trouble(Container):
    """Hold the card; shown in every phase but the good ones."""

    def compose(self) -> ComposeResult:
        """Hold one card."""
        yield Card(id="trouble-card")

    def on_mount(self) -> None:
        """Begin unseen."""
        self._config: str | None = None
        self._problems: list[dict[str, Any]] = []
        self._text: list[str] = []
        self._seen: object = None
        self.display = False

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    @property
    def broken(self) -> bool:
        """Tell whether there is no core, and the config forbids to start one."""
        return bool(self._problems) and self.tm.link.health.phase is Phase.NO_CORE

    def show(self, health: Health) -> None:
        """Show what the connection is like."""
        known = self._known(health)
        lines = words.told(health, known)
        self.display = bool(lines)
        if not lines:
            self._seen = None
            return
        self.set_class(health.phase is Phase.NO_CORE and not words.lost(known) and not self._problems, "calm")
        self.border_title = Content(words.title(health, known))
        offers = [BY_ID[each] for each in _OFFERS if self._offered(each, health.phase)]
        self.query_one(Card).set_lines([*lines, [Piece("")], *(self._offer(each.id) for each in offers)])
        if health.phase is Phase.NO_CORE:
            self._look_at_config()

    def tick(self) -> None:
        """Let ages grow, and see whether a config was mended."""
        health = self.tm.link.health
        if health.phase not in (Phase.LIVE, Phase.STALE) or self.display:
            self.show(health)

    def reread(self) -> None:
        """Judge the config again at the next look."""
        self._seen = None
        self.show(self.tm.link.health)

    def _known(self, health: Health) -> words.Known:
        world, core = self.tm.world, self.tm.world.core
        gone = health.phase is Phase.NO_CORE
        ran = [proc.view for proc in world.procs() if proc.view.pid is not None] if gone else []
        said = orphans.last_words(core.statedir, _LAST_LINES) if core is not None and self._ended(health, ran) else []
        return words.Known(
            since=max(time.monotonic() - health.since, 0), now=self.tm.now(), as_of=world.as_of, jobs=len(world.jobs),
            shim=core.shim_pid if core is not None else 0, ran=len(ran), orphans=orphans.alive(ran), words=said,
            config=self._config, problems=self._problems if gone else (), text=self._text,
        )  # fmt: skip

    @staticmethod
    def _ended(health: Health, ran: object) -> bool:
        return health.phase is Phase.CORE_GONE or (health.phase is Phase.NO_CORE and bool(ran))

    def _offered(self, action_id: str, phase: Phase) -> bool:
        if phase is not Phase.NO_CORE and action_id in ("jobs.add", "jobs.edit_file"):
            return False
        if action_id == "jobs.edit_file" and not self._config:
            return False
        return available(BY_ID[action_id], self.tm.context) is True

    def _offer(self, action_id: str) -> list[Piece]:
        action = BY_ID[action_id]
        key = keys.shown(keys.keys_of(action_id, self.tm.keymap)[0])
        gone = action_id == "app.quit" and self.tm.link.health.phase is Phase.NO_CORE
        said = "leave" if gone else action.help  # its help says that the jobs keep running
        return [Piece(f"    {key:<3}", "accent", action_id, bold=True), Piece(f" {said}", "", action_id)]

    # The config a core would have -------------------------------------------------------------------------------------

    def _look_at_config(self) -> None:
        """Ask again when the file is another one than was judged."""
        stamp = _stamp(self._config)
        if stamp != self._seen:
            self._seen = stamp
            self.run_worker(self._judge(), group="config-check", exclusive=True)

    async def _judge(self) -> None:
        """Ask our own command which config a core would be started with, and what is wrong with it."""
        options = self.tm.options
        status, out, _ = await outside.quietly(outside.cli(options.instance, options.socket, "config", "path"))
        self._config = out.strip().splitlines()[0] if status == 0 and out.strip() else ""
        self._seen = _stamp(self._config)
        self._problems, self._text = [], []
        if self._config:
            await self._check(options.instance)
        self.show(self.tm.link.health)

    async def _check(self, instance: str) -> None:
        status, out, _ = await outside.quietly(outside.cli(instance, None, "check", "--format", "json"))
        if status != 6:
            return
        with suppress(ValueError, KeyError, TypeError):
            self._problems = [each for each in json.loads(out)["errors"] if isinstance(each, dict)]
        if self._problems:
            self._text = _lines_of(str(self._problems[0].get("file", "")))


def _lines_of(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _stamp(path: str | None) -> object:
    """Return what differs when a file is another one."""
    if path is None:
        return ()
    try:
        found = os.stat(path)
    except OSError:
        return path
    return path, found.st_mtime_ns, found.st_size, found.st_ino
