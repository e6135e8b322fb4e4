"""Kill core, shim, jobs and clients at random moments of a storm of starts, stops and reloads; check after each kill.

What is done and who dies follows from a seed, which is printed; `TM_SEED=n` does it again, as far as time allows.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from tests.crash.stage import Stage, staged

SEED = int(os.environ.get("TM_SEED", "20261123"))
VICTIMS = ["core"] * 5 + ["shim"] * 5 + ["both"] * 2 + ["jobs"] * 4 + ["client"] * 2
CLIENTS = (("logs", "count", "--follow"), ("events", "--follow"), ("status", "--watch"))


class Storm:
    """Hold a stage, its clients, and the dice."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.clients: list[subprocess.Popen[str]] = []
        self._failure: BaseException | None = None
        stage.note(f"TM_SEED={seed}")

    def episode(self) -> None:
        """Work wildly, kill somebody in the midst of it, and see that all comes right."""
        self._attend()
        victim = self.chance.choice(VICTIMS)
        deeds = [self.chance.choice(self.deeds) for _ in range(self.chance.randrange(2, 5))]
        delay = self.chance.uniform(0.0, 0.3)
        worker = threading.Thread(target=self._work, args=(deeds,))
        worker.start()
        time.sleep(delay)  # the moment is what is random
        self._kill(victim)
        while worker.is_alive():
            self.stage.revive()
            worker.join(0.02)
        if self._failure is not None:
            raise self._failure
        self.stage.settle()
        self.stage.check()

    def _attend(self) -> None:
        self.clients = [each for each in self.clients if each.poll() is None]
        while len(self.clients) < 2:
            words = self.chance.choice(CLIENTS)
            self.clients.append(self.stage.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def _work(self, deeds: list[str]) -> None:
        try:
            for deed in deeds:
                getattr(self, f"_{deed}")()
            self.stage.insist("scale", "web", n=3, revive=False)
            self.stage.insist("start", "toggle", revive=False)
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits for this one
            self._failure = error

    def _kill(self, victim: str) -> None:
        stage = self.stage
        stage.note(f"kill {victim}")
        if victim in ("core", "shim", "both"):
            for side in ("core", "shim") if victim == "both" else (victim,):
                stage.kill(side)
        elif victim == "client":
            self.chance.choice(self.clients).kill()
        else:
            jobs = sorted(stage.jobs().items())
            for pid, _ in self.chance.sample(jobs, min(len(jobs), 3)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # Deeds ------------------------------------------------------------------------------------------------------------

    deeds = ("restart_all", "restart_one", "widen", "stop", "reload", "bounce", "shed")

    def _restart_all(self) -> None:
        self.stage.insist("restart", "web:*", wait=False, revive=False)

    def _restart_one(self) -> None:
        self.stage.insist("restart", "web:1", revive=False)

    def _widen(self) -> None:
        self.stage.insist("scale", "web", n=self.chance.randrange(2, 9), revive=False)

    def _stop(self) -> None:
        self.stage.insist("stop", "toggle", revive=False)

    def _reload(self) -> None:
        self.stage.save()
        self.stage.insist("reload", revive=False)

    def _bounce(self) -> None:
        for op in ("stop", "start", "restart"):
            self.stage.insist(op, "edit", wait=False, revive=False)
        self.stage.insist("start", "edit", revive=False)

    def _shed(self) -> None:
        self.stage.insist("kill", "toggle", revive=False)
        self.stage.insist("restart", "count", revive=False)


def rage(seed: int, kills: int) -> None:
    print(f"TM_SEED={seed}")
    with staged(points=False) as stage:
        storm = Storm(stage, seed)
        for _ in range(kills):
            storm.episode()


@pytest.mark.timeout(240)  # on a machine of its own it takes fifteen seconds
def test_L08_twenty_random_kills_in_a_storm_leave_all_in_order() -> None:
    rage(SEED, 20)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(3))
def test_L08_two_hundred_random_kills_in_a_storm_leave_all_in_order(seed: int) -> None:
    rage(SEED + 1 + seed, 200)
