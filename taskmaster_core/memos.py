"""Keep what a later core must know of each process: one short document, held by the shim.

Pure: a process becomes a memo and a memo a process again. The shim keeps the newest of each and gives them all to the
core that follows, so counts, backoffs, ends and wishes outlive the core even where the disk is full.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from taskmaster_core.machine import Proc
from taskmaster_core.spec import ALIVE, Config, Exit, Goal, JobSpec, Key, State, parse_key

CORE = ""
"""The key of the core's own memo; no process has it."""

ROWS = ":"
"""What the keys of events begin with that are on their way to the journal; the newest one's number follows."""


HISTORY = ":history"
"""The key of what operators did last; it begins as events' keys do and is none."""


UPGRADE = ":upgrade"
"""The key of an upgrade that is under way or was the last; it begins as events' keys do and is none."""


class CoreMemo(Struct, omit_defaults=True):
    """Hold what the core says to its successor: the generation in force, and the last report it has dealt with."""

    generation: int
    acked: int
    ending: int | None = None
    """The exit status of the ordered stop under way; None while there is none."""


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
    left: tuple[str, ...] = ()
    step: int = 0
    unkillable: bool = False
    held: bool = False
    owed: bool = False
    reason: str = ""
    spec: JobSpec | None = None


class Past(Struct):
    """Hold what must outlive a process that is forgotten: should its key come back, its run numbers go on.

    A number that came twice would be taken for the old run, by the shim (which starts no run twice) and by us.
    """

    past: int
    """The number of its last run."""


_FIELDS = tuple(name for name in Memo.__struct_fields__ if name != "spec")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Memo)
_NOT_OURS = (ValueError, RecursionError)
"""What reading the memo of another version raises, or of a disk that lies; all of msgspec's are ValueErrors."""
_past = msgspec.json.Decoder(Past)


def write(proc: Proc) -> str:
    """Return the memo of a process."""
    memo = Memo(**{name: getattr(proc, name) for name in _FIELDS})
    if proc.goal is Goal.GONE:
        memo.spec = proc.spec
    try:
        return _encoder.encode(memo).decode()
    except UnicodeEncodeError:  # bytes of the system that are no text (lone surrogates): msgspec has no escape for them
        return json.dumps(msgspec.to_builtins(memo))


def write_rows(rows: Sequence[Sequence[object]]) -> str:
    """Return the memo of events that are on their way to the journal."""
    return _encoder.encode(rows).decode()


def read_rows(texts: Mapping[str, object], written: int) -> list[list[Any]]:
    """Return the events that never reached the journal, which ends at number `written`: the core before died."""
    rows: list[list[Any]] = []
    for name, text in texts.items():
        if name.startswith(ROWS) and isinstance(text, str):
            try:
                rows += msgspec.json.decode(text, type=list[list[Any]])
            except _NOT_OURS:
                continue
    return sorted(row for row in rows if row and isinstance(row[0], int) and row[0] > written)


def write_past(run: int) -> str | None:
    """Return the memo of a process that is gone, None if it never ran."""
    return _encoder.encode(Past(run)).decode() if run else None


def past_runs(texts: Mapping[str, object]) -> dict[Key, int]:
    """Return the last runs of the processes that are gone."""
    found = {}
    for name, text in texts.items():
        key = _key(name)
        try:
            past = _past.decode(text).past if isinstance(text, str) else 0
        except _NOT_OURS:  # or that of a process which is not gone
            continue
        if past and key is not None:
            found[key] = past
    return found


def read(text: object, key: Key, spec: JobSpec | None) -> Proc | None:
    """Return the process of a memo; None if it is not understood or nothing says what it was declared as."""
    if not isinstance(text, str):
        return None
    memo = _decoded(text)
    if memo is None:
        return None
    declared = spec or memo.spec
    if declared is None:
        return None
    return Proc(key, declared, **{name: getattr(memo, name) for name in _FIELDS})


def _decoded(text: str) -> Memo | None:
    try:
        return _decoder.decode(text)
    except (msgspec.ValidationError, RecursionError):
        return None
    except (msgspec.DecodeError, UnicodeError):  # no JSON, or JSON with the escapes of `write`
        pass
    try:
        return msgspec.convert(json.loads(text), Memo)
    except _NOT_OURS:
        return None


def _key(name: str) -> Key | None:
    try:
        return parse_key(name)
    except ValueError:
        return None


def restore(texts: Mapping[str, object], config: Config, runs: Mapping[str, int]) -> dict[Key, Proc]:
    """Return the processes the memos tell of; `runs` are those that live, by the process's name.

    Where memo and shim disagree the process is `unknown`. A memo that is not understood is left out.
    """
    specs = {job.name: job for job in config.jobs}
    restored: dict[Key, Proc] = {}
    for name, text in texts.items():
        if name == CORE or name.startswith(ROWS):
            continue
        key = _key(name)
        proc = None if key is None else read(text, key, specs.get(key.job))
        if key is not None and proc is not None:
            restored[key] = _agreed(proc, runs.get(name))
    return restored


def _agreed(proc: Proc, run: int | None) -> Proc:
    """Return the process, `unknown` if the shim holds a run that the memo does not speak of."""
    if run is not None and (proc.state not in ALIVE or proc.run != run):
        return replace(proc, state=State.UNKNOWN, deadline=None, pid=None)
    return proc


def write_core(generation: int, acked: int, ending: int | None = None) -> str:
    """Return the core's own memo."""
    return _encoder.encode(CoreMemo(generation, acked, ending)).decode()


def read_core(text: object) -> CoreMemo | None:
    """Return the memo of the core before, None if there is none."""
    if not isinstance(text, str):
        return None
    try:
        return msgspec.json.decode(text, type=CoreMemo)
    except _NOT_OURS:
        return None
