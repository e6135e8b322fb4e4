"""The index is believed as far as it can be."""

from __future__ import annotations

import os

import pytest

from taskmaster_core.logs.index import Index
from tests.logs_shim import RECORD, FakeShim


@pytest.fixture
def shim(tmp_path):
    made = FakeShim(tmp_path)
    yield made
    made.close()


def opened(shim: FakeShim) -> Index:
    index = Index.open(shim.index)
    assert index is not None
    return index


def test_records_around_bytes_include_the_one_they_begin_in_and_the_next(shim):
    for number in range(10):
        shim.append(b"x" * 10, 100.0 + number)
    index = opened(shim)
    assert [record.offset for record in index.around(35, 52)] == [30, 40, 50, 60]
    assert [record.offset for record in index.around(0, 10)] == [0, 10]
    assert index.covered() == 100
    index.close()


def test_the_first_chunk_at_a_time_is_found(shim):
    for number in range(100):
        shim.append(b"x" * 10, 100.0 + number // 2)
    index = opened(shim)
    assert index.first_at(0) == 0
    assert index.first_at(125) == 500
    assert index.first_at(125.5) == 520
    assert index.first_at(1000) is None
    index.close()


def test_a_torn_last_record_is_ignored(shim):
    shim.append(b"one\n", 100)
    with open(shim.index, "ab") as index_file:
        index_file.write(RECORD.pack(4, 101, 0, 4)[:-1])
    index = opened(shim)
    assert (len(index), index.covered()) == (1, 4)
    index.close()


def test_a_missing_or_special_index_is_none(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert Index.open(str(tmp_path / "none")) is None
    assert Index.open(str(tmp_path / "fifo")) is None
    assert Index.open(None) is None


def test_records_of_bytes_truncated_away_do_not_count(shim):
    for number in range(50):
        shim.append(b"x" * 10, 100.0 + number)
    shim.truncate()
    for number in range(3):
        shim.append(b"y" * 5, 200.0 + number)
    index = opened(shim)
    assert (len(index), index.record(0).at, index.covered()) == (3, 200.0, 15)
    index.close()
    shim.truncate()
    shim.append(b"z", 300)
    index = opened(shim)  # looks at the new records only
    assert (len(index), index.record(0).at) == (1, 300.0)
    index.close()


def test_an_emptied_index_begins_anew(shim):
    for number in range(50):
        shim.append(b"x" * 10, 100.0 + number)
    opened(shim).close()
    os.truncate(shim.index, 0)
    index = opened(shim)
    assert len(index) == 0
    assert index.covered() == 0
    assert index.around(0, 100) == []
    index.close()


def test_tags_of_a_part_are_beside_the_live_index(shim):
    shim.append(b"a", 1, "web:0")
    shim.append(b"b", 2, "web:1")
    with open(f"{shim.index}.tags", "a") as tags:
        tags.write("torn")
    os.rename(shim.index, f"{shim.index}.part")
    index = Index.open(f"{shim.index}.part")
    assert index is not None
    assert index.tags(shim.index) == ["web:0", "web:1"]
    assert index.tags(None) == []
    index.close()
