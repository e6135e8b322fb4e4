"""Tell somebody who looks elsewhere: the terminal's title, its bell, a notice on the desktop.

It decides the bytes, and that the same title is not written twice; whether anybody is to be told is the app's. What is
said is cleaned here, because it leaves by another way than the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskmaster_tui.model.fmt import plain

_MUTE = frozenset({"linux", "dumb", ""})
"""Terminals without a title bar, which may print the bytes instead."""

_LONGEST = 120
"""Characters of a title or a notice: more than any bar shows."""


class Notifier:
    """Hold what the title says now. `write` returns False where nothing could be written."""

    def __init__(self, write: Callable[[str], bool], environ: Mapping[str, str]) -> None:
        self._write = write
        self._mute = environ.get("TERM", "") in _MUTE
        self._tmux = bool(environ.get("TMUX"))
        self._title = ""

    def title(self, text: str) -> None:
        """Put a text into the title bar."""
        text = _short(text)
        if self._mute or text == self._title:
            return
        # the terminal keeps the title that was there before (XTWINOPS 22), `restore` takes it back
        keep = "" if self._title else "\x1b[22;0t"
        if self._write(f"{keep}\x1b]0;{text}\x07"):  # else the next change tries again
            self._title = text

    def renew(self, text: str) -> None:
        """Put a text into the title bar though it is ours already: somebody else may have written there since."""
        if self._title:
            self._title = _short(text) if self._write(f"\x1b]0;{_short(text)}\x07") else "\0"  # tried again

    def restore(self) -> None:
        """Give back the title that was there before."""
        if self._title:
            self._title = ""
            self._write("\x1b[23;0t")

    def alarm(self, text: str) -> None:
        """Ring, and show a notice on the desktop (OSC 9) where the terminal can."""
        notice = f"\x1b]9;taskmaster: {_short(text)}\x07"  # a text that began with `4;` would be a progress bar
        if self._tmux:
            notice = f"\x1bPtmux;{notice.replace(chr(27), chr(27) * 2)}\x1b\\"
        self._write("\x07" if self._mute else f"\x07{notice}")


def _short(text: str) -> str:
    return plain(text)[:_LONGEST]
