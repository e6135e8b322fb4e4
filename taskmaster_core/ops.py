"""Carry out requests: one function per `op` of docs/protocol.md, in one table.

Each turns a request into stimuli or a view and answers it, at once or when its effect has come. What is refused is an
exception that the dispatcher answers. Nothing here decides policy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from taskmaster_core import __version__, machine, views, waits
from taskmaster_core.errors import NoSuchJob, Refused, TaskmasterError, TimedOut, UnknownOp, UsageError
from taskmaster_core.generations import Generations
from taskmaster_core.intents import Intent, Intents, to_scale
from taskmaster_core.machine import Stimulus
from taskmaster_core.reloader import Reloader, Wish
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Asked
from taskmaster_core.shimlink import signal_name, signal_number
from taskmaster_core.spec import Goal, Key, State, matches, names_job
from taskmaster_core.wire import Cause, CoreView, Done, Outcome, PlanView, Status

MAX_EVENTS = 5_000


class Ops:
    """Hold what the operations work on."""

    def __init__(self, runtime: Runtime, reloader: Reloader, generations: Generations) -> None:
        self.runtime = runtime
        self.reloader = reloader
        self.generations = generations
        self.shut_down: Callable[[Cause, str], None] = lambda *_: None
        self.seen: frozenset[str] = frozenset()
        """Ids of requests whose effects an earlier core journalled: they are not carried out again (L03)."""

    def handle(self, asked: Asked) -> None:
        """Carry a request out; whatever is wrong with it becomes its answer."""
        request = asked.request
        op = TABLE.get(request.op)
        if op is None:
            close = get_close_matches(request.op, TABLE, 1)
            hint = f"did you mean `{close[0]}`?" if close else ""
            self.refuse(asked, UnknownOp(f"unknown op `{request.op[:40]}`", hint))
        else:
            self.attempt(op, asked)

    def attempt(self, op: Callable[[Ops, Asked], None], asked: Asked) -> None:
        """Carry out a request, or what of it had to wait."""
        try:
            op(self, asked)
        except TaskmasterError as error:
            self.refuse(asked, error, getattr(error, "detail", None))

    def refuse(self, asked: Asked, error: TaskmasterError, detail: object = None) -> None:
        """Answer with an error."""
        if self.runtime.server is not None:
            self.runtime.server.refuse(asked, error, detail)

    def keys(self, asked: Asked, *, acting: bool) -> list[Key]:
        """Return the processes a request means; raise NoSuchJob for a selector that means none."""
        selectors = asked.request.select
        if not selectors:
            if acting:
                raise UsageError("which ones? name a job, a process or `all`")
            return sorted_keys(self.runtime, self.runtime.supervisor.procs)
        chosen: dict[Key, None] = {}
        for selector in selectors:
            chosen.update(dict.fromkeys(self._meant(selector)))
        return sorted_keys(self.runtime, chosen)

    def _meant(self, selector: str) -> list[Key]:
        procs = self.runtime.supervisor.procs
        found = [key for key, proc in procs.items() if matches(selector, key, proc.spec.tags)]
        if found or selector == "all" or self.runtime.supervisor.job(selector) is not None:
            return found
        names = [*views.all_names(self.runtime.supervisor), *(str(key) for key in procs)]
        close = get_close_matches(selector, names, 1)
        hint = f"did you mean `{close[0]}`?" if close else "`taskmaster status` lists them"
        raise NoSuchJob(f"no job or process matches `{selector}`", hint)


def sorted_keys(runtime: Runtime, keys: Iterable[Key]) -> list[Key]:
    """Return keys in the order of the config, then by index."""
    place = {name: number for number, name in enumerate(views.all_names(runtime.supervisor))}
    return sorted(keys, key=lambda key: (place.get(key.job, len(place)), key.index))


def operator(asked: Asked) -> Cause:
    """Return the cause that names who asked."""
    return Cause("operator", request=asked.request.id, who=asked.peer.who)


def arg(asked: Asked, name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """Return an argument; raise UsageError if it is of another type."""
    value = asked.request.args.get(name, default)
    if value is default:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"`{name}` has the wrong type: {value!r:.60}")
    return value


def seconds(asked: Asked, name: str = "timeout") -> float | None:
    """Return a number of seconds, None where there is none."""
    value = arg(asked, name, (int, float))
    if value is not None and not 0 <= value < 1e10:
        raise UsageError(f"`{name}` must be 0 seconds or more, not {value!r}")
    return None if value is None else float(value)


# Reading -------------------------------------------------------------------------------------------------------------


def ping(ops: Ops, asked: Asked) -> None:
    """Answer that the core lives."""
    runtime = ops.runtime
    said = {"version": __version__, "boot": runtime.facts.boot, "seq": runtime.publisher.seq, "pid": os.getpid()}
    runtime.reply(asked, said, keep=False)


def core_view(ops: Ops) -> CoreView:
    """Return what clients see of the core."""
    runtime, facts = ops.runtime, ops.runtime.facts
    return CoreView(
        version=__version__, pid=os.getpid(), shim_pid=facts.shim_pid, boot=facts.boot, started_at=facts.started_at,
        generation=runtime.supervisor.generation, config=list(facts.config_paths),
        config_problems=ops.reloader.problems, instance=facts.instance, statedir=facts.setting.places.statedir,
        seq=runtime.publisher.seq, batches=runtime.publisher.batches, troubles=list(runtime.troubles.values()),
        stopping=runtime.supervisor.shutting_down is not None,
    )  # fmt: skip


def status(ops: Ops, asked: Asked) -> None:
    """Answer with everything visible now, or what the selectors mean of it; with `usage` after a look at all trees."""
    if not arg(asked, "usage", bool, False):
        _status(ops, asked)
        return
    ops.runtime.sampler.ask(ops.runtime.now(), lambda: ops.attempt(_status, asked))


def _status(ops: Ops, asked: Asked) -> None:
    runtime = ops.runtime
    now, wall = runtime.now(), runtime.wall_offset()
    names = views.all_names(runtime.supervisor)
    chosen: set[str] | None = None
    if asked.request.select:
        chosen = {str(key) for key in ops.keys(asked, acting=False)}
        jobs = {key.rpartition(":")[0] for key in chosen} | set(asked.request.select)
        names = [name for name in names if name in jobs]
    found = views.job_views(runtime.supervisor, names, now, wall)
    if chosen is not None:
        for job in found:
            job.processes = [each for each in job.processes if each.key in chosen]
    runtime.sampler.fill((each for job in found for each in job.processes), now)
    runtime.reply(asked, Status(core_view(ops), found), keep=False)


def show(ops: Ops, asked: Asked) -> None:
    """Answer with everything about some jobs: views, intents, output files, names of variables."""
    runtime = ops.runtime
    keys = ops.keys(asked, acting=False)
    names = list(dict.fromkeys([*(key.job for key in keys), *_jobs_named(ops, asked)]))
    jobs = []
    for job in views.job_views(runtime.supervisor, names, runtime.now(), runtime.wall_offset()):
        files = {str(key): runtime.sources_of(key) for key in keys if key.job == job.name}
        spec = runtime.supervisor.job(job.name)
        env = sorted(spec.baseenv | spec.fileenv | spec.env) if spec is not None else []
        jobs.append(
            {
                "job": job, "env": env, "intents": runtime.supervisor.intents.about(job.name),
                "paths": {key: {name: file["path"] for name, file in its.items()} for key, its in files.items()},
                "files": files,
            }
        )  # fmt: skip
    runtime.reply(asked, {"jobs": jobs}, keep=False)


def _jobs_named(ops: Ops, asked: Asked) -> list[str]:
    """Return the jobs that are named outright, which may have no process."""
    return [name for name in asked.request.select if ops.runtime.supervisor.job(name) is not None]


def why(ops: Ops, asked: Asked) -> None:
    """Answer with the reason chain of each process."""
    supervisor, now = ops.runtime.supervisor, ops.runtime.now()
    keys = ops.keys(asked, acting=False)
    chains = [views.why(supervisor.procs[key], supervisor.intents, now) for key in keys]
    ops.runtime.reply(asked, {"processes": chains}, keep=False)


def show_config(ops: Ops, asked: Asked) -> None:
    """Answer with the config in force; of environments only the names."""
    config = ops.runtime.supervisor.config
    said = {
        "files": list(config.files), "generation": ops.runtime.supervisor.generation, "settings": config.settings,
        "jobs": [views.spec_view(job) for job in config.jobs],
    }  # fmt: skip
    ops.runtime.reply(asked, said, keep=False)


def events(ops: Ops, asked: Asked) -> None:
    """Answer with journalled events, oldest first."""
    number = arg(asked, "n", int)
    ops.runtime.publisher.flush()  # an event of this turn has its number already: whoever saw that must find it here
    found = ops.runtime.journal.events(
        since_seq=arg(asked, "since", int),
        since_time=arg(asked, "since_time", (int, float)),
        until=arg(asked, "until", (int, float)),
        keys=_event_keys(ops, asked.request.select),
        types=arg(asked, "types", list),
        limit=MAX_EVENTS,
        tail=min(number, MAX_EVENTS) if number is not None else None,
    )
    ops.runtime.reply(asked, [row.to_event() for row in found], keep=False)


def _event_keys(ops: Ops, selectors: list[str]) -> list[str] | None:
    """Return selectors as patterns of event keys: a job means itself and its processes, a tag all jobs that have it."""
    if not selectors or "all" in selectors:
        return None
    plain = [each for each in selectors if not each.startswith("@")]
    for tag in set(selectors) - set(plain):
        plain += [job.name for job in ops.runtime.supervisor.jobs() if names_job(tag, job.name, job.tags)]
    return [pattern for each in plain for pattern in ([each] if ":" in each else [each, f"{each}:*"])]


def generations(ops: Ops, asked: Asked) -> None:
    """Answer with the numbered configs that were applied."""
    ops.runtime.reply(asked, ops.generations.summaries(), keep=False)


def generation(ops: Ops, asked: Asked) -> None:
    """Answer with the files of one generation as they were."""
    number = arg(asked, "number", int)
    found = ops.generations.load(number) if number is not None else None
    if found is None:
        raise NoSuchJob(f"there is no generation {number}", "`taskmaster rollback` lists them")
    texts = {path: text.decode("utf-8", "replace") for path, text in found.texts.items()}
    ops.runtime.reply(asked, {"number": number, "texts": texts}, keep=False)


# Acting --------------------------------------------------------------------------------------------------------------


def _start_keys(ops: Ops, asked: Asked) -> list[Key]:
    if not arg(asked, "autostart", bool, default=False):
        return ops.keys(asked, acting=True)
    procs = ops.runtime.supervisor.procs
    return sorted_keys(ops.runtime, (key for key, proc in procs.items() if proc.spec.autostart))


def start(ops: Ops, asked: Asked) -> None:
    """Start processes; what runs already is as asked."""
    keys = _start_keys(ops, asked)
    _command(ops, asked, keys, machine.Start(), waits.started)


def restart(ops: Ops, asked: Asked) -> None:
    """Stop and start processes, or start those that do not run."""
    _command(ops, asked, ops.keys(asked, acting=True), machine.Relaunch(), waits.started)


def stop(ops: Ops, asked: Asked) -> None:
    """Stop processes by their recipe and hold them down."""
    _command(ops, asked, ops.keys(asked, acting=True), machine.Stop(), waits.stopped)


def kill(ops: Ops, asked: Asked) -> None:
    """SIGKILL whole trees and hold the processes down."""
    _command(ops, asked, ops.keys(asked, acting=True), machine.Kill(), waits.stopped)


def hold(ops: Ops, asked: Asked) -> None:
    """Keep processes from being started again by themselves; what runs goes on."""
    _command(ops, asked, ops.keys(asked, acting=True), machine.Hold(), None)


def release(ops: Ops, asked: Asked) -> None:
    """End the hold, and start what it has kept back."""
    _command(ops, asked, ops.keys(asked, acting=True), machine.Release(), None)


def _command(ops: Ops, asked: Asked, keys: list[Key], stimulus: Stimulus, judge: waits.Judge | None) -> None:
    """Write the intent for good, then act, then answer once the effect is there; without a judge it is so at once."""
    wait, timeout = arg(asked, "wait", bool, default=True), seconds(asked)
    changes = _wishes(ops.runtime.supervisor.intents, stimulus)(keys, ops.runtime.supervisor.widths)
    if asked.request.id in ops.seen:
        changes, stimulus = [], _nothing_new(stimulus)
    ops.runtime.supervisor.set_intents(changes)  # at once: what is asked right behind this is measured by it

    def act() -> None:
        _act(ops, asked, keys, stimulus, judge, wait=wait, timeout=timeout)

    ops.runtime.journal_intents(changes, act)


def _wishes(intents: Intents, stimulus: Stimulus) -> Callable[[Iterable[Key], Mapping[str, int]], list[Intent]]:
    """Return what makes a command's wishes for later."""
    match stimulus:
        case machine.Stop() | machine.Kill():
            return intents.to_stop
        case machine.Hold():
            return intents.to_hold
        case machine.Release():
            return intents.to_release
        case _:
            return intents.to_start


