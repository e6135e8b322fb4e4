"""Decide which rows the words after `/` keep.

Words are joined by "and": `web`, `state:fatal`, `@tag`, `cpu>50`, `mem>100M`, `restarts>3`, and `!` before any of them.
What is no known condition is looked for in the name. The row list calls it for every process, so answers about names
are remembered.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import NamedTuple

from taskmaster_tui.model.world import Job, Proc

Test = Callable[[Job, Proc | None], bool]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le, "=": operator.eq,
}  # fmt: skip
_NUMBER = re.compile(
    r"(cpu|mem|rss|restarts|tries|pid|run)(>=|<=|>|<|=)([0-9]+(?:\.[0-9]+)?)([%kmgt]?)b?", re.IGNORECASE
)
_UNITS = {"": 1, "%": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

EXAMPLES = ("web", "state:fatal", "@tag", "cpu>50", "mem>100M", "restarts>3", "!text")
"""For the placeholder and the help."""


class Filter(NamedTuple):
    """Hold the tests of a filter text; all must hold."""

    text: str
    tests: tuple[Test, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether it keeps anything away at all."""
        return bool(self.tests)

    def matches(self, job: Job, proc: Proc | None) -> bool:
        """Tell whether a process (or a job without any) is kept."""
        return all(test(job, proc) for test in self.tests)


def parse(text: str) -> Filter:
    """Return the filter that a text means; every text means one."""
    return Filter(text, tuple(_term(word) for word in text.split() if word != "!"))


def _term(word: str) -> Test:
    if word.startswith("!"):
        test = _condition(word[1:]) or _named(word[1:], loosely=False)
        return lambda job, proc: not test(job, proc)
    return _condition(word) or _named(word, loosely=True)


def _condition(word: str) -> Test | None:
    """Return the test of a word with a meaning of its own, None for plain text."""
    number = _NUMBER.fullmatch(word)
    if number:
        return _compared(number)
    for prefix, make in (("state:", _in_state), ("tag:", _tagged), ("@", _tagged)):
        if word.startswith(prefix) and len(word) > len(prefix):
            return make(word[len(prefix) :].casefold())
    return None


def _in_state(wanted: str) -> Test:
    def test(job: Job, proc: Proc | None) -> bool:
        if proc is None:
            return job.kind.startswith(wanted)
        if wanted == "held":
            return proc.held
        return proc.view.state.startswith(wanted) or proc.kind.startswith(wanted)

    return test


def _tagged(wanted: str) -> Test:
    return lambda job, _: any(tag.casefold() == wanted for tag in job.tags)


def _compared(found: re.Match[str]) -> Test:
    name, sign, digits, unit = found.groups()
    compare, limit = _OPERATORS[sign], float(digits) * _UNITS[unit.casefold()]
    get = _READ[name.casefold()]

    def test(_: Job, proc: Proc | None) -> bool:
        value = get(proc) if proc is not None else None
        return value is not None and compare(value, limit)

    return test


_READ: dict[str, Callable[[Proc], float | None]] = {
    "cpu": lambda proc: proc.cpu,
    "mem": lambda proc: proc.rss,
    "rss": lambda proc: proc.rss,
    "restarts": lambda proc: proc.view.restarts,
    "tries": lambda proc: proc.view.tries,
    "pid": lambda proc: proc.view.pid,
    "run": lambda proc: proc.view.run,
}


def _named(word: str, *, loosely: bool) -> Test:
    """Return the test for text in `job` or `job:index`."""
    wanted = word.casefold()
    known: dict[str, bool] = {}
    whole = ":" in wanted or wanted.isdigit()

    def in_name(name: str) -> bool:
        if name not in known:
            folded = name.casefold()
            known[name] = wanted in folded or (loosely and abbreviates(wanted, folded))
        return known[name]

    def test(job: Job, proc: Proc | None) -> bool:
        return in_name(job.name) or (whole and proc is not None and wanted in proc.key.casefold())

    return test


def abbreviates(short: str, name: str) -> bool:
    """Tell whether `short` is made of beginnings of the name's words, in order, as `dsh` is of `debug-shell`."""
    return _abbreviates(short, name, 0)


def _abbreviates(short: str, name: str, begin: int) -> bool:
    if not short:
        return True
    for i in range(begin, len(name)):
        if name[i] == short[0] and (i == 0 or not name[i - 1].isalnum()):
            run = 1
            while run <= len(short) and name[i : i + run] == short[:run]:
                if _abbreviates(short[run:], name, i + run):
                    return True
                run += 1
    return False
