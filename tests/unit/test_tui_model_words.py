"""How states, numbers and times are written, and that they fit."""

from __future__ import annotations

from datetime import UTC
from math import inf, isnan, nan
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from taskmaster_core import wire
from taskmaster_tui.model import fmt, plot, words
from taskmaster_tui.model.columns import sort_of
from taskmaster_tui.model.words import Look, look
from tests.fakecore import process

NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    ("state", "more", "expected"),
    [
        ("running", {}, Look("up", "running", "up")),
        ("running", {"ready": False}, Look("failed", "unhealthy", "failed")),
        ("starting", {}, Look("busy", "starting", "busy")),
        ("stopping", {}, Look("busy", "stopping", "busy")),
        ("pending", {}, Look("busy", "pending", "busy")),
        ("backoff", {"next_start_at": NOW + 2.2}, Look("failed", "backoff 3s", "failed")),
        ("backoff", {"next_start_at": NOW - 1}, Look("failed", "backoff 0s", "failed")),
        ("fatal", {"exit": {"code": 78}}, Look("failed", "exit 78", "failed")),
        ("fatal", {"exit": {"signal": "SIGKILL"}}, Look("failed", "SIGKILL", "failed")),
        ("fatal", {"exit": {"error": {"stage": "exec", "errno": "ENOENT", "message": "x"}}},
         Look("failed", "ENOENT", "failed")),
        ("fatal", {}, Look("failed", "fatal", "failed")),
        ("exited", {"exit": {"code": 0}}, Look("done", "done 0", "done")),
        ("exited", {"exit": {"code": 1}}, Look("failed", "exit 1", "failed")),
        ("exited", {"exit": {"code": 0}, "held": True}, Look("held", "done 0", "held")),
        ("stopped", {}, Look("off", "off", "off")),
        ("stopped", {"held": True}, Look("held", "off", "held")),
        ("hibernating", {}, Look("busy", "hibernatin", "busy")),
    ],
)  # fmt: skip
def test_each_state_has_glyph_word_and_role(state: str, more: dict[str, Any], expected: Look) -> None:
    assert look(msgspec.convert(process("web:0", state, **more), wire.ProcessView), NOW) == expected


def test_what_is_scheduled_says_when() -> None:
    seen = look(msgspec.convert(process("b:0", "exited", exit={"code": 0}, next_start_at=NOW), wire.ProcessView))
    assert seen.glyph == "due"
    assert seen.word == f"due {fmt.hour_minute(NOW)}"


def test_both_sets_have_the_same_glyphs_each_one_cell_wide() -> None:
    plain, nice = words.GLYPHS["ascii"], words.GLYPHS["unicode"]
    assert plain.keys() == nice.keys()
    assert all(cell_len(glyph) == 1 for glyph in nice.values())
    assert all(glyph.isascii() for glyph in plain.values())
    assert all(len(glyph) == 1 for name, glyph in plain.items() if name not in ("enter", "space"))


@pytest.mark.parametrize("name", ["unicode", "ascii"])
def test_no_two_states_share_a_glyph(name: str) -> None:
    states = [words.glyphs(name)[kind] for kind in (*words.KINDS, "due", "held")]
    assert len(set(states)) == len(states)


def test_failed_is_no_emoji() -> None:
    assert words.GLYPHS["unicode"]["failed"] == "\u2717"


def test_a_set_of_glyphs_that_does_not_exist_is_the_usual_one() -> None:
    assert words.glyphs("klingon") is words.GLYPHS["unicode"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (3.9, "3s"), (59, "59s"), (60, "1m00s"), (725, "12m05s"), (22320, "6h12m"), (187200, "2d04h"),
     (86400 * 99 + 86399, "99d23h"), (86400 * 400, "400d"), (-5, "0s"), (nan, fmt.DASH), (inf, fmt.DASH)],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert fmt.age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(41, "41s ago"), (720, "12m ago"), (3600 * 17, "17h ago"), (86400 * 3, "3d ago"), (86400 * 120, "17w ago"),
     (2**31, "68y ago"), (-1, "0s ago")],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    assert fmt.ago(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0.9 s"), (8, "8 s"), (9.96, "10 s"), (41.4, "41 s"), (60, "1 min"), (725, "12 min 5 s"),
     (7320, "2 h 2 min"), (187200, "2 d 4 h"), (nan, "?"), (-3, "0 s")],
)  # fmt: skip
def test_spans_in_sentences(seconds: float, text: str) -> None:
    assert fmt.span(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, fmt.DASH), (0, "0B"), (999, "999B"), (1000, "1K"), (22 << 20, "22M"), (310 << 20, "310M"),
     (1023 << 20, "1.0G"), (1288490188, "1.2G"), (20 << 30, "20G"), (1 << 50, "1.0P"), (nan, fmt.DASH)],
)  # fmt: skip
def test_sizes(number: float | None, text: str) -> None:
    assert fmt.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, fmt.DASH), (0, "0%"), (9.4, "9%"), (212, "212%"), (12_345, "12k%"), (-1, "0%")]
)
def test_percents(number: float | None, text: str) -> None:
    assert fmt.percent(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (12_345, "12k"), (450_000, ".4M"), (10**6, "1M"), (2**31, "2G")],
)
def test_short_counts(number: int, text: str) -> None:
    assert fmt.short(number) == text


