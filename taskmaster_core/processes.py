"""Hold all processes and take one step of one of them: the store under the supervisor.

It keeps what must agree with each process: the deadlines, the start slots, who waits for it, how many each job has. It
decides nothing about jobs and wishes; `declared.py` and `supervisor.py` say which process gets which stimulus.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any

from msgspec.structs import replace

from taskmaster_core import machine, waits
from taskmaster_core.effects import Fact, Outcomes
from taskmaster_core.machine import Ctx, Effect, Emit, Forget, Proc, Stimulus, step
from taskmaster_core.spec import ALIVE, Goal, Key, State
from taskmaster_core.wire import Cause

_RESTING = frozenset({State.STOPPED, State.EXITED, State.FATAL})
_COMING = frozenset({State.PENDING, State.STOPPING})
_COMES_OF_A_START = frozenset({"started", "failed"})


def unborn(proc: Proc) -> bool:
    """Tell whether a run was ordered of which the shim has not said yet what became of it: it holds a start slot."""
    return proc.pid is None and proc.started_at is None and proc.state in (State.STARTING, State.STOPPING)


def comes_up(before: Proc, after: Proc) -> bool:
    """Tell whether a step is the one that will bring up a run, at once or after what is there has ended."""
    on_the_way = before.state in _COMING and before.goal is Goal.UP
    return after.goal is Goal.UP and after.state in _COMING and not on_the_way


def at_rest(proc: Proc) -> bool:
    """Tell whether a stop would change nothing: nothing of it runs that is ours to end."""
    if proc.state is State.STOPPED:
        return True
    return proc.state in _RESTING and not (proc.lingering and proc.spec.killgroup)


class Processes:
    """Hold all processes, and what they ask for."""

    def __init__(self) -> None:
        self.procs: dict[Key, Proc] = {}
        self.changed: set[Key] = set()
        """Keys that changed since the daemon last looked; a key that is no longer in `procs` is gone."""
        self.past: dict[Key, int] = {}
        """The last runs of processes that are gone: should one come back, its numbers go on."""
        self.waits = waits.Waits()
        self.closing = False
        """Set for good by an ordered stop of everything: from then on nothing comes up."""
        self.now = 0.0
        self.cause = Cause("boot")
        self._effects: list[Outcomes] = []
        self._widths: dict[str, int] = {}
        self._deadlines: list[tuple[float, Key]] = []
        self._queue: deque[Key] = deque()
        self._unborn: set[Key] = set()
        self._starts: dict[Key, Cause] = {}  # why each came up: the shim's report that it did knows no more than that

    def begin(self, now: float, cause: Cause) -> None:
        """Say when and why the following steps happen."""
        self.now = now
        self.cause = cause

    def ask(self, *effects: Outcomes) -> None:
        """Add effects."""
        self._effects += effects

    def tell(self, type_: str, key: Key, **data: Any) -> None:
        """Add a fact; a start is told with what brought it about."""
        cause = self._starts.get(key, self.cause) if type_ in _COMES_OF_A_START else self.cause
        self._effects.append(Fact(type_, str(key), cause, data))

    def take(self) -> list[Outcomes]:
        """Hand over the effects collected since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    def of(self, name: str) -> list[Proc]:
        """Return a job's processes by index."""
        keys = (Key(name, index) for index in range(self._widths.get(name, 0)))
        return [self.procs[key] for key in keys if key in self.procs]

    # Steps --------------------------------------------------------------------------------------------------------

    def apply(self, key: Key, stimulus: Stimulus, why: str = "") -> str:
        """Take one step of one process; return why it was refused, if it was."""
        proc = self.procs.get(key)
        if proc is None:
            return f"{key} is gone"
        if self.closing:
            if isinstance(stimulus, machine.Start | machine.Relaunch):
                return "everything is being stopped"
            stimulus = _while_closing(stimulus)
        result = step(proc, stimulus, Ctx(self.now, why))
        if result.proc is not proc:
            self.put(key, result.proc)
            if comes_up(proc, result.proc):
                self._starts[key] = self._cause_after(proc)
        for effect in result.effects:
            self._collect(effect)
        if result.proc is not proc:
            self.waits.tell(key, self.procs.get(key))
        return result.refused

    def _cause_after(self, proc: Proc) -> Cause:
        """Return the cause of a start; of a retry it names the run that failed."""
        return replace(self.cause, run=proc.run) if proc.state is State.BACKOFF and not self.cause.run else self.cause

    def put(self, key: Key, proc: Proc) -> None:
        """Set a process as it is to be from now on."""
        self.procs[key] = proc
        self.changed.add(key)
        self._widths[key.job] = max(self._widths.get(key.job, 0), key.index + 1)
        if proc.deadline is not None:
            heappush(self._deadlines, (proc.deadline, key))
        if proc.state is State.PENDING:
            self._queue.append(key)
        if unborn(proc):
            self._unborn.add(key)
        else:
            self._unborn.discard(key)

    def _collect(self, effect: Effect) -> None:
        if isinstance(effect, Emit):
            self.tell(effect.type, effect.key, **effect.data)
            return
        if isinstance(effect, Forget):
            self._drop(effect.key)
        self._effects.append(effect)

    def _drop(self, key: Key) -> None:
        run = self.procs.pop(key).run
        if run:
            self.past[key] = run
        self._unborn.discard(key)
        self._starts.pop(key, None)
        self.changed.add(key)
        self.tell("removed", key)
        width = self._widths[key.job]
        while width and Key(key.job, width - 1) not in self.procs:
            width -= 1
        self._widths[key.job] = width
        if not width:
            del self._widths[key.job]

    # Deadlines and slots ------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """Return the first deadline of a process, None if there is none."""
        while self._deadlines:
            due, key = self._deadlines[0]
            proc = self.procs.get(key)
            if proc is not None and proc.deadline == due:
                return due
            heappop(self._deadlines)  # it was put off, met or given up since
        return None

    def run_deadlines(self, now: float) -> None:
        """Give every process whose deadline has passed its turn, in the order of the deadlines, each once."""
        due: list[tuple[Key, float]] = []
        while (first := self.deadline) is not None and first <= now:
            key = self._deadlines[0][1]
            due.append((key, now - first))
            self.procs[key] = replace(self.procs[key], deadline=None)
        for key, late in due:
            self.apply(key, machine.Deadline(late))

    def open_gates(self, slots: int) -> None:
        """Let those that wait start, in order, as far as there are slots: forks that have not reached exec."""
        while self._queue and len(self._unborn) < slots:
            key = self._queue.popleft()
            proc = self.procs.get(key)
            if proc is not None and proc.state is State.PENDING:
                self.apply(key, machine.GateOpened())

    # An end to everything -----------------------------------------------------------------------------------------

    def stop_all(self, why: str) -> None:
        """Stop everything in order."""
        self.closing = True
        for key, proc in tuple(self.procs.items()):
            if not at_rest(proc):
                self.apply(key, machine.Stop(), why)

    def kill_all(self, why: str) -> None:
        """SIGKILL everything that lives."""
        for key, proc in tuple(self.procs.items()):
            if proc.state in ALIVE:
                self.apply(key, machine.Kill(), why)

    @property
    def all_down(self) -> bool:
        """Tell whether nothing is left that a stop could end; what does not die of SIGKILL is not waited for (L29)."""
        return all(at_rest(proc) or proc.unkillable for proc in self.procs.values())


def _while_closing(stimulus: Stimulus) -> Stimulus:
    """Return what a stimulus still means while everything is being stopped: nothing that starts anything."""
    match stimulus:
        case machine.Readmit():
            return machine.Readmit(Goal.DOWN)
        case machine.Reconfigured():
            return machine.Reconfigured(relaunch=False)
        case _:
            return stimulus
