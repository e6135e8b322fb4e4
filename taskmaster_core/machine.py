"""Decide what one process does next: the state machine, as one total table.

Two rules carry everything. **Goal and state are two things**: a command changes the goal, a report changes the state,
and the table says what closes the distance between them. **A report about another run is not ours**: every report names
the run it speaks of, and a late, doubled or foreign one is ignored before the table is asked.

`step` is a pure function: it reads no clock (`ctx.now`, seconds of CLOCK_BOOTTIME, is an argument), the next deadline
is a field of the process, and what must happen is a tuple of effects for somebody else to carry out. The supervisor
calls it; `docs/states.md` is generated from the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from taskmaster_core.ends import backoff_delay, describe, expected, herd_delay, short, told_of
from taskmaster_core.spec import Exit, Goal, JobSpec, Key, Restart, State
from taskmaster_core.stimuli import (
    Deadline,
    Exited,
    Found,
    GateOpened,
    Hold,
    Kill,
    LinkLost,
    NotFound,
    Readmit,
    Reconfigured,
    Relaunch,
    Release,
    Remove,
    Reset,
    Send,
    Spawned,
    SpawnFailed,
    Start,
    Stimulus,
    Stop,
    Unkillable,
)  # fmt: skip

__all__ = [
    "HEALTHY_AFTER", "TABLE", "UNKILLABLE_AFTER", "Ctx", "Deadline", "Effect", "Emit", "Exited", "Forget", "Found",
    "GateOpened", "Hold", "Kill", "KillTree", "LinkLost", "NotFound", "Proc", "Readmit", "Reconfigured", "Relaunch",
    "Release", "Remove", "Reset", "Send", "Signal", "Spawn", "SpawnFailed", "Spawned", "Start", "Step", "Stimulus",
    "Stop", "Unkillable", "step",
]  # fmt: skip

HEALTHY_AFTER = 10.0
"""A run that lived this long (or `successdelay`, if longer) makes the counts of failure start anew (key `retry`)."""

UNKILLABLE_AFTER = 10.0
"""Seconds after SIGKILL until a process that is still there is said to be unkillable (RELIABILITY §1)."""

OVERDUE = 5.0
"""Seconds after which a deadline counts as slept through: nobody looked, so others were slept through as well (K02)."""

HELD = "held: not started again until it is released"

_KILLED_STEP = -1
"""The value of `Proc.step` once SIGKILL went out."""


class Proc(Struct, frozen=True):
    """Hold everything the policy knows of one process. Instants are seconds of CLOCK_BOOTTIME."""

    key: Key
    spec: JobSpec
    """The newest declaration; the current run may have been launched from an older one."""
    generation: int = 0
    """The generation `spec` came with."""
    goal: Goal = Goal.DOWN
    state: State = State.STOPPED
    since: float = 0.0
    """When this state began."""
    deadline: float | None = None
    """When the table wants to hear of this process again; None means never by itself."""
    run: int = 0
    """The current run, or the last one; 0 before the first."""
    run_generation: int = 0
    """The generation the current run was launched from."""
    pid: int | None = None
    started_at: float | None = None
    """When the current or last run's exec succeeded."""
    tries: int = 0
    """Unsuccessful runs in a row: the retry budget that is used up."""
    streak: int = 0
    """Restarts in a row without a healthy life between them: what the backoff grows with."""
    restarts: int = 0
    """How often it was started again by itself, ever."""
    exit: Exit | None = None
    lingering: int = 0
    """How many descendants of the last run outlived its leader."""
    left: tuple[str, ...] = ()
    """The first of them, as "4711 sleep"."""
    step: int = 0
    """Which step of the stop recipe is under way; -1 once SIGKILL went out."""
    unkillable: bool = False
    held: bool = False
    """An operator holds it: nothing but a command starts it."""
    owed: bool = False
    """The hold kept back a start, which its release makes up for."""
    reason: str = ""
    """Why it is in this state, one clause for people."""


class Ctx(Struct, frozen=True):
    """Hold what a decision may depend on beside the process itself."""

    now: float
    why: str = ""
    """Who or what asked, one clause for people; becomes part of `Proc.reason`."""


