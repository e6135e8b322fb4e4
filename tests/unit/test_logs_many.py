"""Of many files only those are opened that can hold the next line, and the pages are the same as if all were."""

from __future__ import annotations

import base64
import json
import os
import time
import zlib
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_core.errors import BadRequest
from taskmaster_core.logs import known, stream
from taskmaster_core.logs.archive import compress_part
from taskmaster_core.logs.cursors import _HEAD, Cursor, State, Writer, load
from taskmaster_core.logs.find import count, find
from taskmaster_core.logs.query import Place, Query, around, back, page, read
from taskmaster_core.logs.survey import Survey
from tests.logs_shim import FakeShim

FILES = 300
NOW = 1_700_000_000.0


def make(directory, files):
    (directory / "logs").mkdir()
    return [FakeShim(directory / "logs", f"{number}.out") for number in range(files)]


def closed(shims):
    for shim in shims:
        shim.close()
    return tuple(shim.source(key=f"web:{number}") for number, shim in enumerate(shims))


@pytest.fixture
def fleet(tmp_path):
    """Make files of which the last ten wrote last, in a directory nothing was renamed in for a while."""
    shims = make(tmp_path, FILES)
    for number, shim in enumerate(shims):
        busy = number >= FILES - 10
        for line in range(30 if busy else 2):
            shim.append(b"job %d line %d\n" % (number, line), NOW + number + 1000 * busy + line)
    os.utime(tmp_path / "logs", (NOW, NOW))
    yield shims
    for shim in shims:
        shim.close()


def sources(shims):
    return tuple(shim.source(key=f"web:{number}") for number, shim in enumerate(shims))


@contextmanager
def counted():
    """Count files that are opened to read lines or to look at their ends."""
    opened = []
    of_stream, of_known = stream._Open.__init__, known._look_into

    def opening(self, file, **kind):
        opened.append(file.path)
        of_stream(self, file, **kind)

    def looking(live, *rest):
        opened.append(live.path)
        return of_known(live, *rest)

    with patch.object(stream._Open, "__init__", opening), patch.object(known, "_look_into", looking):
        yield opened


@contextmanager
def opening_everything():
    """Know nothing beforehand: the reference."""
    with (
        patch.object(Survey, "bounds", lambda _, paths, at: [None for _ in paths]),
        patch.object(Survey, "heads", lambda _, paths, at: [None for _ in paths]),
        patch.object(Survey, "idle", lambda _, path, cursor: False),
    ):
        yield


def through_json(cursor):
    return json.loads(json.dumps(cursor))


def whole(ask, cursor=None, slices=500):
    """Ask back until a page comes to something."""
    for _ in range(slices):
        got = ask(cursor)
        if got.lines or not got.more:
            return got
        cursor = through_json(got.begin)
    raise AssertionError("it never came to anything")


def text(lines):
    return [line.note or line.data.decode().rstrip("\n") for line in lines]


# How many are opened --------------------------------------------------------------------------------------------------


def test_a_page_back_opens_only_what_can_hold_its_lines(fleet):
    its = sources(fleet)
    first = back(Query(its, n=0), budget=60)
    with counted() as opened:
        got = back(Query(its, n=50), through_json(first.begin), budget=60)
    assert {line.tag for line in got.lines} == {"web:0"}
    assert len(got.lines) == 50
    assert len(opened) <= 12


def test_the_next_page_back_does_not_open_again_what_is_far_from_it(fleet):
    its = sources(fleet)
    got = back(Query(its, n=100), budget=60)
    with counted() as opened:
        back(Query(its, n=20), through_json(got.begin), budget=60)
    assert len(opened) <= 12


def test_following_opens_only_what_grew(fleet):
    its = sources(fleet)
    end = through_json(back(Query(its, n=0), budget=60).end)
    query = Query(its, follow=True, partial=True)
    for shim in fleet[40:45]:
        shim.append(b"new\n", NOW + 5000)
    with counted() as opened:
        got = page(query, end)
    assert text(got.lines) == ["new"] * 5
    assert len(opened) <= 10
    page(query, got.end)
    with counted() as opened:
        assert page(query, got.end).lines == ()
    assert opened == []


