"""A stream is read as one file, whatever happens to its files."""

from __future__ import annotations

import os
import resource
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.logs.archive import compress_part
from taskmaster_core.logs.cursors import Cursor
from taskmaster_core.logs.lines import CUT, Label, Sift, pieces
from taskmaster_core.logs.stream import Ask, Stream
from tests.logs_shim import FakeShim

ALL = Sift(lambda tag: Label(tag, "out"))
EVERYTHING = Ask(ALL)


@pytest.fixture
def shim(tmp_path):
    made = FakeShim(tmp_path)
    yield made
    made.close()


def lines_from(shim, cursor, ask=EVERYTHING):
    """Read all there is after the cursor; return the lines and the cursor behind them."""
    found = []
    while True:
        batch = Stream(shim.path, shim.index).read(cursor, ask)
        found += [line for _, line in batch.lines]
        cursor = batch.next
        if not batch.more:
            return found, cursor


def bytes_of(lines):
    return b"".join(line.data for line in lines)


def notes_of(lines):
    return [line.note for line in lines if line.note]


def test_lines_come_with_time_and_tag(shim):
    shim.append(b"one\ntwo\n", 100, "web:0")
    shim.append(b"three\n", 101, "web:1")
    found, _ = lines_from(shim, Cursor())
    assert [(line.at, line.tag, line.offset, line.data) for line in found] == [
        (100.0, "web:0", 0, b"one\n"),
        (100.0, "web:0", 4, b"two\n"),
        (101.0, "web:1", 8, b"three\n"),
    ]


def test_a_line_over_two_chunks_has_the_time_of_its_first_byte(shim):
    shim.append(b"on", 100)
    shim.append(b"e\ntwo\n", 101)
    found, _ = lines_from(shim, Cursor())
    assert [line.at for line in found] == [100.0, 101.0]


def test_bytes_the_index_does_not_know_have_no_time(shim):
    shim.append(b"one\n", 100)
    shim.append(b"two\n", 101, record=False)
    found, _ = lines_from(shim, Cursor())
    assert [(line.at, line.tag) for line in found] == [(100.0, "web:0"), (None, "")]


def test_without_an_index_lines_are_ordered_by_the_time_of_the_file(shim):
    shim.append(b"one\n", 100, record=False)
    batch = Stream(shim.path, None).read(Cursor(), EVERYTHING)
    assert [(order, line.at) for order, line in batch.lines] == [(100.0, None)]


def test_fresh_bytes_wait_for_their_index_when_tags_matter(shim):
    shim.append(b"one\n", 100)
    shim.append(b"two\n", time.time(), record=False)
    batch = Stream(shim.path, shim.index).read(Cursor(), EVERYTHING._replace(settle=True))
    assert ([line.data for _, line in batch.lines], batch.held) == ([b"one\n"], True)
    os.utime(shim.path, (100, 100))
    batch = Stream(shim.path, shim.index).read(batch.next, EVERYTHING._replace(settle=True))
    assert ([line.data for _, line in batch.lines], batch.held) == ([b"two\n"], False)


def test_an_unfinished_line_waits_unless_it_is_wanted(shim):
    shim.append(b"one\ntw", 100)
    found, cursor = lines_from(shim, Cursor(), EVERYTHING._replace(partial=False))
    assert bytes_of(found) == b"one\n"
    found, cursor = lines_from(shim, cursor)
    assert bytes_of(found) == b"tw"
    shim.append(b"o\n", 101)
    found, _ = lines_from(shim, cursor)
    assert [(line.data, line.cont) for line in found] == [(b"o\n", True)]


@pytest.mark.parametrize("compress", [False, True])
def test_G20_a_cursor_follows_its_file_through_rotation(shim, compress):
    shim.append(b"one\ntwo\n", 100)
    batch = Stream(shim.path, shim.index).read(Cursor(), EVERYTHING)
    cursor = batch.cursor(4)
    shim.append(b"three\n", 101)
    shim.rotate(compress=compress)
    shim.append(b"four\n", 102)
    found, _ = lines_from(shim, cursor)
    assert [(line.data, line.at) for line in found] == [(b"two\n", 100.0), (b"three\n", 101.0), (b"four\n", 102.0)]


def test_G20_a_part_compressed_while_it_is_read_goes_on(shim):
    shim.append(b"one\ntwo\n", 100)
    part = shim.rotate()
    cursor = Stream(shim.path, shim.index).read(Cursor(), EVERYTHING).cursor(4)
    compress_part(part)
    assert bytes_of(lines_from(shim, cursor)[0]) == b"two\n"


