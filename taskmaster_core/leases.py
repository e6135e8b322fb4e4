"""Who is attached to which terminal: many who look, one who types.

Decides who of them may type, and when somebody who is not heard of any more is gone. Pure: `now` is an argument
(seconds of CLOCK_BOOTTIME). The operations on terminals use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from taskmaster_core.spec import Key

LASTS = 6.0
"""Seconds a lease is good for; a client renews it every two."""


class Lease(Struct):
    """Hold one client's hold on one terminal."""

    id: str
    key: Key
    who: str
    until: float
    typed: tuple[int, int] = (0, 0)
    """The run that was typed to last, and the number of what was typed."""


class _Running(Protocol):
    """What is to be known of a process here."""

    @property
    def run(self) -> int:
        """Return the number of its newest run."""


class Leases:
    """Hold the leases of all terminals."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._writers: dict[Key, str] = {}
        self.timed = False
        """Whether somebody waits for the next deadline already."""

    def grant(self, id_: str, key: Key, who: str, *, write: bool, takeover: bool, now: float) -> Lease:
        """Return a lease, new or the one of this id made new; with `takeover` whoever types now only looks on."""
        old = self._leases.get(id_)
        if old is not None and old.key != key:
            self.drop(id_)
        lease = Lease(id_, key, who, now + LASTS, old.typed if old is not None and old.key == key else (0, 0))
        self._leases[id_] = lease
        if not write and self._writers.get(key) == id_:
            del self._writers[key]
        if write and (takeover or key not in self._writers):
            self._writers[key] = id_
        return lease

    def find(self, id_: str) -> Lease | None:
        """Return the lease of this id."""
        return self._leases.get(id_)

    def drop(self, id_: str) -> Lease | None:
        """End a lease; return what it was."""
        lease = self._leases.pop(id_, None)
        if lease is not None and self._writers.get(lease.key) == id_:
            del self._writers[lease.key]
        return lease

    def writes(self, lease: Lease) -> bool:
        """Tell whether this one types."""
        return self._writers.get(lease.key) == lease.id

    def writer(self, key: Key) -> Lease | None:
        """Return the one who types, None when nobody does."""
        return self._leases.get(self._writers.get(key, ""))

    def on(self, key: Key) -> list[Lease]:
        """Return all leases of a terminal."""
        return [lease for lease in self._leases.values() if lease.key == key]

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def told(self, key: Key) -> str:
        """Say who is attached to a terminal, "" if nobody is."""
        writer, on = self.writer(key), len(self.on(key))
        words = [f"{writer.who} types"] if writer is not None else []
        looking = on - len(words)
        if looking:
            words.append("one looks on" if looking == 1 else f"{looking} look on")
        return ", ".join(words)

    def overdue(self, now: float) -> list[Lease]:
        """Return the leases nobody has renewed in time; they still hold."""
        return [lease for lease in self._leases.values() if lease.until <= now]

    @property
    def deadline(self) -> float | None:
        """Return when the next one ends if nobody renews it."""
        return min((lease.until for lease in self._leases.values()), default=None)


def attending(leases: Leases, procs: Mapping[Key, _Running]) -> list[dict[str, object]]:
    """Return the orders that tell another shim who looks at what, and how far he has been heard if he has typed."""
    orders: list[dict[str, object]] = []
    for each in leases:
        run = procs[each.key].run if each.key in procs else 0
        heard = each.typed[1] if each.typed[0] == run else 0
        about = {"key": str(each.key), "run": run, "lease": each.id, "heard": heard}
        orders.append({"t": "attend", "on": True, **about})
    return orders
