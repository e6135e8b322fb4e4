"""The record that a run writes into its lock file before exec: who it is, where it writes, and how to end it.

Decides what the record holds and whether the process it names still lives. A child writes it (`spawn`), the next
spawn of the key and the next shim read it. What changes later stands in an amendment beside it, which the shim writes.
"""

from __future__ import annotations

import json
import os

import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
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


def tail(order: dict[str, Any], boot: str, leaf: str | None, sinks: dict[str, Any]) -> str:
    """Return all of the record that is known before the fork; `sinks` are the streams that are pumped."""
    recipe = {
        "key": order["key"],
        "stop": order.get("stop") or [[15, 10.0]],
        "killgroup": order.get("killgroup", True),
        "nice": order.get("nice") or 0,
        "leaf": leaf,
        "pidns": namespace(),
        "sinks": sinks,
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
        recipe = json.loads(words[4])
        return Record(int(words[0]), int(words[1]), words[2], int(words[3]), recipe)
    except (ValueError, IndexError):
        return None


def amendment_of(lock: str) -> str:
    """Return the file of what changed since the record was written."""
    return f"{lock.removesuffix('.lock')}.now"


def amend(lock: str, run: int, changes: dict[str, Any]) -> None:
    """Write down what changed, whole or not at all; raises OSError."""
    path = amendment_of(lock)
    fd = os.open(f"{path}~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, json.dumps({"run": run, **changes}, separators=(",", ":")).encode())
    finally:
        os.close(fd)
    os.rename(f"{path}~", path)


def amended(lock: str, record: Record) -> dict[str, Any]:
    """Return the recipe of a record with what changed since; changes of another run are not taken."""
    try:
        with open(amendment_of(lock), "rb", buffering=0) as file:
            changes = json.loads(file.readall())
    except (OSError, ValueError):
        return record.recipe
    if not isinstance(changes, dict) or changes.pop("run", None) != record.run:
        return record.recipe
    sinks = {**record.recipe["sinks"], **changes.pop("sinks", {})}
    return {**record.recipe, **changes, "sinks": sinks}


def move(lock: str, aside: str) -> None:
    """Give a lock file another name, with what was amended."""
    os.rename(lock, aside)
    try:
        os.rename(amendment_of(lock), amendment_of(aside))
    except OSError:
        pass  # nothing was
