"""Output files, streams, terminals and inputs as data, and back: what of them a shim of another version goes on with.

Decides field by field what is kept and what is made anew (an output file is opened again by its next byte). Bytes
that were read and not yet written are part of it. `state` calls it, before an exec and after.
"""

from __future__ import annotations

import binascii

import terminals
from inlets import Inlet
from sinks import Sink
from streams import Stream
from terminals import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from house import House
    from loop import Timer
    from sinks import Sinks

    Held = dict[str, Any]

SINK = ("users", "shared", "splices", "block", "_maxsize", "_keep", "_uid", "_gid", "_rotate_after", "left_at")
SINKS = ("watched", "_said_small")
TIMES = ("_kept", "_after")
LOSSES = ("on", "_bytes", "_errno", "_told", "_wait", "_ended")
STREAM = ("_big", "_over")
TERMINAL = ("total", "_told", "_told_at", "_attended")
INLET = ("_ends",)

_SOON = 0.004  # seconds until what a terminal had to tell late is told


def take(thing: object, names: Iterable[str]) -> Held:
    """Return these attributes as data."""
    return {name.lstrip("_"): getattr(thing, name) for name in names}


def give(thing: object, names: Iterable[str], held: Held) -> None:
    """Set these attributes; what an older state does not have stays as it was made."""
    for name in names:
        if name.lstrip("_") in held:
            setattr(thing, name, held[name.lstrip("_")])


def text(data: bytes | bytearray) -> str:
    """Return bytes as they stand in the state."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def raw(held: str) -> bytes:
    """Return the bytes that stand in the state."""
    return binascii.a2b_base64(held)


def due(timer: Timer | None) -> float | None:
    """Return the instant (CLOCK_MONOTONIC, which an exec does not touch) of a timer that is set."""
    return timer.at if timer is not None and timer.action is not None else None


# Output -----------------------------------------------------------------------------------------------------------


class Pack:
    """Turn what the sinks hold into data: streams by number, so that others can speak of them."""

    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks
        self._streams = sorted(sinks.streams, key=lambda each: each.fd)
        self._numbers = {id(stream): number for number, stream in enumerate(self._streams)}

    def number(self, stream: Stream) -> int:
        """Return which one it is; -1 for one that is closed already."""
        return self._numbers.get(id(stream), -1)

    def data(self) -> Held:
        """Return all of it."""
        sinks = self._sinks
        paths = [sink.path for sink in _all(sinks)]
        return {
            "sinks": [self._sink(sink) for sink in _all(sinks)],
            "streams": [self._stream(stream, paths) for stream in self._streams],
            "fifos": {path: self.number(stream) for path, stream in sinks.fifos.items()},
            "all": take(sinks, SINKS),
            "troubles": sinks.troubles.listed(),
            "due": dict(sinks._due),
        }

    def _sink(self, sink: Sink) -> Held:
        losses = sink._losses
        held = {**take(sink, SINK), "path": sink.path, "index": sink._times.path, "times": take(sink._times, TIMES)}
        held["blocked"] = [self.number(stream) for stream in sink.blocked]
        held["losses"] = {**take(losses, LOSSES), "again": due(losses._timer)}
        return held

    def _stream(self, stream: Stream, paths: list[str]) -> Held:
        nowhere = isinstance(stream.sink, terminals.Nowhere)
        held = {**take(stream, STREAM), "fd": stream.fd, "path": stream.path, "tag": stream.tag}
        held["sink"] = -1 if nowhere else paths.index(stream.sink.path)
        held |= {"carry": text(stream._carry), "waiting": stream._waiting}
        if isinstance(stream, Terminal):
            held |= {**take(stream, TERMINAL), "from": stream._from, "slave": stream._slave}
            held |= {"size": stream.size, "tail": text(stream._tail), "inlet": inlet(stream.inlet)}
            held |= {"late": due(stream._timer), "nudge": due(stream._nudge)}
        return held


def _all(sinks: Sinks) -> list[Sink]:
    found: dict[str, Sink] = sinks._sinks
    return list(found.values())


def unpack(house: House, held: Held) -> list[Stream]:
    """Bring sinks and streams back, as they were; return the streams in the order of their numbers."""
    sinks = house.sinks
    made = [_sink(sinks, each) for each in held["sinks"]]
    sinks._sinks.update({sink.path: sink for sink in made})
    streams = [_stream(house, each, made) for each in held["streams"]]
    sinks.fifos = {path: streams[number] for path, number in held["fifos"].items() if number >= 0}
    for sink, each in zip(made, held["sinks"], strict=True):
        sink.blocked = [streams[number] for number in each["blocked"] if number >= 0]
    for stream, each in zip(streams, held["streams"], strict=True):
        if each["waiting"]:
            stream.begin()
    give(sinks, SINKS, held["all"])
    sinks.troubles.bring_back(held.get("troubles", ()))
    sinks._due.update(held["due"])
    for path in held["due"]:
        house.loop.after(0, _late(sinks, path))
    return streams


def _late(sinks: Sinks, path: str) -> Callable[[], None]:
    tell: Callable[[str], None] = sinks._grew_late
    return lambda: tell(path)


def _sink(sinks: Sinks, held: Held) -> Sink:
    sink = Sink(held["path"], sinks)
    give(sink, SINK, held)
    sink._times.keep_in(held["index"])
    give(sink._times, TIMES, held.get("times", {}))
    losses = sink._losses
    give(losses, LOSSES, held["losses"])
    again = held["losses"].get("again")
    if again is not None:
        losses._timer = sinks.loop.at(again, lambda: losses._try(sink.ready))
    return sink


def _stream(house: House, held: Held, sinks: list[Sink]) -> Stream:
    sink = sinks[held["sink"]] if held["sink"] >= 0 else terminals.nowhere(house.sinks)
    if "slave" in held:
        stream: Stream = _terminal(house, held, sink)
    else:
        stream = Stream(house.loop, house.sinks, sink, held["tag"], held["path"], held["fd"])
    give(stream, STREAM, held)
    stream._carry = raw(held["carry"])
    return stream


def _terminal(house: House, held: Held, sink: Sink) -> Terminal:
    key, run = held["from"]
    stream = Terminal(house, sink, (key, run), held["tag"], (held["fd"], held["slave"]))
    give(stream, TERMINAL, held)
    stream._size = tuple(held["size"])
    stream._tail.extend(raw(held["tail"]))
    if held["late"] is not None:
        stream._timer = house.loop.after(_SOON, stream._tell_late)
    if held["nudge"] is not None:
        stream._nudge = house.loop.at(held["nudge"], stream._settle)
    refill(stream.inlet, held["inlet"])
    return stream


# Input ------------------------------------------------------------------------------------------------------------


def inlet(each: Inlet) -> Held:
    """Return an inlet as data."""
    return {**take(each, INLET), "fd": each._fd, "queue": text(each._queue)}


def refill(each: Inlet, held: Held) -> None:
    """Bring back what waits to be typed."""
    give(each, INLET, held)
    each._queue.extend(raw(held["queue"]))
    if held["fd"] < 0:
        each._fd = -1
    elif held["queue"]:
        each._wait()


def inlet_of(house: House, held: Held) -> Inlet:
    """Return the inlet of a pipe."""
    made = Inlet(house.loop, held["fd"], terminal=False)
    refill(made, held)
    return made
