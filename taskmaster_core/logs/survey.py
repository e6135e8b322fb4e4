"""Says of each file of an answer what can be said without reading its lines: where it ends, how much is before a place.

Decides which files need not be opened at all, because nothing is new there or what they hold cannot be next. It goes by
what `known` remembers and one look at each file's state. Pages and searches are made from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from taskmaster_core.logs.cursors import Cursor, Cursors, Rest
from taskmaster_core.logs.feeds import Feeds, Source, groups_of
from taskmaster_core.logs.known import Known, look, memory, sign_of
from taskmaster_core.logs.parts import Listing
from taskmaster_core.logs.stream import Stream

_NOWHERE = -math.inf


class Survey:
    """Look at the files of one answer. `tired` is asked after each file that had to be opened.

    `way`: what the order in which lines come depends on.
    """

    def __init__(self, sources: tuple[Source, ...], tired: Callable[[], bool], way: object = None) -> None:
        self.groups = groups_of(sources)
        self.spent = False
        """There is no time to open more files."""
        self._listing = Listing()
        self._tired = tired
        self._way = way
        self._seen: dict[str, Known | None] = {}
        self._streams: dict[str, Stream] = {}
        memory.make_room(len(self.groups))

    def stream(self, path: str) -> Stream:
        """Return the reader of a file; of most files of a thousand it is not needed."""
        if path not in self._streams:
            self._streams[path] = Stream(path, self.groups[path].index, self._listing)
        return self._streams[path]

    def known(self, path: str) -> Known | None:
        """Return what is known of a file now, None if only reading it can tell."""
        if path not in self._seen:
            known = memory.get(path)
            self._seen[path] = known if known is not None and self._holds(known, path) else self._look(path)
        return self._seen[path]

    def _holds(self, known: Known, path: str) -> bool:
        sign = sign_of(path)
        return known.sign == sign if sign is not None else self._still_none(known, path)

    def _still_none(self, known: Known, path: str) -> bool:
        """Tell whether there still is no live file, and no other parts than there were."""
        return known.sign is None and known.where == path and self._listing.at_rest(path) is known.scan

    def _look(self, path: str) -> Known | None:
        stream = self.stream(path)
        self.spent = self._tired()
        return look(path, self._listing, stream.path, stream.index_path)

    def idle(self, path: str, cursor: Cursor | None) -> bool:
        """Tell whether there is nothing after a cursor; one look at the state of the file tells it of most files."""
        known, sign = memory.get(path), sign_of(path)
        if known is not None and (self._still_none(known, path) if sign is None else known.sign == sign):
            self._seen[path] = known
        elif sign is not None and cursor is not None and (sign[0], sign[1]) != (cursor.ino, cursor.offset):
            return False  # it grew, most often; or what is older is looked at
        else:
            known = self.known(path)
        if known is None:
            return False
        return known.end == cursor or (cursor is None and not known.older and not known.end.offset)

    def bounds(self, paths: Iterable[str], at: Cursors) -> list[float | None]:
        """Return a time for each file after which no line before the cursor is ordered; None if unknown.

        -inf if there is none.
        """
        heads = memory.heads(self._way)
        return [self._bound(path, at.get(path), heads.get(path)) for path in paths]

    def _bound(self, path: str, cursor: Cursor | None, head: tuple[Cursor, float] | None) -> float | None:
        known = None if self.spent else self.known(path)
        if cursor is None or (not cursor.offset and not cursor.after):
            return _NOWHERE
        if head is not None and head[0] == cursor and not self.groups[path].tagged:
            return head[1]
        return known.newest if known is not None and known.end == cursor else None

    def heads(self, paths: Iterable[str], at: Cursors) -> list[float | None]:
        """Return what orders the first line after the cursor of each file, if it was seen."""
        heads = memory.heads(self._way)
        seen = [(path, heads.get(path)) for path in paths]
        return [
            head[1] if head is not None and head[0] == at.get(path) and not self.groups[path].tagged else None
            for path, head in seen
        ]

    def saw(self, feeds: Feeds) -> None:
        """Remember the next lines of feeds: the next page need not open those that are far from it."""
        for path, feed in feeds.made():
            if feed.head is not None and (cursor := feed.cursor) is not None:
                memory.saw(self._way, path, cursor, feed.head)

    def end(self, path: str) -> Cursor:
        """Return the place after the newest byte."""
        known = self.known(path)
        return known.end if known is not None else self.stream(path).end()

    def settle(self, at: Cursors, rest: Rest) -> bool:
        """Find the places in the files that `at` does not name; False if there was no time for all."""
        first = rest.first in self.groups
        for path in self.groups:
            first = first and path != rest.first
            if path in at:
                continue
            # at equal times the file named first is first: those before it begin after the line of that very time
            when = math.nextafter(rest.when, math.inf) if first else rest.when
            at[path] = self.end(path) if rest.kind == "end" else self.at_time(path, when, whole=rest.kind == "line")
            if self.spent:
                return False
        return True

    def at_time(self, path: str, when: float, *, whole: bool) -> Cursor:
        """Return the place of the first byte that arrived at `when` or later, or of the first line that did."""
        known = self.known(path)
        if known is not None and known.newest < when:
            return known.end
        self.spent = self._tired()
        stream = self.stream(path)
        return stream.line_after(when) if whole else stream.at_time(when)

    def extent(self, at: Cursors) -> tuple[int, int]:
        """Return the bytes of output before the cursors and in all, over all parts of all files."""
        before = total = 0
        for path in self.groups:
            known, cursor = self._seen.get(path), at.get(path)
            if known is None or not (cursor is None or cursor.after == known.end.after):
                its_before, its_total = self.stream(path).extent(cursor)
            else:
                end = known.end.offset
                its_total = known.older + end
                its_before = 0 if cursor is None else known.older + min(cursor.offset, end)
            before += its_before
            total += its_total
        return before, total

    def before(self, at: Cursors) -> int:
        """Return the bytes of output before the cursors; what was there when a file was last looked at is enough."""
        found = 0
        for path, cursor in at.items():
            known = memory.get(path)
            if known is not None and cursor.after == known.end.after and cursor.offset <= known.end.offset:
                found += known.older + cursor.offset
            elif path in self.groups:
                found += self.stream(path).extent(cursor)[0]
        return found
