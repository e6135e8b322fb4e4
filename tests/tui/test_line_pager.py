from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events
from textual.geometry import Region

from taskmaster_tui.line_source import Fixed, Row
from taskmaster_tui.widgets import sgr
from taskmaster_tui.widgets.line_pager import LinePager
from taskmaster_tui.widgets.line_paint import Look, Painter
from taskmaster_tui.widgets.viewport import Spot, Viewport
from tests.tui.log_app import One, shown


def rows(count: int) -> list[Row]:
    return [Row(f"line {i}".encode(), 1000.0 + i, "web:0", "out", i * 10) for i in range(count)]


def painted(data: bytes, width: int = 40, x: int = 0) -> str:
    """Return one line as it is painted without a time."""
    painter = Painter()
    painter.set_look(Look(width=width, x=x, time="off"))
    return painter.strip(0, Row(data, stream="out"), 0, before=None, now=0.0).text


def runs(data: bytes, cells: int = 200) -> list[tuple[str, str]]:
    return [(text, str(style)) for text, style in sgr.parse(data, cells).runs]


# Colours


def test_colours_of_all_three_kinds_and_attributes_become_styles():
    line = b"\x1b[31;1mred\x1b[0m plain\x1b[38;5;208mx\x1b[48;2;1;2;3my\x1b[49;39mz"
    assert runs(line) == [
        ("red", "bold color(1)"), (" plain", "none"), ("x", "color(208)"), ("y", "color(208) on #010203"),
        ("z", "none"),
    ]  # fmt: skip


def test_colons_between_parameters_are_read_too():
    assert runs(b"\x1b[38:2::9:8:7ma\x1b[0;38:5:12mb\x1b[4:3mc\x1b[4:0md") == [
        ("a", "#090807"), ("b", "color(12)"), ("c", "underline color(12)"), ("d", "color(12)"),
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["38", "38;5", "38;2;1", "38;9;1", "48:2:1", "999999999999", ";;;", "5;6;8"])
def test_a_colour_that_is_none_paints_text_all_the_same(code: str):
    assert "".join(text for text, _ in runs(f"\x1b[{code}mtext".encode())) == "text"


def test_hidden_text_is_shown():
    assert runs(b"\x1b[8msecret") == [("secret", "none")]


def test_only_what_can_be_seen_is_parsed():
    parsed = sgr.parse(b"x" * 15_000, 100)
    assert parsed.more
    assert parsed.width <= 102


# Cells


def test_wide_characters_are_never_cut_in_half():
    assert painted("日本語日本語".encode(), width=7) == "1 日本…"
    assert painted("日本語".encode(), width=6, x=1) == "1  本…"


def test_wrapped_wide_characters_go_to_the_next_row_whole():
    painter = Painter()
    painter.set_look(Look(width=7, time="off", wrap=True))
    row = Row("日本語ab".encode())
    assert [painter.strip(0, row, part, before=None, now=0.0).text for part in range(2)] == ["  日本 ", "  語ab "]


def test_tabs_go_to_the_next_eighth_column():
    assert painted(b"a\tb\tc") == "1 a       b       c".ljust(40)
    assert sgr.plain(b"\x1b[31ma\x1b[0m\tb") == "a       b"


@given(st.text(max_size=200), st.integers(1, 40), st.integers(0, 50), st.booleans())
def test_whatever_a_line_holds_a_strip_is_as_wide_as_the_screen(text: str, width: int, x: int, wrap: bool):
    painter = Painter()
    painter.set_look(Look(width=width, x=0 if wrap else x, time="off", wrap=wrap))
    row = Row(text.encode("utf-8", "surrogatepass"), stream="err")
    for part in range(painter.rows_of(0, row)):
        strip = painter.strip(0, row, part, before=None, now=0.0)
        assert sum(sgr.cells_of(segment.text) for segment in strip) == strip.cell_length == width


@given(st.binary(max_size=300))
def test_whatever_bytes_a_line_holds_no_control_character_comes_through(data: bytes):
    text = "".join(part for part, _ in sgr.parse(data, 1000).runs) + sgr.plain(data)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@given(st.text(alphabet="ab\t日\u0301 ", max_size=60), st.integers(1, 9))
