"""Measure scrolling and searching in output: pages of 10, 100, 2,000 files, searches over 1,000,000 lines.

It decides nothing about what is fast enough. Run it by hand: `python benchmarks/scrolling.py`; it takes half a minute.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from taskmaster_core.logs.find import count, find
from taskmaster_core.logs.query import Page, Place, Query, Source, around, back, page
from tests.logs_shim import FakeShim

LINES = 1_000_000
FLEET = 2_000
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


def fleet(directory: Path) -> list[FakeShim]:
    """Write the two streams of 1,000 processes: most wrote two lines or none, ten write on, one has rotated parts."""
    made, began = [], time.time() - 4000
    for number in range(FLEET):
        where = directory / f"job{number // 2}"
        where.mkdir(exist_ok=True)
        shim = FakeShim(where, "0.err" if number % 2 else "0.out")
        made.append(shim)
        for chunk in range(200 if number < 10 else 0):
            at = began + 3000 + 5 * chunk + number / 10
            shim.append(b"".join(b"busy %d %s\n" % (chunk * 20 + each, b"x" * 90) for each in range(20)), at)
            if number == 0 and chunk % 40 == 39:
                shim.rotate(compress=chunk < 100)
        if number >= 10 and number % 4 != 3:
            shim.append(b"starting\n", began + number / 10)
            shim.append(b"ready\n", began + number / 10 + 0.5)
    for each in directory.iterdir():
        os.utime(each, (began, began))  # as if the last file had appeared a while ago
    return made


def many_processes(directory: Path) -> None:
    """Print the CPU time of slices of 2,000 files: the first page ever, pages back, following, and far back."""
    shims = fleet(directory)
    sources = tuple(shim.source(key=f"job{number // 2}:0") for number, shim in enumerate(shims))

    def before(cursor: dict[str, Any] | None) -> Page:
        return back(Query(sources, n=PAGE), cursor, clock=time.process_time)

    def grown(cursor: dict[str, Any] | None) -> Page:
        return page(Query(sources, most=PAGE, follow=True, partial=True), cursor, clock=time.process_time)

    said = slices("first tail", before, None, PAGE)
    slices("tail again", before, None, PAGE)
    for number in range(3):
        said = slices(f"back, page {number + 2}", before, said.begin, PAGE)
    end = back(Query(sources, n=0)).end
    took = []
    for _ in range(TURNS):
        for shim in shims[:10]:
            shim.append(b"new\nlines\n", time.time() - 1000)
        asked = msgspec.json.encode(end)
        start = time.process_time()
        got = grown(msgspec.json.decode(asked))
        msgspec.json.encode([got.begin, got.end, got.cursor])
        took.append(time.process_time() - start)
        end = got.end
    took.sort()
    say(f"{FLEET} files, forward, 10 grew", f"p50 {took[TURNS // 2] * 1e3:.1f} ms, max {took[-1] * 1e3:.1f}")
    say(f"{FLEET} files, cursor", f"{len(asked):,} bytes; what a page adds {len(json.dumps(end['at'])):,}")
    far = around(Query(sources, most=1), Place(time.time() - 3900))
    said = slices("back, far", before, far.begin, PAGE)
    slices("back, far, next", before, said.begin, PAGE)
    for shim in shims:
        shim.close()


def slices(name: str, ask: Callable[[dict[str, Any] | None], Page], cursor: dict[str, Any] | None, wanted: int) -> Page:
    """Ask until a page is full and print the milliseconds of each slice; return the last."""
    took, lines = [], 0
    while True:
        start = time.process_time()
        got = ask(cursor)
        took.append(time.process_time() - start)
        cursor, lines = got.begin, lines + len(got.lines)
        if not got.more or lines >= wanted:
            break
    say(f"{FLEET} files, {name}", " + ".join(f"{each * 1e3:.1f}" for each in took) + " ms")
    return got


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
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * FLEET + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory() as directory:
        pages(many_files(Path(directory), 10, 1000), 1500.0)
        pages(many_files(Path(directory), 100, 100), 1050.0)
        searches(one_file(Path(directory)))
    with tempfile.TemporaryDirectory() as directory:
        many_processes(Path(directory))


if __name__ == "__main__":
    main()
