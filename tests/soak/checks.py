"""Say what is wrong after a fault: the invariants I1 to I6 of everything that runs, is told and is written.

Decides what must hold once a fault is over; does no harm. What it returns is words, none where all is well; the soak
asks again until nothing is wrong or its patience is over.
"""

from __future__ import annotations

import gzip
import os
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskmaster_core.errors import TaskmasterError
from tests.harness import Daemon, alive, environ_of, pids_now
from tests.soak.jobs import DOWN, STEADY, Job

LINE = re.compile(rb"(\d+\.\d+) (\d{9})$")
PART = re.compile(r"\.\d{8}T\d{6}\.\d{6,}")
ANSWERS = 1.0
"""Seconds within which an answer has to come (I6)."""
BUSY = 2.0
"""Running processes for each processor, from which on everything may take as much longer as there are more."""
PAGE = 5_000
"""Events in one answer at most."""
LATE = 5.0
"""Seconds after the end of a run in which its last words may still be on their way to the file."""


def patience() -> float:
    """Return how many times longer than on a machine of its own everything may take now."""
    return max(1.0, os.getloadavg()[0] / (BUSY * (os.cpu_count() or 1)))


class Town:
    """Know what is wanted of each process, whatever is done to it."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.widths: dict[str, int] = {}
        self.down: set[str] = set()

    def kind(self, *kinds: str) -> list[str]:
        """Return the keys of all processes of these kinds."""
        return [key for job in self.jobs.values() if job.kind in kinds for key in self.keys(job)]

    def keys(self, job: Job) -> list[str]:
        """Return the keys of one job's processes."""
        return [f"{job.name}:{index}" for index in range(self.widths.get(job.name, job.width))]

    def steady(self) -> set[str]:
        """Return the processes that run on and on, unless somebody ends them."""
        return {key for key, states in self.wanted().items() if states is STEADY}

    def wanted(self) -> dict[str, frozenset[str]]:
        """Return in which states each process may be."""
        found = {key: job.states for job in self.jobs.values() for key in self.keys(job)}
        return {key: DOWN if key in self.down else states for key, states in found.items()}


def tagged(instance: str) -> dict[int, tuple[str, int]]:
    """Return the living processes that carry an instance's mark: of which process, and of which run."""
    found = {}
    for pid in pids_now():
        marks = dict(each.decode(errors="replace").partition("=")[::2] for each in environ_of(pid))
        if marks.get("TASKMASTER_INSTANCE") == instance and "TASKMASTER_RUN" in marks and alive(pid):
            key = f"{marks.get('TASKMASTER_JOB')}:{marks.get('TASKMASTER_INDEX')}"
            found[pid] = (key, int(marks["TASKMASTER_RUN"]))
    return found


def processes(it: Daemon, town: Town) -> list[str]:
    """I1, I2, and that each process is in a state it may be in."""
    before = tagged(it.instance)
    status = it.status()
    after = tagged(it.instance)
    views = {view["key"]: view for job in status["jobs"] for view in job["processes"]}
    runs = defaultdict(set)
    for key, run in before.values():
        runs[key].add(run)
    wrong = [f"I1: {key} runs more than once: runs {sorted(its)}" for key, its in runs.items() if len(its) > 1]
    for pid in before.keys() & after.keys():
        key, run = before[pid]
        view = views.get(key)
        if view is None or view["run"] != run or view["pid"] is None:
            said = view and {name: view[name] for name in ("state", "goal", "pid", "run")}
            wrong.append(f"I2: nobody knows pid {pid} of run {run} of {key}: {said}")
    return wrong + states(views, town.wanted()) + _core(it, status["core"])


def states(views: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, frozenset[str]]) -> list[str]:
    """Say which process is missing, is there though nobody wants it, or is in a state it must not be in."""
    missing = [f"state: there is no {key}" for key in wanted.keys() - views.keys()]
    extra = [f"state: nobody wants {key}" for key in views.keys() - wanted.keys()]
    wrong = [
        f"state: {key} is {view['state']} (goal {view['goal']}): {view['reason']}"
        for key, view in views.items() if key in wanted and view["state"] not in wanted[key]
    ]  # fmt: skip
    dead = [
        f"state: {key} is said to run as pid {view['pid']}, which is dead"
        for key, view in views.items()
        if wanted.get(key) is STEADY and view["state"] == "running" and not alive(view["pid"])
    ]  # fmt: skip
    return [*missing, *extra, *wrong, *dead]