def _nothing_new(stimulus: Stimulus) -> Stimulus:
    """Return what a repeated request still means: a restart that was begun must not begin again."""
    return machine.Start() if isinstance(stimulus, machine.Relaunch) else stimulus


def _act(
    ops: Ops, asked: Asked, keys: list[Key], stimulus: Stimulus, judge: waits.Judge | None, *, wait: bool,
    timeout: float | None,
) -> None:  # fmt: skip
    supervisor = ops.runtime.supervisor
    before = {key: supervisor.procs[key] for key in keys if key in supervisor.procs}
    why = f"{_DONE[type(stimulus)]} by {asked.peer.who}"
    refused = supervisor.command(keys, stimulus, ops.runtime.now(), operator(asked), why)
    known = {each.key: _already(each, stimulus) for each in refused}
    bad = [each for each in known.values() if not each.ok]
    runs = {key: proc.run - (str(key) in known) for key, proc in before.items() if str(key) not in {o.key for o in bad}}
    if not wait or judge is None:
        done = Done([_now(ops, key, known.get(str(key))) for key in keys], not bad)
        ops.runtime.after_commit(lambda: ops.runtime.reply(asked, done))
        return
    _wait(ops, asked, judge, runs, bad, timeout)


_DONE = {
    machine.Start: "started", machine.Relaunch: "restarted", machine.Stop: "stopped", machine.Kill: "killed",
    machine.Hold: "held", machine.Release: "released",
}  # fmt: skip
"""How a command is told in the reason of a state."""


