"""Make the processes follow what is declared: at boot, at a reload, when a job is scaled.

Decides which processes a config and the operators' wishes call for, and gives those that are there, missing or too many
their stimuli. The supervisor calls it; how a process takes a stimulus is the machine's affair.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from taskmaster_core import machine
from taskmaster_core.effects import Persist, Retune
from taskmaster_core.intents import Intent, Intents
from taskmaster_core.machine import Proc
from taskmaster_core.plan import Change, Plan, carry_out
from taskmaster_core.processes import Processes
from taskmaster_core.spec import ALIVE, Config, Goal, JobSpec, Key, State

_OUTPUT = frozenset({"stdout", "stderr", "log", "filelog"})


class Declared:
    """Hold the config in force, and keep the processes to it."""

    def __init__(self, processes: Processes, intents: Intents) -> None:
        self.config = Config()
        self.generation = 0
        self.jobs: dict[str, JobSpec] = {}
        """By name, in the order of the config."""
        self._all = processes
        self._intents = intents

    def _declare(self, config: Config, generation: int) -> None:
        self.config = config
        self.generation = generation
        self.jobs = {job.name: job for job in config.jobs}

    # Reload and scale ---------------------------------------------------------------------------------------------

    def reload(self, plan: Plan, new: Config, generation: int) -> None:
        """Carry a plan out: first what goes, then what changes, then what comes."""
        self._declare(carry_out(plan, new), generation)
        for change in plan.changes:
            if change.new is None:
                self._remove(change.job)
        for change in plan.changes:
            if change.sign == "~" and change.new is not None:
                self._change(change, change.new)
        for change in plan.changes:
            if change.sign == "+" and change.new is not None:
                self.widen(change.new)

    def _remove(self, name: str) -> None:
        self._take_back(self._intents.to_forget(name))
        for proc in self._all.of(name):
            self._all.apply(proc.key, machine.Remove(), "the config no longer has it")

    def outgrow(self, plan: Plan) -> None:
        """Take back the wishes that are void by what was edited while no core ran; called before `boot`."""
        for change in plan.changes:
            if change.new is None:
                self._take_back(self._intents.to_forget(change.job))
            elif change.scale:
                self._unscale(change.job)

    def _unscale(self, name: str) -> None:
        wishes = (each for each in self._intents.about(name) if each.kind == "scale")
        self._take_back(replace(each, kind=None) for each in wishes)

    def _take_back(self, changes: Iterable[Intent]) -> None:
        taken_back = tuple(changes)
        if taken_back:
            self._intents.take(taken_back)
            self._all.ask(Persist(taken_back))

    def _change(self, change: Change, spec: JobSpec) -> None:
        """Give every process its new spec; restart those for which it holds only in a new run."""
        if change.scale:
            self._unscale(spec.name)
        sinks = not change.relaunch and any(field.name in _OUTPUT for field in change.fields)
        for proc in self._all.of(spec.name):
            self._respecify(proc, spec, sinks=sinks)
            self._all.apply(proc.key, machine.Reconfigured(change.relaunch), "its declaration changed")
        self.widen(spec)

    def _respecify(self, proc: Proc, spec: JobSpec, *, sinks: bool) -> None:
        self._all.put(proc.key, replace(proc, spec=spec, generation=self.generation))
        if proc.state in ALIVE:  # also a run that is not born yet: the shim holds the recipe it was ordered with
            self._all.ask(Retune(proc.key, proc.run, spec, sinks))

    def widen(self, spec: JobSpec) -> None:
        """Add the missing indices and remove those above, the highest first; the others are not touched."""
        width = self._intents.width(spec)
        present = {proc.key: proc for proc in self._all.of(spec.name)}
        any_up = any(proc.goal is Goal.UP for proc in present.values())
        for key in reversed(present):
            if key.index >= width:
                self._all.apply(key, machine.Remove(), f"only {width} are wanted")
        for index in range(width):
            key = Key(spec.name, index)
            up = any_up and not self._intents.kept_down(key)
            goal = Goal.UP if up else self._intents.goal(spec, key)
            if key in present:
                self._readmit(present[key], spec, goal)
            else:
                self._admit(key, spec, goal)

    def _readmit(self, proc: Proc, spec: JobSpec, goal: Goal) -> None:
        if proc.goal is not Goal.GONE:
            return
        self._respecify(replace(proc, held=self._intents.held(proc.key)), spec, sinks=False)
        self._all.apply(proc.key, machine.Readmit(goal), "is wanted again")

    def _admit(self, key: Key, spec: JobSpec, goal: Goal) -> None:
        self._all.put(key, self._new(key, spec, reason="is not wanted"))
        self._all.tell("added", key)
        if goal is Goal.UP:
            self._all.apply(key, machine.Start(), "was added")

    def _new(self, key: Key, spec: JobSpec, **facts: Any) -> Proc:
        """Return a process that is not there yet; of an earlier one of its name it only continues the run numbers."""
        run = self._all.past.pop(key, 0)
        held = self._intents.held(key)
        return Proc(key, spec, self.generation, since=self._all.now, run=run, held=held, **facts)

    # Coming back --------------------------------------------------------------------------------------------------

    def boot(
        self, config: Config, generation: int, restored: Mapping[Key, Proc], *, idle: bool = False,
        living: Container[Key] = (), left: Mapping[Key, int],
    ) -> None:  # fmt: skip
        """Begin with a config: processes as an earlier core left them, others `unknown` until the shim has spoken."""
        self._declare(config, generation)
        for key, proc in restored.items():
            self._all.put(key, proc)
        for spec in config.jobs:
            for index in range(self._intents.width(spec)):
                key = Key(spec.name, index)
                self._come_back(key, spec, idle=idle and key not in living, left=left.get(key, 0))
        for key in sorted(restored, reverse=True):
            if key.job not in self.jobs or key.index >= self._intents.width(self.jobs[key.job]):
                self._all.apply(key, machine.Remove(), "the config no longer has it")

    def _come_back(self, key: Key, spec: JobSpec, *, idle: bool, left: int) -> None:
        goal = Goal.DOWN if idle else self._intents.goal(spec, key)
        known = self._all.procs.get(key)
        if known is None:
            new = self._new(key, spec, goal=goal, state=State.UNKNOWN)
            self._all.put(key, replace(new, run=max(new.run, left), lingering=int(left > 0 and left >= new.run)))
            return
        self._readmit(known, spec, goal)
        if known.goal is Goal.UP and self._intents.kept_down(key):  # the core before died between wish and effect
            self._all.apply(key, machine.Stop(), "was stopped by hand")
        held = self._intents.held(key)
        if held is not known.held:
            self._all.apply(key, machine.Hold() if held else machine.Release(), "as was asked by hand")

    def found(self, key: Key, report: machine.Found) -> None:
        """Take over a living run the shim told of; one that no job declares is stopped and forgotten."""
        if key not in self._all.procs:
            self._all.put(key, self._new(key, JobSpec(key.job, ()), goal=Goal.GONE, state=State.UNKNOWN))
        self._all.apply(key, report)

    def booted(self) -> None:
        """Start or settle everything of which the shim had no run."""
        for key, proc in tuple(self._all.procs.items()):
            if proc.state is State.UNKNOWN:
                self._all.apply(key, machine.NotFound(), "starts with the core")
