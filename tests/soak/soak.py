"""Run fifty jobs, hurt them and what keeps them for as long as asked, look after each fault, and say what grew.

Decides the order: first everything may be killed (the storm), then core and shim are left alive (the calm), long
enough to see what grows in one life. `make soak` calls it (`python -m tests.soak`), and a short test of the suite.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from taskmaster_core.errors import TaskmasterError
from tests.harness import Daemon
from tests.soak import checks, faults, jobs
from tests.soak.gauges import Gauges, Sample
from tests.soak.people import Crowd, Person

STORM = 0.4
"""Which part of the time everything may be killed."""
PATIENCE = 30.0
"""Seconds after a fault within which all has to be as it should: a machine that others use, too."""
SLOW = 5.0
"""Seconds after which it is said what took so long."""
SMALL = "1m"
"""The size of the file system that is filled."""


class Plan(NamedTuple):
    """Say how long, and by which chances."""

    seconds: float
    seed: int
    storm: float = STORM
    most: int = 10**9
    """So many faults are enough."""


class Struck(NamedTuple):
    """Hold one fault and how it went."""

    number: int
    at: float
    name: str
    words: str
    settled: float
    """Seconds until all was well."""
    answer: float
    """Seconds that the answer of `status` took then."""
    wrong: list[str]
    last: str = ""
    """What was the last to become well."""


class Soak:
    """Hold everything that takes part."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.say = say
        self.struck: list[Struck] = []
        self.without: frozenset[str] = frozenset()
        self.it = Daemon("", env={"TASKMASTER_TRUST_CONFIG": "1"})
        self.town = checks.Town(jobs.town(self.it.dir))
        self.it.write_config(self.text())
        self.story = checks.Story(self.it)
        self.logs = {key: self._log(key) for key in self.town.kind("count", "brief", "victim", "small")}
        self.storming = False
        self.core = 0
        self.keep: dict[str, int | None] = {}
        self.calm_since = 0.0

    def text(self) -> str:
        """Return the config that is to be in force."""
        return jobs.config(self.town.jobs.values(), self.town.widths)

    def _log(self, key: str) -> checks.Log:
        job, _, index = key.rpartition(":")
        path = self.town.jobs[job].keys.get("stdout") or self.it.places.log_path(job, int(index), "out")
        return checks.Log(key, Path(str(path)), self.it.dir / "books")

    # The course -------------------------------------------------------------------------------------------------------

    def run(self) -> list[Sample]:
        """Do all of it; return what was measured. What was wrong is in `struck`."""
        with self._people():
            self.gauges = Gauges(self._who, self.it.statedir)
            try:
                self._settle(Struck(0, 0.0, "begin", "all of them start", 0.0, 0.0, []), unread=False)
                self._course()
            finally:
                self.gauges.close()
        return self.gauges.samples

    @contextmanager
    def _people(self) -> Iterator[None]:
        with self._files():
            self.it.start(timeout=60.0)
            self.person = Person(self.it)
            self.crowd = Crowd(self.it)
            try:
                yield
            finally:
                self.person.close()
                self.crowd.close()

    @contextmanager
    def _files(self) -> Iterator[None]:
        """Make the directories, one of them small where that is possible; in the end nothing of it is left."""
        for name in ("books", "files", "small"):
            (self.it.dir / name).mkdir()
        small = self.it.dir / "small"
        mounted = os.geteuid() == 0 and bool(shutil.which("mount")) and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "soak", str(small)], check=False, capture_output=True,
        ).returncode  # fmt: skip
        if not mounted:
            self.without = frozenset({"full_disk"})
        try:
            yield
        finally:
            left = self._end()
            if mounted:
                subprocess.run(["umount", "-l", str(small)], check=False)
            left += self.it.close()
            if left:
                self.struck.append(Struck(-1, self.plan.seconds, "end", "everything was ended", 0.0, 0.0, left))

    def _end(self) -> list[str]:
        try:
            self.it.stop()
        except (TaskmasterError, AssertionError, OSError, subprocess.TimeoutExpired) as error:
            return [f"the end: {type(error).__name__}: {error}"]
        return []

    def _who(self) -> dict[str, int]:
        """Return who is looked at; the core is the one that answered last."""
        try:
            shim = self.it.shim_pid
        except (OSError, ValueError):
            shim = 0
        return {"shim": shim, "core": self.core, "tui": self.person.pid}

    def _course(self) -> None:
        number = 0
        while (now := self.gauges.now()) < self.plan.seconds and number < self.plan.most:
            number += 1
            self.storming = now < self.plan.seconds * self.plan.storm
            if not self.storming and not self.calm_since:
                self.calm_since = now
            chance = random.Random(f"{self.plan.seed} {number}")
            self.person.wander(chance)
            name = faults.chosen(chance, self.without, storm=self.storming)
            fault = faults.FAULTS[name]
            for log in self.logs.values():
                log.excused = fault.unread
            at = self.gauges.now()
            self.keep = self._runs(fault)
            words, wrong = self._strike(fault, chance)
            self._settle(Struck(number, at, name, words, 0.0, 0.0, wrong), unread=fault.unread)
            time.sleep(chance.uniform(0.0, 0.5))

    def _runs(self, fault: faults.Fault) -> dict[str, int | None]:
        """Return the processes that have to be the same ones afterwards."""
        steady = self.town.steady() - set(self.town.kind(*fault.hangs_up)) if fault.gentle else set()
        try:
            return {key: pid for key, pid in self.it.pids().items() if key in steady} if steady else {}
        except TaskmasterError:
            return {}  # who does not answer is told of by the checks

    def _strike(self, fault: faults.Fault, chance: random.Random) -> tuple[str, list[str]]:
        try:
            return fault.do(self, chance), []
        except (TaskmasterError, AssertionError, OSError, StopIteration) as error:
            return f"{fault.do.__name__} was not done", [f"{type(error).__name__}: {error}"]

    # Looking ----------------------------------------------------------------------------------------------------------

    def _settle(self, struck: Struck, *, unread: bool) -> None:
        """Wait until nothing is wrong; what still is when patience is over is written down, with what stays wrong."""
        began = time.monotonic()
        wrong, last = list(struck.wrong), ""
        while left := checks.tried(self._unsettled, wrong):
            if time.monotonic() > began + PATIENCE * checks.patience():
                wrong += left
                break
            last = left[0].splitlines()[0]
            time.sleep(0.05)
        settled = time.monotonic() - began
        answer, late = self._answer()
        done = struck._replace(settled=settled, answer=answer, wrong=wrong + late, last=last)
        self.struck.append(done)
        self._tell(done)

    def _unsettled(self, wrong: list[str]) -> list[str]:
        """Return what may still become well; add to `wrong` what cannot."""
        left = checks.tried(checks.processes, self.it, self.town)
        if left:
            return left
        self.core = int(self.it.status()["core"]["pid"])
        now = self.it.pids() if self.keep else {}
        wrong += [f"G: {key} was pid {pid}, is {now.get(key)}" for key, pid in self.keep.items() if now.get(key) != pid]
        self.keep = {}
        wrong += self.story.problems() + self.person.problems() + self.crowd.problems()
        if not self.person.sees_the_core():
            left.append(f"the terminal UI sees no core:\n{self.person.screen()}")
        return left + self._read_logs(wrong)

    def _read_logs(self, wrong: list[str]) -> list[str]:
        left = []
        for log in self.logs.values():
            found = log.problems()
            if self.town.jobs[log.key.rpartition(":")[0]].kind != "small":
                wrong += found
            elif log.lost > self.story.told[str(log.path)]:
                left.append(f"I5: {log.key} lost {log.lost} bytes, told are {self.story.told[str(log.path)]}")
        return left

    def _answer(self) -> tuple[float, list[str]]:
        try:
            return checks.answers(self.it)
        except (TaskmasterError, OSError) as error:
            return 0.0, [f"I6: {type(error).__name__}: {error}"]

    def _tell(self, done: Struck) -> None:
        self.say(f"{done.at:7.1f} s  {done.number:4}  {done.words}; well after {done.settled:.2f} s")
        if done.settled > SLOW:
            self.say(f"           the last of all: {done.last}")
        for text in done.wrong:
            self.say(f"           WRONG {text}")


def facts(soak: Soak) -> dict[str, Any]:
    """Return numbers for the report: what was struck how often, and how long it took to be well again."""
    real = [each for each in soak.struck if each.number > 0]
    names = sorted({each.name for each in real})
    return {
        "faults": {
            name: {
                "times": len(found := [each for each in real if each.name == name]),
                "settled_max": round(max(each.settled for each in found), 2),
                "settled_mean": round(sum(each.settled for each in found) / len(found), 2),
            }
            for name in names
        },
        "answers_max": round(max((each.answer for each in real), default=0.0), 3),
        "events": dict(sorted(soak.story.counts.items())),
        "last_seq": soak.story.seq,
        "lines": sum(log.lines for log in soak.logs.values()),
        "lost": {log.key: log.lost for log in soak.logs.values() if log.lost},
        "told": dict(soak.story.told),
    }
