"""Let people type to running jobs: `send` for a line, and the operations of those who are attached to a terminal.

Decides what is asked of the shim and who hears what comes back; who may type is decided in `leases`, what is kept of a
screen in the shim. The daemon hands over the shim's reports about terminals.
"""

from __future__ import annotations

import binascii
from typing import Any

from taskmaster_core import wire
from taskmaster_core.errors import Refused, UsageError
from taskmaster_core.leases import LASTS, Lease
from taskmaster_core.machine import Proc
from taskmaster_core.ops import Ops, arg, operator
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Asked
from taskmaster_core.spec import ALIVE, Goal, Key, State, parse_key
from taskmaster_core.wire import Cause, Done, Outcome

TOPIC = "tty."
MOST = 1 << 15
"""Bytes typed in one request."""
CROWD = 50
MINE = 20
"""So many of one user, or key: nobody can keep the others out."""
"""So many may be attached to one terminal."""
WIDEST = 10_000
"""Columns or rows of a terminal."""

Report = dict[str, Any]


# Words of a request --------------------------------------------------------------------------------------------------


def _data(asked: Asked) -> str:
    """Return what is to be typed, in base64."""
    text = arg(asked, "text", str)
    if text is not None:
        raw = text.encode("utf-8", "surrogatepass")
    else:
        try:
            raw = binascii.a2b_base64(arg(asked, "data", str, default=""), strict_mode=True)
        except ValueError as error:
            raise UsageError(f"`data` must be base64: {error}") from error
    if len(raw) > MOST:
        raise UsageError(f"{len(raw)} bytes are too many at once, {MOST} can be sent", "send it in parts")
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def _number(asked: Asked, name: str, most: int, default: int = 0) -> int:
    value = int(arg(asked, name, int, default=default))
    if not 0 <= value <= most:
        raise UsageError(f"`{name}` must be 0 to {most}")
    return value


def _size(asked: Asked) -> tuple[int, int] | None:
    columns, rows = _number(asked, "columns", WIDEST), _number(asked, "rows", WIDEST)
    return (columns, rows) if columns and rows else None


def _lease(ops: Ops, asked: Asked) -> Lease:
    lease = ops.runtime.leases.find(_own(asked, arg(asked, "lease", str, default="")))
    if lease is None:
        raise Refused("this client is not attached any more", "attach again")
    return lease


def _own(asked: Asked, id_: str) -> str:
    """Return a lease's id among those of everybody: clients make them up, and none may mean another's by it."""
    return f"{asked.peer.principal} {id_}"


def _terminal_of(ops: Ops, asked: Asked) -> Proc:
    """Return the one process that is meant; raise what says why it cannot be attached to."""
    keys = ops.keys(asked, acting=True)
    if len(keys) != 1:
        names = ", ".join(map(str, keys[:5]))
        raise UsageError(f"attach to one process: {names or 'none'} match", "name one, as web:0")
    proc = ops.runtime.supervisor.procs[keys[0]]
    if not proc.spec.tty:
        raise Refused(
            f"{keys[0]} has no terminal", "write tty = true in its [[task]]; `taskmaster logs -f` shows output"
        )
    if proc.state not in ALIVE and proc.goal is not Goal.UP:
        raise Refused(f"{keys[0]} is {proc.state}", f"start it: taskmaster start {keys[0]}")
    return proc


# Sending -------------------------------------------------------------------------------------------------------------


def send(ops: Ops, asked: Asked) -> None:
    """Type something to processes; answer once all of them have taken it, or said why not."""
    data, end = _data(asked), arg(asked, "end", bool, default=False)
    keys = ops.keys(asked, acting=True)
    outcomes = {key: _deaf(ops.runtime.supervisor.procs[key]) for key in keys}
    ready = [key for key, outcome in outcomes.items() if outcome.ok]
    if not keys:
        raise Refused("it has no process")
    if asked.request.id in ops.seen:
        ready = []
    waiting = set(ready)

    def took(key: Key, why: str) -> None:
        waiting.discard(key)
        outcomes[key].ok, outcomes[key].note = not why, why
        if not waiting:
            _sent(ops.runtime, asked, list(outcomes.values()))

    for key in ready:
        _type(ops.runtime, asked, key, data, end=end, then=took)
    if not ready:
        _sent(ops.runtime, asked, list(outcomes.values()))


def _type(runtime: Runtime, asked: Asked, key: Key, data: str, *, end: bool, then: Any) -> None:
    name, run = f"{asked.request.id} {key}", runtime.supervisor.procs[key].run
    runtime.awaited[name] = lambda report: then(key, str(report["why"]))
    runtime.order({"t": "input", "key": str(key), "run": run, "data": data, "end": end, "id": name})
    runtime.fact("sent", operator(asked), key=str(key), run=run, bytes=len(binascii.a2b_base64(data)))


