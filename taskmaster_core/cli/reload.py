"""Apply what the config files say, show what that would change, go back to what they said before.

It decides how a plan is printed and what a rollback writes; the plan is the core's. A file is written whole or not at
all, and only after a person on a terminal agreed.
"""

from __future__ import annotations

import os
from typing import Any

from taskmaster_core.cli.call import Call
from taskmaster_core.cli.logs import stamp
from taskmaster_core.cli.out import Out, plural
from taskmaster_core.cli.status import problem_line
from taskmaster_core.errors import ConfigInvalid, ExitStatus, NoSuchJob, NotAsAsked
from taskmaster_core.logs.sanitize import clean

Document = dict[str, Any]

_OURS_ALONE = 0o600
"""The mode of a file that is written back and is not there: an envfile may hold secrets."""

_STYLES = {"+": "good", "-": "bad", "~": "busy", "=": "dim"}


def reload(call: Call) -> int:
    """Apply the config files, or show what that would change."""
    args: Document = {"plan": call.options.plan}
    if call.options.excepted:
        args["except"] = call.options.excepted
    plan = ask_reload(call, args)
    if call.options.json:
        call.out.data(plan)
    else:
        print_plan(call.out, plan, applied=not call.options.plan)
    pending = call.options.plan and call.options.exit_code and plan["changes"]
    return ExitStatus.PENDING_CHANGES if pending else ExitStatus.DONE


def ask_reload(call: Call, args: Document) -> Document:
    """Return the plan of a reload; what is wrong with the files is printed before the error is raised."""
    try:
        plan: Document = call.ask("reload", [], **args)
    except ConfigInvalid as error:
        problems = getattr(error, "detail", None) or []
        if call.options.json:
            call.out.data({"problems": problems})
        else:
            for problem in problems:
                call.out.complain(clean(problem_line(problem)))
        raise
    return plan


def print_plan(out: Out, plan: Document, *, applied: bool) -> None:
    """Print what a reload does, or would do."""
    for row in plan["rows"]:
        if row["sign"] == "=" and not out.verbose:
            continue
        out.say(f"{out.paint(row['sign'], _STYLES.get(row['sign'], ''))} {clean(row['job'])}: {clean(row['effect'])}")
        for field in row.get("fields", []):
            change = clean(f"{field['name']}: {field['old']} → {field['new']}")
            out.say(f"    {change if out.unicode else change.replace('→', '->')} ({field['cost']})")
    for warning in plan.get("warnings", []):
        out.complain(clean(problem_line(warning)))
    same = sum(row["sign"] == "=" for row in plan["rows"])
    out.say(f"{_counted(plan, applied=applied)}; {plural(same, 'job')} as before")


def _counted(plan: Document, *, applied: bool) -> str:
    if not plan["changes"]:
        return "no changes"
    if not applied:
        return f"{plural(plan['changes'], 'change')} to apply: taskmaster reload"
    return f"{plural(plan['changes'], 'change')} applied as generation {plan['generation']}"


# Rollback ------------------------------------------------------------------------------------------------------------


def rollback(call: Call) -> int:
    """Write back the files of an earlier generation and apply them."""
    known: list[Document] = call.ask("generations", [])
    if call.options.list:
        return _list(call, known)
    return go_back(call, _wanted(call, known))


def go_back(call: Call, number: int, *, undo: bool = False) -> int:
    """Write back the files of a generation and apply them; `undo`: that is to take back the last reload."""
    old: Document = call.ask("generation", [], number=number)
    changed = [path for path, text in old["texts"].items() if _text_of(path) != text]
    more = _not_in(call, old)
    if more and not changed:
        raise NotAsAsked(
            f"generation {number} did not have {', '.join(more)}; there is nothing to write back",
            "move it away, then: taskmaster reload",
        )
    if changed:
        call.confirm(f"write {', '.join(changed)} as in generation {number}?")
        from taskmaster_core.config.edit import write_atomically  # noqa: PLC0415  # the config package costs 100 ms

        for path in changed:
            write_atomically(path, old["texts"][path], _OURS_ALONE)
            call.out.hint(f"wrote {path}")
    plan = ask_reload(call, {"plan": False, "undo": True} if undo else {"plan": False})
    if call.options.json:
        call.out.data(plan)
    else:
        print_plan(call.out, plan, applied=True)
    for path in more:
        call.out.hint(f"generation {number} did not have {path}: it stays as it is")
    return ExitStatus.DONE


def _not_in(call: Call, old: Document) -> list[str]:
    """Return the files of the config in force that an earlier generation did not have: nobody but you removes them."""
    present: Document = call.ask("generation", [], number=call.ask("status", [])["core"]["generation"])
    return [path for path in present["texts"] if path not in old["texts"] and os.path.exists(path)]


def _list(call: Call, known: list[Document]) -> int:
    if call.options.json:
        call.out.data(known)
    else:
        rows = [[str(each["number"]), stamp(each["at"]), str(each["jobs"]), _cause(each["cause"])] for each in known]
        call.out.table(("GENERATION", "APPLIED", "JOBS", "BECAUSE"), rows, right=(0, 2))
    return ExitStatus.DONE


def _cause(cause: Any) -> str:
    if isinstance(cause, dict):
        return " ".join(str(cause[key]) for key in ("kind", "who", "text") if cause.get(key))
    return str(cause)


def _wanted(call: Call, known: list[Document]) -> int:
    """Return the generation to go back to: the one named, else the one before the present."""
    if call.options.generation is not None:
        return int(call.options.generation)
    present = call.ask("status", [])["core"]["generation"]
    earlier = [each["number"] for each in known if each["number"] < present]
    if not earlier:
        raise NoSuchJob(
            "there is no earlier generation to go back to", "taskmaster rollback --list shows all there are"
        )
    return int(max(earlier))


def _text_of(path: str) -> str | None:
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        return file.read()
