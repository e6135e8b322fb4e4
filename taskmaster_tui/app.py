"""The app: owns the connection, the picture of the world, the themes and the keys, and finds who carries an action out.

It decides what may be done at the moment and who does it; what an action does is in the views and the commander. It
holds no state that matters: kill it and start it again.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from textual import events
from textual.actions import ActionParseResult
from textual.app import App
from textual.binding import BindingType
from textual.dom import DOMNode
from textual.screen import Screen

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_tui import keys, leaving, settings, themes
from taskmaster_tui._textual_compat import Governed, add_filter, without_colours
from taskmaster_tui.actions import BY_ID, Context, available
from taskmaster_tui.bindings import bindings
from taskmaster_tui.commander import Commander
from taskmaster_tui.dialogs import Dialogs
from taskmaster_tui.gate import Gate
from taskmaster_tui.governor import FPS, Governor
from taskmaster_tui.link import Change, Link, Phase
from taskmaster_tui.live import Live
from taskmaster_tui.managing import Managing
from taskmaster_tui.model.fmt import plain
from taskmaster_tui.model.world import World
from taskmaster_tui.options import Options
from taskmaster_tui.remembering import Remembering
from taskmaster_tui.screens.main import MainScreen
from taskmaster_tui.screens.view import View
from taskmaster_tui.telling import Telling
from taskmaster_tui.widgets.trouble import Trouble

_DO = re.compile(r"app\.do\('([a-z._]+)'\)")
"""An action of the table as bindings and clicks spell it."""

_NOT_NOW = {
    "terminal": "this job has no terminal: `tty = true` in its [[task]] gives it one",
    "hits": "nothing is searched for yet",
    "plan": "nothing to apply: the file says what is in force",
    "generation": "choose a generation first: the part `Generations` has them",
    "nocore": "a core is started only where there is none",
    "lost": "the core answers: there is nothing to try again",
    "empty": "there are jobs already: `taskmaster -f config/demo.toml --instance demo up` shows the demo",
}  # fmt: skip


class TaskmasterApp(Dialogs, Remembering, Managing, Telling, Governed, App[int]):
    """Show one core."""

    CSS_PATH = "taskmaster.tcss"
    TITLE = "taskmaster"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = list(bindings("global"))

    def __init__(
        self, options: Options | None = None, environ: Mapping[str, str] = os.environ, *, link: Link | None = None
    ) -> None:
        self.options = options or Options()
        self.governor = Governor(self.options.fps or FPS)
        self.live = Live(self.governor)
        super().__init__()
        self.environ = environ
        self.animation_level = "none"
        self.preferences, self._complaint = settings.load_preferences(settings.preferences_path())
        self.place = settings.load_place(settings.place_path(self.options.instance))
        self.world = World()
        self.link = link or Link(
            self.world, instance=self.options.instance, socket=self.options.socket, tell=self.changed
        )
        self.link.client.held_to = "read-only" if self.options.read_only else ""
        self.commander = Commander(self)
        self.frozen: float | None = None
        """When the picture was stopped by hand (wall time), None if it lives."""
        self._interrupted = 0.0
        self._given: Context | None = None

    # Life -------------------------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[Any]:
        """Return the one screen there is."""
        return MainScreen()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give every role a colour, whatever the theme."""
        return {f"role-{name}": themes.DEFAULTS.get(f"role-{name}", "#ffffff") for name in themes.ROLES}

    def on_mount(self) -> None:
        """Take the person's settings and begin to look for the core."""
        if not self.is_headless:
            leaving.heed(self)
        for theme in themes.all_themes():
            self.register_theme(theme)
        chosen = self.options.theme or self.preferences.theme or themes.default(self.environ)
        self.theme = chosen if chosen in self.available_themes else "dark"
        if self.no_color:
            without_colours(self)
        add_filter(self, Gate(lambda: self.glyphs == "ascii"))
        self.set_keymap(self.keymap)
        self.link.load_cached(self.world)  # something to look at before the core has answered
        self.run_worker(self.link.run(), name="link", group="link")
        self.show_cursor()
        self.call_after_refresh(self._settle)

    def _settle(self) -> None:
        """Say what is wrong with the settings, and keep the collector away from what stays for ever."""
        found = [self._complaint] if self._complaint else []
        found += keys.problems(self.preferences.preset, self.preferences.keys)
        if found:
            self.say(clean("; ".join(found)), "warn")
        gc.collect()
        gc.freeze()

    async def on_unmount(self) -> None:
        """Leave: keep the place, let go of the core."""
        self.live.close()
        self.notifier.restore()
        self.keep_place()
        await self.link.close()

    @property
    def main(self) -> MainScreen:
        """Return the screen below all overlays."""
        return next(screen for screen in self.screen_stack if isinstance(screen, MainScreen))

    @property
    def glyphs(self) -> str:
        """Return the name of the glyph set."""
        return self.options.glyphs or self.preferences.glyphs

    def now(self) -> float:
        """Return the time by the core's clock; one place, so that a test or a picture can stop it."""
        return time.time() + self.world.ahead

    # What changed -----------------------------------------------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """Pass on what the link heard, unless the picture is frozen."""
        if self.is_running and self.screen_stack:
            self.tell(change)
            if self.frozen is None:
                self.main.changed(change)

    @property
    def context(self) -> Context:
        """Return what is given at the moment."""
        phase = self.link.health.phase
        lost = phase in (Phase.NO_CORE, Phase.CORE_GONE, Phase.RECONNECTING, Phase.DENIED)
        return Context(
            rows=bool(self.view.selection()) if self.view is not None else False,
            live=phase is Phase.LIVE or phase is Phase.STALE,
            write=not self.options.read_only,
            lost=lost,
            nocore=phase is Phase.NO_CORE,
            empty=not self.world.jobs,
            terminal=self.view is not None and self.view.has_terminal(),
            **dict.fromkeys(self.view.given() if self.view is not None else (), True),
        )

    @property
    def view(self) -> View | None:
        """Return the view that is shown."""
        return self.main.view if self.screen_stack and isinstance(self.screen_stack[0], MainScreen) else None

    # Actions ----------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Tell whether an action can be done (True), not now (None) or never (False)."""
        if action != "do":
            return super().check_action(action, parameters)
        known = BY_ID.get(str(parameters[0])) if parameters else None
        return False if known is None else available(known, self._context_now())

    def _context_now(self) -> Context:
        """Return what is given, found once for all the keys that are looked at in one go: the key bar asks for each."""
        if self._given is None:
            self._given = self.context
            asyncio.get_running_loop().call_soon(setattr, self, "_given", None)
        return self._given

    def before_key(self, event: events.Key) -> None:
        """Do the same for a key that is carried out at once."""
        self.on_key(event)

    def on_key(self, event: events.Key) -> None:
        """Take refusals off the rows at the next key; what the key does comes after this."""
        self.commander.forget_refusals()
        self.explain_key(event)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action as Textual does; a key or a click that cannot do its own at the moment says why."""
        if await super().run_action(action, default_namespace, namespaces):
            return True
        found = _DO.fullmatch(action) if isinstance(action, str) else None
        refused = BY_ID.get(found[1]) if found is not None else None
        if refused is None or available(refused, self.context):
            return False
        if self.instead(refused.id) != refused.id:
            return await self.perform(refused.id)
        self.say(self._why_not(refused.needs), "warn")
        return True

    async def action_do(self, action_id: str) -> None:
        """Carry out an action of the table: the focused widget, its view, the screen or the app knows how."""
        await self.perform(action_id)

    async def perform(self, action_id: str) -> bool:
        """Carry out an action; return False, and say why, if it cannot be at the moment."""
        action = BY_ID[self.instead(action_id)]
        action_id = action.id
        if not available(action, self.context):
            self.say(self._why_not(action.needs), "warn")
            return False
        name = "do_" + action_id.replace(".", "_")
        for node in self._performers():
            performer = getattr(node, name, None)
            if performer is not None:
                found = performer()
                if found is not None:
                    await found
                return True
        if self.view is not None and await self.view.perform_behind(name):
            return True
        self.say(f"{action.label} means nothing here", "warn")
        return False

    def _performers(self) -> Iterable[DOMNode]:
        focused = self.main.focused
        if focused is not None:
            yield from (node for node in focused.ancestors_with_self if node is not self)
        view = self.view
        if view is not None:
            yield view
        yield self.main
        yield self

    def _why_not(self, needs: str) -> str:
        context = self.context
        if "write" in needs and not context.write:
            return "read-only: this client was started with --read-only"
        if "live" in needs and not context.live:
            return "not connected: actions wait until the core is back"
        if "rows" in needs and not context.rows:
            return "nothing is selected"
        return next((said for need, said in _NOT_NOW.items() if need in needs.split()), "not at the moment")

    # Saying -----------------------------------------------------------------------------------------------------------

    def say(self, text: str, role: str = "") -> None:
        """Show one sentence on the status line, the last one wins. The text must be clean."""
        if self.screen_stack and isinstance(self.screen_stack[0], MainScreen):
            self.main.say(text, role)

    def complain(self, error: TaskmasterError, before: str = "") -> None:
        """Show an error and what to do next."""
        then = f" · {plain(error.help.splitlines()[0])}" if error.help else ""
        self.say(f"{before}{plain(error.message)}{then}", "error")

    # Actions of the app -----------------------------------------------------------------------------------------------

    def do_app_quit(self) -> None:
        """Leave; with the status of an invalid config where nothing could be started because of it."""
        self.exit(6 if self.main.query_one(Trouble).broken else 0)

    def do_app_interrupt(self) -> None:
        """Copy what is selected; else tell how to leave, and leave at the second time."""
        text = self.screen.get_selected_text()
        if text:
            self.copy(text)
            self.screen.clear_selection()
            return
        now = time.monotonic()
        if now - self._interrupted < 2:
            self.exit(0)
            return
        self._interrupted = now
        self.say("q leaves, your jobs keep running (ctrl+c again does too)")

    def copy(self, text: str) -> None:
        """Put text into the clipboard and say which way it went."""
        from taskmaster_tui import clipboard  # noqa: PLC0415  # needed at the first copy, not at every start

        if not text:
            self.say("there is nothing to copy here", "warn")
            return
        self.say(clipboard.copy(self, text), "good")
