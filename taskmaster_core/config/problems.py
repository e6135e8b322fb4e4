"""What is wrong with a config, as data and as pictures: problems, their codes, and how people and tools read them.

Decides how a problem looks on a terminal, as JSON and as an annotation of a code host. Does not find any: the other
modules of this package do. The CLI, the core's status and the TUI call it with what `load` found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import east_asian_width

from msgspec import Struct

ERROR = "error"
WARNING = "warning"

CODES: dict[str, str] = {
    "E001": "a config file is missing or cannot be read",
    "E002": "not valid TOML",
    "E003": "not UTF-8, or of an encoding that is not ours",
    "E004": "too large, too deeply nested or too long a key",
    "E005": "an `include` that leads nowhere, in a circle, or to something that cannot be read",
    "E006": "a config file that others could have written while the core is root",
    "E007": "the file has the shape of another program's config",
    "E008": "an envfile that cannot be read or understood",
    "E101": "unknown key",
    "E102": "a required key is missing",
    "E103": "tables that exclude each other",
    "E201": "wrong type",
    "E202": "a number, duration or size out of its range",
    "E203": "a value that is none of the possible ones",
    "E204": "a name that cannot be a job's name",
    "E205": "an umask that cannot be understood, or only in two ways",
    "E206": "unknown signal",
    "E301": "two jobs of one name",
    "E302": "a command that cannot be split or that needs a shell",
    "E303": "a placeholder without a value, or one that cannot be expanded",
    "E304": "keys that contradict each other",
    "E305": "unknown user or group",
    "E306": "something that needs root",
    "E307": "a path or word that is not what it seems",
    "E308": "a `[taskmaster]` key in the wrong file, or twice",
    "E401": "not supported yet",
    "W101": "an umask in a spelling that is not valid TOML",
    "W102": "an umask that takes every permission from new files",
    "W103": "a variable that the core sets itself",
    "W104": "text that looks like a variable or placeholder and is passed as it is",
    "W105": "a file of secrets that everybody can read",
    "W106": "a shell's own word without a shell",
    "W107": "a secret in a command line",
}
"""Every code with its meaning. Codes are never reused; tools may match on them."""

MOST = 100
"""Problems shown at most: what comes after the hundredth is noise of the first."""


class Place(Struct, frozen=True):
    """Point at a second line that belongs to a problem."""

    file: str
    line: int
    column: int
    width: int
    text: str
    message: str


class Problem(Struct, frozen=True):
    """Say what is wrong and where: line and column count from 1 in characters, 0 means unknown."""

    code: str
    severity: str
    file: str
    line: int
    column: int
    width: int
    text: str
    """The line as it stands in the file."""
    message: str
    help: str = ""
    also: tuple[Place, ...] = ()


_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LONGEST = 160


def clean(text: str) -> str:
    """Return `text` as one line that cannot steer a terminal."""
    return _HIDDEN.sub(lambda found: " " if found[0] in "\t\n" else "\N{REPLACEMENT CHARACTER}", text)


def _cells(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


class _Pen:
    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._color and text else text


_BLUE, _RED, _YELLOW, _BOLD = "1;34", "1;31", "1;33", "1"


def _window(text: str, column: int, width: int) -> tuple[str, int, int]:
    """Return the part of a long line around the column, with column and width in it."""
    start = max(0, column - 1 - _LONGEST // 2) if len(text) > _LONGEST else 0
    part = clean(text[start : start + _LONGEST])
    return part, column - 1 - start, max(1, min(width, len(part) - (column - 1 - start)))


def _snippet(pen: _Pen, gutter: int, place: Problem | Place, arrow: str, mark: str, style: str) -> list[str]:
    where = clean(place.file) + (f":{place.line}:{place.column}" if place.line else "")
    lines = [pen(_BLUE, " " * gutter + arrow) + where]
    if not place.line:
        return lines
    bar = pen(_BLUE, " " * (gutter + 1) + "|")
    part, offset, width = _window(place.text, max(1, place.column), place.width)
    pointer = " " * _cells(part[:offset]) + pen(style, mark * max(1, _cells(part[offset : offset + width])))
    note = f" {pen(style, clean(place.message))}" if isinstance(place, Place) else ""
    lines += [bar, f"{pen(_BLUE, f'{place.line:<{gutter}} |')} {part}".rstrip(), f"{bar} {pointer}{note}"]
    return lines


def _picture(pen: _Pen, problem: Problem) -> str:
    style = _RED if problem.severity == ERROR else _YELLOW
    gutter = max(len(str(line)) for line in (problem.line, *(place.line for place in problem.also)))
    lines = [f"{pen(style, f'{problem.severity}[{problem.code}]')}{pen(_BOLD, f': {clean(problem.message)}')}"]
    lines += _snippet(pen, gutter, problem, "--> ", "^", style)
    for place in problem.also:
        lines += _snippet(pen, gutter, place, "::: ", "-", _BLUE)
    indent = " " * (gutter + 1)
    for number, line in enumerate(problem.help.splitlines()):
        lines.append(
            f"{indent}{pen(_BLUE, '=')} help: {clean(line)}" if not number else f"{indent}        {clean(line)}"
        )
    return "\n".join(lines)


def render(problems: Sequence[Problem], *, color: bool) -> str:
    """Draw the problems for people: each with its place, the line, a caret and the remedy; then a count."""
    if not problems:
        return ""
    pen = _Pen(color)
    pictures = [_picture(pen, problem) for problem in problems[:MOST]]
    if len(problems) > MOST:
        pictures.append(f"… and {len(problems) - MOST} more")
    return "\n\n".join(pictures) + "\n\n" + summary(problems) + "\n"


def summary(problems: Iterable[Problem]) -> str:
    """Return the count in words: `2 errors, 1 warning`."""
    severities = [problem.severity for problem in problems]
    counts = [(severities.count(kind), kind) for kind in (ERROR, WARNING)]
    return ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count) or "no problems"


_FIELDS = ("code", "file", "line", "column", "message", "help")


def to_json(problems: Sequence[Problem]) -> dict[str, list[dict[str, Any]]]:
    """Return what `check --format json` prints: errors and warnings, each a list of plain objects."""
    rows: dict[str, list[dict[str, Any]]] = {"errors": [], "warnings": []}
    for problem in problems:
        rows[f"{problem.severity}s"].append({name: getattr(problem, name) for name in _FIELDS})
    return rows


def _escaped(text: str, more: str = "") -> str:
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def to_github(problems: Sequence[Problem]) -> str:
    """Return workflow commands that put the problems beside the lines of a pull request."""
    lines = []
    for problem in problems:
        place = f"file={_escaped(problem.file, ':,')}"
        if problem.line:
            end = problem.column + max(1, problem.width)
            place += f",line={problem.line},col={problem.column},endColumn={end}"
        text = problem.message + (f"\nhelp: {problem.help}" if problem.help else "")
        lines.append(f"::{problem.severity} {place},title={problem.code}::{_escaped(text)}")
    return "".join(f"{line}\n" for line in lines)
