"""Scroll through the output of a real core: back, forward, around, searches, and the files when it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from taskmaster_core.aclient import AsyncClient
from taskmaster_core.alogs import CoreLogs, Line, Lines
from taskmaster_core.filelogs import FileLogs
from tests.harness import Daemon
from tests.integration.shared import cmd, job, running, words

T = TypeVar("T")

COUNT = 20_000
JOBS = [
    job("counts", cmd("counter.py", COUNT, 50), log="{maxsize = 50_000, keep = 100}", restart='"never"'),
    job("shared", words("sh", "-c", "for i in 1 2 3; do echo {index} $i; done"), numprocess="3", stdout='"all.txt"'),
    job("asks", words("sh", "-c", "printf 'name? '; exec sleep 1000")),
]  # fmt: skip


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    with running("\n".join(JOBS)) as started:
        for name in ("counts", "shared"):
            started.request("wait", name, timeout=30, **{"for": "exited"})
        yield started


def ask(it: Daemon, question: Callable[[CoreLogs], Awaitable[T]]) -> T:
    """Return the answer of a core that is read page by page."""

    async def asked() -> T:
        async with AsyncClient(at=it.places.commands) as client, asyncio.timeout(60):
            return await question(CoreLogs(client))

    return asyncio.run(asked())


async def all_back(logs: CoreLogs | FileLogs, select: list[str], size: int) -> list[Line]:
    got = await logs.tail(select, size)
    pages = [got.lines]
    while got.more:
        got = await logs.back(select, got.begin, size)
        pages.append(got.lines)
    return [line for page in reversed(pages) for line in page]


def numbers(lines: list[Line]) -> list[int]:
    return [int(line.data) for line in lines]


def files_of(it: Daemon) -> FileLogs:
    shown = it.request("show")["jobs"]
    return FileLogs({key: streams for each in shown for key, streams in each["files"].items()})


def test_G20_back_through_all_rotated_parts_gives_every_line_once(it: Daemon) -> None:
    assert numbers(ask(it, lambda logs: all_back(logs, ["counts"], 777))) == list(range(COUNT))


def test_forward_goes_on_from_a_page_back(it: Daemon) -> None:
    async def there_and_forth(logs: CoreLogs) -> tuple[Lines, Lines]:
        tail = await logs.tail(["counts"], 1000)
        older = await logs.back(["counts"], tail.begin, 500)
        return older, await logs.forward(["counts"], older.begin, 1500)

    older, rest = ask(it, there_and_forth)
    assert numbers(older.lines) == list(range(COUNT - 1500, COUNT - 1000))
    assert numbers(rest.lines) == list(range(COUNT - 1500, COUNT))
    assert (older.before, older.total) == ((COUNT - 1500) * 10, COUNT * 10)


def test_a_place_that_was_found_is_where_around_begins(it: Daemon) -> None:
    async def look(logs: CoreLogs) -> tuple[int, Lines]:
        found = await logs.find(["counts"], "0007777\n".strip())
        return len(found.places), await logs.around(["counts"], found.places[0], 3)

    assert ask(it, look)[0] == 1
    assert numbers(ask(it, look)[1].lines) == [7777, 7778, 7779]


def test_all_places_are_found_in_slices_and_lines_are_counted(it: Daemon) -> None:
    async def look(logs: CoreLogs) -> tuple[int, int]:
        found = await logs.find(["counts"], r"0$")
        places = len(found.places)
        while found.more:
            found = await logs.find(["counts"], r"0$", cursor=found.cursor)
            places += len(found.places)
        counted = await logs.count(["counts"])
        while counted.more:
            counted = await logs.count(["counts"], counted.cursor)
        return places, counted.lines

    assert ask(it, look) == (COUNT // 10, COUNT)


def test_of_a_shared_file_only_the_selected_processes_are_shown(it: Daemon) -> None:
    lines = ask(it, lambda logs: logs.tail(["shared:1"], 10)).lines
    assert [(line.key, line.data) for line in lines] == [("shared:1", b"1 %d\n" % each) for each in (1, 2, 3)]


def test_a_prompt_without_newline_is_seen_within_a_second(it: Daemon) -> None:
    async def follow(logs: CoreLogs) -> float:
        end = (await logs.tail(["asks"], 0)).end
        it.request("restart", "asks", timeout=15)
        while True:
            got = await logs.forward(["asks"], end, 10)
            if got.lines:
                assert got.lines[-1].data == b"name? "
                return time.time() - got.lines[-1].at
            end = got.end
            await asyncio.sleep(0.05)

    assert ask(it, follow) < 1.0


def test_without_the_core_the_files_give_the_same_pages(it: Daemon) -> None:
    logs = files_of(it)
    assert numbers(asyncio.run(all_back(logs, ["counts"], 900))) == list(range(COUNT))
    shared = asyncio.run(logs.tail(["shared:2"], 10)).lines
    assert [line.data for line in shared] == [b"2 1\n", b"2 2\n", b"2 3\n"]
