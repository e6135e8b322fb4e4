"""Decide for all processes together: what the machine says of one, the supervisor says of the whole.

Pure and synchronous: a stimulus and the time go in, effects come out of `take`; it reads no clock, opens nothing, waits
for nothing. It holds the only copy of the policy's state: the processes, the start slots, the intents, who waits for
what. The daemon feeds it and carries its effects out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from taskmaster_core import machine, waits
from taskmaster_core.intents import Intent, Intents
from taskmaster_core.machine import Ctx, Effect, Emit, Forget, KillTree, Proc, Signal, Spawn, Stimulus, step
from taskmaster_core.plan import Change, Plan, carry_out
from taskmaster_core.spec import ALIVE, Config, Goal, JobSpec, Key, State
from taskmaster_core.wire import Cause, Outcome

_BOOT = Cause("boot")
_RESTING = frozenset({State.STOPPED, State.EXITED, State.FATAL})


class Fact(Struct, frozen=True):
    """Publish something that happened: an event without its number and wall time."""

    type: str
    key: str
    cause: Cause
    data: dict[str, Any]


class Retune(Struct, frozen=True):
    """Tell the shim what a live change of the spec means for a run: stop recipe, nice, and with `sinks` its files."""

    key: Key
    run: int
    spec: JobSpec
    sinks: bool


class Answer(Struct, frozen=True):
    """Answer a request that waited."""

    settled: waits.Settled


class Persist(Struct, frozen=True):
    """Write changes of the intents that no command asked for (a job that is gone)."""

    changes: tuple[Intent, ...]


class AllDown(Struct, frozen=True):
    """Say that the ordered stop is complete, with the exit status it is to end with."""

    code: int


Outcomes = Spawn | Signal | KillTree | Forget | Fact | Retune | Answer | Persist | AllDown


class Supervisor:
    """Hold all processes and drive them by stimuli."""

    def __init__(self, intents: Iterable[Intent] = ()) -> None:
        self.config = Config()
        self.generation = 0
        self.procs: dict[Key, Proc] = {}
        self.intents = Intents(intents)
        self.waits = waits.Waits()
        self.changed: set[Key] = set()
        """Keys that changed since the daemon last looked; a key that is no longer in `procs` is gone."""
        self.shutting_down: int | None = None
        """The exit status of the ordered stop under way; None while there is none."""
        self._told_down = False
        self._jobs: dict[str, JobSpec] = {}
        self._widths: dict[str, int] = {}
        self._effects: list[Outcomes] = []
        self._deadlines: list[tuple[float, Key]] = []
        self._queue: deque[Key] = deque()
        self._unborn: set[Key] = set()
        self._stop_bound: float | None = None
        self._cause = _BOOT
        self._now = 0.0

    # What others ask ---------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """Return when `tick` wants to be called, None for never."""
        while self._deadlines:
            due, key = self._deadlines[0]
            proc = self.procs.get(key)
            if proc is not None and proc.deadline == due:
                break
            heappop(self._deadlines)
        first = self._deadlines[0][0] if self._deadlines else None
        bounds = [each for each in (first, self._stop_bound) if each is not None]
        return min(bounds) if bounds else None

    def take(self) -> list[Outcomes]:
        """Open gates, settle waits, and hand over the effects collected since the last call, in order."""
        self._open_gates()
        self._effects.extend(Answer(settled) for settled in self.waits.settled())
        if self.shutting_down is not None and not self._told_down and self._all_down():
            self._told_down = True
            self._effects.append(AllDown(self.shutting_down))
            self._stop_bound = None
        effects, self._effects = self._effects, []
        return effects

    def job(self, name: str) -> JobSpec | None:
        """Return a declared job's spec, or None."""
        return self._jobs.get(name)

    def jobs(self) -> Iterable[JobSpec]:
        """Return the declared jobs in the order of the config."""
        return self._jobs.values()

    def processes_of(self, name: str) -> list[Proc]:
        """Return a job's processes by index, those on their way out too."""
        width = self._widths.get(name, 0)
        found = [self.procs[key] for index in range(width) if (key := Key(name, index)) in self.procs]
        if len(found) < width:  # holes: indices above the declared ones that still stop
            found = sorted((proc for key, proc in self.procs.items() if key.job == name), key=lambda proc: proc.key)
        return found

    @property
    def widths(self) -> dict[str, int]:
        """Return how many processes each declared job is to have, by hand or by config."""
        return {name: self.intents.width(spec) for name, spec in self._jobs.items()}

    # Stimuli ------------------------------------------------------------------------------------------------------

    def command(self, keys: Iterable[Key], stimulus: Stimulus, now: float, cause: Cause, why: str) -> list[Outcome]:
        """Give a command to processes; return an outcome for each that was refused."""
        self._begin(now, cause)
        refused = []
        for key in keys:
            reason = self._apply(key, stimulus, why)
            if reason:
                refused.append(waits.outcome(key, self.procs.get(key), ok=False, note=reason))
        return refused

    def report(self, key: Key, stimulus: Stimulus, now: float) -> None:
        """Take in what the shim says of a process."""
        run = getattr(stimulus, "run", 0)
        self._begin(now, Cause("exit" if isinstance(stimulus, machine.Exited) else "shim", run=run))
        if isinstance(stimulus, machine.Spawned | machine.SpawnFailed | machine.Exited):
            self._unborn.discard(key)
        self._apply(key, stimulus)
        self._end_with(key)

    def tick(self, now: float) -> None:
        """Give every process whose deadline has passed its turn, in the order of the deadlines, each once."""
        self._begin(now, Cause("deadline"))
        due: list[Key] = []
        while (first := self.deadline) is not None and first <= now and self._deadlines:
            if self._deadlines[0][0] > now:
                break
            key = heappop(self._deadlines)[1]
            if key not in due:
                due.append(key)
                self.procs[key] = replace(self.procs[key], deadline=None)
        for key in due:
            self._apply(key, machine.Deadline())
        if self._stop_bound is not None and self._stop_bound <= now:
            self._stop_bound = None
            self.kill_all(now, "the time for an ordered stop is over")

    def set_intents(self, changes: Iterable[Intent]) -> None:
        """Put an operator's wishes in force."""
        self.intents.take(changes)

    def scale(self, name: str, now: float, cause: Cause) -> None:
        """Bring a job to the number of processes that intents and config say."""
        self._begin(now, cause)
        self._widen(self._jobs[name])

    def reload(self, plan: Plan, new: Config, generation: int, now: float, cause: Cause) -> None:
        """Carry a plan out: first what goes, then what changes, then what comes."""
        self._begin(now, cause)
        self.config = carry_out(plan, new)
        self.generation = generation
        self._jobs = {job.name: job for job in self.config.jobs}
        for change in plan.changes:
            if change.new is None:
                self._remove_job(change.job)
        for change in plan.changes:
            if change.sign == "~" and change.new is not None:
                self._change_job(change, change.new, generation)
        for change in plan.changes:
            if change.sign == "+" and change.new is not None:
                self._widen(change.new)

    def shut_down(self, code: int, now: float, cause: Cause, why: str, *, fast: bool = False) -> None:
        """Stop everything in order and then say AllDown; `fast`, or a second call with it: kill now."""
        self._begin(now, cause)
        self.shutting_down = code if self.shutting_down is None else self.shutting_down
        bound = self.config.settings.shutdown
        if bound is not None and self._stop_bound is None:
            self._stop_bound = now + bound
        for key, proc in tuple(self.procs.items()):
            if proc.state not in _RESTING or proc.lingering:
                self._apply(key, machine.Stop(), why)
        if fast:
            self.kill_all(now, why)

    def kill_all(self, now: float, why: str) -> None:
        """SIGKILL everything that lives."""
        for key, proc in tuple(self.procs.items()):
            if proc.state in ALIVE:
                self._apply(key, machine.Kill(), why)

    def give_up_waiting(self, request: str) -> Any:
        """Return how far a request came whose time is over, None if it was answered."""
        return self.waits.give_up(request, self.procs.get)

    def wait_for(self, request: str, judge: waits.Judge, runs: dict[Key, int], known: Iterable[Outcome]) -> None:
        """Answer `request` once every process in `runs` is judged; those that are so already count at once."""
        self.waits.add(request, judge, runs, known)
        for key in runs:
            self.waits.tell(key, self.procs.get(key))

    # Coming back --------------------------------------------------------------------------------------------------

    def boot(self, config: Config, generation: int, restored: dict[Key, Proc], now: float) -> None:
        """Begin with a config: processes as an earlier core left them, the others `unknown` until the shim has spoken."""
        self._begin(now, _BOOT)
        self.config = config
        self.generation = generation
        self._jobs = {job.name: job for job in config.jobs}
        for key, proc in restored.items():
            self._put(key, proc)
        for spec in config.jobs:
            self._widths[spec.name] = self.intents.width(spec)
            for index in range(self.intents.width(spec)):
                key = Key(spec.name, index)
                if key not in self.procs:
                    goal = self.intents.goal(spec, key)
                    self._put(key, Proc(key, spec, generation, goal, State.UNKNOWN, since=now))
        for key, proc in tuple(self.procs.items()):
            self._widths[key.job] = max(self._widths.get(key.job, 0), key.index + 1)
            if key.job not in self._jobs or key.index >= self.intents.width(self._jobs[key.job]):
                self._apply(key, machine.Remove(), "the config no longer has it")
            elif proc.state is State.STARTING and proc.pid is None:
                self._unborn.add(key)

    def _highest(self, name: str) -> int:
        return max((key.index + 1 for key in self.procs if key.job == name), default=0)

    def found(self, key: Key, report: machine.Found, now: float) -> None:
        """Take over a living run the shim told of; one that no job declares is stopped and forgotten."""
        self._begin(now, _BOOT)
        if key not in self.procs:
            stray = Proc(key, JobSpec(key.job, ()), self.generation, Goal.GONE, State.UNKNOWN, since=now)
            self._put(key, stray)
            self._widths[key.job] = max(self._widths.get(key.job, 0), key.index + 1)
        self._apply(key, report)

    def booted(self, now: float) -> None:
        """Start or settle everything of which the shim had no run."""
        self._begin(now, _BOOT)
        for key, proc in tuple(self.procs.items()):
            if proc.state is State.UNKNOWN:
                self._apply(key, machine.NotFound(), "starts with the core")

    # Inside -------------------------------------------------------------------------------------------------------

    def _begin(self, now: float, cause: Cause) -> None:
        self._now = now
        self._cause = cause

    def _apply(self, key: Key, stimulus: Stimulus, why: str = "") -> str:
        """Take one step of one process; return why it was refused, if it was."""
        proc = self.procs.get(key)
        if proc is None:
            return f"{key} is gone"
        if self.shutting_down is not None and isinstance(stimulus, machine.Start | machine.Relaunch):
            return "everything is being stopped"
        result = step(proc, stimulus, Ctx(self._now, why))
        if result.proc is not proc:
            self._put(key, result.proc)
        for effect in result.effects:
            self._collect(effect)
        if result.proc is not proc:
            self.waits.tell(key, self.procs.get(key))
        return result.refused

    def _put(self, key: Key, proc: Proc) -> None:
        self.procs[key] = proc
        self.changed.add(key)
        if proc.deadline is not None:
            heappush(self._deadlines, (proc.deadline, key))
        if proc.state is State.PENDING:
            self._queue.append(key)

    def _collect(self, effect: Effect) -> None:
        if isinstance(effect, Emit):
            self._effects.append(Fact(effect.type, str(effect.key), self._cause, effect.data))
            return
        if isinstance(effect, Spawn):
            self._unborn.add(effect.key)
        elif isinstance(effect, Forget):
            self._drop(effect.key)
        self._effects.append(effect)

    def _drop(self, key: Key) -> None:
        del self.procs[key]
        self._unborn.discard(key)
        self.changed.add(key)
        self._effects.append(Fact("removed", str(key), self._cause, {}))
        self._widths[key.job] = max(self._highest(key.job), 0)
        if not self._widths[key.job]:
            del self._widths[key.job]

    def _open_gates(self) -> None:
        """Let those that wait start, in order, as far as there are slots: forks that have not reached exec."""
        while self._queue and len(self._unborn) < self.config.settings.maxstarts:
            key = self._queue.popleft()
            proc = self.procs.get(key)
            if proc is not None and proc.state is State.PENDING:
                self._apply(key, machine.GateOpened())

    def _all_down(self) -> bool:
        return all(proc.state in _RESTING and not proc.lingering for proc in self.procs.values())

    def _remove_job(self, name: str) -> None:
        forgotten = self.intents.to_forget(name)
        if forgotten:
            self.intents.take(forgotten)
            self._effects.append(Persist(tuple(forgotten)))
        for proc in self.processes_of(name):
            self._apply(proc.key, machine.Remove(), "the config no longer has it")

    def _change_job(self, change: Change, spec: JobSpec, generation: int) -> None:
        """Give every process its new spec; restart those for which it holds only in a new run."""
        unscaled = [each for each in self.intents.about(spec.name) if each.kind == "scale"]
        if change.scale and unscaled:
            taken_back = tuple(replace(each, kind=None) for each in unscaled)
            self.intents.take(taken_back)
            self._effects.append(Persist(taken_back))
        sinks = any(field.name in ("stdout", "stderr", "log", "filelog") for field in change.fields)
        for proc in self.processes_of(spec.name):
            self.procs[proc.key] = replace(proc, spec=spec, generation=generation)
            self.changed.add(proc.key)
            if proc.pid is not None and not change.relaunch:
                self._effects.append(Retune(proc.key, proc.run, spec, sinks))
            self._apply(proc.key, machine.Reconfigured(change.relaunch), "its declaration changed")
        self._widen(spec)

    def _widen(self, spec: JobSpec) -> None:
        """Add the missing indices and remove those above; the others are not touched."""
        width = self.intents.width(spec)
        present = {proc.key.index: proc for proc in self.processes_of(spec.name)}
        any_up = any(proc.goal is Goal.UP for proc in present.values())
        for index in sorted(present, reverse=True):
            if index >= width:
                self._apply(Key(spec.name, index), machine.Remove(), f"only {width} are wanted")
        for index in range(width):
            key = Key(spec.name, index)
            goal = Goal.UP if any_up and not self.intents.held_down(key) else self.intents.goal(spec, key)
            if index in present:
                if present[index].spec is not spec:  # its job was removed and has come back
                    self._put(key, replace(present[index], spec=spec, generation=self.generation))
                self._apply(key, machine.Readmit(goal))
            else:
                self._admit(key, spec, goal)
        self._widths[spec.name] = max(width, self._highest(spec.name))

    def _admit(self, key: Key, spec: JobSpec, goal: Goal) -> None:
        self._put(key, Proc(key, spec, self.generation, since=self._now, reason="is not wanted"))
        self._effects.append(Fact("added", str(key), self._cause, {}))
        if goal is Goal.UP:
            self._apply(key, machine.Start(), "was added")

    def _end_with(self, key: Key) -> None:
        """Begin the ordered stop when a job with `exitwith` has ended by itself."""
        spec = self._jobs.get(key.job)
        if spec is None or not spec.exitwith or self.shutting_down is not None:
            return
        procs = self.processes_of(key.job)
        if procs and all(proc.state in (State.EXITED, State.FATAL) for proc in procs):
            code = max(exit_status(proc) for proc in procs)
            self.shut_down(code, self._now, Cause("exit", text=f"{key.job} ended"), f"{key.job} ended (exitwith)")


def exit_status(proc: Proc) -> int:
    """Return the status a shell would show for the last end; 1 if it never started or nothing is known of its end."""
    end = proc.exit
    if end is None:
        return 1
    return end.code if end.code is not None else 128 + end.signum if end.signum else 1
