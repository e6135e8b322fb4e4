"""Type a line, or all that comes on standard input, to running jobs.

Decides how much is sent at a time and that a slow reader is waited for; whether a job takes it is the shim's word.
"""

from __future__ import annotations

import binascii
import os
import sys
from time import monotonic, sleep
from typing import Any

from taskmaster_core.cli.act import tell
from taskmaster_core.cli.call import Call
from taskmaster_core.errors import ExitStatus, UsageError

_PIECE = 1 << 14
_PATIENCE = 10.0
"""Seconds a job may read nothing before the rest is given up; --timeout says otherwise."""
_FULL = "it does not read its input"


def send(call: Call) -> int:
    """Send what the command line says to the input of processes."""
    options = call.options
    if options.text == "-":
        return _stream(call)
    if options.text is None and not options.eof:
        raise UsageError("what shall be sent?", "taskmaster send web:0 'a line'")
    data = b"" if options.text is None else os.fsencode(options.text) + (b"" if options.no_newline else b"\n")
    done = _ask(call, [options.process], data, end=options.eof)
    return tell(call, "send", done)


def _ask(call: Call, select: list[str], data: bytes, *, end: bool) -> dict[str, Any]:
    text = binascii.b2a_base64(data, newline=False).decode("ascii")
    done: dict[str, Any] = call.ask("send", select, data=text, end=end)
    return done


def _stream(call: Call) -> int:
    """Send standard input as it comes; the job's input is ended after it only with --eof."""
    select, done = [call.options.process], {"outcomes": [], "ok": True}
    while True:
        data = os.read(sys.stdin.fileno(), _PIECE)
        end = not data and call.options.eof
        if data or end:
            done = _push(call, select, data, end=end)
        if not done["ok"] or not data:
            return tell(call, "send", done) if done["outcomes"] else ExitStatus.DONE


def _push(call: Call, select: list[str], data: bytes, *, end: bool) -> dict[str, Any]:
    """Send one piece, and wait for those who are slow to read."""
    until = monotonic() + (_PATIENCE if call.timeout is None else call.timeout)
    done = _ask(call, select, data, end=end)
    outcomes = {each["key"]: each for each in done["outcomes"]}
    while monotonic() < until:
        full = [key for key, each in outcomes.items() if not each["ok"] and each.get("note", "").startswith(_FULL)]
        if not full:
            break
        sleep(0.05)
        again = _ask(call, full, data, end=end)
        outcomes |= {each["key"]: each for each in again["outcomes"]}
    return {"outcomes": list(outcomes.values()), "ok": all(each["ok"] for each in outcomes.values())}
