"""Carry out requests: one function per `op` of docs/protocol.md, in one table.

Each turns a request into stimuli or a view and answers it, at once or when its effect has come. What is refused is an
exception that the dispatcher answers. Nothing here decides policy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from taskmaster_core import __version__, access, history, intents, kin, memos, views
from taskmaster_core.audit import Audit
from taskmaster_core.errors import NoSuchJob, TaskmasterError, UnknownOp, UsageError
from taskmaster_core.generations import Generations
from taskmaster_core.history import History
from taskmaster_core.reloader import Reloader, Wish
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Asked
from taskmaster_core.spec import Key, matches, names_job
from taskmaster_core.wire import Cause, CoreView, JobView, PlanView, Status

MAX_EVENTS = 5_000
PATTERNS = 100
"""Globs, tags and the like in one request at most: each is held against every process, in the core's one thread."""

INT64 = 1 << 63

_FAR = 1 << 53
"""No number of an event or of a second is so large."""


class Ops:
    """Hold what the operations work on."""

    def __init__(self, runtime: Runtime, reloader: Reloader, generations: Generations) -> None:
        self.runtime = runtime
        self.reloader = reloader
        self.generations = generations
        self.shut_down: Callable[[Cause, str], None] = lambda *_: None
        self.upgrade: Callable[[Asked], None] = lambda _: None
        self.seen: frozenset[str] = frozenset()
        """Ids of requests whose effects an earlier core journalled: they are not carried out again (L03)."""
        self.look: Callable[[], None] = lambda: None
        """Called before the core's own troubles are told: what does not report by itself is looked at."""
        self.history = History()
        self.audit = Audit(runtime)
        reloader.on_reloaded = self.reloaded

    def handle(self, asked: Asked) -> None:
        """Carry a request out; whatever is wrong with it becomes its answer."""
        request = asked.request
        op = TABLE.get(request.op)
        if op is None:
            close = get_close_matches(request.op, TABLE, 1)
            hint = f"did you mean `{close[0]}`?" if close else ""
            self.refuse(asked, UnknownOp(f"unknown op `{request.op[:40]}`", hint))
        elif self._allowed(asked):
            self.attempt(op, asked)

    def _allowed(self, asked: Asked) -> bool:
        """Tell whether who asks has the role for it, and write down what acts and what is refused."""
        request, peer = asked.request, asked.peer
        needs = access.wanted(request.op, request.args)
        try:
            role = access.held_to(peer.role, request.as_ or "")
            if needs is None or role < needs:
                raise access.refusal(request.op, role, needs, peer.who)
        except TaskmasterError as error:
            if self.runtime.server is not None:
                self.runtime.server.refuse(asked, error, keep=False)
            self.audit.denied(asked, error)
            return False
        if access.acts(request.op, request.args):
            self.audit.asked(asked)  # also one that an earlier core had: whose id this really is nobody knows any more
        return True

    def reloaded(self, cause: Cause, generation: int) -> None:
        """Remember a reload that was carried out; `generation` was in force before."""
        who = cause.who or cause.text or cause.kind
        self.history.add(cause.request, history.reloading(who, time.time(), generation))
        self.keep_history()

    def keep_history(self) -> None:
        """Have the shim keep what can be undone for the next core."""
        self.runtime.order({"t": "memo", "key": memos.HISTORY, "memo": self.history.write()})

    def attempt(self, op: Callable[[Ops, Asked], None], asked: Asked) -> None:
        """Carry out a request, or what of it had to wait."""
        try:
            op(self, asked)
        except TaskmasterError as error:
            self.refuse(asked, error, getattr(error, "detail", None))

    def refuse(self, asked: Asked, error: TaskmasterError, detail: object = None) -> None:
        """Answer with an error."""
        self.runtime.texts.pop(asked.request.id, None)
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
        patterns = 0
        for selector in dict.fromkeys(selectors):
            named = self._named(selector)
            patterns += named is None
            if patterns > PATTERNS:
                raise UsageError(f"more than {PATTERNS} patterns in one request", "name jobs and processes outright")
            chosen.update(dict.fromkeys(self._meant(selector) if named is None else named))
        return sorted_keys(self.runtime, chosen)

    def _named(self, selector: str) -> list[Key] | None:
        """Return what is named outright, which costs nothing however many are; None for a pattern."""
        job, colon, index = selector.rpartition(":")
        if colon and index.isdecimal() and len(index) < len("10000000"):
            key = Key(job, int(index))
            return [key] if str(key) == selector and key in self.runtime.supervisor.procs else None
        known = selector != "all" and self.runtime.supervisor.job(selector) is not None
        return [each.key for each in self.runtime.supervisor.processes_of(selector)] if known else None

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
    if isinstance(value, int) and not -INT64 <= value < INT64:  # what is behind it counts in 64 bits, SQLite for one
        raise UsageError(f"`{name}` is no number that means anything: {value!r:.60}")
    return value


