"""Show what happened and because of what: the journal, and what comes.

It decides which events are asked for and how they look; the sentences are the project's one set of them.
"""

from __future__ import annotations

from json import dumps
from typing import Any

from taskmaster_core.cli import clock
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.logs import stamp
from taskmaster_core.cli.pick import Picker
from taskmaster_core.errors import ExitStatus
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.sentences import level, sentence

LINES = 100
"""So many events are shown where nothing else limits them."""

Document = dict[str, Any]

_STYLES = {"error": "bad", "warning": "busy", "debug": "dim"}


def events(call: Call) -> int:
    """Print the events that were asked for, and with -f what comes."""
    picker = Picker.of(call, call.selectors)
    # Where the journal ends is asked first: what happens between the two questions is followed, not lost.
    last = call.ask("ping", [])["seq"] if call.options.follow else 0
    args = _args(call)
    found = call.ask("events", picker.selectors, **args)
    for event in found:
        _show(call, event)
    if call.options.follow:
        _follow(call, picker, max([last, *(event["seq"] for event in found)]))
    return ExitStatus.DONE


def _args(call: Call) -> Document:
    args: Document = {} if call.options.lines is None else {"n": call.options.lines}
    since = call.options.since
    if since is None:
        return {"n": LINES} | args
    number = since.removeprefix("#")
    return args | ({"since": int(number)} if number.isdigit() else {"since_time": clock.when(call, since)})


def _follow(call: Call, picker: Picker, last: int) -> None:
    call.out.stdout.flush()
    for event in call.client.follow_events(last):
        if not event["key"] or picker.picks(event["key"]):
            _show(call, event)
            call.out.stdout.flush()


def _show(call: Call, event: Document) -> None:
    out = call.out
    if call.options.json:
        out.say(dumps(event, ensure_ascii=not out.unicode))
        return
    text = clean(sentence(event["type"], event["key"], event["cause"], event["data"]))
    style = _STYLES.get(level(event["type"], event["data"]), "")
    when = out.paint(stamp(event["at"]), "dim")
    out.say(f"{when} {out.paint('#' + str(event['seq']), 'dim')} {out.paint(text, style)}")
