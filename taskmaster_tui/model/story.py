"""Tell what happened and why: events as lines, runs as marks between lines of output, a process's state as a card.

Decides words and roles only. Events list, status line, log views and the detail pane call it; what it returns is
harmless plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import asdict

from taskmaster_core import sentences, wire
from taskmaster_core.sentences import Data
from taskmaster_tui.model.fmt import clock, count, plain, span
from taskmaster_tui.model.words import ended_well
from taskmaster_tui.model.world import Job, Proc

_ROLES = {"error": "error", "warning": "warn", "debug": "dim"}
_TYPE_ROLES = {"running": "good", "adopted": "good", "core_ready": "dim", "started": "", "released": "", "held": "held"}


def event_role(event: wire.Event) -> str:
    """Return the role of an event, by how much it matters."""
    return _ROLES.get(sentences.level(event.type, event.data)) or _TYPE_ROLES.get(event.type, "")


def event_what(event: wire.Event) -> str:
    """Return what happened, without whom it happened to and who wanted it."""
    return plain(sentences.what(event.type, event.data))


def event_sentence(event: wire.Event) -> str:
    """Return the whole sentence: who, what, and because of what; the core's event log says the same."""
    return plain(sentences.told(event.type, event.key, asdict(event.cause), event.data))


def event_line(event: wire.Event) -> tuple[str, str]:
    """Return the sentence and its role."""
    return event_sentence(event), event_role(event)


# Runs, as marks between lines of output ------------------------------------------------------------------------------


class Mark(NamedTuple):
    """Stand between two lines of output: something happened to the process that wrote them."""

    at: float
    key: str
    text: str
    role: str
    seq: int


def run_mark(event: wire.Event, started_at: float | None = None) -> str | None:
    """Return what an event says between the lines, None for one that says nothing there.

    `started_at` is when the run's `started` was seen, for how long it lived.
    """
    say = _MARKS.get(event.type)
    said = say(event.data) if say is not None else None
    if said is None:
        return None
    if started_at is not None and event.type in _ENDS and event.at >= started_at:
        said = f"{said} after {span(event.at - started_at)}"
    return plain(said)


def run_marks(events: Iterable[wire.Event]) -> list[Mark]:
    """Return the marks of a series of events; what follows from an end stands in one line with it."""
    started: dict[tuple[str, Any], float] = {}
    marks: list[Mark] = []
    open_ends: dict[tuple[str, Any], int] = {}
    for event in events:
        run = (event.key, event.data.get("run"))
        text = run_mark(event, started.get(run))
        if event.type == "started":
            started[run] = event.at
        if text is None:
            continue
        if event.type in ("backoff", "fatal") and run in open_ends:
            i = open_ends.pop(run)
            marks[i] = marks[i]._replace(text=f"{marks[i].text} · {text}", role=_mark_role(event))
            continue
        if event.type in _ENDS:
            open_ends[run] = len(marks)
        marks.append(Mark(event.at, event.key, text, _mark_role(event), event.seq))
    return marks


def _mark_role(event: wire.Event) -> str:
    return {"fatal": "failed", "backoff": "warn"}.get(event.type) or event_role(event) or "mark"


_ENDS = frozenset({"exited", "failed", "stopped"})


def _ended(data: Data) -> str:
    if data.get("stage"):
        return f"could not start: {data.get('message') or data.get('errno') or data['stage']}"
    if data.get("signal"):
        return f"ended by {data['signal']}" + (" (core dumped)" if data.get("core") else "")
    return "ended" if data.get("code") is None else f"exited {data['code']}"


def _tried(data: Data) -> str:
    of = f"/{data['of']}" if data.get("of") else ""
    attempt = f"attempt {data['tries']}{of} · " if data.get("tries") else ""
    delay = data.get("delay")
    return f"{attempt}retry in {span(delay) if isinstance(delay, int | float) else '?'}"


def _gave_up(data: Data) -> str:
    tries = data.get("tries")
    return f"attempt {tries}/{tries} · FATAL: gave up" if tries else "FATAL: gave up"


def _began(data: Data) -> str:
    pid = f" · pid {data['pid']}" if data.get("pid") is not None else ""
    return f"run {data['run']} started{pid}" if data.get("run") is not None else f"started{pid}"


def _was_stopped(data: Data) -> str:
    ended = data.get("stage") or data.get("signal") or data.get("code") is not None
    forced = "killed: it did not stop in time" if data.get("forced") else "stopped"
    return f"{forced}, {_ended(data)}" if ended else forced


_MARKS: dict[str, Callable[[Data], str]] = {
    "started": _began,
    "exited": _ended,
    "failed": _ended,
    "stopped": _was_stopped,
    "backoff": _tried,
    "fatal": _gave_up,
    "signalled": lambda data: f"signal {data.get('signum', '?')}",
    "adopted": lambda _: "taken over by another shim",
}


# Why is it in this state ---------------------------------------------------------------------------------------------


class Hint(NamedTuple):
    """Offer what can be done now: the id of an action, and what it means here."""

    action: str
    text: str


class Card(NamedTuple):
    """Answer "why?": a title, sentences, and what to do about it."""

    title: str
    lines: list[str]
    hints: list[Hint]
    role: str


