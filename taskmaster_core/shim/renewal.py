"""The renewal of the shim in place, and the trial of a new core: nothing ends before its successor has shown itself.

Decides whether a renewal may begin and what is told of it; the shim of the new version is rehearsed in a child with the
real state, then takes the place of this one by `execve`: same pid, same children, same descriptors. The orders ask for
it, the main loop carries it out between two turns.
"""

from __future__ import annotations

import json
import os
import sys
import time

import release
import state
import trial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from corelife import CoreLife
    from house import House
    from orders import Orders
    from shutdown import Shutdown

    Held = dict[str, Any]

_RECOVER = "TASKMASTER_RECOVER"


class Renewal:
    """Hold one renewal at a time."""

    def __init__(self, house: House, core: CoreLife, orders: Orders, shutdown: Shutdown) -> None:
        self._house = house
        self._core = core
        self._orders = orders
        self._shutdown = shutdown
        self._order: Held | None = None
        self._due = False
        self._told: Held = {}
        """What goes into the answer."""
        orders.also({"renew": self._ask})

    # -- the order ----------------------------------------------------------------------------------------------

    def _ask(self, order: Held) -> None:
        if self._order is not None and self._order["id"] == order["id"]:
            return  # asked again by the core that followed; the answer goes to that one
        why = self._obstacle()
        if why:
            self._core.say({"t": "renewed", "id": order["id"], "ok": False, "part": "", "why": why})
            return
        self._order = order
        self._told = {"shim": _about(os.getpid()), "runs": len(self._house.runs)}
        if order.get("shim"):
            self._try_shim()
        else:
            self._try_core()

    def _obstacle(self) -> str:
        if self._order is not None:
            return "another upgrade is under way"
        if self._shutdown.asked or not self._core.wanted:
            return "everything is being stopped"
        return "" if self._orders.opened else "nothing is open yet"

    def _answer(self, *, ok: bool, part: str = "", why: str = "") -> None:
        order, self._order = self._order or {}, None
        self._core.say({"t": "renewed", "id": order.get("id"), "ok": ok, "part": part, "why": why, **self._told})

    def _begin(self, done: Callable[[Held | None, str], None], part: str, start: Callable[[trial.Trial], None]) -> None:
        try:
            start(trial.Trial(self._house, done))
        except OSError as error:
            self._answer(ok=False, part=part, why=f"it cannot be tried: {error.strerror}")
        except Exception as error:  # a state that cannot be told: we go on, and another upgrade may be asked for
            self._answer(ok=False, part=part, why=f"it cannot be tried: {type(error).__name__}: {error}")

    # -- trials -------------------------------------------------------------------------------------------------

    def _try_shim(self) -> None:
        def start(each: trial.Trial) -> None:
            held = self._write()
            numbers = [number for number, _, _ in state.descriptors(held)]
            fd = trial.to_memory("taskmaster-rehearsal", held)
            try:
                words = trial.own_words("--selftest", str(fd))
                each.begin(words, _environment(), fd, descriptors=numbers)
            finally:
                os.close(fd)

        self._begin(self._shim_tried, "shim", start)

    def _shim_tried(self, answer: Held | None, why: str) -> None:
        wire = (self._order or {}).get("wire", 1)
        if answer is not None and answer["oldest_wire"] > wire:
            why = f"it serves cores from version {answer['oldest_wire']} of the wire on, and the core speaks {wire}"
            why += ": upgrade the core first (taskmaster upgrade --core)"
            answer = None
        if answer is None:
            self._answer(ok=False, part="shim", why=why)
            return
        self._told["shim"] = answer
        if self._order is not None and self._order.get("core"):
            self._try_core()
        else:
            self._due = True

    def _try_core(self) -> None:
        told = {"shim": self._told["shim"], "memos": self._orders.memos}
        places = self._house.places
        told["statedir"] = places.statedir if places is not None else ""

        def start(each: trial.Trial) -> None:
            fd = trial.to_memory("taskmaster-core-trial", told)
            try:
                each.begin([*self._core.argv, "--selftest", str(fd)], self._core.env, fd, descriptors=None)
            finally:
                os.close(fd)

        self._begin(self._core_tried, "core", start)

    def _core_tried(self, answer: Held | None, why: str) -> None:
        if answer is None:
            self._answer(ok=False, part="core", why=why)
            return
        self._told["core"] = answer
        if self._order is not None and self._order.get("shim"):
            self._due = True
        else:
            self._answer(ok=True)

    # -- the exec -----------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Become the new shim, if that is due; called between two turns, when no order is half carried out."""
        if not self._due:
            return
        self._due = False
        began = time.monotonic()
        self._house.loop.settle()
        self._core.flush()
        if self._shutdown.asked or not self._core.wanted:
            self._answer(ok=False, part="shim", why="everything is being stopped")
            return
        try:
            held = {**self._write(), "renewal": {"id": (self._order or {}).get("id"), "began": began, **self._told}}
            self._exec(held)
        except OSError as error:
            self._answer(ok=False, part="shim", why=f"the kernel does not start it: {error.strerror}")
        except Exception as error:  # nobody above us catches it, and we must not die
            self._answer(ok=False, part="shim", why=f"it cannot be started: {type(error).__name__}: {error}")

    def _write(self) -> Held:
        return state.write(self._house, self._core, self._orders, self._shutdown)

    def _exec(self, held: Held) -> NoReturn:
        fd = trial.to_memory("taskmaster-state", held)
        numbers = {fd, *(number for number, _, _ in state.descriptors(held)), *self._house.inherited}
        before = {number: os.get_inheritable(number) for number in numbers}
        words = trial.own_words("--resume", str(fd))
        try:
            for number in numbers:
                os.set_inheritable(number, True)
            os.execve(words[0], words, _environment())  # noqa: S606 - ourselves
        finally:
            for number, inherited in before.items():
                os.set_inheritable(number, inherited)
            os.close(fd)

    def resumed(self, held: Held) -> None:
        """Say, as the new shim, that we are there."""
        took = round((time.monotonic() - held.pop("began")) * 1000, 1)
        held["shim"] = {**held["shim"], **_about(os.getpid())}
        self._core.say({"t": "renewed", "ok": True, "part": "", "why": "", "ms": took, **held})


def seal(held: Held) -> None:
    """Keep the descriptors of a state from our children again."""
    for number, _, _ in state.descriptors(held):
        os.set_inheritable(number, False)
    for number in held["house"]["inherited"]:
        if number > 2:
            os.set_inheritable(number, False)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != _RECOVER}


def _about(pid: int) -> Held:
    return {"pid": pid, "release": release.RELEASE, "wire": release.WIRE, "oldest_wire": release.OLDEST_WIRE}


def say_fit() -> NoReturn:
    """Say that everything could be brought back, and end without having done anything."""
    sys.stdout.write(f"{json.dumps({**_about(0), 'state': release.STATE})}\n")
    sys.stdout.flush()
    os._exit(0)
