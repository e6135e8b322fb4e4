"""Decide what is told of the supervisor's state: processes and jobs as views, a plan as rows, the answer to "why?".

Pure: it turns policy data into wire documents. `wall` is what must be added to an instant of CLOCK_BOOTTIME to get
Unix time, now. The operations of the daemon call it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

from msgspec import to_builtins

from taskmaster_core.ends import describe
from taskmaster_core.intents import Intents
from taskmaster_core.machine import HEALTHY_AFTER, Proc
from taskmaster_core.plan import NEEDS_RESTART, Change, Plan, effect, shown, told
from taskmaster_core.spec import ALIVE, Cost, Goal, JobSpec, Restart, State, state_of_job
from taskmaster_core.supervisor import Supervisor
from taskmaster_core.wire import JobView, PlanField, PlanRow, PlanView, ProcessView, exit_view

WAITING = frozenset({State.BACKOFF, State.EXITED, State.FATAL})
"""The states from which a changed command starts a process that is wanted."""


def process_view(proc: Proc, now: float, wall: float) -> ProcessView:
    """Return what clients see of a process."""
    alive = proc.state in ALIVE
    running = proc.state is State.RUNNING
    healthy = running and now - (proc.started_at or now) >= max(proc.spec.successdelay, HEALTHY_AFTER)
    return ProcessView(
        key=str(proc.key),
        index=proc.key.index,
        state=proc.state.value,
        goal=proc.goal.value,
        pid=proc.pid,
        run=proc.run,
        since=proc.since + wall,
        started_at=proc.started_at + wall if proc.started_at is not None and alive else None,
        tries=0 if healthy else proc.tries,
        next_start_at=proc.deadline + wall if proc.state is State.BACKOFF and proc.deadline is not None else None,
        exit=exit_view(proc.exit),
        reason=proc.reason,
        generation=proc.run_generation if alive else proc.generation,
        restarts=proc.restarts,
        lingering=proc.lingering,
        held=proc.held,
        ready=running,
    )


def spec_view(spec: JobSpec) -> dict[str, Any]:
    """Return a spec as a document; of environment variables only the names."""
    plain = to_builtins(spec)
    return {name: shown(name, value) for name, value in plain.items()}


def job_view(name: str, spec: JobSpec, procs: list[Proc], width: int, now: float, wall: float) -> JobView:
    """Return what clients see of a job."""
    goal = Goal.UP if any(proc.goal is Goal.UP for proc in procs) else procs[0].goal if procs else Goal.DOWN
    return JobView(
        name=name,
        state=state_of_job([proc.state for proc in procs]).value,
        goal=goal.value,
        numprocess=width,
        restarts=sum(proc.restarts for proc in procs),
        spec=spec_view(spec),
        processes=[process_view(proc, now, wall) for proc in procs],
    )


def job_views(supervisor: Supervisor, names: Iterable[str], now: float, wall: float) -> list[JobView]:
    """Return the views of the named jobs, also of those that are only on their way out."""
    widths = supervisor.widths
    views = []
    for name in names:
        procs = supervisor.processes_of(name)
        spec = supervisor.job(name) or (procs[0].spec if procs else None)
        if spec is not None:
            views.append(job_view(name, spec, procs, widths.get(name, 0), now, wall))
    return views


def all_names(supervisor: Supervisor) -> list[str]:
    """Return the names of all jobs, declared ones first, then those on their way out."""
    names = dict.fromkeys(spec.name for spec in supervisor.jobs())
    names.update(dict.fromkeys(key.job for key in supervisor.procs))
    return list(names)


# Plans ---------------------------------------------------------------------------------------------------------------


def plan_view(plan: Plan, supervisor: Supervisor, generation: int | None, excepted: frozenset[str]) -> PlanView:
    """Return a plan as rows: what changes, key by key, and what that does to what runs now."""
    rows = [_row(change, supervisor, excepted) for change in plan.changes]
    if plan.settings:
        fields = [PlanField(each.name, *told(each), cost=each.cost.value) for each in plan.settings]
        late = [each.name for each in plan.settings if each.name in NEEDS_RESTART]
        note = f"holds after the next start of the core: {', '.join(late)}" if late else "applied live"
        rows.append(PlanRow("~", "[taskmaster]", note, fields))
    left_out = sum(row.excepted and row.sign != "=" for row in rows)
    return PlanView(rows, generation, plan.count - left_out)


def _row(change: Change, supervisor: Supervisor, excepted: frozenset[str]) -> PlanRow:
    procs = supervisor.processes_of(change.job)
    alive = sum(proc.state in ALIVE for proc in procs)
    fields = [PlanField(each.name, *told(each), cost=each.cost.value) for each in change.fields if each.name != "cmd"]
    if len(fields) == 0 and change.fields:
        fields = [PlanField(each.name, *told(each), cost=Cost.LIVE.value) for each in change.fields]
    left_out = change.job in excepted
    waiting = sum(proc.state in WAITING and proc.goal is Goal.UP and not proc.held for proc in procs)
    said = "left out: stays as it is" if left_out else effect(change, alive, len(procs), waiting)
    return PlanRow(change.sign, change.job, said, fields, left_out)


# Why -----------------------------------------------------------------------------------------------------------------


def why(proc: Proc, intents: Intents, now: float) -> dict[str, Any]:
    """Return the reason chain of a process's state, the present first, and what happens next."""
    chain = [_state_sentence(proc, now), *_wish(proc, intents), *_end(proc), *_policy(proc)]
    return {
        "key": str(proc.key),
        "state": proc.state.value,
        "goal": proc.goal.value,
        "chain": chain,
        "next": _next(proc, now),
    }


