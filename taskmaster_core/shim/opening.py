"""The `open` order: directories, the instance lock, and what an earlier shim left running.

Decides whether this instance may be ours; answers `hello` or `refused` through the callbacks it is given. It waits
with timers, so the loop goes on meanwhile. The orders call it once.
"""

from __future__ import annotations

import fcntl
import os

import cgroups
import paths
from leftovers import Leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from adopted import Adopted
    from house import House

_TRIES, _PAUSE = 20, 0.05  # for one second: the shim before us may just be ending


class Opening:
    """Open one instance."""

    def __init__(self, house: House, order: dict[str, Any], *, use_cgroups: bool) -> None:
        self.house = house
        self.places = paths.Places(order["instance"], order["statedir"], order["rundir"])
        self._socketgroup: int | None = order.get("socketgroup")
        self._use_cgroups = use_cgroups
        self._left = _TRIES
        self._fd = -1
        self.done: Callable[[], None] = lambda: None
        self.refuse: Callable[[str, str, int], None] = lambda *_: None

    def begin(self) -> None:
        """Check the directories and go for the lock."""
        try:
            self.places.prepare(self._socketgroup)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self.places.lock, flags, 0o600)
        except paths.Refused as refusal:
            self.refuse(str(refusal), refusal.remedy, refusal.code)
            return
        except OSError as error:
            self.refuse(f"cannot open {self.places.lock}: {error.strerror}", "", 7)
            return
        self._try_lock()

    def _try_lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._left -= 1
            if self._left:
                self.house.loop.after(_PAUSE, self._try_lock)
            else:
                self._refuse_locked()
            return
        try:
            os.ftruncate(self._fd, os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0))
        except OSError as error:  # no room: the lock holds all the same, only who has it cannot be told
            self.house.sinks.complain(f"{self.places.lock} cannot be written: {error.strerror}")
        self._clean_up()

    def _refuse_locked(self) -> None:
        holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
        os.close(self._fd)
        self.refuse(
            f"the instance {self.places.instance!r} is running already (pid {holder or 'unknown'})",
            "talk to that one, or choose another --instance",
            7,
        )

    def _clean_up(self) -> None:
        self.house.places = self.places
        self.house.sinks.owns = self.places.owns
        leftovers = Leftovers(self.house, self.places)
        leftovers.done = lambda: self._finish(leftovers.adopted)
        try:
            leftovers.begin()
        except OSError as error:
            self.refuse(f"cannot look through {self.places.runs}: {error}", "remove what does not belong there", 7)

    def _finish(self, adopted: list[Adopted]) -> None:
        self.places.sweep_fifos(self.house.sinks.fifos)
        if self._use_cgroups:
            state = f"{paths.checksum(os.path.realpath(self.places.statedir)):08x}"
            self.house.groves = cgroups.find(f"taskmaster-{paths.encode(self.places.instance)}-{state}")
        self.done()
        for run in adopted:  # after `hello`, which names them: what ended while nobody looked is told now
            self.house.loop.after(0, run.begin)
