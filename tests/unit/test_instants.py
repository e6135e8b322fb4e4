"""An event has the time of what it tells of, also where several batches of reports are taken in before it is told."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from taskmaster_core import terminals
from taskmaster_core.daemon import Reports
from taskmaster_core.effects import Fact
from taskmaster_core.instants import AT_ONCE, Instants
from taskmaster_core.wire import Cause


def exited(run: int, wall: float) -> dict[str, Any]:
    return {"t": "exited", "key": "web:0", "run": run, "code": 0, "at": 1.0, "wall": wall, "n": run}


def told(type_: str, run: int) -> Fact:
    return Fact(type_, "web:0", Cause("exit"), {"run": run})


def test_the_time_of_an_end_outlives_the_reports_that_come_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminals, "heard", lambda runtime, report: True)
    runtime = Mock(instants=Instants())
    core = SimpleNamespace(runtime=runtime, recovery=SimpleNamespace(complete=lambda report: report), rounds=Mock())
    reports = Reports(core)  # type: ignore[arg-type]  # what of a core it uses
    then = time.time() - 60
    reports.take_in([exited(1, then)])
    reports.take_in([exited(2, then + 1)])
    assert [runtime.instants.of(told("exited", run)) for run in (1, 2)] == [then, then + 1]


def test_an_end_that_is_heard_of_at_once_has_the_time_of_hearing() -> None:
    instants = Instants()
    instants.heard(exited(1, time.time() - AT_ONCE / 2))
    assert time.time() - instants.of(told("exited", 1)) < 1.0


def test_a_time_that_is_still_to_come_is_not_believed() -> None:
    instants = Instants()
    instants.heard(exited(1, time.time() + 3600))
    assert instants.of(told("exited", 1)) <= time.time()