def test_G20_a_removed_part_is_told_and_reading_goes_on_after_it(shim):
    shim.append(b"gone\nlost\n", 100)
    first = shim.rotate()
    cursor = Stream(shim.path, shim.index).read(Cursor(), EVERYTHING).cursor(5)
    shim.append(b"middle part\n", 101)
    shim.rotate()
    shim.append(b"new\n", 102)
    os.unlink(first)
    found, _ = lines_from(shim, cursor)
    assert (notes_of(found), bytes_of(found)) == (["older output was removed"], b"middle part\nnew\n")


def test_G20_a_file_moved_by_others_is_read_to_its_end(shim):
    shim.append(b"one\n", 100)
    _, cursor = lines_from(shim, Cursor())
    os.rename(shim.path, shim.path + ".1")
    os.write(shim.fd, b"still to the old one\n")
    found, cursor = lines_from(shim, cursor)
    assert bytes_of(found) == b"still to the old one\n"
    os.write(shim.fd, b"last\n")
    os.close(shim.fd)
    shim._open()
    shim.append(b"new\n", 101, record=False)
    found, cursor = lines_from(shim, cursor)
    assert (bytes_of(found), notes_of(found)) == (b"last\nnew\n", [])
    assert lines_from(shim, cursor)[0] == []


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=30),
            st.sampled_from([b"line\n", b"same\n", "rotate", "compress", "read", "page"]),
        ),
        max_size=40,
    )
)
def test_G20_following_over_random_rotations_yields_exactly_the_bytes(tmp_path_factory, script):
    shim = FakeShim(tmp_path_factory.mktemp("log"))
    found, cursor = [], Cursor()
    for number, act in enumerate(script):
        if isinstance(act, bytes):
            shim.append(act, 100.0 + number)
        elif act in ("rotate", "compress"):
            shim.rotate(compress=act == "compress")
        elif act == "read":
            more, cursor = lines_from(shim, cursor, EVERYTHING._replace(partial=False))
            found += more
        else:
            batch = Stream(shim.path, shim.index).read(cursor, EVERYTHING)
            found += [line for _, line in batch.lines]
            cursor = batch.next
    more, _ = lines_from(shim, cursor)
    shim.close()
    assert bytes_of(found + more) == shim.written
    assert notes_of(found + more) == []


@given(
    st.lists(
        st.one_of(st.binary(min_size=1, max_size=30), st.sampled_from([b"a\n", "rotate", "compress"])), max_size=20
    )
)
def test_G20_reading_backwards_is_reading_forwards_reversed(tmp_path_factory, script):
    shim = FakeShim(tmp_path_factory.mktemp("log"))
    for number, act in enumerate(script):
        if isinstance(act, bytes):
            shim.append(act, 100.0 + number)
        else:
            shim.rotate(compress=act == "compress")
    stream = Stream(shim.path, shim.index)
    cursor, found = stream.end(), []
    while True:
        batch = stream.back(cursor, EVERYTHING)
        found += reversed([line for _, line in batch.lines])
        cursor = batch.next
        if not batch.more:
            break
    shim.close()
    assert found[::-1] == lines_from(shim, stream.start())[0]


def test_G20_nothing_is_lost_or_doubled_while_files_are_rotated_and_compressed(shim):
    def work() -> None:
        for number in range(1500):
            shim.append(b"line %d\n" % number, 100.0 + number)
            if number % 5 == 4:
                shim.rotate(compress=number % 2 == 0)

    writer = threading.Thread(target=work)
    writer.start()
    found, cursor = [], Cursor()
    while writer.is_alive():
        more, cursor = lines_from(shim, cursor, EVERYTHING._replace(partial=False))
        found += more
    writer.join()
    more, _ = lines_from(shim, cursor)
    assert notes_of(found + more) == []
    assert bytes_of(found + more) == shim.written


def test_G21_a_truncated_file_is_told_and_read_from_its_start(shim):
    shim.append(b"before\n" * 10, 100)
    _, cursor = lines_from(shim, Cursor())
    shim.truncate()
    shim.append(b"after\n", 101)
    found, cursor = lines_from(shim, cursor)
    assert (notes_of(found), bytes_of(found)) == (["the file was truncated"], b"after\n")
    assert [line.at for line in found if line.data] == [101.0]
    assert lines_from(shim, cursor)[0] == []


def test_G21_a_file_truncated_and_grown_beyond_the_cursor_is_noticed(shim):
    shim.append(b"before\n", 100)
    _, cursor = lines_from(shim, Cursor())
    shim.truncate()
    shim.append(b"something much longer\n", 101)
    found, _ = lines_from(shim, cursor)
    assert (len(notes_of(found)), bytes_of(found)) == (1, b"something much longer\n")


