"""Say which jobs the soak runs: fifty of many kinds, in one config that can be changed in a dozen ways.

Decides what each of them is for and in which states it may be found; hurts nothing. `soak` writes the config, the
faults choose among the jobs by kind, the checks look up what is right for them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.harness import PROGRAMS

STEADY = frozenset({"running"})
RESTLESS = frozenset({"running", "starting", "backoff", "exited", "pending"})
HOPELESS = frozenset({"fatal"})
DOWN = frozenset({"stopped"})

Value = str | int | float | bool | list[str] | dict[str, float | int | str | bool]


class Job(NamedTuple):
    """Declare a job and what is to be expected of it."""

    name: str
    kind: str
    keys: Mapping[str, Value]
    width: int = 1
    states: frozenset[str] = STEADY

    @property
    def all(self) -> list[str]:
        """Return the keys of its processes, as the config has them."""
        return [f"{self.name}:{index}" for index in range(self.width)]


def isolated(name: str, *words: object) -> list[str]:
    """Return the command line of a program that needs nothing but the interpreter, which starts faster so."""
    return [sys.executable, "-I", "-S", str(PROGRAMS / name), *map(str, words)]


def town(directory: Path) -> list[Job]:
    """Return the fifty."""
    books, files, small = (str(directory / name) for name in ("books", "files", "small"))
    rotated: dict[str, float | int | str | bool] = {"maxsize": 20_000, "keep": 8}
    lasting = {"log": {**rotated}}
    slow = {"log": {**rotated, "maxsize": 5_000}}  # a part every quarter of a minute, as the others
    return [
        *(Job(f"count{n}", "count", {"cmd": isolated("ledger.py", books, 4, 0.05), **lasting}) for n in range(6)),
        Job("twins", "count", {"cmd": isolated("ledger.py", books, 2, 0.1), **slow}, width=3),
        Job("swift", "count", {"cmd": isolated("ledger.py", books, 50, 0.05), "log": {"maxsize": 200_000, "keep": 8}}),
        *(Job(f"brief{n}", "brief", {"cmd": isolated("ledger.py", books, 20, 0.3, 60), "restart": "always",
                                     "backoff": {"first": 0.5, "max": 2}, **slow}, states=RESTLESS)
          for n in range(3)),
        *(Job(f"victim{n}", "victim", {"cmd": isolated("ledger.py", books, 2, 0.1),
                                       "stdout": f"{files}/victim{n}.log", **slow}) for n in range(3)),
        *(Job(f"small{n}", "small", {"cmd": isolated("ledger.py", books, 2, 0.1),
                                     "stdout": f"{small}/small{n}.log", **slow}) for n in range(2)),
        *(Job(f"crash{n}", "crash", {"cmd": f"sh -c 'echo down; sleep {n + 1}; exit {n + 3}'",
                                     "backoff": {"first": 0.2, "max": 2}}, states=RESTLESS) for n in range(4)),
        Job("hopeless", "hopeless", {"cmd": "/no/such/program", "retry": 1, "backoff": {"first": 0.05}},
            states=HOPELESS),
        *(Job(f"short{n}", "short", {"cmd": f"sleep 0.{n + 2}", "restart": "always",
                                     "backoff": {"first": 1, "max": 3}}, states=RESTLESS) for n in range(4)),
        *(Job(f"daemon{n}", "tree", {"cmd": isolated("daemoniser.py"), "stopdelay": 0.5}) for n in range(2)),
        *(Job(f"forker{n}", "tree", {"cmd": isolated("forker.py"), "stopdelay": 0.5}) for n in range(2)),
        *(Job(f"stubborn{n}", "stubborn", {"cmd": isolated("stubborn.py"), "stopdelay": 0.5}) for n in range(3)),
        *(Job(f"tty{n}", "tty", {"cmd": "cat", "tty": True}) for n in range(3)),
        *(Job(f"pipe{n}", "pipe", {"cmd": "cat", "stdin": "pipe", "restart": "always"}) for n in range(3)),
        Job("flood", "flood", {"cmd": isolated("counter.py", 10**9, 200, 0.05),
                               "log": {"maxsize": 500_000, "keep": 2}}),
        *(Job(f"dots{n}", "dots", {"cmd": isolated("dots.py", 5), "log": {"maxsize": 5_000, "keep": 2}})
          for n in range(2)),
        Job("wide", "wide", {"cmd": "sleep 1000000"}, width=3),
        *(Job(f"quiet{n}", "quiet", {"cmd": f"sleep 1000{n}"}) for n in range(8)),
    ]  # fmt: skip


SETTINGS = '[taskmaster]\ndebounce = "0.2s"\njournalkeep = "1h"\n\n[defaults]\nretry = "forever"\n\n'
BACKOFF = "[defaults.backoff]\nfirst = 0.1\nmax = 1\n\n"


def config(jobs: Iterable[Job], widths: Mapping[str, int] | None = None) -> str:
    """Return the TOML of some jobs."""
    return SETTINGS + BACKOFF + "\n".join(_table(job, (widths or {}).get(job.name, job.width)) for job in jobs)


def _table(job: Job, width: int) -> str:
    lines = ["[[task]]", f"name = {_toml(job.name)}", f"tags = [{_toml(job.kind)}]"]
    lines += [f"{key} = {_toml(value)}" for key, value in job.keys.items()]
    return "\n".join([*lines, f"numprocess = {width}"] if width != 1 else lines) + "\n"


def _toml(value: Value | float) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)  # of these types TOML and JSON spell the values alike
