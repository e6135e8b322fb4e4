"""Decide for all processes together: what the machine says of one, the supervisor says of the whole.

Pure and synchronous: a stimulus and the time go in, effects come out of `take`; it reads no clock, opens nothing, waits
for nothing. It holds the only copy of the policy's state: the processes, the start slots, the intents, who waits for
what. The daemon feeds it and carries its effects out.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from msgspec.structs import replace

from taskmaster_core import machine, waits
from taskmaster_core.declared import Declared
from taskmaster_core.effects import AllDown, Answer, Fact, Outcomes, Persist, Retune
from taskmaster_core.intents import Intent, Intents
from taskmaster_core.machine import Proc, Stimulus
from taskmaster_core.plan import Plan
from taskmaster_core.processes import Processes
from taskmaster_core.spec import ALIVE, Config, JobSpec, Key, State
from taskmaster_core.wire import Cause, Done, Outcome

__all__ = ["AllDown", "Answer", "Fact", "Outcomes", "Persist", "Retune", "Supervisor", "exit_status"]

STUCK = 1
"""The exit status of an ordered stop that had to leave behind what does not die of SIGKILL."""


class Supervisor:
    """Hold all processes and drive them by stimuli."""

    def __init__(self, intents: Iterable[Intent] = ()) -> None:
        self.intents = Intents(intents)
        self.shutting_down: int | None = None
        """The exit status of the ordered stop under way; None while there is none."""
        self._all = Processes()
        self._declared = Declared(self._all, self.intents)
        self._stop_bound: float | None = None
        self._told_down = False
        self._halted: set[Key] = set()  # `stopping` when the shim was lost, or to be restarted since

    # What others ask ---------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """Return the config in force."""
        return self._declared.config

    @property
    def generation(self) -> int:
        """Return its number."""
        return self._declared.generation

    @property
    def procs(self) -> Mapping[Key, Proc]:
        """Return all processes."""
        return self._all.procs

    @property
    def past(self) -> dict[Key, int]:
        """Return the last runs of processes that are gone; part of what a later core must know."""
        return self._all.past

    @property
    def changed(self) -> set[Key]:
        """Return the keys that changed since the daemon last cleared them; one that is not in `procs` is gone."""
        return self._all.changed

    @property
    def deadline(self) -> float | None:
        """Return when `tick` wants to be called, None for never."""
        bounds = [each for each in (self._all.deadline, self._stop_bound) if each is not None]
        return min(bounds) if bounds else None

    @property
    def widths(self) -> dict[str, int]:
        """Return how many processes each declared job is to have, by hand or by config."""
        return {name: self.intents.width(spec) for name, spec in self._declared.jobs.items()}

    def take(self) -> list[Outcomes]:
        """Open gates, settle waits, and hand over the effects collected since the last call, in order."""
        self._all.open_gates(self.config.settings.maxstarts)
        self._all.ask(*(Answer(settled) for settled in self._all.waits.settled()))
        if self.shutting_down is not None and not self._told_down and self._all.all_down:
            self._told_down = True  # once: whoever takes until nothing comes must come to an end
            self._stop_bound = None
            stuck = any(proc.unkillable for proc in self.procs.values())
            self._all.ask(AllDown(self.shutting_down or (STUCK if stuck else 0)))
        return self._all.take()

    def job(self, name: str) -> JobSpec | None:
        """Return a declared job's spec, or None."""
        return self._declared.jobs.get(name)

    def jobs(self) -> Iterable[JobSpec]:
        """Return the declared jobs in the order of the config."""
        return self._declared.jobs.values()

    def processes_of(self, name: str) -> list[Proc]:
        """Return a job's processes by index, those on their way out too."""
        return self._all.of(name)

    # Stimuli ------------------------------------------------------------------------------------------------------

    def command(self, keys: Iterable[Key], stimulus: Stimulus, now: float, cause: Cause, why: str) -> list[Outcome]:
        """Give a command to processes; return an outcome for each that was refused."""
        self._all.begin(now, cause)
        refused = []
        for key in keys:
            proc = self.procs.get(key)
            if isinstance(stimulus, machine.Relaunch) and proc is not None and proc.state is State.UNKNOWN:
                self._halted.add(key)
            reason = self._all.apply(key, stimulus, why)
            if reason:
                refused.append(waits.outcome(key, self.procs.get(key), ok=False, note=reason))
        return refused

    def report(self, key: Key, stimulus: Stimulus, now: float) -> None:
        """Take in what the shim says of a process."""
        run = getattr(stimulus, "run", 0)
        self._all.begin(now, Cause("exit" if isinstance(stimulus, machine.Exited) else "shim", run=run))
        self._all.apply(key, stimulus)
        self._end_with(key)

    def tick(self, now: float) -> None:
        """Give every process whose deadline has passed its turn, in the order of the deadlines, each once."""
        self._all.begin(now, Cause("deadline"))
        self._all.run_deadlines(now)
        if self._stop_bound is not None and self._stop_bound <= now:
            self._stop_bound = None
            self._all.kill_all("the time for an ordered stop is over")

    def set_intents(self, changes: Iterable[Intent]) -> None:
        """Put an operator's wishes in force."""
        self.intents.take(changes)

    def scale(self, name: str, now: float, cause: Cause) -> None:
        """Bring a job to the number of processes that intents and config say; nothing if it is declared no more."""
        self._all.begin(now, cause)
        spec = self.job(name)
        if spec is not None:
            self._declared.widen(spec)

    def reload(self, plan: Plan, new: Config, generation: int, now: float, cause: Cause) -> None:
        """Carry a plan out: first what goes, then what changes, then what comes."""
        self._all.begin(now, cause)
        self._declared.reload(plan, new, generation)

    # Waiting ------------------------------------------------------------------------------------------------------

    def wait_for(self, request: str, judge: waits.Judge, runs: dict[Key, int], known: Iterable[Outcome]) -> None:
        """Answer `request` once every process in `runs` is judged; those that are so already count at once."""
        self._all.waits.add(request, judge, runs, known)
        for key in runs:
            self._all.waits.tell(key, self.procs.get(key))

    def give_up_waiting(self, request: str) -> Done | None:
        """Return how far a request came whose time is over, None if it was answered."""
        return self._all.waits.give_up(request, self.procs.get)

    # Coming back --------------------------------------------------------------------------------------------------

    def boot(
        self, config: Config, generation: int, restored: Mapping[Key, Proc], now: float,
        past: Mapping[Key, int] | None = None, *, idle: bool = False, living: Container[Key] = (),
        left: Mapping[Key, int] | None = None,
    ) -> None:  # fmt: skip
        """Begin with a config: processes as an earlier core left them, others `unknown` until the shim has spoken.

        `left` are ended runs of which something lives, of processes that no earlier core has told of.
        `idle`: nothing that is new starts by itself; what is among the `living` is not new.
        """
        self._all.begin(now, Cause("boot", generation=generation))
        self._all.past.update(past or {})
        self._declared.boot(config, generation, restored, idle=idle, living=living, left=left or {})

    def outgrow(self, plan: Plan) -> None:
        """Take back the wishes that are void by what was edited while no core ran; called before `boot`."""
        self._declared.outgrow(plan)

    def found(self, key: Key, report: machine.Found, now: float) -> None:
        """Take over a living run the shim told of; one that no job declares is stopped and forgotten."""
        self._all.begin(now, Cause("boot", generation=self.generation))
        self._declared.found(key, report)

    def booted(self, now: float) -> None:
        """Start or settle everything of which the shim had no run."""
        self._all.begin(now, Cause("boot", generation=self.generation))
        self._declared.booted()

    # Another shim -------------------------------------------------------------------------------------------------

    def link_lost(self, now: float) -> None:
        """Admit that nothing is known of what lives, until a shim is heard again."""
        self._all.begin(now, Cause("shim"))
        for key, proc in tuple(self.procs.items()):
            if proc.state is State.STOPPING:
                self._halted.add(key)
            if proc.state in ALIVE:
                self._all.apply(key, machine.LinkLost())

    def link_found(
        self, runs: Mapping[Key, machine.Found], now: float, end_of: Callable[[Key, int], machine.Exited]
    ) -> None:
        """Take over what another shim found; `end_of` says how a run ended that is not among it."""
        self._all.begin(now, Cause("shim"))
        for key, proc in tuple(self.procs.items()):
            if proc.state is State.UNKNOWN:
                self._hear_of(proc, runs.get(key), end_of)
        self._halted.clear()

    def _hear_of(
        self, proc: Proc, found: machine.Found | None, end_of: Callable[[Key, int], machine.Exited]
    ) -> None:
        if found is None and proc.pid is None:  # perhaps it never came to be
            self._all.apply(proc.key, machine.NotFound())
            return
        at = proc.started_at if found is None or found.run == proc.run else None
        seen = found or machine.Found(proc.run, proc.pid or 0, self._all.now)
        seen = replace(seen, stopping=seen.stopping or proc.key in self._halted)
        self._all.apply(proc.key, seen if at is None else replace(seen, at=at))
        if found is None:
            self._all.apply(proc.key, end_of(proc.key, proc.run))
        else:  # what was last said about its recipe may have been lost
            self._all.ask(Retune(proc.key, seen.run, proc.spec, sinks=False))

    # The end ------------------------------------------------------------------------------------------------------

    def shut_down(self, code: int, now: float, cause: Cause, why: str, *, fast: bool = False) -> None:
        """Stop everything in order and then say AllDown; `fast`, or a second call with it: kill now."""
        self._all.begin(now, cause)
        if self.shutting_down is None:
            self.shutting_down = code
            bound = self.config.settings.shutdown
            self._stop_bound = now + bound if bound is not None else None
        self._all.stop_all(why)
        if fast:
            self._all.kill_all(why)

    def _end_with(self, key: Key) -> None:
        """Begin the ordered stop when a job with `exitwith` has ended by itself."""
        spec = self.job(key.job)
        if spec is None or not spec.exitwith or self.shutting_down is not None:
            return
        procs = self.processes_of(key.job)
        if procs and all(proc.state in (State.EXITED, State.FATAL) and not proc.owed for proc in procs):
            code = max(exit_status(proc) for proc in procs)
            cause = Cause("exit", text=f"{key.job} ended")
            self.shut_down(code, self._all.now, cause, f"{key.job} ended (exitwith)")


def exit_status(proc: Proc) -> int:
    """Return the status a shell would show for the last end; 1 if it never started or nothing is known of its end."""
    end = proc.exit
    if end is None:
        return 1
    return end.code if end.code is not None else 128 + end.signum if end.signum else 1
