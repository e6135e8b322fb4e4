"""Kill shim or core at every named moment; afterwards nothing is doubled, unknown, missing, out of order or made up.

The moments stand in `tests/crash/crashpoints.py`. Tests share a daemon as long as all goes well: what one death leaves
behind meets the next one. A failure takes the daemon along.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.crash.crashpoints import END, NEW_CORE, NEW_SHIM, POINTS
from tests.crash.stage import Stage, staged

ROUNDS = 6
Hall = Callable[[], Stage]


class _Hall:
    """Give the stage that is there, or a fresh one."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._stage: Stage | None = None

    def __call__(self) -> Stage:
        if self._stage is None:
            self._stage = self._stack.enter_context(staged())
        return self._stage

    def clear(self) -> None:
        """End what is there; raises AssertionError if it leaves something behind."""
        self._stage = None
        self._stack.close()


@pytest.fixture(scope="module")
def hall() -> Iterator[_Hall]:
    made = _Hall()
    yield made
    made.clear()


@pytest.fixture
def stage(hall: _Hall) -> Iterator[Stage]:
    """Give a stage on which all is well; one that a test has failed on is not given again."""
    stage = hall()
    before = len(stage.story)
    try:
        yield stage
    finally:
        if stage.story[before:] and stage.story[-1] != "checked":
            print("\n".join(stage.story), stage.stderr(), sep="\n")
            with contextlib.suppress(AssertionError):
                hall.clear()


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
    stage.story.append("checked")


def of(*needs: str) -> list[str]:
    return [name for name, row in POINTS.items() if row[3] in needs]


@pytest.mark.parametrize("point", [name for name in POINTS if POINTS[name][3] != END])
def test_L08_whoever_dies_at_this_moment_leaves_all_in_order(stage: Stage, point: str) -> None:
    die(stage, point)
