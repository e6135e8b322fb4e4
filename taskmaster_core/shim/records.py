"""The record that a run writes into its lock file before exec: who it is, where it writes, and how to end it.

Decides what the record holds and whether the process it names still lives. A child writes it (`spawn`), the next
spawn of the key and the next shim read it. What changes later stands in an amendment beside it, which the shim writes.
"""

from __future__ import annotations

import errno
import json
import os

import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TAGS = ("TASKMASTER_INSTANCE", "TASKMASTER_JOB", "TASKMASTER_INDEX", "TASKMASTER_RUN")


class Record:
    """Hold what one lock file says."""

    def __init__(self, pid: int, started: int, boot: str, run: int, recipe: dict[str, Any]) -> None:
        self.pid = pid
        self.started = started
        self.boot = boot
        self.run = run
        self.recipe = recipe

    @property
    def adoptable(self) -> bool:
        """Tell whether it says enough to take the run over; those of older versions do not."""
        return "sinks" in self.recipe

    @property
    def foreign(self) -> bool:
        """Tell whether its numbers belong to another pid namespace, in which we can see and signal nobody."""
        return "pidns" in self.recipe and self.recipe["pidns"] != namespace()

    def alive(self, boot: str) -> bool:
        """Tell whether the very process that wrote it still runs: a number alone may be somebody else's by now."""
        member = self.look(boot)
        return member is not None and not member.dead

    def look(self, boot: str) -> tree.Member | None:
        """Return that process, perhaps a zombie; None when it is gone."""
        if self.boot != boot or self.foreign:
            return None
        member = tree.look(self.pid)
        return member if member is not None and member.started == self.started else None


def tags(env: dict[str, str]) -> list[str]:
    """Return the settings that mark every process of a run; none unless the run itself is among them."""
    if "TASKMASTER_RUN" not in env or "TASKMASTER_JOB" not in env:
        return []
    return [f"{name}={env[name]}" for name in _TAGS if name in env]


def namespace() -> int:
    """Return what tells our pid namespace from others."""
    return os.stat("/proc/self/ns/pid").st_ino


def tail(order: dict[str, Any], boot: str, leaf: str | None, sinks: dict[str, Any], inlet: str) -> str:
    """Return all of the record that is known before the fork.

    `sinks` are the streams that are pumped; `inlet` says what only an open descriptor keeps: "terminal", "pipe" or "".
    """
    recipe = {
        "key": order["key"],
        "stop": order.get("stop") or [[15, 10.0]],
        "killgroup": order.get("killgroup", True),
        "nice": order.get("nice") or 0,
        "leaf": leaf,
        "pidns": namespace(),
        "sinks": sinks,
        "inlet": inlet,
        "tags": tags(order.get("env") or {}),
    }
    return f"{boot} {order['run']} {json.dumps(recipe, separators=(',', ':'))}\n"


def open_to_write(fd: int) -> int:
    """Open a lock file once more, to write into it; only who may open the file by its name can."""
    return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_CLOEXEC)


def read(fd: int) -> Record | None:
    """Return the record in a lock file; None for an empty or torn one."""
    text = os.pread(fd, 1 << 16, 0).decode("utf-8", "replace")
    if not text.endswith("\n"):
        return None
    words = text.split(" ", 4)
    try:
        pid, started, run = (int(words[number]) for number in (0, 1, 3))
    except (ValueError, IndexError):
        return None
    if len(words) < 5 or not (0 < pid < _MOST_PIDS and 0 <= started < _MOST and 0 < run < _MOST):
        return None
    return Record(pid, started, words[2], run, _recipe(words[4]))


def _recipe(text: str) -> dict[str, Any]:
    """Return what a record says beside its numbers, nothing if any of it makes no sense: it is ended, not adopted."""
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return recipe if isinstance(recipe, dict) and _sound(recipe) else {}


def _sound(said: dict[str, Any]) -> bool:
    """Tell whether each thing that is said is of its kind; a disk that lies, or a job of our uid, may say anything."""
    return all(name not in said or fits(said[name]) for name, fits in _FITS.items()) and (
        "sinks" not in said or all(name in said for name in ("key", "leaf", "tags"))
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_stop(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list) and len(each) == 2 and all(map(_is_number, each)) and 0 < each[0] < 65 for each in value
    )


def _is_key(value: object) -> bool:
    job, _, index = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return job != "" and index.isascii() and index.isdigit() and len(index) < 10


def _is_sinks(value: object) -> bool:
    return isinstance(value, dict) and all(
        name.isalpha() and isinstance(spec, dict) and "fifo" in spec and isinstance(spec.get("path"), str)
        for name, spec in value.items()
    )


def _is_told(value: object) -> bool:
    return value is None or (isinstance(value, dict) and _is_number(value.get("at")) and _is_number(value.get("wall")))


_MOST = 1 << 53  # whole numbers that JSON and doubles agree about
_MOST_PIDS = 1 << 31
_FITS: dict[str, Callable[[object], bool]] = {
    "key": _is_key,
    "stop": _is_stop,
    "killgroup": lambda value: isinstance(value, bool),
    "nice": lambda value: isinstance(value, int) and -20 <= value < 20,
    "leaf": lambda value: value is None or (isinstance(value, str) and value[:1] == "/" and "\0" not in value),
    "pidns": _is_number,
    "sinks": _is_sinks,
    "tags": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "told": _is_told,
}


def amendment_of(lock: str) -> str:
    """Return the file of what changed since the record was written."""
    return f"{lock.removesuffix('.lock')}.now"


def amend(lock: str, run: int, changes: dict[str, Any]) -> None:
    """Write down what changed, whole or not at all; raises OSError."""
    path = amendment_of(lock)
    fd = os.open(f"{path}~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        text = json.dumps({"run": run, **changes}, separators=(",", ":")).encode()
        if os.write(fd, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)
    os.rename(f"{path}~", path)


def amended(lock: str, record: Record) -> dict[str, Any]:
    """Return the recipe of a record with what changed since; changes of another run are not taken."""
    try:
        with open(amendment_of(lock), "rb", buffering=0) as file:
            changes = json.loads(file.readall())
    except (OSError, ValueError, RecursionError):
        return record.recipe
    if not isinstance(changes, dict) or changes.pop("run", None) != record.run or not _sound(_complete(changes)):
        return record.recipe
    sinks = {**record.recipe["sinks"], **changes.pop("sinks", {})}
    return {**record.recipe, **changes, "sinks": sinks}


def _complete(changes: dict[str, Any]) -> dict[str, Any]:
    return {"key": "a:0", "leaf": None, "tags": [], **changes}


def restore(pid: int, lock: str) -> bool:
    """Write a lock file anew that was removed under its run, from what the run still has open; tell whether it stands.

    Nobody holds the new one, so it counts by its record alone: pid, start and boot.
    """
    if os.path.exists(lock):
        return True
    try:
        fds = (f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd"))
        held = next(each for each in fds if os.readlink(each) == f"{lock} (deleted)")
        with open(held, "rb", buffering=0) as file:
            text = file.read(1 << 16)
        fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            return os.write(fd, text) == len(text)
        finally:
            os.close(fd)
    except (OSError, StopIteration):
        return False


def move(lock: str, aside: str) -> None:
    """Give a lock file another name, with what was amended."""
    os.rename(lock, aside)
    try:
        os.rename(amendment_of(lock), amendment_of(aside))
    except OSError:
        pass  # nothing was
