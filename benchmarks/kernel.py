"""Read what the kernel knows of processes: wake-ups, CPU, memory, children, bytes written.

It decides nothing and asks no process manager, so that every one of them is measured by the same ruler. The measures
and the managers call it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple


class Effort(NamedTuple):
    """Sum up what some processes have cost since they began."""

    wakeups: int
    cpu: float

    def since(self, earlier: Effort) -> Effort:
        """Return what was added."""
        return Effort(self.wakeups - earlier.wakeups, self.cpu - earlier.cpu)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _fields(path: str) -> dict[str, int]:
    """Read lines such as `Pss:  12 kB` or `wchar: 12`."""
    pairs = (line.partition(":") for line in _text(path).splitlines())
    numbers = ((name, rest.split()[:1]) for name, _, rest in pairs)
    return {name: int(first[0]) for name, first in numbers if first and first[0].isdigit()}


def tasks(pid: int) -> list[int]:
    """Return the threads of a process."""
    try:
        return [int(each) for each in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def effort(pids: Iterable[int]) -> Effort:
    """Return context switches of all threads, and seconds on the CPU by the scheduler's nanosecond clock."""
    wakeups, cpu = 0, 0.0
    for pid in pids:
        for task in tasks(pid):
            counts = _fields(f"/proc/{pid}/task/{task}/status")
            wakeups += counts.get("voluntary_ctxt_switches", 0) + counts.get("nonvoluntary_ctxt_switches", 0)
            ran = _text(f"/proc/{pid}/task/{task}/schedstat").split()[:1]
            cpu += int(ran[0]) / 1e9 if ran else 0.0
    return Effort(wakeups, cpu)


def memory(pid: int) -> tuple[float, float]:
    """Return PSS and private memory in MiB."""
    found = _fields(f"/proc/{pid}/smaps_rollup")
    private = found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)
    return found.get("Pss", 0) / 1024, private / 1024


def written(pid: int) -> int:
    """Return how many bytes a process has written to whatever it writes to."""
    return _fields(f"/proc/{pid}/io").get("wchar", 0)


def name_of(pid: int) -> str:
    """Return the name of the program a process has exec'ed, "" if it is gone."""
    return _text(f"/proc/{pid}/stat").partition(" (")[2].rpartition(") ")[0]


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process."""
    return _text(f"/proc/{pid}/cmdline").split("\0")[:-1]


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has)."""
    return _text(f"/proc/{pid}/stat").rpartition(") ")[2][:1] in {"", "Z", "X"}


def tagged(tag: str) -> list[int]:
    """Return the living processes whose environment carries the tag."""
    mark, found = tag.encode(), []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if mark in Path(f"/proc/{name}/environ").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
    return found


def _whole(fd: int) -> bytes:
    """Read a file of /proc from its beginning; the kernel gives a page at a time."""
    text = b""
    while piece := os.pread(fd, 1 << 16, len(text)):
        text += piece
    return text


class Children:
    """Watch the children of one process by one file that stays open, at some 10 µs a look."""

    def __init__(self, parent: int) -> None:
        self._files = [os.open(f"/proc/{parent}/task/{task}/children", os.O_RDONLY) for task in tasks(parent)]

    def now(self) -> set[int]:
        """Return the pids, zombies among them; nothing once the parent is gone."""
        found: set[int] = set()
        for fd in self._files:
            try:
                found.update(map(int, _whole(fd).split()))
            except ProcessLookupError:
                continue
        return found

    def close(self) -> None:
        """Let the files go."""
        for fd in self._files:
            os.close(fd)


def until(cond: Callable[[], bool], timeout: float, step: float, what: str) -> float:
    """Wait for a condition; return the instant it was seen at. Raise TimeoutError."""
    end = time.perf_counter() + timeout
    while not cond():
        if time.perf_counter() > end:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(step)
    return time.perf_counter()


def busy(seconds: float = 0.5) -> float:
    """Return the share of all processors in use meanwhile (0 to 1): what other people do when we do nothing."""

    def ticks() -> tuple[int, int]:
        counts = [int(each) for each in _text("/proc/stat").splitlines()[0].split()[1:9]]
        return sum(counts), counts[3] + counts[4]

    total, idle = ticks()
    time.sleep(seconds)
    total_after, idle_after = ticks()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def warm(most: int = 3 << 30) -> None:
    """Touch memory by writing a file and removing it.

    In a virtual machine the first use of a page costs a fault in the host, ten times the write itself: without this
    whoever is measured first pays for all.
    """
    size = min(most, _fields("/proc/meminfo").get("MemAvailable", 0) * 1024 // 4)
    block = bytes(1 << 20)
    with tempfile.TemporaryFile() as file:
        for _ in range(size >> 20):
            file.write(block)


def go_ahead(ahead: bool) -> None:
    """Have us, and what we start from now on, run before whatever else wants the processors; or as everybody does.

    For a machine that others use, too. Output is a flood: it would leave them nothing.
    """
    policy = os.SCHED_RR if ahead else os.SCHED_OTHER
    os.sched_setscheduler(0, policy, os.sched_param(1 if ahead else 0))
