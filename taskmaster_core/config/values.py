"""What a single value may be: durations, sizes, signals, names, umasks and numbers with their bounds.

Each function takes what TOML gave and returns what the spec holds, or raises Invalid with a message, a remedy and a
code. Knows neither files nor other keys; the file model wraps these functions, the tests call them bare.
"""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from taskmaster_core.config.foreign import nearest

Path = tuple[str | int, ...]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365 * DAY


class Invalid(ValueError):
    """Say what is wrong with a value, what to write instead, and (`path`) which part of it is meant."""

    def __init__(self, message: str, advice: str = "", code: str = "E203", path: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.help = advice
        self.code = code
        self.path = path

    def below(self, part: str | int) -> Invalid:
        """Return the same as seen from the value around it."""
        return Invalid(self.message, self.help, self.code, (part, *self.path))


class Several(ValueError):
    """Carry all that is wrong with a list."""

    def __init__(self, invalids: list[Invalid]) -> None:
        super().__init__(f"{len(invalids)} problems")
        self.invalids = invalids


def kind(value: Any) -> str:
    """Return the name of a TOML value's type, with its article."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")


def wrong_type(value: Any, wanted: str, advice: str = "") -> Invalid:
    """Return the error for a value of another type."""
    return Invalid(f"expected {wanted}, found {kind(value)}", advice, "E201")


def each(values: Iterable[Any], read: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Read every member of a list; raise Several with all that is wrong."""
    results: list[Any] = []
    invalids: list[Invalid] = []
    for index, value in enumerate(values):
        try:
            results.append(read(value))
        except Invalid as error:
            invalids.append(error.below(index))
        except Several as errors:
            invalids += [error.below(index) for error in errors.invalids]
    if invalids:
        raise Several(invalids)
    return tuple(results)


def text(value: Any) -> str:
    """Read a string that can be passed to a process."""
    if not isinstance(value, str):
        raise wrong_type(value, "a string", _quoted(value))
    if "\0" in value:
        raise Invalid("a NUL character cannot be passed to a process")
    return value


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return f'write "{str(value).lower()}"'
    return f'write "{_shown(value)}"' if isinstance(value, int | float) else ""


def boolean(value: Any) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else value
    meant = next((ours for ours, words in _TRUTH.items() if word in words), "")
    raise wrong_type(value, "true or false", f"write {meant}" if meant else "")


_TRUTH: dict[str, list[Any]] = {"true": ["true", "yes", "on", "1", 1], "false": ["false", "no", "off", "0", 0]}


def integer(low: int, high: int, hint: str = "") -> Callable[[Any], int]:
    """Make a reader of whole numbers from `low` to `high`."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, "an integer", _number_in(value))
        if not low <= value <= high:
            raise Invalid(f"{_shown(value)} is out of range: {low} to {high}", hint, "E202")
        return value

    return read


def _shown(value: float) -> str:
    written = str(value) if not isinstance(value, int) or value.bit_length() < 200 else "the number"
    return written if len(written) <= 30 else "the number"


def _number_in(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value.strip()):
        return f"write {int(value)} without quotes"
    return f"write {int(value)}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else ""


def number(low: float, high: float) -> Callable[[Any], float]:
    """Make a reader of finite numbers from `low` to `high`."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, "a number")
        return _in_range(value, low, high, f"{low:g} to {high:g}")

    return read


def _in_range(value: float, low: float, high: float, bounds: str) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{value} is not a finite number: {bounds}", "", "E202")
    if not low <= value <= high:
        raise Invalid(f"{_shown(value)} is out of range: {bounds}", "", "E202")
    return float(value)


_UNITS = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"(?:\d{1,15}(?:\.\d{1,9})?(?:ms|[smhdw]))+", re.ASCII)
_PART = re.compile(r"([\d.]+)(ms|[smhdw])", re.ASCII)


def duration(low: float, high: float) -> Callable[[Any], float]:
    """Make a reader of durations: seconds, or text like "1m30s"; bounds in seconds."""
    bounds = f"{spell(low)} to {spell(high)}"

    def read(value: Any) -> float:
        if isinstance(value, str):
            return _in_range(seconds(value), low, high, bounds)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(value, "a duration", 'write seconds, or "500ms", "1m30s", "24h"')
        return _in_range(value, low, high, bounds)

    return read


