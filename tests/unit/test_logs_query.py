"""A query answers with pages that together are the whole answer."""

from __future__ import annotations

import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.errors import BadRequest, Refused, UsageError
from taskmaster_core.logs.pattern import Pattern
from taskmaster_core.logs.query import Query, Source, page, read
from taskmaster_core.logs.search import Search
from taskmaster_core.logs.stream import Stream
from tests.logs_shim import FakeShim


@pytest.fixture
def shims(tmp_path):
    made = [FakeShim(tmp_path, f"{number}.out") for number in range(3)]
    yield made
    for shim in made:
        shim.close()


@pytest.fixture
def shim(shims):
    return shims[0]


def text(lines) -> list[str]:
    return [line.note or line.data.decode().rstrip("\n") for line in lines]


def pages(query, cursor=None, **limits):
    """Read page after page, each cursor through JSON; return the lines and the last cursor."""
    found = []
    while True:
        got = page(query, cursor, **limits)
        found += got.lines
        cursor = json.loads(json.dumps(got.cursor))
        if not got.more:
            return found, cursor


def interleaved(shims):
    for number in range(30):
        shim = shims[number % 3]
        shim.append(b"line %d\n" % number, 100.0 + number, f"web:{number % 3}")
        if number in (10, 20):
            shim.rotate(compress=number == 10)
    return tuple(shim.source(key=f"web:{number}") for number, shim in enumerate(shims))


def test_sources_are_merged_by_time(shims):
    sources = interleaved(shims)
    found = list(read(Query(sources)))
    assert text(found) == [f"line {number}" for number in range(30)]
    assert [line.tag for line in found[:4]] == ["web:0", "web:1", "web:2", "web:0"]


@pytest.mark.parametrize("n", [0, 1, 7, 29, 30, 100])
def test_n_means_the_last_lines_of_the_merged_output(shims, n):
    sources = interleaved(shims)
    assert text(read(Query(sources, n=n))) == [f"line {number}" for number in range(30)][max(0, 30 - n) :]


def test_since_and_until_are_inclusive(shims):
    sources = interleaved(shims)
    assert text(read(Query(sources, since=105, until=108))) == ["line 5", "line 6", "line 7", "line 8"]
    assert text(read(Query(sources, since=105, until=108, n=2))) == ["line 7", "line 8"]
    assert text(read(Query(sources, since=107, n=3, until=107))) == ["line 7"]
    assert text(read(Query(sources, since=500))) == []


def test_a_pattern_filters_before_lines_are_counted(shims):
    sources = interleaved(shims)
    assert text(read(Query(sources, pattern="line 1", n=3))) == ["line 17", "line 18", "line 19"]
    assert text(read(Query(sources, pattern="LINE [12]9$", ignorecase=True))) == ["line 19", "line 29"]
    assert text(read(Query(sources, pattern="nowhere", n=3))) == []


def test_lines_of_one_shared_file_are_chosen_by_tag(shim):
    shim.append(b"zero\n", 1, "web:0")
    shim.append(b"one\n", 2, "web:1")
    shim.append(b"[taskmaster: 7 bytes dropped, ENOSPC]\n", 3, "taskmaster")
    shim.append(b"two\n", 4, "web:2")
    chosen = Query((shim.source("web:2", "web:2", "err"), shim.source("web:0", "web:0")))
    assert [(line.tag, line.stream, text([line])[0]) for line in read(chosen)] == [
        ("web:0", "out", "zero"),
        ("taskmaster", "err", "[taskmaster: 7 bytes dropped, ENOSPC]"),
        ("web:2", "err", "two"),
    ]


def test_lines_nobody_is_named_for_pass_every_tag(shim):
    shim.append(b"known\n", 1, "web:1")
    shim.append(b"unknown\n", 2, record=False)
    assert text(read(Query((shim.source("web:0", "web:0"),)))) == ["unknown"]


def test_an_answer_ends_where_the_output_ended_when_it_was_asked(shim):
    shim.append(b"a\nb\nc\n", 1)
    first = page(Query((shim.source(),)), max_bytes=1)
    shim.append(b"later\n", 2)
    shim.rotate()
    shim.append(b"latest\n", 3)
    rest, _ = pages(Query((shim.source(),)), first.cursor)
    assert text([*first.lines, *rest]) == ["a", "b", "c"]


def test_G20_follow_goes_on_where_the_last_page_ended(shims):
    sources = interleaved(shims)
    query = Query(sources, n=2, follow=True)
    found, cursor = pages(query)
    assert text(found) == ["line 28", "line 29"]
    shims[1].append(b"new\nunfini", 200, "web:1")
    shims[2].rotate(compress=True)
    shims[2].append(b"newer\n", 201, "web:2")
    found, cursor = pages(query, cursor)
    assert text(found) == ["new", "newer"]
    shims[1].append(b"shed\n", 202, "web:1")
    found, cursor = pages(query, cursor)
    assert text(found) == ["unfinished"]
    assert pages(query, cursor)[0] == []


def test_a_source_that_appears_while_following_is_read_from_its_start(shims):
    shims[0].append(b"old\n", 1)
    _, cursor = pages(Query((shims[0].source(),), n=0, follow=True))
    shims[1].append(b"first\n", 2)
    found, _ = pages(Query((shims[0].source(), shims[1].source()), n=0, follow=True), cursor)
    assert text(found) == ["first"]


def test_follow_gives_last_words_when_asked_for_what_is_unfinished(shim):
    shim.append(b"prompt> ", 1)
    found, cursor = pages(Query((shim.source(),), follow=True))
    assert found == []
    assert text(pages(Query((shim.source(),), follow=True, partial=True), cursor)[0]) == ["prompt> "]