def test_wrapping_loses_nothing(text: str, width: int):
    parsed = sgr.parse(text.encode(), 1000).runs
    rows_of = sgr.fold(parsed, width)
    assert "".join(part for row in rows_of for part, _ in row) == "".join(part for part, _ in parsed)


# Faults


def test_G09_endless_line_is_cut_with_a_mark_and_a_size():
    assert painted(b"x" * 1_000_000, width=30).endswith("… +1.0 MB")
    assert painted(b"x" * 100, width=30).endswith("xx…")


def test_G09_piece_of_an_endless_line_says_that_it_goes_on():
    painter = Painter()
    painter.set_look(Look(width=30, time="off"))
    assert painter.strip(0, Row(b"x" * 10, more=-1), 0, before=None, now=0.0).text.rstrip().endswith("…")


def test_G09_endless_line_that_is_wrapped_takes_few_rows():
    painter = Painter()
    painter.set_look(Look(width=82, time="off", wrap=True))
    row = Row(b"x" * 1_000_000)
    count = painter.rows_of(0, row)
    assert count < 60
    assert "… +996 kB" in painter.strip(0, row, count - 1, before=None, now=0.0).text


def test_G10_binary_invalid_UTF8_NUL_and_progress_bars_are_readable():
    assert painted(b"a\x00b\xff\xfec\x7f\n") == "1 ab\ufffd\ufffdc".ljust(40)
    assert painted(b" 10 %\r 50 %\r100 %\r\n") == "1 100 %".ljust(40)
    assert painted("žluť".encode()[:-1] + b"\n") == "1 žlu\ufffd".ljust(40)


HOSTILE = [
    b"\x1b]52;c;aGFjaw==\x07copied", b"\x1b]0;title\x1b\\titled", b"\x1bP$qm\x1b\\asked", b"\x1b[?1049hother screen",
    b"\x9b31mc1", "\x9b2Jc1 as text".encode(), b"\x1b[6nreport", b"\x1b]8;;http://evil\x07link\x1b]8;;\x07",
    b"[@click=app.quit]press me[/]", b"[bold red]markup[/]", b"\x1b_Gf=100;AAAA\x1b\\picture", b"\x1bcreset",
    "\u202egnp.exe".encode(), b"\x1b[31", b"\x1b]52;c;never ends",
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE)
async def test_G11_escapes_and_markup_are_inert_in_strips_and_on_the_screen(data: bytes):
    pager = LinePager(Fixed([Row(data, 1.0, "\x1b]0;x\x07[@click=app.quit]:0", "out", 0)]), labels=True)
    app = One(pager)
    async with app.run_test(size=(80, 5)) as pilot:
        await pilot.pause()
        strips = pager.render_lines(Region(0, 0, 80, 5))
        for strip in strips:
            assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", strip.text)
            styles = [segment.style for segment in strip if segment.style]
            assert not any("@click" in style.meta or style.link for style in styles)
        svg = app.export_screenshot()
        assert "\x1b" not in svg
        assert "\x9b" not in svg
        await pilot.click(LinePager, offset=(50, 0))
        assert app.is_running
        assert app._exit is False


def test_G11_markup_is_shown_as_it_was_written():
    assert painted(b"[@click=app.quit]press[/]") == "1 [@click=app.quit]press[/]".ljust(40)


# Where the screen stands


def test_following_shows_the_last_lines():
    view = Viewport()
    view.height = 3
    assert view.layout(Fixed(rows(10)), lambda _: 1) == [Spot(7), Spot(8), Spot(9)]


def test_a_short_text_begins_at_the_top():
    view = Viewport()
    view.height = 3
    assert view.layout(Fixed(rows(2)), lambda _: 1) == [Spot(0), Spot(1)]


def test_following_wrapped_lines_shows_the_last_row_at_the_bottom():
    view = Viewport()
    view.height = 3
    assert view.layout(Fixed(rows(3)), lambda line: 2) == [Spot(1, 1), Spot(2, 0), Spot(2, 1)]


