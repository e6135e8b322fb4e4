"""What an operator asked for by hand: it holds until it is taken back, and says no more than was asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.intents import Intent, Intents, said, to_scale, to_unscale
from taskmaster_core.spec import Goal, Key
from tests.samples import spec

WIDTHS = {"web": 3, "api": 1}
EVERY = [Key("web", index) for index in range(3)]


def held(intents: Intents) -> list[Key]:
    return [key for key in EVERY if intents.kept_down(key)]


def test_a_stop_of_one_process_holds_that_one() -> None:
    intents = Intents()
    intents.take(intents.to_stop([EVERY[1]], WIDTHS))
    assert held(intents) == [EVERY[1]]


def test_a_stop_of_all_holds_the_job_and_what_will_be_added_to_it() -> None:
    intents = Intents([Intent("web:1", "down")])
    intents.take(intents.to_stop(EVERY, WIDTHS))
    assert intents.all() == [Intent("web", "down")]
    assert intents.goal(spec(), Key("web", 99)) is Goal.DOWN


def test_a_start_of_one_leaves_the_others_of_a_held_job_down() -> None:
    intents = Intents([Intent("web", "down")])
    intents.take(intents.to_start([EVERY[0]], WIDTHS))
    assert held(intents) == EVERY[1:]


def test_what_is_not_declared_needs_no_wish() -> None:
    intents = Intents()
    assert intents.to_stop([Key("web", 7), Key("gone", 0)], WIDTHS) == []


def test_what_is_not_held_needs_no_release() -> None:
    assert Intents().to_start(EVERY, WIDTHS) == []


def test_goal_of_a_new_process() -> None:
    assert Intents().goal(spec(), EVERY[0]) is Goal.UP
    assert Intents().goal(spec(autostart=False), EVERY[0]) is Goal.DOWN


def test_a_scale_by_hand_holds_until_it_is_taken_back() -> None:
    intents = Intents([to_scale("web", 9)])
    assert intents.width(spec(numprocess=2)) == 9
    assert not intents.kept_down(EVERY[0])
    intents.take([to_unscale("web")])
    assert intents.width(spec(numprocess=2)) == 2


def test_what_is_said_about_a_job_is_forgotten_with_it() -> None:
    intents = Intents([Intent("web", "down"), Intent("web:1", "down"), to_scale("web", 2), Intent("api", "down")])
    assert len(intents.about("web")) == 3
    intents.take(intents.to_forget("web"))
    assert intents.all() == [Intent("api", "down")]


def test_a_hold_and_a_stop_do_not_know_each_other() -> None:
    intents = Intents()
    intents.take(intents.to_hold(EVERY, WIDTHS))
    intents.take(intents.to_stop([EVERY[1]], WIDTHS))
    intents.take(intents.to_release([EVERY[0]], WIDTHS))
    assert [intents.held(key) for key in EVERY] == [False, True, True]
    assert held(intents) == [EVERY[1]]
    intents.take(intents.to_start(EVERY, WIDTHS))
    assert [intents.held(key) for key in EVERY] == [False, True, True]
    intents.take(intents.to_forget("web"))
    assert intents.all() == []


def test_a_hold_of_a_whole_job_holds_what_will_be_added_to_it() -> None:
    intents = Intents()
    for _ in range(2):
        intents.take(intents.to_hold(EVERY, WIDTHS))
    assert intents.all() == [Intent("web:!", "held")]
    assert intents.held(Key("web", 99))


def test_wishes_in_words() -> None:
    wishes = [Intent("web", "down"), Intent("web:1", "down"), Intent("web:!", "held"), Intent("web:1!", "held")]
    words = ["stopped", "web:1 stopped", "held", "web:1 held", "scaled to 4"]
    assert [said(each) for each in (*wishes, to_scale("web", 4))] == words


CHOICES = st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(EVERY), min_size=1)), max_size=8)


@given(CHOICES)
def test_the_last_wish_about_each_process_holds(choices: list[tuple[bool, set[Key]]]) -> None:
    intents, down = Intents(), set[Key]()
    for stop, keys in choices:
        chosen = sorted(keys)
        intents.take(intents.to_stop(chosen, WIDTHS) if stop else intents.to_start(chosen, WIDTHS))
        down = down | keys if stop else down - keys
    assert set(held(intents)) == down


@given(CHOICES)
def test_wishes_survive_the_journal(choices: list[tuple[bool, set[Key]]]) -> None:
    intents, kept = Intents(), dict[str, Intent]()
    for stop, keys in choices:
        changes = intents.to_stop(sorted(keys), WIDTHS) if stop else intents.to_start(sorted(keys), WIDTHS)
        intents.take(changes)
        for change in changes:
            kept.pop(change.target, None)
            if change.kind is not None:
                kept[change.target] = change
    assert held(Intents(kept.values())) == held(intents)
