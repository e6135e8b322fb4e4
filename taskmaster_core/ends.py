"""Judge and word the end of a run: was it expected, how long to wait after it, what to say of it.

Pure functions of what is known of one end; what follows from it is decided in the machine. The machine calls them, and
`describe` is for everybody who tells people how something ended.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from taskmaster_core.spec import Backoff, Exit, JobSpec, Key

_MEMORY = {"yes": " (out of memory)", "likely": " (likely out of memory)"}

_OURS = frozenset({"lock", "fifo", "fork", "terminal"})
"""The stages of a start that are the shim's own work: what fails there is short of something, whatever the job is."""


def short(exit_: Exit | None) -> bool:
    """Tell whether a start failed for want of descriptors, processes, memory or disk, and not because of the job."""
    return exit_ is not None and exit_.stage in _OURS and exit_.errno != "EEXIST"  # that one: an older copy lives


def describe(exit_: Exit | None) -> str:
    """Say how a run ended, one clause for people."""
    if exit_ is None:
        return "not known how"
    memory = _MEMORY.get(exit_.oom, "")
    if exit_.stage is not None:
        return exit_.message or f"{exit_.stage}: {exit_.errno}"
    why = f" ({exit_.message})" if exit_.message else ""
    if exit_.signal is not None:
        return f"killed by {exit_.signal}" + (" (core dumped)" if exit_.core else memory) + why
    if exit_.code is not None:
        return f"exit code {exit_.code}{memory}{why}"
    return exit_.message or "not known how"


def expected(spec: JobSpec, exit_: Exit) -> bool:
    """Tell whether the spec calls this end a good one. What is not known is not good."""
    if exit_.signal is not None:
        return exit_.signal in spec.exitcodes
    return exit_.code is not None and exit_.code in spec.exitcodes


def backoff_delay(key: Key, run: int, backoff: Backoff, streak: int) -> float:
    """Return the seconds to wait before the next try. The jitter is a hash of key and run: spread, yet repeatable."""
    try:
        base = min(backoff.first * backoff.factor ** (streak - 1), backoff.max)
    except OverflowError:  # 2.0 ** 1024 is no float any more
        base = backoff.max
    return base * (1 + backoff.jitter * (2 * _share(key, run) - 1))


def herd_delay(key: Key, run: int, backoff: Backoff, planned: float) -> float:
    """Return the seconds to put off a retry of which the instant passed while nobody looked.

    After a suspend all of them are due at once; the jitter of the delay that was planned parts them again.
    """
    return planned * backoff.jitter * _share(key, run)


def _share(key: Key, run: int) -> float:
    return crc32(f"{key}/{run}".encode()) / 0xFFFFFFFF


def told_of(exit_: Exit) -> dict[str, Any]:
    """Return the fields of an end that have something to say."""
    names = ("code", "signal", "core", "oom", "stage", "errno", "message")
    pairs = ((name, getattr(exit_, name)) for name in names)
    return {name: value for name, value in pairs if value is not None and value is not False and value != ""}
