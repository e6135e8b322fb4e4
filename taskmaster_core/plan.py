"""Decide what a new config changes: a plan, made before anything is touched.

A pure function of two configs; the cost of each field stands beside the field in `spec.py`, never in a list here, so a
new field cannot be forgotten. The supervisor carries a plan out, the CLI and the TUI show it. It does not know what
runs: `effect` is told how many processes live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from taskmaster_core.masking import MASK, masked, masked_words
from taskmaster_core.spec import Config, Cost, JobSpec, Settings, cost_of


class FieldChange(Struct, frozen=True):
    """Hold one changed field, with what the change costs: live, scale or relaunch."""

    name: str
    old: Any
    new: Any
    cost: Cost


class Change(Struct, frozen=True):
    """Hold what happens to one job; `old` None: added, `new` None: removed, no fields: the same."""

    job: str
    old: JobSpec | None
    new: JobSpec | None
    fields: tuple[FieldChange, ...] = ()

    @property
    def sign(self) -> str:
        """Return `+`, `-`, `~` or `=`."""
        if self.old is None:
            return "+"
        if self.new is None:
            return "-"
        return "~" if self.fields else "="

    @property
    def relaunch(self) -> bool:
        """Tell whether the job's processes must be started anew."""
        return any(field.cost is Cost.RELAUNCH for field in self.fields)

    @property
    def scale(self) -> bool:
        """Tell whether the number of processes was edited."""
        return any(field.cost is Cost.SCALE for field in self.fields)


class Plan(Struct, frozen=True):
    """Hold every job's change, in the order of the new config and then of what it removes."""

    changes: tuple[Change, ...]
    settings: tuple[FieldChange, ...] = ()

    @property
    def empty(self) -> bool:
        """Tell whether nothing at all changes."""
        return not self.settings and all(change.sign == "=" for change in self.changes)

    @property
    def count(self) -> int:
        """Return how many jobs and settings change."""
        return sum(change.sign != "=" for change in self.changes) + len(self.settings)


def make_plan(old: Config, new: Config) -> Plan:
    """Return the changes that lead from `old` to `new`."""
    before = {job.name: job for job in old.jobs}
    after = {job.name: job for job in new.jobs}
    kept = [Change(job.name, before.get(job.name), job, _fields(before.get(job.name), job)) for job in new.jobs]
    removed = [Change(name, job, None) for name, job in before.items() if name not in after]
    return Plan((*kept, *removed), _settings(old.settings, new.settings))


def leave_out(plan: Plan, excepted: Callable[[Change], bool]) -> Plan:
    """Return the plan with some jobs left as they are (`reload --except`); one that is not there yet is not added."""
    kept = (_as_it_was(change) if excepted(change) else change for change in plan.changes)
    return replace(plan, changes=tuple(change for change in kept if change.old is not None or change.new is not None))


def _as_it_was(change: Change) -> Change:
    return replace(change, new=change.old, fields=())


def carry_out(plan: Plan, new: Config) -> Config:
    """Return the config that holds once the plan is applied: `new`, but for what was left out of the plan."""
    return replace(new, jobs=tuple(change.new for change in plan.changes if change.new is not None))


def _fields(old: JobSpec | None, new: JobSpec) -> tuple[FieldChange, ...]:
    if old is None or old == new:
        return ()
    names = (name for name in JobSpec.__struct_fields__ if getattr(old, name) != getattr(new, name))
    return tuple(FieldChange(name, getattr(old, name), getattr(new, name), _cost(name, old, new)) for name in names)


def _cost(name: str, old: JobSpec, new: JobSpec) -> Cost:
    """Return what this change costs: for most fields what the field says, for output what the ends are."""
    cost = cost_of(name)
    if cost is Cost.SINK:
        switched = _is_file(getattr(old, name)) and _is_file(getattr(new, name))
        return Cost.LIVE if switched and not (_direct(old) or _direct(new)) else Cost.RELAUNCH
    if name in ("log", "filelog") and getattr(old, name).direct != getattr(new, name).direct:
        return Cost.RELAUNCH
    return cost


def _is_file(output: str) -> bool:
    return output == "log" or output.startswith(("/", "{", "$"))


def _direct(job: JobSpec) -> bool:
    return job.log.direct or job.filelog.direct


def _settings(old: Settings, new: Settings) -> tuple[FieldChange, ...]:
    names = (name for name in Settings.__struct_fields__ if getattr(old, name) != getattr(new, name))
    return tuple(FieldChange(name, getattr(old, name), getattr(new, name), Cost.LIVE) for name in names)


NEEDS_RESTART = frozenset({"statedir", "socketgroup"})
"""Settings that a running core cannot take over; they hold from its next start."""


def _processes(number: int) -> str:
    return f"{number} process" + ("" if number == 1 else "es")


def effect(change: Change, alive: int, width: int, waiting: int = 0) -> str:
    """Say what the change does to what runs.

    `alive` of its processes run, `width` is how many it has now, `waiting` are wanted but down (backoff, fatal,
    exited): a new command starts them.
    """
    if change.new is None:
        return f"stops {_processes(alive)}" if alive else "nothing runs"
    if change.old is None:
        return f"starts {_processes(change.new.numprocess)}" if change.new.autostart else "is not started (autostart)"
    if not change.fields:
        return "untouched"
    return "; ".join(_parts(change, change.new, alive, width, waiting)) or "applied live, no process is touched"


def _parts(change: Change, new: JobSpec, alive: int, width: int, waiting: int) -> Iterable[str]:
    kept = new.numprocess if change.scale else width  # a number that was set by hand holds until the config's is edited
    if change.relaunch and alive:
        yield f"restarts {_processes(min(alive, kept))}"
    if change.relaunch and waiting:
        yield f"starts {_processes(min(waiting, kept))}"
    if change.relaunch and not alive and not waiting:
        yield "nothing runs: holds at the next start"
    if change.scale and new.numprocess > width:
        yield f"adds {_processes(new.numprocess - width)}"
    if change.scale and new.numprocess < width:
        yield f"stops {_processes(width - new.numprocess)}: the highest indices"


def shown(name: str, value: Any) -> Any:
    """Return a field's value as it may leave the core: of variables the names, of commands no secret-looking value."""
    if name in ("env", "baseenv", "fileenv") and isinstance(value, dict):
        return dict.fromkeys(value, MASK)
    if name not in ("argv", "cmd") or value is None:
        return value
    return masked(value) if isinstance(value, str) else tuple(masked_words(value))


def told(change: FieldChange) -> tuple[str, str]:
    """Return old and new value of a changed field as text for people; of environments the names that differ."""
    if isinstance(change.old, dict) and isinstance(change.new, dict):
        names = sorted(name for name in change.old | change.new if change.old.get(name) != change.new.get(name))
        old, new = ([name for name in names if name in side] for side in (change.old, change.new))
        return " ".join(f"{name}={MASK}" for name in old), " ".join(f"{name}={MASK}" for name in new)
    return text(shown(change.name, change.old)), text(shown(change.name, change.new))


def text(value: Any) -> str:
    """Return a value of a spec as one would write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(text(each) for each in value)
    if isinstance(value, Struct):
        return " ".join(f"{name}={text(getattr(value, name))}" for name in value.__struct_fields__)
    return f"{value:g}" if isinstance(value, float) else str(value)