def why_card(proc: Proc, job: Job, now: float, why_reply: Mapping[str, Any] | None = None) -> Card:
    """Return the card of a process. A reply of `why` is used while it speaks of the state that is shown."""
    view = proc.view
    look = proc.look(now)
    reply = _reply_about(proc, why_reply)
    lines = _told(reply) if reply is not None else _seen(proc, job, now)
    return Card(_title(proc, now), [plain(line) for line in lines if line], _hints(view.state, proc), look.role)


def _title(proc: Proc, now: float) -> str:
    view = proc.view
    state = _STATE_WORDS.get(view.state, plain(view.state))
    if proc.kind == "done":
        state = "finished"
    since = max(now - view.since, 0.0)
    never = view.state == "stopped" and not view.run
    when = "" if never else f" since {clock(view.since)} ({span(since)} ago)"
    return f"{plain(proc.key)} is {state}{when}" + (" · held" if proc.held else "")


_STATE_WORDS = {
    "fatal": "FATAL", "backoff": "waiting for its next try", "stopped": "off", "exited": "ended",
    "pending": "waiting for its turn to start", "unknown": "not known",
}  # fmt: skip


def _reply_about(proc: Proc, reply: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the part of a reply that speaks of this process as it is now, if any."""
    if reply is None:
        return None
    found = reply.get("processes", [reply])
    return next((each for each in found if each.get("key") == proc.key and each.get("state") == proc.view.state), None)


def _told(reply: Mapping[str, Any]) -> list[str]:
    """Return the core's chain as sentences; its first only repeats the title, but for the reason in it."""
    chain = [str(each) for each in reply.get("chain", [])]
    reason = chain[0].partition(": ")[2] if chain else ""
    later = [_sentence(each) for each in [reason, *chain[1:]] if each]
    return [*later, _sentence(str(reply.get("next") or ""))]


def _sentence(text: str) -> str:
    """Return a clause with a capital and a full stop; a name or a command it begins with is left as it is."""
    text = text.strip()
    if not text:
        return ""
    first = text.split(" ", 1)[0]
    head = text[0].upper() if first.isalpha() and first != "restart" else text[0]
    return head + text[1:] + ("" if text[-1] in ".!?" else ".")


def _seen(proc: Proc, job: Job, now: float) -> list[str]:
    """Return what the view alone tells, as sentences."""
    return [_end_seen(proc.view, job), _tries_seen(proc, job), *_rest_seen(proc), _next_seen(proc.view, now)]


def _end_seen(view: wire.ProcessView, job: Job) -> str:
    end = view.exit
    if end is None or view.state == "running":
        return ""
    if end.error is not None:
        return _sentence(f"It could not start: {end.error.message or end.error.errno or end.error.stage}")
    expected = f" (expected {', '.join(sorted(map(str, job.exitcodes)))})"
    strange = "" if ended_well(end, job.exitcodes) or not job.exitcodes else expected
    if end.signal is not None:
        return f"Ended by {end.signal}{', core dumped' if end.core else ''}{strange}."
    return "How it ended is not known." if end.code is None else f"Exit code {end.code}{strange}."


def _tries_seen(proc: Proc, job: Job) -> str:
    tries = proc.view.tries
    if not tries or proc.view.state not in ("backoff", "fatal", "starting", "pending"):
        return ""
    facts = [f"successdelay is {span(float(job.spec['successdelay']))}"] if job.spec.get("successdelay") else []
    if "retry" in job.spec:
        facts.append("retry has no limit" if job.spec["retry"] is None else f"retry is {job.spec['retry']}")
    runs = "The last run was" if tries == 1 else f"The last {count(tries)} runs were"
    return f"{runs} unsuccessful" + (f"; {', '.join(facts)}." if facts else ".")


def _rest_seen(proc: Proc) -> Sequence[str]:
    view = proc.view
    found = [_sentence(view.reason)] if view.reason else []
    if proc.held:
        found.append("It is held: it is not started again by itself until it is released.")
    if view.lingering:
        found.append(f"{count(view.lingering)} of its descendants live on.")
    if proc.refused:
        found.append(f"Refused: {proc.refused}")
    return found


def _next_seen(view: wire.ProcessView, now: float) -> str:
    match view.state:
        case "backoff" if view.next_start_at is not None:
            return f"The next try is in {span(view.next_start_at - now)}."
        case "fatal" | "exited" | "stopped":
            return "Nothing happens by itself."
        case _:
            return ""


def _hints(state: str, proc: Proc) -> list[Hint]:
    """Return what a person may want to do about it, the likeliest first."""
    found = [Hint(*each) for each in _HINTS.get(state, ())]
    if proc.held:
        found.insert(0, Hint("job.release", "release it"))
    if proc.kind == "failed":
        found.append(Hint("job.edit", "edit this job"))
    return [*found, Hint("jobs.runs", "earlier runs")] if proc.view.run else found


_HINTS = {
    "fatal": [("job.restart", "try again now")],
    "backoff": [("job.restart", "try now"), ("job.stop", "give up")],
    "exited": [("job.start", "start again")],
    "stopped": [("job.start", "start it")],
    "stopping": [("job.kill", "kill it now")],
}