def ago(seconds: float) -> str:
    """Return a span of time in the two units that matter."""
    whole = max(int(seconds), 0)
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size}{unit}" + (f" {rest}{small_unit}" if rest else "")
    return f"{whole}s"


def _state_sentence(proc: Proc, now: float) -> str:
    told_reason = f": {proc.reason}" if proc.reason else ""
    return f"{proc.key} is {proc.state} for {ago(now - proc.since)}{told_reason}"


def _wish(proc: Proc, intents: Intents) -> Iterable[str]:
    if proc.goal is Goal.GONE:
        yield "the config no longer has it"
    elif intents.kept_down(proc.key):
        yield "an operator stopped it by hand, and that holds until somebody starts it"
    elif proc.goal is Goal.DOWN and not proc.spec.autostart:
        yield "autostart = false: it waits to be started by hand"
    if proc.held:
        yield "an operator holds it: it is not started again by itself until somebody releases it"


def _end(proc: Proc) -> Iterable[str]:
    if proc.exit is None:
        return
    another = proc.state in ALIVE and not proc.lingering  # with something lingering it is the last run that is cleared
    yield f"its run {proc.run - another} ended: {describe(proc.exit)}"
    if proc.lingering:
        yield f"{proc.lingering} of its descendants live on{_named(proc)}"


def _named(proc: Proc) -> str:
    more = f" and {proc.lingering - len(proc.left)} more" if proc.lingering > len(proc.left) else ""
    return f": {', '.join(proc.left)}{more}" if proc.left else ""


def _policy(proc: Proc) -> Iterable[str]:
    spec = proc.spec
    if proc.state is State.EXITED and not proc.owed:
        codes = ", ".join(str(code) for code in spec.exitcodes)
        reason = "a restart policy of never" if spec.restart is Restart.NEVER else f"an expected end ({codes})"
        yield f"restart = {spec.restart}: it stays down after {reason}"
    if proc.tries and proc.state in (State.BACKOFF, State.FATAL, State.STARTING, State.RUNNING):
        budget = "no limit" if spec.retry is None else f"retry = {spec.retry}"
        runs = "run" if proc.tries == 1 else "runs"
        yield f"{proc.tries} unsuccessful {runs} in a row, {budget}"


def _next(proc: Proc, now: float) -> str:
    left = max(proc.deadline - now, 0.0) if proc.deadline is not None else 0.0
    match proc.state:
        case State.BACKOFF:
            return f"the next try is in {left:.1f} s; `taskmaster start {proc.key}` tries now"
        case State.FATAL | State.EXITED if proc.owed:
            return f"nothing happens while it is held; `taskmaster release {proc.key}` starts it"
        case State.FATAL | State.EXITED | State.STOPPED:
            return f"nothing happens by itself; `taskmaster start {proc.key}` starts it"
        case State.STOPPING:
            return (
                "it does not die of SIGKILL"
                if proc.unkillable
                else f"the next step of its stop recipe is in {left:.1f} s"
            )
        case State.STARTING:
            return f"it counts as running in {left:.1f} s" if proc.pid else "it is being started"
        case State.PENDING:
            return "it starts as soon as a start slot is free"
        case State.RUNNING:
            return "it runs"
        case State.UNKNOWN:
            return "the shim will tell"
        case _:
            assert_never(proc.state)
