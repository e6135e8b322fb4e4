"""The log buffer and view over a real core: rotation under the reader, files that go away, search, keep only."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from taskmaster_core.aclient import AsyncClient
from taskmaster_core.alogs import CoreLogs
from taskmaster_tui.log_buffer import LogBuffer
from taskmaster_tui.widgets.log_view import LogView
from tests.harness import Daemon
from tests.integration.shared import cmd, job, running, words
from tests.tui.log_app import One, shown, until

COUNT = 9_000
SMALL = "{maxsize = 20_000, keep = 100}"
JOBS = [
    job("turns", cmd("counter.py", COUNT, 20, 0.004), log=SMALL, restart='"never"', autostart="false"),
    job("cut", cmd("counter.py", 10**8, 1, 0.01)),
    job("gone", cmd("counter.py", 10**8, 1, 0.01)),
    job("long", words("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exec sleep 1000")),
    job("many", cmd("counter.py", 200_000, 1000), restart='"never"'),
]


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with running("\n".join(JOBS)) as made:
        made.request("wait", "many", timeout=30, **{"for": "exited"})
        yield made


@contextlib.asynccontextmanager
async def reading(daemon: Daemon) -> AsyncIterator[CoreLogs]:
    async with AsyncClient(at=daemon.places.commands) as client:
        yield CoreLogs(client)


@contextlib.asynccontextmanager
async def poked(poke: Callable[[], object]) -> AsyncIterator[None]:
    """Tell of new output again and again, as the core's topic does."""

    async def again() -> None:
        while True:
            poke()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()


def numbers(buffer: LogBuffer) -> list[int]:
    rows = [buffer.line(number) for number in range(buffer.first, buffer.end)]
    return [int(row.data) for row in rows if row.kind == "line" and row.data.endswith(b"\n")]


async def see(buffer: LogBuffer, begin: int, end: int) -> None:
    """Look at rows until they are in memory, or there are none."""

    def there() -> bool:
        buffer.want(begin, end)
        return (buffer.first <= begin or buffer.window.at_start) and (buffer.end >= end or not buffer.more)

    await until(there, 20)


async def test_G20_scrolling_while_the_log_is_rotated_shows_every_line_once(daemon: Daemon) -> None:
    async with reading(daemon) as logs:
        following = True
        buffer = LogBuffer(lambda: logs, lambda: None, lambda: following)
        await asyncio.to_thread(daemon.request, "start", "turns")
        buffer.show(["turns"])
        async with poked(buffer.poke):
            await until(lambda: buffer.end > buffer.first and numbers(buffer)[-1] > COUNT // 2, 20)
            following = False
            while not buffer.window.at_start:
                await see(buffer, buffer.first - 500, buffer.first + 50)
            while numbers(buffer)[-1] < COUNT - 1:
                await see(buffer, buffer.end - 50, buffer.end + 500)
                await asyncio.sleep(0.01)
        buffer.close()
        assert numbers(buffer) == list(range(COUNT))


@pytest.mark.parametrize(("key", "spoil"), [("cut:0", lambda path: os.truncate(path, 0)), ("gone:0", os.unlink)])
async def test_G21_following_goes_on_when_the_file_is_cut_or_deleted(
    daemon: Daemon, key: str, spoil: Callable[[str], None]
) -> None:
    async with reading(daemon) as logs:
        view = LogView(lambda: logs)
        async with One(view).run_test(size=(80, 20)):
            view.show([key])
            async with poked(lambda: view.grew({key})):
                await until(lambda: len(numbers(view.buffer)) > 20, 20)
                files = (await asyncio.to_thread(daemon.request, "show", key))["jobs"][0]["files"][key]
                before = numbers(view.buffer)[-1]
                spoil(files["out"]["path"])
                await until(lambda: numbers(view.buffer)[-1] > before + 100, 20)
            seen = numbers(view.buffer)
            assert seen == sorted(set(seen))
            kinds = {view.buffer.line(number).kind for number in range(view.buffer.first, view.buffer.end)}
            assert "gap" in kinds, "a line says that something was cut off"


async def test_G09_endless_line_of_a_real_job_is_cut_in_pieces_with_marks(daemon: Daemon) -> None:
    async with reading(daemon) as logs:
        view = LogView(lambda: logs)
        async with One(view).run_test(size=(80, 12)):
            view.show(["long"])
            await until(lambda: view.buffer.loaded and shown(view.pager) and "…" in shown(view.pager)[0], 20)
            assert all(len(view.buffer.line(n).data) <= 16 * 1024 for n in range(view.buffer.first, view.buffer.end))


async def test_a_search_in_the_core_goes_from_hit_to_hit(daemon: Daemon) -> None:
    async with reading(daemon) as logs:
        view = LogView(lambda: logs)
        async with One(view).run_test(size=(80, 12)):
            view.show(["many"])
            await until(lambda: view.buffer.loaded and shown(view.pager), 20)
            view.search("77777$")
            await until(lambda: "match 2 of 2 " in view.found_words(), 20)
            await until(lambda: (row := view.row_here()) is not None and row.data == b"000177777\n", 20)
            view.previous_hit()
            await until(lambda: (row := view.row_here()) is not None and row.data == b"000077777\n", 20)
            await until(lambda: any("000077776" in line for line in shown(view.pager)), 20)


async def test_only_matches_of_a_long_log_are_shown_and_enter_goes_to_the_place(daemon: Daemon) -> None:
    async with reading(daemon) as logs:
        view = LogView(lambda: logs)
        async with One(view).run_test(size=(80, 12)):
            view.show(["many"])
            await until(lambda: view.buffer.loaded and shown(view.pager), 20)
            view.keep_only("5555$")
            await until(lambda: numbers(view.buffer) == list(range(5_555, 200_000, 10_000)), 20)
            view.pager.cursor = view.buffer.first + 3
            view.choose()
            await until(lambda: any("000035554" in line for line in shown(view.pager)), 20)
            await until(lambda: any("000035556" in line for line in shown(view.pager)), 20)


async def test_the_oldest_line_and_back_to_the_newest(daemon: Daemon) -> None:
    async with reading(daemon) as logs:
        view = LogView(lambda: logs)
        async with One(view).run_test(size=(80, 12)):
            view.show(["many"])
            await until(lambda: any("000199999" in line for line in shown(view.pager)), 20)
            view.goto_start()
            await until(lambda: shown(view.pager)[:1] and "000000000" in shown(view.pager)[0], 20)
            await until(lambda: view.buffer.position(*view.pager.on_screen)[0] == 0.0)
            view.goto_end()
            await until(lambda: any("000199999" in line for line in shown(view.pager)), 20)
            assert view.following