# Effects -------------------------------------------------------------------------------------------------------------


class Spawn(Struct, frozen=True):
    """Start run `run` from this spec."""

    key: Key
    run: int
    spec: JobSpec


class Signal(Struct, frozen=True):
    """Send a signal to the leader, or its group; with `stopping` the run counts as being stopped."""

    key: Key
    run: int
    signum: int
    group: bool
    stopping: bool


class KillTree(Struct, frozen=True):
    """SIGKILL the whole tree (`tree`) or the leader alone."""

    key: Key
    run: int
    tree: bool


class Forget(Struct, frozen=True):
    """Drop the process: it is no longer declared and nothing of it runs."""

    key: Key


class Emit(Struct, frozen=True):
    """Publish a fact."""

    type: str
    key: Key
    data: dict[str, Any] = field(default_factory=dict)


Effect = Spawn | Signal | KillTree | Forget | Emit


class Step(Struct, frozen=True):
    """Hold what came of a stimulus: the process after it, the effects in order, and why it was refused, if it was."""

    proc: Proc
    effects: tuple[Effect, ...] = ()
    refused: str = ""


def step(proc: Proc, stimulus: Stimulus, ctx: Ctx) -> Step:
    """Return what `stimulus` makes of `proc`."""
    run = getattr(stimulus, "run", None)
    if run is not None and run != proc.run and not isinstance(stimulus, Found):
        return Step(proc)
    return TABLE[type(stimulus)][proc.state](proc, stimulus, ctx)


# Small parts ---------------------------------------------------------------------------------------------------------


def _into(proc: Proc, state: State, ctx: Ctx, reason: str, **changes: Any) -> Proc:
    """Return the process in another state; the deadline is gone unless it is among the changes."""
    return replace(proc, **{"state": state, "since": ctx.now, "deadline": None, "reason": reason, **changes})


def _emit(type_: str, proc: Proc, **data: Any) -> Emit:
    return Emit(type_, proc.key, {"run": proc.run, "state": proc.state.value, **data})


def _healthy(proc: Proc, now: float) -> bool:
    lived = now - proc.started_at if proc.started_at is not None else 0.0
    return lived >= max(proc.spec.successdelay, HEALTHY_AFTER)


# Cells: starting -----------------------------------------------------------------------------------------------------


