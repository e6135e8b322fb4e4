"""Who is in the trees of runs now, and which orphans are of no run that we know.

Decides nothing about them: what a core asks for is answered, and an orphan that no run claims is told once and left
alone, for it may be anybody's. The orders and the house call it; nobody looks while nobody asks and nothing ends.
"""

from __future__ import annotations

import cgroups
import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from house import House
    from runs import Run

_NAMED = 50  # processes told of one run, and of strays, at most
_LOOK = 0.2  # seconds between the two looks that make a stray: the first may have met a process in its exec


class Strays:
    """Know the orphans that no run claims."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._doubted: dict[int, int] = {}
        self._told: dict[int, int] = {}

    def look(self) -> None:
        """Tell of every orphan that no run has claimed twice in a row."""
        strays = {each.pid: each for each in self.now()}
        self._told = {pid: started for pid, started in self._told.items() if pid in strays}
        fresh = [each for each in strays.values() if self._told.get(each.pid) != each.started]
        sure = [each for each in fresh if self._doubted.get(each.pid) == each.started]
        self._doubted = {each.pid: each.started for each in fresh if each not in sure}
        for each in sure:
            self._told[each.pid] = each.started
            self._house.tell({"t": "stray", "pid": each.pid, "comm": each.comm, "of": mark_of(each.pid)})
        if self._doubted:
            self._house.loop.after(_LOOK, self.look)

    def now(self) -> list[tree.Member]:
        """Return the living orphans that no run claims."""
        seen = [tree.look(pid) for pid in self._house.strangers()]
        return [each for each in seen if each is not None and not each.dead and not self._is_claimed(each)]

    def _is_claimed(self, orphan: tree.Member) -> bool:
        runs = self._house.runs
        key, _, number = mark_of(orphan.pid).rpartition(" ")
        if key and number.isdigit() and (key, int(number)) in runs:
            return True
        groups = cgroups.of(orphan.pid)
        return any(_claims(run, orphan, groups) for run in runs.values())


def _claims(run: Run, orphan: tree.Member, groups: list[str]) -> bool:
    if run.leaf is not None:
        return run.leaf.rpartition("/")[2] in groups
    return run.claims(orphan)


def mark_of(pid: int) -> str:
    """Return the run that a process's environment names, as "web:0 7"; empty when it names none."""
    found = dict(each.partition(b"=")[::2] for each in tree.settings_of(pid) if each.startswith(b"TASKMASTER_"))
    job, index, run = (found.get(b"TASKMASTER_" + name, b"") for name in (b"JOB", b"INDEX", b"RUN"))
    return (b"%s:%s %s" % (job, index, run)).decode("utf-8", "surrogateescape") if job and run else ""


def answer(house: House, keys: list[str]) -> dict[str, Any]:
    """Return who is in the trees of these processes' runs and of all whose leader has ended, and orphans of nobody."""
    wanted = set(keys)
    runs = [_told(run) for run in house.runs.values() if run.ended or run.key in wanted]
    return {"runs": runs, "strays": [_shown(each) for each in house.strays.now()[:_NAMED]]}


def _told(run: Run) -> dict[str, Any]:
    """Tell of one run: whether its leader has ended or stands still, and who has left its group or outlived it."""
    members, ended = run.members(), run.ended
    away = [each for each in members if ended or each.pgrp != run.pid]
    leader = None if ended else tree.look(run.pid)
    frozen = run.leaf is not None and cgroups.frozen(run.leaf)
    return {
        "key": run.key, "run": run.run, "pid": run.pid, "ended": ended, "count": len(members), "away": len(away),
        "halted": "frozen" if frozen else "stopped" if leader is not None and leader.state in "Tt" else "",
        "left": [_shown(each) for each in away[:_NAMED]],
    }  # fmt: skip


def _shown(member: tree.Member) -> list[Any]:
    return [member.pid, member.started, member.comm]
