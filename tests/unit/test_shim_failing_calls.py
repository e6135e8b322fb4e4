"""System calls of the shim that fail at an awkward moment: each is one that a sweep over all of them has found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.tracer import injected, missing
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
    wait_for(lambda: (shim.state / "logs/job/0.out").exists(), "its output is read")
    core.order({"t": "signal", "key": "job:0", "run": 1, "sig": 15, "group": True, "stopping": True})
    assert core.expect("exited")["signal"] == 15
    assert not alive(pid)
    assert core.all("failed") == []
