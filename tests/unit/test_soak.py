"""What judges a soak must be able to fail: each check is shown what it is there for."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.soak import checks, slopes
from tests.soak.gauges import Sample
from tests.soak.report import judged, svg
from tests.soak.slopes import HOUR, MIB


def line(per_hour: float, start: float = 30 * MIB, seconds: int = 240) -> list[tuple[float, float]]:
    return [(float(at), start + per_hour * at / HOUR) for at in range(seconds)]


def test_a_slope_does_not_mind_a_quarter_of_wild_values() -> None:
    points = [(x, 1e12 if x % 4 == 0 else y) for x, y in line(7.0, 100.0)]
    assert slopes.theil_sen(points) * HOUR == pytest.approx(7.0)


def test_a_long_row_of_samples_is_thinned_by_medians() -> None:
    assert len(slopes.thin(line(1.0, seconds=10_000))) <= slopes.MOST
    assert slopes.theil_sen(line(5.0, 0.0, 10_000)) * HOUR == pytest.approx(5.0)
    assert slopes.theil_sen([(0.0, 1.0)]) == 0.0


@pytest.mark.parametrize(("per_hour", "leaks"), [(0.0, False), (-90.0 * MIB, False), (60.0 * MIB, True)])
def test_a_core_that_grows_is_found_out(per_hour: float, leaks: bool) -> None:
    assert slopes.slope("core", "private", "1.1", line(per_hour)).leaks is leaks


def test_one_descriptor_for_each_fault_is_found_out_in_four_minutes() -> None:
    assert slopes.slope("core", "fds", "1.1", line(15 * 60.0, 100.0)).leaks
    assert not slopes.slope("core", "fds", "1.1", line(0.0, 100.0)).leaks


def test_only_the_second_half_of_the_calm_is_judged_each_life_by_itself() -> None:
    def sample(at: int, life: str, value: float) -> Sample:
        return Sample(float(at), "core", life, {"fds": value})

    first = [sample(at, "1.1", 900.0) for at in range(400)]
    second = [sample(at, "2.2", 10.0) for at in range(300, 400)]
    found = judged([*first, *second], 200.0, 400.0)
    assert [(each.life, each.per_hour, each.seconds) for each in found] == [("1.1", 0.0, 99.0), ("2.2", 0.0, 99.0)]
    assert svg([*first, *second], 200.0).count("<polyline") == 2


# The logs -------------------------------------------------------------------------------------------------------------


def lines(first: int, last: int, who: str = "1.999999999") -> bytes:
    return b"".join(b"%s %09d\n" % (who.encode(), each) for each in range(first, last))


@pytest.fixture
def log(tmp_path: Path) -> checks.Log:
    (tmp_path / "books").mkdir()
    (tmp_path / "0.out").write_bytes(lines(0, 10))
    return checks.Log("count0:0", tmp_path / "0.out", tmp_path / "books")


def add(log: checks.Log, data: bytes) -> list[str]:
    with log.path.open("ab") as file:
        file.write(data)
    return log.problems()


def test_a_log_without_a_hole_is_read_on_over_its_parts(log: checks.Log) -> None:
    assert log.problems() == []
    assert add(log, lines(10, 20)[:-5]) == []
    assert add(log, lines(10, 20)[-5:]) == []
    log.path.rename(log.path.with_name("0.out.20261123T080000.000001"))
    packed = log.path.with_name("0.out.20261123T080001.000001.gz")
    packed.write_bytes(gzip.compress(lines(20, 30)))
    log.path.write_bytes(lines(30, 35))
    assert log.problems() == []
    assert (log.lines, log.lost) == (35, 0)


def test_a_part_of_what_came_after_the_file_that_was_taken_away_is_read(log: checks.Log) -> None:
    assert log.problems() == []
    log.path.rename(log.path.with_name("0.out.moved"))
    log.path.with_name("0.out.20261123T080001.000001").write_bytes(lines(10, 20))
    log.path.write_bytes(lines(20, 25))
    assert log.problems() == []
    assert log.lines == 25


def test_a_hole_in_a_log_is_told_and_counted(log: checks.Log) -> None:
    assert log.problems() == []
    assert "line 12 of 1.999999999 comes where 10 should" in add(log, lines(12, 14))[0]
    assert log.lost == 2 * len(lines(0, 1))


def test_a_line_that_comes_twice_is_told(log: checks.Log) -> None:
    assert log.problems() == []
    assert "comes where 10 should" in add(log, lines(9, 10))[0]


def test_what_was_cut_by_us_is_no_loss_but_what_comes_after_it_is(log: checks.Log) -> None:
    assert log.problems() == []
    log.hurt()
    assert add(log, lines(15, 20)) == []
    assert add(log, lines(21, 22)) != []


def test_what_was_moved_right_after_a_rotation_is_no_loss_but_what_comes_after_it_is(log: checks.Log) -> None:
    assert log.problems() == []
    log.hurt()
    with log.path.open("ab") as file:
        file.write(lines(10, 12))
    log.path.rename(log.path.with_name(f"{log.path.name}.20261123T120000.000001"))
    assert add(log, lines(15, 16)) == []  # 13 and 14 were in the file that was moved
    assert "line 18" in add(log, lines(18, 20))[0]


def test_a_harm_that_took_nothing_excuses_nothing_in_a_later_file(log: checks.Log) -> None:
    assert log.problems() == []
    log.hurt()
    log.path.rename(log.path.with_name(f"{log.path.name}.moved"))
    assert add(log, lines(10, 12)) == []
    assert "line 15" in add(log, lines(15, 16))[0]


def test_last_words_that_are_missing_are_told_once_they_are_late(
    log: checks.Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = log.path.parent / "books" / "count0:0 1.999999999"
    book.write_text("000000012")
    assert log.problems() == []  # on their way
    monkeypatch.setattr(checks, "LATE", 0.0)
    assert "has written 12 lines, 10 are there" in log.problems()[0]
    assert not book.exists()


def test_last_words_are_excused_where_nobody_read(log: checks.Log, monkeypatch: pytest.MonkeyPatch) -> None:
    (log.path.parent / "books" / "count0:0 1.999999999").write_text("000000012")
    monkeypatch.setattr(checks, "LATE", 0.0)
    log.excused = True
    assert log.problems() == []


# The story and the states ---------------------------------------------------------------------------------------------


class Teller:
    """Answer `events` with what it was given."""

    def __init__(self, *events: tuple[int, str, str, dict[str, Any]]) -> None:
        self._events: list[dict[str, Any]] = [
            {"seq": seq, "type": type_, "key": key, "data": data} for seq, type_, key, data in events
        ]

    def request(self, op: str, since: int) -> list[dict[str, Any]]:
        return [each for each in self._events if each["seq"] > since]


def story(*events: tuple[int, str, str, dict[str, Any]]) -> checks.Story:
    return checks.Story(Teller(*events))  # type: ignore[arg-type]


def test_a_hole_in_the_journal_is_told() -> None:
    assert story((1, "notice", "", {}), (3, "notice", "", {})).problems() == ["I3: event 3 follows 1"]


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ([("started", 1), ("exited", 1), ("started", 2)], 0),
        ([("started", 1), ("started", 1)], 1),
        ([("started", 1), ("exited", 1), ("exited", 1)], 1),
        ([("started", 1), ("exited", 2)], 1),
        ([("started", 1), ("exited", 1), ("adopted", 2), ("exited", 2), ("started", 3)], 0),
    ],
)
def test_what_ends_has_begun_once_each(told: list[tuple[str, int]], wrong: int) -> None:
    events = [(seq, type_, "web:0", {"run": run}) for seq, (type_, run) in enumerate(told, 1)]
    assert len(story(*events).problems()) == wrong


def test_numbers_begin_anew_only_after_both_have_died() -> None:
    events = [(1, "started", "web:0", {"run": 5}), (2, "core_started", "", {}), (3, "started", "web:0", {"run": 1})]
    assert len(story(*events).problems()) == 1
    both = story(*events)
    both.anew()
    assert both.problems() == []


def test_a_state_nobody_wants_is_told() -> None:
    view = {"state": "fatal", "goal": "up", "reason": "gave up", "pid": None}
    wanted = {"web:0": frozenset({"running"}), "db:0": frozenset({"running"})}
    assert checks.states({"web:0": view, "old:0": view}, wanted) == [
        "state: there is no db:0", "state: nobody wants old:0", "state: web:0 is fatal (goal up): gave up",
    ]  # fmt: skip
