"""Text made to fit cells: harmless, on one line, cut and padded by what a terminal shows, not by characters.

Decides how foreign text gets a fixed width: wide characters, emoji and marks that combine are never cut in half. Does
not choose colours. The widgets that paint tables, grids and plots call it for every text they show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from taskmaster_core.logs.sanitize import clean

Span = tuple[str, str]
"""A text and its role."""

# separators would break the line, directions would turn the rest of it around: `clean` keeps both, logs have lines;
# what joins or varies characters has another width in each terminal
_LINE_BREAKS = re.compile("[\n\t\u2028\u2029]")
_SOLID = ("match", "current", "cursor", "blurred")  # roles with a ground of their own: it must not run on
_AWKWARD = re.compile("[\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]|[\U000e0000-\U000e0fff]")


def flat(text: str) -> str:
    """Return the text on one line, without anything a terminal would act on."""
    if text.isascii() and text.isprintable():
        return text
    return _AWKWARD.sub("", _LINE_BREAKS.sub(" ", clean(text)))


@lru_cache(8192)
def fit(text: str, width: int, align: str = "left", more: str = "…") -> str:
    """Return the text in exactly `width` cells; what does not fit is cut and ends in `more`, one cell wide."""
    text = cut(text, width, more)
    missing = width - cell_len(text)
    left = missing if align == "right" else missing // 2 if align == "center" else 0
    return " " * left + text + " " * (missing - left)


def cut(text: str, width: int, more: str = "…") -> str:
    """Return the text in at most `width` cells."""
    # what is measured has a bound: a megabyte in a name must not hold up the screen
    text = flat(text[: 4 * width + 64])
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + more if width > 0 else ""


def fit_spans(spans: Sequence[Span], width: int, align: str = "left", more: str = "…") -> list[Span]:
    """Return the spans cut and padded together to exactly `width` cells."""
    if len(spans) == 1:
        text, role = spans[0]
        return [(fit(text, width, align, more), role)]
    fitted: list[Span] = []
    room = width
    for text, role in spans:
        shown = cut(text, room, more)
        fitted.append((shown, role))
        room -= cell_len(shown)
    return _aligned(fitted, room, align)


def _aligned(spans: list[Span], missing: int, align: str) -> list[Span]:
    left = missing if align == "right" else missing // 2 if align == "center" else 0
    return [(" " * left, ""), *spans, (" " * (missing - left), "")]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join neighbours of one role, and blanks with what is before them: fewer escapes on the wire."""
    joined: list[Span] = []
    for text, role in spans:
        body = text.lstrip(" ")
        if blanks := text[: len(text) - len(body)]:
            _add(joined, blanks, joined[-1][1] if joined and joined[-1][1] not in _SOLID else "")
        if body:
            _add(joined, body, role)
    return joined


def _add(joined: list[Span], text: str, role: str) -> None:
    if joined and role == joined[-1][1]:
        joined[-1] = (joined[-1][0] + text, role)
    else:
        joined.append((text, role))
