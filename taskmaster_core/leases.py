"""Who is attached to which terminal: many who look, one who types.

Decides who of them may type, and when somebody who is not heard of any more is gone. Pure: `now` is an argument
(seconds of CLOCK_BOOTTIME). The operations on terminals use it.
"""

from __future__ import annotations

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


class Leases:
    """Hold the leases of all terminals."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._writers: dict[Key, str] = {}

    def grant(self, id_: str, key: Key, who: str, *, write: bool, takeover: bool, now: float) -> Lease:
        """Return a lease, new or the one of this id made new; with `takeover` whoever types now only looks on."""
        old = self._leases.get(id_)
        if old is not None and old.key != key:
            self.drop(id_)
        lease = Lease(id_, key, who, now + LASTS)
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

    def overdue(self, now: float) -> list[Lease]:
        """Return the leases nobody has renewed in time; they still hold."""
        return [lease for lease in self._leases.values() if lease.until <= now]

    @property
    def deadline(self) -> float | None:
        """Return when the next one ends if nobody renews it."""
        return min((lease.until for lease in self._leases.values()), default=None)
