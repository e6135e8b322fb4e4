"""Show what processes wrote: the last lines, a stretch of time, what matches, and what comes.

It decides how a line looks: prefix, time, colours, or the very bytes. Which lines they are, merged by time, is the
core's answer; the cursor it gives makes the next question go on where the last one ended.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from json import dumps
from typing import TYPE_CHECKING, Any, NamedTuple

from taskmaster_core.cli import clock
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import PALETTE, columns
from taskmaster_core.cli.pick import Picker
from taskmaster_core.errors import ExitStatus, UsageError
from taskmaster_core.logs.sanitize import clean, clean_line

if TYPE_CHECKING:
    from taskmaster_core.client import Message, Subscription

LINES = 100
"""So many lines are shown where nothing else limits them."""

PAGE = 1 << 20
"""Bytes of output asked for at a time."""

LOOK = 1.0
"""Seconds after which a follower looks whether it is still wanted; nothing is asked of the core for it."""

SOON = 0.1
"""Seconds until the core is asked again for what it could not read yet."""


class Line(NamedTuple):
    """Hold one line of a reply."""

    at: float | None
    key: str
    stream: str
    offset: int
    cut: bool
    data: bytes


def logs(call: Call) -> int:
    """Print the lines that were asked for, and with -f what comes."""
    args = _args(call)
    if call.options.follow:
        follow(call, call.selectors, args)
    printer = Printer(call, _keys(call, call.selectors))
    for line in _Reader(call, call.selectors, args).news():
        printer.show(line)
    return ExitStatus.DONE


def _args(call: Call) -> dict[str, Any]:
    options = call.options
    args: dict[str, Any] = {
        "since": None if options.since is None else clock.when(call, options.since),
        "until": None if options.until is None else clock.when(call, options.until),
        "pattern": options.grep,
        "n": options.lines,
        "raw": options.raw or None,
    }
    if options.stdout != options.stderr:
        args["streams"] = ["out" if options.stdout else "err"]
    if options.follow and options.until is not None:
        raise UsageError("--until and --follow exclude each other", "leave one of them out")
    if options.lines is None and options.since is None and options.until is None and options.grep is None:
        args["n"] = LINES
    return {name: value for name, value in args.items() if value is not None}


def _keys(call: Call, selectors: list[str]) -> list[str]:
    """Return the processes that are selected; raise NoSuchJob."""
    jobs = call.ask("status", selectors)["jobs"]
    return [process["key"] for job in jobs for process in job["processes"]]


class _Reader:
    """Ask for lines, page by page, each after the last."""

    def __init__(self, call: Call, selectors: list[str], args: dict[str, Any]) -> None:
        self._call = call
        self._selectors = selectors
        self._args = args
        self._cursor: Any = None
        self._told: set[str] = set()
        self.held = False
        """Whether something new is there that could not be read yet: ask again soon."""

    def news(self) -> Iterator[Line]:
        """Yield what there is and was not yielded before."""
        more = True
        while more:
            args = self._args if self._cursor is None else {**self._args, "cursor": self._cursor}
            answer, raw = self._call.ask_raw("logs", self._selectors, limit=PAGE, **args)
            self._cursor, more = answer["cursor"], answer["more"]
            self.held = answer.get("held", False)
            self._warn(answer.get("problems", ()))
            yield from _cut_up(answer["lines"], raw)

    def _warn(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                self._call.out.complain(clean(problem))


def _cut_up(rows: list[list[Any]], raw: bytes) -> Iterator[Line]:
    at = 0
    for when, key, stream, offset, cut, length, *_ in rows:
        yield Line(when, key, stream, offset, cut, raw[at : at + length])
        at += length


class Printer:
    """Print lines, each process in a colour of its own."""

    def __init__(self, call: Call, keys: list[str]) -> None:
        self._call = call
        self._out = call.out
        self._raw = getattr(call.options, "raw", False)
        self._times = getattr(call.options, "timestamps", False)
        self._colors = call.out.colored(call.out.stdout)
        self._prefixes: dict[str, str] = {}
        self._width = max((columns(key) for key in keys), default=0)
        self._several = len(keys) > 1
        self.bytes = sys.stdout.buffer if self._raw else None

    def show(self, line: Line) -> None:
        """Print one line."""
        if self.bytes is not None:
            self.bytes.write(line.data)
        elif self._call.options.json:
            self._out.say(dumps(self._document(line), ensure_ascii=not self._out.unicode))
        else:
            text = clean_line(line.data, colors=self._colors)
            self._out.say(f"{self._time(line)}{self._prefix(line.key)}{text}{'…' if line.cut else ''}")

    def flush(self) -> None:
        """Bring to the reader what was printed."""
        self._out.stdout.flush()

    @staticmethod
    def _document(line: Line) -> dict[str, Any]:
        text = line.data.decode("utf-8", "replace").removesuffix("\n")
        return {"at": line.at, "key": line.key, "stream": line.stream, "offset": line.offset, "text": text}

    def _time(self, line: Line) -> str:
        return self._out.paint(stamp(line.at), "dim") + " " if self._times else ""

    def _prefix(self, key: str) -> str:
        if not self._several:
            return ""
        if key not in self._prefixes:
            self._width = max(self._width, columns(key))
            bar = "│" if self._out.unicode else "|"
            padded = key + " " * (self._width - columns(key))
            self._prefixes[key] = self._out.paint(f"{padded} {bar}", PALETTE[len(self._prefixes) % len(PALETTE)]) + " "
        return self._prefixes[key]


def stamp(at: float | None) -> str:
    """Return the local date and time with milliseconds; dashes where it is not known."""
    if at is None:
        return "-" * 23
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03}"


# Follow --------------------------------------------------------------------------------------------------------------


def _forever() -> bool:
    return True


def follow(
    call: Call, selectors: list[str], args: dict[str, Any] | None = None, alive: Callable[[], bool] = _forever
) -> None:
    """Print what there is and what comes, until `alive` says no; raise NoCore when the core is gone for good."""
    asked = {"n": LINES} if args is None else args
    keys = _keys(call, selectors)
    printer = Printer(call, keys)
    reader = _Reader(call, selectors, {**asked, "follow": True})
    picker = Picker.of(call, selectors)
    # States tell of new processes. Beats come last: the first one proves that the core heard the other topics, so
    # what grew before it did must be asked for once more (twice: the shim hears of it a moment after the core).
    with call.client.subscribe((*map(_topic, keys), "state", "beat")) as heard:
        ears = _Ears(heard, picker, set(keys))
        while alive():
            for line in reader.news():
                printer.show(line)
            printer.flush()
            while not ears.wait(SOON if reader.held else LOOK) and alive() and not reader.held:
                pass


def _topic(key: str) -> str:
    return f"log.{key}"


class _Ears:
    """Listen for growing files and for new processes."""

    def __init__(self, heard: Subscription, picker: Picker, keys: set[str]) -> None:
        self._heard = heard
        self._picker = picker
        self._keys = keys
        self._boot = ""
        self._beats = 0
        self._grew = False

    def wait(self, seconds: float) -> bool:
        """Tell whether there may be more to read, after at most so many seconds."""
        self._grew = False
        message = self._heard.receive(seconds)
        if message is not None:
            self._take(message)
            self._heard.drain(self._take)
        return self._grew

    def _take(self, message: Message) -> None:
        if message.topic == "beat":
            self._beat(message.body["boot"])
        elif message.topic == "state":
            for process in message.body["processes"]:
                self._meet(process["key"])
        else:
            self._grew = True

    def _beat(self, boot: str) -> None:
        if boot != self._boot:
            self._boot, self._beats = boot, 0  # a new core: what grew while none was there was told to nobody
        self._beats += 1
        self._grew = self._grew or self._beats <= 2

    def _meet(self, key: str) -> None:
        if key not in self._keys and self._picker.picks(key):
            self._keys.add(key)
            self._heard.add(_topic(key))
            self._grew = True
