"""Searches output from where somebody stands outwards, slice by slice, and knows which hit they are at.

Decides in which order the slices are asked for and what is said about the count. Finds nothing itself: the core (or the
files) does; `LogView` shows the hits.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from taskmaster_core.alogs import BOTH, Cursor, Found, LogPages, LogSource, Place
from taskmaster_core.errors import TaskmasterError

HITS_MAX = 20_000
"""Places remembered in each direction; nobody presses `n` so often."""
_SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_UNBOUNDED = re.compile(r"[*+]|,\}")
_WORDS = re.compile(r"\w+|\W")
_COLOURS = "(?:\x1b\\[[0-9;:]*[mK])*"
_AGAIN = 1.0
"""Seconds between searches in what is new."""


def ignores_case(text: str) -> bool:
    r"""Tell whether capitals do not matter: when none was typed, outside of escapes like \S."""
    return not any(character.isupper() for character in re.sub(r"\\.", "", text))


def marker(text: str) -> re.Pattern[str] | None:
    r"""Return what marks the matches on the screen, None if it could take long: the core has limits, `re` has none."""
    flags = re.IGNORECASE if ignores_case(text) else re.NOFLAG
    if not text:
        return None
    if not _SPECIAL.search(text):
        return re.compile(re.escape(text), flags)
    if _REPEATED_GROUP.search(text) or len(_UNBOUNDED.findall(text)) > 1:
        return None
    try:
        return re.compile(text, flags)
    except (re.error, OverflowError, RecursionError):
        return None


def asked(text: str) -> str:
    """Return what the core is asked for: in a plain text colours may change where words begin and end.

    The core looks at bytes as they were written; a person searches for what is seen.
    """
    if _SPECIAL.search(text) or text.isalnum():
        return text
    return _COLOURS.join(re.escape(part) for part in _WORDS.findall(text))


def without(text: str) -> str:
    """Return the expression for lines in which there is no match."""
    found = asked(text)
    return f"^(?!.*(?:{found if _SPECIAL.search(found) else re.escape(found)}))"


class Kept(NamedTuple):
    """Say which lines are shown alone: those that match, or with `inverse` those that do not."""

    text: str
    inverse: bool = False

    def of(self, logs: LogSource) -> LogPages:
        """Return pages of these lines only."""
        return logs.matching(
            without(self.text) if self.inverse else asked(self.text), ignorecase=ignores_case(self.text)
        )


class LogSearch:
    """Hold the hits of one search. Index 0 is the first at or after where it began, -1 the last before."""

    def __init__(self, logs: Callable[[], LogPages], tell: Callable[[], None]) -> None:
        self._logs = logs
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._ahead_at: Cursor | None = None
        self._again_at = 0.0
        self._select: tuple[str, ...] = ()
        self._streams: Sequence[str] = BOTH
        self.clear()

    def clear(self) -> None:
        """Stop and forget."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.text = ""
        self.ahead: list[Place] = []
        self.behind: list[Place] = []
        self.more_ahead = self.more_behind = False
        self.index: int | None = None
        self.trouble = ""
        self.share = 0.0
        self._pending = 0

    @property
    def running(self) -> bool:
        """Tell whether there may be hits that are not found yet."""
        return self._task is not None and not self._task.done()

    @property
    def count(self) -> int:
        """How many hits are known."""
        return len(self.ahead) + len(self.behind)

    def start(
        self, text: str, select: Sequence[str], streams: Sequence[str], cursor: Cursor | None, *, back_first: bool
    ) -> None:
        """Search from a place on in both directions; from the end without a cursor."""
        self.clear()
        self.text, self._select, self._streams = text, tuple(select), streams
        self._task = asyncio.get_running_loop().create_task(self._run(cursor, back_first=back_first))

    async def _run(self, cursor: Cursor | None, *, back_first: bool) -> None:
        self.more_behind, self.more_ahead = True, cursor is not None
        behind_at, self._ahead_at = cursor, cursor
        self._pending = -1 if back_first else 1
        scanned = [0, 0]
        turn_back = back_first
        try:
            while self.more_behind or self.more_ahead:
                turn_back = self.more_behind and (turn_back or not self.more_ahead)
                began = time.monotonic()
                found = await self._slice(behind_at if turn_back else self._ahead_at, back=turn_back)
                scanned[turn_back] = found.scanned
                self.share = min(1.0, sum(scanned) / max(1, found.total))
                if turn_back:
                    behind_at = found.cursor
                self._take(found, back=turn_back)
                turn_back = not turn_back
                self._tell()
                await asyncio.sleep(min(0.05, time.monotonic() - began) / 2)  # the core has other things to do too
        except TaskmasterError as error:
            self.trouble = str(error)
        self._task = None
        self._settle()
        self._tell()

    async def _slice(self, cursor: Cursor | None, *, back: bool) -> Found:
        return await self._logs().find(
            self._select,
            asked(self.text),
            ignorecase=ignores_case(self.text),
            cursor=cursor,
            back=back,
            streams=self._streams,
        )

    def _take(self, found: Found, *, back: bool) -> None:
        hits = self.behind if back else self.ahead
        hits += found.places[: HITS_MAX - len(hits)]
        more = found.more and len(hits) < HITS_MAX
        if back:
            self.more_behind = more
        else:
            self.more_ahead, self._ahead_at = more, found.cursor
        self._settle()

    def _settle(self) -> None:
        """Go to the hit that was asked for before it was found."""
        if self._pending and self.index is None and self.count and not self.more_behind and not self.more_ahead:
            self.index = -1 if self.behind and (self._pending < 0 or not self.ahead) else 0
        elif self._pending and self.index is None:
            if self._pending < 0 and self.behind:
                self.index = -1
            elif self._pending > 0 and self.ahead:
                self.index = 0
        elif self._pending and self.index is not None and self._has(self.index + self._pending):
            self.index += self._pending
        else:
            return
        if self.index is not None:
            self._pending = 0

    def _has(self, index: int) -> bool:
        return -len(self.behind) <= index < len(self.ahead)

    def step(self, delta: int) -> bool:
        """Go to the next (-1: previous) hit; False if there is none (it may still be found: `running`)."""
        if self.index is None:
            self._pending = delta
            self._settle()
            return self.index is not None
        if self._has(self.index + delta):
            self.index += delta
            return True
        self._pending = delta if self.running else 0
        return False

    @property
    def hit(self) -> Place | None:
        """The hit somebody is at."""
        if self.index is None:
            return None
        return self.ahead[self.index] if self.index >= 0 else self.behind[-self.index - 1]

    def poke(self) -> None:
        """Hear that there is new output: search in it, once a second at most."""
        now = time.monotonic()
        if not self.text or self.running or self._ahead_at is None or now < self._again_at or self.trouble:
            return
        self._again_at = now + _AGAIN
        self._task = asyncio.get_running_loop().create_task(self._new())

    async def _new(self) -> None:
        try:
            more = True
            while more:
                found = await self._slice(self._ahead_at, back=False)
                self._take(found, back=False)
                more = self.more_ahead
        except TaskmasterError as error:
            self.trouble = str(error)
        self._task = None
        self._tell()

    def words(self) -> str:
        """Say where somebody is and how many there are, with a plus while it is counting."""
        if self.trouble:
            return self.trouble
        plus = "+" if self.running or self.count >= HITS_MAX else ""
        if not self.count:
            return f"searching… {self.share:.0%}" if self.running else "no match"
        if self.index is None:
            return f"{self.count:,}{plus} matches"
        return f"match {len(self.behind) + self.index + 1:,} of {self.count:,}{plus}"
