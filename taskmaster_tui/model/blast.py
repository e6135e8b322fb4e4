"""Decide whether an action is big enough to ask first, and what to say that it will do.

One process: no question. Several, a protected job, another machine: the list of effects. Everything at once: a word to
type. Asks nobody and sends nothing; the commander calls it before each request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskmaster_tui.model.fmt import count, plain, plural
from taskmaster_tui.model.words import ALIVE
from taskmaster_tui.model.world import Job, Proc, World

VERBS = (
    "start", "stop", "restart", "kill", "signal", "scale", "hold", "release", "reset", "reload", "shutdown", "rollback",
)  # fmt: skip

_ENDS_RUNS = frozenset({"stop", "kill"})
_HARMLESS = frozenset({"hold", "release", "reset"})
"""They end and start nothing at once; `undo` takes them back."""


class Question(NamedTuple):
    """Ask: what, with which effects, and which word must be typed ("" for none)."""

    title: str
    effects: Sequence[str]
    typed: str = ""


def needs_confirmation(
    verb: str,
    targets: Iterable[str],
    world: World,
    args: Mapping[str, Any] | None = None,
    *,
    remote: bool = False,
) -> Question | None:
    """Return the question to ask before `verb` is done to `targets` (rows: jobs or keys), None for none."""
    args = args or {}
    if verb == "shutdown":
        return _shutdown(world, args)
    if verb == "rollback":
        return _rollback(args, remote=remote)
    if verb == "scale":
        return _scale(list(targets), world, args, remote=remote)
    return _many(verb, list(targets), world, args, remote=remote)


def _many(verb: str, targets: list[str], world: World, args: Mapping[str, Any], *, remote: bool) -> Question | None:
    by_job = _by_job(targets, world)
    touched = {job.name: [proc for proc in procs if _touches(verb, proc)] for job, procs in by_job}
    n = sum(map(len, touched.values()))
    guarded = any(job.protected for job, _ in by_job)
    if not (remote or guarded or (n > 1 and verb not in _HARMLESS and verb != "reload")):
        return None
    effects = [_effect(verb, job, procs, touched[job.name], args) for job, procs in by_job]
    everything = verb in _ENDS_RUNS and len(world.jobs) > 1 and _all_alive(world) <= _keys(by_job) and n > 1
    title = (
        f"{_title(verb, args)} {plural(n, 'process', 'processes')} of {_whom(by_job)}?" if n else _bare(verb, by_job)
    )
    return Question(title, _noted(effects, remote=remote), _instance(world) if everything else "")


def _by_job(targets: list[str], world: World) -> list[tuple[Job, list[Proc]]]:
    """Return the processes that are meant, job by job, each once."""
    keys = dict.fromkeys(key for row_id in targets for key in world.keys_of(row_id))
    found: dict[str, list[Proc]] = {name: [] for name in targets if name in world.jobs}
    for key in keys:
        proc = world.proc(key)
        if proc is not None:
            found.setdefault(proc.job.name, []).append(proc)
    return [(world.jobs[name], procs) for name, procs in found.items() if name in world.jobs]


def _keys(by_job: list[tuple[Job, list[Proc]]]) -> set[str]:
    return {proc.key for _, procs in by_job for proc in procs}


def _all_alive(world: World) -> set[str]:
    return {proc.key for proc in world.procs() if proc.view.state in ALIVE}


def _touches(verb: str, proc: Proc) -> bool:
    """Tell whether something happens to the process at once."""
    alive = proc.view.state in ALIVE
    match verb:
        case "start":
            return not alive and proc.view.state != "pending"
        case "stop" | "kill":
            return alive or proc.view.state in ("backoff", "pending")
        case "signal":
            return alive
        case _:
            return True


def _effect(verb: str, job: Job, procs: list[Proc], touched: list[Proc], args: Mapping[str, Any]) -> str:
    """Return one line: what happens to this job."""
    guard = "  (protected)" if job.protected else ""
    return f"{job.label}: {_outcome(verb, procs, touched, args)}{guard}"


def _outcome(verb: str, procs: list[Proc], touched: list[Proc], args: Mapping[str, Any]) -> str:
    if not touched:
        return {"start": "runs already", "signal": "does not run"}.get(verb, "nothing runs")
    whole = len(touched) == len(touched[0].job.procs)
    which = "" if whole or len(touched) > 6 else f" ({' '.join(proc.label for proc in touched)})"
    running = sum(proc.view.state in ALIVE for proc in touched)
    rest = len(procs) - len(touched)
    match verb:
        case "restart":
            started = len(touched) - running
            parts = [f"restarts {count(running)}"] if running else []
            parts += [f"starts {count(started)}"] if started else []
            return ", ".join(parts) + which
        case "start":
            return f"starts {count(len(touched))}{which}" + (f", {count(rest)} run already" if rest else "")
        case "signal":
            return f"sends {plain(str(args.get('signal', 'a signal')))} to {count(len(touched))}{which}"
        case _:
            return f"{_DOES.get(verb, verb)} {count(len(touched))}{which}{_LATER.get(verb, '')}"


_DOES = {
    "stop": "stops", "kill": "kills", "hold": "holds", "release": "releases", "reset": "resets", "reload": "changes",
}  # fmt: skip
_LATER = {
    "kill": ", the whole tree, at once",
    "hold": ", no automatic restart until released",
    "reset": ", failures begin anew",
}


def _title(verb: str, args: Mapping[str, Any]) -> str:
    return f"Send {plain(str(args.get('signal', 'a signal')))} to" if verb == "signal" else verb.capitalize()


def _bare(verb: str, by_job: list[tuple[Job, list[Proc]]]) -> str:
    return f"{verb.capitalize()} {_whom(by_job)}?"


def _whom(by_job: list[tuple[Job, list[Proc]]]) -> str:
    return by_job[0][0].label if len(by_job) == 1 else plural(len(by_job), "job")


def _noted(effects: list[str], *, remote: bool) -> list[str]:
    return [*effects, "", "This core runs on another machine."] if remote else effects


def _instance(world: World) -> str:
    return plain(world.core.instance) if world.core is not None else "default"


# What is not about a selection of processes --------------------------------------------------------------------------


def _shutdown(world: World, args: Mapping[str, Any]) -> Question:
    alive = len(_all_alive(world))
    core = "the core stays, with nothing running" if args.get("keep_core") else "then the core and the shim end"
    effects = [f"{plural(alive, 'process', 'processes')} of {plural(len(world.jobs), 'job')} stopped in order", core]
    return Question(f"Stop everything of {_instance(world)}?", effects, _instance(world))


def upgrade() -> Question:
    """Return the question before core and shim are replaced: it concerns everybody, though no process."""
    effects = [
        "both are replaced by the release that is installed now",
        "every process, terminal and log goes on; all who look are connected again",
        "what is not fit is refused, and the one that runs goes on",
    ]
    return Question("Upgrade core and shim?", effects)


def _rollback(args: Mapping[str, Any], *, remote: bool) -> Question:
    number = args.get("generation", args.get("number"))
    which = f"generation {number}" if number is not None else "the generation before"
    effects = [f"the files are written back as they were in {which}", "the change is applied as a reload would"]
    return Question(f"Roll back to {which}?", _noted(effects, remote=remote))


def _scale(targets: list[str], world: World, args: Mapping[str, Any], *, remote: bool) -> Question | None:
    jobs = [job for job, _ in _by_job(targets, world)]
    wanted = int(args.get("n", 0))
    changes = [(job, wanted - job.numprocess) for job in jobs]
    n = sum(abs(change) for _, change in changes)
    if not (remote or n > 1 or any(job.protected for job in jobs)):
        return None
    effects = [_scaled(job, change) for job, change in changes]
    name = jobs[0].label if len(jobs) == 1 else plural(len(jobs), "job")
    return Question(f"Scale {name} to {count(wanted)}?", _noted(effects, remote=remote))


def _scaled(job: Job, change: int) -> str:
    done = f"starts {count(change)}" if change > 0 else f"stops {count(-change)}" if change else "stays as it is"
    guard = "  (protected)" if job.protected else ""
    return f"{job.label}: {done}, {count(job.numprocess)} → {count(job.numprocess + change)}{guard}"
