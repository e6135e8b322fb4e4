"""Say what an event means, in one sentence for people, and how much it matters.

Pure, and forgiving: an event of another version, with fields missing or strange, still becomes a sentence. The event
log and `taskmaster events` call `sentence`, of which nothing that came from a job or a config can break the line or the
terminal; a client that has a sanitizer of its own (the TUI) calls `told` and `what`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Data = Mapping[str, Any]

_NAMED = 10
"""Processes that one sentence names at most."""

LEVELS = ("debug", "info", "warning", "error")

_ERROR = frozenset({"fatal", "unkillable", "config_error"})
_WARNING = frozenset({
    "failed", "backoff", "reload_refused", "core_replaced", "swept", "lost", "denied", "upgrade_refused",
    "stray",
})  # fmt: skip
_DEBUG = frozenset({"cleared", "core_ready", "intent"})

BY_MEMORY = {"yes": " (out of memory)", "likely": " (likely out of memory)"}
"""What to add to an end, by its `oom`."""


def level(type_: str, payload: Data) -> str:
    """Return how much an event matters: one of LEVELS."""
    if type_.endswith("_trouble"):
        return "info" if payload.get("over") else "warning"
    if type_ in _ERROR:
        return "error"
    if type_ in _WARNING or (type_ == "exited" and not payload.get("expected", True)):
        return "warning"
    if type_ == "killed":
        return "warning" if payload.get("forced") else "info"
    return "debug" if type_ in _DEBUG else "info"


def sentence(type_: str, key: str, cause: Data, payload: Data) -> str:
    """Return the sentence: who, what, and because of what. It is one printable line whatever it is given."""
    return escape(told(type_, key, cause, payload))


def told(type_: str, key: str, cause: Data, payload: Data) -> str:
    """Return the sentence as it is: what is foreign in it is not made harmless yet."""
    happened = what(type_, payload)
    said = f"{key} {happened}" if key else happened
    why = _why(cause)
    return f"{said} ({why})" if why and why not in happened else said


def what(type_: str, payload: Data) -> str:
    """Return what happened, without whom it happened to and who wanted it; not made harmless either."""
    say = _SENTENCES.get(type_)
    return say(payload) if say is not None else _generic(type_, payload)


def escape(text: str) -> str:
    """Return the text with everything unprintable (newlines, escapes, lone surrogates) spelt out."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _spelt(each) for each in text)


