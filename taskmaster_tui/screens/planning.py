"""What can be done with a config: apply the plan, leave jobs out, edit, roll back, compare.

Nothing is applied before it was seen, and whatever is written goes through our own command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.wire import PlanView
from taskmaster_tui import outside
from taskmaster_tui.model import config_rows as words
from taskmaster_tui.model.blast import Question
from taskmaster_tui.screens.listing import Listing

ON_SAVE = ("apply", "ask", "off")


class Planning(Listing):
    """Be a view of the config."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id)
        self.part = "plan"
        self.rows = words.Rows()
        self.plan: PlanView | None = None
        self.left_out: set[str] = set()
        self._generations: list[dict[str, Any]] = []
        self._problems: list[dict[str, Any]] = []
        self._owing = False
        """What is shown could not be asked for."""

    def open(self, part: str) -> None:
        """Show a part and ask for what it shows."""
        raise NotImplementedError

    def show_plan(self) -> None:
        """Show the plan as it is now."""
        raise NotImplementedError

    def texts_on_disk(self) -> dict[str, str]:
        """Return the config files as they are on disk."""
        raise NotImplementedError

    # Actions ----------------------------------------------------------------------------------------------------------

    def do_config_leave_out(self) -> None:
        """Leave this job as it is, or take it in again."""
        here = self.rowtree.cursor_id
        if self.part != "plan" or here is None:
            self.tm.say(f"only jobs of the plan can be left out · {self.tm.key_of('config.plan')} shows it", "warn")
        elif here in ("=", "[taskmaster]"):
            self.tm.say("this cannot be left out", "warn")
        else:
            self.left_out ^= {here}
            self.show_plan()
            self.rowtree.dirty()

    def do_config_apply(self) -> None:
        """Apply the plan that is shown."""
        if self.part != "plan" or self.plan is None:
            self.open("plan")
        elif not self.plan.changes:
            self.tm.say("nothing to apply: the file says what is in force")
        else:
            self.run_worker(self._apply(), group="orders")

    async def _apply(self, *, confirmed: bool = False) -> None:
        args = {"except": sorted(self.left_out), **({"confirmed": True} if confirmed else {})}
        try:
            found = msgspec.convert(await self.tm.link.call("reload", args=args, timeout=60), PlanView)
        except TaskmasterError as error:
            guarded = (getattr(error, "detail", None) or {}) if not confirmed else {}
            names = guarded.get("protected") if isinstance(guarded, Mapping) else None
            effects = [f"touches {clean(each)}, which is protected" for each in names or ()]
            if effects and await self.tm.commander.agrees(Question("Apply the plan", effects)):
                await self._apply(confirmed=True)
                return
            self.tm.complain(error)
            return
        total = words.plan_totals(found, frozenset())
        self.tm.say(f"generation {found.generation} is in force: {total}   {self.tm.key_of('app.undo')} undo", "good")
        self.left_out.clear()
        self.open("plan")

    def do_config_edit(self) -> None:
        """Open the file at this job, or at this problem."""
        job = self.rowtree.cursor_id or "" if self.part == "plan" else ""
        self.tm.run_worker(self.tm.edit_config(job if self.tm.world.job(job) is not None else ""), group="outside")

    def do_config_rollback(self) -> None:
        """Write back and apply the generation under the cursor."""
        if self.part != "generations" or self.rowtree.cursor_id is None:
            self.open("generations")
            self.tm.say(f"choose a generation, then {self.tm.key_of('config.rollback')}")
            return
        number = int(self.rowtree.cursor_id)
        self.run_worker(self._roll_back(number), group="orders")

    async def _roll_back(self, number: int) -> None:
        effects = [f"the config files are written back as they were at generation {number}", "and applied"]
        if await self.tm.commander.agrees(Question(f"Roll back to generation {number}", effects)):
            await self.tm.roll_back(number)
            self.open("generations")

    def do_config_on_save(self) -> None:
        """Let saving the file do the next thing: apply, ask, off."""
        self.run_worker(self._next_on_save(), group="orders")

    async def _next_on_save(self) -> None:
        core = self.tm.world.core
        if core is None:
            return
        now = core.autoreload if core.autoreload in ON_SAVE else "apply"
        wanted = ON_SAVE[(ON_SAVE.index(now) + 1) % len(ON_SAVE)]
        command = outside.cli(self.tm.options.instance, self.tm.options.socket, "config", "set", f"autoreload={wanted}")
        status, _, err = await outside.quietly(command)
        said = err.strip().splitlines()
        self.tm.say(clean(said[0]) if status and said else f"on save: {wanted}", "error" if status else "good")

    def do_config_diff(self) -> None:
        """Show all changed lines."""
        self.run_worker(self._diff(), group="diff", exclusive=True)

    async def _diff(self) -> None:
        from taskmaster_tui.screens.diff import DiffDialog  # noqa: PLC0415  # a dialog is loaded when it is wanted

        core = self.tm.world.core
        number = core.generation if core is not None else 0
        chosen = self.rowtree.cursor_id if self.part == "generations" else None
        try:
            before = await self.tm.link.call("generation", args={"number": number}, timeout=10)
            after = (
                await self.tm.link.call("generation", args={"number": int(chosen)}, timeout=10) if chosen is not None
                else {"texts": self.texts_on_disk()}
            )  # fmt: skip
        except TaskmasterError as error:
            self.tm.complain(error)
            return
        title = f"Generation {number} → {chosen}" if chosen is not None else f"Generation {number} → the file on disk"
        self.tm.push_screen(DiffDialog(title, words.diff(before["texts"], after["texts"])))