def _core(it: Daemon, core: Mapping[str, Any]) -> list[str]:
    wrong = [f"core: {text}" for text in core["troubles"]]
    if core["shim_pid"] != it.shim_pid or not alive(core["shim_pid"]):
        wrong.append(f"core: it speaks of shim {core['shim_pid']}, the lock of {it.shim_pid}")
    return wrong


def answers(it: Daemon) -> tuple[float, list[str]]:
    """I6: return how long `status` took, the best of three, since the machine has others to serve, too."""
    took, most = [], ANSWERS * patience()
    for _ in range(3):
        began = time.monotonic()
        it.request("status")
        took.append(time.monotonic() - began)
        if took[-1] < most:
            break
    return min(took), [f"I6: the answer took {min(took):.2f} s"] if min(took) >= most else []


class Story:
    """Follow the journal: I3, numbers without a hole; I4, what ended had begun, once each."""

    def __init__(self, it: Daemon) -> None:
        self._it = it
        self.seq = 0
        self.counts: dict[str, int] = defaultdict(int)
        self.told: dict[str, int] = defaultdict(int)
        """Bytes of output that were said to be lost, by path."""
        self._started: dict[str, int] = {}
        self._exited: dict[str, int] = {}
        self._anew = False

    def anew(self) -> None:
        """Say that core and shim are dying together: with the next core what had ended is numbered from 1 again."""
        self._anew = True

    def problems(self) -> list[str]:
        """Read on, and say what does not fit."""
        wrong: list[str] = []
        page = [{}] * PAGE
        while len(page) == PAGE:  # not until there is none: on a busy machine more has always come meanwhile
            page = self._it.request("events", since=self.seq)
            for event in page:
                if self.seq and event["seq"] != self.seq + 1:
                    wrong.append(f"I3: event {event['seq']} follows {self.seq}")
                self.seq = event["seq"]
                self.counts[event["type"]] += 1
                wrong += self._take(event)
        return wrong

    def _take(self, event: Mapping[str, Any]) -> list[str]:
        key, run, wrong = event.get("key", ""), event["data"].get("run"), []
        if event["type"] == "core_started" and self._anew:
            self._anew = False
            self._started.clear()
            self._exited.clear()
        elif event["type"] == "log_trouble" and isinstance(event["data"].get("bytes"), int):
            self.told[event["data"]["path"]] += event["data"]["bytes"]
        elif event["type"] == "started" and run is not None:
            if run <= self._started.get(key, 0):
                wrong.append(f"I4: event {event['seq']}: run {run} of {key} after run {self._started[key]}")
            self._started[key] = run
        elif event["type"] == "adopted" and run is not None:  # the shim died before it could say that it had begun
            self._started[key] = max(run, self._started.get(key, 0))
        elif event["type"] == "exited" and run is not None:
            if run > self._started.get(key, run) or run <= self._exited.get(key, 0):
                before = (self._started.get(key), self._exited.get(key))
                wrong.append(f"I4: event {event['seq']}: run {run} of {key} exited; (started, exited) was {before}")
            self._exited[key] = run
        return wrong


