"""The record that a run writes into its lock file before exec: who it is, and how to end it.

Decides what the record holds and whether the process it names still lives. A child writes it (`spawn`), the next
spawn of the key and the next shim read it.
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

    def alive(self, boot: str) -> bool:
        """Tell whether the very process that wrote it still runs: a number alone may be somebody else's by now."""
        if self.boot != boot:
            return False
        member = tree.look(self.pid)
        return member is not None and member.started == self.started and not member.dead


def tags(env: dict[str, str]) -> list[str]:
    """Return the settings that mark every process of a run; none unless the run itself is among them."""
    if "TASKMASTER_RUN" not in env or "TASKMASTER_JOB" not in env:
        return []
    return [f"{name}={env[name]}" for name in _TAGS if name in env]


def tail(order: dict[str, Any], boot: str, leaf: str | None) -> str:
    """Return all of the record that is known before the fork."""
    recipe = {
        "key": order["key"],
        "stop": order.get("stop") or [[15, 10.0]],
        "killgroup": order.get("killgroup", True),
        "leaf": leaf,
        "tags": tags(order.get("env") or {}),
    }
    return f"{boot} {order['run']} {json.dumps(recipe, separators=(',', ':'))}\n"


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
