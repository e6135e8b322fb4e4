"""Keep what was last known on the disk, so that the next start paints at once and a dead core's output can be found.

It decides the form of that file and what may be in it: no value of any environment variable. It never fails its
caller; a file that is missing, torn or of another version means that nothing is known. The link reads and writes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from taskmaster_core import wire
from taskmaster_tui.model.world import World

VERSION = 1

SAVE_EVERY = 30.0
"""Seconds between two writes while it runs: so much is lost at most when somebody kills it."""

_SECRETS = ("env", "baseenv", "fileenv")


class LastState(Struct):
    """Hold a snapshot, when it was true (Unix seconds), and where the output lies."""

    version: int
    at: float
    status: wire.Status
    files: dict[str, Any] = {}


def path_of(instance: str, socket: str | None, environ: Mapping[str, str]) -> str:
    """Return the file of one connection."""
    base = environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # the XDG specification: a relative path is to be ignored
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return os.path.join(base, "taskmaster", instance if socket is None else _digest(socket), "last-state.msgpack")


def _digest(socket: str) -> str:
    import hashlib  # noqa: PLC0415 7 ms, and most starts name no socket

    return f"at-{hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]}"


def status_of(world: World) -> wire.Status | None:
    """Return the world as a snapshot; None before there was one."""
    if world.core is None:
        return None
    core = msgspec.structs.replace(world.core, seq=world.seq)
    jobs = [
        wire.JobView(
            name=job.name,
            state=job.state,
            goal=job.goal,
            numprocess=job.numprocess,
            restarts=job.restarts,
            spec={name: _safe(name, value) for name, value in job.spec.items()},
            processes=[proc.view for proc in job.procs.values()],
        )
        for job in world.jobs.values()
    ]
    return wire.Status(core, jobs)


def _safe(name: str, value: Any) -> Any:
    return dict.fromkeys(value, "") if name in _SECRETS and isinstance(value, dict) else value


def save(path: str, world: World, files: dict[str, Any]) -> None:
    """Write what is known, whole or not at all, for nobody else to read."""
    status = status_of(world)
    if status is None:
        return
    data = msgspec.msgpack.encode(LastState(VERSION, world.as_of, status, files))
    new = f"{path}.{os.getpid()}"
    with suppress(OSError):  # a cache: a full disk or a home that is read-only must not be felt
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
            os.replace(new, path)
        except OSError:
            with suppress(OSError):
                os.unlink(new)


def load(path: str) -> LastState | None:
    """Return what was known, None if nothing was."""
    try:
        with open(path, "rb") as file:
            found = msgspec.msgpack.decode(file.read(), type=LastState)
    except (OSError, ValueError, RecursionError):  # all of msgspec's are ValueErrors
        return None
    return found if found.version == VERSION else None


class Kept:
    """Hold the file of one connection, and what goes into it beside the world."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self.files: dict[str, Any] = {}
        """Where the output of each process lies, as `show` told."""
        self._path = path
        self._clock = clock
        self._saved = clock()

    def load(self, world: World) -> LastState | None:
        """Fill a world with what was known; return that, None if nothing was."""
        found = load(self._path)
        if found is not None:
            world.load(found.status, found.at)
            self.files = found.files
        return found

    def save(self, world: World) -> None:
        """Write what is known now."""
        self._saved = self._clock()
        save(self._path, world, self.files)

    def save_now_and_then(self, world: World) -> None:
        """Write it if the last time is long enough ago."""
        if self._clock() - self._saved >= SAVE_EVERY:
            self.save(world)
