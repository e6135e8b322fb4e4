"""Turn a plan, problems and generations into rows, and two texts into a diff.

Decides words and roles; asks nobody. The Config view shows them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from taskmaster_core.wire import PlanRow, PlanView
from taskmaster_tui.model import fmt
from taskmaster_tui.model.columns import Column

PLAN_COLUMNS = (
    Column("action", "ACTION", 11), Column("job", "JOB", 18), Column("what", "WHAT CHANGES", 0),
    Column("effect", "EFFECT ON PROCESSES", 0),
)  # fmt: skip
PROBLEM_COLUMNS = (Column("code", "CODE", 6), Column("where", "WHERE", 24), Column("what", "WHAT IS WRONG", 0))
GENERATION_COLUMNS = (
    Column("number", "GENERATION", 12, "right"), Column("at", "APPLIED", 14), Column("jobs", "JOBS", 5, "right"),
    Column("cause", "BECAUSE OF", 0),
)  # fmt: skip

_SIGNS = {"+": ("+ add", "good"), "-": ("- remove", "error"), "~": ("~ change", "warn"), "=": ("= same", "dim")}


class Rows:
    """Be a row source of rows that were made at once."""

    def __init__(self) -> None:
        self._rows: dict[str, Mapping[str, tuple[str, str]]] = {}

    def put(self, rows: Iterable[tuple[str, Mapping[str, tuple[str, str]]]]) -> None:
        """Show these rows; each is an id and its cells by column."""
        self._rows = dict(rows)

    def ids(self) -> Sequence[str]:
        """Return the rows."""
        return list(self._rows)

    def cells(self, row_id: str, columns: Sequence[Column]) -> Sequence[tuple[str, str]]:
        """Return a row's cells."""
        return [self._rows[row_id].get(column.id, ("", "")) for column in columns]

    def marked(self, row_id: str) -> bool:
        """Tell that nothing is marked."""
        return False


def plan_rows(plan: PlanView, left_out: frozenset[str]) -> Iterator[tuple[str, Mapping[str, tuple[str, str]]]]:
    """Yield a row for each job that changes, and one for all that do not."""
    same = [row for row in plan.rows if row.sign == "="]
    for row in plan.rows:
        if row.sign != "=":
            yield row.job, _plan_cells(row, row.job in left_out)
    if same:
        count = f"{fmt.count(len(same))} job{'s' * (len(same) != 1)}"
        yield "=", {"action": _SIGNS["="], "job": (count, "dim"), "effect": ("untouched", "dim")}


def _plan_cells(row: PlanRow, left_out: bool) -> Mapping[str, tuple[str, str]]:
    word, role = _SIGNS.get(row.sign, (row.sign, ""))
    what = ", ".join(f"{each.name} {_short(each.old)} → {_short(each.new)}" for each in row.fields)
    what = what or {"+": "new job", "-": "job deleted"}.get(row.sign, "")
    if left_out:
        return {"action": ("  leave out", "dim"), "job": (fmt.plain(row.job), "dim"), "what": (fmt.plain(what), "dim"),
                "effect": ("left out: stays as it is", "dim")}  # fmt: skip
    return {"action": (word, role), "job": (fmt.plain(row.job), ""), "what": (fmt.plain(what), ""),
            "effect": (fmt.plain(row.effect), role)}  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= 32 else f"{text[:31]}…"


def plan_totals(plan: PlanView, left_out: frozenset[str]) -> str:
    """Return the sum of a plan in one sentence."""
    signs = [row.sign for row in plan.rows if row.job not in left_out]
    parts = [f"{signs.count(sign)} {word}" for sign, word in (("+", "added"), ("~", "changed"), ("-", "removed"))
             if signs.count(sign)]  # fmt: skip
    same = signs.count("=")
    rest = f"{fmt.count(same)} job{'s' * (same != 1)} untouched" + (f", {len(left_out)} left out" if left_out else "")
    return f"{', '.join(parts) or 'Nothing changes'} · {rest}"


_COSTS = {"live": "in place", "relaunch": "restarts", "scale": "starts or stops only some"}


def changed_fields(row: PlanRow) -> Iterator[tuple[str, str]]:
    """Yield the changed keys of a job, each with its old and its new value, as text and role."""
    for each in row.fields:
        yield fmt.plain(f"{each.name}   ({_COSTS.get(each.cost, each.cost)})"), "title"
        yield fmt.plain(f"  - {each.old}"), "error"
        yield fmt.plain(f"  + {each.new}"), "good"


def problem_rows(problems: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, tuple[str, str]]]]:
    """Yield a row for each problem."""
    for number, each in enumerate(problems):
        role = "warn" if each.get("severity") == "warning" else "error"
        where = f"{str(each.get('file', '')).rpartition('/')[2]}:{each.get('line', 0)}:{each.get('column', 0)}"
        yield str(number), {"code": (str(each.get("code", "")), role), "where": (fmt.plain(where), ""),
                            "what": (fmt.plain(str(each.get("message", ""))), role)}  # fmt: skip


def problem_lines(problem: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a problem with its line, a caret and the remedy."""
    yield fmt.plain(f"{problem.get('severity', 'error')}[{problem.get('code')}]: {problem.get('message')}"), "error"
    if problem.get("line"):
        yield fmt.plain(f" --> {problem.get('file')}:{problem.get('line')}:{problem.get('column')}"), "dim"
        number = str(problem["line"])
        yield fmt.plain(f" {number} | {problem.get('text', '')}"), ""
        caret = " " * (max(int(problem.get("column", 1)), 1) - 1) + "^" * max(int(problem.get("width", 1)), 1)
        yield fmt.plain(f" {' ' * len(number)} | {caret}"), "error"
    if problem.get("help"):
        yield fmt.plain(f" = help: {problem['help']}"), "good"


def generation_rows(
    found: Sequence[Mapping[str, Any]], current: int, now: float
) -> Iterator[tuple[str, Mapping[str, tuple[str, str]]]]:
    """Yield a row for each generation, the newest first."""
    for each in reversed(found):
        number = int(each["number"])
        here = number == current
        yield str(number), {
            "number": (f"{'● ' if here else ''}{number}", "up" if here else ""),
            "at": (fmt.when(each["at"], now), "dim"), "jobs": (str(each["jobs"]), ""),
            "cause": (fmt.plain(str(each["cause"])) + (" · in force" if here else ""), "dim"),
        }  # fmt: skip


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the changed lines of some files, as text and role; empty if nothing differs."""
    found: list[tuple[str, str]] = []
    for path in dict.fromkeys([*before, *after]):
        old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
        for line in difflib.unified_diff(old, new, f"{path} (in force)", f"{path} (on disk)", lineterm="", n=3):
            role = {"+": "good", "-": "error", "@": "accent"}.get(line[:1], "")
            found.append((fmt.plain(line), "dim" if line.startswith(("+++", "---")) else role))
    return found