def _deaf(proc: Proc) -> Outcome:
    """Return what becomes of a process that is sent something: it cannot hear, or it can."""
    why = ""
    if not proc.spec.tty and proc.spec.stdin != "pipe":
        why = 'it reads no input: write stdin = "pipe" or tty = true in its [[task]]'
    elif proc.state not in ALIVE or proc.pid is None:
        why = f"it is {proc.state}"
    return Outcome(str(proc.key), not why, proc.state.value, why, proc.pid)


def _sent(runtime: Runtime, asked: Asked, outcomes: list[Outcome]) -> None:
    done = Done(outcomes, all(each.ok for each in outcomes))
    runtime.after_commit(lambda: runtime.reply(asked, done))


# Being attached ------------------------------------------------------------------------------------------------------


def attach(ops: Ops, asked: Asked) -> None:
    """Look at a terminal, and type if nobody else does; again, every two seconds: stay, and get what was missed."""
    runtime, proc = ops.runtime, _terminal_of(ops, asked)
    id_ = arg(asked, "lease", str, default="")
    if not 0 < len(id_) <= 64:
        raise UsageError("`lease` must be 1 to 64 characters, made up by the client")
    id_ = _own(asked, id_)
    since, size = _number(asked, "since", 1 << 62), _size(asked)
    same_run = _number(asked, "run", 1 << 62) == proc.run
    known, before = runtime.leases.find(id_), runtime.leases.writer(proc.key)
    if known is None and len(runtime.leases.on(proc.key)) >= CROWD:
        raise Refused(f"{CROWD} are attached to {proc.key} already")
    mine = [each for each in runtime.leases.on(proc.key) if each.id.startswith(_own(asked, ""))]
    if known is None and len(mine) >= MINE:
        raise Refused(f"{MINE} clients of yours are attached to {proc.key} already", "leave one of them")
    lease = runtime.leases.grant(
        id_, proc.key, asked.peer.who, write=arg(asked, "write", bool, default=True),
        takeover=arg(asked, "takeover", bool, default=False), now=runtime.now(),
    )  # fmt: skip
    writes = runtime.leases.writes(lease)
    if known is None:
        runtime.fact("attached", operator(asked), key=str(proc.key), run=proc.run, write=writes)
    _expire_later(runtime)
    _writer_changed(runtime, proc.key, before)
    _resize(runtime, lease, proc.run, size, redraw=arg(asked, "redraw", bool, default=known is None))
    name = f"{asked.request.id} screen"
    runtime.awaited[name] = lambda report: _shown(runtime, asked, lease, report)
    order: Report = {"t": "screen", "key": str(proc.key), "run": proc.run, "id": name, "lease": id_}
    runtime.order({**order, "since": since if same_run else 0})


def _shown(runtime: Runtime, asked: Asked, lease: Lease, report: Report) -> None:
    gone = bool(report["gone"])
    if report.get("bare") and runtime.server is not None:
        runtime.leases.drop(lease.id)
        why = Refused(f"{lease.key} lives on without its terminal, which was lost", f"taskmaster restart {lease.key}")
        runtime.server.refuse(asked, why, keep=False)
        return
    raw = b"" if gone else binascii.a2b_base64(report["data"])
    said = {
        **_standing(runtime, lease), "key": str(lease.key), "run": report["run"], "waiting": gone,
        "offset": 0 if gone else report["offset"], "heard": 0 if gone else report["heard"],
        "size": None if gone else report["size"],
    }  # fmt: skip
    if runtime.server is not None:
        runtime.server.answer(asked, said, raw, keep=False)


def _standing(runtime: Runtime, lease: Lease) -> Report:
    writer = runtime.leases.writer(lease.key)
    return {"write": runtime.leases.writes(lease), "writer": writer.who if writer is not None else None, "lasts": LASTS}


def type_in(ops: Ops, asked: Asked) -> None:
    """Type what somebody who is attached has typed; it is answered when it is on its way."""
    runtime, lease = ops.runtime, _lease(ops, asked)
    data, number = _data(asked), _number(asked, "n", 1 << 62)
    if not runtime.leases.writes(lease):
        writer = runtime.leases.writer(lease.key)
        raise Refused(f"{writer.who if writer is not None else 'nobody'} types at {lease.key}, this client looks on")
    proc = runtime.supervisor.procs.get(lease.key)
    if proc is None or arg(asked, "run", int, default=proc.run) != proc.run:
        raise Refused("the run that was typed to has ended")
    order = {"t": "input", "key": str(lease.key), "run": proc.run, "data": data}
    if number and runtime.linked:
        lease.typed = (proc.run, number)
    runtime.order({**order, "lease": lease.id, "n": number} if number else order)
    runtime.reply(asked, {}, keep=False)


