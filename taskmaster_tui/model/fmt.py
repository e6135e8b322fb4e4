"""Write numbers, times and foreign text so that they fit: short, of a known width, harmless.

Decides nothing beyond that; whatever comes in (negative, huge, not a number) something of the width comes out. Every
cell, card and header is made with it. Instants are Unix seconds, sizes bytes, `cpu` percent of one core.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from math import isfinite

from taskmaster_core.logs.sanitize import clean

DASH = "–"  # noqa: RUF001  # the dash of "nothing", wider than a minus

# `clean` keeps them, logs have them; in a cell directions turn the rest of the line around, and what joins or varies
# characters has another width in each terminal
_AWKWARD = re.compile("[\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]|[\U000e0000-\U000e0fff]")

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 31_557_600
_AGE_MAX = 99_999 * _DAY


def plain(text: str) -> str:
    """Return foreign text as one harmless line; square brackets and the like stay what they are."""
    if text.isprintable():
        return text if text.isascii() else _AWKWARD.sub("", text)
    return _AWKWARD.sub("", " ".join(clean(text.replace("\r", " ")).split()))  # not a progress bar: all of it counts


def age(seconds: float) -> str:
    """Return a span in at most six cells: `3s`, `12m05s`, `6h12m`, `2d04h`, `400d`, `300y`."""
    if not isfinite(seconds):
        return DASH
    whole = min(max(int(seconds), 0), _AGE_MAX)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    days = whole // _DAY
    return f"{days}d{whole % _DAY // _HOUR:02}h" if days < 100 else f"{days}d"


def brief(seconds: float) -> str:
    """Return a span in at most three cells, in its largest unit: `41s`, `12m`, `17h`, `99d`, `14w`, `68y`."""
    if not isfinite(seconds):
        return DASH
    whole = max(int(seconds), 0)
    for unit, each, limit in (("s", 1, 60), ("m", 60, 60), ("h", _HOUR, 24), ("d", _DAY, 100), ("w", 7 * _DAY, 100)):
        if whole < each * limit:
            return f"{whole // each}{unit}"
    return f"{min(whole // _YEAR, 99)}y"


def ago(seconds: float) -> str:
    """Return how long something is past, in at most seven cells: `41s ago`."""
    return f"{brief(seconds)} ago"


def span(seconds: float) -> str:
    """Return a span for a sentence: `0.9 s`, `8 s`, `12 min 5 s`, `2 d 4 h`."""
    if not isfinite(seconds):
        return "?"
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for name, size, small_name, small in (("d", _DAY, "h", _HOUR), ("h", _HOUR, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def size(count_: float | None) -> str:
    """Return bytes in at most four cells: `0B`, `22M`, `310M`, `1.2G`."""
    if count_ is None or not isfinite(count_):
        return DASH
    value = max(count_, 0.0)
    for unit in "BKMGTPE":
        if value < 9.95 and unit not in "BK":
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
        value /= 1024
    return "999E"


def percent(value: float | None) -> str:
    """Return a percentage in at most four cells: `0%`, `38%`, `212%`, `12k%`."""
    if value is None or not isfinite(value):
        return DASH
    whole = round(max(value, 0.0))
    return f"{whole}%" if whole < 1000 else f"{min(whole // 1000, 99)}k%"


def count(n: int) -> str:
    """Return a number with its thousands parted: `1,204`."""
    return f"{n:,}"


def short(n: int) -> str:
    """Return a count in at most three cells: `0`, `999`, `12k`, `.4M`, `2G`."""
    value = max(n, 0)
    if value < 1000:
        return str(value)
    for unit in "kMGTPE":
        if value < 100_000:
            return f"{value // 1000}{unit}"
        if value < 1_000_000:
            return f".{value // 100_000}{'MGTPEZ'['kMGTPE'.index(unit)]}"
        value //= 1000
    return "99E"


def clock(at: float, zone: tzinfo | None = None) -> str:
    """Return the time of day, `12:04:12`; in the machine's own zone unless another is named."""
    moment = _moment(at, zone)
    return f"{moment:%H:%M:%S}" if moment else "--:--:--"


def stamp(at: float, zone: tzinfo | None = None) -> str:
    """Return date and time: `2026-11-23 12:04:12`."""
    moment = _moment(at, zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "----------"


def when(at: float, now: float, zone: tzinfo | None = None) -> str:
    """Return the time of day, with the date if that is not today's."""
    return clock(at, zone) if stamp(at, zone)[:10] == stamp(now, zone)[:10] else stamp(at, zone)


def lately(at: float, now: float, zone: tzinfo | None = None) -> str:
    """Return the time of day; of another day its date and minute: `11-24 12:04`."""
    return clock(at, zone) if stamp(at, zone)[:10] == stamp(now, zone)[:10] else stamp(at, zone)[5:16]


def hour_minute(at: float, zone: tzinfo | None = None) -> str:
    """Return the time of day without seconds: `03:00`."""
    return clock(at, zone)[:5]


def _moment(at: float, zone: tzinfo | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(at, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):  # not a number, or no year that has a name
        return None


def cut(text: str, width: int) -> str:
    """Return the text, with `…` at its end where it is longer than `width` characters."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"[:width]


def plural(n: int, word: str, many: str = "") -> str:
    """Return `1 process`, `4 processes`."""
    return f"{count(n)} {word if n == 1 else many or word + 's'}"
