"""Pages back, forward and around: every line once, whichever way one scrolls, whatever happens to the files."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.errors import BadRequest
from taskmaster_core.logs.archive import compress_part
from taskmaster_core.logs.find import count, find
from taskmaster_core.logs.query import Place, Query, around, as_place, back, page, read
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


def sources(shims):
    return tuple(shim.source(key=f"web:{number}") for number, shim in enumerate(shims))


def interleaved(shims, lines=90):
    for number in range(lines):
        shim = shims[number % 3]
        shim.append(b"line %d\n" % number, 100.0 + number, f"web:{number % 3}")
        if number in (20, 40, 60):
            shim.rotate(compress=number == 40)
    return sources(shims)


def text(lines) -> list[str]:
    return [line.note or line.data.decode().rstrip("\n") for line in lines]


def named(first, last) -> list[str]:
    return [f"line {number}" for number in range(first, last)]


def through_json(cursor):
    return json.loads(json.dumps(cursor))


def whole_page_back(its, cursor, n, **limits):
    """Ask as often as it takes for n lines before the cursor; return them, their begin, and the last page."""
    lines = []
    while True:
        got = back(Query(its, n=n - len(lines)), cursor, **limits)
        lines = [*got.lines, *lines]
        cursor = through_json(got.begin)
        if not got.more or len(lines) == n:
            return lines, cursor, got


def all_back(its, sizes, **limits):
    """Page back from the end in these sizes, the last one again and again."""
    lines, cursor, got = whole_page_back(its, None, sizes[0], **limits)
    pages = [(lines, cursor)]
    for number in range(1, 10_000):
        if got.start:
            return pages
        lines, cursor, got = whole_page_back(its, cursor, sizes[min(number, len(sizes) - 1)], **limits)
        pages.append((lines, cursor))
    raise AssertionError("it never came to the start")


def joined(pages):
    return [line for lines, _ in reversed(pages) for line in lines]


def after(its, cursor, **more):
    """Return all lines after a cursor, and the cursor behind them."""
    lines = []
    while True:
        got = page(Query(its, **more), cursor)
        lines += got.lines
        cursor = through_json(got.end)
        if not got.more:
            return lines, cursor


SAID = {
    "short": b"a\n",
    "open": b"b",
    "many": b"long line\n" * 30,
    "empty": b"\n",
    "accents": b"\xc3\xa9t\xc3\xa9\n",
    "cut": b"x" * 9000,
    "giant": b"y" * 70_000,
}


def scripts(*without):
    what = st.sampled_from(sorted(SAID.keys() - {*without}))
    then = st.sampled_from(["", "", "", "rotate", "gzip"])
    return st.lists(st.tuples(st.integers(0, 2), what, then), min_size=1, max_size=25)


chunks = scripts()


LOST = ("the file was replaced", "the file was truncated")  # an inode that was freed may come again


def play(directory, script):
    shims = [FakeShim(directory, f"{number}.out") for number in range(3)]
    told = [0.0, 0.0, 0.0]
    for number, (which, what, then) in enumerate(script):  # streams share times, but no file has one twice
        told[which] = max(100.0 + number // 2, told[which] + 0.25)
        shims[which].append(SAID[what], told[which], f"web:{which}")
        if then:
            shims[which].rotate(compress=then == "gzip")
    for shim in shims:
        shim.close()
    return sources(shims)


@given(chunks, st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from([0.0, 0.05]))
def test_G20_paging_back_gives_the_lines_of_reading_forward(tmp_path_factory, script, sizes, budget):
    its = play(tmp_path_factory.mktemp("logs"), script)
    everything = list(read(Query(its)))
    assert joined(all_back(its, sizes, budget=budget)) == everything


@given(chunks, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_G20_forward_from_any_back_page_gives_the_rest(tmp_path_factory, script, sizes):
    its = play(tmp_path_factory.mktemp("logs"), script)
    everything = list(read(Query(its)))
    seen = 0
    for lines, begin in all_back(its, sizes)[:12]:
        seen += len(lines)
        assert after(its, begin)[0] == everything[len(everything) - seen :]


@given(scripts("cut", "giant"), st.integers(0, 10_000), st.integers(1, 30))
def test_around_begins_with_the_very_line_and_back_gives_what_is_before(tmp_path_factory, script, pick, n):
    its = play(tmp_path_factory.mktemp("logs"), script)
    everything = list(read(Query(its)))
    number = pick % len(everything)
    line = everything[number]
    got = around(Query(its, most=n), Place(line.at or 0.0, line.tag, line.stream, line.offset))
    assert got.lines[0] == line
    assert after(its, got.begin)[0][: len(everything) - number] == everything[number:]
    assert whole_page_back(its, got.begin, 10_000)[0] == everything[:number]


@given(chunks, st.sampled_from(["a", "x", "(?i)LINE", "^a$", r"t.$", "é", r"a\s*b?$", "nowhere"]), st.booleans())
def test_find_gives_what_looking_at_each_line_gives(tmp_path_factory, script, pattern, backwards):
    its = play(tmp_path_factory.mktemp("logs"), script)
    wanted = list(read(Query(its, pattern=pattern)))
    found, cursor = [], None
    while True:
        got = find(Query(its, pattern=pattern), cursor, back=backwards, most=7)
        found += got.lines
        cursor = through_json(got.cursor)
        assert got.scanned <= got.total
        if not got.more:
            break
    assert found == (wanted[::-1] if backwards else wanted)
    assert got.scanned == got.total


def test_back_tells_when_the_start_is_reached(shims):
    its = interleaved(shims)
    lines, cursor, got = whole_page_back(its, None, 80)
    assert (text(lines), got.start) == (named(10, 90), False)
    lines, cursor, got = whole_page_back(its, cursor, 80)
    assert (text(lines), got.start, got.before) == (named(0, 10), True, 0)
    assert whole_page_back(its, cursor, 80)[0] == []


def test_a_page_counts_the_bytes_before_it_and_in_all(shims):
    its = interleaved(shims)
    total = sum(len(shim.written) for shim in shims)
    got = back(Query(its, n=10))
    assert (got.before, got.total) == (total - sum(len(line.data) for line in got.lines), total)


def test_since_in_the_middle_of_a_line_begins_with_the_next(shim):
    shim.append(b"one\ntw", 100)
    shim.append(b"o\nthree\n", 101)
    got = around(Query(sources([shim])), Place(101.0))
    assert text(got.lines) == ["three"]
    assert text(whole_page_back(sources([shim]), got.begin, 9)[0]) == ["one", "two"]


def test_a_page_forward_holds_no_more_lines_than_wanted(shims):
    its = interleaved(shims)
    first = page(Query(its, most=7, follow=True, n=90))
    assert (text(first.lines), first.more) == (named(0, 7), True)
    assert text(page(Query(its, most=5, follow=True), first.end).lines) == named(7, 12)


def test_a_process_that_came_after_the_cursor_has_all_its_output_after_it(shims):
    shims[0].append(b"old\n", 100)
    got = back(Query(sources(shims[:1]), n=5))
    shims[1].append(b"new\n", 50)
    assert whole_page_back(sources(shims), got.end, 5)[0] == list(got.lines)
    assert text(after(sources(shims), got.end)[0]) == ["new"]


# G20: rotation while somebody scrolls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_G20_back_goes_on_where_it_was_when_everything_was_rotated(shims, compress):
    its = interleaved(shims)
    got = back(Query(its, n=45))
    for shim in shims:
        shim.rotate(compress=compress)
        shim.append(b"later\n", 500)
    assert text(whole_page_back(its, through_json(got.begin), 100)[0]) == named(0, 45)
    assert text(after(its, got.end)[0]) == ["later"] * 3


def test_G20_back_goes_on_in_a_part_compressed_meanwhile(shim):
    shim.append(b"one\ntwo\nthree\n", 100)
    part = shim.rotate()
    shim.append(b"four\n", 101)
    got = back(Query(sources([shim]), n=2))
    compress_part(part)
    assert text(got.lines) == ["three", "four"]
    assert text(whole_page_back(sources([shim]), got.begin, 9)[0]) == ["one", "two"]


def test_G20_back_tells_of_a_part_that_was_removed(shim):
    for number in range(4):
        shim.append(b"part %d\nend %d\n" % (number, number), 100.0 + number)
        shim.rotate()
    got = back(Query(sources([shim]), n=3))
    assert text(got.lines) == ["end 2", "part 3", "end 3"]
    for part in shim.parts[:3]:
        os.unlink(part)
    lines, _, last = whole_page_back(sources([shim]), got.begin, 9)
    assert (text(lines), last.start) == (["older output was removed"], True)
    assert text(after(sources([shim]), got.end)[0]) == []


class Writer(threading.Thread):
    """Write numbered lines and rotate, as fast as it can, until it is told to end."""

    def __init__(self, shim):
        super().__init__()
        self.shim, self.count, self.ending = shim, 0, False

    def run(self):
        while not self.ending and self.count < 40_000:
            data = b"".join(b"%d\n" % (self.count + each) for each in range(20))
            self.shim.append(data, time.time())
            self.count += 20
            if self.count % 1000 == 0:
                self.shim.rotate(compress=self.count % 3000 == 0)


@pytest.fixture
def writer(shim):
    shim.append(b"first\n", time.time())
    made = Writer(shim)
    yield made
    made.ending = True
    made.join(30)


def test_G20_scrolling_both_ways_while_it_is_written_and_rotated_gives_every_line_once(shim, writer):
    its = sources([shim])
    start = back(Query(its, n=1))
    newer = list(start.lines)
    end, looks = start.end, 0
    writer.start()
    while writer.is_alive() or looks < 3:
        got = page(Query(its, most=500, follow=True), end)
        newer += got.lines
        end = through_json(got.end)
        looks += not writer.is_alive() and not got.more
    begin = back(Query(its, n=0)).begin
    found = back(Query(its, n=10_000), begin)
    older = list(found.lines)
    while not found.start:
        found = back(Query(its, n=777), found.begin)
        older = [*found.lines, *older]
    wanted = ["first", *map(str, range(writer.count))]
    assert text(newer) == wanted
    assert text(older) == wanted


def test_G20_back_while_it_is_rotated_on_and_on_gives_every_line_once(shim, writer):
    its = sources([shim])
    for number in range(3000):
        shim.append(b"old %d\n" % number, 100.0 + number)
        if number % 500 == 0:
            shim.rotate()
    got = back(Query(its, n=5))
    lines = list(got.lines)
    writer.start()
    while not got.start:
        got = back(Query(its, n=5), through_json(got.begin))
        lines = [*got.lines, *lines]
    assert text(lines) == ["first", *(f"old {number}" for number in range(3000))]


def test_G20_a_place_is_found_again_after_its_file_was_rotated(shims):
    its = interleaved(shims)
    (line,) = find(Query(its, pattern="line 88$")).lines
    for shim in shims:
        shim.rotate(compress=True)
    got = around(Query(its), Place(line.at or 0.0, line.tag, line.stream, line.offset))
    assert text(got.lines) == ["line 88", "line 89"]


def test_G20_a_search_goes_on_through_a_rotation_between_its_slices(shims):
    its = interleaved(shims)
    first = find(Query(its, pattern="line"), most=30)
    for shim in shims:
        shim.rotate()
        shim.append(b"line that came later\n", 500)
    second = find(Query(its, pattern="line"), through_json(first.cursor), most=1000)
    assert text([*first.lines, *second.lines]) == named(0, 90)[::-1]


# G21: files that are cut, replaced, deleted ---------------------------------------------------------------------------


def test_G21_back_from_before_a_truncation_says_so_and_gives_older_parts(shim):
    shim.append(b"old part\n", 99)
    shim.rotate()
    shim.append(b"one\ntwo\nthree\n", 100)
    got = back(Query(sources([shim]), n=1))
    shim.truncate()
    shim.append(b"new\n", 101)
    lines, _, _ = whole_page_back(sources([shim]), got.begin, 9)
    assert text(lines) == ["old part", "the file was truncated"]
    assert text(after(sources([shim]), got.end, follow=True)[0]) == ["the file was truncated", "new"]


def test_G21_forward_from_a_page_of_a_deleted_file_gives_the_new_one(shim):
    shim.append(b"one\ntwo\n", 100)
    got = back(Query(sources([shim]), n=1))
    shim.recreate()
    shim.append(b"three is longer than both were\n", 101)
    lines, end = after(sources([shim]), got.end, follow=True)
    assert (lines[0].note in LOST, text(lines[1:])) == (True, ["three is longer than both were"])
    assert after(sources([shim]), end, follow=True)[0] == []


def test_G21_back_after_a_deletion_ends_and_says_why(shim):
    shim.append(b"one\ntwo\n", 100)
    got = back(Query(sources([shim]), n=1))
    shim.recreate()
    shim.append(b"three\n", 101)
    lines, _, last = whole_page_back(sources([shim]), got.begin, 9)
    assert ([line.note in LOST for line in lines], last.start) == ([True], True)


def test_G21_a_place_that_is_gone_gives_what_came_after_its_time(shims):
    its = interleaved(shims)
    got = around(Query(its, most=3), Place(150.5, "web:0", "out", 77_777))
    assert text(got.lines) == ["line 51", "line 52", "line 53"]


# Unfinished lines -----------------------------------------------------------------------------------------------------


def test_a_prompt_is_given_once_its_file_is_quiet_and_goes_on_later(shim):
    shim.append(b"hello\n", 100)
    end = back(Query(sources([shim]), n=5)).end
    shim.append(b"name? ", 101)
    query = Query(sources([shim]), follow=True, partial=True)
    got = page(query, end)
    assert ([(line.data, line.cut) for line in got.lines], got.held) == ([(b"name? ", False)], False)
    shim.append(b"bob\n", 102)
    assert [(line.data, line.cont) for line in page(query, got.end).lines] == [(b"bob\n", True)]


def test_a_line_caught_half_written_is_held_for_a_moment(shim, monkeypatch):
    shim.append(b"hello\n", 100)
    end = back(Query(sources([shim]), n=5)).end
    shim.append(b"half a li", 1000.0)
    monkeypatch.setattr("taskmaster_core.logs.known.time.time", lambda: 1000.1)
    got = page(Query(sources([shim]), follow=True, partial=True), end)
    assert (got.lines, got.held) == ((), True)


# Counting and refusing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0.0, 0.05])
def test_count_counts_every_newline(shims, budget):
    its = interleaved(shims)
    cursor = None
    while True:
        got = count(Query(its), cursor, budget=budget)
        cursor = through_json(got.cursor)
        if not got.more:
            break
    assert got.count == 90


def test_count_of_a_shared_file_counts_the_lines_of_those_selected(shim):
    for number in range(9):
        shim.append(b"line\n", 100.0 + number, f"web:{number % 3}")
    assert count(Query((shim.source("web:0", "web:0"), shim.source("web:2", "web:2")))).count == 6


def test_a_search_between_two_times_stays_there(shims):
    its = interleaved(shims)
    query = Query(its, pattern="line", since=110, until=112)
    assert text(find(query).lines) == ["line 12", "line 11", "line 10"]
    assert text(find(query, back=False).lines) == ["line 10", "line 11", "line 12"]


def test_a_search_begins_at_the_cursor_of_a_page(shims):
    its = interleaved(shims)
    got = back(Query(its, n=30))
    query = Query(its, pattern="line .5$")
    assert text(find(query, through_json(got.begin)).lines) == ["line 55", "line 45", "line 35", "line 25", "line 15"]
    assert text(find(query, got.begin, back=False).lines) == ["line 65", "line 75", "line 85"]


@pytest.mark.parametrize("said", [{"at": "now"}, {"offset": []}, {"key": 5}])
def test_a_place_made_up_by_somebody_is_refused(said):
    with pytest.raises(BadRequest):
        as_place(said)
