"""Find a core whose sockets are not there: the instance is in use, but somebody removed the files, or it just starts.

It decides whether the instance is in use (the lock the shim holds tells) and has the sockets bound again (SIGUSR1 to
the shim, DESIGN §8), and it gives a core that is being replaced the time to come back. A call that found no core comes
here before it says so; `doctor` asks about the lock.
"""

from __future__ import annotations

import os
import select
import signal
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

from taskmaster_core import paths
from taskmaster_core.client import find
from taskmaster_core.config.discover import discover
from taskmaster_core.errors import NoCore
from taskmaster_core.reach import holder

PATIENCE = 3.0
"""Seconds a core may take to bind its sockets: it was told to, was just started, or replaces one that died."""

_LOOK = 0.02


def holders(instance: str, config: list[str]) -> list[int]:
    """Return the pids of the shims that hold the instance, 0 for one that does not say."""
    statedirs = [None, *declared(config)]
    locks = {paths.places(instance, os.environ, os.geteuid(), statedir).lock for statedir in statedirs}
    return [pid for lock in locks if (pid := holder(lock)) is not None]


def declared(config: list[str]) -> Iterator[str]:
    """Yield the state directories that the config files here name; a broken file names none."""
    for path in discover(config, os.environ, os.getcwd()).paths:
        with suppress(OSError, ValueError, AttributeError):
            with open(path, "rb") as file:
                statedir = tomllib.load(file).get("taskmaster", {}).get("statedir")
            if isinstance(statedir, str):
                yield os.path.abspath(os.path.join(os.path.dirname(path), statedir))


def rebound(instance: str, config: list[str]) -> str | None:
    """Return the command socket of an instance in use, bound again if need be; None if there is none to be had."""
    pids = holders(instance, config)
    if not pids and not _left_behind(instance):
        return None
    for pid in pids:
        if pid and _is_shim(pid):
            with suppress(OSError):
                os.kill(pid, signal.SIGUSR1)
    until = monotonic() + PATIENCE
    while monotonic() < until:
        with suppress(NoCore):
            return find(instance)
        select.select([], [], [], _LOOK)
    return None


def _left_behind(instance: str) -> bool:
    """Tell whether a socket lies there at which nobody listens: a core that died leaves it to the next one."""
    candidates = paths.where_to_look(instance, os.environ, os.geteuid())
    return any(os.path.exists(path) for path in candidates)


def _is_shim(pid: int) -> bool:
    """Tell whether the pid is a shim here: of another pid namespace it would be a stranger, whom the signal kills."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return b"-I" in words and any(word.endswith(b"/taskmaster_core/shim") for word in words)
