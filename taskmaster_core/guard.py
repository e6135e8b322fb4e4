"""Decide what must be confirmed: acts and reloads that would end what runs of a protected job.

Pure: it looks at processes and plans, and says names. The operations and the reload ask it before they do anything; how
a person is asked is for the clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from taskmaster_core.errors import Refused
from taskmaster_core.machine import Proc
from taskmaster_core.plan import Change, Plan
from taskmaster_core.spec import State

_AT_REST = frozenset({State.STOPPED, State.EXITED, State.FATAL})


def protected(procs: Iterable[Proc]) -> list[str]:
    """Return the protected jobs among processes of which something goes on, each once, in their order."""
    return list(dict.fromkeys(each.key.job for each in procs if each.spec.protected and each.state not in _AT_REST))


def threatened(plan: Plan, processes_of: Callable[[str], list[Proc]]) -> list[str]:
    """Return the protected jobs of which a plan would end something that goes on."""
    return protected(proc for change in plan.changes for proc in processes_of(change.job) if _ends(change, proc))


def _ends(change: Change, proc: Proc) -> bool:
    if change.new is None or change.relaunch:
        return True
    return change.scale and proc.key.index >= change.new.numprocess


def refusal(names: list[str], what: str) -> Refused:
    """Return the error for an act that nobody has confirmed; its `detail` names the jobs."""
    error = Refused(
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} protected: {what} has to be confirmed",
        "-y does it all the same (`confirmed` in a request)",
    )
    error.detail = {"protected": names}  # type: ignore[attr-defined]
    return error
