"""Header, tabs, status line and key bar.

Decides what of the state fits on a line and in which order it gives way. They are told that something changed and paint
with the next live frame; what a key or a click asks for is painted at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from rich.cells import cell_len

from taskmaster_core import wire
from taskmaster_core.logs.sanitize import clean
from taskmaster_tui import keys
from taskmaster_tui.actions import BY_ID, barred
from taskmaster_tui.link import Phase
from taskmaster_tui.live import live_of
from taskmaster_tui.model import fmt, story
from taskmaster_tui.model.words import GLYPHS
from taskmaster_tui.widgets.bar import GAP, Bar, Piece, fitted

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_LOUD = frozenset({"fatal", "unkillable", "config_error", "reload_refused", "log_trouble", "journal_trouble"})
"""Events that are put on the status line by themselves."""

_SLIVER = 40
"""Below so many columns the header is a summary: the connection and how many are in which state."""

_TAIL = 80
"""Rank from which a key stands at the right of the key bar."""

_GUESTS = 40
"""Added to the rank of what is done to jobs in views that are about something else."""

_VIEWS = ("jobs", "logs", "events", "metrics", "config")


class LiveBar(Bar):
    """Paint with the live frames."""

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    @property
    def glyph(self) -> dict[str, str]:
        """Return the glyphs that are shown."""
        return GLYPHS[self.tm.glyphs]

    def request(self) -> None:
        """Paint with the next live frame."""
        live_of(self).request(self)

    def paint_live(self) -> None:
        """Paint what became another line."""
        if tuple(fitted(self.pieces(self.size.width), self.size.width)) != self._shown:
            self.refresh()


class Header(LiveBar):
    """Say which core this is, how the connection is, and how the whole is doing."""

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return name, connection, counts or totals, and the clock; what matters least gives way first."""
        app = self.tm
        narrow = width < 100
        counts = count_pieces(self, words=False) if narrow else []
        if width < _SLIVER or app.main.has_class("-flat"):
            return [Piece(" "), *self._connection(), *counts, *self._config(narrow=True)]
        now = fmt.clock(app.now())
        clock = [Piece(f"  {now[:5] if narrow else now}", "dim")]
        name = [Piece(" taskmaster", "accent", bold=True)]
        left = [Piece(f" {clean(app.options.instance)}" if narrow else f"  {clean(app.options.instance)}", bold=True)]
        right = [*self._connection(), *([Piece("  read-only", "warn")] if app.options.read_only else [])]
        if app.frozen is not None:
            right.append(Piece(f"  frozen {fmt.clock(app.frozen)} · F resumes", "warn", "app.freeze"))
        right += self._config(narrow=narrow)
        totals = [] if narrow else self._totals()
        for optional in (totals, clock, counts, name):
            if sum(cell_len(each.text) for each in (*name, *left, *right, *counts, *totals, *clock)) < width:
                break
            optional.clear()
        return [*name, *left, GAP, *right, *counts, *totals, *clock, Piece(" ")]

    def _connection(self) -> list[Piece]:
        health = self.tm.link.health
        glyph = self.glyph
        since = fmt.age(max(time.monotonic() - health.since, 0))
        if health.phase is Phase.LIVE:
            rtt = f" {health.rtt * 1000:.0f} ms" if health.rtt is not None else ""
            return [Piece(f"{glyph['up']} live{rtt}", "up")]
        if health.phase is Phase.STALE:
            return [Piece(f"{glyph['busy']} quiet {since}", "warn")]
        if health.phase is Phase.CONNECTING:
            return [Piece(f"{glyph['done']} connecting…", "busy")]
        if health.phase is Phase.NO_CORE:
            return [Piece(f"{glyph['off']} no core", "off")]
        if health.phase is Phase.DENIED:
            return [Piece(f"{glyph['failed']} permission denied", "failed")]
        word = "core gone" if health.phase is Phase.CORE_GONE else "reconnecting"
        wait = f", try {health.attempt}" if health.attempt else ""
        return [Piece(f"{glyph['done']} {word} {since}{wait}", "failed", "core.retry")]

    def _config(self, *, narrow: bool) -> list[Piece]:
        core = self.tm.world.core
        if core is None:
            return []
        said = []
        if errors := sum(each.get("severity") != "warning" for each in core.config_problems):
            sign = self.glyph["failed"]
            many = f" {fmt.count(errors)}" if narrow else f" {fmt.count(errors)} problem{'s' * (errors > 1)}"
            said.append(Piece(f"  config {sign}{many}", "failed", "go.config"))
        if core.pending:
            jobs = "" if narrow else f"job{'s' * (core.pending > 1)} "
            said.append(Piece(f"  {fmt.count(core.pending)} {jobs}to reload", "warn", "config.reload"))
        if said or narrow:
            return said
        return [Piece(f"  config ok · generation {core.generation}", "dim", "go.config")]

    def _totals(self) -> list[Piece]:
        cpu, rss = self.tm.world.totals()
        if not rss:
            return []
        return [Piece(f"  cpu {fmt.percent(cpu).strip()}  mem {fmt.size(rss).strip()}", "dim", "go.metrics")]


