"""Say an event as one sentence for people; the human log and `taskmaster events` use the same words.

Pure. Whatever comes from a job, a config or a person is made harmless here: control characters are escaped, so nobody
can write a line of their own into the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

LEVELS = {
    "failed": "warning", "backoff": "warning", "fatal": "error", "killed": "warning", "unkillable": "error",
    "reload_refused": "warning", "config_error": "error", "core_replaced": "warning", "log_trouble": "warning",
    "journal_trouble": "warning", "watch_trouble": "warning", "generations_trouble": "warning", "adopted": "warning",
    "added": "debug", "cleared": "debug", "core_ready": "debug", "removed": "debug",
}  # fmt: skip
"""How grave a type of event is; what is not named is "info"."""

Data = Mapping[str, Any]


def level(type_: str, data: Data) -> str:
    """Return how grave an event is: debug, info, warning or error."""
    if type_ == "exited":
        return "info" if data.get("expected") else "warning"
    return LEVELS.get(type_, "info")


def harmless(text: str) -> str:
    """Return text without control characters: they are shown, not sent."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def sentence(type_: str, key: str, cause: Mapping[str, Any], payload: Data) -> str:
    """Return the event as a sentence, with who or what made it happen in brackets where that says more."""
    say = _SAY.get(type_)
    body = say(payload) if say is not None else _plainly(type_, payload)
    return harmless(f"{key + ' ' if key else ''}{body}{_because(type_, cause)}")


def _because(type_: str, cause: Mapping[str, Any]) -> str:
    kind = cause.get("kind")
    if kind == "operator":
        return f" (asked by {cause.get('who') or 'an operator'})"
    if kind == "reload" and type_ != "reloaded":
        return f" (reload to generation {cause.get('generation')})"
    text = cause.get("text")
    return f" ({text})" if text and type_ not in ("shutdown",) else ""


def ending(data: Data) -> str:
    """Say how a run ended."""
    if data.get("stage"):
        return str(data.get("message") or f"{data['stage']}: {data.get('errno')}")
    if data.get("signal"):
        return f"{data['signal']}" + (" (core dumped)" if data.get("core") else "")
    return f"exit code {data['code']}" if data.get("code") is not None else "an end nobody saw"


def _started(data: Data) -> str:
    return f"started with pid {data.get('pid')}" + (f", run {data['run']}" if data.get("run", 1) > 1 else "")


def _exited(data: Data) -> str:
    kind = "as expected" if data.get("expected") else "too early" if data.get("early") else "unexpectedly"
    left = f"; {data['lingering']} of its descendants live on" if data.get("lingering") else ""
    return f"ended {kind}: {ending(data)}{left}"


def _backoff(data: Data) -> str:
    of = f" of {data['of']}" if data.get("of") is not None else ""
    return f"is started again in {data.get('delay'):g} s (unsuccessful runs: {data.get('tries')}{of})"


def _stopped(data: Data) -> str:
    how = f": {ending(data)}" if any(data.get(name) is not None for name in ("code", "signal", "stage")) else ""
    swept = f"; killed what had left its group: {', '.join(map(str, data['swept']))}" if data.get("swept") else ""
    left = f"; {data['lingering']} of its descendants live on" if data.get("lingering") else ""
    return f"is stopped{how}{swept}{left}"


def _killed(data: Data) -> str:
    return "is killed" + (": it did not stop in time" if data.get("forced") else "")


def _unkillable(data: Data) -> str:
    return f"does not die of SIGKILL (pid {data.get('pid')}): the kernel holds it"


def _reloaded(data: Data) -> str:
    counts = ", ".join(f"{data.get(name, 0)} {name}" for name in ("added", "changed", "removed", "same"))
    return f"config applied as generation {data.get('generation')}: {counts}"


def _config_error(data: Data) -> str:
    number = data.get("problems", 1)
    return f"the config is not valid, nothing was changed: {number} problem{'s' if number != 1 else ''}, the first: " + str(
        data.get("first")
    )


def _trouble(what: str) -> Callable[[Data], str]:
    def say(data: Data) -> str:
        return f"{what}: {data.get('text') or data.get('errno')}"

    return say


def _log_trouble(data: Data) -> str:
    if "path" not in data:
        return f"output: {data.get('text')}"
    lost = f"{data.get('bytes')} bytes lost"
    return f"output to {data['path']} is written again, {lost}" if data.get("over") else f"output to {data['path']} is being lost: {data.get('errno')}"  # fmt: skip  # noqa: E501


def _core(words: str) -> Callable[[Data], str]:
    def say(data: Data) -> str:
        return f"{words} (core pid {data.get('pid')}, generation {data.get('generation')})"

    return say


def _scaled(data: Data) -> str:
    return f"scaled to {data.get('n')}"


def _plainly(type_: str, data: Data) -> str:
    """Say an event of a type this version does not know."""
    told = ", ".join(f"{name}={value}" for name, value in data.items())
    return type_ + (f": {told}" if told else "")


_SAY: dict[str, Callable[[Data], str]] = {
    "started": _started,
    "running": lambda data: f"runs: it lived for successdelay (pid {data.get('pid')})",
    "exited": _exited,
    "failed": lambda data: f"could not be started: {ending(data)}",
    "backoff": _backoff,
    "fatal": lambda data: f"{data.get('reason') or 'gave up'}",
    "stopping": lambda data: "is being stopped" + (" to start it again" if data.get("goal") == "up" else ""),
    "stopped": _stopped,
    "cleared": lambda data: "left nothing behind any more",
    "killed": _killed,
    "unkillable": _unkillable,
    "removed": lambda data: "is gone",
    "added": lambda data: "is new",
    "scaled": _scaled,
    "reset": lambda data: "had its failures forgotten",
    "signalled": lambda data: f"got signal {data.get('signum')} (pid {data.get('pid')})",
    "adopted": lambda data: str(data.get("message") or f"was found alive with pid {data.get('pid')}"),
    "reloaded": _reloaded,
    "reload_refused": lambda data: f"the save was not applied: {data.get('reason')}",
    "config_error": _config_error,
    "core_started": _core("taskmaster started"),
    "core_ready": lambda data: "the core serves",
    "core_replaced": _core("the core was replaced, the jobs ran on"),
    "core_stopping": lambda data: f"taskmaster ends with status {data.get('code')}",
    "shutdown": lambda data: f"everything is being stopped: {data.get('reason')}",
    "log_trouble": _log_trouble,
    "journal_trouble": _trouble("the journal"),
    "watch_trouble": _trouble("watching the config"),
    "notice": lambda data: str(data.get("message")),
}  # fmt: skip
