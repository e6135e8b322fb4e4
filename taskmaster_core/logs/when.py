"""Points in time as people write them, turned into Unix seconds.

Decides what "10m", "10:00" and "yesterday" mean for a given now and the local time zone. Reads no clock itself.
The CLI calls it for --since and --until.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from taskmaster_core.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|[smhdw])\s*")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d{1,6})?))?")
_UNIX = re.compile(r"@(\d+(?:\.\d+)?)")
_HELP = 'write "10m", "2h30m", "10:00", "2026-11-23T10:00:00", "yesterday" or "@1700000000"'


def parse_when(text: str, now: float) -> float:
    """Return the Unix time that `text` means at `now`; raise UsageError for what means nothing.

    Spans count backwards. A time of day is its latest occurrence that is not in the future.
    """
    asked = text.strip()
    for reading in (_word, _unix, _span, _clock, _date):
        at = reading(asked, now)
        if at is not None:
            return at
    raise UsageError(f"not a point in time: {text!r}", _HELP)


def _midnight(now: float) -> datetime:
    """Return the start of the local day without a zone: its arithmetic then follows the clock on the wall."""
    local = datetime.fromtimestamp(now, UTC).astimezone().replace(tzinfo=None)
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _word(text: str, now: float) -> float | None:
    midnight = _midnight(now)
    match text.lower():
        case "now":
            return now
        case "today":
            return midnight.timestamp()
        case "yesterday":
            return (midnight - timedelta(days=1)).timestamp()
        case _:
            return None


def _unix(text: str, now: float) -> float | None:
    found = _UNIX.fullmatch(text)
    return float(found[1]) if found else None


def _span(text: str, now: float) -> float | None:
    bare = text.removesuffix("ago").strip()
    if not bare or _SPAN.sub("", bare):
        return None
    return now - sum(float(amount) * _UNITS[unit] for amount, unit in _SPAN.findall(bare))


def _clock(text: str, now: float) -> float | None:
    found = _CLOCK.fullmatch(text)
    if not found:
        return None
    second = float(found[3] or 0)
    hour, minute = int(found[1]), int(found[2])
    if hour > 23 or minute > 59 or second >= 60:
        raise UsageError(f"no such time of day: {text!r}", "hours go to 23, minutes and seconds to 59")
    midnight = _midnight(now)
    at = midnight.replace(hour=hour, minute=minute) + timedelta(seconds=second)
    return (at if at.timestamp() <= now else at - timedelta(days=1)).timestamp()


def _date(text: str, now: float) -> float | None:
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"not a date: {text!r} ({error})", _HELP) from None
