"""Keep what a later core must know of each process: one short document, held by the shim.

Pure: a process becomes a memo and a memo a process again. The shim keeps the newest of each and gives them all to the
core that follows, so counts, backoffs, ends and wishes outlive the core even where the disk is full.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from taskmaster_core.machine import Proc
from taskmaster_core.spec import Exit, Goal, JobSpec, Key, State

CORE = ""
"""The key of the core's own memo; no process has it."""


class CoreMemo(Struct):
    """Hold what the core says to its successor: the generation in force, and the last report it has dealt with."""

    generation: int
    acked: int


class Memo(Struct, omit_defaults=True):
    """Hold a process without its spec; the spec stands in the generation, or here if no generation has it any more."""

    goal: Goal
    state: State
    since: float
    generation: int = 0
    deadline: float | None = None
    run: int = 0
    run_generation: int = 0
    pid: int | None = None
    started_at: float | None = None
    tries: int = 0
    streak: int = 0
    restarts: int = 0
    exit: Exit | None = None
    lingering: int = 0
    step: int = 0
    unkillable: bool = False
    reason: str = ""
    spec: JobSpec | None = None


_FIELDS = tuple(name for name in Memo.__struct_fields__ if name != "spec")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Memo)


def write(proc: Proc) -> str:
    """Return the memo of a process."""
    memo = Memo(**{name: getattr(proc, name) for name in _FIELDS})
    if proc.goal is Goal.GONE:
        memo.spec = proc.spec
    return _encoder.encode(memo).decode()


def read(text: str, key: Key, spec: JobSpec | None) -> Proc | None:
    """Return the process of a memo; None if it is not understood or nothing says what it was declared as."""
    try:
        memo = _decoder.decode(text)
    except msgspec.MsgspecError:
        return None
    declared = spec or memo.spec
    if declared is None:
        return None
    return Proc(key, declared, **{name: getattr(memo, name) for name in _FIELDS})


def write_core(generation: int, acked: int) -> str:
    """Return the core's own memo."""
    return _encoder.encode(CoreMemo(generation, acked)).decode()


def read_core(text: object) -> CoreMemo | None:
    """Return the memo of the core before, None if there is none."""
    if not isinstance(text, str):
        return None
    try:
        return msgspec.json.decode(text, type=CoreMemo)
    except msgspec.MsgspecError:
        return None
