"""Take the values of variables out of problems, before a core tells them to everybody who may ask (fault S04).

Decides which lines of a config may hold such values, and hides what is quoted or assigned there; which file, line and
key it is stays to be seen. The core's reload and start call it; `taskmaster check` shows people their own file whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from taskmaster_core.config import model
from taskmaster_core.config.problems import Problem
from taskmaster_core.masking import secrets_in

_MODELS = (
    model.File, model.Task, model.SettingsKeys, model.AccessKeys, model.BackoffKeys, model.LogKeys, model.LimitKeys,
)  # fmt: skip
_KEYS = frozenset(field.alias or name for each in _MODELS for name, field in each.model_fields.items()) - {"env"}
_ASSIGNED = re.compile(r"\s*([a-z]+)\s*=")
_TABLE = re.compile(r"\s*\[[^\"'=]*\]\s*(?:#.*)?$")
_ENV = re.compile(r"\benv\b")
_VALUE = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|(?<==)\s*[^\s\"'={},\[\]]+")
_ENVFILE = "E008"


def discreet(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems without the values that stand in the lines they show."""
    return tuple(_one(problem) for problem in problems)


def _one(problem: Problem) -> Problem:
    also = tuple(replace(place, text=_masked(place.text)) for place in problem.also)
    if problem.code != _ENVFILE and _public(problem.text):
        values = [problem.text[start:end].strip("\"'") for start, end in secrets_in(problem.text)]
        message, help_ = _without(problem.message, values), _without(problem.help, values)
        return replace(problem, text=_starred(problem.text), also=also, message=message, help=help_)
    values = _values(problem.text)
    return replace(
        problem, text=_masked(problem.text, whole=problem.code == _ENVFILE), also=also,
        message=_without(problem.message, values), help=_without(problem.help, values),
    )  # fmt: skip


def _public(line: str) -> bool:
    """Tell whether a line can hold no variable: it assigns one of our keys, or begins a table, or is empty."""
    if not line.strip() or _TABLE.match(line):
        return True
    found = _ASSIGNED.match(line)
    return found is not None and found[1] in _KEYS and not _ENV.search(line)


def _masked(line: str, *, whole: bool = False) -> str:
    """Return a line with stars for its values, as many as there were characters: carets point where they pointed."""
    if not whole and _public(line):
        return _starred(line)
    if "=" not in line:
        return "*" * len(line)
    return _VALUE.sub(lambda found: "*" * len(found[0]), line)


def _starred(line: str) -> str:
    """Return a line of ours with stars for what looks secret in a command, as many as there were characters."""
    for start, end in secrets_in(line):
        line = line[:start] + "*" * (end - start) + line[end:]
    return line


def _values(line: str) -> list[str]:
    found = [value.strip().strip("\"'") for value in _VALUE.findall(line)]
    return sorted({value for value in found if value}, key=len, reverse=True)


def _without(text: str, values: Iterable[str]) -> str:
    """Return a sentence without the values; a name of a variable that is also a value stays readable enough."""
    for value in values:
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "***", text)
    return text
