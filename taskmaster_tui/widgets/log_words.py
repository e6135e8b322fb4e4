"""The words around output: the line that says what is shown, and why nothing is.

Decides wording only. `LogPane` calls it when something changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskmaster_core.alogs import BOTH
from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.log_buffer import LogBuffer
from taskmaster_tui.model.fmt import hour_minute
from taskmaster_tui.widgets.line_pager import LinePager

_NAMES = {BOTH: "out+err", ("out",): "out only", ("err",): "err only"}


def empty(buffer: LogBuffer, kept: str | None, words: str) -> str:
    """Say why there is no line; `kept` is what a filter looks for, `words` what is known about the process."""
    if buffer.trouble:
        return buffer.trouble
    if not buffer.loaded:
        return "loading…"
    if kept is not None and not buffer.window.at_start:
        return f'searching for "{kept}"…'
    if kept is not None:
        return f'nothing matches "{kept}" · esc shows all lines'
    return buffer.problems[0] if buffer.problems else words


def status(pager: LinePager, buffer: LogBuffer, streams: Sequence[str], title: str) -> str:
    """Return the line that says what is shown: what can be changed with a key first."""
    unicode = pager.glyphs == "unicode"
    parts = [("follow ▼" if unicode else "follow") if pager.following else "paused"]
    if pager.picked_from is not None:
        low, high = sorted((pager.picked_from, pager.picked_from if pager.cursor is None else pager.cursor))
        parts.append(f"selecting {high - low + 1} lines")
    parts += [_NAMES[tuple(streams)], f"wrap {'on' if pager.wrap else 'off'}", f"time {pager.times}"]
    if pager.x and not pager.wrap:
        parts.append(f"column {pager.x + 1}")
    if title:
        parts.append(title)
    if buffer.loaded and buffer.window.total:
        begin, length = buffer.position(*pager.on_screen)
        parts.append(size(buffer.window.total))
        parts.append("100 %" if pager.following else f"{min(100, round((begin + length) * 100))} %")
        oldest = pager.on_screen[0] == buffer.first and buffer.window.at_start and not pager.following
        if oldest and buffer.end > buffer.first and (at := buffer.line(buffer.first).at):
            parts.append(f"the oldest line, {hour_minute(at)}")
    if wrong := buffer.trouble or next(iter(buffer.problems), ""):
        parts.append(f"! {wrong}")
    return clean((" · " if unicode else " - ").join(parts))


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"
