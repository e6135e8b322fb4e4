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

if TYPE_CHECKING:
    from taskmaster_core.config.locate import Locator

Path = tuple[str | int, ...]

LARGEST = 1 << 20
_MOST_TABLES = 20_000
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
        self._lenient: tuple[int, ...] = ()
        if self._decode(raw):
            self.data = self._judge()

    # reporting

    def report(self, finding: Finding) -> None:
        """Keep a finding, once: a bad default would come again with every job."""
        key = (finding.code, finding.path, finding.message)
        if key not in self._seen:
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
        # 0777 becomes 1777, of the same width, so that all other places stay what they are
        self._lenient = tuple(candidates)
        spots = {spot for spot in candidates if self._is_umask(spot)}
        self._lenient = tuple(sorted(spots))
        self.__dict__.pop("places", None)
        pieces, last = [], 0
        for spot in self._lenient:
            pieces += [self.text[last:spot], "0o"]
            last = spot
        try:
            data = tomli.loads("".join([*pieces, self.text[last:]]))
        except (ValueError, RecursionError):
            self._lenient = ()
            return None
        self._warn_lenient(candidates)
        return data

    def _is_umask(self, spot: int) -> bool:
        path = self.places.value_at(len(self.text[:spot].encode()))
        return path is not None and path[-1] == "umask" and path[0] in ("task", "job", "defaults") and len(path) <= 3

    def _warn_lenient(self, candidates: dict[int, str]) -> None:
        for spot in self._lenient:
            path = self.places.value_at(len(self.text[:spot].encode()))
            digits = candidates[spot]
            fixed = f"0o{digits[1:] or '0'}"
            self.report(
                Finding(
                    "W101",
                    f"{digits} is not valid TOML; it is read as octal",
                    f'write {fixed} or "{digits}" (`taskmaster check --fix` does)',
                    path=path or (),
                    edits=(Edit(path or (), "value", fixed),),
                )
            )

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
        text = f"not valid TOML: {message[:1].lower()}{message[1:]}"
        self.refuse("E002", text, _advice(message, before, after), offset=offset)

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

        text = self.text
        for spot in self._lenient:
            text = f"{text[:spot]}1{text[spot + 1 :]}"
        return Locator(text)

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
        severity = WARNING if finding.code.startswith("W") else ERROR
        return Problem(
            finding.code, severity, self.file, line, column, width, text, finding.message, finding.help, also
        )

    def _where(self, finding: Finding) -> tuple[int, int, int, str]:
        if finding.offset is not None:
            return (*self._line(finding.offset), finding.width, self._text_of(finding.offset))
        if not finding.path:
            return 0, 0, 0, ""
        return self.where(finding.path, finding.at)

    def where(self, path: Path, at: str) -> tuple[int, int, int, str]:
        """Return line, column, width and text of the line of a key or value; zeros when it has no place."""
        span = self.places.find(path, at=at)
        if span is None:
            return 0, 0, 0, ""
        raw = self.places.raw
        offset = len(raw[: span.start].decode())
        shown = raw[span.start : span.end].decode().split("\n", 1)[0]
        return (*self._line(offset), max(1, len(shown)), self._text_of(offset))

    def _line(self, offset: int) -> tuple[int, int]:
        offset = min(offset, len(self.text))
        start = self.text.rfind("\n", 0, offset) + 1
        return self.text.count("\n", 0, offset) + 1, offset - start + 1

    def _text_of(self, offset: int) -> str:
        offset = min(offset, len(self.text))
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        return self.text[start : end if end >= 0 else len(self.text)]


def _place(source: Source, path: Path, at: str, message: str) -> Place:
    line, column, width, text = source.where(path, at)
    return Place(source.file, line, column, width, text, message)


def _order(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column


def _advice(message: str, before: str, after: str) -> str:
    if re.search(r"=\s*$", before):
        word = re.match(r"[\w./~$-]+", after)
        if word and word[0].lower() in ("true", "false", "yes", "no", "on", "off"):
            return f"write {'true' if word[0].lower() in ('true', 'yes', 'on') else 'false'}"
        return f'text stands in quotes: "{word[0]}"' if word else "a value is missing after `=`"
    if re.match(r"\s*:", after):
        return "a key and its value are joined by `=`"
    if "overwrite" in message or "declare" in message:
        return "it stands there twice: take one out"
    return ""


def errors_in(sources: Iterable[Source]) -> bool:
    """Tell whether any of the sources holds an error."""
    return any(not finding.code.startswith("W") for source in sources for finding in source.findings)
