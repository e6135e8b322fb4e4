"""The times in which an output file cannot be written: what was lost, when to try again, what to say.

Decides how long to wait between tries and which reports tell of it; whether bytes are dropped or wait is the sink's
affair. Each sink has one.
"""

from __future__ import annotations

import errno
import time

import sentences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from loop import Loop, Timer

_FIRST, _LAST = 1.0, 5.0  # seconds between tries
_CALM = 10.0  # a spell that begins sooner after the last one waits longer for its end: a disk at its brink


class Losses:
    """Hold one spell of losses at a time."""

    def __init__(self, path: str, loop: Loop, tell: Callable[[dict[str, Any]], None]) -> None:
        self.on = False
        self._path = path
        self._loop = loop
        self._tell = tell
        self._bytes = 0
        self._errno = 0
        self._told = False
        self._wait = _FIRST
        self._ended = 0.0
        self._timer: Timer | None = None

    @property
    def waiting(self) -> bool:
        """Tell whether it is too early for another try."""
        return self._timer is not None

    @property
    def told(self) -> str:
        """Return the name of the errno if the losses were told and are not over."""
        return sentences.name_of(self._errno) if self.on and self._told else ""

    def begin(self, error: OSError, again: Callable[[], object], *, drops: bool) -> None:
        """Note that a write failed; `again` is called when it is time for another try."""
        if not self.on:
            calm = time.monotonic() - self._ended > _CALM
            self._wait = _FIRST if calm else min(self._wait * 2, _LAST)
            self.on, self._told, self._bytes = True, False, 0
        self._errno = error.errno or errno.EIO
        self.cancel()
        self._timer = self._loop.after(self._wait, lambda: self._try(again))
        if not drops:
            self._say(over=False)

    def _try(self, again: Callable[[], object]) -> None:
        self._timer = None
        again()

    def count(self, lost: int) -> None:
        """Count bytes that are gone."""
        if lost:
            self._bytes += lost
            self._say(over=False)

    def _say(self, *, over: bool) -> None:
        if self._told and not over:
            return
        self._told = True
        name = sentences.name_of(self._errno)
        self._tell({"t": "loss", "path": self._path, "bytes": self._bytes, "errno": name, "over": over})

    def marker(self) -> bytes:
        """Return the line that stands in the file for what is missing; nothing when nothing is."""
        if not self._bytes:
            return b""
        return f"[taskmaster: {self._bytes} bytes dropped, {sentences.name_of(self._errno)}]\n".encode()

    def end(self) -> None:
        """Note that writing works again."""
        self.cancel()
        if self._told:
            self._say(over=True)
        self.on = False
        self._ended = time.monotonic()

    def give_up(self) -> None:
        """Note that nobody will write there any more."""
        if self.on:
            self.end()

    def cancel(self) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
