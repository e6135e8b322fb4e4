"""Who is of a run: its tree, its orphans, and whom a stop of it had to kill.

Decides membership of a run of ours by its control group, else by descent, by what an orphan carries or has open, and by
what was seen before; when to look is for `runs`, whose runs are built on this.
"""

from __future__ import annotations

import os

import cgroups
import tree
from streams import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from house import House

NAMED = 50  # processes of one kind that are named in one report at most


class Killed:
    """Remember who was killed beside a leader: who had left its group, and who in it did not end with the leader."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._swept: dict[int, str] = {}
        self._outlived: dict[int, str] = {}
        self._unnamed: set[int] = set()

    def note(self, hit: list[tree.Member], *, ended: bool) -> None:
        """Take in who is being killed; `ended`: the leader has ended already."""
        for each in hit:
            names = self._swept if each.pgrp != self._leader else self._outlived
            if each.pid in names or (names is self._outlived and not ended):
                continue
            if len(names) < NAMED:
                names[each.pid] = each.comm
            else:
                self._unnamed.add(each.pid)

    def kept(self) -> list[Any]:
        """Return all of it as data, for the shim that goes on with this one's state."""
        return [_pairs(self._swept), _pairs(self._outlived), sorted(self._unnamed)]

    def go_on(self, kept: list[Any]) -> None:
        """Take up what an earlier shim kept."""
        swept, outlived, unnamed = kept
        self._swept, self._outlived, self._unnamed = dict(swept), dict(outlived), set(unnamed)

    def told(self) -> dict[str, Any]:
        """Return the fields of a report."""
        more = {"outlived": _pairs(self._outlived), "unnamed": len(self._unnamed)}
        return {"swept": _pairs(self._swept), **{name: value for name, value in more.items() if value}}


def _pairs(names: dict[int, str]) -> list[list[Any]]:
    return [[pid, comm] for pid, comm in names.items()]


class Kinship:
    """Hold what tells who is of a run."""

    def __init__(self, house: House, pid: int) -> None:
        self.house = house
        self.pid = pid
        self.leaf: str | None = None
        self.lock = ""
        self.tags: list[bytes] = []
        self.streams: dict[str, Stream] = {}
        self._end: dict[str, Any] | None = None  # how the leader ended
        self._seen: dict[int, int] = {}  # the pids of its tree when we looked last, with their start times

    @property
    def ended(self) -> bool:
        """Tell whether its leader has ended."""
        return self._end is not None

    def remember(self) -> None:
        """Note who descends from the leader: once that has ended nobody can tell."""
        if not self.ended:
            self._seen.update({each.pid: each.started for each in tree.below(tree.children(self.pid))})

    def members(self) -> list[tree.Member]:
        """Return the living processes of the tree but the leader."""
        if self.leaf is not None:
            found = [tree.look(pid) for pid in cgroups.pids(self.leaf) if pid not in (0, self.pid)]
            return [each for each in found if each is not None]
        return self._grown_from(self._orphans())

    def _grown_from(self, orphans: list[int]) -> list[tree.Member]:
        """Return who descends from the leader, from these orphans, or from whom we have seen in the tree before."""
        roots = tree.children(self.pid) if not self.ended else []
        roots += [pid for pid, started in self._seen.items() if (now := tree.look(pid)) and now.started == started]
        found = [each for each in tree.below(roots + orphans) if not each.dead and each.pid != self.pid]
        self._seen = {each.pid: each.started for each in found}
        return found

    def _orphans(self) -> list[int]:
        """Return those of our unknown children (orphans that the kernel gave to us) that are of this run."""
        found = (tree.look(pid) for pid in self.house.strangers())
        return [each.pid for each in found if each is not None and not each.dead and self.claims(each)]

    def claims(self, orphan: tree.Member) -> bool:
        """Tell whether an orphan is of this run, as far as can be told without a control group."""
        known = self._seen.get(orphan.pid) == orphan.started
        return known or tree.belongs(orphan, self.pid, self.tags, self._files)

    def _files(self) -> frozenset[tuple[int, int]]:
        """Return the lock file and the FIFOs of the run: what its processes have open, unless they let go."""
        fifos = [each.fd for each in self.streams.values() if isinstance(each, Stream)]
        found = set()
        held: list[str | int] = [self.lock, *fifos]
        for what in held:
            try:
                entry = os.stat(what)
            except OSError:
                continue
            found.add((entry.st_dev, entry.st_ino))
        return frozenset(found)
