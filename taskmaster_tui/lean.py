"""Makes a frame shorter without changing what it shows: a style is sent when it changes, not once per piece of text.

It knows SGR and nothing of Textual; what it does not understand it leaves as it is. `_textual_compat` calls it for
every frame that goes to a terminal (a log pane: 0.3 ms for a frame of 11 kB, 73 % of the bytes are left).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

SGR = re.compile(r"\x1b\[([\d;]*)m")
MOVES = re.compile(r"(?:[\r\n]|\x1b\[[\d;]*[Hf])*\Z")  # they write nothing, so no style is needed for them
LONGEST_MOVE = 24
OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "6": "25", "7": "27", "8": "28", "9": "29"}


class Look(NamedTuple):
    """What one SGR sequence sets, from nothing."""

    flags: frozenset[str]
    front: str
    back: str


@lru_cache(4096)
def look(codes: str) -> Look | None:
    """Read the codes of one SGR sequence; None for what this does not know (it is then sent whole)."""
    flags: set[str] = set()
    front = back = ""
    words = iter(codes.split(";"))
    for word in words:
        if word in ("38", "48"):
            count = {"2": 3, "5": 1}.get(kind := next(words, ""), -1)
            colour = ";".join([word, kind, *(next(words, "") for _ in range(count))])
            if count < 0 or colour.endswith(";"):
                return None
            front, back = (colour, back) if word == "38" else (front, colour)
        elif word.isdigit() and (30 <= int(word) <= 37 or 90 <= int(word) <= 97):
            front = word
        elif word.isdigit() and (40 <= int(word) <= 47 or 100 <= int(word) <= 107):
            back = word
        elif word in OFF:
            flags.add(word)
        else:
            return None
    return Look(frozenset(flags), front, back)


@lru_cache(4096)
def change(now: str, then: str) -> str:
    """Return the shortest SGR that leads from one style to another; "" is the terminal's own."""
    if now == then:
        return ""
    if not then:
        return "\x1b[0m"
    if not now:
        return f"\x1b[{then}m"
    fresh = f"\x1b[0;{then}m"
    had, wanted = look(now), look(then)
    if had is None or wanted is None:
        return fresh
    codes = flags_from(had.flags, wanted.flags)
    codes += [wanted.front or "39"] if wanted.front != had.front else []
    codes += [wanted.back or "49"] if wanted.back != had.back else []
    return min(f"\x1b[{';'.join(codes)}m", fresh, key=len) if codes else ""


def flags_from(had: frozenset[str], wanted: frozenset[str]) -> list[str]:
    """Return the codes that switch flags off, then those that switch them on."""
    off = {OFF[flag] for flag in had - wanted}
    # bold and dim are switched off together, as are the two ways to blink
    on = wanted - had | {flag for flag in wanted if OFF[flag] in off}
    return sorted(off) + sorted(on)


def after(style: str, codes: str) -> str:
    """Return the style after an SGR sequence: one without a reset adds to what is on."""
    if codes in ("", "0"):
        return ""
    if codes.startswith("0;"):
        return codes[2:]
    return f"{style};{codes}" if style else codes


def lean(frame: str) -> str:
    """Return a frame that shows the same in fewer bytes; it begins and ends in the terminal's own style."""
    pieces = SGR.split(frame)
    now = then = ""
    out: list[str] = []
    for at, piece in enumerate(pieces):
        if at % 2:
            then = after(then, piece)
        elif piece:
            if now != then and not (len(piece) <= LONGEST_MOVE and MOVES.match(piece)):
                out.append(change(now, then))
                now = then
            out.append(piece)
    out.append(change(now, ""))
    return "".join(out)
