from __future__ import annotations

from taskmaster_core.follow import Follower, Verdict


def test_the_next_event_is_handed_on() -> None:
    follower = Follower(7)
    assert [follower.event("b1", seq) for seq in (8, 9)] == [Verdict.NEXT, Verdict.NEXT]


def test_what_the_snapshot_holds_already_is_dropped() -> None:
    assert Follower(7).event("b1", 7) is Verdict.DROP


def test_a_gap_is_asked_for() -> None:
    assert Follower(7).event("b1", 9) is Verdict.ASK


def test_a_beat_that_knows_more_than_we_heard_makes_us_ask() -> None:
    assert Follower(7).beat("b1", 8) is Verdict.ASK


def test_a_beat_of_what_we_have_is_dropped() -> None:
    assert Follower(7).beat("b1", 7) is Verdict.DROP


def test_a_new_core_goes_on_counting() -> None:
    follower = Follower(7, "b1")
    assert follower.event("b2", 8) is Verdict.NEXT


def test_a_new_core_that_lost_its_journal_is_followed_from_where_it_is() -> None:
    follower = Follower(700, "b1")
    assert follower.event("b2", 3) is Verdict.NEXT
    assert follower.event("b2", 4) is Verdict.NEXT


def test_the_first_word_of_a_core_does_not_take_back_what_was_seen() -> None:
    follower = Follower(7)
    assert follower.event("b1", 3) is Verdict.DROP


def test_pages_of_the_journal_that_overlap_bring_nothing_twice() -> None:
    follower = Follower(7)
    assert [follower.take(seq) for seq in (7, 8, 10, 9, 11)] == [False, True, True, False, True]


def test_what_the_journal_does_not_have_is_not_asked_for_again() -> None:
    follower = Follower(7, "b1")
    follower.settle(12)
    assert follower.beat("b1", 12) is Verdict.DROP
