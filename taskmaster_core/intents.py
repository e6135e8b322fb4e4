"""Decide what an operator's wish means for later: the intents that survive reload, core restart and reboot.

Pure: a table of targets, a job's name or a process key. "down" holds a job or process down, "scale" holds a number of
processes. The supervisor asks it for the goal of what it creates; the journal keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from taskmaster_core.spec import Goal, JobSpec, Key


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

    def held_down(self, key: Key) -> bool:
        """Tell whether an operator stopped this process, or its whole job, by hand."""
        return self._is_down(key.job) or self._is_down(str(key))

    def _is_down(self, target: str) -> bool:
        intent = self._by_target.get(target)
        return intent is not None and intent.kind == "down"

    def width(self, spec: JobSpec) -> int:
        """Return how many processes the job shall have: by hand, else by its config."""
        intent = self._by_target.get(_scale(spec.name))
        return intent.value if intent is not None else spec.numprocess

    def goal(self, spec: JobSpec, key: Key) -> Goal:
        """Return the goal of a process that is new."""
        return Goal.UP if spec.autostart and not self.held_down(key) else Goal.DOWN

    def to_hold(self, keys: Iterable[Key], widths: Mapping[str, int]) -> list[Intent]:
        """Return the changes that a stop by hand means; of all of a job's processes: the job, so new ones stay down.

        `widths` holds every declared job. What is only on its way out needs no wish.
        """
        changes: list[Intent] = []
        for job, every in _by_job(keys).items():
            chosen = [key for key in every if key.index < widths.get(job, 0)]
            if not chosen:
                continue
            if len(chosen) == widths[job]:
                changes += [
                    Intent(each.target, None)
                    for each in self.about(job)
                    if each.target.startswith(f"{job}:") and each.kind == "down"
                ]
                changes.append(Intent(job, "down"))
            else:
                changes += [Intent(str(key), "down") for key in chosen]
        return changes

    def to_release(self, keys: Iterable[Key], widths: Mapping[str, int]) -> list[Intent]:
        """Return the changes that a start by hand means; the others of a job that was held as a whole stay held."""
        changes: list[Intent] = []
        for job, chosen in _by_job(keys).items():
            if self._is_down(job):
                others = (Key(job, index) for index in range(widths.get(job, 0)))
                changes.append(Intent(job, None))
                changes += [Intent(str(key), "down") for key in others if key not in chosen]
            changes += [Intent(str(key), None) for key in chosen if self._is_down(str(key))]
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


def _scale(job: str) -> str:
    return f"{job}:*"


def _job_of(target: str) -> str:
    return target.rpartition(":")[0] or target


def _by_job(keys: Iterable[Key]) -> dict[str, list[Key]]:
    jobs: dict[str, list[Key]] = {}
    for key in keys:
        jobs.setdefault(key.job, []).append(key)
    return jobs
