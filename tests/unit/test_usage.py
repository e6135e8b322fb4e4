from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.cli.status import size
from taskmaster_core.groves import own_group
from taskmaster_core.procfs import stat_in
from taskmaster_core.usage import Seen, Tally, percent


def seen(own: int, reaped: int = 0, parent: int = 1, started: int = 100) -> Seen:
    return Seen(started, parent, own, reaped)


def used(*looks: dict[int, Seen]) -> list[int]:
    """Return what a tally says was used between looks, a hundred ticks apart."""
    tally, sums = Tally(), [0]
    for number, look in enumerate(looks):
        tally.take(look, 200 + 100 * number)
        sums.append(tally.ticks)
    return [after - before for before, after in pairwise(sums)]


def test_the_first_look_counts_a_whole_life() -> None:
    assert used({7: seen(30, 12), 8: seen(5, parent=7)}) == [47]


def test_children_count() -> None:
    assert used({7: seen(0), 8: seen(5, parent=7)}, {7: seen(1), 8: seen(105, parent=7)}) == [5, 101]


def test_a_child_that_ended_counts_only_what_it_used_since() -> None:
    before = {7: seen(10), 8: seen(5000, parent=7)}
    assert used(before, {7: seen(10, 5020)}) == [5010, 20]


def test_a_child_that_came_and_ended_between_two_looks_counts() -> None:
    assert used({7: seen(10)}, {7: seen(10, 60)}) == [10, 60]


def test_a_child_nobody_waited_for_takes_nothing_back() -> None:
    assert used({7: seen(10), 8: seen(5000, parent=7)}, {7: seen(30)}) == [5010, 20]


def test_a_child_that_is_waited_for_between_the_looks_at_its_parent_and_at_itself_counts_once() -> None:
    looks = ({7: seen(10), 8: seen(5000, parent=7)}, {7: seen(10)}, {7: seen(10, 5010)}, {7: seen(10, 5010)})
    assert used(*looks) == [5010, 0, 10, 0]


def test_a_child_that_was_never_waited_for_is_forgotten_after_one_more_look() -> None:
    looks = ({7: seen(10), 8: seen(50, parent=7)}, {7: seen(10)}, {7: seen(10)}, {7: seen(10, 40)})
    assert used(*looks) == [60, 0, 0, 40]


def test_what_a_whole_branch_had_used_is_known_to_its_grandparent() -> None:
    before = {7: seen(0), 8: seen(100, parent=7), 9: seen(1000, parent=8)}
    assert used(before, {7: seen(0, 1110)}) == [1100, 10]


def test_an_old_process_that_was_found_late_does_not_count_its_past() -> None:
    assert used({7: seen(0)}, {7: seen(0), 8: seen(9000, started=150)}, {7: seen(0), 8: seen(9007, started=150)}) == [
        0, 0, 7,
    ]  # fmt: skip


def test_a_pid_that_came_again_is_another_process() -> None:
    assert used({7: seen(0), 8: seen(900, parent=7)}, {7: seen(0), 8: seen(3, parent=7, started=250)}) == [900, 3]


def test_two_that_name_each_other_as_parents_end_the_search() -> None:
    assert used({7: seen(5, parent=8), 8: seen(5, parent=7)}, {9: seen(1, started=250)}) == [10, 1]


LOOK = st.dictionaries(
    st.integers(2, 6),
    st.builds(Seen, st.integers(90, 110), st.integers(1, 6), st.integers(0, 10**6), st.integers(0, 10**6)),
)


@given(st.lists(LOOK, max_size=8))
def test_whatever_comes_and_goes_the_sum_never_falls(looks: list[dict[int, Seen]]) -> None:
    assert all(each >= 0 for each in used(*looks))


@pytest.mark.parametrize(
    ("seconds", "over", "said"), [(0.5, 1, 50.0), (1.2345, 2, 61.7), (9, 1, 200.0), (-1, 1, 0.0), (1, 0, 0.0)]
)
def test_percent_is_of_one_processor_and_never_more_than_there_are(seconds: float, over: float, said: float) -> None:
    assert percent(seconds, over, processors=2) == said


def test_a_name_may_hold_what_ends_it() -> None:
    fields = b"S 3 4 5 " + b" ".join(b"%d" % number for number in range(7, 50))
    stat = stat_in(b"12 (a) b (c) " + fields)
    assert (stat.seen, stat.group, stat.session, stat.resident) == (Seen(22, 3, 29, 33), 4, 5, True)


@pytest.mark.parametrize(
    ("path", "run", "own"),
    [
        ("/taskmaster-t-1/web:0.3", 3, "/taskmaster-t-1/web:0.3"),
        ("/a.slice/taskmaster-t-1/web:0.3/inner/more.3", 3, "/a.slice/taskmaster-t-1/web:0.3"),
        ("/taskmaster-t-1/outer:0.1/taskmaster-u-2/web:0.7", 7, "/taskmaster-t-1/outer:0.1/taskmaster-u-2/web:0.7"),
        ("/taskmaster-t-1/web:0.13", 3, None),
        ("/user.slice/web:0.3", 3, None),
        ("/", 1, None),
    ],
)
def test_a_runs_own_group_is_known_by_its_name(path: str, run: int, own: str | None) -> None:
    assert own_group(path, run) == own


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0.0K"), (1024, "1.0K"), (831_488, "812K"), (1_048_000, "1.0M"), (325_058_560, "310M"), (2**40, "1.0T")],
)
def test_a_size_has_at_most_five_columns(number: int, text: str) -> None:
    assert size(number) == text