def test_times_of_day() -> None:
    assert fmt.clock(NOW, UTC) == "16:00:00"
    assert fmt.stamp(NOW, UTC) == "2025-11-24 16:00:00"
    assert fmt.when(NOW, NOW + 60, UTC) == "16:00:00"
    assert fmt.when(NOW, NOW + 86400, UTC) == "2025-11-24 16:00:00"
    assert fmt.lately(NOW, NOW + 60, UTC) == "16:00:00"
    assert fmt.lately(NOW, NOW + 86400, UTC) == "11-24 16:00"
    assert fmt.clock(nan) == "--:--:--"
    assert fmt.clock(1e20) == "--:--:--"


def test_plurals_and_cuts() -> None:
    assert fmt.plural(1, "process", "processes") == "1 process"
    assert fmt.plural(1204, "line") == "1,204 lines"
    assert fmt.cut("abcdef", 4) == "abc…"
    assert fmt.cut("abcd", 4) == "abcd"
    assert fmt.cut("abcd", 0) == ""


# K05: counters that ran for years


@given(st.floats(min_value=-1e12, max_value=1e18) | st.integers(-(2**70), 2**70))
def test_K05_every_number_keeps_its_width(number: float) -> None:
    assert len(fmt.age(number)) <= 6
    assert len(fmt.ago(number)) <= 7
    assert len(fmt.size(number)) <= 4
    assert len(fmt.percent(number)) <= 4
    assert len(fmt.short(int(number))) <= 3
    assert len(words.countdown(number)) <= 3
    assert len(fmt.clock(number)) == 8


@pytest.mark.parametrize("seconds", [86400 * 49 + 62_231, 86400 * 50, 2**31, 2**32, 2**63])
def test_K05_times_beyond_49_days_are_told_right(seconds: int) -> None:
    days = min(seconds // 86400, 99_999)
    assert fmt.age(seconds).startswith(f"{days}d")


def test_K05_more_than_two_billion_are_counted_out() -> None:
    assert fmt.count(2**31) == "2,147,483,648"


# S13: names, reasons and tags that try something


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred\x1b[0m", "red"), ("\x1b]0;title\x07web", "web"), ("a\nb\tc", "a b c"),
     ("[bold]web[/bold]", "[bold]web[/bold]"),
     ("\x9b2Jx", "x"), ("\u202eevil", "evil"), ("ünï ✓ 漢字", "ünï ✓ 漢字"), ("[link=x]y[/]", "[link=x]y[/]")],
)  # fmt: skip
def test_S13_foreign_text_is_harmless_and_stays_text(text: str, shown: str) -> None:
    assert fmt.plain(text) == shown


@given(st.text())
def test_S13_nothing_unprintable_is_left(text: str) -> None:
    shown = fmt.plain(text)
    assert not set(shown) & {chr(code) for code in (*range(32), *range(0x7F, 0xA0))}
    assert "\n" not in shown


# Plots


def test_sparks_fill_from_the_right_and_leave_gaps_empty() -> None:
    assert plot.spark([1, 2, 3, 4], 6, 4) == "  ▃▅▇█"
    assert plot.spark([nan, 0.0, nan], 3, 4) == " ▁ "
    assert plot.spark([], 3) == "   "
    assert plot.spark([0, 4], 2, ascii_only=True) == "_@"


@given(st.lists(st.floats(0, 1e9) | st.just(nan), max_size=200), st.integers(1, 40), st.integers(1, 6))
def test_plots_are_as_wide_as_asked(values: list[float], width: int, height: int) -> None:
    assert len(plot.spark(values, width)) == width
    for draw in (plot.braille, plot.bars):
        lines = draw(values, width, height)
        assert [len(line) for line in lines] == [width] * height


@pytest.mark.parametrize("values", [[5e-324], [inf], [1.0, inf], [-inf, 1.0], [0.0]])
def test_strange_numbers_are_drawn_somehow(values: list[float]) -> None:
    assert len(plot.spark(values, 3)) == 3
    assert len(plot.braille(values, 3, 2)) == len(plot.bars(values, 3, 2)) == 2


def test_a_line_is_drawn_without_holes() -> None:
    assert plot.braille([0, 7, 7, 0], 2, 2, 7) == ["⢸⢱", "⡸⢸"]


def test_ascii_charts_are_filled_from_below() -> None:
    assert plot.bars([0, 1, 2], 3, 3, 2) == ["  #", " ##", ".##"]


def test_the_mean_of_gaps_is_a_gap() -> None:
    assert plot.mean([1.0, nan, 3.0]) == 2.0
    assert isnan(plot.mean([nan]))
    assert isnan(plot.mean([]))


# Columns


def test_a_click_on_a_head_sorts_by_what_is_below_it() -> None:
    assert [sort_of(each) for each in ("spark", "mem", "pid")] == ["cpu", "mem", ""]