def ignore(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Do nothing: it does not matter here."""
    return Step(proc)


def refuse_not_running(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Refuse: there is no process."""
    return Step(proc, refused=f"{proc.key} is not running ({proc.state})")


def refuse_already(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Refuse: it is so already, or on the way."""
    return Step(proc, refused=f"{proc.key} is {proc.state} already")


def begin(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Want it up, with fresh counts, and queue for a start slot."""
    return _queue(replace(proc, goal=Goal.UP, tries=0, streak=0, owed=False), ctx, ctx.why)


def begin_if_wanted(proc: Proc, stimulus: Reconfigured, ctx: Ctx) -> Step:
    """Start it if it is wanted and the new spec could end otherwise."""
    if proc.goal is not Goal.UP or not stimulus.relaunch:
        return Step(proc)
    return Step(replace(proc, owed=True)) if proc.held else begin(proc, stimulus, ctx)


def _queue(proc: Proc, ctx: Ctx, reason: str) -> Step:
    """Go to pending; but first clear away what the last run left behind, so that there are never two copies."""
    if proc.lingering and proc.spec.killgroup:
        clearing = _clearing(proc, ctx, reason)
        return Step(clearing, (_emit("stopping", clearing, lingering=proc.lingering), _kill(clearing)))
    return Step(_into(proc, State.PENDING, ctx, reason or "waits for a start slot", lingering=0, left=()))


def _clearing(proc: Proc, ctx: Ctx, reason: str = "") -> Proc:
    """Return the process while what outlived its leader is being ended."""
    return _into(
        proc, State.STOPPING, ctx, reason or "ending what its last run left behind", step=_KILLED_STEP,
        deadline=ctx.now + UNKILLABLE_AFTER,
    )  # fmt: skip


def launch(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Start the next run."""
    starting = _into(
        proc, State.STARTING, ctx, proc.reason, run=proc.run + 1, run_generation=proc.generation, pid=None,
        started_at=None, step=0, unkillable=False,
    )  # fmt: skip
    return Step(starting, (Spawn(proc.key, starting.run, proc.spec),))


def spawned(proc: Proc, report: Spawned, ctx: Ctx) -> Step:
    """Note the pid; it runs at once, or once it has lived for successdelay."""
    if proc.started_at is not None:  # told twice: a new core hears again what the last one did not acknowledge
        return Step(proc)
    delay = proc.spec.successdelay
    state = State.STARTING if delay > 0 else State.RUNNING
    deadline = report.at + delay if delay > 0 else None
    born = _into(proc, state, ctx, proc.reason, pid=report.pid, started_at=report.at, deadline=deadline)
    return Step(born, (_emit("started", born, pid=report.pid),))


def succeed(proc: Proc, _: Deadline, ctx: Ctx) -> Step:
    """Call it running: it has lived for successdelay."""
    running = _into(proc, State.RUNNING, ctx, proc.reason)
    return Step(running, (_emit("running", running, pid=proc.pid),))


def retry_now(proc: Proc, passed: Deadline, ctx: Ctx) -> Step:
    """Queue for the next try: the backoff is over. After a suspend it is put off by its jitter: others come too."""
    if passed.late >= OVERDUE:
        delay = herd_delay(proc.key, proc.run, proc.spec.backoff, max(ctx.now - passed.late - proc.since, 0.0))
        return Step(replace(proc, deadline=ctx.now + delay))
    return _queue(proc, ctx, proc.reason)


# Cells: ends ---------------------------------------------------------------------------------------------------------


def failed_start(proc: Proc, report: SpawnFailed, ctx: Ctx) -> Step:
    """Count a start that never became a process, unless it is the machine that is short of something (G12, R04)."""
    dead = replace(proc, pid=None, exit=report.exit, tries=proc.tries + (not short(report.exit)))
    told = _emit("failed", dead, **told_of(report.exit))
    return _after_failure(dead, ctx, told, at_once=False)


def early_exit(proc: Proc, report: Exited, ctx: Ctx) -> Step:
    """Count an end before successdelay as a failed start, whatever the code (supervisord's rule)."""
    dead = _dead(proc, report)
    dead = replace(dead, tries=proc.tries + 1)
    told = _emit("exited", dead, **told_of(report.exit), early=True, expected=False, **report.rest())
    return _after_failure(dead, ctx, told, at_once=False)


def exited(proc: Proc, report: Exited, ctx: Ctx) -> Step:
    """Judge the end of a running process by its restart policy."""
    dead = _dead(proc, report)
    if _healthy(proc, ctx.now):
        dead = replace(dead, tries=0, streak=0)
    good = expected(proc.spec, report.exit)
    told = _emit("exited", dead, **told_of(report.exit), expected=good, **report.rest())
    policy = proc.spec.restart
    if policy is Restart.NEVER or (good and policy is Restart.ON_ERROR):
        return _rest(dead, ctx, told)
    if good:
        return _try_again(replace(dead, tries=0), ctx, told, at_once=True)
    return _after_failure(replace(dead, tries=dead.tries + 1), ctx, told, at_once=True)


def _dead(proc: Proc, report: Exited) -> Proc:
    return replace(proc, pid=None, exit=report.exit, lingering=report.lingering, left=report.left)


def _rest(dead: Proc, ctx: Ctx, told: Emit) -> Step:
    resting = _into(dead, State.EXITED, ctx, describe(dead.exit))
    return Step(resting, (_in_state(told, resting),))


def _after_failure(dead: Proc, ctx: Ctx, told: Emit, *, at_once: bool) -> Step:
    """Try again, or give up when the budget is used up or the policy is never."""
    retry = 0 if dead.spec.restart is Restart.NEVER else dead.spec.retry
    if retry is None or dead.tries <= retry or short(dead.exit):
        return _try_again(dead, ctx, told, at_once=at_once)
    runs = f"{dead.tries} unsuccessful run" + ("s" if dead.tries != 1 else "")
    gave_up = _into(dead, State.FATAL, ctx, f"gave up after {runs}, the last: {describe(dead.exit)}")
    return Step(gave_up, (_in_state(told, gave_up), _emit("fatal", gave_up, tries=dead.tries, reason=gave_up.reason)))


def _try_again(dead: Proc, ctx: Ctx, told: Emit, *, at_once: bool) -> Step:
    """Restart: at once the first time after a healthy life, else after a growing delay; not at all while held."""
    if dead.held:
        kept = _into(dead, State.EXITED, ctx, f"{describe(dead.exit)}; {HELD}", owed=True)
        return Step(kept, (replace(told, data={**told.data, "state": kept.state.value, "held": True}),))
    counted = replace(dead, streak=dead.streak + 1, restarts=dead.restarts + 1)
    if at_once and dead.streak == 0:
        queued = _queue(counted, ctx, f"restarted after {describe(dead.exit)}")
        return replace(queued, effects=(_in_state(told, queued.proc), *queued.effects))
    delay = backoff_delay(dead.key, dead.run, dead.spec.backoff, max(dead.streak + (0 if at_once else 1), 1))
    waiting = _into(counted, State.BACKOFF, ctx, f"waits after {describe(dead.exit)}", deadline=ctx.now + delay)
    retry = dead.spec.retry
    data = {"delay": round(delay, 3), "tries": dead.tries, "of": None if retry is None else retry + 1}
    return Step(waiting, (_in_state(told, waiting), _emit("backoff", waiting, **data)))


def _in_state(told: Emit, proc: Proc) -> Emit:
    """Return the fact with the state that came of it."""
    return replace(told, data={**told.data, "state": proc.state.value})


# Cells: stopping -----------------------------------------------------------------------------------------------------


def stop(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Want it down and begin the stop recipe."""
    return _wind_down(proc, ctx, Goal.DOWN)


def restart(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Stop it and want it up."""
    return _wind_down(proc, ctx, Goal.UP)


def stop_then_forget(proc: Proc, _: Remove, ctx: Ctx) -> Step:
    """Stop it gently, then drop it."""
    return _wind_down(proc, ctx, Goal.GONE)


def relaunch_if_changed(proc: Proc, stimulus: Reconfigured, ctx: Ctx) -> Step:
    """Restart it if the change holds only for a new run."""
    return restart(proc, stimulus, ctx) if stimulus.relaunch else Step(proc)


def recount(proc: Proc, stimulus: Reconfigured, ctx: Ctx) -> Step:
    """Restart it if the change asks for that, else measure its start by the new successdelay."""
    if stimulus.relaunch:
        return restart(proc, stimulus, ctx)
    if proc.started_at is None:
        return Step(proc)
    return Step(replace(proc, deadline=proc.started_at + proc.spec.successdelay))


def _wind_down(proc: Proc, ctx: Ctx, goal: Goal) -> Step:
    """Go to stopping. A run whose pid is not known yet gets its signal when the spawn is reported (`note_pid`)."""
    stopping = _into(proc, State.STOPPING, ctx, ctx.why or "is being stopped", goal=goal, step=0)
    told = _emit("stopping", stopping, goal=goal.value)
    if proc.pid is None:
        return Step(stopping, (told,))
    return _first_signal(stopping, ctx, (told,))


def _first_signal(stopping: Proc, ctx: Ctx, before: tuple[Effect, ...] = ()) -> Step:
    first = stopping.spec.stop[0]
    sent = replace(stopping, step=0, deadline=ctx.now + first.delay)
    return Step(sent, (*before, _stop_signal(sent, first.signum)))


def _stop_signal(proc: Proc, signum: int) -> Signal:
    return Signal(proc.key, proc.run, signum, group=proc.spec.killgroup, stopping=True)


def _kill(proc: Proc) -> KillTree:
    return KillTree(proc.key, proc.run, tree=proc.spec.killgroup)


def note_pid(proc: Proc, report: Spawned, ctx: Ctx) -> Step:
    """Learn the pid of a run that was unwanted before it was born, and stop it now."""
    if proc.started_at is not None:  # told twice: the recipe must not begin again
        return Step(proc)
    born = replace(proc, pid=report.pid, started_at=report.at)
    told = _emit("started", born, pid=report.pid)
    if proc.step == _KILLED_STEP:
        return Step(replace(born, deadline=ctx.now + UNKILLABLE_AFTER), (told, _kill(born)))
    return _first_signal(born, ctx, (told,))


def stopped_unborn(proc: Proc, report: SpawnFailed, ctx: Ctx) -> Step:
    """Call it stopped: the run that was to be stopped never came to be."""
    return _down(replace(proc, pid=None, exit=report.exit), ctx, _emit("failed", proc, **told_of(report.exit)))


def stopped(proc: Proc, report: Exited, ctx: Ctx) -> Step:
    """Call it stopped: the whole tree is gone. Then do what the goal says."""
    again = proc.pid is None  # what an earlier run left behind was cleared; its end was told already
    if again and proc.exit is not None:
        report = replace(report, exit=proc.exit)
    if report.lingering and proc.spec.killgroup:
        return Step(proc) if again else _clear_first(proc, report, ctx)
    data = told_of(report.exit) | report.killed() | {"forced": proc.step == _KILLED_STEP}
    if report.lingering:
        data |= report.rest()
    told = _emit("cleared" if again else "stopped", proc, **data)
    return _down(replace(_dead(proc, report), unkillable=False), ctx, told)


def _clear_first(proc: Proc, report: Exited, ctx: Ctx) -> Step:
    """End the rest of a tree whose leader ended by itself, before the shim heard that it was to be stopped."""
    clearing = _clearing(_dead(proc, report), ctx)
    told = _emit("exited", clearing, **told_of(report.exit), expected=True, **report.rest())
    return Step(clearing, (told, _kill(clearing)))


def note_left(proc: Proc, report: Exited, ctx: Ctx) -> Step:
    """Note how much of what its last run left behind still lives: the shim tells again when that has ended."""
    return Step(replace(proc, lingering=report.lingering, left=report.left))


def _down(proc: Proc, ctx: Ctx, told: Emit) -> Step:
    """Leave `stopping` in the direction of the goal."""
    if proc.goal is Goal.UP and proc.owed:
        kept = _into(proc, State.EXITED, ctx, f"{describe(proc.exit)}; {HELD}")
        return Step(kept, (_in_state(told, kept),))
    if proc.goal is Goal.UP:
        queued = _into(proc, State.PENDING, ctx, proc.reason, tries=0, streak=0, lingering=0, left=())
        return Step(queued, (_in_state(told, queued),))
    down = _into(proc, State.STOPPED, ctx, proc.reason, tries=0, streak=0, owed=False)
    told = _in_state(told, down)
    return Step(down, (told, Forget(proc.key)) if proc.goal is Goal.GONE else (told,))


def escalate(proc: Proc, _: Deadline, ctx: Ctx) -> Step:
    """Go to the next step of the stop recipe; after the last, SIGKILL; after that, say that it does not die."""
    if proc.step == _KILLED_STEP:
        again = ctx.now + 6 * UNKILLABLE_AFTER
        stuck = replace(proc, deadline=again, unkillable=True, reason="does not die of SIGKILL")
        return Step(stuck, (_emit("unkillable", stuck, pid=proc.pid), _kill(stuck)))
    following = proc.step + 1
    if following < len(proc.spec.stop):
        chosen = proc.spec.stop[following]
        later = replace(proc, step=following, deadline=ctx.now + chosen.delay)
        return Step(later, (_stop_signal(later, chosen.signum),))
    return kill(proc, None, ctx)


def kill(proc: Proc, command: Any, ctx: Ctx) -> Step:
    """Kill the tree now. By command the goal becomes down; by escalation it stays."""
    goal = Goal.DOWN if isinstance(command, Kill) and proc.goal is not Goal.GONE else proc.goal
    why = ctx.why or proc.reason
    known = proc.pid is not None or proc.state is State.STOPPING
    killed = _into(
        proc, State.STOPPING, ctx, why, goal=goal, step=_KILLED_STEP,
        deadline=ctx.now + UNKILLABLE_AFTER if known else None,
    )  # fmt: skip
    told = _emit("killed", killed, pid=proc.pid, forced=not isinstance(command, Kill))
    return Step(killed, (told, _kill(killed)) if known else (told,))


def still_there(proc: Proc, report: Unkillable, ctx: Ctx) -> Step:
    """Say that it does not die; it stays `stopping`, it is never declared dead."""
    stuck = replace(proc, unkillable=True, reason="does not die of SIGKILL")
    return Step(stuck, (_emit("unkillable", stuck, pid=proc.pid, pids=list(report.pids)),))


def settle(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Call it stopped: there is no process, but perhaps something it left behind, which goes first."""
    down = replace(proc, goal=Goal.DOWN, owed=False)
    if proc.lingering and proc.spec.killgroup:
        return _queue(down, ctx, "")
    rested = _into(down, State.STOPPED, ctx, ctx.why or "is not wanted", tries=0, streak=0)
    rest = {"lingering": proc.lingering, "left": list(proc.left)} if proc.lingering else {}
    return Step(rested, (_emit("stopped", rested, **rest),))


def forget(proc: Proc, stimulus: Remove, ctx: Ctx) -> Step:
    """Drop it: nothing of it runs."""
    gone = replace(proc, goal=Goal.GONE)
    if proc.lingering and proc.spec.killgroup:
        return _queue(gone, ctx, "")
    return Step(_into(gone, State.STOPPED, ctx, ctx.why), (Forget(proc.key),))


def want_up(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Start it again once it has stopped."""
    if proc.goal is Goal.GONE:
        return Step(proc, refused=f"{proc.key} is being removed: the config no longer has it")
    return Step(replace(proc, goal=Goal.UP, owed=False, reason=ctx.why or proc.reason))


def want_down(proc: Proc, _: Any, ctx: Ctx) -> Step:
    """Leave it stopped once it has stopped."""
    goal = proc.goal if proc.goal is Goal.GONE else Goal.DOWN
    return Step(replace(proc, goal=goal, reason=ctx.why or proc.reason))


def want_gone(proc: Proc, _: Remove, ctx: Ctx) -> Step:
    """Drop it once it has stopped."""
    return Step(replace(proc, goal=Goal.GONE, reason=ctx.why or proc.reason))


def readmit(proc: Proc, stimulus: Readmit, ctx: Ctx) -> Step:
    """Want it again: its job came back while it was on its way out."""
    wanted = replace(proc, goal=stimulus.goal, reason=ctx.why or proc.reason)
    return Step(wanted if proc.goal is Goal.GONE else proc)


def send(proc: Proc, command: Send, ctx: Ctx) -> Step:
    """Send the signal; nothing else changes."""
    if proc.pid is None:
        return refuse_not_running(proc, command, ctx)
    signal = Signal(proc.key, proc.run, command.signum, group=False, stopping=False)
    return Step(proc, (_emit("signalled", proc, signum=command.signum, pid=proc.pid), signal))


def forgive(proc: Proc, _: Reset, ctx: Ctx) -> Step:
    """Forget the failures counted so far."""
    clean = replace(proc, tries=0, streak=0, restarts=0)
    return Step(clean, (_emit("reset", clean),))


def forgive_and_rest(proc: Proc, command: Reset, ctx: Ctx) -> Step:
    """Forget the failures; what gave up is plainly stopped."""
    clean = _into(replace(proc, restarts=0), State.STOPPED, ctx, "reset", goal=Goal.DOWN, tries=0, streak=0, owed=False)
    return Step(clean, (_emit("reset", clean),))


def forgive_and_retry(proc: Proc, command: Reset, ctx: Ctx) -> Step:
    """Forget the failures and try at once."""
    clean = forgive(proc, command, ctx)
    queued = _queue(clean.proc, ctx, "reset")
    return replace(queued, effects=(*clean.effects, *queued.effects))


def lose(proc: Proc, _: LinkLost, ctx: Ctx) -> Step:
    """Admit that nothing is known of it until the shim is heard again."""
    return Step(_into(proc, State.UNKNOWN, ctx, "the shim cannot be heard"))


def adopt(proc: Proc, report: Found, ctx: Ctx) -> Step:
    """Take over a living run, then do what the goal says of it."""
    found = replace(proc, run=report.run, pid=report.pid, started_at=report.at, owed=False)
    told = _emit("adopted", found, pid=report.pid)
    if report.stopping or proc.goal is not Goal.UP:
        stopping = _into(found, State.STOPPING, ctx, ctx.why or "is being stopped")
        return _first_signal(stopping, ctx, (_in_state(told, stopping),))
    ripe = report.at + proc.spec.successdelay
    state = State.STARTING if ripe > ctx.now else State.RUNNING
    alive = _into(found, state, ctx, proc.reason, deadline=ripe if state is State.STARTING else None)
    return Step(replace(alive, since=report.at), (_in_state(told, alive),))


def missing(proc: Proc, _: NotFound, ctx: Ctx) -> Step:
    """Start it if it is wanted: nothing of it runs. What its last run left behind may, and is cleared first."""
    if proc.lingering and proc.spec.killgroup:
        return _queue(replace(proc, pid=None, owed=proc.goal is Goal.UP and proc.held), ctx, "")
    absent = replace(proc, pid=None, lingering=0, left=())
    if proc.goal is Goal.UP and proc.held:
        return Step(_into(absent, State.EXITED, ctx, HELD, owed=True))
    if proc.goal is Goal.UP:
        return begin(absent, _, ctx)
    down = _into(absent, State.STOPPED, ctx, proc.reason or "is not wanted")
    return Step(down, (Forget(proc.key),) if proc.goal is Goal.GONE else ())


# Cells: holding ------------------------------------------------------------------------------------------------------


def hold(proc: Proc, _: Hold, ctx: Ctx) -> Step:
    """Hold it: what runs goes on, what ends is not started again by itself."""
    if proc.held:
        return Step(proc, refused=f"{proc.key} is held already")
    held = replace(proc, held=True)
    return Step(held, (_emit("held", held),))


def hold_retry(proc: Proc, command: Hold, ctx: Ctx) -> Step:
    """Hold it and take the retry back; a start by hand that waits for its slot goes on."""
    if proc.held or not proc.streak:
        return hold(proc, command, ctx)
    return hold(_into(_owing(proc), State.EXITED, ctx, f"{describe(proc.exit)}; {HELD}"), command, ctx)


def hold_after(proc: Proc, command: Hold, ctx: Ctx) -> Step:
    """Hold it; where it stops only to be tried again, it rests after that."""
    retried = proc.goal is Goal.UP and proc.pid is None and proc.step == _KILLED_STEP and proc.streak > 0
    return hold(_owing(proc) if retried and not proc.held else proc, command, ctx)


def _owing(proc: Proc) -> Proc:
    """Return the process in debt of the restart that was counted when it was planned."""
    return replace(proc, owed=True, streak=proc.streak - 1, restarts=proc.restarts - 1)


def release(proc: Proc, _: Release, ctx: Ctx) -> Step:
    """End the hold."""
    if not proc.held:
        return Step(proc, refused=f"{proc.key} is not held")
    free = replace(proc, held=False, owed=False, streak=proc.streak + proc.owed, restarts=proc.restarts + proc.owed)
    return Step(free, (_emit("released", free),))


def resume(proc: Proc, command: Release, ctx: Ctx) -> Step:
    """End the hold, and start what it has kept back."""
    freed = release(proc, command, ctx)
    if freed.refused or not proc.owed:
        return freed
    again = begin(freed.proc, command, ctx) if proc.state is State.FATAL else _queue(freed.proc, ctx, ctx.why)
    return replace(again, effects=(*freed.effects, *again.effects))


# The table -----------------------------------------------------------------------------------------------------------

Cell = Callable[[Proc, Any, Ctx], Step]


def _row(
    *, stopped: Cell, pending: Cell, starting: Cell, running: Cell, backoff: Cell,
    stopping: Cell, exited: Cell, fatal: Cell, unknown: Cell,
) -> dict[State, Cell]:  # fmt: skip
    """Return a row of the table; a state that is forgotten is a TypeError at import."""
    return {State(name): cell for name, cell in locals().items()}


# fmt: off
TABLE: dict[type, dict[State, Cell]] = {
    Start: _row(stopped=begin, pending=refuse_already, starting=refuse_already, running=refuse_already, backoff=begin,
                stopping=want_up, exited=begin, fatal=begin, unknown=want_up),
    Stop: _row(stopped=refuse_not_running, pending=settle, starting=stop, running=stop, backoff=settle,
               stopping=want_down, exited=settle, fatal=settle, unknown=want_down),
    Kill: _row(stopped=refuse_not_running, pending=settle, starting=kill, running=kill, backoff=settle,
               stopping=kill, exited=settle, fatal=settle, unknown=want_down),
    Relaunch: _row(stopped=begin, pending=refuse_already, starting=restart, running=restart, backoff=begin,
                   stopping=want_up, exited=begin, fatal=begin, unknown=want_up),
    Send: _row(stopped=refuse_not_running, pending=refuse_not_running, starting=send, running=send,
               backoff=refuse_not_running, stopping=send, exited=refuse_not_running, fatal=refuse_not_running,
               unknown=refuse_not_running),
    Reset: _row(stopped=forgive, pending=forgive, starting=forgive, running=forgive, backoff=forgive_and_retry,
                stopping=forgive, exited=forgive, fatal=forgive_and_rest, unknown=forgive),
    Hold: _row(stopped=hold, pending=hold_retry, starting=hold, running=hold, backoff=hold_retry, stopping=hold_after,
               exited=hold, fatal=hold, unknown=hold),
    Release: _row(stopped=release, pending=release, starting=release, running=release, backoff=release,
                  stopping=release, exited=resume, fatal=resume, unknown=release),
    Remove: _row(stopped=forget, pending=forget, starting=stop_then_forget, running=stop_then_forget, backoff=forget,
                 stopping=want_gone, exited=forget, fatal=forget, unknown=want_gone),
    Readmit: _row(stopped=ignore, pending=ignore, starting=ignore, running=ignore, backoff=ignore, stopping=readmit,
                  exited=ignore, fatal=ignore, unknown=readmit),
    Reconfigured: _row(stopped=ignore, pending=ignore, starting=recount, running=relaunch_if_changed,
                       backoff=begin_if_wanted, stopping=ignore, exited=begin_if_wanted, fatal=begin_if_wanted,
                       unknown=ignore),
    GateOpened: _row(stopped=ignore, pending=launch, starting=ignore, running=ignore, backoff=ignore, stopping=ignore,
                     exited=ignore, fatal=ignore, unknown=ignore),
    Spawned: _row(stopped=ignore, pending=ignore, starting=spawned, running=ignore, backoff=ignore, stopping=note_pid,
                  exited=ignore, fatal=ignore, unknown=ignore),
    SpawnFailed: _row(stopped=ignore, pending=ignore, starting=failed_start, running=ignore, backoff=ignore,
                      stopping=stopped_unborn, exited=ignore, fatal=ignore, unknown=ignore),
    Exited: _row(stopped=note_left, pending=ignore, starting=early_exit, running=exited, backoff=note_left,
                 stopping=stopped, exited=note_left, fatal=note_left, unknown=ignore),
    Unkillable: _row(stopped=ignore, pending=ignore, starting=ignore, running=ignore, backoff=ignore,
                     stopping=still_there, exited=ignore, fatal=ignore, unknown=ignore),
    Deadline: _row(stopped=ignore, pending=ignore, starting=succeed, running=ignore, backoff=retry_now,
                   stopping=escalate, exited=ignore, fatal=ignore, unknown=ignore),
    LinkLost: _row(stopped=ignore, pending=ignore, starting=lose, running=lose, backoff=ignore, stopping=lose,
                   exited=ignore, fatal=ignore, unknown=ignore),
    Found: _row(stopped=ignore, pending=ignore, starting=ignore, running=ignore, backoff=ignore, stopping=ignore,
                exited=ignore, fatal=ignore, unknown=adopt),
    NotFound: _row(stopped=ignore, pending=ignore, starting=ignore, running=ignore, backoff=ignore, stopping=ignore,
                   exited=ignore, fatal=ignore, unknown=missing),
}
# fmt: on