def words(asked: Asked, name: str) -> list[str] | None:
    """Return an argument that is a list of words; raise UsageError if it is something else."""
    found: list[str] | None = arg(asked, name, list)
    if found is not None and not (len(found) <= PATTERNS and all(isinstance(each, str) for each in found)):
        raise UsageError(f"`{name}` must be at most {PATTERNS} words")
    return found


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
    said = {
        "version": __version__, "shim_version": runtime.facts.shim_release,
        "boot": runtime.facts.boot, "seq": runtime.publisher.seq, "pid": os.getpid(),
        "role": access.held_to(asked.peer.role, asked.request.as_ or "").word,
        "now": runtime.now() + runtime.wall_offset(),
    }  # fmt: skip
    runtime.reply(asked, said, keep=False)


def core_view(ops: Ops) -> CoreView:
    """Return what clients see of the core."""
    runtime, facts = ops.runtime, ops.runtime.facts
    return CoreView(
        version=__version__, pid=os.getpid(), shim_pid=facts.shim_pid, boot=facts.boot, started_at=facts.started_at,
        generation=runtime.supervisor.generation, config=list(facts.config_paths),
        config_problems=ops.reloader.problems, instance=facts.instance, statedir=facts.setting.places.statedir,
        seq=runtime.publisher.seq, batches=runtime.publisher.batches, troubles=runtime.troubles.lines(),
        stopping=runtime.supervisor.shutting_down is not None,
        autoreload=runtime.supervisor.config.settings.autoreload, pending=ops.reloader.pending,
        now=runtime.now() + runtime.wall_offset(),
        shim_version=facts.shim_release,
    )  # fmt: skip


def status(ops: Ops, asked: Asked) -> None:
    """Answer with everything visible now, or what the selectors mean of it; with `usage` after a look at all trees."""
    ops.look()
    _after_sample(ops, asked, _status)


def _after_sample(ops: Ops, asked: Asked, op: Callable[[Ops, Asked], None]) -> None:
    if arg(asked, "usage", bool, default=False):
        ops.runtime.sampler.ask(ops.runtime.now(), lambda: ops.attempt(op, asked))
    else:
        op(ops, asked)


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
    _say_attached(runtime, found)
    runtime.sampler.fill((each for job in found for each in job.processes), now)
    runtime.reply(asked, Status(core_view(ops), found), keep=False)


def _say_attached(runtime: Runtime, jobs: Iterable[JobView]) -> None:
    told = {str(lease.key): runtime.leases.told(lease.key) for lease in runtime.leases}
    for process in (each for job in jobs for each in job.processes if told):
        process.attached = told.get(process.key, "")


def show(ops: Ops, asked: Asked) -> None:
    """Answer with everything about some jobs: views, intents, output files, names of variables, descendants."""
    _after_sample(ops, asked, lambda ops, asked: _with_kin(ops, asked, _show))


def _with_kin(ops: Ops, asked: Asked, op: Callable[[Ops, Asked, kin.Kin], None]) -> None:
    """Carry out what needs to know the descendants of what is selected, once the shim has told them."""

    def told(found: kin.Kin) -> None:
        ops.attempt(lambda ops, asked: op(ops, asked, found), asked)

    kin.ask(ops.runtime, map(str, ops.keys(asked, acting=False)), told)


def _show(ops: Ops, asked: Asked, found: kin.Kin) -> None:
    runtime = ops.runtime
    keys = ops.keys(asked, acting=False)
    names = list(dict.fromkeys([*(key.job for key in keys), *jobs_named(ops, asked)]))
    jobs = []
    for job in views.job_views(runtime.supervisor, names, runtime.now(), runtime.wall_offset()):
        runtime.sampler.fill(job.processes, runtime.now())
        _say_attached(runtime, [job])
        files = {str(key): runtime.sources_of(key) for key in keys if key.job == job.name}
        spec = runtime.supervisor.job(job.name)
        env = sorted(spec.baseenv | spec.fileenv | spec.env) if spec is not None else []
        wishes = runtime.supervisor.intents.about(job.name)
        jobs.append(
            {
                "job": job, "env": env, "intents": wishes, "by_hand": [intents.said(each) for each in wishes],
                "paths": {key: {name: file["path"] for name, file in its.items()} for key, its in files.items()},
                "files": files,
                "trees": {key: tree for key, tree in found.trees.items() if key in files},
            }
        )  # fmt: skip
    runtime.reply(asked, {"jobs": jobs, "now": runtime.now() + runtime.wall_offset()}, keep=False)


