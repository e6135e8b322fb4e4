"""Merges what several feeds give into one order: by time, and within a feed as it came.

Decides only the order. A feed is any iterator of (time, item), or None for "nothing yet, I am still looking", which is
passed on so that whoever asked can stop. Queries merge streams with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def merge(feeds: Sequence[Iterable[tuple[float, T] | None]], *, newest: bool = False) -> Iterator[tuple[int, T] | None]:
    """Yield (number of the feed, item), oldest first; at equal times the feed named first is first.

    With `newest` the feeds give their items newest first, and so does this: the exact reverse.
    """
    sign = -1 if newest else 1
    iterators = [iter(feed) for feed in feeds]
    heap: list[tuple[float, int, T]] = []
    for number, iterator in enumerate(iterators):
        for found in iterator:
            if found is not None:
                heapq.heappush(heap, (sign * found[0], sign * number, found[1]))
                break
            yield None
    while heap:
        _, signed, item = heap[0]
        yield sign * signed, item
        for found in iterators[sign * signed]:
            if found is not None:
                heapq.heapreplace(heap, (sign * found[0], signed, found[1]))
                break
            yield None
        else:
            heapq.heappop(heap)
