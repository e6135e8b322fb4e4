"""Who types at a terminal: one of many, until they leave or vanish."""

from __future__ import annotations

from taskmaster_core.leases import LASTS, Leases
from taskmaster_core.spec import Key

KEY = Key("web", 0)


def test_the_first_who_wants_to_types_the_next_one_looks_on() -> None:
    leases = Leases()
    looks = leases.grant("looks", KEY, "c", write=False, takeover=False, now=0)
    first = leases.grant("first", KEY, "a", write=True, takeover=False, now=0)
    second = leases.grant("second", KEY, "b", write=True, takeover=False, now=0)
    assert [leases.writes(each) for each in (looks, first, second)] == [False, True, False]


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
