"""What people search for: a literal where the pattern has no special characters, else a regular expression.

Decides whether bytes match, and gives up on expressions that take too long instead of hanging the core. Queries and
searches sift lines through it.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from types import FrameType
from typing import TypeVar

from taskmaster_core.errors import Refused, UsageError

T = TypeVar("T")

_SPECIAL = frozenset(r".^$*+?{}[]\|()")
_OF_LINES_ONLY = re.compile(r"\\[AZBG\n]|\(\?[^:P]|\(\?P=|[*+?}]\+|\n")
"""What means something else in a whole block than in each line: ends of the text, looking around, never giving back."""
_PATIENCE = 0.25
"""Seconds of CPU for one block; a harmless expression takes a few milliseconds."""
_TOO_LONG = 1000
_BLOCK = 512 * 1024
_BLOCK_OF_EXPRESSION = 64 * 1024  # an awkward one (".*x.*") does 2 MB/s: this many bytes at once keep a core awake


class Pattern:
    """Match bytes. `may` looks at a whole block, `hit` at one line; `may` is None where only lines can tell."""

    def __init__(self, text: str, *, ignorecase: bool = False) -> None:
        if len(text) > _TOO_LONG:
            raise UsageError(f"the pattern has {len(text)} characters", f"at most {_TOO_LONG} are searched for")
        self.text = text
        if text.startswith("(?i)"):
            text, ignorecase = text.removeprefix("(?i)"), True
        self._source = text
        self.ignorecase = ignorecase
        self.literal = None if _SPECIAL & set(text) else text.encode("utf-8", "surrogateescape")
        if self.literal is not None and ignorecase and not text.isascii():
            self.literal = None  # lower-casing bytes knows ASCII only
        self._folded = (self.literal or b"").lower()
        holds = self._holds_folded if ignorecase else self._holds
        self.may: Callable[[bytes], bool] | None = holds if self.literal is not None else None
        self.hit: Callable[[bytes], bool] = holds if self.literal is not None else self._expression()
        self.block = _BLOCK if self.literal is not None else _BLOCK_OF_EXPRESSION
        self._scan = self._scanner() if self.literal is None else None

    def _expression(self) -> Callable[[bytes], bool]:
        flags = re.IGNORECASE if self.ignorecase else re.NOFLAG
        try:
            find = re.compile(self._source, flags).search
            find_ascii = re.compile(self._source.encode("utf-8", "surrogateescape"), flags).search
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(
                f"not a regular expression: {error}", "put a backslash before . * + ? ( ) [ ] { } | ^ $"
            ) from None

        def hit(line: bytes) -> bool:
            if line.isascii():  # most lines, and bytes are faster; in the others "." is a character, not a byte
                return find_ascii(line.removesuffix(b"\n")) is not None
            return find(line.decode("utf-8", "replace").removesuffix("\n")) is not None

        return hit

    def _holds(self, data: bytes) -> bool:
        return self.literal is not None and self.literal in data

    def _holds_folded(self, data: bytes) -> bool:
        return self._folded in data.lower()

    def _scanner(self) -> re.Pattern[bytes] | None:
        """Return an expression that finds in a whole block what it finds in its lines, None if there may be none."""
        if not self._source.isascii() or _OF_LINES_ONLY.search(self._source):
            return None
        return re.compile(self._source.encode(), re.MULTILINE | (re.IGNORECASE if self.ignorecase else re.NOFLAG))

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Return where the lines that match are in a block that begins with a line, each with its newline."""
        if self.literal is not None and b"\n" not in self.literal:
            return self._spans_of_literal(data)
        if self._scan is None or not data.isascii():
            return self._spans_by_line(data)
        return self._spans_of_expression(data, self._scan)

    def _spans_of_literal(self, data: bytes) -> list[tuple[int, int]]:
        folded = data.lower() if self.ignorecase else data
        wanted = self._folded if self.ignorecase else self.literal or b""
        found = []
        at = folded.find(wanted)
        while at >= 0:
            end = data.find(b"\n", at) + 1 or len(data)
            found.append((data.rfind(b"\n", 0, at) + 1, end))
            at = folded.find(wanted, end)
        return found

    def _spans_of_expression(self, data: bytes, scan: re.Pattern[bytes]) -> list[tuple[int, int]]:
        found = []
        match = scan.search(data)
        while match is not None and match.start() < len(data):
            at = match.start()
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at) + 1 or len(data)
            if match.end() < end or self.hit(data[start:end]):  # else it goes on into other lines
                found.append((start, end))
            match = scan.search(data, end)
        return found

    def _spans_by_line(self, data: bytes) -> list[tuple[int, int]]:
        found, start = [], 0
        for line in BytesIO(data):
            end = start + len(line)
            if self.hit(line):
                found.append((start, end))
            start = end
        return found

    def patiently(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; raise Refused if matching in it does not end."""
        if self.literal is not None:
            return work()
        if self._scan is not None:
            try:
                with _cpu_limit(_PATIENCE):
                    return work()
            except _Expired:
                self._scan = None  # what runs on through many lines may be harmless in each of them
        try:
            with _cpu_limit(_PATIENCE):
                return work()
        except _Expired:
            raise Refused(
                f"the pattern {self.text!r} takes too long", "avoid repeats inside repeats, or search for plain text"
            ) from None


class _Expired(Exception):
    """End a match that goes on for ever."""


@contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """Raise _Expired in here after that much CPU time.

    Only a signal can end a match: `re` holds the interpreter, but looks for signals. Signals reach the main
    thread alone, so in others (tests, workers that may hang) there is no limit but the length of lines.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    armed = True

    def expire(_signum: int, _frame: FrameType | None) -> None:
        if armed:  # one that arrives while we leave must not hit whoever comes next
            raise _Expired

    before = signal.signal(signal.SIGVTALRM, expire)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
