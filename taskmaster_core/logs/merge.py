"""Merges what several feeds give into one order: by time, and within a feed as it came.

Decides only the order, and which feed need not be looked at yet. A feed is any iterator of (time, item), or None for
"nothing yet, I am still looking", which is passed on so that whoever asked can stop. Queries merge streams with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_WAITING, _OPEN = 0, 1
_FIRST = -float("inf")


def merge(
    feeds: Sequence[Iterable[tuple[float, T] | None]],
    *,
    newest: bool = False,
    bounds: Sequence[float | None] = (),
    tired: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, T] | None]:
    """Yield (number of the feed, item), oldest first; at equal times the feed named first is first.

    With `newest` the feeds give their items newest first, and so does this: the exact reverse. `bounds`: a time before
    which (`newest`: after which) the first item of the feed is not, None if nothing is known. A feed is not touched
    until its bound is reached, and the order is the same as without bounds. `tired` is asked after each feed that was
    touched for the first time; if it says so there is a None.
    """
    sign = -1 if newest else 1
    iterators: dict[int, Iterator[tuple[float, T] | None]] = {}
    known = bounds or [None] * len(feeds)
    # At equal times those that wait are before those that are open: theirs could be the first item.
    heap: list[tuple[float, int, int, T | None]] = [
        (_FIRST if at is None else sign * at, _WAITING, sign * number, None) for number, at in enumerate(known)
    ]
    heapq.heapify(heap)
    while heap:
        _, state, signed, item = heap[0]
        if state == _OPEN and item is not None:
            yield sign * signed, item
        elif state == _WAITING:
            iterators[signed] = iter(feeds[sign * signed])
        for found in iterators[signed]:
            if found is not None:
                heapq.heapreplace(heap, (sign * found[0], _OPEN, signed, found[1]))
                break
            yield None
        else:
            heapq.heappop(heap)
        if state == _WAITING and tired():
            yield None