def _already(refusal: Outcome, stimulus: Stimulus) -> Outcome:
    """Return a refusal as what it is: it was so already (fine), or it cannot be."""
    up = isinstance(stimulus, machine.Start | machine.Relaunch) and refusal.state in ("pending", "starting", "running")
    down = isinstance(stimulus, machine.Stop | machine.Kill) and refusal.state == "stopped"
    refusal.ok = up or down or isinstance(stimulus, machine.Hold | machine.Release)
    return refusal


def _now(ops: Ops, key: Key, refused: Outcome | None) -> Outcome:
    return refused or waits.outcome(key, ops.runtime.supervisor.procs.get(key), ok=True)


def _wait(
    ops: Ops, asked: Asked, judge: waits.Judge, runs: dict[Key, int], known: list[Outcome], timeout: float | None
) -> None:
    def too_late(request_id: str) -> None:
        done = ops.runtime.supervisor.give_up_waiting(request_id)
        waiting = ops.runtime.asked.pop(request_id, None)
        if done is not None and waiting is not None:
            open_ = ", ".join(each.key for each in done.outcomes if not each.ok)
            ops.refuse(waiting, TimedOut(f"not done after {timeout:g} s: {open_:.200}", "it may still happen"), done)

    ops.runtime.wait(asked, timeout, too_late)
    ops.runtime.supervisor.wait_for(asked.request.id, judge, runs, known)


