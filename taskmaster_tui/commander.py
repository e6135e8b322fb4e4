"""Carry out what a person asks of the core: ask first where it may hurt, send, show what came of it.

Decides the order of these steps and the words of the answer; whether to ask is `model.blast`, what a verb does is the
core's. Optimistic but honest: a row shows what is on its way at once, and the core's reason if it says no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from textual.screen import Screen

from taskmaster_core import wire
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.link import Change, Phase
from taskmaster_tui.model.blast import Question, needs_confirmation

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_DONE = {
    "start": "started", "stop": "stopped", "restart": "restarted", "kill": "killed", "reset": "reset",
    "hold": "held: no automatic restart", "release": "released", "signal": "signalled", "scale": "scaled",
}  # fmt: skip

_UNDONE = frozenset({"start", "stop", "kill", "hold", "release", "scale"})
"""What the core can take back."""


class Commander:
    """Speak to the core for the person at the keyboard."""

    def __init__(self, app: TaskmasterApp) -> None:
        self._app = app

    def order(self, verb: str, select: Sequence[str], keys: Sequence[str], **args: Any) -> None:
        """Begin to carry out an order; it goes on beside the screen."""
        self._app.run_worker(self.carry_out(verb, select, keys, args), group="orders", exit_on_error=True)

    async def carry_out(
        self, verb: str, select: Sequence[str], keys: Sequence[str], args: Mapping[str, Any] | None = None
    ) -> bool:
        """Ask where it must be asked, send it, and say what came of it; return whether it was done."""
        question = needs_confirmation(verb, list(keys), self._app.world, dict(args or {}))
        confirmed = question is not None
        if question is not None and not await self.agrees(question):
            self._app.say("nothing was done")
            return False
        self._mark(verb, keys)
        if self._app.link.health.phase is not Phase.LIVE:
            self._app.say(f"{verb}: waiting for the core, for 5 s at most; nothing is sent yet", "busy")
        try:
            wanted = {**(args or {}), **({"confirmed": True} if confirmed else {})}
            result = await self._app.link.call(verb, select, wanted)
        except TaskmasterError as error:
            self._refused(verb, error, keys)
            return False
        self._answered(verb, select, result, keys)
        return True

    async def undo(self) -> None:
        """Take the last action back, or say why it cannot be."""
        try:
            planned = await self._app.link.call("undo", args={"plan": True})
            if not await self.agrees(Question("Undo", [clean(planned["text"])])):
                self._app.say("nothing was done")
                return
            again = await self._app.link.call("undo", args={"plan": True})
            if any(again.get(name) != planned.get(name) for name in ("op", "select", "args")):
                self._app.say("nothing was undone: somebody has done something else meanwhile", "warn")
                return
            if planned.get("op") == "rollback":  # it writes files, which is our own command's to do
                await self._app.undo_reload()
                return
            result = await self._app.link.call("undo", args={"confirmed": True})
        except TaskmasterError as error:
            self._app.complain(error)
            return
        self._app.say(f"undone: {clean(result.get('text') or planned['text'])}", "good")

    async def agrees(self, question: Question) -> bool:
        """Ask; return whether the answer was yes."""
        from taskmaster_tui.screens.confirm import Confirm  # noqa: PLC0415  # a dialog is loaded when it is wanted

        screen: Screen[Any] = Confirm(question)
        return bool(await self._app.push_screen_wait(screen))

    def forget_refusals(self) -> None:
        """Take refusals off the rows: the person has seen them and goes on."""
        keys = self._app.world.forget_refusals()
        if keys:
            self._tell(list(keys))

    def _mark(self, verb: str, keys: Sequence[str]) -> None:
        self._app.world.sending(keys, verb, self._app.now())
        self._tell(keys)

    def _refused(self, verb: str, error: TaskmasterError, keys: Sequence[str]) -> None:
        self._app.world.answered(None, clean(error.message), keys)
        self._tell(keys)
        self._app.complain(error, f"{verb}: ")

    def _answered(self, verb: str, select: Sequence[str], result: Any, keys: Sequence[str]) -> None:
        done = msgspec.convert(result, wire.Done)
        self._app.world.answered(done, "", keys)
        self._tell(keys)
        bad = [each for each in done.outcomes if not each.ok]
        if bad:
            first = bad[0]
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            self._app.say(clean(f"{first.key}: {first.note or first.state}{more}"), "error")
            return
        if verb == "shutdown":
            self._app.say("everything is stopped; core and shim end", "good")
            return
        notes = {each.note for each in done.outcomes if each.note}
        said = f" · {notes.pop()}" if len(notes) == 1 else ""
        hint = f"   {self._app.key_of('app.undo')} undo" if verb in _UNDONE else ""
        self._app.say(clean(f"{', '.join(select)} {_DONE.get(verb, 'done')}{said}{hint}"), "good")

    def _tell(self, keys: Sequence[str]) -> None:
        self._app.changed(Change(keys=set(keys)))
