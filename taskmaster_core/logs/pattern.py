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
from types import FrameType
from typing import TypeVar

from taskmaster_core.errors import Refused, UsageError

T = TypeVar("T")

_SPECIAL = frozenset(r".^$*+?{}[]\|()")
_PATIENCE = 0.25
"""Seconds of CPU for one block; a harmless expression takes a few milliseconds."""
_TOO_LONG = 1000
_BLOCK = 256 * 1024
_BLOCK_OF_EXPRESSION = 64 * 1024  # an awkward one (".*x.*") does 2 MB/s: this many bytes at once keep a core awake


class Pattern:
    """Match bytes. `may` looks at a whole block, `hit` at one line; `may` is None where only lines can tell."""

    def __init__(self, text: str, *, ignorecase: bool = False) -> None:
        if len(text) > _TOO_LONG:
            raise UsageError(f"the pattern has {len(text)} characters", f"at most {_TOO_LONG} are searched for")
        self.text = text
        self.ignorecase = ignorecase
        self.literal = None if _SPECIAL & set(text) else text.encode("utf-8", "surrogateescape")
        if self.literal is not None and ignorecase and not text.isascii():
            self.literal = None  # lower-casing bytes knows ASCII only
        self._folded = (self.literal or b"").lower()
        holds = self._holds_folded if ignorecase else self._holds
        self.may: Callable[[bytes], bool] | None = holds if self.literal is not None else None
        self.hit: Callable[[bytes], bool] = holds if self.literal is not None else self._expression()
        self.block = _BLOCK if self.literal is not None else _BLOCK_OF_EXPRESSION

    def _expression(self) -> Callable[[bytes], bool]:
        flags = re.IGNORECASE if self.ignorecase else re.NOFLAG
        try:
            find = re.compile(self.text, flags).search
            find_ascii = re.compile(self.text.encode("utf-8", "surrogateescape"), flags).search
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

    def patiently(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; raise Refused if matching in it does not end."""
        if self.literal is not None:
            return work()
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