def send_signal(ops: Ops, asked: Asked) -> None:
    """Send a signal to the leaders; nothing else changes."""
    wish = asked.request.args.get("signal")
    try:
        number = signal_number(str(wish))
    except ValueError as error:
        raise UsageError(str(error), "names as in `kill -l`, or a number") from error
    keys = ops.keys(asked, acting=True)
    cause = operator(asked)
    if asked.request.id in ops.seen:
        refused: list[Outcome] = []
    else:
        refused = ops.runtime.supervisor.command(
            keys, machine.Send(number), ops.runtime.now(), cause, signal_name(number)
        )
    known = {each.key: each for each in refused}
    done = Done([_now(ops, key, known.get(str(key))) for key in keys], not refused)
    ops.runtime.after_commit(lambda: ops.runtime.reply(asked, done))


def reset(ops: Ops, asked: Asked) -> None:
    """Forget the failures of processes."""
    keys = ops.keys(asked, acting=True)
    ops.runtime.supervisor.command(keys, machine.Reset(), ops.runtime.now(), operator(asked), "reset")
    done = Done([_now(ops, key, None) for key in keys])
    ops.runtime.after_commit(lambda: ops.runtime.reply(asked, done))


def scale(ops: Ops, asked: Asked) -> None:
    """Change the number of a job's processes by hand; it holds until `numprocess` itself is edited."""
    width = arg(asked, "n", int)
    if width is None or not 0 <= width <= 10_000:
        raise UsageError("`n` must be 0 to 10000")
    supervisor = ops.runtime.supervisor
    names = list(dict.fromkeys([*(key.job for key in ops.keys(asked, acting=True)), *_jobs_named(ops, asked)]))
    names = [name for name in names if supervisor.job(name) is not None]
    if not names:
        raise Refused("the config no longer has it")
    wait, timeout = arg(asked, "wait", bool, default=True), seconds(asked)
    changes = [to_scale(name, width) for name in names]
    supervisor.set_intents(changes)

    def act() -> None:
        before = {proc.key: proc for name in names for proc in supervisor.processes_of(name)}
        for name in names:
            supervisor.scale(name, ops.runtime.now(), operator(asked))
        ops.runtime.fact("scaled", operator(asked), key=names[0], jobs=names, n=width)
        after = {proc.key: proc for name in names for proc in supervisor.processes_of(name)}
        moved = {key: 0 for key in after if key not in before} | {key: 0 for key in before if key.index >= width}
        judged = moved if wait else {}
        _wait(ops, asked, _scaled(width), judged, [], timeout)

    ops.runtime.journal_intents(changes, act)


