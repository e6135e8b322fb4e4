"""Hold and release on real processes: what is held is not started again by itself, over the deaths of the core."""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.integration.conftest import Start
from tests.integration.shared import job, words

SLOW = "{first = 30, max = 30}"
LIVES = words("sleep", "1000")


def whole(answer: dict[str, Any]) -> list[tuple[str, bool, str]]:
    return [(each["key"], each["ok"], each.get("note", "")) for each in answer["outcomes"]]


def test_what_is_killed_while_held_stays_down_until_it_is_released(daemon: Start) -> None:
    it = daemon(job("web", LIVES, numprocess="2"))
    before = it.wait_state("web:0", "running").pid
    it.wait_state("web:1", "running")
    assert whole(it.request("hold", "web:0")) == [("web:0", True, "")]
    assert whole(it.request("hold", "web:0")) == [("web:0", True, "web:0 is held already")]
    assert before is not None
    assert it.proc("web:0").pid == before
    os.kill(before, signal.SIGKILL)
    down = it.wait_state("web:0", "exited")
    assert down.held
    assert down.reason == "killed by SIGKILL; held: not started again until it is released"
    it.kill_core()
    it.wait(it.ping)
    assert (it.proc("web:0").state, it.proc("web:0").held) == ("exited", True)
    assert whole(it.request("release", "web")) == [("web:0", True, ""), ("web:1", True, "web:1 is not held")]
    again = it.wait_state("web:0", "running")
    assert not again.held
    assert again.restarts == 1
    kinds = [each.type for each in it.events(key="web:0")]
    assert [each for each in kinds if each in ("held", "exited", "released", "started")] == [
        "started", "held", "exited", "released", "started",
    ]  # fmt: skip


def test_hold_takes_a_retry_back_and_holds_over_a_restart_of_everything(daemon: Start) -> None:
    it = daemon(job("flap", words("sh", "-c", "exit 3"), backoff=SLOW, retry="9"))
    it.wait_state("flap:0", "backoff")
    it.request("hold", "flap")
    assert it.proc("flap:0").state == "exited"
    it.restart()
    assert it.wait_state("flap:0", "exited").held
    done = it.cli("why", "flap")
    assert "an operator holds it" in done.stdout
    assert it.cli("release", "flap").returncode == 0
    it.wait_state("flap:0", "backoff")
    again = it.cli("release", "flap")
    assert again.returncode == 0
    assert "is not held" in again.stdout


def test_start_by_hand_works_while_held(daemon: Start) -> None:
    it = daemon(job("web", LIVES, autostart="false"))
    it.request("hold", "web")
    assert it.request("start", "web")["ok"]
    assert (it.proc("web:0").state, it.proc("web:0").held) == ("running", True)
