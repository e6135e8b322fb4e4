"""Decide how a state looks: which glyph, which word, which role. One set of glyphs for everything on the screen.

Decides no colour (the theme does, by role) and no layout. Rows, header and cards call it; never is a role shown without
its glyph and its word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from taskmaster_core.wire import ExitView, ProcessView
from taskmaster_tui.model.fmt import DASH, age, hour_minute, plain

GLYPHS: dict[str, dict[str, str]] = {
    "unicode": {
        "up": "●", "busy": "◐", "failed": "✗", "off": "○", "done": "◌", "due": "◔", "held": "⏸",
        "open": "▼", "closed": "▶", "cursor": ">", "mark": "+", "rising": "▲", "falling": "▼", "restarts": "↻",
        "more": "…", "dash": DASH, "dot": "·", "arrow": "→", "rule": "─", "bar": "│", "thumb": "█", "paused": "⏸",
        "enter": "⏎", "space": "␣",
    },
    "ascii": {
        "up": "*", "busy": "~", "failed": "!", "off": "-", "done": ".", "due": "@", "held": "=",
        "open": "v", "closed": ">", "cursor": ">", "mark": "+", "rising": "^", "falling": "v", "restarts": "R",
        "more": "~", "dash": "-", "dot": "|", "arrow": ">", "rule": "-", "bar": "|", "thumb": "#", "paused": "=",
        "enter": "Enter", "space": "Space",
    },
}  # fmt: skip
"""U+2717 for failed: U+2716 is drawn as an emoji by some terminals. All but the names of keys are one cell wide."""

KINDS = ("failed", "busy", "up", "off", "done")
"""What every process is exactly one of, the worst first; each is the name of a glyph and a role too."""

WORST_FIRST = ("fatal", "unknown", "backoff", "stopping", "pending", "starting", "stopped", "exited", "running")
"""A job's state is the worst of its processes' (DESIGN §9)."""

RANK = {state: rank for rank, state in enumerate(WORST_FIRST)}

KIND_OF_STATE = {
    "fatal": "failed", "backoff": "failed", "unknown": "busy", "stopping": "busy", "pending": "busy",
    "starting": "busy", "stopped": "off", "running": "up",
}  # fmt: skip
"""`exited` is missing: how it ended decides."""

ALIVE = frozenset({"starting", "running", "stopping"})


class Look(NamedTuple):
    """Say how something is shown: the name of its glyph, its word, its role."""

    glyph: str
    word: str
    role: str


class HasLook(Protocol):
    """Be a process or job of the world."""

    def look(self, now: float | None = None) -> Look:
        """Return how it is shown."""


UP = Look("up", "running", "up")
OFF = Look("off", "off", "off")
_FIXED = {
    "running": UP,
    "starting": Look("busy", "starting", "busy"),
    "stopping": Look("busy", "stopping", "busy"),
    "pending": Look("busy", "pending", "busy"),
    "unknown": Look("busy", "unknown", "busy"),
}


def glyphs(name: str) -> Mapping[str, str]:
    """Return a set of glyphs; an unknown name means the usual one."""
    return GLYPHS.get(name, GLYPHS["unicode"])


def look(thing: HasLook | ProcessView, now: float | None = None) -> Look:
    """Return how a process or a job is shown; with `now`, countdowns are in the word."""
    return view_look(thing, now) if isinstance(thing, ProcessView) else thing.look(now)


def view_look(view: ProcessView, now: float | None = None, expected: Collection[int | str] = (0,)) -> Look:
    """Return how a process is shown; `expected` are its job's `exitcodes`."""
    state = view.state
    if state == "running" and view.ready is False:
        return Look("failed", "unhealthy", "failed")
    fixed = _FIXED.get(state)
    if fixed is not None:
        return fixed
    resting = _resting(view, now, expected)
    if held(view) and resting.role in ("off", "done"):
        return Look("held", resting.word, "held")
    return resting


def _resting(view: ProcessView, now: float | None, expected: Collection[int | str]) -> Look:
    """Return how a process that does not run is shown."""
    match view.state:
        case "fatal":
            return Look("failed", ending(view.exit) or "fatal", "failed")
        case "backoff":
            left = "" if now is None or view.next_start_at is None else f" {countdown(view.next_start_at - now)}"
            return Look("failed", f"backoff{left}", "failed")
        case "exited" if not ended_well(view.exit, expected):
            return Look("failed", ending(view.exit) or "failed", "failed")
        case "exited" | "stopped" if view.next_start_at is not None:
            return Look("due", f"due {hour_minute(view.next_start_at)}", "off")
        case "exited":
            return Look("done", done_word(view.exit), "done")
        case "stopped":
            return OFF
    return Look("busy", plain(view.state)[:10], "busy")  # a state of a newer core


def kind_of(view: ProcessView, expected: Collection[int | str] = (0,)) -> str:
    """Return which of KINDS a process is."""
    if view.state == "exited":
        return "done" if ended_well(view.exit, expected) else "failed"
    if view.ready is False and view.state == "running":
        return "failed"
    return KIND_OF_STATE.get(view.state, "busy")


def held(view: ProcessView) -> bool:
    """Tell whether a person forbade that it restarts by itself; a core that cannot do that never says so."""
    return bool(getattr(view, "held", False))


def ended_well(end: ExitView | None, expected: Collection[int | str]) -> bool:
    """Tell whether the job's config calls this end a good one; one that is not known is not held against it."""
    if end is None:
        return True
    if end.error is not None:
        return False
    if end.signal is not None:
        return end.signal in expected
    return end.code is None or end.code in expected


def ending(end: ExitView | None) -> str:
    """Return how a run ended in at most ten cells: `exit 78`, `SIGKILL`, `ENOENT`; "" if it is not known."""
    if end is None:
        return ""
    if end.error is not None:
        return plain(end.error.errno or end.error.stage)[:10]
    if end.signal is not None:
        return plain(end.signal)[:10]
    return "" if end.code is None else f"exit {end.code}"


def done_word(end: ExitView | None) -> str:
    """Return the word for a good end: `done 0`, `done` if the code is not known."""
    if end is not None and end.signal is not None:
        return plain(end.signal)[:10]
    return "done" if end is None or end.code is None else f"done {end.code}"


def countdown(seconds: float) -> str:
    """Return the time left in at most three cells, rounded up: it reads 1s until it is due."""
    whole = max(int(-(-seconds // 1)), 0) if seconds == seconds else 0  # noqa: PLR0124  # NaN
    return f"{whole}s" if whole < 100 else age(whole).split("m")[0] + "m" if whole < 3600 else "1h+"
