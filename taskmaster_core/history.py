"""Remember what operators did last, and what takes it back.

Pure: a stack of deeds, each with the request that is its contrary, or none. The operations add to it and take from it,
the shim keeps it as a memo for the next core. Undoing is a deed too: to undo that is to do it again, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

KEPT = 20
"""Deeds that are remembered."""

NEVER = {
    "restart": "what ran before is gone",
    "signal": "a signal cannot be called back",
    "reset": "the counts are forgotten",
    "stop": "nothing of it ran",
    "kill": "nothing of it ran",
}
"""Why some things cannot be undone."""

CONTRARY = {"stop": "start", "kill": "start", "start": "stop", "hold": "release", "release": "hold"}


class Deed(Struct, frozen=True, omit_defaults=True):
    """Hold one deed; `op` and `args` are the request about `select` that takes it back, "" if nothing does."""

    verb: str
    who: str
    at: float
    select: tuple[str, ...] = ()
    op: str = ""
    args: dict[str, Any] = {}
    again: bool = False
    """It took another deed back itself."""


class History:
    """Hold the last deeds, the newest at the end."""

    def __init__(self, deeds: Iterable[Deed] = ()) -> None:
        self._deeds = list(deeds)[-KEPT:]
        self._undone: dict[str, Deed] = {}

    @property
    def last(self) -> Deed | None:
        """Return the newest deed."""
        return self._deeds[-1] if self._deeds else None

    def add(self, request: str, deed: Deed) -> None:
        """Remember what a request did; the redoing of what was undone is remembered no more."""
        undone = self._undone.pop(request, None)
        if undone is None or not undone.again:
            self._deeds = [*self._deeds, replace(deed, again=undone is not None)][-KEPT:]

    def undo(self, request: str) -> Deed | None:
        """Take the newest deed out: the request is about to take it back."""
        if not self._deeds:
            return None
        self._undone[request] = self._deeds.pop()
        return self._undone[request]

    def give_up(self, request: str) -> None:
        """Put back what a request did not come to undo."""
        undone = self._undone.pop(request, None)
        if undone is not None:
            self._deeds.append(undone)

    def write(self) -> str:
        """Return the memo for the next core."""
        return msgspec.json.encode(self._deeds).decode()


def read(text: object) -> History:
    """Return the history of a memo, an empty one for what is not understood."""
    try:
        return History(msgspec.json.decode(text, type=list[Deed]) if isinstance(text, str) else ())
    except msgspec.MsgspecError:  # of another version
        return History()


def command(verb: str, who: str, at: float, keys: Iterable[str], *, undoable: bool = True) -> Deed:
    """Return the deed of a command to processes."""
    return Deed(verb, who, at, tuple(keys), CONTRARY.get(verb, "") if undoable else "")


def scaling(who: str, at: float, before: dict[str, int]) -> Deed:
    """Return the deed of a scaling; `before` holds what the numbers of processes were."""
    numbers = set(before.values())
    args: dict[str, Any] = {"n": numbers.pop()} if len(numbers) == 1 else {"widths": before}
    return Deed("scale", who, at, tuple(before), "scale", args)


def reloading(who: str, at: float, generation: int) -> Deed:
    """Return the deed of a reload; `generation` was in force before it."""
    return Deed("reload", who, at, op="rollback", args={"generation": generation})


def sentence(deed: Deed, ago: str) -> str:
    """Say what takes a deed back, and what it was; of one that nothing takes back say why."""
    what = f"{'undo by ' if deed.again else ''}{deed.verb}"
    was = f"{what}{_of(deed)} {ago} ago by {deed.who}"
    if not deed.op:
        return f"the last action cannot be undone: {was}: {NEVER.get(deed.verb, 'it has no contrary')}"
    return f"{_contrary(deed)} (takes back: {was})"


def _of(deed: Deed) -> str:
    return f" of {names(deed.select)}" if deed.select else ""


def _contrary(deed: Deed) -> str:
    if deed.op == "rollback":
        return f"go back to generation {deed.args['generation']} of the config"
    if deed.op == "scale":
        numbers = deed.args.get("widths") or dict.fromkeys(deed.select, deed.args.get("n"))
        return "scale " + ", ".join(f"{name} to {number}" for name, number in numbers.items())
    return f"{deed.op} {names(deed.select)}"


def names(select: tuple[str, ...]) -> str:
    """Return a few names and how many more there are."""
    few, more = select[:4], len(select) - 4
    return ", ".join(few) + (f" and {more} more" if more > 0 else "")
