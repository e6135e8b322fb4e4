"""Have the running core and shim replaced by what is installed, and say what came of it.

It decides nothing but the words: what is fit is judged by the shim, with the real state.
"""

from __future__ import annotations

from typing import Any

from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import plural
from taskmaster_core.errors import ExitStatus, UsageError


def upgrade(call: Call) -> int:
    """Replace core and shim, or one of them."""
    if call.options.core and call.options.shim:
        raise UsageError("--core and --shim exclude each other", "without either both are replaced")
    what = "core" if call.options.core else "shim" if call.options.shim else "all"
    done = call.ask("upgrade", [], what=what)
    if call.options.json:
        call.out.data(done)
        return ExitStatus.DONE
    for part in ("shim", "core"):
        if what in ("all", part):
            call.out.say(_sentence(part, done[part]))
    kept, before = done["processes"]["kept"], done["processes"]["before"]
    call.out.say(f"{plural(kept, 'process')} untouched" + _others(before - kept))
    return ExitStatus.DONE


def _sentence(part: str, told: dict[str, Any]) -> str:
    before, after = told["before"], told["after"]
    versions = f"{before['version']} -> {after['version']}"
    same = before["pid"] == after["pid"]
    pids = f"pid {after['pid']} as before" if same else f"pid {before['pid']} -> {after['pid']}"
    return f"{part} {versions} ({pids}), {told.get('ms', 0):.0f} ms"


def _others(gone: int) -> str:
    return f"; {gone} ended or began anew meanwhile by themselves" if gone else ""
