"""Serve output: pages of lines, and word that a file grew, to those who asked.

Decides which files a process's output is in and which of them the shim is to watch; reading is `logs/`, a twentieth of
a second at a time. Rotated parts are compressed and expired here, because the shim never does more than it must.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from taskmaster_core import wire
from taskmaster_core.errors import UsageError
from taskmaster_core.logs import find as finder
from taskmaster_core.logs.archive import compress_part
from taskmaster_core.logs.parts import Listing, expire
from taskmaster_core.logs.query import Page, Query, Source, around, as_place, back, page
from taskmaster_core.ops import Ops, arg
from taskmaster_core.orders import sources_in
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Asked
from taskmaster_core.spec import Key, LogSpec
from taskmaster_core.steady import Steady
from taskmaster_core.wire import Cause

MAX_PAGE = 4 << 20
"""Bytes of output in one reply at most; the rest is had with the cursor."""

TOPIC = "log."

SOON = 0.2
"""Seconds from a change of the processes to another look at their files: a start of many is one."""


class LogOps:
    """Hold which files the shim watches, and for whom."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._watched: dict[str, list[tuple[Key, str]]] = {}
        self._due = False
        runtime.publisher.on_moved = self._moved

    def _moved(self) -> None:
        """Look again at what is to be watched, soon and once for many: processes have come, or write elsewhere now."""
        if not self._due and self._anybody():
            self._due = True
            self._runtime.timers.at(self._runtime.now() + SOON, self._look_again)

    def _look_again(self) -> None:
        self._due = False
        self.topics_changed()

    def _anybody(self) -> bool:
        server = self._runtime.server
        return server is not None and any(topic.startswith(TOPIC) for topic in server.topics)

    def topics_changed(self) -> None:
        """Watch the files somebody subscribed to, and no others."""
        server = self._runtime.server
        wanted: dict[str, list[tuple[Key, str]]] = {}
        for key in self._runtime.supervisor.procs if self._anybody() else ():
            if server is not None and server.wanted(f"{TOPIC}{key}"):
                for stream, sink in self._runtime.files_of(key).items():
                    wanted.setdefault(sink["path"], []).append((key, stream))
        for path in wanted.keys() - self._watched.keys():
            self._runtime.order({"t": "watch", "path": path, "on": True})
        for path in self._watched.keys() - wanted.keys():
            self._runtime.order({"t": "watch", "path": path, "on": False})
        self._watched = wanted

    def watch_again(self) -> None:
        """Tell a new shim which files it is to watch."""
        for path in self._watched:
            self._runtime.order({"t": "watch", "path": path, "on": True})

    def grew(self, path: str, size: object) -> None:
        """Tell those who subscribed that a file grew."""
        server = self._runtime.server
        if server is None:
            return
        for key, stream in self._watched.get(path, ()):
            told = {"key": str(key), "stream": stream, "path": path, "size": size}
            server.publish(f"{TOPIC}{key}", wire.encode(told))

    def rotated(self, path: str, part: str) -> None:
        """Compress a part and drop those that are too old, beside the loop."""
        keep = self._logspec(path)
        if keep is not None and (keep.compress or keep.maxage is not None):  # else a flood wakes the worker for nothing
            self._runtime.worker.submit(partial(_tidy, path, part, keep), self._tidied)

    def _tidied(self, _: object, failure: BaseException | None) -> None:
        if failure is not None:
            self._runtime.fact("log_trouble", Cause("core"), text=f"a rotated part was not compressed: {failure}")

    def _logspec(self, path: str) -> LogSpec | None:
        """Return how the file is kept, None if no process writes it any more."""
        for key, proc in self._runtime.supervisor.procs.items():
            if any(sink["path"] == path for sink in self._runtime.files_of(key).values()):
                managed = path.startswith(self._runtime.facts.setting.places.logs + "/")
                return proc.spec.log if managed else proc.spec.filelog
        return None


def _tidy(path: str, part: str, keep: LogSpec) -> None:
    if keep.compress:
        try:
            compress_part(part)
        except FileNotFoundError:
            return  # the shim has dropped it already: `keep` parts had come after it
    if keep.maxage is not None:
        expire(Listing().files(path, None), keep.maxage, _clock.now())


