"""One config file: its text, what TOML says it means, and what was found wrong with it.

Decides whether a text is TOML that we read: size, encoding, depth, and the one leniency (DESIGN §6.3). Does not know
which keys there are. `files` makes one for each file read; every check reports into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tomli
from msgspec import Struct

from taskmaster_core.config.problems import ERROR, WARNING, Place, Problem
from taskmaster_core.config.values import clipped

if TYPE_CHECKING:
    from taskmaster_core.config.locate import Locator

Path = tuple[str | int, ...]

LARGEST = 1 << 20
MOST = 1000
"""Errors and warnings kept of one file, each; a hostile one has as many as bytes."""
_MOST_TABLES = 10_000
_MOST_PARTS = 100
_DEEPEST = 100

_TABLE = re.compile(r"^[ \t]*+\[", re.MULTILINE)
_LONG_KEY = re.compile(rf"""^[ \t\[]*+(?:[\w"'-]++[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}""", re.MULTILINE)
_DEEP = re.compile(rf"(?:[\[{{]\s*+){{{_DEEPEST}}}")
_UMASK = re.compile(r"""umask["']?[ \t]*=[ \t]*(0[0-7]+)(?![\w.:+-])""", re.ASCII)
_UMASK_VALUE = re.compile(r"""umask["']?[ \t]*=[ \t]*([^\s,}#"']+)""")
_OCTAL = re.compile(r"0o[0-7]+|[0-7]")
_LEADING_ZERO = re.compile(r"[=\[,][\s+-]*0\Z")

_TABLES = "write [task.NAME], and text in quotes"
_LINES = "write [task.NAME] with one `key = value` a line"

OTHER_FORMATS: tuple[tuple[str, str, str], ...] = (
    (r"\s*\[(?:program|group|eventlistener|fcgi-program):", "supervisord's config", _TABLES),
    (r"\s*\[(?:supervisord|supervisorctl|\w+_http_server|circus|watcher:\S*)\]", "an INI file", _TABLES),
    (r"\s*\[(?:Unit|Service|Install)\]", "a systemd unit", _TABLES),
    (r"\s*[{]", "JSON", _LINES),
    (r"\s*(?:module\.exports|export default)", "JavaScript", _LINES),
    (r"(?:#.*\n|\s)*(?:---\s|(?:version|processes|services)\s*:)", "YAML", _LINES),
    (r"(?:#.*\n|\s)*[\w-]+:[ \t]+\S", "a Procfile or YAML", _LINES),
)


class Edit(Struct, frozen=True):
    """Say what `check --fix` writes in the place of a key or value."""

    path: Path
    at: str
    new: str


class Finding(Struct, frozen=True):
    """Hold a problem before its place is looked up."""

    code: str
    message: str
    help: str = ""
    path: Path = ()
    at: str = "value"
    offset: int | None = None
    """Where it is in characters, when that is known without looking it up."""
    width: int = 1
    also: tuple[tuple[Source, Path, str, str], ...] = ()
    edits: tuple[Edit, ...] = ()


class Source:
    """Hold one file while it is checked."""

    def __init__(self, file: str, raw: bytes, *, directory: str = "/", main: bool = True) -> None:
        self.file = file
        self.directory = directory
        self.main = main
        self.findings: list[Finding] = []
        self.text = ""
        self.data: dict[str, Any] | None = None
        self._seen: set[tuple[str, Path, str]] = set()
        self._counts = {ERROR: 0, WARNING: 0}
        self._lenient: tuple[int, ...] = ()
        if self._decode(raw):
            self.data = self._judge()

    # reporting

    def report(self, finding: Finding) -> None:
        """Keep a finding, once: a bad default would come again with every job."""
        key = (finding.code, finding.path, finding.message)
        if key in self._seen or self._counts[_severity(finding)] >= MOST:
            return
        self._counts[_severity(finding)] += 1
        self._seen.add(key)
        self.findings.append(finding)

    def refuse(self, code: str, message: str, advice: str = "", *, offset: int | None = None, width: int = 1) -> None:
        """Keep a finding about the text itself."""
        self.report(Finding(code, message, advice, offset=offset, width=width))

    # reading

    def _decode(self, raw: bytes) -> bool:
        if len(raw) > LARGEST:
            self.refuse("E004", f"the file has {len(raw)} bytes, {LARGEST} are allowed", "split it and use `include`")
            return False
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.refuse("E003", "the file is UTF-16", "save it as UTF-8")
            return False
        try:
            self.text = raw.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            offset = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
            self.text = raw[:offset].decode("utf-8-sig").replace("\r\n", "\n") + "\N{REPLACEMENT CHARACTER}"
            self.refuse(
                "E003",
                f"byte 0x{raw[offset]:02x} at offset {offset} is not UTF-8",
                "save the file as UTF-8",
                offset=len(self.text) - 1,
            )
            return False
        return self._shallow()

    def _shallow(self) -> bool:
        """Refuse what older parsers need seconds or the stack for, before they see it (RELIABILITY C12)."""
        found = _LONG_KEY.search(self.text) or _DEEP.search(self.text)
        if found is not None:
            self.refuse("E004", "keys or arrays are nested too deeply", offset=found.start())
        elif sum(1 for _ in _TABLE.finditer(self.text)) > _MOST_TABLES:
            self.refuse("E004", f"the file has more than {_MOST_TABLES} tables", "split it and use `include`")
        return not self.findings

    def _judge(self) -> dict[str, Any] | None:
        try:
            return tomli.loads(self.text)
        except tomli.TOMLDecodeError as error:
            offset = error.pos
            lenient = self._leniently(offset)
            if lenient is None:
                self._syntax(error.msg, offset)
            return lenient
        except RecursionError:
            self.refuse("E004", "keys or arrays are nested too deeply")
        except ValueError as error:  # int() of thousands of digits, impossible dates
            self.refuse("E002", f"not valid TOML: {str(error)[:80]}")
        return None

    def _leniently(self, stop: int) -> dict[str, Any] | None:
        """Read `umask = 0777` as octal, if the parser stopped at exactly that number and nothing else is wrong."""
        candidates = {found.start(1): found[1] for found in _UMASK.finditer(self.text)}
        if stop - 1 not in candidates:
            return None
        spots = self._umasks(candidates)
        try:
            data = tomli.loads(_inserted(self.text, spots, "0o"))
        except (ValueError, RecursionError):
            self._lenient = ()
            return None
        for spot, path in spots.items():
            self._warn_lenient(candidates[spot], path)
        return data

    def _umasks(self, candidates: dict[int, str]) -> dict[int, Path]:
        """Return those of the candidates that are numbers of a umask, and not text inside a string."""
        spots: dict[int, Path] = {}
        self._lenient = tuple(candidates)
        integers = self.places.integers
        byte = last = 0
        for spot in candidates:
            byte += len(self.text[last:spot].encode())
            last = spot
            path = integers.get(byte)
            if path is not None and path[-1] == "umask" and path[0] in ("task", "job", "defaults") and len(path) <= 3:
                spots[spot] = path
        self._lenient = tuple(spots)
        del self.places
        return spots

    def _warn_lenient(self, digits: str, path: Path) -> None:
        fixed = f"0o{digits[1:] or '0'}"
        advice = f'write {fixed} or "{digits}" (`taskmaster check --fix` does)'
        edits = (Edit(path, "value", fixed),)
        self.report(Finding("W101", f"{digits} is not valid TOML; it is read as octal", advice, path, edits=edits))

    def _syntax(self, message: str, offset: int) -> None:
        for pattern, what, advice in OTHER_FORMATS:
            if re.match(pattern, self.text):
                self.refuse("E007", f"this looks like {what}", advice, offset=offset)
                return
        start = self.text.rfind("\n", 0, offset) + 1
        before, after = self.text[start:offset], self.text[offset : offset + 40]
        if _LEADING_ZERO.search(before) and after[:1].isdigit():
            self._leading_zero(offset - 1)
            return
        if "overwrite" in message or "declare" in message:
            self._twice(start)
            return
        text = f"not valid TOML: {message[:1].lower()}{message[1:]}"
        self.refuse("E002", text, _advice(before, after), offset=offset)

    def _twice(self, start: int) -> None:
        """Refuse a key or table that stands there for the second time; say where the first is."""
        line = self.text[start:].split("\n", 1)[0]
        key = re.match(r"\s*([^=]*[^=\s])\s*=", line)
        name = key[1] if key else line.strip().split("#")[0].strip()
        table = self.text.rfind("\n[", 0, start) + 1 if key else 0
        first = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*{'=' if key else ''}", re.MULTILINE).search(
            self.text, table, start
        )
        where = f"the first is in line {self.text.count(chr(10), 0, first.end()) + 1}: take one out" if first else ""
        advice = where or "it stands there already, or as another kind of value: take one out"
        offset = start + len(line) - len(line.lstrip())
        self.refuse(
            "E002", f"not valid TOML: {clipped(name)} is declared twice", advice, offset=offset, width=len(name)
        )

    def _leading_zero(self, offset: int) -> None:
        found = re.compile(r"0+([0-9]*)").match(self.text, offset)
        digits = found[1] if found else ""
        number = digits or "0"
        octal = f", or 0o{number} for octal" if set(number) <= set("01234567") else ""
        width = len(found[0]) if found else 1
        advice = f"write {number[:20]}{octal[:30]}"
        self.refuse("E002", "leading zeros are not allowed in a number", advice, offset=offset, width=width)

    # places

    @cached_property
    def places(self) -> Locator:
        """Return where keys and values stand; loads tree-sitter."""
        from taskmaster_core.config.locate import Locator  # noqa: PLC0415  tree-sitter: only when there is something to say

        # 0777 becomes 1777, of the same width: all places stay what they are
        return Locator(_inserted(self.text, self._lenient, "1", instead=1))

    def token(self, path: Path) -> str:
        """Return a value as it is spelled in the file, "" when it cannot be found."""
        span = self.places.values.get(path)
        raw = self.text.encode()
        return raw[span.start : span.end].decode() if span else ""

    def at(self, path: Path) -> Any:
        """Return the value at a path as TOML gave it, None when there is none."""
        value: Any = self.data
        for part in path:
            inside = part in value if isinstance(value, dict) else isinstance(part, int) and part < len(value)
            if not inside:
                return None
            value = value[part]
        return value

    def umask_token(self, path: Path) -> str:
        """Return the umask at `path` as it is spelled; only what could be decimal has to be looked up."""
        if self._octal_only:
            return f"0o{self.at(path):o}"
        return self.token(path) or str(self.at(path))

    @cached_property
    def _octal_only(self) -> bool:
        tokens = [found[1] for found in _UMASK_VALUE.finditer(self.text)]
        return not self._lenient and "\\" not in self.text and all(_OCTAL.fullmatch(token) for token in tokens)

    def problems(self) -> Iterator[Problem]:
        """Return the findings with their places, in the order of the file."""
        return (problem for problem in sorted(map(self._problem, self.findings), key=_order))

    def _problem(self, finding: Finding) -> Problem:
        line, column, width, text = self._where(finding)
        also = tuple(_place(*each) for each in finding.also)
        return Problem(
            finding.code, _severity(finding), self.file, line, column, width, text, finding.message, finding.help, also
        )

    def _where(self, finding: Finding) -> tuple[int, int, int, str]:
        if finding.offset is not None:
            line, column = self._line(finding.offset)
            return line, column, finding.width, self._lines[line - 1]
        if not finding.path:
            return 0, 0, 0, ""
        return self.where(finding.path, finding.at)

    def where(self, path: Path, at: str) -> tuple[int, int, int, str]:
        """Return line, column, width and text of the line of a key or value; zeros when it has no place."""
        span = self.places.find(path, at=at)
        if span is None:
            return 0, 0, 0, ""
        line, column = self.places.position(span.start)
        shown = self.places.raw[span.start : span.end].decode(errors="replace").split("\n", 1)[0]
        return line, column, max(1, len(shown)), self._lines[line - 1]

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def _line(self, offset: int) -> tuple[int, int]:
        offset = min(offset, len(self.text))
        start = self.text.rfind("\n", 0, offset) + 1
        return self.text.count("\n", 0, offset) + 1, offset - start + 1


def _inserted(text: str, spots: Iterable[int], new: str, *, instead: int = 0) -> str:
    """Return the text with `new` at each spot, in the place of so many characters."""
    pieces, last = [], 0
    for spot in spots:
        pieces += [text[last:spot], new]
        last = spot + instead
    return "".join([*pieces, text[last:]])


def _severity(finding: Finding) -> str:
    return WARNING if finding.code.startswith("W") else ERROR


def _place(source: Source, path: Path, at: str, message: str) -> Place:
    line, column, width, text = source.where(path, at)
    return Place(source.file, line, column, width, text, message)


def _order(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column


def _advice(before: str, after: str) -> str:
    if re.search(r"=\s*$", before):
        word = re.match(r"[\w./~$-]+", after)
        if word and word[0].lower() in ("true", "false", "yes", "no", "on", "off"):
            return f"write {'true' if word[0].lower() in ('true', 'yes', 'on') else 'false'}"
        return f'text stands in quotes: "{word[0]}"' if word else "a value is missing after `=`"
    if re.match(r"\s*:", after):
        return "a key and its value are joined by `=`"
    return ""


def errors_in(sources: Iterable[Source]) -> bool:
    """Tell whether any of the sources holds an error."""
    return any(not finding.code.startswith("W") for source in sources for finding in source.findings)
