"""A shim and a core that do not understand each other say so, and which of the two comes first."""

from __future__ import annotations

import pytest

from taskmaster_core import versions

OURS = {"wire": versions.WIRE, "oldest_wire": versions.OLDEST_WIRE, "release": "0.1.0"}


@pytest.mark.parametrize(
    "shim",
    [OURS, {}, {"v": 1}, {"v": versions.WIRE + 5, "oldest_v": versions.WIRE}],
    ids=["same", "old", "v1", "newer"],
)
def test_L10_who_understands_each_other_works_together(shim: dict[str, int]) -> None:
    assert versions.misfit(shim) == ""


def test_L10_a_shim_that_is_too_old_is_to_be_upgraded_first() -> None:
    said = versions.misfit({"v": 0})
    assert "too old for this core, which needs wire 1" in said
    assert "upgrade the shim first" in said
    assert versions.UNKNOWN in said


def test_L10_a_shim_that_is_too_new_is_told_with_its_release() -> None:
    said = versions.misfit({"wire": 9, "oldest_wire": 8, "release": "3.0"})
    assert "release 3.0) serves cores from wire 8 on" in said


def test_a_shim_that_says_nothing_of_itself_is_of_the_first_version() -> None:
    assert versions.of({}) == (versions.UNKNOWN, 1)
    assert versions.of({"v": 2, "release": "0.2.0"}) == ("0.2.0", 2)