def _spelt(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def _why(cause: Data) -> str:
    who, text, generation = cause.get("who"), cause.get("text"), cause.get("generation")
    match cause.get("kind"):
        case "operator":
            said = f"asked by {who or 'an operator'}"
        case "reload":
            said = f"by generation {generation}" if generation else "by a reload"
        case "signal":
            said = "by a signal"
        case _:
            said = ""
    return ", ".join(str(each) for each in (said, text) if each)


# What happened to a process --------------------------------------------------------------------------------------


_UNKNOWN = "not known how"


def how_it_ended(data: Data) -> str:
    """Say how a run ended: "with code 1", "by SIGKILL", or that it is not known."""
    if data.get("stage"):
        return f"at {data['stage']}: {data.get('message') or data.get('errno') or 'no reason was told'}"
    memory = BY_MEMORY.get(str(data.get("oom")), "")
    why = f" ({data['message']})" if data.get("message") and data["message"] != _UNKNOWN else ""
    if data.get("signal"):
        return f"by {data['signal']}" + (" (core dumped)" if data.get("core") else memory) + why
    return f"in an unknown way{why}" if data.get("code") is None else f"with code {data['code']}{memory}{why}"


def _rest(data: Data) -> str:
    """Say what became of the other processes of its tree."""
    said = ""
    if swept := _names(data.get("swept")):
        said += f"; {swept} had left its group and was killed"
    if outlived := _names(data.get("outlived")):
        said += f"; {outlived} did not end with it and was killed"
    if data.get("unnamed"):
        said += f"; so were {data['unnamed']} more"
    if data.get("lingering"):
        left = _names(data.get("left"), data["lingering"])
        said += f"; {data['lingering']} of its descendants live on{f': {left}' if left else ''}"
    return said


def _names(processes: object, count: object = None) -> str:
    """Name processes, of many the first ones and how many more there are; `count` where not all are listed."""
    if not isinstance(processes, list | tuple) or not processes:
        return ""
    first = [" ".join(map(str, reversed(each))) if isinstance(each, list) else str(each) for each in processes[:_NAMED]]
    more = (count if isinstance(count, int) else len(processes)) - len(first)
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _with_pid(data: Data) -> str:
    return f" with pid {data['pid']}" if data.get("pid") is not None else ""


def _pid(data: Data) -> str:
    return f" (pid {data['pid']})" if data.get("pid") is not None else ""


def _exited(data: Data) -> str:
    kind = "too early " if data.get("early") else "" if data.get("expected", True) else "unexpectedly "
    held = "; it is held, so it is not started again" if data.get("held") else ""
    return f"ended {kind}{how_it_ended(data)}{_rest(data)}{held}"


def _stopped(data: Data) -> str:
    ended = data.get("stage") or data.get("signal") or data.get("code") is not None
    how = f", it ended {how_it_ended(data)}" if ended else ""
    forced = " after it had to be killed" if data.get("forced") else ""
    return f"stopped{forced}{how}{_rest(data)}"


def _backoff(data: Data) -> str:
    of = f" of {data['of']}" if data.get("of") else ""
    tries = f" (run {data['tries']}{of} failed)" if data.get("tries") else ""
    return f"waits {data.get('delay', '?')} s until the next try{tries}"


def _killed(data: Data) -> str:
    why = ": it did not stop in time" if data.get("forced") else ""
    return f"is killed{_pid(data)}{why}"


def _stopping(data: Data) -> str:
    then = {"up": ", to be started again", "gone": ", to be removed"}.get(str(data.get("goal")), "")
    first = ": what its last run left behind is ended first" if data.get("lingering") else ""
    return f"is being stopped{then}{first}"


def _unkillable(data: Data) -> str:
    left = data.get("pids")
    pids = f" (pids {', '.join(map(str, left))})" if isinstance(left, list | tuple) and left else _pid(data)
    return f"does not die, not even of SIGKILL{pids}"


def _stray(data: Data) -> str:
    of = f"; its environment says it is of {data['of']}" if data.get("of") else ""
    return f"process {data.get('pid', '?')} ({data.get('comm', '?')}) was orphaned and is of no run{of}: it is let be"


def _scaled(data: Data) -> str:
    jobs = data.get("jobs")
    more = f", with {', '.join(map(str, jobs[1:]))}" if isinstance(jobs, list | tuple) and len(jobs) > 1 else ""
    return f"was scaled to {data.get('n', '?')}{more}"


def _adopted(data: Data) -> str:
    return str(data.get("message") or f"was taken over{_with_pid(data)}")


# What happened to the whole --------------------------------------------------------------------------------------


def _reloaded(data: Data) -> str:
    counts = ", ".join(f"{data.get(each, 0)} {each}" for each in ("added", "changed", "removed"))
    return (
        f"generation {data.get('generation', '?')} of the config is in force: {counts}, {data.get('same', 0)} the same"
    )


def _config_error(data: Data) -> str:
    return (
        f"the config has {data.get('problems', 'some')} problem(s), nothing was changed; first {data.get('first', '')}"
    )


def _core(what: str) -> Callable[[Data], str]:
    def say(data: Data) -> str:
        version = f" {data['version']}" if data.get("version") else ""
        generation = f", generation {data['generation']} of the config" if data.get("generation") else ""
        shim = f" below shim {data['shim_pid']}" if data.get("shim_pid") else ""
        return f"core{version}{_pid(data)} {what}{shim}{generation}"

    return say


def _request(data: Data) -> str:
    select = data.get("select")
    names = " ".join(map(str, select)) if isinstance(select, list | tuple) else ""
    args = data.get("args")
    more = ", ".join(f"{name} {value}" for name, value in args.items()) if isinstance(args, Mapping) else ""
    return " ".join(part for part in (str(data.get("op", "?")), names, f"({more})" if more else "") if part)


def _denied(data: Data) -> str:
    times = f", {data['times']} times" if data.get("times", 1) != 1 else ""
    return f"{data.get('who', 'somebody')} was refused `{_request(data)}`{times}: {data.get('reason', '')}"


def _log_trouble(data: Data) -> str:
    if data.get("text"):
        return str(data["text"])
    path, errno = data.get("path", "?"), data.get("errno") or "no reason was told"
    if data.get("over"):
        return f"output to {path} is written again, {data.get('bytes', '?')} bytes were lost"
    return f"output to {path} is being lost: {errno}"


def _trouble(part: str) -> Callable[[Data], str]:
    return lambda data: f"{part}: {data.get('text', '')}"


def _upgraded(data: Data) -> str:
    old, new = data.get("old"), data.get("new")
    became = f"{new} (as before)" if old == new else f"{old} to {new}"
    return f"the {data.get('part') or 'core'} was upgraded: {became}, {data.get('processes', '?')} processes untouched"


def _upgrade_refused(data: Data) -> str:
    part = f"the new {data['part']} cannot take over, the one that runs goes on: " if data.get("part") else ""
    return f"upgrade refused: {part}{data.get('reason') or 'no reason was told'}"


def _text(name: str, before: str = "") -> Callable[[Data], str]:
    return lambda data: f"{before}{data.get(name, '')}"


def _generic(type_: str, data: Data) -> str:
    if type_.endswith("_trouble") and data.get("text"):
        return _trouble(type_.removesuffix("_trouble"))(data)
    facts = ", ".join(f"{name} {value}" for name, value in data.items() if value is not None and value != "")
    return f"{type_.replace('_', ' ')}: {facts}" if facts else type_.replace("_", " ")


_SENTENCES: dict[str, Callable[[Data], str]] = {
    "started": lambda data: f"started{_with_pid(data)}",
    "running": lambda data: f"is running{_with_pid(data)}",
    "exited": _exited,
    "failed": lambda data: f"could not start: failed {how_it_ended(data)}",
    "backoff": _backoff,
    "fatal": lambda data: f"is given up: {data.get('reason') or 'too many unsuccessful runs'}",
    "stopping": _stopping,
    "stopped": _stopped,
    "cleared": lambda data: f"has nothing left of its last run{_rest(data)}",
    "killed": _killed,
    "unkillable": _unkillable,
    "stray": _stray,
    "removed": lambda _: "was removed",
    "added": lambda _: "was added",
    "scaled": _scaled,
    "reset": lambda _: "was reset: its count of failures begins anew",
    "held": lambda _: "is held: it is not started again by itself",
    "released": lambda _: "is released: it is started again by itself as its policy says",
    "signalled": lambda data: f"got signal {data.get('signum', '?')}{_pid(data)}",
    "sent": lambda data: f"was sent {data.get('bytes', '?')} bytes",
    "attached": lambda data: f"has somebody {'typing' if data.get('write') else 'looking on'} at its terminal",
    "detached": lambda data: f"is left by somebody at its terminal: {data.get('reason') or 'gone'}",
    "adopted": _adopted,
    "reloaded": _reloaded,
    "reload_refused": _text("reason", "the config was not taken: "),
    "config_error": _config_error,
    "core_started": _core("started"),
    "core_replaced": _core("took over from another one"),
    "core_ready": _core("is ready"),
    "core_stopping": lambda data: f"core is done, exit status {data.get('code', '?')}",
    "upgraded": _upgraded,
    "upgrade_refused": _upgrade_refused,
    "shutdown": _text("reason", "everything is being stopped: "),
    "asked": lambda data: f"request: {_request(data)}",
    "denied": _denied,
    "log_trouble": _log_trouble,
    "journal_trouble": _trouble("journal"),
    "watch_trouble": _trouble("config watching"),
    "notice": _text("message"),
}