def _scaled(width: int) -> waits.Judge:
    def judge(proc: machine.Proc | None, run_before: int) -> bool | None:
        if proc is None:
            return True
        if proc.key.index >= width:  # on its way out, unless another request or a reload has widened the job again
            return None if proc.goal is Goal.GONE else False
        return True if proc.goal is Goal.DOWN else waits.started(proc, run_before)

    return judge


def wait_for(ops: Ops, asked: Asked) -> None:
    """Answer once the processes are in a state."""
    wanted = arg(asked, "for", str, default="running")
    if wanted not in {*State, "up", "down"}:
        raise UsageError(f"unknown state `{wanted[:40]}`", ", ".join([*State, "up", "down"]))
    keys = ops.keys(asked, acting=True)
    runs = {key: ops.runtime.supervisor.procs[key].run for key in keys}
    _wait(ops, asked, waits.in_state(wanted), runs, [], seconds(asked))


def reload(ops: Ops, asked: Asked) -> None:
    """Reload the config, or only plan it."""

    def told(shown: PlanView | None, error: TaskmasterError | None) -> None:
        if error is not None:
            ops.refuse(asked, error, getattr(error, "detail", None))
        elif only_plan:
            ops.runtime.reply(asked, shown, keep=False)
        else:
            ops.runtime.after_commit(lambda: ops.runtime.reply(asked, shown))

    only_plan = arg(asked, "plan", bool, default=False)
    excepted = tuple(str(each) for each in arg(asked, "except", list, default=[]))
    ops.reloader.ask(Wish(operator(asked), told, excepted, only_plan))


def reopen(ops: Ops, asked: Asked) -> None:
    """Close and open every output file."""
    ops.runtime.order({"t": "reopen"})
    ops.runtime.reply(asked, {})


def shutdown(ops: Ops, asked: Asked) -> None:
    """Stop everything in order; then, unless the core is to stay, core and shim end."""
    keys = list(ops.runtime.supervisor.procs)
    cause = operator(asked)
    if arg(asked, "keep_core", bool, default=False):
        _act(ops, asked, keys, machine.Stop(), waits.stopped, wait=True, timeout=seconds(asked))
        return
    _wait(ops, asked, waits.in_state("down"), dict.fromkeys(keys, 0), [], seconds(asked))
    ops.shut_down(cause, f"asked by {asked.peer.who}")


TABLE: dict[str, Callable[[Ops, Asked], None]] = {
    "ping": ping, "status": status, "show": show, "why": why, "config": show_config, "events": events,
    "generations": generations, "generation": generation, "start": start, "stop": stop, "restart": restart,
    "kill": kill, "hold": hold, "release": release, "signal": send_signal, "reset": reset, "scale": scale,
    "wait": wait_for, "reload": reload, "reopen": reopen, "shutdown": shutdown,
}  # fmt: skip
"""`logs` and `doctor` join it in their own modules."""
