"""Decide what an operator's wish means for later: the intents that survive reload, core restart and reboot.

Pure: a table of targets, a job's name or a process key. "down" keeps a job or process down, "held" keeps it from being
started again by itself, "scale" keeps a number of processes. The supervisor asks it for the goal of what it creates;
the journal keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from taskmaster_core.spec import Goal, JobSpec, Key

KINDS = ("down", "held", "scale")


class Intent(Struct, frozen=True):
    """Hold one wish; `kind` None takes an earlier one back. `value` is the number of processes of a "scale"."""

    target: str
    kind: str | None
    value: int = 0


class Intents:
    """Hold the wishes that are in force."""

    def __init__(self, known: Iterable[Intent] = ()) -> None:
        self._by_target = {intent.target: intent for intent in known}

    def take(self, changes: Iterable[Intent]) -> None:
        """Put changes in force."""
        for change in changes:
            if change.kind is None:
                self._by_target.pop(change.target, None)
            else:
                self._by_target[change.target] = change

    def all(self) -> list[Intent]:
        """Return the wishes in force."""
        return list(self._by_target.values())

    def about(self, job: str) -> list[Intent]:
        """Return the wishes in force about a job and its processes."""
        return [each for target, each in self._by_target.items() if _job_of(target) == job]

    def kept_down(self, key: Key) -> bool:
        """Tell whether an operator stopped this process, or its whole job, by hand."""
        return key.job in self._by_target or str(key) in self._by_target

    def held(self, key: Key) -> bool:
        """Tell whether an operator holds this process, or its whole job."""
        return _held(key.job) in self._by_target or _held(str(key)) in self._by_target

    def width(self, spec: JobSpec) -> int:
        """Return how many processes the job shall have: by hand, else by its config."""
        intent = self._by_target.get(_scale(spec.name))
        return intent.value if intent is not None else spec.numprocess

    def goal(self, spec: JobSpec, key: Key) -> Goal:
        """Return the goal of a process that is new."""
        return Goal.UP if spec.autostart and not self.kept_down(key) else Goal.DOWN

    def to_stop(self, keys: Iterable[Key], widths: Mapping[str, int]) -> list[Intent]:
        """Return the changes that a stop by hand means; of all of a job's processes: the job, so new ones stay down.

        `widths` holds every declared job. What is only on its way out needs no wish.
        """
        return self._to_set(keys, widths, "down")

    def to_hold(self, keys: Iterable[Key], widths: Mapping[str, int]) -> list[Intent]:
        """Return the changes that a hold means, of a whole job as for a stop."""
        return self._to_set(keys, widths, "held")

    def _to_set(self, keys: Iterable[Key], widths: Mapping[str, int], kind: str) -> list[Intent]:
        changes: list[Intent] = []
        for job, every in _by_job(keys).items():
            chosen = [key for key in every if key.index < widths.get(job, 0)]
            if not chosen:
                continue
            if len(chosen) == widths[job]:
                known = (each.target for each in self.about(job) if each.kind == kind)
                changes += [Intent(target, None) for target in known if target != _target(job, kind)]
                changes.append(Intent(_target(job, kind), kind))
            else:
                changes += [Intent(_target(str(key), kind), kind) for key in chosen]
        return changes

    def to_start(self, keys: Iterable[Key], widths: Mapping[str, int]) -> list[Intent]:
        """Return the changes that a start by hand means; the others of a job that was held as a whole stay held."""
        return self._to_clear(keys, widths, "down")

    def to_release(self, keys: Iterable[Key], widths: Mapping[str, int]) -> list[Intent]:
        """Return the changes that the end of a hold means."""
        return self._to_clear(keys, widths, "held")

    def _to_clear(self, keys: Iterable[Key], widths: Mapping[str, int], kind: str) -> list[Intent]:
        changes: list[Intent] = []
        for job, chosen in _by_job(keys).items():
            if _target(job, kind) in self._by_target:
                others = (Key(job, index) for index in range(widths.get(job, 0)))
                changes.append(Intent(_target(job, kind), None))
                changes += [Intent(_target(str(key), kind), kind) for key in others if key not in chosen]
            targets = (_target(str(key), kind) for key in chosen)
            changes += [Intent(target, None) for target in targets if target in self._by_target]
        return changes

    def to_forget(self, job: str) -> list[Intent]:
        """Return the changes that take back everything said about a job: the config no longer has it."""
        return [Intent(each.target, None) for each in self.about(job)]


def to_scale(job: str, width: int) -> Intent:
    """Return the wish for a number of processes."""
    return Intent(_scale(job), "scale", width)


def to_unscale(job: str) -> Intent:
    """Return the change that lets the config decide again."""
    return Intent(_scale(job), None)


def said(intent: Intent) -> str:
    """Return a wish in words: "stopped", "web:0 held", "scaled to 3"."""
    index = intent.target.rpartition(":")[2].rstrip("!*") if ":" in intent.target else ""
    what = {"down": "stopped", "held": "held", "scale": f"scaled to {intent.value}"}.get(str(intent.kind), "")
    return f"{_job_of(intent.target)}:{index} {what}" if index else what


def _scale(job: str) -> str:
    return f"{job}:*"


def _held(target: str) -> str:
    """Return the target of a hold: `web:!` of a job, `web:0!` of a process; no process and no job is called so."""
    return f"{target}!" if ":" in target else f"{target}:!"


def _target(name: str, kind: str) -> str:
    return _held(name) if kind == "held" else name


def _job_of(target: str) -> str:
    return target.rpartition(":")[0] or target


def _by_job(keys: Iterable[Key]) -> dict[str, list[Key]]:
    jobs: dict[str, list[Key]] = {}
    for key in keys:
        jobs.setdefault(key.job, []).append(key)
    return jobs