def resize(ops: Ops, asked: Asked) -> None:
    """Give the terminal the size of the one that is in front of the person who types."""
    lease, size = _lease(ops, asked), _size(asked)
    if size is None:
        raise UsageError("`columns` and `rows` are wanted")
    proc = ops.runtime.supervisor.procs.get(lease.key)
    if proc is not None and ops.runtime.leases.writes(lease):
        _resize(ops.runtime, lease, proc.run, size, redraw=arg(asked, "redraw", bool, default=False))
    ops.runtime.reply(asked, {}, keep=False)


def _resize(runtime: Runtime, lease: Lease, run: int, size: tuple[int, int] | None, *, redraw: bool) -> None:
    order: Report = {"t": "resize", "key": str(lease.key), "run": run, "redraw": redraw}
    if size is not None and runtime.leases.writes(lease):
        runtime.order({**order, "columns": size[0], "rows": size[1]})
    elif redraw:
        runtime.order(order)  # whoever looks on has no size to give, but wants to see it whole


def detach(ops: Ops, asked: Asked) -> None:
    """End a lease."""
    _end(ops.runtime, _lease(ops, asked), operator(asked), "left")
    ops.runtime.reply(asked, {}, keep=False)


def _end(runtime: Runtime, lease: Lease, cause: Cause, why: str) -> None:
    before = runtime.leases.writer(lease.key)
    runtime.leases.drop(lease.id)
    proc = runtime.supervisor.procs.get(lease.key)
    if not runtime.leases.on(lease.key) and proc is not None:
        runtime.order({"t": "attend", "key": str(lease.key), "run": proc.run, "on": False})
    runtime.fact("detached", cause, key=str(lease.key), who=lease.who, reason=why)
    _writer_changed(runtime, lease.key, before)


def _expire_later(runtime: Runtime) -> None:
    """See to it that who vanishes is not waited for."""
    due = runtime.leases.deadline
    if due is not None and not runtime.leases.timed:
        runtime.leases.timed = True
        runtime.timers.at(due, lambda: _expire(runtime))


def _expire(runtime: Runtime) -> None:
    runtime.leases.timed = False
    for lease in runtime.leases.overdue(runtime.now()):
        _end(runtime, lease, Cause("deadline"), "was not heard of any more")
    _expire_later(runtime)


# What those who are attached hear ------------------------------------------------------------------------------------


def _publish(runtime: Runtime, key: str, said: Report, raw: bytes | None = None) -> None:
    topic = f"{TOPIC}{key}"
    if runtime.server is not None and runtime.server.wanted(topic):
        runtime.server.publish(topic, wire.encode({"boot": runtime.facts.boot, "key": key, **said}), raw)


def _writer_changed(runtime: Runtime, key: Key, before: Lease | None) -> None:
    now = runtime.leases.writer(key)
    if (now.id if now else None) != (before.id if before else None):
        _publish(runtime, str(key), {"writer": now.who if now is not None else None})


def heard(runtime: Runtime, report: Report) -> bool:
    """Pass on what the shim says of a terminal, also that a run began or ended; tell whether nobody else cares."""
    match report["t"]:
        case "output":
            said = {"run": report["run"], "offset": report["offset"]}
            _publish(runtime, report["key"], said, binascii.a2b_base64(report["data"]))
        case "choked":
            _publish(runtime, report["key"], {"run": report["run"], "choked": report["why"]})
        case "screen" | "took" | "trees":
            call = runtime.awaited.pop(str(report["id"]), None)
            if call is not None:
                call(report)
        case "spawned":
            _moved(runtime, report, {"started": True})
            return False
        case "exited" | "failed":
            _ended(runtime, report)
            return False
        case _:
            return False
    return True


def forsake(runtime: Runtime) -> None:
    """Answer all that the shim will answer no more: it is dead."""
    calls, runtime.awaited = runtime.awaited, {}
    for call in calls.values():
        call({"why": "the shim died meanwhile: it may have been typed, or not", "gone": True, "key": "", "run": 0})


def resume(runtime: Runtime) -> None:
    """Have those who are attached ask again: another shim paints, which remembers less."""
    for key in {lease.key for lease in runtime.leases}:
        proc = runtime.supervisor.procs.get(key)
        if proc is not None:
            _publish(runtime, str(key), {"run": proc.run, "resumed": True})


def _moved(runtime: Runtime, report: Report, news: Report) -> None:
    if runtime.leases.on(parse_key(report["key"])):
        _publish(runtime, report["key"], {"run": report["run"], **news})


def _ended(runtime: Runtime, report: Report) -> None:
    proc = runtime.supervisor.procs.get(parse_key(report["key"]))
    over = proc is None or proc.goal is not Goal.UP or proc.state not in ALIVE | _COMING
    state = proc.state.value if proc is not None else "gone"
    end = {name: report[name] for name in ("code", "signal", "message") if report.get(name) is not None}
    _moved(runtime, report, {"ended": end, "state": state, "over": over})


_COMING = frozenset({State.PENDING, State.BACKOFF})

TABLE = {
    "send": send, "attach": attach, "input": type_in, "resize": resize, "detach": detach,
}  # fmt: skip
