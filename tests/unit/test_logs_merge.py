"""The merge is a permutation in the order of time that keeps the order of each feed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.logs.merge import merge

times = st.lists(st.one_of(st.none(), st.integers(0, 20).map(float)), max_size=20)
feeds = st.lists(times, max_size=5)


def items(feeds, *, ordered):
    """Give each feed's lines as (time, (feed, number)); None stays a tick."""
    for i, feed in enumerate(feeds):
        known = sorted(each for each in feed if each is not None)
        ticks = iter(known if ordered else [each for each in feed if each is not None])
        yield [None if each is None else (at := next(ticks), (i, n, at)) for n, each in enumerate(feed)]


@given(feeds, st.booleans())
def test_merge_is_a_permutation_that_keeps_each_feeds_order(feeds, ordered):
    given_items = list(items(feeds, ordered=ordered))
    out = [found for found in merge(given_items) if found is not None]
    for number, feed in enumerate(given_items):
        assert [item for n, item in out if n == number] == [each[1] for each in feed if each is not None]


@given(feeds)
def test_merge_is_in_the_order_of_time_and_stable(feeds):
    out = [item for found in merge(list(items(feeds, ordered=True))) if found is not None for item in [found[1]]]
    assert out == sorted(out, key=lambda item: (item[2], item[0], item[1]))


@given(feeds)
def test_merge_backwards_is_the_exact_reverse(feeds):
    forward = [found for found in merge(list(items(feeds, ordered=True))) if found]
    backward = [found for found in merge([feed[::-1] for feed in items(feeds, ordered=True)], newest=True) if found]
    assert backward == forward[::-1]


@given(feeds)
def test_every_tick_is_passed_on(feeds):
    ticks = sum(each is None for feed in feeds for each in feed)
    assert sum(found is None for found in merge(list(items(feeds, ordered=True)))) == ticks
