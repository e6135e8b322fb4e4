"""The shim renews itself in place: what it held before the exec it holds after it, and a bad successor is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.shim_harness import Core, Report, Shim, alive, output, program, sink, spawn_order, wait_for


def renew(core: Core, name: str = "r1", **fields: object) -> Report:
    core.order({"t": "renew", "id": name, "shim": True, "core": False, "wire": 2, **fields})
    return core.expect("renewed", id=name)


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    made = Shim(tmp_path)
    yield made
    made.close()


def test_G4_a_renewed_shim_keeps_pid_jobs_and_wire(shim: Shim) -> None:
    core = shim.open()
    core.order(spawn_order(shim, ["sleep", "60"]))
    pid = core.expect("spawned")["pid"]
    told = renew(core)
    assert told["ok"], told
    print(told)
    assert alive(pid)
    assert alive(shim.pid)
    os.kill(pid, signal.SIGTERM)
    assert core.expect("exited")["signal"] == signal.SIGTERM
