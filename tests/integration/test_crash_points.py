"""Kill shim or core at every named moment; afterwards nothing is doubled, unknown, missing, out of order or made up.

The moments stand in `tests/crash/crashpoints.py`. Tests share a daemon as long as all goes well: what one death leaves
behind meets the next one. A failure takes the daemon along.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from taskmaster_core.errors import TaskmasterError
from tests.crash.crashpoints import CORE, END, NEW_CORE, NEW_SHIM, POINTS, WORK
from tests.crash.hall import Hall
from tests.crash.stage import Stage, staged
from tests.harness import ROOT

ROUNDS = 6
pytestmark = pytest.mark.timeout(180)  # a loaded machine must not say that somebody hangs


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    made.clear()


@pytest.fixture
def stage(hall: Hall) -> Iterator[Stage]:
    with hall.lend() as stage:
        yield stage


def die(stage: Stage, what: str) -> None:
    """Have somebody die at a moment, bring that moment about, and check what came of it."""
    name = what.partition("!")[0].partition(":")[0]
    needs = POINTS[name][3]
    stage.arm(what)
    for _ in range(ROUNDS):
        if needs in (NEW_CORE, NEW_SHIM):
            stage.kill("core" if needs == NEW_CORE else "shim")
        stage.work()
        stage.settle()
        if stage.hit.exists():
            break
    assert stage.hit.exists(), f"{name} never came"
    stage.check()


SERVING = [name for name, row in POINTS.items() if row[3] != END]
BIRTHS = [name for name in SERVING if name.startswith(("shim.child_", "shim.before_exec"))]


QUICK = {
    "shim.before_core_fork", "shim.after_core_fork", "shim.after_greeting", "shim.after_instance_lock",
    "shim.in_adoption", "shim.before_adopted_begin", "core.boot_after_hello", "core.before_ready",
    "core.recovery_begins", "core.recovery_after_spawn", "core.recovery_found",
}  # fmt: skip
"""Of those for which core or shim have to come up anew, which takes longer."""


def some(points: list[str]) -> list[Any]:
    quick = {point for point in points if POINTS[point][3] == WORK or point in QUICK}
    return [point if point in quick else pytest.param(point, marks=pytest.mark.slow) for point in points]


def other(point: str) -> str:
    return "core" if point.startswith("shim.") else "shim"


@pytest.mark.parametrize("point", some(SERVING))
def test_L08_whoever_dies_at_this_moment_leaves_all_in_order(stage: Stage, point: str) -> None:
    die(stage, point)


@pytest.mark.parametrize("what", [f"{point}!{victim}" for point in BIRTHS for victim in ("child", "stall")])
def test_L08_a_child_that_dies_or_dawdles_at_its_birth_is_neither_doubled_nor_forgotten(
    stage: Stage, what: str
) -> None:
    die(stage, what)


@pytest.mark.slow
@pytest.mark.parametrize("what", [f"{point}!{other(point)}" for point in SERVING])
def test_L08_the_other_one_dies_at_this_moment(stage: Stage, what: str) -> None:
    die(stage, what)


@pytest.mark.slow
@pytest.mark.parametrize("what", [f"{point}!both" for point in SERVING])
def test_L07_both_die_at_this_moment(stage: Stage, what: str) -> None:
    die(stage, what)


@pytest.mark.slow
@pytest.mark.parametrize("what", [f"{point}:{number}" for point in SERVING for number in (2, 3)])
def test_L08_whoever_dies_when_this_moment_comes_again(stage: Stage, what: str) -> None:
    die(stage, what)


@pytest.mark.parametrize("point", [name for name, row in POINTS.items() if row[3] == END])
@pytest.mark.parametrize("victim", ["self", *(pytest.param(who, marks=pytest.mark.slow) for who in ("other", "both"))])
def test_L08_whoever_dies_while_everything_is_being_ended_leaves_nothing(point: str, victim: str) -> None:
    with staged() as stage:
        who = {"self": point.partition(".")[0], "other": other(point), "both": "both"}[victim]
        stage.arm(f"{point}!{who}")
        with contextlib.suppress(TaskmasterError):
            stage.request("shutdown", timeout=2.0)
        stage.wait(stage.hit.exists, what=f"{point} came")
        stage.shut_down()
        assert stage.jobs() == {}
        assert not stage.violations()


def test_every_moment_of_the_table_is_one_of_the_product_and_all_is_left_alone_without_a_test() -> None:
    for module, path, how, _ in CORE.values():
        holder = importlib.import_module(module)
        for name in path.split("."):
            holder = getattr(holder, name)
        assert callable(holder), (module, path)
        assert how in ("before", "after", "within")
    for source in (ROOT / "taskmaster_core").rglob("*.py"):
        assert "TM_CRASH" not in source.read_text(), f"{source}: the product knows of the sweep"
