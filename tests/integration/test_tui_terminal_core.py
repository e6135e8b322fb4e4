"""The TUI in a real terminal while its core is killed, stopped, frozen and started again, and while it sleeps itself.

Every test asks the core by itself what is so, and waits for the screen to say the same.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from taskmaster_core.errors import TaskmasterError
from tests import seat
from tests.harness import Daemon, status_field
from tests.integration.conftest import Start
from tests.integration.shared import job, words
from tests.terminal import Terminal

Sit = Callable[..., Terminal]
SLEEP = words("sleep", "1000")
SOON = {"successdelay": '"0s"'}
WEB = job("web", SLEEP, numprocess="3", **SOON)
SOLO = job("solo", SLEEP, **SOON)


@pytest.fixture
def seated(daemon: Start, sit: Sit) -> tuple[Daemon, Terminal]:
    """Two jobs, and somebody who looks at them."""
    it = daemon(WEB + SOLO)
    screen = sit(it)
    screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up"))
    return it, screen


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_core_that_is_killed_comes_back_under_the_eyes_and_actions_work_again(seated: Any) -> None:
    it, screen = seated
    before = it.pids()
    for _ in range(3):
        killed = it.kill_core(wait=False)
        at = time.monotonic()
        it.wait(lambda killed=killed: it.request("ping", timeout=1.0)["pid"] != killed, what="another core answers")
        screen.wait_for(lambda text: seat.UP in text and seat.rows_are(web="3/3 up", solo="1/1 up")(text), 3)
        assert time.monotonic() - at < 5
    assert screen.exit_status is None
    assert it.pids() == before
    screen.send("G")
    screen.wait_for(lambda text: "solo" in seat.under_cursor(text))
    screen.send("x")
    screen.wait_for(seat.rows_are(solo="off"))
    assert it.pids() == {**before, "solo:0": None}


def test_U_replaces_core_and_shim_under_the_eyes_and_no_job_notices(seated: Any) -> None:
    it, screen = seated
    before, core = it.pids(), it.core_pid
    screen.send("U")
    screen.wait_for("Upgrade core and shim?")
    screen.send("y")
    said = ("4 processes untouched", "4 processes kept, 0 lost")  # the answer, or the event
    screen.wait_for(lambda text: any(each in text for each in said), 15)
    assert it.request("ping")["pid"] != core
    assert it.pids() == before
    screen.wait_for(lambda text: seat.UP in text and seat.rows_are(web="3/3 up", solo="1/1 up")(text), 5)


def test_a_frozen_core_is_said_to_be_quiet_and_then_not_to_answer(seated: Any) -> None:
    it, screen = seated
    with frozen(it.core_pid):
        screen.wait_for("quiet", 4)
        screen.send("j")
        screen.wait_for(lambda text: ":0" in seat.under_cursor(text))  # the list is alive
        screen.wait_for(lambda text: "reconnecting" in text or "gone" in text, 9)
        assert screen.exit_status is None
    seat.live(screen, "3/3 up", deadline=5)


def test_an_order_to_a_frozen_core_is_carried_out_once_it_goes_on(seated: Any) -> None:
    it, screen = seated
    screen.send("G")
    screen.wait_for(lambda text: "solo" in seat.under_cursor(text))
    with frozen(it.core_pid):
        screen.send("x")
        screen.wait_for(lambda text: "stop…" in seat.row(text, "solo"))
    screen.wait_for(seat.rows_are(solo="off"))
    assert it.pids()["solo:0"] is None


def frozen_client(it: Daemon, screen: Terminal, seconds: float) -> None:
    """Freeze the TUI while much happens; then it must be right within a second."""
    watch = it.popen("events", "-f")
    core = it.core_pid
    begun = int(status_field(core, "VmRSS").split()[0])
    with frozen(screen.pid):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            it.request("restart", "web", timeout=20)
        it.request("stop", "web:1")
        it.wait_state("web:1", "stopped")
        grown = int(status_field(core, "VmRSS").split()[0]) - begun
        assert grown < 20_000  # kB: nothing piles up for who does not read
    at = time.monotonic()
    screen.wait_for(lambda text: "2/3 up" in text and "off" in seat.row(text, ":1") and seat.UP in text, 5)
    assert time.monotonic() - at < 2.5  # one second on a machine of its own
    assert watch.stdout is not None
    assert any("web:1" in line and "stopped" in line for line in watch.stdout)


def test_P11_a_client_that_slept_is_right_again_within_a_second(seated: Any) -> None:
    it, screen = seated
    frozen_client(it, screen, 2.0)


@pytest.mark.slow
def test_P11_a_client_that_slept_for_half_a_minute_is_right_again_within_a_second(seated: Any) -> None:
    it, screen = seated
    frozen_client(it, screen, 30.0)


def test_P12_a_client_that_comes_while_much_happens_shows_what_is_so(daemon: Start, sit: Sit) -> None:
    it = daemon(job("flap", words("sh", "-c", "sleep 0.05; exit 1"), retry='"forever"', numprocess="3",
                    backoff="{first = 0.05, max = 0.05}", **SOON) + SOLO)  # fmt: skip
    screen = sit(it)
    seat.live(screen, "flap", "solo")
    it.request("stop", "flap")
    it.wait(lambda: all(each.state == "stopped" for each in it.procs("flap")), what="all are off")
    screen.wait_for(seat.rows_are(flap="off", solo="1/1 up"), 3)


def test_down_while_it_is_open_offers_to_start_and_S_starts_it_with_the_same_config(daemon: Start, sit: Sit) -> None:
    it = daemon(WEB + SOLO)
    screen = sit(it)
    screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up"))
    it.request("shutdown", timeout=20)
    text = screen.wait_for(lambda text: "no core" in text and "start the core" in text, 8)
    assert "S" in text
    assert screen.exit_status is None
    screen.send("S")
    try:
        screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up"), 15)
        seat.live(screen)
        assert it.config_path.name in str(it.status()["core"]["config"])
    finally:
        it.cli("down", "-y")
    screen.wait_for("no core")
    screen.send("q")
    screen.wait_end()


def test_without_any_core_it_says_so_and_q_leaves(daemon_for: Start, sit: Sit) -> None:
    it = daemon_for(SOLO)
    screen = sit(it)
    screen.wait_for(lambda text: "No core is running here" in text and it.config_path.name in text)
    with pytest.raises(TaskmasterError):
        it.request("ping", timeout=0.5)
    screen.send("q")
    screen.wait_end()
