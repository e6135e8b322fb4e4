from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from taskmaster_core.alogs import Place
from taskmaster_core.errors import TimedOut
from taskmaster_tui.line_source import Row
from taskmaster_tui.log_buffer import LogBuffer
from taskmaster_tui.log_window import BYTES_MAX, LINES_MAX
from tests.tui.fake_logs import START, FakeLogs, line
from tests.tui.log_app import until


class Watched:
    """A buffer, and somebody who follows it or not."""

    def __init__(self, logs: FakeLogs) -> None:
        self.logs = logs
        self.following = True
        self.told = 0
        self.buffer = LogBuffer(lambda: self.logs, self._tell, lambda: self.following)

    def _tell(self) -> None:
        self.told += 1

    async def show(self, marks: list[Row] | None = None) -> LogBuffer:
        self.buffer.show(["web"], marks=marks or [])
        await until(lambda: self.buffer.loaded)
        return self.buffer

    async def see(self, begin: int, end: int) -> None:
        """Look at rows until they are there."""
        def there() -> bool:
            self.buffer.want(begin, end)
            return (self.buffer.first <= begin or self.buffer.window.at_start) and (
                self.buffer.end >= end or not self.buffer.more
            )

        await until(there)


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched(FakeLogs(count=1_000))
    yield made
    made.buffer.close()


def texts(buffer: LogBuffer) -> list[str]:
    return [buffer.line(number).data.decode().rstrip("\n") for number in range(buffer.first, buffer.end)]


def mark(at: float, text: str = "exited 1") -> Row:
    return Row(text.encode(), START + at, "web:0", kind="mark")


async def test_it_begins_at_the_end(watched: Watched):
    buffer = await watched.show()
    assert texts(buffer)[-1] == "line 999 of the log"
    assert buffer.window.at_end
    assert not buffer.more


async def test_scrolling_back_loads_pages_until_the_begin_and_no_line_is_missing(watched: Watched):
    buffer = await watched.show()
    while not buffer.window.at_start:
        await watched.see(buffer.first - 100, buffer.first + 20)
    assert texts(buffer) == [f"line {i} of the log" for i in range(1_000)]


async def test_lines_keep_their_numbers_when_older_ones_are_loaded(watched: Watched):
    buffer = await watched.show()
    number = buffer.end - 5
    before = buffer.line(number)
    await watched.see(buffer.first - 100, buffer.end)
    assert buffer.line(number) is before


async def test_new_lines_are_fetched_when_told(watched: Watched):
    buffer = await watched.show()
    watched.logs.add(line(1_000, b"new"))
    buffer.poke()
    await until(lambda: texts(buffer)[-1] == "new")
    assert buffer.arrived == 1


async def test_being_told_often_fetches_at_most_fifteen_times_a_second(watched: Watched):
    buffer = await watched.show()
    before, end = buffer.fetches, time.monotonic() + 0.5
    number = 1_000
    while time.monotonic() < end:
        watched.logs.add(line(number, b"new"))
        number += 1
        buffer.poke()
        await asyncio.sleep(0.002)
    assert buffer.fetches - before <= 15 * 0.5 + 2
    await until(lambda: buffer.line(buffer.end - 1).offset == (number - 1) * 20)


