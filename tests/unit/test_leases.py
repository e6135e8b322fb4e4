"""Who types at a terminal: one of many, until they leave or vanish."""

from __future__ import annotations

from typing import NamedTuple

from taskmaster_core.leases import LASTS, Leases, attending
from taskmaster_core.spec import Key

KEY = Key("web", 0)


class Proc(NamedTuple):
    run: int


def test_the_first_who_wants_to_types_the_next_one_looks_on() -> None:
    leases = Leases()
    looks = leases.grant("looks", KEY, "c", write=False, takeover=False, now=0)
    first = leases.grant("first", KEY, "a", write=True, takeover=False, now=0)
    second = leases.grant("second", KEY, "b", write=True, takeover=False, now=0)
    assert [leases.writes(each) for each in (looks, first, second)] == [False, True, False]


def test_who_is_attached_is_said_in_words() -> None:
    leases = Leases()
    assert leases.told(KEY) == ""
    leases.grant("looks", KEY, "c", write=False, takeover=False, now=0)
    assert leases.told(KEY) == "one looks on"
    leases.grant("first", KEY, "uid 7", write=True, takeover=False, now=0)
    leases.grant("other", KEY, "b", write=False, takeover=False, now=0)
    assert leases.told(KEY) == "uid 7 types, 2 look on"


def test_another_shim_is_told_how_far_each_was_heard_in_the_run_that_lives() -> None:
    leases = Leases()
    for name, typed in (("now", (3, 17)), ("before", (2, 9)), ("looks", (0, 0))):
        leases.grant(name, KEY, name, write=False, takeover=False, now=0).typed = typed
    leases.grant("now", KEY, "now", write=False, takeover=False, now=1)  # renewed: it is known still
    told = {str(each["lease"]): (each["run"], each["heard"]) for each in attending(leases, {KEY: Proc(3)})}
    assert told == {"now": (3, 17), "before": (3, 0), "looks": (3, 0)}


def test_taking_over_leaves_the_other_one_looking_on() -> None:
    leases = Leases()
    first = leases.grant("first", KEY, "a", write=True, takeover=False, now=0)
    second = leases.grant("second", KEY, "b", write=True, takeover=True, now=0)
    assert (leases.writes(first), leases.writes(second)) == (False, True)


def test_who_waits_types_once_the_other_one_has_left() -> None:
    leases = Leases()
    leases.grant("first", KEY, "a", write=True, takeover=False, now=0)
    leases.grant("second", KEY, "b", write=True, takeover=False, now=0)
    leases.drop("first")
    assert leases.writer(KEY) is None
    assert leases.writes(leases.grant("second", KEY, "b", write=True, takeover=False, now=1))


def test_a_lease_ends_unless_it_is_made_new() -> None:
    leases = Leases()
    leases.grant("one", KEY, "a", write=True, takeover=False, now=0)
    leases.grant("two", KEY, "b", write=True, takeover=False, now=0)
    leases.grant("two", KEY, "b", write=True, takeover=False, now=LASTS - 1)
    assert leases.deadline == LASTS
    assert [each.id for each in leases.overdue(LASTS)] == ["one"]