class Tabs(LiveBar):
    """Name the views, and count the processes."""

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return the tabs on the left and the counts on the right."""
        shown = self.tm.main.view_name
        tabs = []
        for number, name in enumerate(_VIEWS, 1):
            here = name == shown
            text = f"[{number} {name.capitalize()}]" if here else f" {number} {name.capitalize()} "
            tabs.append(Piece(text, "title" if here else "dim", f"go.{name}", bold=here))
        return [Piece(" "), *tabs, GAP, *count_pieces(self, words=True), Piece(" ")]


def count_pieces(bar: LiveBar, *, words: bool) -> list[Piece]:
    """Return how many processes are in which kind of state."""
    counts = bar.tm.world.counts()
    found = []
    for name, word, number in (
        ("up", "up", counts.up), ("busy", "starting", counts.busy), ("failed", "failed", counts.failed),
        ("off", "off", counts.off), ("done", "finished", counts.done), ("held", "held", counts.held),
    ):  # fmt: skip
        if number or name == "up":
            said = f" {word}" if words else ""
            role = name if bar.tm.context.live else "dim"  # it was so; nobody says that it is
            found.append(Piece(f"  {bar.glyph[name]} {fmt.count(number)}{said}", role, bold=name == "failed"))
    return found


class StatusLine(LiveBar):
    """Say one sentence: the answer to what was done, or the last event that somebody should know."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self.text = ""
        self._role = ""

    def say(self, text: str, role: str) -> None:
        """Show a clean sentence until the next one."""
        self.text, self._role = text, role
        self.refresh()

    def heard(self, event: wire.Event) -> None:
        """Show an event if it is one that somebody should know at once."""
        if event.type in _LOUD:
            text, role = story.event_line(event)
            self.say(f"{fmt.clock(event.at)} {text}", role)

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return the sentence, and what is to be said of the link."""
        slow = self.tm.governor.slow
        right = [Piece(f"{slow} ", "warn")] if slow else []
        sign = {"error": self.glyph["failed"] + " ", "failed": self.glyph["failed"] + " "}.get(self._role, "")
        return [Piece(f" {sign}{self.text}"[: max(width - len(slow) - 2, 0)], self._role), GAP, *right]


class KeyBar(LiveBar):
    """Show the keys that do something here and now; a click does it too."""

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return as many keys as fit; the way out, all keys and all commands are always among them."""
        entries = self._entries()
        tail = [each for each in entries if each[0] >= _TAIL]
        room = width - sum(cell_len(key) + cell_len(label) + 3 for _, key, label, _, _ in tail)
        chosen = []
        for entry in (each for each in entries if each[0] < _TAIL):
            room -= cell_len(entry[1]) + cell_len(entry[2]) + 3
            if room < 0:
                break
            chosen.append(entry)
        return [*_painted(chosen), GAP, *_painted(tail)]

    def _entries(self) -> list[tuple[int, str, str, str, bool]]:
        """Return rank, key, label, action and whether it can be done now; what is done to jobs comes last."""
        context = self.tm.context
        guests, lost = self.tm.main.view_name != "jobs", context.lost
        found: dict[str, tuple[int, str, str, str, bool]] = {}
        for active in self.screen.active_bindings.values():
            action = BY_ID.get(active.binding.id or "")
            if lost and not active.enabled:
                continue  # nothing can be done to jobs for now: what can be done needs the room
            if action is not None and action.bar and action.id not in found and not barred(action, context):
                key = keys.shown(active.binding.key)
                key = key.replace("⏎", self.glyph["enter"]).replace("␣", self.glyph["space"])
                rank = action.bar + (_GUESTS if guests and action.id.startswith("job.") else 0)
                found[action.id] = (rank, key, action.label, action.id, active.enabled)
        return sorted(found.values())


def _painted(entries: Iterable[tuple[int, str, str, str, bool]]) -> list[Piece]:
    pieces = []
    for _, key, label, action, enabled in entries:
        pieces.append(Piece(f" {key}", "accent" if enabled else "dim", action, bold=enabled))
        pieces.append(Piece(f" {label} ", "" if enabled else "dim", action))
    return pieces
