"""Turns one line of output into pieces of text with a style, after the sanitizer and never more than asked for.

Decides how colours, tabs, wide and invisible characters of a line become cells. Paints nothing and knows no theme: the
pager calls it for the lines that are on the screen.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color
from rich.style import Style

from taskmaster_core.logs.sanitize import clean

CAP = 16 * 1024
"""Bytes of a line that are ever looked at: painting must not depend on what a job calls a line."""
TAB = 8

_SGR = re.compile("\x1b\\[([0-9;:]{0,64})m")
_AWKWARD = re.compile("[\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\n\x0b]|[\U000e0000-\U000e0fff]")
"""Characters that have no cell, or another width in each terminal, or turn the direction of what follows."""
_SHOWN = "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_ON = {1: 1, 2: 2, 3: 4, 4: 8, 7: 16, 9: 32, 21: 8}
_OFF = {22: 1 | 2, 23: 4, 24: 8, 27: 16, 29: 32}

Colour = int | tuple[int, int, int] | None


class Pen(NamedTuple):
    """Hold what SGR has set: colours, and flags as the bits of `_ON`."""

    fore: Colour = None
    back: Colour = None
    flags: int = 0


_PLAIN = Pen()

Run = tuple[str, Style]
"""Text without any control character, and its style; `Style.null()` where the line says nothing."""


class Parsed(NamedTuple):
    """Hold the cells of a line from its begin."""

    runs: list[Run]
    width: int
    """Cells of `runs`."""
    more: bool
    """There are cells after these."""


def readable(data: bytes, *, colors: bool = False) -> str:
    """Return one line as harmless text, at most `CAP` bytes of it; tabs are as they were."""
    if len(data) > CAP:
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(data[:CAP])
    else:
        text = data.decode("utf-8", "replace")
    text = clean(text.rstrip("\r\n"), colors=colors)
    return _AWKWARD.sub(_placeholder, text) if not text.isascii() or "\n" in text else text


def _placeholder(found: re.Match[str]) -> str:
    return "\ufffd" if found[0] in _SHOWN else " " if found[0] in "\n\x0b" else ""


def plain(data: bytes) -> str:
    """Return what a person sees of a line: no colours, tabs expanded as on the screen."""
    text = readable(data)
    return _untabbed(text, 0) if "\t" in text else text


def parse(data: bytes, cells: int) -> Parsed:
    """Return at least the first `cells` cells of a line if it has as many."""
    text = readable(data, colors=True)
    if "\x1b" not in text:
        return _bounded([], 0, text, Style.null(), cells)
    parsed = Parsed([], 0, more=False)
    pen, start = _PLAIN, 0
    for found in _SGR.finditer(text):
        if found.start() > start:
            parsed = _bounded(parsed.runs, parsed.width, text[start : found.start()], style_of(pen), cells)
            if parsed.more:
                return parsed
        pen, start = drawn(pen, found[1]), found.end()
    if start < len(text):
        return _bounded(parsed.runs, parsed.width, text[start:], style_of(pen), cells)
    return parsed


def _bounded(runs: list[Run], width: int, text: str, style: Style, cells: int) -> Parsed:
    """Add a text to the runs as far as the cells go."""
    if width >= cells:
        return Parsed(runs, width, more=True)
    room = cells - width
    cut = text[: room + 1] if text.isascii() else text[: room * 2 + 64]  # marks without a cell of their own
    if "\t" in cut:
        cut = _untabbed(cut, width)
    runs.append((cut, style))
    width += cells_of(cut)
    return Parsed(runs, width, more=width > cells)


def _untabbed(text: str, column: int) -> str:
    parts = text.split("\t")
    done = [parts[0]]
    column += cells_of(parts[0])
    for part in parts[1:]:
        gap = TAB - column % TAB
        done += [" " * gap, part]
        column += gap + cells_of(part)
    return "".join(done)


def cells_of(text: str) -> int:
    """Return how many cells a text takes."""
    return len(text) if text.isascii() else sum(map(get_character_cell_size, text))


def drawn(pen: Pen, parameters: str) -> Pen:
    """Return the pen after one SGR sequence."""
    fore, back, flags = pen
    fields = iter(parameters.split(";"))
    for field in fields:
        code, _, rest = field.partition(":")
        number = int(code[:4]) if code else 0
        if number == 0:
            fore, back, flags = _PLAIN
        elif number in {38, 48}:
            colour = _colon_colour(rest) if rest else _next_colour(fields)
            fore, back = (colour, back) if number == 38 else (fore, colour)
        elif number in _ON:
            flags = flags & ~8 if number == 4 and rest == "0" else flags | _ON[number]
        elif number in _OFF:
            flags &= ~_OFF[number]
        else:
            fore, back = _simple(number, fore, back)
    return Pen(fore, back, flags)


def _simple(number: int, fore: Colour, back: Colour) -> tuple[Colour, Colour]:
    if 30 <= number <= 37:
        return number - 30, back
    if 90 <= number <= 97:
        return number - 82, back
    if 40 <= number <= 47:
        return fore, number - 40
    if 100 <= number <= 107:
        return fore, number - 92
    if number == 39:
        return None, back
    return (fore, None) if number == 49 else (fore, back)


def _next_colour(fields: object) -> Colour:
    """Read `5;n` or `2;r;g;b` after a 38 or 48."""
    take = iter(fields)  # type: ignore[call-overload]
    kind = next(take, "")
    if kind == "5":
        return _byte(next(take, ""))
    return _rgb([next(take, "") for _ in range(3)]) if kind == "2" else None


def _colon_colour(rest: str) -> Colour:
    """Read `5:n`, `2:r:g:b` or `2:space:r:g:b`."""
    kind, *values = rest.split(":")
    if kind == "5" and values:
        return _byte(values[0])
    return _rgb(values[1:4] if len(values) > 3 else values[:3]) if kind == "2" and len(values) >= 3 else None


def _byte(text: str) -> int | None:
    return min(255, int(text[:4])) if text else 0


def _rgb(values: list[str]) -> tuple[int, int, int]:
    red, green, blue = (min(255, int(value[:4])) if value else 0 for value in values)
    return red, green, blue


@lru_cache(maxsize=1024)
def style_of(pen: Pen) -> Style:
    """Return the style of a pen; attributes that are not set stay unset, so that a theme shines through."""
    if pen == _PLAIN:
        return Style.null()
    flags = pen.flags
    return Style(
        color=_colour(pen.fore),
        bgcolor=_colour(pen.back),
        bold=bool(flags & 1) or None,
        dim=bool(flags & 2) or None,
        italic=bool(flags & 4) or None,
        underline=bool(flags & 8) or None,
        reverse=bool(flags & 16) or None,
        strike=bool(flags & 32) or None,
    )


def _colour(colour: Colour) -> Color | None:
    if colour is None:
        return None
    return Color.from_ansi(colour) if isinstance(colour, int) else Color.from_rgb(*colour)


def overlay(runs: list[Run], begin: int, end: int, style: Style) -> list[Run]:
    """Return the runs with a style laid over the characters from `begin` to `end`."""
    done: list[Run] = []
    at = 0
    for text, own in runs:
        low, high = max(0, begin - at), min(len(text), end - at)
        if low >= high:
            done.append((text, own))
        else:
            parts = ((text[:low], own), (text[low:high], own + style), (text[high:], own))
            done += [part for part in parts if part[0]]
        at += len(text)
    return done


def crop(runs: list[Run], start: int, width: int) -> list[Run]:
    """Return the cells from `start` on; half a wide character becomes a space."""
    done: list[Run] = []
    at, end = 0, start + width
    for text, style in runs:
        size = cells_of(text)
        if at < end and at + size > start:
            done.append((_cropped(text, start - at, end - at, size), style))
        at += size
    return done


def _cropped(text: str, start: int, end: int, size: int) -> str:
    if start <= 0 and end >= size:
        return text
    if size == len(text) and text.isascii():
        return text[max(0, start) : end]
    taken: list[str] = []
    at = 0
    for character in text:
        after = at + get_character_cell_size(character)
        if at >= start and after <= end and (at < end or taken):
            taken.append(character)
        elif after > max(at, start) and at < end:
            taken.append(" ")
        at = after
    return "".join(taken)


def fold(runs: list[Run], width: int) -> list[list[Run]]:
    """Return the runs in rows of at most `width` cells; always at least one row."""
    rows: list[list[Run]] = [[]]
    room = width
    for text, style in runs:
        rest = text
        while rest:
            count = _fitting(rest, room)
            if count == 0 and room < width:
                rows.append([])
                room = width
                continue
            count = max(1, count)  # a pane of one cell and a wide character: go on all the same
            part, rest = rest[:count], rest[count:]
            rows[-1].append((part, style))
            room -= cells_of(part)
    return rows


def _fitting(text: str, room: int) -> int:
    """Return how many characters fit."""
    if text.isascii():
        return min(len(text), max(0, room))
    at = 0
    for count, character in enumerate(text):
        at += get_character_cell_size(character)
        if at > room:
            return count
    return len(text)


def middle_cut(text: str, width: int) -> str:
    """Return a name in at most `width` cells, its end (the index of a process) kept."""
    if cell_len(text) <= width:
        return text
    if not text.isascii():
        text = "".join(character for character in text if get_character_cell_size(character) == 1)
    keep = min(4, width // 2)
    return text[: max(0, width - keep - 1)] + "…" + text[len(text) - keep :] if len(text) > width else text
