"""Act on processes: the operations that answer with what became of each of them.

Each turns a request into wishes and stimuli, remembers what would take it back, and answers at once or when its effect
has come. Nothing here decides policy. They stand in one table, which `ops` carries requests out by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from taskmaster_core import guard, history, machine, views, waits
from taskmaster_core.errors import Refused, TaskmasterError, TimedOut, UsageError
from taskmaster_core.intents import Intent, Intents, to_scale
from taskmaster_core.machine import Stimulus
from taskmaster_core.ops import Ops, arg, jobs_named, operator, seconds, sorted_keys
from taskmaster_core.server import Asked
from taskmaster_core.shimlink import signal_name, signal_number
from taskmaster_core.spec import Goal, Key, State
from taskmaster_core.wire import Done, Outcome


def confirm(asked: Asked, procs: Iterable[machine.Proc], what: str) -> None:
    """Raise Refused for an act that would end something protected, unless the request says it is confirmed."""
    names = [] if arg(asked, "confirmed", bool, default=False) else guard.protected(procs)
    if names:
        raise guard.refusal(names, what)


def remember(ops: Ops, asked: Asked, deed: history.Deed) -> None:
    """Keep what would take back what was done; a request that is only heard again has done nothing."""
    if asked.request.id not in ops.seen:
        ops.history.add(asked.request.id, deed)
        ops.keep_history()


# Start, stop, hold ---------------------------------------------------------------------------------------------------


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
    if isinstance(stimulus, machine.Stop | machine.Kill | machine.Relaunch):
        confirm(asked, (ops.runtime.supervisor.procs[key] for key in keys), f"a {_VERBS[type(stimulus)]}")
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
    _remember_command(ops, asked, stimulus, before, {each.key for each in refused})
    known = {each.key: _already(each, stimulus) for each in refused}
    bad = [each for each in known.values() if not each.ok]
    wrong = {each.key for each in bad}
    runs = {
        key: waits.run_before(proc, stimulus, so=str(key) in known)
        for key, proc in before.items() if str(key) not in wrong
    }  # fmt: skip
    if not wait or judge is None:
        done = Done([_now(ops, key, known.get(str(key))) for key in keys], not bad)
        ops.runtime.after_commit(lambda: ops.runtime.reply(asked, done))
        return
    _wait(ops, asked, judge, runs, bad, timeout)


def _remember_command(
    ops: Ops, asked: Asked, stimulus: Stimulus, before: Mapping[Key, machine.Proc], refused: set[str]
) -> None:
    """Remember the command for those it has moved: what was on its way there already is left alone by an undo."""
    down = isinstance(stimulus, machine.Stop | machine.Kill)
    wanted = (key for key, proc in before.items() if not down or (proc.goal is Goal.UP and proc.state not in _ENDED))
    moved = [str(key) for key in wanted if str(key) not in refused]
    # What had ended was only told to stay so: a deed too, else an undo would take back the one before.
    told = moved or [str(key) for key in before if str(key) not in refused]
    if told:
        deed = history.command(_VERBS[type(stimulus)], asked.peer.who, time.time(), told, undoable=bool(moved))
        remember(ops, asked, deed)


_ENDED = frozenset({State.EXITED, State.FATAL})

_VERBS: dict[type, str] = {
    machine.Start: "start", machine.Relaunch: "restart", machine.Stop: "stop", machine.Kill: "kill",
    machine.Hold: "hold", machine.Release: "release",
}  # fmt: skip

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
    confirm(asked, (ops.runtime.supervisor.procs[key] for key in keys), "a signal")
    refused: list[Outcome] = []
    if asked.request.id not in ops.seen:
        supervisor, now = ops.runtime.supervisor, ops.runtime.now()
        refused = supervisor.command(keys, machine.Send(number), now, operator(asked), signal_name(number))
        remember(ops, asked, history.command("signal", asked.peer.who, time.time(), map(str, keys)))
    known = {each.key: each for each in refused}
    done = Done([_now(ops, key, known.get(str(key))) for key in keys], not refused)
    ops.runtime.after_commit(lambda: ops.runtime.reply(asked, done))


def reset(ops: Ops, asked: Asked) -> None:
    """Forget the failures of processes."""
    keys = ops.keys(asked, acting=True)
    ops.runtime.supervisor.command(keys, machine.Reset(), ops.runtime.now(), operator(asked), "reset")
    remember(ops, asked, history.command("reset", asked.peer.who, time.time(), map(str, keys)))
    done = Done([_now(ops, key, None) for key in keys])
    ops.runtime.after_commit(lambda: ops.runtime.reply(asked, done))


def scale(ops: Ops, asked: Asked) -> None:
    """Change the number of jobs' processes by hand; it holds until `numprocess` itself is edited."""
    supervisor = ops.runtime.supervisor
    widths = _widths(ops, asked)
    wait, timeout = arg(asked, "wait", bool, default=True), seconds(asked)
    going = (proc for name in widths for proc in supervisor.processes_of(name) if proc.key.index >= widths[name])
    confirm(asked, going, "ending some of it")
    old = {name: width for name, width in supervisor.widths.items() if widths.get(name, width) != width}
    changes = [to_scale(name, width) for name, width in widths.items()]
    supervisor.set_intents(changes)

    def act() -> None:
        if old:
            remember(ops, asked, history.scaling(asked.peer.who, time.time(), old))
        _wait(ops, asked, _scaled(widths), _scale(ops, asked, widths) if wait else {}, [], timeout)

    ops.runtime.journal_intents(changes, act)