@given(
    st.integers(1, 8), st.lists(st.integers(-12, 12), max_size=20), st.lists(st.integers(1, 5), min_size=1, max_size=9)
)
def test_scrolling_never_leaves_the_text_nor_a_gap(height: int, deltas: list[int], heights: list[int]):
    view, source = Viewport(), Fixed(rows(len(heights)))
    view.height = height
    all_spots = [Spot(line, row) for line, count in enumerate(heights) for row in range(count)]
    for delta in deltas:
        before = view.layout(source, heights.__getitem__)
        view.scroll(delta, source, heights.__getitem__)
        spots = view.layout(source, heights.__getitem__)
        at = all_spots.index(spots[0])
        assert spots == all_spots[at : at + height]
        assert len(spots) == min(height, len(all_spots))
        if spots != before:
            assert (spots > before) == (delta > 0)


async def test_scrolling_up_pauses_and_down_past_the_end_follows():
    pager = LinePager(Fixed(rows(100)))
    async with One(pager).run_test(size=(40, 10)):
        pager.scroll_rows(-3)
        assert not pager.following
        assert shown(pager)[-1].endswith("line 96")
        pager.scroll_rows(3)
        assert not pager.following
        pager.scroll_rows(1)
        assert pager.following


async def test_the_wheel_scrolls_what_is_under_it():
    pager = LinePager(Fixed(rows(100)))
    async with One(pager).run_test(size=(40, 10)) as pilot:
        await pilot._post_mouse_events([events.MouseScrollUp], LinePager, button=0)
        assert shown(pager)[-1].endswith("line 96")


async def test_sideways_keeps_following():
    pager = LinePager(Fixed([Row(b"0123456789" * 20)]), times="off")
    async with One(pager).run_test(size=(40, 3)):
        pager.right()
        assert pager.following
        assert shown(pager)[0].startswith("  6789")
        pager.left()
        assert shown(pager)[0].startswith("  0123")


async def test_turning_wrap_on_keeps_the_line_on_top():
    pager = LinePager(Fixed([Row(b"x" * 100), *rows(50)]), times="off")
    async with One(pager).run_test(size=(40, 10)):
        pager.go_to(20)
        top = shown(pager)[0]
        pager.toggle_wrap()
        assert shown(pager)[0] == top


# Columns


async def test_times_go_round_and_have_a_fixed_width():
    pager = LinePager(Fixed(rows(3)), now=lambda: 1062.5)
    async with One(pager).run_test(size=(60, 3)):
        seen = []
        for _ in range(5):
            seen.append((pager.times, shown(pager)[1].index("1 line")))
            pager.cycle_time()
        assert seen == [("clock", 13), ("date", 24), ("relative", 8), ("delta", 10), ("off", 0)]


async def test_relative_and_delta_times_say_how_far():
    pager = LinePager(Fixed(rows(3)), now=lambda: 1062.5, times="relative")
    async with One(pager).run_test(size=(60, 3)):
        assert [line.split()[0] for line in shown(pager)] == ["1m02s", "1m01s", "1m00s"]
        pager.cycle_time()
        assert [line.split()[0] for line in shown(pager)] == ["1", "+1.000", "+1.000"]


async def test_a_process_has_the_same_colour_always_and_the_stream_its_mark():
    lines = [Row(b"a", 1.0, "web:0", "out"), Row(b"b", 1.0, "mailer:0", "err"), Row(b"c", 1.0, "web:0", "err")]
    pager = LinePager(Fixed(lines), labels=True, times="off")
    async with One(pager).run_test(size=(60, 3)):
        assert shown(pager) == ["web:0    1 a", "mailer:0 2 b", "web:0    2 c"]
        first, _, third = (next(iter(strip)).style for strip in pager.render_lines(Region(0, 0, 60, 3)))
        assert first
        assert third
        assert first.color == third.color


async def test_a_remark_is_a_rule_through_the_screen():
    pager = LinePager(Fixed([Row("exited 78 · retry in 8 s".encode(), 1.0, "m:0", kind="mark")]), times="off")
    async with One(pager).run_test(size=(40, 3)):
        assert shown(pager)[0] == "── exited 78 · retry in 8 s ──────────"
        pager.glyphs = "ascii"
        assert shown(pager)[0] == "-- exited 78 - retry in 8 s ----------"


async def test_an_empty_log_says_why():
    pager = LinePager()
    pager.empty = "no output yet (running 3 s)"
    async with One(pager).run_test(size=(40, 3)):
        assert shown(pager)[0].strip() == "no output yet (running 3 s)"


# Selection