def seconds(value: str) -> float:
    """Return the seconds of a duration in words."""
    if _DURATION.fullmatch(value) is None:
        example = f'write {value} or "{value}s"' if re.fullmatch(r"\d{1,9}", value, re.ASCII) else ""
        raise Invalid(f'"{value[:40]}" is not a duration', example or 'write seconds, or "500ms", "1m30s", "24h"')
    return sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(value))


def spell(value: float) -> str:
    """Return a duration in the largest unit that leaves a whole number."""
    for unit in ("d", "h", "m", "s"):
        if value and value % _UNITS[unit] == 0:
            return f"{int(value / _UNITS[unit])}{unit}"
    return f"{value:g}s"


_BYTES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([a-zA-Z]{1,3})", re.ASCII)


def size(low: int, high: int) -> Callable[[Any], int]:
    """Make a reader of sizes: bytes, or text like "10MB" (10⁶) and "64MiB" (2²⁰); bounds in bytes."""

    def read(value: Any) -> int:
        if isinstance(value, str):
            value = _bytes(value)
        elif isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, "a size", 'write bytes, or "10MB", "64MiB"')
        if not low <= value <= high:
            raise Invalid(f"{_shown(value)} bytes is out of range: {low} to {high}", "", "E202")
        return int(value)

    return read


def _bytes(value: str) -> int:
    found = _SIZE.fullmatch(value)
    if found is None or found[2].upper() not in _BYTES:
        letter = found[2].upper() if found else ""
        advice = (
            f'write "{found[1]}{letter}B" or "{found[1]}{letter}iB"' if found and letter in "KMGT" and letter else ""
        )
        raise Invalid(f'"{value[:40]}" is not a size', advice or 'write bytes, or "10MB", "64MiB"')
    return int(float(found[1]) * _BYTES[found[2].upper()])


def choice(*allowed: str, also: dict[str, str] | None = None) -> Callable[[Any], str]:
    """Make a reader of one of some words; `also` says what words of other programs are called here."""

    def read(value: Any) -> str:
        words = ", ".join(f'"{word}"' for word in allowed)
        ours = (also or {}).get(str(value).lower()) if isinstance(value, str | bool) else None
        if not isinstance(value, str):
            raise wrong_type(value, f"one of {words}", f'write "{ours}"' if ours else "")
        if value in allowed:
            return value
        ours = ours or nearest(value, allowed)
        raise Invalid(f'"{value[:40]}" is none of {words}', f'did you mean "{ours}"?' if ours else "")

    return read


SIGNALS = {member.name.removeprefix("SIG"): int(member) for member in signal.Signals}
_REALTIME = re.compile(r"RT(MIN|MAX)(?:([+-])(\d{1,2}))?", re.ASCII)


def signum(value: Any) -> int:
    """Read a signal by name, with or without SIG, or by number; return the number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise wrong_type(value, "a signal", 'write its name, "TERM", or its number')
    if isinstance(value, int):
        if value in signal.valid_signals():
            return value
        raise Invalid(f"there is no signal {_shown(value)}", "", "E206")
    name = value.upper().removeprefix("SIG")
    found = SIGNALS.get(name) or _realtime(name)
    if found is None:
        close = nearest(name, SIGNALS)
        raise Invalid(f'unknown signal "{value[:40]}"', f'did you mean "{close}"?' if close else "", "E206")
    return found


def _realtime(name: str) -> int | None:
    found = _REALTIME.fullmatch(name)
    if found is None:
        return None
    base = int(signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX)
    number = base + int(f"{found[2] or '+'}{found[3] or 0}")
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None


def signal_name(number: int) -> str:
    """Return a signal's name with SIG; real-time signals between the two ends are counted from SIGRTMIN."""
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return signal.Signals(number).name


def exitcode(value: Any) -> int | str:
    """Read an expected end: an exit code, or a signal's name."""
    if isinstance(value, str):
        if value.strip().isdecimal():
            raise wrong_type(value, "an exit code or a signal's name", f"write {value.strip()[:20]} without quotes")
        return signal_name(signum(value))
    return integer(0, 255)(value)


def exitcodes(value: Any) -> tuple[int | str, ...]:
    """Read a list of expected ends, or one."""
    return each(value, exitcode) if isinstance(value, list) else (exitcode(value),)


LONGEST_NAME = 64
_FORBIDDEN = ":/@*?[]\\"
_LONGEST_FILE = 200  # of the 255 bytes a file name may have: the rest is for ".out", a time and ".gz"


