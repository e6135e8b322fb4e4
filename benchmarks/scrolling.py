"""Measure scrolling and searching in output: pages of ten jobs with rotated parts, searches over 1,000,000 lines.

It decides nothing about what is fast enough. Run it by hand: `python benchmarks/scrolling.py`; it takes half a minute.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from taskmaster_core.logs.find import count, find
from taskmaster_core.logs.query import Page, Place, Query, Source, around, back, page
from tests.logs_shim import FakeShim

LINES = 1_000_000
PAGE = 200
TURNS = 100
SEARCHES = [
    "items/777777 ",
    "nowhere to be found",
    "ERROR",
    "(?i)error",
    r"status=5\d\d",
    r"^2026.*ERROR.*x$",
    "worker",
]


def one_file(directory: Path) -> tuple[Source, ...]:
    """Write a million lines of 142 bytes, one in a thousand an ERROR."""
    shim = FakeShim(directory, "big.out")
    for chunk in range(LINES // 500):
        shim.append(b"".join(_line(chunk * 500 + each) for each in range(500)), 1000.0 + chunk)
    shim.close()
    return (shim.source(),)


def _line(number: int) -> bytes:
    level = b"ERROR" if number % 997 == 0 else b"INFO"
    told = (number % 1_000_000, level, 503 if number % 50 == 0 else 200, number, number % 1000, number % 313)
    stamp = b"2026-11-23T04:44:00.%06d %s worker status=%d path=/api/v1/items/%d user=u%d took=%dms " % told
    return stamp + b"x" * 45 + b"\n"


def many_files(directory: Path, files: int, chunks: int) -> tuple[Source, ...]:
    """Write files of 100 lines a second each, with a compressed part and a plain one."""
    made = []
    for number in range(files):
        shim = FakeShim(directory, f"{files}-{number}.out")
        for chunk in range(chunks):
            lines = (b"job %d INFO line %d %s\n" % (number, chunk * 100 + each, b"x" * 100) for each in range(100))
            shim.append(b"".join(lines), 1000.0 + chunk + number / files, f"web:{number}")
            if chunk in (chunks // 3, chunks // 2):
                shim.rotate(compress=chunk == chunks // 3)
        shim.close()
        made.append(shim.source(key=f"web:{number}"))
    return tuple(made)


def timed(ask: Callable[[dict[str, Any] | None], Page], cursor: dict[str, Any] | None, back_: bool) -> list[float]:
    """Ask for page after page; return the seconds each took."""
    took = []
    for _ in range(TURNS):
        start = time.perf_counter()
        got = ask(cursor)
        took.append(time.perf_counter() - start)
        cursor = got.begin if back_ else got.end
    return sorted(took)


def pages(sources: tuple[Source, ...], middle: float) -> None:
    """Print how long pages take at the end, in the middle, and in the compressed parts."""

    def before(cursor: dict[str, Any] | None) -> Page:
        return back(Query(sources, n=PAGE), cursor)

    def after(cursor: dict[str, Any] | None) -> Page:
        return page(Query(sources, most=PAGE, follow=True, partial=True), cursor)

    here = around(Query(sources, most=1), Place(middle)).begin
    packed = around(Query(sources, most=1), Place(1000.0 + (middle - 1000.0) / 2)).begin
    rows = [("back from the end", before, None), ("back from the middle", before, here)]
    rows += [("back in gzip", before, packed), ("forward from the middle", after, here)]
    for name, ask, cursor in rows:
        took = timed(ask, cursor, ask is before)
        p50, p95, most = took[len(took) // 2], took[int(len(took) * 0.95)], took[-1]
        say(f"{len(sources)} files, {name}", f"p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f}, max {most * 1e3:.1f}")


def searches(sources: tuple[Source, ...]) -> None:
    """Print how long whole searches take, and their longest slice."""
    for pattern in SEARCHES:
        for backwards in (True, False):
            query, total, worst, hits, slices, cursor, more = (
                Query(sources, pattern=pattern),
                0.0,
                0.0,
                0,
                0,
                None,
                True,
            )
            while more:
                start = time.perf_counter()
                found = find(query, cursor, back=backwards)
                took = time.perf_counter() - start
                total, worst = total + took, max(worst, took)
                hits, slices, cursor, more = hits + len(found.lines), slices + 1, found.cursor, found.more
            way = "back" if backwards else "forward"
            say(
                f"find {pattern!r} {way}",
                f"{total:.2f} s, {hits} places, {slices} slices, longest {worst * 1e3:.0f} ms",
            )
    start, cursor, more = time.perf_counter(), None, True
    while more:
        counted = count(Query(sources), cursor)
        cursor, more = counted.cursor, counted.more
    say("count lines", f"{time.perf_counter() - start:.2f} s for {counted.count}")


def say(what: str, figures: str) -> None:
    print(f"{what:44} {figures}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        pages(many_files(Path(directory), 10, 1000), 1500.0)
        pages(many_files(Path(directory), 100, 100), 1050.0)
        searches(one_file(Path(directory)))


if __name__ == "__main__":
    main()