def test_G21_a_deleted_file_is_waited_for_and_a_new_one_read_from_its_start(shim):
    shim.append(b"before\n", 100)
    _, cursor = lines_from(shim, Cursor())
    os.unlink(shim.path)
    found, cursor = lines_from(shim, cursor)
    assert found == []
    os.close(shim.fd)
    shim._open()
    shim.append(b"afterwards\n", 101)
    found, cursor = lines_from(shim, cursor)
    assert (len(notes_of(found)), bytes_of(found)) == (1, b"afterwards\n")
    shim.append(b"more\n", 102)
    assert bytes_of(lines_from(shim, cursor)[0]) == b"more\n"


def test_G21_a_file_that_is_not_there_yet_is_empty(tmp_path):
    stream = Stream(str(tmp_path / "none" / "0.out"), None)
    assert stream.start() == stream.end() == Cursor()
    batch = stream.read(Cursor(), EVERYTHING)
    assert (batch.lines, batch.more, batch.problem) == ([], False, "")
    assert stream.back(Cursor(), EVERYTHING).lines == []


def test_G10_the_bytes_are_exact_and_no_character_is_cut(shim):
    data = ("é漢🙂" * 5000).encode() + b"\n\xff\x00\r\n" + bytes(range(256)) * 100
    shim.append(data, 100)
    found, _ = lines_from(shim, Cursor())
    assert bytes_of(found) == data
    assert max(len(line.data) for line in found) <= CUT
    assert "\ufffd" not in "".join(line.data.decode("utf-8", "replace") for line in found if line.cut)


@given(st.binary(max_size=100), st.integers(0, 40))
def test_G09_pieces_are_the_same_wherever_reading_stops(tail, stop):
    line = b"x" * 20_000 + tail.replace(b"\n", b"") + b"\n"
    whole = pieces(line, final=True)
    assert b"".join(whole) == line
    begun = pieces(line[: 16_000 + 100 * stop], final=False)
    assert whole[: len(begun)] == begun


def test_G09_a_line_without_end_is_read_in_pieces_with_little_memory(tmp_path):
    path = str(tmp_path / "endless")
    with open(path, "wb") as file:
        file.truncate(1 << 30)  # a sparse file: 1 GiB of NUL without a newline
    stream = Stream(path, None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    last = stream.back(stream.end(), EVERYTHING)
    first = stream.read(stream.start(), EVERYTHING)
    middle = stream.read(stream.place("", 1 << 29), EVERYTHING)
    assert time.process_time() - start < 0.5
    for batch in (first, middle, last):
        assert all(len(line.data) == CUT and line.cut for _, line in batch.lines)
    assert [first.lines[0][1].cont, middle.lines[0][1].cont] == [False, True]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_time_is_found_over_parts(shim):
    for number in range(6):
        shim.append(b"%d\n" % number, 100.0 + number)
        if number % 2:
            shim.rotate(compress=number == 1)
    stream = Stream(shim.path, shim.index)
    for number in range(6):
        assert bytes_of(lines_from(shim, stream.at_time(100.0 + number))[0])[:1] == b"%d" % number
    assert stream.at_time(200) == stream.end()


def test_a_place_told_by_a_line_is_found_again_after_rotation(shim):
    shim.append(b"one\ntwo\n", 100)
    line = lines_from(shim, Cursor())[0][1]
    shim.rotate(compress=True)
    stream = Stream(shim.path, shim.index)
    assert bytes_of(lines_from(shim, stream.place(line.after, line.offset))[0]) == b"two\n"


def test_a_damaged_part_is_told_and_skipped(shim):
    shim.append(b"one\n" * 1000, 100)
    part = shim.rotate(compress=True)
    with open(f"{part}.gz", "r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 20)
    shim.append(b"two\n", 101)
    batch = Stream(shim.path, shim.index).read(Cursor(), EVERYTHING)
    assert [line.data for _, line in batch.lines] == [b"two\n"]
    assert "damaged" in batch.problem


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user")
def test_a_link_planted_by_somebody_else_is_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret\n")
    link = tmp_path / "0.out"
    link.symlink_to("secret")
    assert [line.data for _, line in Stream(str(link), None).read(Cursor(), EVERYTHING).lines] == [b"secret\n"]
    os.chown(link, 12345, 12345, follow_symlinks=False)
    batch = Stream(str(link), None).read(Cursor(), EVERYTHING)
    assert (batch.lines, bool(batch.problem)) == ([], True)
