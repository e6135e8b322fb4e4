"""The app: owns the connection, the picture of the world, the themes and the keys, and finds who carries an action out.

It decides what may be done at the moment and who does it; what an action does is in the views and the commander. It
holds no state that matters: kill it and start it again.
"""

from __future__ import annotations

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
from taskmaster_tui._textual_compat import Governed, without_colours
from taskmaster_tui.actions import BY_ID, Context, available
from taskmaster_tui.bindings import bindings
from taskmaster_tui.commander import Commander
from taskmaster_tui.dialogs import Dialogs
from taskmaster_tui.governor import FPS, Governor
from taskmaster_tui.link import Change, Link, Phase
from taskmaster_tui.live import Live
from taskmaster_tui.managing import Managing
from taskmaster_tui.model.world import World
from taskmaster_tui.options import Options
from taskmaster_tui.screens.main import MainScreen
from taskmaster_tui.screens.view import View
from taskmaster_tui.telling import Telling

_DO = re.compile(r"app\.do\('([a-z._]+)'\)")
"""An action of the table as bindings and clicks spell it."""

_NOT_NOW = {
    "nocore": "a core is started only where there is none",
    "lost": "the core answers: there is nothing to try again",
    "empty": "there are jobs already: `taskmaster -f config/demo.toml --instance demo up` shows the demo",
}  # fmt: skip

_KEEP_AFTER = 1.0
"""Seconds from a change of place to its file: a burst of cursor keys is one write."""


class TaskmasterApp(Dialogs, Managing, Telling, Governed, App[int]):
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
        self._keep_timer: Any = None

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
        self.set_keymap(self.keymap)
        self.link.load_cached(self.world)  # something to look at before the core has answered
        self.run_worker(self.link.run(), name="link", group="link")
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

    @staticmethod
    def now() -> float:
        """Return the wall clock; one place, so that a test or a picture can stop it."""
        return time.time()

    @property
    def keymap(self) -> dict[str, str]:
        """Return the keys that differ from the table's."""
        return keys.merged(self.preferences.preset, self.preferences.keys)

    def key_of(self, action_id: str) -> str:
        """Return the first key of an action as people write it."""
        return keys.shown(keys.keys_of(action_id, self.keymap)[0])

    def rebind(self, action_id: str, key: str) -> bool:
        """Give an action another key for good ("": its own again); return False, and say why, if that clashes."""
        mine = {name: each for name, each in self.preferences.keys.items() if name != action_id}
        if key:
            mine[action_id] = key
        found = keys.problems(self.preferences.preset, mine)
        if found:
            self.say(clean(found[0]), "error")
            return False
        self.prefer(keys=mine)
        self.set_keymap(self.keymap)
        self.refresh_bindings()
        self.say(f"{keys.shown(key) if key else 'its own key'} is now {BY_ID[action_id].label}", "good")
        return True

    def prefer(self, **changes: Any) -> None:
        """Take a preference, and write it down for the next time."""
        for name, value in changes.items():
            setattr(self.preferences, name, value)
        try:
            settings.save_preferences(settings.preferences_path(), changes)
        except OSError as error:
            self.say(clean(f"not kept for the next time: {error}"), "warn")

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
        return False if known is None else available(known, self.context)

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
        self.say(self._why_not(refused.needs), "warn")
        return True

    async def action_do(self, action_id: str) -> None:
        """Carry out an action of the table: the focused widget, its view, the screen or the app knows how."""
        await self.perform(action_id)

    async def perform(self, action_id: str) -> bool:
        """Carry out an action; return False, and say why, if it cannot be at the moment."""
        action = BY_ID[action_id]
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
        then = f" · {error.help.splitlines()[0]}" if error.help else ""
        self.say(clean(f"{before}{error.message}{then}"), "error")

    # Place ------------------------------------------------------------------------------------------------------------

    def remember(self, **changes: Any) -> None:
        """Note where the person is; it is on disk a second later, whatever happens to us."""
        for name, value in changes.items():
            setattr(self.place, name, value)
        if self._keep_timer is None:
            self._keep_timer = self.set_timer(_KEEP_AFTER, self.keep_place)

    def keep_place(self) -> None:
        """Write the place down."""
        self._keep_timer = None
        settings.save_place(settings.place_path(self.options.instance), self.place)

    # Actions of the app -----------------------------------------------------------------------------------------------

    def do_app_quit(self) -> None:
        """Leave."""
        self.exit(0)

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

        self.say(clipboard.copy(self, text), "good")
