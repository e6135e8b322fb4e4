"""docs/faults.md tells the truth: a test or a reason for every fault, a fault for every id, and nothing out of date."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import faults

CATALOGUE = {"life": ("L", 40), "output": ("G", 21), "config": ("C", 20), "wire": ("P", 19), "resources": ("R", 10),
             "security": ("S", 19), "clocks": ("K", 6)}  # fmt: skip


def test_every_fault_has_a_test_or_a_reason_and_every_test_a_fault() -> None:
    assert faults.problems(faults.chapters(), faults.found_in(faults.TESTS)) == []


def test_docs_faults_is_current() -> None:
    assert faults.PAGE.read_text(encoding="utf-8") == faults.page(), "run `make docs`"


def test_no_fault_of_the_catalogue_is_left_out() -> None:
    found = {chapter.name: [fault.id for fault in chapter.rows] for chapter in faults.chapters()}
    assert found.pop("guarantees") == [f"G{number}" for number in range(1, 14)]
    for name, (letter, last) in CATALOGUE.items():
        assert found[name] == [f"{letter}{number:02}" for number in range(1, last + 1)]


def one(*rows: faults.Fault) -> list[faults.Chapter]:
    return [faults.Chapter("life", "Life", "", rows)]


def fault(id_: str = "L01", untested: str = "", by: tuple[str, ...] = ()) -> faults.Fault:
    return faults.Fault(id_, "it dies", "it lives", untested, by)


def test_a_fault_without_test_and_reason_is_told() -> None:
    assert "L01 has no test" in faults.problems(one(fault()), [])[0]
    assert faults.problems(one(fault(untested="no such kernel here")), []) == []


def test_a_test_of_an_unknown_fault_is_told() -> None:
    test = faults.Test(("L77",), "tests/test_x.py", "test_L77_x", "x")
    assert faults.problems(one(fault(untested="why not")), [test]) == ["tests/test_x.py::test_L77_x: nobody knows L77"]
    assert "rests on L78" in faults.problems(one(fault(by=("L78",))), [])[0]


def test_ids_are_found_in_names_and_in_parameters(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_G5_L40_it_lives(): pass\n"
        '@pytest.mark.parametrize("x", [pytest.param(1, id="L05-core"), pytest.param(2, id="plain")])\n'
        'def test_kills(x): "Nobody notices."\n'
        '@pytest.mark.parametrize("x", [1, 2], ids=["R01 few", "R02 many"])\n'
        "async def test_R01_fds(x): pass\n"
        "def test_other(): pass\n"
    )
    found = {test.name: (test.ids, test.says) for test in faults.found_in(tmp_path)}
    assert found == {
        "test_G5_L40_it_lives": (("G5", "L40"), "it lives"),
        "test_kills": (("L05",), "Nobody notices"),
        "test_R01_fds": (("R01", "R02"), "fds"),
    }


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        ([{"passed": 2}, {"passed": 1}], "passed 3"),
        ([{"passed": 2, "failed": 1}], "**FAILED 1**, passed 2"),
        ([{"skipped": ["needs root"]}, {"passed": 1}], "passed 1, *skipped: needs root*"),
        ([None, {"passed": 1}], "passed 1, *not run yet: 1*"),
    ],
)
def test_a_result_says_the_worst_first(ran: list[dict[str, object]], said: str) -> None:
    assert faults._result(ran) == said


def test_what_became_of_a_test_is_summed_over_its_parameters() -> None:
    report = """<testsuites><testsuite>
        <testcase classname="tests.unit.test_x" name="test_L01_a[1]"/>
        <testcase classname="tests.unit.test_x" name="test_L01_a[2]"><failure message="no"/></testcase>
        <testcase classname="tests.unit.test_x" name="test_L02_b"><skipped message="needs root"/></testcase>
        </testsuite></testsuites>"""
    a, b = (f"tests/unit/test_x.py::{name}" for name in ("test_L01_a", "test_L02_b"))
    assert faults.outcomes(report, [a, b]) == {a: {"passed": 1, "failed": 1}, b: {"skipped": ["needs root"]}}
