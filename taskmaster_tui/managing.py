"""What the app does with the core and its files: start it, plan a reload, edit, roll back, undo.

It decides which of our own commands does it, so that files are checked and their comments stay; and what to say of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui import outside
from taskmaster_tui.model.blast import upgrade
from taskmaster_tui.widgets.trouble import Trouble

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp


class Managing:
    """Be the part of the app that manages the core."""

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self)

    def _command(self, *words: str) -> list[str]:
        return outside.cli(self.tm.options.instance, self.tm.options.socket, *words)

    def do_app_undo(self) -> None:
        """Take the last action back."""
        if self.busy_with("undo"):
            self.tm.say("an undo is under way", "warn")
        else:
            self.tm.run_worker(self.tm.commander.undo(), group="undo")

    def busy_with(self, group: str) -> bool:
        """Tell whether a worker of a group is under way."""
        return any(worker.group == group and not worker.is_finished for worker in self.tm.workers)

    def do_core_retry(self) -> None:
        """Try again now."""
        self.tm.link.retry_now()
        self.tm.say("trying again…")

    def do_core_start(self) -> None:
        """Start the core with the config that is found, in the background."""
        self.tm.run_worker(self._start_core(), group="outside", exclusive=True)

    async def _start_core(self) -> None:
        self.tm.say("starting the core…", "busy")
        status, _, err = await outside.quietly(self._command("up", "--detach"))
        if status == 6:  # the card about the core shows the place of the first mistake, and reads the file again
            self.tm.main.query_one(Trouble).reread()
            edit = self.tm.key_of("jobs.edit_file")
            self.tm.say(f"the config is not valid: nothing was started · {edit} edits it", "error")
        elif status:
            said = [line for line in err.splitlines() if line.strip()]
            self.tm.say(clean(said[0] if said else f"status {status}"), "error")
        self.tm.link.retry_now()

    def do_core_upgrade(self) -> None:
        """Replace core and shim by the release that is installed now."""
        if self.busy_with("upgrade"):
            self.tm.say("an upgrade is under way", "warn")
        else:
            self.tm.run_worker(self._upgrade(), group="upgrade")

    async def _upgrade(self) -> None:
        if not await self.tm.commander.agrees(upgrade()):
            self.tm.say("nothing was done")
            return
        self.tm.say("upgrading…", "busy")
        status, out, err = await outside.quietly(self._command("upgrade"))
        said = "; ".join((err if status else out).strip().splitlines())
        self.tm.say(clean(said or f"status {status}"), "error" if status else "good")

    async def edit_config(self, job: str) -> None:
        """Open the config in the person's editor, at a job; what is saved and valid is applied as the config says."""
        words = ("edit", job) if job else ("edit",)
        try:
            status = await outside.in_terminal(self.tm, self._command(*words))
        except OSError as error:
            self.tm.say(clean(f"{error}"), "error")
            return
        self.tm.screen.refresh(layout=True)
        core = self.tm.world.core
        applied = core is None or core.autoreload == "apply"
        saved = "saved and applied" if applied else "saved, not applied: the Config view shows the plan"
        said = {0: (saved, "good"), 6: ("not saved: the file would be invalid", "error")}
        self.tm.say(*said.get(status, (f"the editor ended with status {status}: nothing was changed", "warn")))

    async def attach(self, key: str) -> None:
        """Give the terminal to a process until the person comes back; its command line is our own."""
        try:
            status = await outside.in_terminal(self.tm, self._command("attach", key))
        except OSError as error:
            self.tm.say(clean(f"{error}"), "error")
            return
        self.tm.screen.refresh(layout=True)
        why = {0: f"back from {key}", 7: f"{key} cannot be attached to", 3: "the core has ended"}
        self.tm.say(clean(why.get(status, f"attach ended with status {status}")), "error" if status else "good")

    async def roll_back(self, generation: int | None) -> None:
        """Write back and apply an earlier generation."""
        await self._write_back("rollback", *([str(generation)] if generation is not None else []))

    async def undo_reload(self) -> None:
        """Take the last reload back: the same, and the core forgets that there was one."""
        await self._write_back("undo")

    async def _write_back(self, *words: str) -> None:
        """Have our own command write the files; the person has agreed."""
        status, out, err = await outside.quietly(self._command(*words, "-y"))
        said = (out if status == 0 else err).strip().splitlines()
        self.tm.say(clean(said[0] if said else f"status {status}"), "error" if status else "good")

    async def do_config_reload(self) -> None:
        """Show the plan of a reload."""
        view = await self.tm.main.go("config")
        view.open("plan")  # type: ignore[attr-defined]  # ConfigView, which is loaded when it is first wanted

    def do_jobs_demo(self) -> None:
        """Start the demo in an instance of its own and show it."""
        self.tm.run_worker(self._start_demo(), group="outside", exclusive=True)

    async def _start_demo(self) -> None:
        demo = Path(__file__).parent.parent / "config" / "demo.toml"
        if not demo.exists():
            self.tm.say("the demo is not part of this installation", "warn")
            return
        self.tm.say("starting the demo…", "busy")
        command = outside.cli("demo", None, "-f", str(demo), "up", "--detach")
        status, _, err = await outside.quietly(command)
        if status not in (0, 1):
            self.tm.say(clean(err.strip().splitlines()[0] if err.strip() else f"status {status}"), "error")
            return
        self.tm.connect("demo")
