"""Whoever scrolls through output asks for pages and gets them full, through the core or from the files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskmaster_core.alogs import CoreLogs, Line, Place, extend
from taskmaster_core.filelogs import FileLogs
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


# From the files -------------------------------------------------------------------------------------------------------


async def test_paging_back_from_the_end_gives_what_reading_forward_gives(shims):
    logs = logs_of(shims)
    got = await logs.tail([], 7)
    found = got.lines
    while got.more:
        got = await logs.back([], through_json(got.begin), 7)
        found = got.lines + found
    assert seen(found) == everything(shims)
    assert got.start


async def test_paging_forward_from_the_begin_of_a_back_page_gives_the_rest(shims):
    logs, whole = logs_of(shims), everything(shims)
    got = await logs.tail([], 120)
    rest = await logs.forward([], through_json(got.begin), 1000)
    assert seen(rest.lines) == whole[-120:]
    older = await logs.back([], got.begin, 50)
    assert seen((await logs.forward([], older.begin, 70)).lines) == whole[-170:-100]


async def test_what_comes_is_had_with_the_end_of_the_last_page(shims):
    logs = logs_of(shims)
    got = await logs.tail([], 5)
    shims[1].append(b"new\n", 900, "web:1")
    got = await logs.forward([], got.end, 100)
    assert (seen(got.lines)[0][2], len(got.lines), got.held) == (b"new\n", 1, False)
    assert (await logs.forward([], got.end, 100)).lines == []


async def test_only_the_selected_are_read(shims):
    logs = logs_of(shims)
    assert {line.key for line in (await logs.tail(["web:1", "web:2"], 50)).lines} == {"web:1", "web:2"}
    assert {line.key for line in (await logs.tail(["web"], 50)).lines} == {"web:0", "web:1", "web:2"}
    nothing = await logs.tail(["other"], 50)
    assert (nothing.lines, nothing.start, nothing.more) == ([], True, False)
    assert (await logs.tail([], 50, ["err"])).lines == []


async def test_a_time_begins_a_page(shims):
    got = await logs_of(shims).at_time([], 150.5, 3)
    assert [line.at for line in got.lines] == [151.0, 152.0, 153.0]


async def test_every_place_that_is_found_can_be_gone_to(shims):
    logs = logs_of(shims)
    found = await logs.find([], r"line \d*7$")
    assert not found.more
    assert [place.at for place in found.places] == [100.0 + number for number in range(297, 0, -10)]
    for place in found.places:
        page = await logs.around([], place, 1)
        assert page.lines[0].place == place


async def test_a_search_goes_on_from_the_page_one_looks_at(shims):
    logs = logs_of(shims)
    here = await logs.at_time([], 200.0, 10)
    nearest = await logs.find([], "line", cursor=here.begin)
    assert nearest.places[0].at == 199.0
    nearest = await logs.find([], "LINE", ignorecase=True, cursor=here.end, back=False)
    assert nearest.places[0].at == 210.0


async def test_pages_of_what_matches_go_both_ways_with_the_same_cursors(shims):
    logs = logs_of(shims)
    only = logs.matching("LINE .*7$", ignorecase=True)
    got = await only.tail([], 5)
    assert [line.at for line in got.lines] == [357.0, 367.0, 377.0, 387.0, 397.0]
    assert [line.at for line in (await only.back([], got.begin, 2)).lines] == [337.0, 347.0]
    assert [line.at for line in (await logs.around([], got.lines[0].place, 2)).lines] == [357.0, 358.0]
    assert (await only.forward([], got.end, 5)).lines == []
    shims[0].append(b"line 7\nline 8\nline 7", 900, "web:0")
    assert [line.data for line in (await only.forward([], got.end, 5)).lines] == [b"line 7\n"]


async def test_lines_are_counted(shims):
    got = await logs_of(shims).count([])
    assert (got.lines, got.more) == (300, False)


# Through the core -----------------------------------------------------------------------------------------------------


class Core:
    """Answers with slices by script and notes what it was asked."""

    def __init__(self, *slices: dict[str, Any]) -> None:
        self.slices = list(slices)
        self.asked: list[dict[str, Any]] = []

    async def call_raw(self, op, select=(), args=None):
        self.asked.append({"op": op, "select": list(select), **args})
        said = self.slices.pop(0)
        return said, said.pop("raw", b"")


def slice_of(first, last, *, more, start=False):
    numbers = range(first, last)
    return {
        "lines": [[float(each), "web:0", "out", each * 2, False, 2, "", False] for each in numbers],
        "raw": b"".join(b"%d\n" % (each % 10) for each in numbers), "cursor": {}, "more": more, "held": False,
        "problems": ["gone"] if more else [], "begin": {"at": first}, "end": {"at": last}, "before": first * 2,
        "total": 100, "start": start,
    }  # fmt: skip


async def test_a_page_back_is_made_of_slices_until_it_is_full():
    core = Core(slice_of(40, 45, more=True), slice_of(40, 40, more=True), slice_of(35, 40, more=False))
    got = await CoreLogs(core).back(["web"], {"at": 45}, 10)
    assert [line.at for line in got.lines] == [float(each) for each in range(35, 45)]
    assert (got.begin, got.end, got.before, got.more, got.problems) == ({"at": 35}, {"at": 45}, 70, True, ["gone"])
    assert [(each["cursor"], each["n"]) for each in core.asked] == [({"at": 45}, 10), ({"at": 40}, 5), ({"at": 40}, 5)]


async def test_a_page_forward_is_made_of_slices_until_it_is_full():
    core = Core(slice_of(0, 4, more=True), slice_of(4, 6, more=True))
    got = await CoreLogs(core).forward([], {"at": 0}, 6)
    assert [line.data for line in got.lines] == [b"%d\n" % each for each in range(6)]
    assert (got.begin, got.end, got.before) == ({"at": 0}, {"at": 6}, 0)
    assert [(each["cursor"], each["most"]) for each in core.asked] == [({"at": 0}, 6), ({"at": 4}, 2)]


async def test_the_tail_is_a_page_back_from_the_end():
    core = Core(slice_of(0, 4, more=False, start=True))
    got = await CoreLogs(core).tail(["web"], 10)
    assert (len(got.lines), got.start, got.more) == (4, True, False)
    assert core.asked == [{"op": "logs", "select": ["web"], "streams": ["out", "err"], "back": True, "n": 10}]


async def test_a_slice_of_a_search_is_one_question():
    core = Core({"places": [[None, "web:0", "out", 7]], "cursor": {"at": 1}, "more": True, "scanned": 5, "total": 9})
    got = await CoreLogs(core).find(["web"], "error", back=False)
    assert (got.places, got.cursor, got.more, got.scanned) == ([Place(0.0, "web:0", "out", 7)], {"at": 1}, True, 5)
    assert (core.asked[0]["op"], core.asked[0]["pattern"], core.asked[0]["back"]) == ("find", "error", False)


# Pieces ---------------------------------------------------------------------------------------------------------------


def line(key, offset, data, cont=0):
    return Line(1.0, key, "out", offset, data, cont=cont)


def test_a_piece_is_put_to_the_line_it_goes_on():
    held = [line("a", 0, b"name? "), line("b", 0, b"other\n")]
    assert extend(held, [line("a", 6, b"bob\n", 1), line("b", 6, b"more\n")]) == 0
    assert [each.data for each in held] == [b"name? bob\n", b"other\n", b"more\n"]


def test_a_piece_whose_line_is_not_held_stays_alone():
    held = [line("b", 0, b"other\n")]
    assert extend(held, [line("a", 6, b"bob\n", 1)]) == 1
    assert [each.data for each in held] == [b"other\n", b"bob\n"]


def test_pieces_of_a_giant_line_stay_pieces():
    held = [line("a", 0, b"x" * 8192)]
    assert extend(held, [line("a", 8192, b"x" * 8192, 1)]) == 1
    assert len(held) == 2


# Many files -----------------------------------------------------------------------------------------------------------


async def test_the_end_of_a_tail_is_that_of_the_slice_that_found_it():
    unknown = {"rest": {"kind": "end"}}
    nothing = slice_of(5, 5, more=True) | {"begin": unknown, "end": unknown}
    core = Core(nothing, slice_of(3, 5, more=True), slice_of(0, 3, more=False))
    got = await CoreLogs(core).tail([], 5)
    assert (len(got.lines), got.begin, got.end) == (5, {"at": 0}, {"at": 5})
    assert [each.get("cursor") for each in core.asked] == [None, unknown, {"at": 3}]


async def test_the_begin_of_a_page_around_a_place_is_that_of_the_slice_that_found_it():
    waited = {"waits": 1}
    core = Core(slice_of(5, 5, more=True) | {"begin": waited, "end": waited}, slice_of(5, 9, more=False))
    got = await CoreLogs(core).at_time([], 5.0, 9)
    assert (len(got.lines), got.begin, got.end) == (4, {"at": 5}, {"at": 9})