def jobs_named(ops: Ops, asked: Asked) -> list[str]:
    """Return the jobs that are named outright, which may have no process."""
    return [name for name in asked.request.select if ops.runtime.supervisor.job(name) is not None]


def why(ops: Ops, asked: Asked) -> None:
    """Answer with the reason chain of each process."""
    _with_kin(ops, asked, _why)


def _why(ops: Ops, asked: Asked, found: kin.Kin) -> None:
    supervisor, now = ops.runtime.supervisor, ops.runtime.now()
    keys = ops.keys(asked, acting=False)
    chains = [views.why(supervisor.procs[key], supervisor.intents, now) for key in keys]
    for chain in chains:
        tree = found.trees.get(chain["key"], kin.Tree())
        chain["chain"] += kin.sentences(chain["key"], tree, now + ops.runtime.wall_offset())
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
    number = _bounded(asked, "n", int)
    ops.runtime.publisher.flush()  # an event of this turn has its number already: whoever saw that must find it here
    found = ops.runtime.journal.events(
        since_seq=_bounded(asked, "since", int),
        before_seq=_bounded(asked, "before", int),
        since_time=_bounded(asked, "since_time", (int, float)),
        until=_bounded(asked, "until", (int, float)),
        keys=_event_keys(ops, asked.request.select),
        types=words(asked, "types"),
        limit=MAX_EVENTS,
        tail=max(min(number, MAX_EVENTS), 0) if number is not None else None,
    )
    ops.runtime.reply(asked, [row.to_event() for row in found], keep=False)


def _bounded(asked: Asked, name: str, kind: type | tuple[type, ...]) -> Any:
    """Return a number that the journal can be asked for; what is beyond its integers ended the core."""
    value = arg(asked, name, kind)
    if value is not None and not -_FAR < value < _FAR:
        raise UsageError(f"`{name}` is out of all bounds: {value!r:.40}")
    return value


def _event_keys(ops: Ops, selectors: list[str]) -> list[str] | None:
    """Return selectors as patterns of event keys: a job means itself and its processes, a tag all jobs that have it."""
    if not selectors or "all" in selectors:
        return None
    plain = list(dict.fromkeys(each for each in selectors if not each.startswith("@")))
    if len(plain) > PATTERNS:
        raise UsageError(f"more than {PATTERNS} selectors in one question to the journal", "ask for all, and choose")
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


# The config and the files ------------------------------------------------------------------------------------------


def reload(ops: Ops, asked: Asked) -> None:
    """Reload the config, or only plan it."""

    def told(shown: PlanView | None, error: TaskmasterError | None) -> None:
        if error is not None:
            ops.history.give_up(asked.request.id)
            ops.refuse(asked, error, getattr(error, "detail", None))
        elif only_plan:
            ops.runtime.reply(asked, shown, keep=False)
        else:
            ops.runtime.after_commit(lambda: ops.runtime.reply(asked, shown))

    only_plan = arg(asked, "plan", bool, default=False)
    excepted = tuple(str(each) for each in arg(asked, "except", list, default=[]))
    confirmed = arg(asked, "confirmed", bool, default=False)
    last = ops.history.last
    if arg(asked, "undo", bool, default=False) and last is not None and last.op == "rollback" and not only_plan:
        ops.history.undo(asked.request.id)  # the client has written back the files of the generation before
    ops.reloader.ask(Wish(operator(asked), told, excepted, only_plan, confirmed=confirmed))


def reopen(ops: Ops, asked: Asked) -> None:
    """Close and open every output file."""
    ops.runtime.order({"t": "reopen"})
    ops.runtime.reply(asked, {})


TABLE: dict[str, Callable[[Ops, Asked], None]] = {
    "ping": ping, "status": status, "show": show, "why": why, "config": show_config, "events": events,
    "generations": generations, "generation": generation, "reload": reload, "reopen": reopen,
}  # fmt: skip
"""The acts, `logs` and `doctor` join it in their own modules."""
