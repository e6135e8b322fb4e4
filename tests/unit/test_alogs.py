"""Whoever scrolls through output sees every line once, whichever way."""

from __future__ import annotations

import json

import pytest

from taskmaster_core.alogs import FileLogs, Line, Lines, extend
from taskmaster_core.logs.query import Query, Source, read
from tests.logs_shim import FakeShim


def logs_of(shims) -> FileLogs:
    return FileLogs({f"web:{n}": {"out": {"path": s.path, "index": s.index, "tag": None}} for n, s in enumerate(shims)})


def everything(shims) -> list[tuple[str, int, bytes]]:
    sources = tuple(Source(shim.path, shim.index, None, f"web:{n}") for n, shim in enumerate(shims))
    return [(line.tag, line.offset, line.data) for line in read(Query(sources))]


def seen(lines) -> list[tuple[str, int, bytes]]:
    return [(line.key, line.offset, line.data) for line in lines]


def through_json(cursor):
    return json.loads(json.dumps(cursor))


@pytest.fixture
def shims(tmp_path):
    made = [FakeShim(tmp_path, f"{number}.out") for number in range(3)]
    for number in range(300):
        made[number % 3].append(b"line %d\n" % number, 100.0 + number, f"web:{number % 3}")
        if number in (50, 100, 200):
            made[number % 3].rotate(compress=number == 50)
    yield made
    for shim in made:
        shim.close()


async def all_back(logs, size) -> list[Line]:
    got = await logs.tail([], size)
    found = got.lines
    while not got.start:
        got = await logs.back([], through_json(got.begin), size)
        found = got.lines + found
    return found


async def test_paging_back_from_the_end_gives_what_reading_forward_gives(shims):
    assert seen(await all_back(logs_of(shims), 7)) == everything(shims)


async def test_paging_forward_from_the_begin_of_a_back_page_gives_the_rest(shims):
    logs, whole = logs_of(shims), everything(shims)
    got = await logs.tail([], 120)
    rest = await logs.forward([], through_json(got.begin), 1000)
    assert seen(rest.lines) == whole[-120:]
    older = await logs.back([], got.begin, 50)
    assert seen((await logs.forward([], older.begin, 70)).lines) == whole[-170:-100]
