"""Show that this core could take the place of one that runs: everything loads, and what is there can be read.

Decides only that; nothing is opened for writing and nobody is spoken to. The shim starts it in a child before a core
is ended for another (`python -m taskmaster_core.daemon … --selftest FD`), with what the new core would be given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from taskmaster_core import __version__, memos, versions
from taskmaster_core.boot import CannotRun, understand
from taskmaster_core.errors import ExitStatus
from taskmaster_core.generations import Generations
from taskmaster_core.paths import Places
from taskmaster_core.spec import Config, parse_key

OPTION = "--selftest"


def wanted(argv: Sequence[str]) -> int | None:
    """Return the descriptor behind `--selftest`, None without it."""
    if OPTION not in argv:
        return None
    at = list(argv).index(OPTION)
    return int(argv[at + 1]) if argv[at + 1 : at + 2] else None


def rehearse(argv: Sequence[str], fd: int, environ: Mapping[str, str]) -> str:
    """Return what to say of ourselves; raise CannotRun if we could not take over."""
    with os.fdopen(fd, "rb") as file:
        told = json.loads(file.read())
    words = list(argv)
    at = words.index(OPTION)
    understand([*words[:at], *words[at + 2 :]], environ)
    if why := versions.misfit(told["shim"]) or _unreadable(told):
        raise CannotRun(ExitStatus.REFUSED, why)
    return json.dumps({"release": __version__, "wire": versions.WIRE, "oldest_wire": versions.OLDEST_WIRE})


def _unreadable(told: Mapping[str, Any]) -> str:
    """Return what of the state on disk and with the shim this release does not understand."""
    texts = told.get("memos") or {}
    generations = Generations(Places(told["statedir"], "").generations)
    before = memos.read_core(texts.get(memos.CORE))
    known = generations.load(before.generation) if before is not None else generations.latest()
    if known is None:
        return generations.trouble or "no generation of the config can be read"
    strange = _strange(texts, known.config)
    return f"what is known of {', '.join(strange[:5])} is of another version" if strange else ""


def _strange(texts: Mapping[str, object], config: Config) -> list[str]:
    """Return the processes whose memo would be left out, and with it their counts and wishes."""
    specs = {job.name: job for job in config.jobs}
    past = memos.past_runs(texts)
    found = []
    for name, text in texts.items():
        if name == memos.CORE or name.startswith(memos.ROWS):
            continue
        key = parse_key(name)
        if key.job in specs and key not in past and memos.read(text, key, specs[key.job]) is None:
            found.append(name)
    return found