def _widths(ops: Ops, asked: Asked) -> dict[str, int]:
    """Return the number of processes that each job of the request is to have."""
    width, widths = arg(asked, "n", int), arg(asked, "widths", dict)
    selected = [*(key.job for key in ops.keys(asked, acting=True)), *jobs_named(ops, asked)]
    names = [name for name in dict.fromkeys(selected) if ops.runtime.supervisor.job(name) is not None]
    if not names:
        raise Refused("the config no longer has it")
    numbers = {name: width if widths is None else widths.get(name) for name in names}
    if not all(type(number) is int and 0 <= number <= 10_000 for number in numbers.values()):
        raise UsageError("`n` must be 0 to 10000")
    return numbers


def _scale(ops: Ops, asked: Asked, widths: dict[str, int]) -> dict[Key, int]:
    """Bring jobs to their numbers; return the processes that come or go."""
    supervisor = ops.runtime.supervisor
    before = {proc.key: proc for name in widths for proc in supervisor.processes_of(name)}
    for name in widths:
        supervisor.scale(name, ops.runtime.now(), operator(asked))
    names = list(widths)
    ops.runtime.fact("scaled", operator(asked), key=names[0], jobs=names, n=widths[names[0]])
    after = {proc.key: proc for name in widths for proc in supervisor.processes_of(name)}
    return {key: 0 for key in after if key not in before} | {key: 0 for key in before if key.index >= widths[key.job]}


def _scaled(widths: dict[str, int]) -> waits.Judge:
    def judge(proc: machine.Proc | None, run_before: int) -> bool | None:
        if proc is None:
            return True
        if proc.key.index >= widths[proc.key.job]:  # on its way out, unless somebody has widened the job again
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


def shutdown(ops: Ops, asked: Asked) -> None:
    """Stop everything in order; then, unless the core is to stay, core and shim end."""
    keys = list(ops.runtime.supervisor.procs)
    cause = operator(asked)
    confirm(asked, ops.runtime.supervisor.procs.values(), "a stop of everything")
    if arg(asked, "keep_core", bool, default=False):
        _act(ops, asked, keys, machine.Stop(), waits.stopped, wait=True, timeout=seconds(asked))
        return
    _wait(ops, asked, waits.in_state("down"), dict.fromkeys(keys, 0), [], seconds(asked))
    ops.shut_down(cause, f"asked by {asked.peer.who}")


# Undo ----------------------------------------------------------------------------------------------------------------


def undo(ops: Ops, asked: Asked) -> None:
    """Take the last deed back, or say what that would be."""
    request, deed = asked.request, ops.history.last
    if request.id in ops.seen:
        ops.runtime.reply(asked, Done([]))
        return
    if deed is None:
        raise Refused("there is nothing to undo", "what operators do is remembered from now on")
    said = history.sentence(deed, views.ago(time.time() - deed.at))
    if not deed.op:
        raise Refused(said)
    select = _still_there(ops, deed.select) if deed.op != "rollback" else []
    if arg(asked, "plan", bool, default=False):
        told = {"text": said, "op": deed.op, "select": select, "args": deed.args}
        ops.runtime.reply(asked, told, keep=False)
        return
    if deed.op == "rollback":
        raise Refused(said, f"that writes files: taskmaster rollback {deed.args['generation']}")
    ops.runtime.texts[request.id] = said
    _take_back(ops, asked, deed, select)


def _still_there(ops: Ops, select: Iterable[str]) -> list[str]:
    supervisor = ops.runtime.supervisor
    known = {str(key) for key in supervisor.procs} | {spec.name for spec in supervisor.jobs()}
    found = [each for each in select if each in known]
    if not found:
        raise Refused(f"{history.names(tuple(select))}: the config no longer has it, so nothing can be undone")
    return found


def _take_back(ops: Ops, asked: Asked, deed: history.Deed, select: list[str]) -> None:
    """Carry out the contrary of a deed under the id of the request."""
    request = asked.request
    passed_on = {name: request.args[name] for name in ("wait", "timeout", "confirmed") if name in request.args}
    contrary = replace(request, op=deed.op, select=select, args={**deed.args, **passed_on})
    ops.history.undo(request.id)
    try:
        TABLE[deed.op](ops, Asked(asked.peer, contrary))
    except TaskmasterError:
        ops.history.give_up(request.id)
        ops.runtime.texts.pop(request.id, None)
        raise
    ops.keep_history()


TABLE: dict[str, Callable[[Ops, Asked], None]] = {
    "start": start, "stop": stop, "restart": restart, "kill": kill, "hold": hold, "release": release,
    "signal": send_signal, "reset": reset, "scale": scale, "wait": wait_for, "shutdown": shutdown, "undo": undo,
}  # fmt: skip
