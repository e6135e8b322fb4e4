"""Follow the states as plain lines: a table first, then one sentence for each change.

`status --watch` and the line mode of the TUI come here, and `status` on its way to the table.

It decides how a change is said, and when; nothing is drawn again and no cursor moves, so that screen readers, dumb
terminals and pipes get all of it in order. What changes is heard on the `state` topic.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from taskmaster_core.cli import clock
from taskmaster_core.cli import status as table
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import plural, span
from taskmaster_core.cli.pick import Picker
from taskmaster_core.errors import NoCore, TaskmasterError
from taskmaster_core.logs.sanitize import clean

if TYPE_CHECKING:
    from taskmaster_core.client import Message, Subscription

Document = dict[str, Any]

SILENCE = 5.0
"""Seconds without a beat, of which there is one each second, until the core is said to be silent."""

_SAYS = {
    "pending": "waits to be started",
    "starting": "is starting",
    "running": "is running",
    "unhealthy": "runs and is not well",
    "backoff": "waits for its next try",
    "stopping": "is being stopped",
    "stopped": "is stopped",
    "exited": "has ended",
    "fatal": "has failed for good",
    "unknown": "is not known: the shim cannot be heard",
}


def status(call: Call) -> int:
    """Print the table, once or followed by what changes."""
    return watch(call) if call.options.watch else table.status(call)


def watch(call: Call) -> int:
    """Print the table, then what changes, until somebody interrupts it."""
    with call.client.subscribe(("state", "beat")) as heard:
        follower = _Follower(call)
        follower.begin()
        while True:
            follower.take(heard)
            call.out.stdout.flush()


class _Follower:
    """Hold what was told last of each process."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._out = call.out
        self._json = bool(call.options.json)
        self._failed = bool(getattr(call.options, "failed", False))
        self._picker = Picker.of(call, call.selectors)
        self._known: dict[str, Document] = {}
        self._seen = ("", 0)
        self._silent = False
        self._ahead = 0.0
        """Seconds by which the core's clock is ahead of ours."""

    def begin(self) -> None:
        """Print all there is, as `status` does."""
        answer = self._ask()
        if self._json:
            self._out.line(answer)
        else:
            core = answer["core"]
            self._out.say(f"{core['instance']}: {plural(len(answer['jobs']), 'job')}, core pid {core['pid']}")
            table.show(self._call, answer)
            self._out.say("Changes follow, one a line; Ctrl-C ends this.")
        self._known = {process["key"]: process for job in answer["jobs"] for process in job["processes"]}
        self._out.stdout.flush()

    def _ask(self) -> Document:
        answer: Document = self._call.ask("status", usage=True)
        self._seen = (answer["core"]["boot"], answer["core"]["seq"])
        self._ahead = clock.of(answer["core"]) - time.time()
        return answer

    def take(self, heard: Subscription) -> None:
        """Wait for the next message and tell what is new in it."""
        message = heard.receive(SILENCE)
        if message is None:
            self._hush(silent=True)
            return
        self._hush(silent=False)
        if message.topic == "beat" and message.body.get("at"):
            self._ahead = message.body["at"] - time.time()
        if message.topic == "state" and message.body["boot"] == self._seen[0]:
            self._changes(message.body["processes"], message.body["gone"], message.body["seq"])
        elif self._missed(message):
            self._compare()

    def _missed(self, message: Message) -> bool:
        """Tell whether there is another core, or a beat tells of more than was heard."""
        boot, seq = self._seen
        return bool(message.body["boot"] != boot or message.body["seq"] > seq)

    def _compare(self) -> None:
        """Ask for everything and tell what differs: something was missed."""
        try:
            answer = self._ask()
        except NoCore:
            return
        except TaskmasterError as error:  # what was selected may be gone meanwhile
            self._note(error.message)
            return
        found = {process["key"]: process for job in answer["jobs"] for process in job["processes"]}
        self._changes(list(found.values()), [key for key in self._known if key not in found], self._seen[1])

    def _changes(self, processes: list[Document], gone: list[str], seq: int) -> None:
        if seq < self._seen[1]:
            return  # older than what was asked for
        self._seen = (self._seen[0], seq)
        for process in processes:
            before = self._known.get(process["key"])
            if self._picker.picks(process["key"]) and _differs(before, process):
                self._known[process["key"]] = process
                self._tell(before, process)
        for key in gone:
            if self._known.pop(key, None) is not None:
                self._line({"key": key, "state": "gone"}, f"{key} is gone")

    def _tell(self, before: Document | None, process: Document) -> None:
        bad = {table.shown_state(each) for each in (before, process) if each is not None} & table.FAILED
        if bad or not self._failed:
            self._line(process, sentence(before, process, time.time() + self._ahead))

    def _line(self, document: Document, text: str) -> None:
        if self._json:
            self._out.line(document)
        else:
            self._note(text)

    def _note(self, text: str) -> None:
        if not self._json:
            self._out.say(f"{time.strftime('%H:%M:%S')} {clean(text)}")

    def _hush(self, *, silent: bool) -> None:
        """Say once that the core is silent, and once that it is back."""
        if silent is not self._silent:
            self._silent = silent
            self._note("the core does not answer; waiting for it" if silent else "the core answers again")


def _differs(before: Document | None, process: Document) -> bool:
    """Tell whether there is something to say: a time or a figure alone is nothing."""
    return before is None or _facts(before) != _facts(process)


def _facts(process: Document) -> tuple[object, ...]:
    return table.shown_state(process), process.get("pid"), bool(process.get("held")), process.get("unkillable")


def sentence(before: Document | None, process: Document, now: float) -> str:
    """Return what became of a process, in words; a hold that came or went is named."""
    state, key = table.shown_state(process), process["key"]
    held = bool(process.get("held"))
    changed = "" if before is None or bool(before.get("held")) is held else "is held" if held else "is released"
    if changed and before is not None and table.shown_state(before) == state:
        return f"{key} {changed}: {state}"
    said = f"{key} {_SAYS.get(state, state)}{_detail(state, process, now)}"
    return f"{said}; it {changed}" if changed else said


def _detail(state: str, process: Document, now: float) -> str:
    if state in ("running", "starting", "unhealthy"):
        return f" with pid {process['pid']}" if process.get("pid") else ""
    wait = process.get("next_start_at") if state == "backoff" else None
    soon = f" in {span(max(0.0, wait - now))}" if wait else ""
    reason = process.get("reason")
    return soon + (f": {reason}" if reason else "")