async def test_lines_are_picked_with_a_cursor_and_copied_without_colours():
    pager = LinePager(Fixed([Row(b"\x1b[31mone\x1b[0m\n"), Row(b"two\n"), Row(b"three\n")]))
    async with One(pager).run_test(size=(40, 3)):
        pager.visual()
        pager.move(-1)
        assert pager.selected_text() == "two\nthree"
        pager.move(-1)
        assert pager.selected_text() == "one\ntwo\nthree"
        pager.visual()
        assert pager.cursor is None


async def test_the_mouse_selects_text_of_a_range_of_lines():
    pager = LinePager(Fixed([Row(b"first line"), Row("日本 second".encode()), Row(b"third line")]), times="off")
    app = One(pager)
    async with app.run_test(size=(40, 3)) as pilot:
        await pilot.mouse_down(LinePager, offset=(8, 0))
        await pilot.hover(LinePager, offset=(12, 1))
        await pilot.mouse_up(LinePager, offset=(12, 1))
        await pilot.pause()
        assert app.screen.get_selected_text() == "line\n日本 second"
        assert pager.selected_text() == "line\n日本 second"


async def test_a_double_click_chooses_the_line_and_selects_nothing():
    class Listening(One):
        chosen = -1

        def on_line_pager_chosen(self, event: LinePager.Chosen) -> None:
            self.chosen = event.line

    app = Listening(LinePager(Fixed(rows(5))))
    async with app.run_test(size=(40, 5)) as pilot:
        await pilot.double_click(LinePager, offset=(20, 2))
        await pilot.pause()
        assert app.chosen == 2
        assert app.screen.get_selected_text() is None


# Search and trouble


async def test_matches_are_marked_and_the_one_somebody_is_at_stands_out():
    pager = LinePager(Fixed([Row(b"all refused"), Row(b"refused again")]), times="off")
    async with One(pager).run_test(size=(40, 2)):
        pager.set_match(re.compile("refused"), current=1)
        first, second = (next(segment.style for segment in strip if segment.text == "refused")
                         for strip in pager.render_lines(Region(0, 0, 40, 2)))  # fmt: skip
        assert first != second


async def test_braces_jump_between_errors_and_remarks():
    lines = rows(30)
    lines[5] = Row(b"Traceback (most recent call last):")
    lines[12] = Row(b"exited 1", kind="mark")
    pager = LinePager(Fixed(lines))
    async with One(pager).run_test(size=(40, 10)):
        assert pager.next_trouble(-1)
        assert pager.cursor == 12
        assert pager.next_trouble(-1)
        assert pager.cursor == 5
        assert not pager.next_trouble(-1)
        assert pager.next_trouble(1)
        assert pager.cursor == 12


async def test_painting_costs_what_is_on_the_screen_not_what_there_is():
    class Counting(Fixed):
        asked = 0

        def line(self, number: int) -> Row:
            self.asked += 1
            return super().line(number)

    source = Counting(rows(100_000))
    pager = LinePager(source)
    async with One(pager).run_test(size=(40, 10)):
        source.asked = 0
        shown(pager)
        assert source.asked < 50
        pager.toggle_wrap()
        source.asked = 0
        shown(pager)
        assert source.asked < 60


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 1), (14, 3)])
async def test_a_tiny_screen_is_painted_all_the_same(size: tuple[int, int]):
    pager = LinePager(Fixed([Row("日本 text".encode(), 1.0, "web:0", "out")] * 9), labels=True)
    async with One(pager).run_test(size=size) as pilot:
        await pilot.pause()
        strips = pager.render_lines(Region(0, 0, *size))
        assert [strip.cell_length for strip in strips] == [size[0]] * size[1]


def test_cells_are_counted_as_the_terminal_counts_them():
    for text in ("abc", "日本", "e\u0301", "👩"):
        assert sgr.cells_of(text) == cell_len(text)


@pytest.mark.parametrize("theme", ["dark", "light", "mono", "colourblind", "terminal", "terminal-light"])
async def test_every_theme_has_styles_for_all_parts(theme: str):
    pager = LinePager(Fixed(rows(3)), labels=True)
    async with One(pager, theme=theme).run_test(size=(40, 3)) as pilot:
        await pilot.pause()
        assert shown(pager)[0].endswith("line 0")
        assert set(pager.painter.styles) >= {"match", "current", "label-7", "paused"}