_clock = Steady()


# Operation --------------------------------------------------------------------------------------------------------


def logs(ops: Ops, asked: Asked) -> None:
    """Answer with a page of lines, and their bytes in a second frame."""
    cursor = arg(asked, "cursor", dict)
    limit = max(1_024, min(arg(asked, "limit", int, default=1 << 20), MAX_PAGE))
    query = _query(ops, asked)
    place = arg(asked, "around", dict)
    if not query.sources:
        _send(ops, asked, Page((), cursor or {}, more=False, begin=cursor or {}, end=cursor or {}, start=True))
        return
    # here and not in a thread: a hopeless expression holds the interpreter, and only the main thread can be interrupted
    if place is not None:
        _send(ops, asked, around(query, as_place(place), max_bytes=limit))
    elif arg(asked, "back", bool, default=False):
        _send(ops, asked, back(query, cursor, max_bytes=limit))
    else:
        _send(ops, asked, page(query, cursor, max_bytes=limit))


def find(ops: Ops, asked: Asked) -> None:
    """Answer with the places of lines that match, or with how many lines there are; no text."""
    cursor, query = arg(asked, "cursor", dict), _query(ops, asked)
    if arg(asked, "count", bool, default=False):
        found = finder.count(query, cursor)
    elif query.pattern:
        found = finder.find(query, cursor, back=arg(asked, "back", bool, default=True))
    else:
        raise UsageError("what is to be found? `pattern` is missing")
    said = {
        "places": [[e.at, e.tag, e.stream, e.offset] for e in found.lines], "cursor": found.cursor, "more": found.more,
        "scanned": found.scanned, "total": found.total, "lines": found.count, "problems": found.problems,
    }  # fmt: skip
    ops.runtime.reply(asked, said, keep=False)


def _query(ops: Ops, asked: Asked) -> Query:
    wanted = arg(asked, "streams", list, default=["out", "err"])
    return Query(
        sources=_sources(ops, asked, wanted),
        n=arg(asked, "n", int),
        since=arg(asked, "since", (int, float)),
        until=arg(asked, "until", (int, float)),
        pattern=arg(asked, "pattern", str),
        ignorecase=arg(asked, "ignorecase", bool, default=False),
        most=arg(asked, "most", int),
        follow=arg(asked, "follow", bool, default=False),
        partial=arg(asked, "partial", bool, default=False),
    )


def _sources(ops: Ops, asked: Asked, wanted: Sequence[str]) -> tuple[Source, ...]:
    keys = ops.keys(asked, acting=False)
    if len(_named) > 2 * len(ops.runtime.supervisor.procs) + len(keys):
        _named.clear()  # of processes that are gone
    return tuple(each for key in keys for each in _sources_of(ops.runtime, key) if each.stream in wanted)


_named: dict[Key, tuple[object, tuple[Source, ...]]] = {}
"""The sources of each process, made from these files: a follower asks for those of a thousand again and again."""


def _sources_of(runtime: Runtime, key: Key) -> tuple[Source, ...]:
    files = runtime.files_of(key)
    known = _named.get(key)
    if known is not None and known[0] is files:  # each run has its own
        return known[1]
    found = tuple(
        Source(file["path"], file["index"], file["tag"], str(key), stream)
        for stream, file in sources_in(files, key).items()
    )
    _named[key] = (files, found)
    return found


def _send(ops: Ops, asked: Asked, found: Page) -> None:
    lines = [[e.at, e.tag, e.stream, e.offset, e.cut, len(e.data), e.note, e.cont] for e in found.lines]
    said: Mapping[str, Any] = {
        "lines": lines, "cursor": found.cursor, "more": found.more, "held": found.held, "problems": found.problems,
        "matches": len(lines), "begin": found.begin, "end": found.end, "before": found.before, "total": found.total,
        "start": found.start,
    }  # fmt: skip
    raw = b"".join(each.data for each in found.lines)
    if ops.runtime.server is not None:
        ops.runtime.server.answer(asked, said, raw, keep=False)
