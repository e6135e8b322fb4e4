"""Charts and the pulse grid, and the cells and columns that all painted widgets share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import nan, pi, sin
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events
from textual.geometry import Region

from taskmaster_tui.model import fmt
from taskmaster_tui.widgets.cells import cut, fit, fit_spans, flat, merged
from taskmaster_tui.widgets.plot import Chart, nice
from taskmaster_tui.widgets.pulse import CELL_HEIGHT, Pulse, PulseGrid
from taskmaster_tui.widgets.row_tree import Column
from taskmaster_tui.widgets.slots import lay_out
from tests.paint import frame, hosted, line, lines, segments

WAVE = [50 + 40 * sin(i * pi / 60) for i in range(600)]


# Cells ----------------------------------------------------------------------------------------------------------------


@given(st.text(), st.integers(0, 40), st.sampled_from(["left", "right", "center"]))
def test_any_text_fits_exactly(text, width, align):
    assert cell_len(fit(text, width, align)) == width


@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["", "up", "match"])), max_size=4), st.integers(0, 40))
def test_any_spans_fit_exactly_together_and_stay_so_when_merged(spans, width):
    fitted = fit_spans(spans, width)
    assert sum(cell_len(text) for text, _ in fitted) == width
    assert "".join(text for text, _ in merged(fitted)) == "".join(text for text, _ in fitted)


@given(st.text())
def test_S13_nothing_a_terminal_would_act_on_is_left(text):
    shown = flat(text)
    assert not any(char < " " or "\x7f" <= char <= "\x9f" or "\u202a" <= char <= "\u202e" for char in shown)


def test_a_wide_character_is_not_cut_in_half():
    assert cut("漢字漢字", 6) == "漢字 …"
    assert fit("漢字漢字", 7) == "漢字漢…"
    assert fit("漢字", 2) == " …"


def test_blanks_join_what_is_before_them_unless_that_has_a_ground():
    assert merged([("a", "up"), ("  ", ""), ("b", "up")]) == [("a  b", "up")]
    assert merged([("a", "match"), ("  b", "")]) == [("a", "match"), ("  b", "")]
    assert merged([("  a", "up")]) == [("  ", ""), ("a", "up")]


# Columns --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.builds(Column, st.just("x"), st.just("X"), st.integers(0, 12), st.just("left"), st.integers(0, 3)),
                max_size=6), st.integers(0, 80))  # fmt: skip
def test_columns_never_leave_the_width_nor_overlap(columns, width):
    x = 2
    for slot in lay_out(columns, width, 2):
        assert slot.x >= x
        assert slot.column.width > 0
        x = slot.x + slot.column.width + 1
    assert x - 1 <= max(width, 2)


def test_of_two_columns_as_dear_the_right_one_goes():
    columns = [Column("a", "A", 10, keep=1), Column("b", "B", 10, keep=1), Column("c", "C", 10)]
    assert [slot.column.id for slot in lay_out(columns, 25)] == ["a", "c"]


def test_columns_without_a_width_share_the_rest():
    slots = lay_out([Column("a", "A", 0), Column("b", "B", 5), Column("c", "C", 0)], 42)
    assert [(slot.x, slot.column.width) for slot in slots] == [(0, 17), (18, 5), (24, 18)]


# Chart ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "binary", "top"),
    [(38, False, 40), (89, False, 100), (0.3, False, 0.4), (212, False, 400), (100, False, 100),
     (300 * 2**20, True, 400 * 2**20), (1.2 * 2**30, True, 2 * 2**30), (1010 * 2**20, True, 2**30), (12, True, 20)],
)  # fmt: skip
def test_the_top_of_a_scale_is_a_round_number(value, binary, top):
    assert nice(value, binary=binary) == pytest.approx(top)


async def test_a_chart_says_what_is_now_least_and_most():
    async with hosted(chart := Chart("CPU", fmt.percent), size=(60, 12)) as pilot:
        chart.show([10.0, 90.0, 40.0])
        await frame(pilot)
        assert line(chart, 0).split() == ["CPU", "now", "40%", "min", "10%", "max", "90%"]


async def test_a_chart_has_both_axes():
    async with hosted(chart := Chart("Memory", fmt.size), size=(60, 12)) as pilot:
        chart.show([each * 2**20 for each in WAVE])
        await frame(pilot)
        shown = lines(chart)
        assert [text[:4].strip() for text in shown[1:9] if text[:4].strip()] == ["100M", "50M", "0B"]
        assert shown[9].split() == ["└", "10", "min", "ago", "5", "min", "ago", "now"]
        assert any("\u2800" < char <= "\u28ff" for char in "".join(shown))


async def test_a_chart_without_values_says_so():
    async with hosted(chart := Chart("CPU", fmt.percent), size=(60, 9)) as pilot:
        assert "no samples yet" in "".join(lines(chart))
        chart.show([nan] * 600)
        await frame(pilot)
        assert "no samples yet" in "".join(lines(chart))
        assert f"now {fmt.DASH}" in line(chart, 0)


async def test_noise_does_not_look_like_work():
    async with hosted(chart := Chart("CPU", fmt.percent), size=(60, 9)) as pilot:
        chart.show([0.1, 0.4, 0.2] * 200)
        await frame(pilot)
        assert line(chart, 1).startswith(" 10%")
        assert not any("\u2800" < char <= "\u28ff" for char in line(chart, 1))


async def test_the_same_values_are_not_painted_again(monkeypatch):
    painted: list[Any] = []
    async with hosted(chart := Chart("CPU", fmt.percent), size=(60, 9)) as pilot:
        chart.show([nan, *WAVE])
        await frame(pilot)
        monkeypatch.setattr(chart, "refresh", lambda *args, **options: painted.append(args))
        chart.show([nan, *WAVE])
        await frame(pilot)
        assert painted == []
        chart.show([*WAVE, 1.0])
        await frame(pilot)
        assert painted == [()]


@pytest.mark.parametrize("size", [(60, 3), (60, 2), (60, 1), (16, 8), (12, 3), (6, 6), (3, 3), (200, 50)])
async def test_a_chart_shrinks_without_leaving_its_place(size):
    async with hosted(chart := Chart("CPU, % of one core", fmt.percent), size=size) as pilot:
        chart.styles.height = "1fr"
        chart.show(WAVE)
        await frame(pilot)
        lines(chart)


async def test_a_chart_in_ascii_is_ascii():
    async with hosted(chart := Chart("CPU", fmt.percent), size=(60, 9), glyphs="ascii") as pilot:
        chart.show(WAVE)
        await frame(pilot)
        assert all(text.isascii() for text in lines(chart))


# Pulse ----------------------------------------------------------------------------------------------------------------


class Jobs:
    """A source of pulses that remembers what it was asked for."""

    def __init__(self, n: int) -> None:
        self.names = [f"job{i}" for i in range(n)]
        self.asked: list[str] = []
        self.load = 10.0

    def ids(self) -> Sequence[str]:
        return self.names

    def pulse(self, row_id: str) -> Pulse:
        self.asked.append(row_id)
        return Pulse([("● ", "up"), (row_id, "")], f"{self.load:.0f}% 310M", WAVE, 100.0)


async def test_charts_are_side_by_side_as_many_as_fit():
    async with hosted(grid := PulseGrid(Jobs(10)), size=(80, 12)) as pilot:
        assert line(grid, 0).split()[:3] == [">●", "job0", "10%"]
        assert [word for word in line(grid, 0).split() if word.startswith("job")] == ["job0", "job1"]
        await pilot.resize_terminal(120, 12)
        await pilot.pause()
        assert [word for word in line(grid, 0).split() if word.startswith("job")] == ["job0", "job1", "job2", "job3"]
        assert any("\u2800" < char <= "\u28ff" for char in line(grid, 1))
        assert line(grid, CELL_HEIGHT - 1).strip("█│ ") == ""


async def test_the_cursor_of_the_grid_goes_both_ways():
    async with hosted(grid := PulseGrid(Jobs(10)), size=(80, 12)) as pilot:
        grid.move(1)
        grid.move_lines(1)
        await pilot.pause()
        assert grid.cursor_id == "job3"
        assert [message.row_id for message in pilot.app.said(PulseGrid.Moved)] == ["job1", "job3"]
        reversed_ = [text for text, style, _ in segments(grid, CELL_HEIGHT) if style and style.reverse]
        assert len(reversed_) == 1
        assert reversed_[0].startswith(">● job3")
        grid.move_lines(10)
        assert grid.cursor_id == "job9"
        assert "job9" in "".join(lines(grid))


async def test_the_grid_keeps_its_cursor_when_the_shares_change():
    jobs = Jobs(30)
    async with hosted(grid := PulseGrid(jobs), size=(80, 12)):
        grid.move_to("job20")
        jobs.names.reverse()
        grid.rows_changed()
        assert grid.cursor_id == "job20"
        assert ">● job20" in "".join(lines(grid))


async def test_the_grid_asks_only_for_what_is_on_screen():
    jobs = Jobs(200)
    async with hosted(grid := PulseGrid(jobs), size=(80, 12)) as pilot:
        jobs.asked.clear()
        jobs.load = 20.0
        grid.dirty()
        await frame(pilot)
        assert jobs.asked == [f"job{i}" for i in range(6)]
        assert "20%" in line(grid, 10)


async def test_the_grid_paints_only_what_changed():
    jobs = Jobs(200)
    async with hosted(grid := PulseGrid(jobs), size=(80, 12)):
        lines(grid)
        assert grid.paint_rows(set(jobs.names)) == []
        jobs.load = 20.0
        assert grid.paint_rows({"job1"}) == [Region(40, 0, 38, CELL_HEIGHT - 1)]


async def test_the_grid_is_clicked_and_scrolled():
    async with hosted(grid := PulseGrid(Jobs(30), empty="no jobs"), size=(80, 12)) as pilot:
        await pilot.double_click(grid, offset=(45, 6))
        assert grid.cursor_id == "job3"
        assert [message.row_id for message in pilot.app.said(PulseGrid.Chosen)] == ["job3"]
        await pilot._post_mouse_events([events.MouseScrollDown], grid, offset=(5, 5))
        assert "job2" in line(grid, 0)
        await pilot.click(grid, offset=(79, 11))
        assert "job29" in "".join(lines(grid))


async def test_an_empty_grid_says_so():
    async with hosted(grid := PulseGrid(Jobs(0), empty="no jobs"), size=(80, 12)):
        assert "no jobs" in "".join(lines(grid))


@pytest.mark.parametrize("size", [(80, 3), (20, 12), (6, 6), (4, 1), (200, 50), (27, 5)])
async def test_the_grid_fits_any_size(size):
    async with hosted(grid := PulseGrid(Jobs(30)), size=size):
        lines(grid)
        grid.bottom()
        lines(grid)


async def test_S13_words_in_the_grid_are_inert():
    class Evil(Jobs):
        def pulse(self, row_id):
            return Pulse([("[@click=app.quit]x[/]\x1b[31m", "up")], "\x1b]0;x\x07\n9%", [1.0, nan])

    async with hosted(grid := PulseGrid(Evil(2)), size=(80, 12)):
        assert all(text.isprintable() for text in lines(grid))
        assert "[@click=app.quit]x[/]" in line(grid, 0)


async def test_two_hundred_jobs_paint_quickly():
    async with hosted(grid := PulseGrid(Jobs(200)), size=(200, 60)):
        took = []
        for _ in range(5):
            grid.forget()
            begin = time.thread_time()
            lines(grid)
            took.append(time.thread_time() - begin)
        assert min(took) < 0.04, took
