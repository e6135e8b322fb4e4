"""Processes in every state and stimuli of every kind, for the tests of the machine and the generator of its page."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from taskmaster_core import machine as m
from taskmaster_core.spec import Exit, Goal, JobSpec, Key, State, StopStep

KEY = Key("web", 0)
NOW = 1000.0
SPEC = JobSpec("web", ("/bin/web",))
RUN = 3
PID = 4711
CLEAN = Exit(code=0)
FAILED = Exit(code=1)
KILLED = Exit(signal="SIGKILL")
NO_SUCH_FILE = Exit(stage="exec", errno="ENOENT", message="No such file or directory: '/bin/web'")

_GOALS = {State.STOPPED: Goal.DOWN}
_MORE: dict[State, dict[str, Any]] = {
    State.STOPPED: {"run": 0},
    State.STARTING: {"pid": PID, "started_at": NOW - 1, "deadline": NOW + 4},
    State.RUNNING: {"pid": PID, "started_at": NOW - 60},
    State.BACKOFF: {"deadline": NOW + 1, "tries": 1, "streak": 2, "exit": FAILED},
    State.STOPPING: {"pid": PID, "started_at": NOW - 60, "deadline": NOW + 10, "goal": Goal.DOWN},
    State.EXITED: {"exit": CLEAN},
    State.FATAL: {"tries": 4, "streak": 4, "exit": FAILED},
}


def spec(**changes: Any) -> JobSpec:
    """Return the sample job with changes; `stop` may be pairs."""
    if "stop" in changes:
        changes["stop"] = tuple(StopStep(*each) for each in changes["stop"])
    return replace(SPEC, **changes)


def proc(state: State, job: JobSpec = SPEC, **changes: Any) -> m.Proc:
    """Return a process as it may well be in this state."""
    usual: dict[str, Any] = {"goal": _GOALS.get(state, Goal.UP), "run": RUN, "since": NOW - 60, "reason": "so"}
    return m.Proc(KEY, job, state=state, **{**usual, **_MORE.get(state, {}), **changes})


def ctx(now: float = NOW, why: str = "") -> m.Ctx:
    """Return a context."""
    return m.Ctx(now, why)


def stimuli(run: int = RUN) -> list[m.Stimulus]:
    """Return one of each kind."""
    return [
        m.Start(), m.Stop(), m.Kill(), m.Relaunch(), m.Send(10), m.Reset(), m.Hold(), m.Release(), m.Remove(),
        m.Readmit(Goal.UP), m.Reconfigured(relaunch=True), m.GateOpened(), m.Spawned(run, PID, NOW),
        m.SpawnFailed(run, NO_SUCH_FILE), m.Exited(run, FAILED), m.Unkillable(run, (PID,)), m.Deadline(), m.LinkLost(),
        m.Found(run, PID, NOW - 5), m.NotFound(),
    ]  # fmt: skip


def run_of(first: m.Proc, *steps: m.Stimulus, now: float = NOW) -> list[m.Step]:
    """Give stimuli one after the other; return what came of each."""
    found = []
    for stimulus in steps:
        found.append(m.step(first, stimulus, ctx(now)))
        first = found[-1].proc
    return found


def kinds(step: m.Step) -> list[str]:
    """Return the effects by name: the class, or the type of the fact."""
    return [effect.type if isinstance(effect, m.Emit) else type(effect).__name__ for effect in step.effects]


def facts(step: m.Step, kind: str) -> list[dict[str, Any]]:
    """Return the data of the facts of a kind."""
    return [effect.data for effect in step.effects if isinstance(effect, m.Emit) and effect.type == kind]


def doing(step: m.Step) -> list[m.Effect]:
    """Return the effects that are no facts."""
    return [effect for effect in step.effects if not isinstance(effect, m.Emit)]

