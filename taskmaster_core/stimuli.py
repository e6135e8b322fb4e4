"""The stimuli of the machine as data: what operators, the config, the shim and the clock say of one process.

Decides nothing. The machine has a row for each of them; the supervisor and the wire to the shim make them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from taskmaster_core.spec import Exit, Goal

# Stimuli: commands ---------------------------------------------------------------------------------------------------


class Start(Struct, frozen=True):
    """Ask for goal up."""


class Stop(Struct, frozen=True):
    """Ask for goal down, gently."""


class Kill(Struct, frozen=True):
    """Ask for goal down, at once, by SIGKILL."""


class Relaunch(Struct, frozen=True):
    """Ask for a new run, whatever the present one does."""


class Send(Struct, frozen=True):
    """Ask for a signal to be sent; the goal stays."""

    signum: int


class Reset(Struct, frozen=True):
    """Ask for the counts of failure to be forgotten."""


class Hold(Struct, frozen=True):
    """Ask that it is not started again by itself; what runs goes on."""


class Release(Struct, frozen=True):
    """Ask for the end of a hold; a restart it held back happens now."""


class Remove(Struct, frozen=True):
    """Say that the config no longer has it."""


class Readmit(Struct, frozen=True):
    """Say that the config has it again."""

    goal: Goal


class Reconfigured(Struct, frozen=True):
    """Say that `Proc.spec` was replaced; `relaunch` if the change holds only for a new run."""

    relaunch: bool


class GateOpened(Struct, frozen=True):
    """Say that it may start now."""


# Stimuli: reports of the shim ----------------------------------------------------------------------------------------


class Spawned(Struct, frozen=True):
    """Report that exec succeeded, at `at`."""

    run: int
    pid: int
    at: float


class SpawnFailed(Struct, frozen=True):
    """Report that there is no process, and why."""

    run: int
    exit: Exit


class Exited(Struct, frozen=True):
    """Report the end of a leader; of a run being stopped: the end of its whole tree."""

    run: int
    exit: Exit
    lingering: int = 0
    swept: tuple[str, ...] = ()
    """Who had left the group and was killed."""
    left: tuple[str, ...] = ()
    """Who lives on, as "4711 sleep"; not all of many."""
    outlived: tuple[str, ...] = ()
    """Who was in the group, did not end with the leader and was killed."""
    unnamed: int = 0
    """So many more were killed."""

    def rest(self) -> dict[str, Any]:
        """Return the fields of an event that tell who lives on."""
        return {"lingering": self.lingering} | ({"left": list(self.left)} if self.left else {})

    def killed(self) -> dict[str, Any]:
        """Return the fields of an event that tell who had to be killed beside the leader."""
        more = {"outlived": list(self.outlived), "unnamed": self.unnamed}
        return {"swept": list(self.swept)} | {name: value for name, value in more.items() if value}


class Unkillable(Struct, frozen=True):
    """Report that something of the tree is still there long after SIGKILL."""

    run: int
    pids: tuple[int, ...] = ()


class Deadline(Struct, frozen=True):
    """Report that `Proc.deadline` has passed, and how many seconds ago."""

    late: float = 0.0


class LinkLost(Struct, frozen=True):
    """Report that the shim cannot be heard."""


class Found(Struct, frozen=True):
    """Report, after a silence, that the shim holds this run alive."""

    run: int
    pid: int
    at: float
    stopping: bool = False


class NotFound(Struct, frozen=True):
    """Report, after a silence, that the shim holds no run of it."""


Stimulus = (
    Start | Stop | Kill | Relaunch | Send | Reset | Hold | Release | Remove | Readmit | Reconfigured | GateOpened
    | Spawned | SpawnFailed | Exited | Unkillable | Deadline | LinkLost | Found | NotFound
)  # fmt: skip
