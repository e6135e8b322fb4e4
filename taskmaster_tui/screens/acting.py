"""What can be done to jobs, wherever jobs are shown: the `act` scope of the action table.

Decides which verb an action sends and to what; asking first, sending and answering is the commander's.
"""

from __future__ import annotations

import re
import shlex

from taskmaster_tui.actions import BY_ID, command_line
from taskmaster_tui.model.fmt import plain
from taskmaster_tui.screens.view import Selection, View

_NUMBER = re.compile("[0-9]{1,9}")

_BURST = 0.5
"""Seconds in which presses of + and - are added up before one order is sent."""


class Acting(View):
    """Be a view whose selection can be acted on."""

    _scaling: tuple[str, int] | None = None

    def do_job_start(self) -> None:
        """Start."""
        self.order("start")

    def do_job_stop(self) -> None:
        """Stop gently."""
        self.order("stop")

    def do_job_restart(self) -> None:
        """Stop and start."""
        self.order("restart")

    def do_job_kill(self) -> None:
        """Kill the whole tree."""
        self.order("kill")

    def do_job_reset(self) -> None:
        """Forget failures."""
        self.order("reset")

    def do_job_hold(self) -> None:
        """Hold; release what is all held already."""
        procs = [self.tm.world.proc(key) for key in self.selection().keys]
        self.order("release" if procs and all(proc is not None and proc.held for proc in procs) else "hold")

    def do_job_release(self) -> None:
        """Release."""
        self.order("release")

    def order(self, verb: str, **args: object) -> None:
        """Send a verb to what is selected."""
        chosen = self.selection()
        self.tm.commander.order(verb, chosen.selectors, chosen.keys, **args)

    async def do_job_signal(self) -> None:
        """Choose a signal and send it."""
        from taskmaster_tui.screens.signals import SignalPicker  # noqa: PLC0415  # a dialog is loaded when it is wanted

        chosen = self.selection()
        self.tm.push_screen(SignalPicker(chosen.selectors), lambda signal: self._send(chosen, signal))

    def _send(self, chosen: Selection, signal: str | None) -> None:
        if signal:
            self.tm.commander.order("signal", chosen.selectors, chosen.keys, signal=signal)

    def do_job_scale_up(self) -> None:
        """One more."""
        self._scale_by(1)

    def do_job_scale_down(self) -> None:
        """One less."""
        self._scale_by(-1)

    def _scale_by(self, step: int) -> None:
        name = self.selection().job
        job = self.tm.world.job(name)
        if job is None:
            return
        if self._scaling is not None and self._scaling[0] != name:
            self._send_scale()
        wanted = self._scaling[1] if self._scaling is not None else len(job.procs)
        first = self._scaling is None
        self._scaling = (name, max(wanted + step, 0))
        self.tm.say(f"{name} {len(job.procs)} → {self._scaling[1]}", "busy")
        if first:
            self.set_timer(_BURST, self._send_scale)

    def _send_scale(self) -> None:
        if self._scaling is None:
            return
        (name, wanted), self._scaling = self._scaling, None
        job = self.tm.world.job(name)
        if job is not None and wanted != len(job.procs):
            self.tm.commander.order("scale", (name,), list(job.procs), n=wanted)

    async def do_job_scale(self) -> None:
        """Ask for a number."""
        from taskmaster_tui.screens.prompt import Prompt  # noqa: PLC0415  # a dialog is loaded when it is wanted

        name = self.selection().job
        job = self.tm.world.job(name)
        if job is None:
            return
        prompt = Prompt(f"How many processes of {name}?", str(len(job.procs)), kind="integer")
        self.tm.push_screen(prompt, lambda text: self._scale_to(name, text))

    def _scale_to(self, name: str, text: str | None) -> None:
        job = self.tm.world.job(name)
        if text is None or job is None:
            return
        if not _NUMBER.fullmatch(text.strip()):  # what is longer no message could carry
            self.tm.say("that is not a number of processes: nothing was done", "warn")
        else:
            self.tm.commander.order("scale", (name,), list(job.procs), n=int(text))

    def do_job_attach(self) -> None:
        """Give this terminal to the one process under the cursor that has one."""
        chosen = self.selection()
        name = plain(chosen.job)
        if len(chosen.keys) != 1:
            self.tm.say(f"attach to one process: {len(chosen.keys)} are selected", "warn")
        elif (proc := self.tm.world.proc(chosen.keys[0])) is None or (proc.view.goal != "up" and not proc.view.pid):
            self.tm.say(f"{name} does not run: {self.tm.key_of('job.start')} starts it", "warn")
        else:
            self.tm.run_worker(self.tm.attach(chosen.keys[0]), group="outside", exclusive=True)

    def do_job_edit(self) -> None:
        """Open the job in the editor."""
        self.tm.run_worker(self.tm.edit_config(self.selection().job), group="outside")

    def do_job_why(self) -> None:
        """Tell why it is in its state."""
        from taskmaster_tui.screens.why import Why  # noqa: PLC0415  # a dialog is loaded when it is wanted

        self.tm.push_screen(Why(self.selection().selectors))

    def do_job_copy(self) -> None:
        """Copy the row."""
        self.tm.copy(self.copied())

    def do_job_copy_command(self) -> None:
        """Copy the command line for what is selected."""
        self.tm.copy(self.command("job.restart"))

    def copied(self) -> str:
        """Return the text of what is under the cursor."""
        return " ".join(self.selection().selectors)

    def command(self, action_id: str) -> str:
        """Return the command line of an action for what is selected, as it can be pasted into a shell."""
        chosen = self.selection()
        words = " ".join(shlex.quote(each) for each in chosen.selectors)
        line = command_line(BY_ID[action_id], words, shlex.quote(chosen.job) if chosen.job else "")
        return line.replace("taskmaster", shlex.join(("taskmaster", *self.tm.options.where)), 1)
