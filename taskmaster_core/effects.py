"""What the supervisor asks for beside the machine's own effects: facts to publish, answers, live changes of a run.

Pure data; decides nothing. The supervisor and its parts make them, the runtime carries them out.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from taskmaster_core.intents import Intent
from taskmaster_core.machine import Forget, KillTree, Signal, Spawn
from taskmaster_core.spec import JobSpec, Key
from taskmaster_core.waits import Settled
from taskmaster_core.wire import Cause


class Fact(Struct, frozen=True):
    """Publish something that happened: an event without its number and wall time."""

    type: str
    key: str
    cause: Cause
    data: dict[str, Any]


class Retune(Struct, frozen=True):
    """Tell the shim what a live change of the spec means for a run: stop recipe, nice, and with `sinks` its files."""

    key: Key
    run: int
    spec: JobSpec
    sinks: bool


class Answer(Struct, frozen=True):
    """Answer a request that waited."""

    settled: Settled


class Persist(Struct, frozen=True):
    """Write changes of the intents that no command asked for (a job that is gone)."""

    changes: tuple[Intent, ...]


class AllDown(Struct, frozen=True):
    """Say that the ordered stop is complete, with the exit status it is to end with."""

    code: int


Outcomes = Spawn | Signal | KillTree | Forget | Fact | Retune | Answer | Persist | AllDown
