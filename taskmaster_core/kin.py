"""Ask the shim who is in the trees of some processes, and say who each of them is.

Decides how a descendant is named: its command as the kernel shows it, shortened, without what looks like a secret, and
how long it lives. Nobody looks while nobody asks. The operations `show`, `why` and `doctor` call it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any
from uuid import uuid4

from msgspec import Struct, field

from taskmaster_core.masking import masked_words
from taskmaster_core.runtime import Runtime
from taskmaster_core.views import ago

TICKS = os.sysconf("SC_CLK_TCK")

PATIENCE = 1.0
"""Seconds for which the shim's answer is waited for; then what is asked for is told without it."""

MOST = 64
"""Living processes whose trees the shim is asked for at once: it does nothing else meanwhile."""

WIDE = 100
"""Characters of a command that are told."""

NAMED = 10
"""Descendants that a sentence names; of the others it gives the number."""

_READ = 4096

Document = dict[str, Any]


class Relative(Struct):
    """Show one descendant of a process: one that has left its group, or outlived the leader."""

    pid: int
    run: int
    """Of which run: it may be an older one than the present."""
    ended: bool
    """The main process of its run has ended."""
    command: str
    started_at: float
    """Unix time."""


class Tree(Struct):
    """Show what is known of the trees of one process."""

    halted: str = ""
    """"stopped" (by a signal) or "frozen" (its control group): the main process stands still; else empty."""
    relatives: list[Relative] = field(default_factory=list)
    more: int = 0
    """So many beyond those."""


class Kin(Struct):
    """Hold the answer: trees by the names of processes, and the orphans of nobody."""

    trees: dict[str, Tree] = field(default_factory=dict)
    strays: list[Relative] = field(default_factory=list)


def ask(runtime: Runtime, keys: Iterable[str], then: Callable[[Kin], None]) -> None:
    """Call `then` with what the shim says of these processes; with nothing where it does not answer in time.

    Of runs whose main process has ended it says everything, of the living only those of the first `MOST` processes.
    """
    name = f"trees {uuid4().hex}"
    wall = runtime.wall_offset()

    def heard(report: Document) -> None:
        timer.cancel()
        then(_kin(report, wall))

    def too_late() -> None:
        if runtime.awaited.pop(name, None) is not None:
            then(Kin())

    runtime.awaited[name] = heard
    timer = runtime.timers.at(runtime.now() + PATIENCE, too_late)
    runtime.order({"t": "trees", "id": name, "keys": list(islice(keys, MOST))})


def _kin(report: Document, wall: float) -> Kin:
    found = Kin()
    for run in sorted(report.get("runs") or (), key=lambda each: int(each["run"]), reverse=True):
        tree = found.trees.setdefault(run["key"], Tree())
        tree.halted = tree.halted or run["halted"]
        tree.relatives += [_relative(each, run["run"], run["ended"], wall) for each in run["left"]]
        tree.more += run["away"] - len(run["left"])
    found.strays = [_relative(each, 0, True, wall) for each in report.get("strays") or ()]
    return found


def _relative(shown: tuple[int, int, str], run: int, ended: bool, wall: float) -> Relative:
    pid, started, comm = shown
    return Relative(pid, run, ended, command_of(pid, started, comm), round(started / TICKS + wall, 2))


def command_of(pid: int, started: int, comm: str) -> str:
    """Return the command of the process that began at this tick; its name, where the kernel tells no more."""
    words: list[str] = []
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            words = file.read(_READ).decode("utf-8", "backslashreplace").split("\0")
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            if int(file.read(1024).rpartition(b")")[2].split()[19]) != started:
                words = []
    except (OSError, ValueError, IndexError):
        words = []
    text = " ".join(masked_words(word for word in words if word)) or f"[{comm}]"
    return text if len(text) <= WIDE else f"{text[: WIDE - 1]}…"


def sentences(key: str, tree: Tree, now: float) -> Iterable[str]:
    """Say what is to be known of a tree; `now` is Unix time."""
    if tree.halted == "stopped":
        yield f"its main process stands still (T), by SIGSTOP or a debugger; `taskmaster signal CONT {key}` wakes it"
    elif tree.halted:
        yield "it stands still: its control group is frozen (write 0 to its cgroup.freeze)"
    for each in tree.relatives[:NAMED]:
        what = f"outlived the main process of run {each.run}" if each.ended else "has left its group"
        yield f"{each.pid} {each.command} {what}, {ago(now - each.started_at)} old"
    rest = len(tree.relatives) - NAMED + tree.more if len(tree.relatives) > NAMED else tree.more
    if rest > 0:
        yield f"and {rest} more"
