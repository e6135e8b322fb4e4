"""The copies of ptys and of pipes for input that the core keeps, so that they outlive us.

Decides when the core is given them, when it is to close them, and what of a run of an earlier shim begins anew with
those it kept. The orders, the launch and the adoption call it; how descriptors travel is `rights`.
"""

from __future__ import annotations

import os
import stat
import struct

import rights
from inlets import Inlet
from terminals import KEPT, Terminal, nowhere

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adopted import Adopted
    from corelife import CoreLife
    from house import House

    Name = tuple[str, int]

_RECORD = struct.Struct("<QdII")  # of an index, as in `index`
_NAMES = 1 << 20  # bytes of names of those who write to one log
_RECORDS = 4096  # so many are looked at for the picture: a chunk each, so more than it shows


class Keepsakes:
    """Give the core copies, and take them back from the core of a shim that died."""

    def __init__(self, house: House, core: CoreLife) -> None:
        self._house = house
        self._core = core
        self._whose = 0
        self._given: set[Name] = set()
        self._brought: dict[Name, list[int]] = {}

    # -- to the core --------------------------------------------------------------------------------------------

    def give_all(self) -> None:
        """Give a core that was just greeted what it has not: another one has nothing yet."""
        if self._whose != self._core.pid:
            self._whose = self._core.pid
            self._given = set()
        for name in self._house.inlets:
            self._give(name)

    def opened(self, name: Name, inlet: Inlet) -> None:
        """Take in the inlet of a run that was just born, or found."""
        self._house.inlets[name] = inlet
        inlet.on_shut = lambda: self._shut(name)
        self._give(name)

    def _give(self, name: Name) -> None:
        if name in self._given:
            return
        if len(self._given) > 2 * len(self._house.inlets) + 64:
            self._given = {each for each in self._given if each in self._house.inlets}
        self._given.add(name)
        inlet = self._house.inlets[name]
        report = rights.frame_of(*name, "terminal" if inlet.terminal else "pipe")
        self._core.hand(report, lambda: self._fds(name))

    def _fds(self, name: Name) -> tuple[int, ...]:
        """Return what is to be copied at this moment; nothing if the run or its input has ended meanwhile."""
        inlet = self._house.inlets.get(name)
        if inlet is None or inlet.fd < 0:
            return ()
        run = self._house.runs.get(name)
        terminal = run.streams.get("out") if run is not None else None
        return terminal.pair if isinstance(terminal, Terminal) else (inlet.fd,)

    def _shut(self, name: Name) -> None:
        """Take in that a pipe was closed: while the core has a copy it has no end."""
        self._take_back(name)
        run = self._house.runs.get(name)
        if run is not None:
            self._house.amend(run, inlet="")

    def _take_back(self, name: Name) -> None:
        self._house.tell(rights.frame_of(*name, "none"))

    # -- from the core ------------------------------------------------------------------------------------------

    def bring(self, order: dict[str, Any]) -> None:
        """Take what the core kept of a run of the shim before us."""
        name, fds = (order["key"], int(order["run"])), order.get("fds") or []
        if fds:
            rights.close(self._brought.pop(name, ()))
            self._brought[name] = fds
            self._whose = self._core.pid
            self._given.add(name)

    def restore(self, run: Adopted, recipe: dict[str, Any]) -> None:
        """Go on with the terminal or the pipe of a run; note what of it is lost."""
        name = (run.key, run.run)
        kind, fds = recipe.get("inlet") or "", self._brought.pop(name, [])
        if len(fds) != rights.COUNTS.get(kind, 0):
            rights.close(fds)
            run.lost = kind
            if kind or fds:  # also where they did not come: a copy that the core keeps is never closed
                self._take_back(name)
        elif kind == "terminal":
            terminal = self._terminal(run, recipe["sinks"].get("out") or {}, (fds[0], fds[1]))
            run.streams["out"] = terminal
            self.opened(name, terminal.inlet)
        elif kind:
            self.opened(name, Inlet(self._house.loop, fds[0], terminal=False))

    def _terminal(self, run: Adopted, spec: dict[str, Any], pair: tuple[int, int]) -> Terminal:
        house = self._house
        logged = spec.get("kind") == "file" and spec.get("path") != "/dev/null"
        sink = house.sinks.attach(spec, later=True) if logged else nowhere(house.sinks)
        tag = spec.get("tag") or run.key
        terminal = Terminal(house, sink, (run.key, run.run), tag, pair)
        terminal.go_on(picture(spec, run.wall, tag) if logged else b"")
        return terminal

    def close_rest(self) -> None:
        """Close what belongs to no run that was found, and have the core do so."""
        for name, fds in self._brought.items():
            rights.close(fds)
            self._take_back(name)
        self._brought = {}


def picture(spec: dict[str, Any], since: float, tag: str) -> bytes:
    """Return the newest of what a log has of one run, which writes as `tag`: what was on the screen.

    Its index says what that is; what the log has beyond it was written right before the shim died. Nothing where
    others share the log (their lines mix), or where it was not written since the run began.
    """
    index = spec.get("index")
    if not index:
        return b""
    names = _tail(f"{index}.tags", _NAMES, 1).decode("utf-8", "surrogateescape").splitlines()
    start = known = 0
    mine, others = set(), set()
    for offset, wall, number, length in _RECORD.iter_unpack(_tail(index, _RECORDS * _RECORD.size, _RECORD.size)):
        writer = names[number] if number < len(names) else ""
        if wall < since:
            start = offset + length
            others.add(writer)
        else:
            mine.add(writer)
            start = start if known else offset
            known = offset + length
    if (mine or others or set(names)) - {tag}:
        return b""
    return _tail(spec["path"], KEPT, 1, start, since)


def _tail(path: str, most: int, unit: int, start: int = 0, since: float = 0.0) -> bytes:
    """Return the last bytes of a regular file from `start` on, whole units of them; nothing if it cannot be read.

    Nor if it was not written `since` then. Nothing that a damaged index says may do any harm here.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        entry = os.fstat(fd)
        if not stat.S_ISREG(entry.st_mode) or entry.st_mtime < since:
            return b""
        size = entry.st_size // unit * unit
        begin = min(max(start, size - most), size)
        return os.pread(fd, size - begin, begin)
    except OSError:
        return b""
    finally:
        os.close(fd)
