"""System calls of the shim that fail at an awkward moment: each is one that a sweep over all of them has found."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.crash.tracer import injected, missing
from tests.harness import children_of
from tests.unit.shim_harness import Shim, alive, spawn_order, wait_for

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@pytest.fixture
def shim(tmp_path: Path):
    made = Shim(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("when", [1, 2, 3, 4])
def test_L19_a_child_that_the_kernel_has_no_room_to_watch_is_not_forgotten(shim: Shim, when: int) -> None:
    core = shim.open()
    with injected(shim.pid, "epoll_ctl", f"error=ENOMEM:when={when}"):
        core.order(spawn_order(shim, ["sh", "-c", "echo here; sleep 600"]))
        pid = core.expect("spawned")["pid"]
    wait_for((shim.state / "logs/job/0.out").exists, "its output is read")
    core.order({"t": "signal", "key": "job:0", "run": 1, "sig": 15, "group": True, "stopping": True})
    assert core.expect("exited")["signal"] == 15
    assert not alive(pid)
    assert core.all("failed") == []


def test_L01_a_core_that_cannot_be_watched_is_replaced_by_one_that_can(shim: Shim) -> None:
    core = shim.open()
    with injected(shim.pid, "pidfd_open", "error=EMFILE:when=1"):
        os.kill(core.pid, signal.SIGKILL)
        wait_for(lambda: "cannot start a core" in shim.errors(), "it cannot be watched")
    second = shim.core()
    second.order(shim.open_order())
    assert second.expect("hello")["shim_pid"] == shim.pid
    assert len(children_of(shim.pid)) == 1


@pytest.mark.parametrize("call", ["sendto", "recvfrom"])
def test_L03_no_memory_for_the_wire_at_a_moment_loses_no_report_and_no_order(shim: Shim, call: str) -> None:
    core = shim.open()
    with injected(shim.pid, call, "error=ENOMEM:when=1..3"):
        core.order(spawn_order(shim, ["sh", "-c", "exit 3"]))
        assert core.expect("exited")["code"] == 3
    assert [report["t"] for report in core.reports if "n" in report] == ["spawned", "exited"]
    assert shim.errors() == ""


def test_G15_an_end_is_told_also_where_the_last_output_cannot_be_read(shim: Shim) -> None:
    core = shim.open()
    with injected(shim.pid, "ioctl", "error=EIO"):
        core.order(spawn_order(shim, ["sh", "-c", "exit 3"]))
        assert core.expect("exited")["code"] == 3
    assert "the last output of job:0 cannot be read" in shim.errors()
    assert not list((shim.state / "runs").glob("*.lock"))
