"""What is protected must be confirmed, and only where something of it would end."""

from __future__ import annotations

import pytest

from taskmaster_core import guard
from taskmaster_core.machine import Proc
from taskmaster_core.plan import make_plan
from taskmaster_core.spec import JobSpec, Key, State
from tests.samples import proc
from tests.world import config, job


def of(spec: JobSpec, state: State = State.RUNNING) -> list[Proc]:
    return [Proc(Key(spec.name, index), spec, state=state) for index in range(spec.numprocess)]


def threatened(old: JobSpec, *new: JobSpec, state: State = State.RUNNING) -> list[str]:
    return guard.threatened(make_plan(config(old), config(*new)), lambda _: of(old, state))


DB = job("db", 2, protected=True)


@pytest.mark.parametrize("state", State)
def test_what_is_at_rest_needs_no_protection(state: State) -> None:
    at_rest = state in (State.STOPPED, State.EXITED, State.FATAL)
    assert guard.protected([proc(state, DB)]) == ([] if at_rest else ["web"])
    assert guard.protected([proc(state)]) == []


def test_a_job_is_named_once() -> None:
    assert guard.protected(of(DB)) == ["db"]


@pytest.mark.parametrize(
    "new",
    [(), (job("db", 2, argv=("/bin/other",), protected=True),), (job("db", 1, protected=True),)],
    ids=["removed", "relaunched", "scaled down"],
)
def test_a_reload_that_ends_something_protected_is_told(new: tuple[JobSpec, ...]) -> None:
    assert threatened(DB, *new) == ["db"]
    assert threatened(DB, *new, state=State.STOPPED) == []


@pytest.mark.parametrize(
    "new",
    [DB, job("db", 3, protected=True), job("db", 2, description="other"), job("db", 2)],
    ids=["same", "scaled up", "live", "protected no more"],
)
def test_a_reload_that_ends_nothing_protected_needs_no_word(new: JobSpec) -> None:
    assert threatened(DB, new) == []


def test_protection_that_is_taken_away_together_with_the_command_still_holds() -> None:
    assert threatened(DB, job("db", 2, argv=("/bin/other",))) == ["db"]


def test_the_refusal_names_the_jobs() -> None:
    one, two = guard.refusal(["db"], "a stop"), guard.refusal(["db", "mq"], "this reload")
    assert one.message == "db is protected: a stop has to be confirmed"
    assert two.message == "db, mq are protected: this reload has to be confirmed"
    assert one.detail == {"protected": ["db"]}  # type: ignore[attr-defined]
