"""What the app tells beyond the screen and why it does nothing: title, bell, notices, reasons for a dead key.

It decides when somebody who looks elsewhere is told (a new FATAL, and the terminal is not looked at), and what time it
is for what is shown. The bytes are `notify`'s.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

from textual import events

from taskmaster_tui import actions, keys
from taskmaster_tui.link import Change, Phase
from taskmaster_tui.model.fmt import count
from taskmaster_tui.model.words import GLYPHS
from taskmaster_tui.notify import Notifier

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_WORDS = {Phase.CORE_GONE: "core gone", Phase.NO_CORE: "no core", Phase.DENIED: "permission denied",
          Phase.RECONNECTING: "reconnecting"}  # fmt: skip


class Telling:
    """Be the part of the app that tells."""

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self)

    @cached_property
    def notifier(self) -> Notifier:
        """Return the way to the terminal's title and bell."""
        return Notifier(self.tm.to_terminal, self.tm.environ)

    def tell(self, change: Change) -> None:
        """Keep the title true; tell of what gave up while nobody looked."""
        if change.world or change.keys or change.health:
            self.notifier.title(self.title_words())
        if self.tm.app_focus or not self.tm.preferences.bell:
            return
        fatal = [event.key for event in change.events if event.type == "fatal"]
        if fatal:
            more = f" and {count(len(fatal) - 1)} more" if len(fatal) > 1 else ""
            self.notifier.alarm(f"{fatal[0]}{more} gave up (FATAL) · {self.tm.options.instance}")

    @property
    def plain_cursor(self) -> bool:
        """Tell whether the terminal's own cursor is kept on the selected row."""
        return self.tm.preferences.cursor

    def show_cursor(self) -> None:
        """Have the terminal show its cursor, which Textual hides, where it is to be followed."""
        if self.plain_cursor:
            self.tm.to_terminal("\x1b[?25h")

    def resumed(self) -> None:
        """Set cursor and title again: an editor or an attached job had the terminal."""
        self.show_cursor()
        self.notifier.renew(self.title_words())

    def title_words(self) -> str:
        """Return what the title bar says: failures first, because it is cut at the end."""
        app, glyphs = self.tm, GLYPHS[self.tm.glyphs]
        lost = _WORDS.get(app.link.health.phase, "")
        failed = app.world.counts().failed
        first = lost or (f"{glyphs['failed']}{count(failed)}" if failed else "")
        return f" {glyphs['dot']} ".join(each for each in (first, app.options.instance, "taskmaster") if each)

    def moment(self) -> float:
        """Return the time that ages are told by: where nothing runs any more, that of the last state."""
        app = self.tm
        gone = app.link.health.phase is Phase.NO_CORE and app.world.as_of
        return app.world.as_of if gone else app.now()

    # Keys that do nothing ---------------------------------------------------------------------------------------------

    def instead(self, action_id: str) -> str:
        """Return what an action means at the moment: Enter starts the core where that is all there is to do."""
        alone = self.tm.main.has_class("-alone") and self.tm.link.health.phase is Phase.NO_CORE
        return "core.start" if action_id == "jobs.logs" and alone and not self.tm.options.read_only else action_id

    def explain_key(self, event: events.Key) -> None:
        """Say why a key that is hidden does nothing."""
        app = self.tm
        if app.options.read_only and app.screen is app.main and (action := self._meant(event.key)) is not None:
            app.call_later(app.perform, action.id)  # it cannot be done, and says why

    def _meant(self, key: str) -> actions.Action | None:
        """Return the action that the key has in the view that is shown, if that is hidden because of `--read-only`."""
        scopes = [*actions.VIEWS.get(self.tm.main.view_name, ()), "global"]
        found = (each for scope in scopes for each in actions.SCOPES[scope] if "write" in each.needs.split())
        return next((each for each in found if key in keys.keys_of(each.id, self.tm.keymap)), None)