def test_a_time_after_the_end_of_a_file_does_not_open_it(fleet):
    its = sources(fleet)
    back(Query(its, n=0), budget=60)
    with counted() as opened:
        got = around(Query(its, most=10), Place(NOW + 1000), budget=60)
    assert len(got.lines) == 10
    assert len(opened) <= 30


def test_rotated_parts_before_the_time_are_not_opened(tmp_path):
    (shim,) = make(tmp_path, 1)
    for number in range(20):
        shim.append(b"line %d\n" % number, NOW + number)
        shim.rotate()
    (its,) = closed([shim])
    with counted() as opened:
        assert text(around(Query((its,)), Place(NOW + 18)).lines) == ["line 18", "line 19"]
    assert len({path for path in opened if ".2026" in path}) <= 2


# Time -----------------------------------------------------------------------------------------------------------------


class Stopwatch:
    """Let a second pass whenever it is looked at: whatever is asked for has no time left."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def all_back(its, n, **limits):
    cursor, lines = None, []
    for _ in range(3000):
        got = back(Query(its, n=n), cursor, **limits)
        lines = [*got.lines, *lines]
        cursor = through_json(got.begin)
        if got.start and not got.more:
            return lines
    raise AssertionError("it never came to the start")


def test_a_slice_stops_opening_files_when_its_time_is_over(fleet):
    with counted() as opened:
        got = back(Query(sources(fleet), n=50), clock=Stopwatch())
    assert (got.lines, got.more, got.start) == ((), True, False)
    assert 0 < len(opened) <= 70


def test_slices_without_time_still_give_every_line_once(fleet):
    its = sources(fleet)
    everything = list(read(Query(its)))
    assert all_back(its, 100, clock=Stopwatch()) == everything
    lines, cursor = [], None
    for _ in range(3000):
        got = page(Query(its), cursor, clock=Stopwatch())
        lines += got.lines
        cursor = through_json(got.cursor)
        if not got.more:
            break
    assert lines == everything


def test_slices_come_to_an_end_even_if_nothing_can_be_remembered(fleet):
    its = sources(fleet)
    with patch.object(known.Memory, "put", lambda *_: None), patch.object(known.Memory, "saw", lambda *_: None):
        assert len(all_back(its, 500, clock=Stopwatch())) == 290 * 2 + 10 * 30


@pytest.mark.parametrize("backwards", [True, False])
def test_a_search_and_a_count_without_time_find_everything(fleet, backwards):
    its, cursor, found = sources(fleet), None, []
    for _ in range(3000):
        got = find(Query(its, pattern="line 1$"), cursor, back=backwards, clock=Stopwatch())
        found += got.lines
        cursor = through_json(got.cursor)
        if not got.more:
            break
    wanted = read(Query(its, pattern="line 1$"))
    assert sorted(line.at or 0.0 for line in found) == sorted(line.at or 0.0 for line in wanted)
    cursor = None
    while (counted := count(Query(its), cursor, clock=Stopwatch())).more:
        cursor = through_json(counted.cursor)
    assert counted.count == 290 * 2 + 10 * 30


# The same pages -------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from([b"a\n", b"two\nlines\n", b"open", b"long line\n" * 20]),
        st.sampled_from([0.0, 1.0, 0.0, 3.0, -40.0, 500.0, -2000.0]),  # how the clock goes on, or is set
        st.sampled_from([0.0, 0.0, 2.0, -2.0, 90.0, -3600.0]),  # what the file's time differs from the line's
        st.booleans(),
        st.sampled_from(["", "", "", "rotate", "gzip"]),
    ),
    min_size=1,
    max_size=30,
)


def write(shims, script, clock=NOW):
    for which, data, on, off, indexed, then in script:
        clock += on
        shims[which].append(data, clock, f"web:{which}", record=indexed)
        os.utime(shims[which].path, (clock + off, clock + off))
        if then:
            shims[which].rotate(compress=then == "gzip")


def pages_back(its, n):
    cursor, pages = None, []
    for _ in range(500):
        got = back(Query(its, n=n), cursor, budget=60)
        pages.append((got.lines, got.before, got.total))
        if got.start or not got.lines:
            return pages
        cursor = through_json(got.begin)
    raise AssertionError("it never came to the start")


def pages_on(its, cursor, most):
    pages = []
    for _ in range(500):
        got = page(Query(its, most=most, follow=True, partial=True), cursor, budget=60)
        pages.append((got.lines, got.before, got.total))
        cursor = through_json(got.end)
        if not got.more:
            return pages
    raise AssertionError("it never came to the end")


@settings(max_examples=30)
@given(steps, steps, st.integers(1, 9), st.sampled_from([0.0, 5.0, -50.0, 400.0]))
def test_pages_are_those_of_opening_everything_whatever_the_times_are(tmp_path_factory, script, later, n, when):
    shims = make(tmp_path_factory.mktemp("many"), 6)
    its = sources(shims)
    for chapter in (script, later):
        write(shims, chapter)
        end = through_json(back(Query(its, n=0)).end)
        with opening_everything():
            wanted = pages_back(its, n), pages_on(its, {"v": 1}, n)
            there = around(Query(its, most=n), Place(NOW + when))
            rest = pages_on(its, through_json(there.begin), n)
        for _ in range(2):  # the second time with all that was remembered the first time
            assert pages_back(its, n) == wanted[0]
            assert pages_on(its, {"v": 1}, n) == wanted[1]
            assert pages_on(its, through_json(there.begin), n) == rest
        assert pages_on(its, end, n)[0][0] == ()
    closed(shims)


@given(steps, st.integers(0, 20), st.integers(1, 9))
def test_a_follower_gets_the_bytes_that_came_whatever_the_times_are(tmp_path_factory, script, seen, n):
    shims = make(tmp_path_factory.mktemp("many"), 6)
    its = sources(shims)
    write(shims, script[:seen])
    end, got = through_json(back(Query(its, n=3)).end), [b""] * 6
    had = [len(shim.written) for shim in shims]
    for step in script[seen:]:
        write(shims, [step])
        for lines, *_ in (told := pages_on(its, end, n)):
            for line in lines:
                assert line.note == ""
        for line in [line for lines, *_ in told for line in lines]:
            number = next(i for i, source in enumerate(its) if source.key == (line.tag or source.key))
            got[number] += line.data
        end = end_of(its, end)
    assert sum(map(len, got)) == sum(len(shim.written) - before for shim, before in zip(shims, had, strict=True))
    closed(shims)


def end_of(its, cursor):
    while (got := page(Query(its, follow=True, partial=True), cursor)).more:
        cursor = through_json(got.end)
    return through_json(got.end)


# What is remembered is not believed too long --------------------------------------------------------------------------


def follower(shims):
    its = sources(shims)
    end = through_json(back(Query(its, n=0)).end)
    query = Query(its, follow=True, partial=True)
    page(query, end)
    return query, end


def test_G21_a_file_written_anew_at_the_same_size_is_noticed(tmp_path):
    shims = make(tmp_path, 3)
    for shim in shims:
        shim.append(b"old\n", NOW)
    query, end = follower(shims)
    shims[1].truncate()
    shims[1].append(b"new\n", NOW + 1)
    assert text(page(query, end).lines) == ["the file was truncated", "new"]
    closed(shims)


def test_G21_a_file_replaced_at_the_same_size_is_noticed(tmp_path):
    shims = make(tmp_path, 3)
    for shim in shims:
        shim.append(b"old\n", NOW)
    query, end = follower(shims)
    os.rename(shims[1].path, tmp_path / "elsewhere")
    os.close(shims[1].fd)
    shims[1]._open()
    shims[1].append(b"new\n", NOW)
    assert text(page(query, end).lines) == ["the file was replaced", "new"]
    closed(shims)


def test_G20_a_rotation_between_two_pages_is_followed_from_a_directory_at_rest(tmp_path):
    shims = make(tmp_path, 3)
    for shim in shims:
        shim.append(b"old\n", NOW)
    os.utime(tmp_path / "logs", (NOW, NOW))
    query, end = follower(shims)
    shims[2].append(b"last\n", NOW + 1)
    part = shims[2].rotate()
    shims[2].append(b"first\n", NOW + 2)
    compress_part(part)
    assert text(page(query, end).lines) == ["last", "first"]
    closed(shims)


def test_a_file_that_was_not_there_is_read_from_its_start(tmp_path):
    shims = make(tmp_path, 3)
    os.unlink(shims[1].path)
    os.utime(tmp_path / "logs", (NOW, NOW))
    query, end = follower(shims)
    os.close(shims[1].fd)
    shims[1]._open()
    shims[1].append(b"new\n", NOW)
    assert text(page(query, end).lines) == ["new"]
    closed(shims)


def test_a_file_just_written_is_not_believed_to_be_quiet(tmp_path):
    (shim,) = shims = make(tmp_path, 1)
    shim.append(b"one\n", time.time())
    query, end = follower(shims)
    at = os.stat(shim.path).st_mtime_ns
    shim.truncate()
    shim.append(b"two\n", 0)
    os.utime(shim.path, ns=(at, at))  # as if it was in the same tick of the kernel's clock
    assert text(page(query, end).lines) == ["the file was truncated", "two"]
    closed(shims)


# Cursors --------------------------------------------------------------------------------------------------------------


def test_a_cursor_of_many_files_is_short_and_the_next_one_differs_in_what_grew(fleet):
    its = sources(fleet)
    end = back(Query(its, n=0), budget=60).end
    assert len(json.dumps(end)) < 30 * FILES
    fleet[3].append(b"new\n", NOW + 9000)
    got = page(Query(its, follow=True), end)
    assert (got.end["packed"], list(got.end["at"])) == (end["packed"], [fleet[3].path])
    assert got.begin == end


def test_a_cursor_of_many_files_written_by_an_older_core_is_read(fleet):
    its = sources(fleet)
    state, _ = load(back(Query(its, n=10), budget=60).begin, {source.path: None for source in its})
    long = {"v": 1, "at": {path: list(cursor) for path, cursor in state.at.items()}, "to": None, "left": 0}
    assert len(page(Query(its, follow=True), through_json(long), budget=60).lines) == 10


cursors = st.builds(
    Cursor, st.sampled_from(["", ".20261123T013500.000001", ".x\udce9.000002"]), *[st.integers(0, 2**32 - 1)] * 3
)


@given(st.lists(cursors, min_size=70, max_size=70))
def test_packed_cursors_are_read_as_they_were(wanted):
    its = {f"/logs/\udce9{number}": cursor for number, cursor in enumerate(wanted)}
    said = through_json(Writer().plain(its, State()))
    assert (said["at"], len(said["packed"]) > 70) == ({}, True)
    assert load(said, its)[0].at == its


@pytest.mark.parametrize("packed", ["x", "AAAA", "é", "AQAAAAEAAAA="])
def test_a_packed_cursor_made_up_by_somebody_is_refused(packed):
    with pytest.raises(BadRequest):
        load({"v": 1, "packed": packed}, {})


def test_a_packed_cursor_does_not_unpack_without_end():
    bomb = base64.b64encode(_HEAD.pack(1, 1 << 28, 1 << 31) + zlib.compress(bytes(1 << 25))).decode()
    with pytest.raises(BadRequest):
        load({"v": 1, "packed": bomb}, {})
