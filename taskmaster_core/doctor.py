"""Answer how the core itself is: every degradation it knows of, in words, with a remedy.

Reads only what is at hand; the client adds what can be seen from outside (`taskmaster doctor`).
"""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator

from msgspec import Struct

from taskmaster_core import kin
from taskmaster_core.ops import Ops
from taskmaster_core.server import Asked
from taskmaster_core.spec import State
from taskmaster_core.troubles import REMEDIES

LOW_DISK = 64 << 20
"""Bytes free below which a warning is due: rotation of a few logs needs as much."""


class Check(Struct):
    """Hold one thing that was looked at."""

    name: str
    ok: bool
    text: str
    help: str = ""


def doctor(ops: Ops, asked: Asked) -> None:
    """Answer with all checks."""
    ops.look()

    def told(found: kin.Kin) -> None:
        ops.runtime.reply(asked, {"checks": list(_checks(ops, found))}, keep=False)

    kin.ask(ops.runtime, (), told)


def _checks(ops: Ops, found: kin.Kin) -> Iterator[Check]:
    yield _descriptors()
    yield _disk(ops.runtime.facts.setting.places.statedir)
    yield _config(ops)
    yield _processes(ops)
    yield from _descendants(ops, found)
    journal = ops.runtime.journal.trouble
    yield Check("journal", not journal, journal or f"event {ops.runtime.publisher.seq}", REMEDIES["journal"])
    for part, text in ops.runtime.troubles.items():
        if part != "journal":
            yield Check(part, ok=False, text=text, help=REMEDIES.get(part, ""))


def _descriptors() -> Check:
    used, limit = len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Check("descriptors of the core", used < limit * 0.8, f"{used} of {limit}", "raise LimitNOFILE")


def _disk(statedir: str) -> Check:
    try:
        free = shutil.disk_usage(statedir).free
    except OSError as error:
        return Check("state directory", ok=False, text=f"{statedir}: {error.strerror}", help="is it still there?")
    return Check("state directory", free > LOW_DISK, f"{statedir}, {free >> 20} MiB free", "make room")


def _config(ops: Ops) -> Check:
    problems = ops.reloader.problems
    generation = ops.runtime.supervisor.generation
    text = f"{len(problems)} problem(s) in the files" if problems else f"generation {generation}, as in the files"
    return Check("config", not problems, text, "see `taskmaster check`")


def _processes(ops: Ops) -> Check:
    bad = [str(key) for key, proc in ops.runtime.supervisor.procs.items() if proc.state in (State.FATAL, State.BACKOFF)]
    text = f"failing: {', '.join(bad[:10])}" if bad else "none is failing"
    return Check("processes", not bad, text, "see `taskmaster why`")


def _descendants(ops: Ops, found: kin.Kin) -> Iterator[Check]:
    """Name what outlived its main process, and what is of no job; as process 1 we are given anybody's orphans."""
    relatives = ((key, each) for key, tree in found.trees.items() for each in tree.relatives)
    left = [f"{key}: {each.pid} {each.command}" for key, each in relatives if each.ended]
    if left:
        yield Check("descendants", ok=True, text=f"still run though their main process has ended: {_few(left)}")
    strays = [f"{each.pid} {each.command}" for each in found.strays]
    if strays:
        remedy = "a descendant that has shed all marks; end it by its pid if nobody needs it"
        text = f"orphans of no job: {_few(strays)}"
        yield Check("strays", ok=ops.runtime.facts.shim_pid == 1, text=text, help=remedy)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - kin.NAMED} more" if len(names) > kin.NAMED else ""
    return f"{', '.join(names[: kin.NAMED])}{more}"