def test_G21_a_follower_is_told_that_the_file_was_truncated(shim):
    shim.append(b"one\ntwo\n", 1)
    query = Query((shim.source(),), follow=True)
    _, cursor = pages(query)
    shim.truncate()
    shim.append(b"three\n", 2)
    found, cursor = pages(query, cursor)
    assert text(found) == ["the file was truncated", "three"]
    assert pages(query, cursor)[0] == []


chunks = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from([b"a\n", b"b", b"long line\n" * 3, b"\n", b"x" * 9000]), st.booleans()
    ),
    max_size=25,
)


@given(chunks, st.integers(1, 30), st.one_of(st.none(), st.integers(0, 12)))
def test_pages_together_are_the_whole(tmp_path_factory, script, max_bytes, n):
    directory = tmp_path_factory.mktemp("logs")
    shims = [FakeShim(directory, f"{number}.out") for number in range(3)]
    for number, (which, data, rotate) in enumerate(script):
        shims[which].append(data, 100.0 + number, f"web:{which}")
        if rotate:
            shims[which].rotate(compress=number % 2 == 0)
    query = Query(tuple(shim.source() for shim in shims), n=n)
    whole = list(read(query))
    assert pages(query, max_bytes=max_bytes)[0] == whole
    assert [line.at for line in whole] == sorted(line.at or 0 for line in whole)
    everything = list(read(Query(query.sources)))
    assert whole == (
        everything if n is None else everything[len(everything) - n :] if n < len(everything) else everything
    )
    for number, shim in enumerate(shims):
        shim.close()
        assert b"".join(line.data for line in everything if line.tag == f"web:{number}") == shim.written


def test_an_expired_budget_gives_an_empty_page_that_goes_on(shim):
    shim.append(b"needle\n", 0)
    for number in range(200):
        shim.append(b"x" * 8000 + b"\n", float(number))
    for query in (Query((shim.source(),), pattern="needle"), Query((shim.source(),), pattern="needle", n=1)):
        first = page(query, budget=0)
        assert first.more
        assert text([*first.lines, *pages(query, first.cursor, budget=0)[0]]) == ["needle"]


@pytest.mark.parametrize("cursor", [{"at": 5}, {"v": 2}, {"at": {"x": ["", "y"]}}, {"left": "x"}])
def test_a_cursor_made_up_by_somebody_is_refused(shim, cursor):
    with pytest.raises(BadRequest):
        page(Query((shim.source(),)), cursor)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    got = page(Query((Source(str(tmp_path / "fifo")),)))
    assert (got.lines, got.more, "regular" in got.problems[0]) == ((), False, True)


def test_a_bad_expression_is_refused_with_the_reason(shim):
    with pytest.raises(UsageError, match="not a regular expression"):
        page(Query((shim.source(),), pattern="(unclosed"))
    with pytest.raises(UsageError, match="characters"):
        page(Query((shim.source(),), pattern="x" * 5000))


def test_an_expression_that_does_not_end_is_given_up(shim):
    shim.append(b"a" * 60 + b"!\n", 1)
    start = time.process_time()
    with pytest.raises(Refused, match="too long"):
        page(Query((shim.source(),), pattern="(a+)+$"))
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("pattern", "ignorecase", "wanted"),
    [("é", False, True), ("É", True, True), ("c.f.$", False, True), ("É", False, False), ("CAF", True, True)],
)
def test_text_beyond_ascii_is_matched_by_characters(pattern, ignorecase, wanted):
    assert Pattern(pattern, ignorecase=ignorecase).hit("café\n".encode()) is wanted


@pytest.mark.parametrize("backwards", [False, True])
def test_a_search_in_steps_finds_and_counts_every_line_that_matches(shim, backwards):
    for number in range(3000):
        shim.append(b"line %d of many\n" % number, float(number))
        if number in (1000, 2000):
            shim.rotate(compress=number == 1000)
    search = Search(Stream(shim.path, shim.index), Pattern(r"line \d*77 "), backwards=backwards)
    found = []
    while not search.done:
        found += search.step(0)
    wanted = [f"line {number} of many" for number in range(77, 3000, 100)]
    assert text(found) == (wanted[::-1] if backwards else wanted)
    assert search.count == 30


def test_a_search_is_resumed_from_its_cursor(shim):
    for number in range(100):
        shim.append(b"y" * 7000 + b"\nhit %d\n" % number, float(number))
    first = Search(Stream(shim.path, shim.index), Pattern("hit"))
    found = first.step(0)
    assert 0 < len(found) < 100
    second = Search(Stream(shim.path, shim.index), Pattern("hit"), start=first.cursor)
    assert text(found + second.step(60)) == [f"hit {number}" for number in range(100)]


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    shim = FakeShim(tmp_path_factory.mktemp("million"))
    for number in range(2000):
        shim.append(b"".join(b"%0100d\n" % (number * 500 + each) for each in range(500)), 1000.0 + number)
    yield shim
    shim.close()


def fastest(action) -> float:
    """Return the least CPU seconds of three: others work on this machine too."""
    took = []
    for _ in range(3):
        start = time.process_time()
        action()
        took.append(time.process_time() - start)
    return min(took)


def test_the_last_lines_of_a_million_come_at_once(million):
    query = Query((million.source(),), n=100)
    assert text(read(query))[-1] == f"{999_999:0100}"
    assert fastest(lambda: list(read(query))) < 0.05


def test_a_literal_is_found_in_100_mb_at_once(million):
    found = []

    def search() -> None:
        each = Search(Stream(million.path, million.index), Pattern("0777777"))
        found.clear()
        while not each.done:
            found.extend(each.step(0.005))

    assert fastest(search) < 0.5
    assert [(line.at, line.offset) for line in found] == [(1000.0 + 777_777 // 500, 777_777 * 101)]