async def test_a_flood_is_followed_by_its_tail_not_line_by_line(watched: Watched):
    buffer = await watched.show()
    number = 1_000
    for _ in range(20):
        watched.logs.add(*(line(number + i, b"x") for i in range(700)))
        number += 700
        buffer.poke()
        await asyncio.sleep(0.02)
    await until(lambda: buffer.line(buffer.end - 1).offset == (number - 1) * 20)
    assert buffer.end - buffer.first < 2_000
    first = buffer.line(buffer.first).offset // 20
    await watched.see(buffer.first - 50, buffer.end)  # what was skipped is there for whoever scrolls back
    offsets = [buffer.line(i).offset // 20 for i in range(buffer.first, buffer.end)]
    assert offsets == list(range(offsets[0], number))
    assert offsets[0] < first


async def test_while_paused_new_lines_are_counted_and_the_view_stays(watched: Watched):
    buffer = await watched.show()
    buffer.want(buffer.end - 50, buffer.end)
    watched.following = False
    number, row = buffer.end - 20, buffer.line(buffer.end - 20)
    watched.logs.add(*(line(1_000 + i, b"new") for i in range(250)))
    buffer.poke()
    await until(lambda: buffer.arrived == 250)
    assert buffer.line(number) == row


async def test_while_paused_a_flood_does_not_fill_memory(watched: Watched):
    buffer = await watched.show()
    buffer.want(buffer.end - 50, buffer.end)
    watched.following = False
    buffer.window.extend(watched.logs._page("", 1_000, 1_000, ("out",), more=False))
    watched.logs.count_made = 200_000
    for _ in range(3):
        buffer.poke()
        await asyncio.sleep(0.3)
    assert buffer.more
    assert buffer.end - buffer.first <= LINES_MAX


async def test_a_million_lines_cost_a_few_megabytes():
    watched = Watched(FakeLogs(count=1_000_000))
    tracemalloc.start()
    buffer = await watched.show()
    watched.following = False
    for _ in range(60):
        await watched.see(buffer.first - 600, buffer.first)
    for _ in range(20):
        await watched.see(buffer.end, buffer.end + 600)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    buffer.close()
    assert buffer.end - buffer.first <= LINES_MAX + 1_000
    assert buffer.window.bytes <= BYTES_MAX
    assert size < 8 * 1024 * 1024


async def test_far_end_that_was_dropped_is_loaded_again(watched: Watched):
    watched.logs.count_made = 30_000
    buffer = await watched.show()
    watched.following = False
    for _ in range(60):
        await watched.see(buffer.first - 600, buffer.first)
    assert not buffer.window.at_end
    while buffer.more:
        await watched.see(buffer.end, buffer.end + 600)
    offsets = [buffer.line(i).offset // 20 for i in range(buffer.first, buffer.end)]
    assert offsets == list(range(offsets[0], 30_000))


async def test_a_place_far_away_is_found_with_what_is_around_it(watched: Watched):
    watched.logs.count_made = 100_000
    buffer = await watched.show()
    watched.following = False
    number = await buffer.locate(Place(START + 500, "web:0", "out", 5_000 * 20))
    assert number is not None
    assert buffer.line(number).data == b"line 5000 of the log\n"
    assert buffer.line(number - 100).data == b"line 4900 of the log\n"
    assert buffer.more


async def test_a_time_is_found(watched: Watched):
    buffer = await watched.show()
    number = await buffer.locate_time(START + 12.35)
    assert number is not None
    assert buffer.line(number).data == b"line 124 of the log\n"


async def test_a_share_of_the_scroll_bar_is_found_by_time(watched: Watched):
    watched.logs.count_made = 5_000
    buffer = await watched.show()
    watched.following = False
    number = await buffer.locate_share(0.5)
    assert number is not None
    assert abs(buffer.line(number).offset // 20 - 2_500) < 100


async def test_position_goes_from_nought_to_one_by_bytes(watched: Watched):
    buffer = await watched.show()
    begin, length = buffer.position(buffer.end - 100, buffer.end)
    assert begin == pytest.approx(0.9)
    assert begin + length == pytest.approx(1.0)
    await watched.see(buffer.first - 2_000, buffer.end)
    assert buffer.position(buffer.first, buffer.first + 10)[0] == 0.0


# Remarks


async def test_remarks_stand_between_the_lines_of_their_time(watched: Watched):
    buffer = await watched.show([mark(99.85), mark(50.05)])
    found = texts(buffer)
    assert found[-2:] == ["exited 1", "line 999 of the log"]
    await watched.see(buffer.first - 600, buffer.end)
    found = texts(buffer)
    assert found[found.index("exited 1") - 1] == "line 500 of the log"
    assert found.count("exited 1") == 2


async def test_a_remark_after_the_last_line_comes_when_it_happens(watched: Watched):
    buffer = await watched.show()
    buffer.add_marks([mark(500)])
    await until(lambda: texts(buffer)[-1] == "exited 1")
    watched.logs.add(line(5_001, b"after"))
    buffer.poke()
    await until(lambda: texts(buffer)[-2:] == ["exited 1", "after"])


async def test_a_late_remark_goes_between_lines_that_are_there(watched: Watched):
    buffer = await watched.show()
    revision = buffer.revision
    buffer.add_marks([mark(99.55)])
    assert watched.buffer.revision != revision
    found = texts(buffer)
    assert found[found.index("exited 1") - 1] == "line 995 of the log"


async def test_remarks_are_neither_lost_nor_doubled_by_dropping_and_loading(watched: Watched):
    watched.logs.count_made = 30_000
    buffer = await watched.show([mark(2_900.05), mark(1_500.05)])
    watched.following = False
    for _ in range(60):
        await watched.see(buffer.first - 600, buffer.first)
    for _ in range(60):
        await watched.see(buffer.end, buffer.end + 600)
    found = texts(buffer)
    assert found.count("exited 1") == 1
    assert found[found.index("exited 1") - 1] == "line 29000 of the log"


async def test_what_is_told_twice_is_shown_once(watched: Watched):
    buffer = await watched.show([mark(99.55)])
    buffer.add_marks([mark(99.55), mark(99.55, "started")])
    assert texts(buffer).count("exited 1") == 1
    assert texts(buffer).count("started") == 1


async def test_of_what_is_told_twice_the_longer_words_stay(watched: Watched):
    buffer = await watched.show([mark(99.55, "exited 1"), mark(99.65, "stopped after 3 s")])
    buffer.add_marks([mark(99.55, "exited 1 after 3 s"), mark(99.65, "stopped")])
    found = [text for text in texts(buffer) if not text.startswith("line")]
    assert found == ["exited 1 after 3 s", "stopped after 3 s"]


async def test_a_gap_in_the_output_is_a_remark(watched: Watched):
    watched.logs.add(line(1_000, b"", note="3,112 lines dropped by rotation"))
    buffer = await watched.show()
    row = buffer.line(buffer.end - 1)
    assert (row.kind, row.data) == ("gap", b"3,112 lines dropped by rotation")


# Unfinished lines, trouble


async def test_the_rest_of_a_prompt_is_put_to_it(watched: Watched):
    watched.logs.add(line(1_000, b"")._replace(data=b"Name: "))
    buffer = await watched.show()
    watched.logs.add(line(1_001, b"Joe\n")._replace(offset=1_000 * 20 + 6, cont=1))
    buffer.poke()
    await until(lambda: texts(buffer)[-1] == "Name: Joe")


async def test_the_rest_of_a_prompt_is_put_to_it_though_others_wrote_in_between(watched: Watched):
    prompt = line(1_000, b"Name: ")._replace(data=b"Name: ")
    watched.logs.add(prompt)
    buffer = await watched.show()
    rest = line(1_001, b"Joe")._replace(offset=prompt.offset + 6, cont=1, data=b"J")
    watched.logs.add(line(1_001, b"other", key="web:1"), rest, rest._replace(offset=prompt.offset + 7, data=b"o\n"))
    buffer.poke()
    await until(lambda: texts(buffer)[-2:] == ["Name: Jo", "other"])


async def test_a_core_that_does_not_answer_is_told_and_asked_again_later(watched: Watched):
    watched.logs.error = TimedOut("the core did not answer in 5 s")
    watched.buffer.show(["web"])
    await until(lambda: watched.buffer.trouble)
    assert "did not answer" in watched.buffer.trouble
    assert not watched.buffer.loaded
    asked = len(watched.logs.asked)
    for _ in range(50):
        watched.buffer.want(-100, 0)
    await asyncio.sleep(0.05)
    assert len(watched.logs.asked) == asked
    watched.logs.error = None
    watched.buffer._blocked_until = 0
    watched.buffer.want(-100, 0)
    await until(lambda: watched.buffer.loaded)
    assert not watched.buffer.trouble


async def test_failing_to_scroll_back_does_not_ask_in_a_loop(watched: Watched):
    buffer = await watched.show()
    watched.logs.error = TimedOut("no answer")
    buffer.want(buffer.first - 100, buffer.end)
    await until(lambda: buffer.trouble)
    asked = len(watched.logs.asked)
    for _ in range(50):
        buffer.want(buffer.first - 100, buffer.end)
        await asyncio.sleep(0)
    assert len(watched.logs.asked) == asked


# Only what matches


async def test_only_matching_lines_are_paged_however_short_the_pages(watched: Watched):
    watched.logs = FakeLogs(count=3_000).matching(r"line \d*77 of")
    buffer = await watched.show()
    watched.following = False
    while not buffer.window.at_start:
        await watched.see(buffer.first - 300, buffer.end)
    assert texts(buffer) == [f"line {i} of the log" for i in range(77, 3_000, 100)]
