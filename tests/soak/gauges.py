"""Read once a second what core, shim, terminal UI and state directory take, in a thread of its own.

Decides what is read, from /proc and the state directory; judges nothing. The soak says who is who, the report takes
the samples.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.harness import stat_of

TICK = os.sysconf("SC_CLK_TCK")
WANTED = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private"}


class Sample(NamedTuple):
    """Hold what one process, or the state directory, took at one moment."""

    at: float
    """Seconds since the soak began."""
    role: str
    life: str
    """Which process it was: its pid and start; figures of two lives have nothing to do with each other."""
    values: dict[str, float]


def memory(pid: int) -> dict[str, float]:
    """Return bytes: rss, pss, and what is this process's alone."""
    found: Counter[str] = Counter()
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in WANTED:
            found[WANTED[name]] += int(rest.split()[0]) << 10
    return dict(found)


def descriptors(pid: int) -> dict[str, int]:
    """Return how many descriptors lead where; numbers in the names are left out, so that leaks add up."""
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            found["".join("#" if c.isdigit() else c for c in os.readlink(f"/proc/{pid}/fd/{name}"))] += 1
    return dict(found)


def children(pid: int) -> list[int]:
    """Return the children of the main thread."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def process(pid: int) -> tuple[str, dict[str, float]] | None:
    """Return which process it is and what it takes now; None if it is gone."""
    try:
        fields = stat_of(pid)
        born = children(pid)
        zombies = sum(stat_of(each)[:1] == ["Z"] for each in born)
        values = {
            **memory(pid), "fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": int(fields[17]),
            "cpu": (int(fields[11]) + int(fields[12])) / TICK, "children": len(born), "zombies": zombies,
        }  # fmt: skip
    except (OSError, IndexError):
        return None
    return f"{pid}.{fields[19]}", values


def directory(path: Path) -> dict[str, float]:
    """Return bytes and number of the files below a directory, and the bytes of its journal."""
    sizes: dict[str, int] = {}
    for where, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                sizes[os.path.join(where, name)] = os.stat(os.path.join(where, name)).st_size
    journal = sum(size for name, size in sizes.items() if "/journal.db" in name)
    return {"bytes": sum(sizes.values()), "files": len(sizes), "journal": journal}


class Gauges:
    """Take samples until told to stop."""

    def __init__(self, who: Callable[[], Mapping[str, int]], statedir: Path, every: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self.holding: dict[str, dict[str, int]] = {}
        """What the descriptors of each life lead to: at first, and at last."""
        self._who = who
        self._statedir = statedir
        self._every = every
        self._began = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Return the seconds since the first sample."""
        return time.monotonic() - self._began

    def close(self) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._end.wait(self._every):
            self.samples += [self._sample(role, pid) for role, pid in self._who().items() if alive_as(role, pid)]
            self.samples.append(Sample(self.now(), "state", "", directory(self._statedir)))

    def _sample(self, role: str, pid: int) -> Sample:
        life, values = process(pid) or ("", {})
        if life:
            with suppress(OSError):
                found = descriptors(pid)
                self.holding.setdefault(f"{role} {life} first", found)
                self.holding[f"{role} {life} last"] = found
        return Sample(self.now(), role, life, values)


def alive_as(role: str, pid: int) -> bool:
    """Tell whether there is a process to look at; the core's pid may be none while it is being replaced."""
    return bool(role) and pid > 0 and os.path.exists(f"/proc/{pid}/smaps_rollup")
