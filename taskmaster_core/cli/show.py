"""Tell everything about a job, and why a process is in the state it is in.

It decides only how the core's answer is laid out.
"""

from __future__ import annotations

from typing import Any

from taskmaster_core.cli import clock
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.logs import stamp
from taskmaster_core.cli.out import Out, span
from taskmaster_core.cli.status import HEAD, RIGHT, process_row, shown_state, state_cell
from taskmaster_core.errors import ExitStatus
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.sentences import BY_MEMORY

Document = dict[str, Any]

_HALTED = {"stopped": "its main process stands still (T)", "frozen": "its control group is frozen"}

_ELSEWHERE = frozenset({"name", "argv", "baseenv", "fileenv", "env"})
"""Keys of a spec that are shown already: the command as it was written, the names of all variables together."""


def show(call: Call) -> int:
    """Print all there is to know about what is selected."""
    answer = call.ask("show", usage=True)
    if call.options.json:
        call.out.data(answer)
        return ExitStatus.DONE
    for number, entry in enumerate(answer["jobs"]):
        if number:
            call.out.say()
        _show_job(call.out, entry, clock.of(answer))
    return ExitStatus.DONE


def _show_job(out: Out, entry: Document, now: float) -> None:
    job = entry.get("job", entry)
    out.say(f"{out.paint(clean(job['name']), 'name')}  {_painted_state(out, job['state'])}")
    for key, value in job["spec"].items():
        if key not in _ELSEWHERE and value not in (None, "", [], {}):
            _pair(out, key, f"{value:#05o}" if key == "umask" else _spelt(value))
    _pair(out, "environment", ", ".join(entry.get("env", [])))
    _pair(out, "by hand", ", ".join(entry.get("by_hand", [])))
    if job["processes"]:
        out.say()
        out.table(HEAD, [process_row(out, each["key"], each, now) for each in job["processes"]], right=RIGHT)
        out.say()
    for process in job["processes"]:
        key = process["key"]
        _show_process(out, process, entry.get("paths", {}).get(key, {}), entry.get("trees", {}).get(key, {}), now)


def _painted_state(out: Out, state: str) -> str:
    cell = state_cell(out, state, state)
    return out.paint(cell, cell.style)


def _show_process(out: Out, process: Document, paths: Document, tree: Document, now: float) -> None:
    out.say(out.paint(clean(process["key"]), "name"))
    facts = {
        "goal": process["goal"],
        "run": f"{process['run']} of generation {process['generation']}",
        "started": stamp(process["started_at"]) if process.get("started_at") else "",
        "reason": process.get("reason", ""),
        "last end": ended(process.get("exit") or {}),
        "tries": str(process["tries"]) if process.get("tries") else "",
        "held": "not started again by itself" if process.get("held") else "",
        "halted": _HALTED.get(tree.get("halted", ""), ""),
        "attached": process.get("attached", ""),
        "lingering": str(process["lingering"]) if process.get("lingering") else "",
        "stdout": paths.get("out", ""),
        "stderr": paths.get("err", ""),
    }
    for name, value in facts.items():
        _pair(out, name, value)
    _show_relatives(out, tree, now)


def _show_relatives(out: Out, tree: Document, now: float) -> None:
    """Print who of its descendants is on his own: pid, what it is, for how long."""
    for number, each in enumerate(tree.get("relatives", ())):
        how = f"outlived run {each['run']}" if each["ended"] else "left the group"
        line = f"{each['pid']} {each['command']} ({how}, {span(now - each['started_at'])})"
        _pair(out, "" if number else "descendants", line)
    if tree.get("more"):
        _pair(out, "", f"and {tree['more']} more")


def ended(exit_: Document) -> str:
    """Say how a run ended, "" when it did not."""
    error = exit_.get("error") or (exit_ if exit_.get("stage") else None)
    if error:
        return error.get("message") or f"{error.get('stage')}: {error.get('errno')}"
    if exit_.get("signal"):
        return f"killed by {exit_['signal']}{BY_MEMORY.get(str(exit_.get('oom')), '')}"
    return f"exit code {exit_['code']}" if exit_.get("code") is not None else ""


def _pair(out: Out, name: str, value: str) -> None:
    if value:
        out.say(f"  {out.paint(f'{clean(name):<13}', 'dim')} {clean(value)}")


def _spelt(value: Any) -> str:
    """Return a value of a spec as a person would write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and "signum" in value:
        return f"signal {value['signum']}, then {value['delay']:g} s"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_spelt(each)}" for key, each in value.items() if each is not None)
    if isinstance(value, list):
        return " ".join(_spelt(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def why(call: Call) -> int:
    """Print the reason chain of each process's state, and what happens next."""
    answer = call.ask("why")
    if call.options.json:
        call.out.data(answer)
        return ExitStatus.DONE
    out = call.out
    for process in answer["processes"]:
        state = shown_state(process)
        out.say(f"{out.paint(clean(process['key']), 'name')}  {_painted_state(out, state)}")
        for sentence in process["chain"]:
            out.say(f"  {'because' if sentence is not process['chain'][0] else '       '} {clean(sentence)}")
        out.say(f"  {out.paint('next:', 'head')}   {clean(process['next'])}")
    return ExitStatus.DONE
