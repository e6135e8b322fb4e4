"""Keep copies of the ptys and input pipes of running jobs: while one is open, the death of the shim ends neither.

Decides how many are kept; whose they are and when they go is for the shim to say. The link takes them in as they come
(nobody else can bring any), the recovery hands them to the next shim. Nothing is ever read from them or written.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator

from taskmaster_core.shim import rights

Name = tuple[str, int]


class Custody:
    """Hold descriptors by process and run."""

    def __init__(self, room: int | None = None) -> None:
        self._room = room or _room()
        self._held: dict[Name, tuple[str, list[int]]] = {}
        self._count = 0
        self._left_out: set[Name] = set()

    def __iter__(self) -> Iterator[tuple[str, int, str, list[int]]]:
        """Yield what is held: key, run, what it is, and the descriptors."""
        return ((*name, what, list(fds)) for name, (what, fds) in self._held.items())

    @property
    def trouble(self) -> str:
        """Say what is wrong, "" if nothing is."""
        left = len(self._left_out)
        if not left:
            return ""
        return f"{left} processes would lose their terminal or input with the shim: raise LimitNOFILE (`ulimit -n`)"

    def take(self, key: str, run: int, what: str, fds: list[int]) -> None:
        """Keep the descriptors of a run, instead of those it had; none: not all of them came through."""
        self.drop(key, run)
        if not fds or self._count + len(fds) > self._room:
            rights.close(fds)
            self._left_out.add((key, run))
            return
        self._held[key, run] = (what, fds)
        self._count += len(fds)

    def drop(self, key: str, run: int) -> None:
        """Close what there is of a run."""
        self._left_out.discard((key, run))
        _, fds = self._held.pop((key, run), ("", []))
        self._count -= len(fds)
        rights.close(fds)


def _room() -> int:
    """Return how many descriptors may be held: without any to spare libzmq would end the process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft // 8 if soft > 0 else 1 << 16
