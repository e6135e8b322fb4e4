"""What the app opens and begins: palette, keys, settings, connect, the ways to leave, jump letters, a report.

It decides what an answer means. Each dialog is loaded when it is wanted, so that a start does not pay for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.actions import BY_ID

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp


class Dialogs:
    """Be the part of the app that opens things."""

    again: tuple[str, ...] = ()
    """Words of the command line to begin anew with, empty to end."""

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self)

    def do_app_palette(self) -> None:
        """Offer every command."""
        from taskmaster_tui.screens.palette import Palette  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(Palette(self.tm), self._meant_now())

    def do_app_keys(self) -> None:
        """Show every key."""
        from taskmaster_tui.screens.keysheet import KeySheet  # noqa: PLC0415  # the same

        self.tm.push_screen(KeySheet(self.tm), self._meant_now())

    def do_app_settings(self) -> None:
        """Show the settings."""
        from taskmaster_tui.screens.preferences import Settings  # noqa: PLC0415  # the same

        self.tm.push_screen(Settings(self.tm))

    def do_app_connect(self) -> None:
        """Choose another instance."""
        from taskmaster_tui.screens.connect import Connect  # noqa: PLC0415  # the same

        self.tm.push_screen(Connect(self.tm), self.connect)

    def connect(self, where: str | None) -> None:
        """Begin anew with another core: the process is replaced, so nothing of the first can be left."""
        if where:
            self.tm.exit(0)
            self.again = ("--socket", where) if where.startswith("/") else ("--instance", where)

    def do_app_quit_menu(self) -> None:
        """Offer the ways to leave."""
        from taskmaster_tui.screens.leave import Leave  # noqa: PLC0415  # the same

        self.tm.push_screen(Leave(live=self.tm.context.live, write=self.tm.context.write), self._leave)

    def _leave(self, way: str | None) -> None:
        if way == "leave":
            self.tm.exit(0)
        elif way == "stop":
            names = list(self.tm.world.jobs)
            self.tm.commander.order("stop", names, [key for name in names for key in self.tm.world.keys_of(name)])
        elif way == "shutdown":
            self.tm.commander.order("shutdown", (), [])

    def do_go_jump(self) -> None:
        """Show a letter on each row and pane."""
        from taskmaster_tui.screens.jump import Jump  # noqa: PLC0415  # the same

        self.tm.push_screen(Jump(self.tm), self._jump)

    def _jump(self, target: Any) -> None:
        if target is not None:
            target.widget.focus()
            if target.row_id:
                target.widget.move_to(target.row_id)

    def do_app_report(self) -> None:
        """Save the picture, and facts for a bug report."""
        from taskmaster_tui.report import save  # noqa: PLC0415  # needed for a report, not at every start

        try:
            path = save(self.tm)
        except OSError as error:
            self.tm.say(clean(f"{error}"), "error")
            return
        self.tm.say(clean(f"saved {path}.svg and {path}.txt"), "good")

    def _meant_now(self) -> Callable[[str | None], Awaitable[None]]:
        """Return what carries a choice out, about what is selected now: lists go on living behind a dialog."""
        meant = self._selectors()
        return lambda wish: self._commanded(wish, meant)

    def _selectors(self) -> tuple[str, ...]:
        return self.tm.view.selection().selectors if self.tm.view is not None else ()

    async def _commanded(self, wish: str | None, meant: tuple[str, ...]) -> None:
        """Carry out what was chosen: an action, or a verb with its object."""
        if not wish:
            return
        if wish in BY_ID:
            if "rows" in BY_ID[wish].needs.split() and meant != self._selectors():
                now = ", ".join(self._selectors()) or "nothing"
                self.tm.say(clean(f"nothing was done: {now} is selected now, no longer {', '.join(meant)}"), "warn")
                return
            await self.tm.perform(wish)
            return
        verb, _, what = wish.partition(" ")
        await self.say_verb(verb, what)

    async def say_verb(self, verb: str, what: str) -> None:
        """Carry out `verb object`."""
        if verb == "theme":
            self.tm.theme = what
            self.tm.prefer(theme=what)
        elif verb == "goto":
            view = await self.tm.main.go("jobs")
            view.goto(what)  # type: ignore[attr-defined]  # JobsView
        elif verb == "logs":
            view = await self.tm.main.go("logs")
            view.show((what,))  # type: ignore[attr-defined]  # LogsView
        elif verb == "edit":
            job = self.tm.world.job(what)
            self.tm.run_worker(self.tm.edit_config(job.name if job is not None else ""), group="outside")
        elif verb == "why":
            from taskmaster_tui.screens.why import Why  # noqa: PLC0415  # a dialog is loaded when it is wanted

            self.tm.push_screen(Why([what]))
        else:
            self.tm.commander.order(verb, (what,), self.tm.world.keys_of(what))