class Log:
    """Read one counting writer's file and its parts on, and find what is missing (I5)."""

    def __init__(self, key: str, path: Path, books: Path) -> None:
        self.key = key
        self.path = path
        self.excused = False
        """Nobody reads while there is no shim: what a run that ends then had written last goes with its FIFO."""
        self.lost = 0
        """Bytes that are missing between two lines of one run, so far."""
        self.lines = 0
        self._books = books
        self._file: Any = None
        self._rest = b""
        self._known: set[str] = set()
        self._next: dict[str, int] = {}
        self._doubts: dict[str, tuple[float, bool]] = {}
        self._hurt = self._opened_since = False

    def hurt(self) -> None:
        """Do not mind one hole: the file itself is being taken away or cut, with what nobody has read of it.

        The file that is hurt need not be the one that is open here, since a rotation may have begun another one: what
        is missing then comes after the rest of the open one. A hole in a file that is opened later is none of it.
        """
        self._hurt, self._opened_since = True, False

    def problems(self) -> list[str]:
        """Read what came since, and say what was lost of it."""
        return self._read() + self._ended()

    def _read(self) -> list[str]:
        wrong = []
        while self._file is None or not self._is_live():
            try:
                fresh = self.path.open("rb")
            except FileNotFoundError:
                return wrong  # not yet, or being rotated at this moment
            mine = ""
            if self._file is not None:
                wrong += self._take(self._file.read())
                mine = suffix_of(self._file.fileno())
                self._file.close()
            for part in self._parts(mine, fresh.fileno()):
                wrong += self._take(part)
            self._file, self._opened_since = fresh, True
        if self._file.tell() > os.fstat(self._file.fileno()).st_size:  # somebody cut it
            self._file.seek(0)
        return wrong + self._take(self._file.read())

    def _is_live(self) -> bool:
        mine = os.fstat(self._file.fileno())
        try:
            return self.path.stat().st_ino == mine.st_ino
        except FileNotFoundError:
            return True

    def _parts(self, mine: str, fresh: int) -> list[bytes]:
        """Return what is in the parts between the one that was read live and the file that is read on."""
        names = {name for name in os.listdir(self.path.parent) if name.startswith(f"{self.path.name}.")}
        suffixes = {found[0]: name for name in sorted(names, reverse=True) if (found := PART.search(name))}
        until = suffix_of(fresh)  # it may be a part itself by now
        before = {suffix for suffix in suffixes if not until or suffix < until}
        wanted = sorted(before - self._known - {mine})
        self._known = before | {mine}
        return [each for each in (self._open(suffixes[suffix]) for suffix in wanted) if each is not None]

    def _open(self, name: str) -> bytes | None:
        for each in (name, f"{name.removesuffix('.gz')}.gz"):
            try:
                data = (self.path.parent / each).read_bytes()
            except FileNotFoundError:
                continue  # packed just now
            return gzip.decompress(data) if each.endswith(".gz") else data
        return None

    def _take(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        wrong = []
        for line in lines:
            found = LINE.search(line)
            if found is None:
                continue  # torn: the number of the next one says whether it is missing
            who, number = found[1].decode(), int(found[2])
            wanted = self._next.get(who, 0)
            if number != wanted and not self._hurt:
                self.lost += max(number - wanted, 0) * (len(who) + 11)
                wrong.append(f"I5: {self.key}: line {number} of {who} comes where {wanted} should")
            if number != wanted or self._opened_since:
                self._hurt = False
            self._next[who] = number + 1
            self.lines += 1
        return wrong

    def _ended(self) -> list[str]:
        """Say what a run that is over has written and is not there; its book is closed."""
        wrong = []
        for book in self._books.glob(f"{self.key} *"):
            who = book.name.rpartition(" ")[2]
            if alive(int(who.partition(".")[2])):
                continue
            written, there = int(book.read_bytes() or b"0"), self._next.get(who, 0)
            since, excused = self._doubts.setdefault(who, (time.monotonic(), self.excused))
            if there < written and time.monotonic() < since + LATE:
                continue
            if there < written and not excused:
                self.lost += (written - there) * (len(who) + 11)
                wrong.append(f"I5: {self.key}: {who} has written {written} lines, {there} are there")
            book.unlink()
            del self._doubts[who]
        return wrong


def suffix_of(fd: int) -> str:
    """Return what rotation has added to the name of an open file, also if it was packed since; "" for another one."""
    found = PART.search(os.readlink(f"/proc/self/fd/{fd}"))
    return found[0] if found else ""


def tried(check: Any, *given: Any) -> list[str]:
    """Return what a check finds; a question that is not answered is what is wrong then."""
    try:
        found: list[str] = check(*given)
    except (TaskmasterError, OSError) as error:
        return [f"no answer: {type(error).__name__}: {error}"]
    return found