def job_name(value: Any) -> str:
    """Read a job's name."""
    name = text(value)
    reason = _name_reason(name)
    if reason:
        raise Invalid(f"{clipped(name)} cannot be a job's name: {reason}", "", "E204")
    return name


def clipped(value: str) -> str:
    """Return a value in backquotes, short enough to be read."""
    return f"`{value}`" if len(value) <= 40 else f"`{value[:37]}…`"


def _name_reason(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > LONGEST_NAME:
        return f"it has {len(name)} characters, {LONGEST_NAME} are allowed"
    if not name.isprintable():
        return "it holds a character that cannot be printed"
    if name != name.strip():
        return "it begins or ends with a space"
    if name[0] in "-.!":
        return f"it begins with {name[0]}"
    bad = [char for char in name if char in _FORBIDDEN]
    if bad:
        return f"it holds {bad[0]} (not allowed: {' '.join(_FORBIDDEN)})"
    if name == "all":
        return "`all` selects every job"
    return "it is too long for a file name" if len(quote(name, safe="")) > _LONGEST_FILE else ""


def umask(value: Any) -> int:
    """Read an umask from text, octal; an integer is passed on, its spelling in the file decides (`umask_of`)."""
    if isinstance(value, str):
        found = re.fullmatch(r"(?:0o)?([0-7]{1,6})", value, re.ASCII)
        if found is None:
            raise Invalid(f'"{value[:40]}" is not an octal number', 'write 0o022 or "022"', "E205")
        return _mask(int(found[1], 8))
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(value, "an umask", 'write 0o022 or "022"')
    return value


def _mask(value: int) -> int:
    if value > 0o777:
        raise Invalid(f"an umask is at most 0o777, this is 0o{value:o}", "", "E205")
    return value


def umask_of(token: str) -> int:
    """Read an umask from an integer as it stands in the file (RELIABILITY C09): the spelling decides."""
    plain = token.replace("_", "")
    if re.fullmatch(r"0o[0-7]+", plain) or re.fullmatch(r"0[0-7]*|[0-7]", plain):
        return _mask(int(plain.removeprefix("0o"), 8))
    if not plain.isdecimal():
        raise Invalid(f"{token[:40]} is not an octal number", 'write 0o022 or "022"', "E205")
    raise Invalid(*_two_readings(plain), "E205")


def _two_readings(digits: str) -> tuple[str, str]:
    message = f"{digits[:20]} is a decimal number here, and an umask is octal"
    readings = []
    if len(digits) <= 3 and set(digits) <= set("01234567"):
        readings.append(f"0o{digits.zfill(3)} for the octal digits {digits}")
    if len(digits) <= 3 and int(digits) <= 0o777:
        readings.append(f"0o{int(digits):03o} for decimal {digits}")
    return message, f"write {', or '.join(readings)}" if readings else 'write 0o022 or "022"'


def variables(value: Any) -> dict[str, str]:
    """Read a table of environment variables."""
    if not isinstance(value, dict):
        raise wrong_type(value, "a table", 'write env = { NAME = "value" }')
    invalids = []
    for name, member in value.items():
        try:
            _variable(name, member)
        except Invalid as error:
            invalids.append(error.below(name))
    if invalids:
        raise Several(invalids)
    return dict(value)


def _variable(name: str, value: Any) -> None:
    if not name or "=" in name or "\0" in name:
        raise Invalid(f"{clipped(name)} cannot be a variable's name")
    text(value)


def _peer(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(integer(0, 2**32 - 2)(value))
    name = text(value)
    if not name.removeprefix("@") or set(name) & set(" :,"):
        raise Invalid(f"{clipped(name)} is no user and no group", 'write "deploy", 1001 or "@ops"')
    return name


def peers(value: Any) -> tuple[str, ...]:
    """Read a list of users, by name or number, and groups behind an @."""
    if not isinstance(value, list):
        raise wrong_type(value, "an array of users and groups", "put it into [ ]")
    return each(value, _peer)


_ADDRESS = re.compile(r"tcp://(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9_.*-]+):([0-9]{1,5})")


def address(value: Any) -> str:
    """Read where to listen: tcp://HOST:PORT, with room for the port after it."""
    found = _ADDRESS.fullmatch(text(value))
    if found is None or not 1 <= int(found[2]) <= 65_534:
        raise Invalid("no address to listen at", 'write "tcp://HOST:PORT"; events take the port after it')
    return str(value)
