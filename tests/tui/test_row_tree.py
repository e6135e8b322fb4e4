"""The table of rows: what is painted, where the cursor stays, what the mouse means."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len
from textual import events
from textual.containers import Vertical
from textual.filter import Monochrome
from textual.geometry import Region

from taskmaster_tui.live import live_of
from taskmaster_tui.widgets.row_tree import Cell, Column, RowTree
from tests.paint import Host, frame, hosted, line, lines, segments

COLUMNS = (
    Column("job", "NAME", 0),
    Column("state", "STATE", 8),
    Column("up", "UP", 6, "left", 2),
    Column("cpu", "CPU", 5, "right", 3),
)


class Rows:
    """A source that tests change, and that remembers what it was asked for."""

    def __init__(self, n: int = 5) -> None:
        self.names = [f"row{i}" for i in range(n)]
        self.values: dict[str, dict[str, Cell]] = {}
        self.marks: set[str] = set()
        self.asked: list[str] = []

    def ids(self) -> Sequence[str]:
        return self.names

    def cells(self, row_id: str, columns: Sequence[Column]) -> list[Cell]:
        self.asked.append(row_id)
        own = {"job": (f"● {row_id}", ""), "state": ("running", "up"), **self.values.get(row_id, {})}
        return [own.get(column.id, ("1", "")) for column in columns]

    def marked(self, row_id: str) -> bool:
        return row_id in self.marks


class Tree(Rows):
    """One that has rows in rows: `web:0` lies in `web`."""

    def parent(self, row_id: str) -> str | None:
        return row_id.partition(":")[0] if ":" in row_id else None


def table(rows: Any, **options: Any) -> RowTree:
    return RowTree(rows, COLUMNS, **options)


def at(tree: RowTree) -> int:
    """Return the line that has the cursor."""
    found = [y for y, text in enumerate(lines(tree)) if text.startswith(">")]
    assert len(found) == 1, lines(tree)
    return found[0]


def at_none(tree: RowTree) -> bool:
    return tree.cursor_id is None and not any(text.startswith(">") for text in lines(tree))


# What is painted ------------------------------------------------------------------------------------------------------


async def test_a_header_stands_above_the_rows():
    async with hosted(tree := table(Rows(2))):
        assert line(tree, 0).split() == ["NAME", "STATE", "UP", "CPU"]
        assert line(tree, 2).split() == ["●", "row1", "running", "1", "1"]
        assert line(tree, 3).strip() == ""


async def test_without_a_header_the_first_row_is_on_the_first_line():
    async with hosted(tree := table(Rows(2), header=False)):
        assert "row0" in line(tree, 0)


async def test_the_cursor_is_an_arrow_and_reversed_in_one_colour():
    async with hosted(tree := table(Rows(2))):
        text, style, _ = segments(tree, 1)[0]
        assert text.startswith(">")
        assert "running" in text
        assert style is not None
        assert style.reverse


async def test_without_focus_the_cursor_is_an_arrow_and_bold():
    async with hosted(tree := table(Rows(2)), focus=False):
        row = segments(tree, 1)
        assert row[0].text.startswith(">")
        assert all(style and style.bold and not style.reverse for text, style, _ in row if text.strip())


async def test_a_mark_is_a_plus_beside_the_cursor():
    rows = Rows(3)
    rows.marks = {"row0", "row2"}
    async with hosted(tree := table(rows)):
        assert [text[:2] for text in lines(tree)[1:4]] == [">+", "  ", " +"]


async def test_without_marks_there_is_no_room_for_them():
    async with hosted(tree := table(Rows(2), marks=False)):
        assert line(tree, 2).startswith(" ● row1")


async def test_numbers_are_aligned_at_the_right():
    async with hosted(tree := table(Rows(2))):
        assert line(tree, 0).rstrip().endswith("CPU")
        assert len(line(tree, 0).rstrip()) == len(line(tree, 2).rstrip())


async def test_wide_characters_keep_the_columns_in_place():
    rows = Rows(4)
    for row_id, name in zip(rows.names, ("漢字" * 30, "🎉" * 40, "e\u0301" * 80, "👩\u200d🚀 ok ✔\ufe0f"), strict=True):
        rows.values[row_id] = {"job": (name, "")}
    async with hosted(tree := table(rows)):
        starts = [cell_len(text[: text.index("running")]) for text in lines(tree)[1:5]]
        assert len(set(starts)) == 1, lines(tree)


async def test_a_cut_text_ends_in_an_ellipsis():
    rows = Rows(1)
    rows.values["row0"] = {"job": ("x" * 200, "")}
    async with hosted(tree := table(rows)):
        assert "x… running" in line(tree, 1)


async def test_columns_go_from_the_right_when_it_gets_narrow():
    async with hosted(tree := table(Rows(1)), size=(60, 5)) as pilot:
        shown = {}
        for width in (60, 34, 28, 16, 3, 1):
            await pilot.resize_terminal(width, 5)
            await pilot.pause()
            shown[width] = " ".join(slot.column.id for slot in tree.slots)
            lines(tree)
        assert shown == {60: "job state up cpu", 34: "job state up", 28: "job state", 16: "job state", 3: "", 1: ""}


async def test_a_source_is_told_the_widths_that_were_laid_out():
    widths = {}

    class Wide(Rows):
        def cells(self, row_id, columns):
            widths.update({column.id: column.width for column in columns})
            return super().cells(row_id, columns)

    async with hosted(table(Wide(1))):
        assert widths == {"job": 60 - 2 - 2 - 8 - 6 - 5 - 3, "state": 8, "up": 6, "cpu": 5}


async def test_a_cell_can_have_parts_of_different_roles():
    rows = Rows(2)
    rows.values["row1"] = {"job": [("● ", "failed"), ("name", "")]}
    async with hosted(tree := table(rows)):
        styles = {text.strip(): style for text, style, _ in segments(tree, 2)}
        assert styles["●"] == tree.look("failed")
        assert styles["name"] == tree.look("")


async def test_a_source_with_name_parts_has_them_in_the_name_column():
    class Parts(Rows):
        def name_parts(self, row_id):
            return [("✗", "failed"), (f" {row_id}", "")]

    async with hosted(tree := RowTree(Parts(2), [Column("name", "NAME", 0)])):
        assert segments(tree, 2)[1].text == "✗ "
        assert segments(tree, 2)[2].text.strip() == "row1"


async def test_a_row_can_have_a_role_as_a_whole():
    class Tinted(Rows):
        def row_role(self, row_id):
            return "error" if row_id == "row1" else ""

    async with hosted(tree := table(Tinted(2))):
        looks = {text.strip(): style for text, style, _ in segments(tree, 2)}
        assert looks["● row1"] == tree.look("error")
        assert looks["running"] == tree.look("up")


async def test_no_rows_leave_a_text_in_the_middle():
    async with hosted(tree := table(Rows(0), empty="nothing matches\nesc clears"), size=(40, 11)) as pilot:
        shown = [text.strip() for text in lines(tree)]
        assert shown[5:7] == ["nothing matches", "esc clears"]
        assert abs((len(line(tree, 5)) - len("nothing matches")) // 2 - line(tree, 5).index("n")) <= 1
        tree.empty = "no jobs yet"
        await pilot.pause()
        assert "no jobs yet" in "".join(lines(tree))
        assert tree.cursor_id is None


async def test_the_sorting_column_has_an_arrow_in_the_header():
    async with hosted(tree := table(Rows(1))):
        tree.set_sort("cpu", reverse=True)
        assert line(tree, 0).rstrip().endswith("CPU▼")
        tree.set_sort("state")
        assert "STATE▲" in line(tree, 0)


async def test_ascii_glyphs_are_ascii_everywhere():
    rows = Rows(40)
    for name in rows.names:
        rows.values[name] = {"job": ("x" * 200, "")}
    async with hosted(tree := table(rows), glyphs="ascii"):
        tree.set_sort("cpu", reverse=True)
        assert all(text.isascii() for text in lines(tree))
        assert "x~" in line(tree, 1)


async def test_a_theme_changes_the_colours_at_once():
    async with hosted(tree := table(Rows(2))) as pilot:
        dark = segments(tree, 2)
        pilot.app.theme = "light"
        await pilot.pause()
        assert [segment.text for segment in segments(tree, 2)] == [segment.text for segment in dark]
        assert [segment.style for segment in segments(tree, 2)] != [segment.style for segment in dark]


async def test_the_ground_of_a_container_shows_through():
    class Boxed(Host):
        def compose(self):
            with Vertical(id="box"):
                yield self.hosted

    tree = table(Rows(2))
    app = Boxed(tree)
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        app.query_one("#box").styles.background = "#123456"
        await pilot.pause()
        assert {str(segment.style) for segment in segments(tree, 3)} == {"#d5dbe3 on #123456"}


async def test_filters_for_few_colours_are_applied():
    async with hosted(tree := table(Rows(2))) as pilot:
        pilot.app._filters.append(Monochrome())
        colors: list[Any] = [segment.style.color for segment in segments(tree, 2) if segment.style]
        assert all(len(set(color.triplet)) == 1 for color in colors)


async def test_only_the_columns_of_the_crop_are_returned():
    async with hosted(tree := table(Rows(2))):
        strip = tree.render_lines(Region(4, 2, 10, 1))[0]
        assert strip.text == line(tree, 2)[4:14]


# S13 ------------------------------------------------------------------------------------------------------------------


async def test_S13_markup_and_escapes_in_a_row_are_inert():
    rows = Rows(2)
    evil = "[@click=app.quit]x[/] [red]y \x1b[31mz\x1b]0;title\x07\x1b[2J\n\ttab\u202eback\x9b1m"
    rows.values["row1"] = {"job": (evil, ""), "state": ("[b]a\nb", "nonsense-role")}
    async with hosted(tree := table(rows, empty=evil), size=(100, 12)) as pilot:
        text = line(tree, 2)
        assert "[@click=app.quit]x[/] [red]y z  tabback" in text
        assert text.isprintable()
        assert all(not (segment.style and segment.style.meta) for segment in segments(tree, 2))
        await pilot.click(tree, offset=(6, 2))
        assert pilot.app.is_running
        rows.names = []
        tree.rows_changed()
        assert all(text.isprintable() for text in lines(tree))


async def test_S13_a_megabyte_in_a_name_costs_no_time():
    rows = Rows(2)
    rows.values["row1"] = {"job": ("\u0301x漢" * 500_000, "")}
    async with hosted(tree := table(rows)):
        tree.forget()
        begin = time.thread_time()
        line(tree, 2)
        assert time.thread_time() - begin < 0.1


# The cursor -----------------------------------------------------------------------------------------------------------


async def test_the_cursor_stops_at_both_ends():
    async with hosted(tree := table(Rows(3))):
        tree.move(-1)
        assert tree.cursor_id == "row0"
        tree.move(10)
        assert tree.cursor_id == "row2"
        tree.top()
        assert tree.cursor_id == "row0"
        tree.bottom()
        assert tree.cursor_id == "row2"


async def test_moving_says_so_once():
    async with hosted(tree := table(Rows(3))) as pilot:
        tree.move(1)
        tree.move(0)
        tree.move_to("row1")
        await pilot.pause()
        assert [message.row_id for message in pilot.app.said(RowTree.Moved)] == ["row1"]
        assert pilot.app.said(RowTree.Moved)[0].control is tree


async def test_the_view_follows_the_cursor():
    async with hosted(tree := table(Rows(50)), size=(60, 11)):
        tree.move(10)
        assert (tree.first, at(tree)) == (1, 10)
        tree.move(-10)
        assert (tree.first, at(tree)) == (0, 1)


async def test_a_page_moves_cursor_and_view_together():
    async with hosted(tree := table(Rows(50)), size=(60, 11)):
        tree.move(3)
        tree.page(1)
        assert (tree.cursor_id, at(tree)) == ("row13", 4)
        tree.page(-0.5)
        assert (tree.cursor_id, at(tree)) == ("row8", 4)
        tree.page(-1)
        assert tree.cursor_id == "row0"


async def test_rows_above_do_not_move_the_cursor_s_line():
    rows = Rows(50)
    async with hosted(tree := table(rows), size=(60, 11)):
        tree.move_to("row20")
        tree.move(-3)
        where = at(tree)
        rows.names = ["new0", "new1", *rows.names]
        tree.rows_changed()
        assert (tree.cursor_id, at(tree)) == ("row17", where)
        rows.names = rows.names[5:]
        tree.rows_changed()
        assert (tree.cursor_id, at(tree)) == ("row17", where)


async def test_sorting_keeps_the_cursor_on_its_row():
    rows = Rows(50)
    async with hosted(tree := table(rows), size=(60, 11)) as pilot:
        tree.move_to("row7")
        rows.names.reverse()
        tree.rows_changed()
        await pilot.pause()
        assert tree.cursor_id == "row7"
        assert at(tree) > 0
        assert [message.row_id for message in pilot.app.said(RowTree.Moved)] == ["row7"]


async def test_the_cursor_of_a_row_that_goes_is_on_the_next_one_and_says_so():
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        tree.move_to("row2")
        rows.names = ["row0", "row1", "row3", "row4"]
        tree.rows_changed()
        await pilot.pause()
        assert tree.cursor_id == "row3"
        assert [message.row_id for message in pilot.app.said(RowTree.Moved)] == ["row2", "row3"]


async def test_the_cursor_of_the_last_row_that_goes_is_on_the_one_before():
    rows = Rows(5)
    async with hosted(tree := table(rows)):
        tree.bottom()
        rows.names = ["row0", "row1"]
        tree.rows_changed()
        assert tree.cursor_id == "row1"


async def test_folding_puts_the_cursor_on_the_parent():
    rows = Tree()
    rows.names = ["web", "web:0", "web:1", "cron"]
    async with hosted(tree := table(rows)):
        tree.move_to("web:1")
        rows.names = ["web", "cron"]
        tree.rows_changed()
        assert tree.cursor_id == "web"


async def test_all_rows_may_go_and_come_back():
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        tree.bottom()
        rows.names = []
        tree.rows_changed()
        tree.move(1)
        tree.page(1)
        assert at_none(tree)
        rows.names = ["row7", "row8"]
        tree.rows_changed()
        await pilot.pause()
        assert tree.cursor_id == "row7"
        assert pilot.app.said(RowTree.Moved)[-1].row_id == "row7"


async def test_the_cursor_goes_to_a_wanted_row_as_soon_as_it_is_there():
    rows = Rows(3)
    async with hosted(tree := table(rows)):
        tree.move_to("row90")
        assert tree.cursor_id == "row0"
        rows.names = [f"row{i}" for i in range(100)]
        tree.rows_changed()
        assert tree.cursor_id == "row90"
        assert at(tree) > 0


async def test_a_wanted_row_is_forgotten_when_the_person_moves():
    rows = Rows(3)
    async with hosted(tree := table(rows)):
        tree.move_to("row9")
        tree.move(1)
        rows.names = [f"row{i}" for i in range(10)]
        tree.rows_changed()
        assert tree.cursor_id == "row1"


async def test_a_scrolled_view_stays_on_its_rows_when_the_cursor_is_elsewhere():
    rows = Rows(100)
    async with hosted(tree := table(rows), size=(60, 11)):
        tree.scroll_to_line(50)
        rows.names = ["new", *rows.names]
        tree.rows_changed()
        assert "row50" in line(tree, 1)


async def test_a_smaller_terminal_keeps_the_cursor_in_view():
    async with hosted(tree := table(Rows(50)), size=(60, 30)) as pilot:
        tree.move(25)
        await pilot.resize_terminal(60, 8)
        await pilot.pause()
        assert at(tree) > 0
        await pilot.resize_terminal(60, 60)
        await pilot.pause()
        assert tree.first == 0


async def test_the_terminal_s_cursor_is_on_the_row_for_those_who_read_with_it():
    async with hosted(tree := table(Rows(5))) as pilot:
        tree.move(2)
        assert pilot.app.cursor_position == (0, 0)
        pilot.app.plain_cursor = True
        tree.move(1)
        assert pilot.app.cursor_position == (0, 4)


# The mouse ------------------------------------------------------------------------------------------------------------


async def test_a_click_moves_the_cursor():
    async with hosted(tree := table(Rows(5)), focus=False) as pilot:
        await pilot.click(tree, offset=(10, 3))
        assert tree.cursor_id == "row2"
        assert tree.has_focus
        assert not pilot.app.said(RowTree.Chosen)


async def test_a_double_click_chooses():
    async with hosted(tree := table(Rows(5))) as pilot:
        await pilot.double_click(tree, offset=(10, 3))
        assert [message.row_id for message in pilot.app.said(RowTree.Chosen)] == ["row2"]


@pytest.mark.parametrize("glyph", ["▼", "▶", "v", ">"])
async def test_a_click_on_the_fold_glyph_says_so(glyph):
    rows = Rows(3)
    rows.values["row1"] = {"job": [(f"{glyph} ", "dim"), ("● row1", "")]}
    async with hosted(tree := table(rows)) as pilot:
        await pilot.click(tree, offset=(2, 2))
        await pilot.click(tree, offset=(8, 2))
        await pilot.click(tree, offset=(2, 3))
        assert [message.row_id for message in pilot.app.said(RowTree.FoldClicked)] == ["row1"]


async def test_a_click_on_the_margin_is_about_the_mark():
    async with hosted(tree := table(Rows(5))) as pilot:
        await pilot.click(tree, offset=(1, 2))
        await pilot.click(tree, offset=(20, 3), control=True)
        assert [message.row_id for message in pilot.app.said(RowTree.MarkClicked)] == ["row1", "row2"]


async def test_a_click_on_the_header_names_the_column():
    async with hosted(tree := table(Rows(5))) as pilot:
        for word in ("NAME", "STATE", "CPU"):
            await pilot.click(tree, offset=(line(tree, 0).index(word) + 1, 0))
        assert [message.column_id for message in pilot.app.said(RowTree.HeaderClicked)] == ["job", "state", "cpu"]
        assert not pilot.app.said(RowTree.Moved)


async def test_a_click_below_the_rows_means_nothing():
    async with hosted(tree := table(Rows(2))) as pilot:
        await pilot.click(tree, offset=(10, 8))
        assert tree.cursor_id == "row0"


async def test_the_wheel_scrolls_and_leaves_the_cursor():
    async with hosted(tree := table(Rows(50)), size=(60, 11)) as pilot:
        await pilot._post_mouse_events([events.MouseScrollDown], tree, offset=(5, 5))
        await pilot.pause()
        assert (tree.first, tree.cursor_id) == (3, "row0")
        assert not any(text.startswith(">") for text in lines(tree))
        tree.move(1)
        assert at(tree) == 1


async def test_there_is_a_scroll_bar_only_where_it_is_needed():
    rows = Rows(5)
    async with hosted(tree := table(rows), size=(60, 11)):
        assert {text[-1] for text in lines(tree)} == {" "}
        rows.names = [f"row{i}" for i in range(50)]
        tree.rows_changed()
        assert [text[-1] for text in lines(tree)] == [" ", "█", "█", *"│" * 8]
        tree.bottom()
        assert [text[-1] for text in lines(tree)] == [" ", *"│" * 8, "█", "█"]


async def test_a_click_on_the_track_brings_the_thumb_there():
    async with hosted(tree := table(Rows(50)), size=(60, 11)) as pilot:
        await pilot.click(tree, offset=(59, 10))
        assert tree.first == 40
        await pilot.click(tree, offset=(59, 1))
        assert tree.first == 0
        assert tree.cursor_id == "row0"


async def test_the_thumb_can_be_dragged():
    async with hosted(tree := table(Rows(50)), size=(60, 11)) as pilot:
        await pilot.mouse_down(tree, offset=(59, 1))
        await pilot.hover(tree, offset=(20, 5))
        assert 15 <= tree.first <= 25
        await pilot.hover(tree, offset=(20, 10))
        assert tree.first == 40
        await pilot.mouse_up(tree, offset=(20, 10))
        await pilot.hover(tree, offset=(20, 1))
        assert tree.first == 40
        assert tree.cursor_id == "row0"


# What is painted again ------------------------------------------------------------------------------------------------


@pytest.fixture
def painted(monkeypatch):
    """Return the regions that a tree asks Textual to paint; () for all of it."""
    asked: list[tuple[Region, ...]] = []
    refresh = RowTree.refresh

    def spy(self, *regions, **options):
        asked.append(regions)
        return refresh(self, *regions, **options)

    monkeypatch.setattr(RowTree, "refresh", spy)
    return asked


async def test_only_visible_rows_are_asked_for():
    rows = Rows(5000)
    async with hosted(tree := table(rows), size=(60, 11)) as pilot:
        rows.asked.clear()
        tree.dirty(rows.names)
        await frame(pilot)
        assert sorted(rows.asked) == sorted(rows.names[:10])


async def test_a_dirty_row_is_painted_with_the_next_live_frame_and_alone(painted):
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        painted.clear()
        rows.values["row2"] = {"state": ("fatal", "failed")}
        tree.dirty({"row2", "row3", "row4711"})
        assert painted == []
        await frame(pilot)
        slot = next(slot for slot in tree.slots if slot.column.id == "state")
        assert painted == [(Region(slot.x, 3, 8, 1),)]
        assert "fatal" in line(tree, 3)


async def test_what_did_not_change_is_not_painted(painted):
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        painted.clear()
        tree.dirty()
        await frame(pilot)
        assert painted == []


async def test_what_a_key_changed_is_painted_at_once(painted):
    rows = Rows(5)
    async with hosted(tree := table(rows)):
        painted.clear()
        rows.marks.add("row1")
        tree.dirty({"row1"}, live=False)
        assert painted == [(Region(0, 2, 60, 1),)]
        assert line(tree, 2).startswith(" +")


async def test_moving_the_cursor_paints_two_rows(painted):
    async with hosted(tree := table(Rows(5))):
        painted.clear()
        tree.move(1)
        assert painted == [(Region(0, 1, 60, 1), Region(0, 2, 60, 1))]


async def test_a_row_that_changed_out_of_sight_is_right_when_it_comes_into_view():
    rows = Rows(50)
    async with hosted(tree := table(rows), size=(60, 11)) as pilot:
        tree.scroll_to_line(20)
        lines(tree)
        rows.values["row0"] = {"state": ("fatal", "failed")}
        tree.dirty({"row0"})
        await frame(pilot)
        tree.scroll_to_line(0)
        assert "fatal" in line(tree, 1)


async def test_rows_that_came_by_themselves_wait_for_the_live_frame(painted):
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        painted.clear()
        rows.names = ["new", *rows.names]
        tree.rows_changed(live=True)
        assert painted == []
        await frame(pilot)
        assert painted == [()]


async def test_a_key_does_not_leave_half_of_the_rows_where_they_were(painted):
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        rows.names = ["new", *rows.names]
        tree.rows_changed(live=True)
        painted.clear()
        tree.move(1)
        assert painted == [()]
        await frame(pilot)
        assert painted == [()]


async def test_a_row_that_went_away_before_the_tree_was_told_is_blank():
    class Gone(Rows):
        def cells(self, row_id, columns):
            if row_id not in self.names:
                raise KeyError(row_id)
            return super().cells(row_id, columns)

    rows = Gone(3)
    async with hosted(tree := table(rows)) as pilot:
        rows.names = ["row0"]
        tree.dirty()
        await frame(pilot)
        assert line(tree, 3).strip() == ""


async def test_a_hidden_tree_asks_for_nothing_and_is_right_when_shown():
    rows = Rows(5)
    async with hosted(tree := table(rows)) as pilot:
        tree.display = False
        await pilot.pause()
        rows.asked.clear()
        rows.values["row2"] = {"state": ("fatal", "failed")}
        tree.dirty()
        await frame(pilot)
        assert rows.asked == []
        tree.display = True
        await pilot.pause()
        assert "fatal" in line(tree, 3)


async def test_other_columns_can_be_shown():
    async with hosted(tree := table(Rows(2))):
        tree.set_columns([Column("state", "STATE", 0)])
        assert line(tree, 0).split() == ["STATE"]
        assert tree.columns == (Column("state", "STATE", 0),)


async def test_nothing_is_asked_of_live_where_nothing_is_dirty():
    async with hosted(tree := table(Rows(2))):
        tree.dirty({"elsewhere"})
        assert live_of(tree).waiting == 0


async def test_five_thousand_rows_a_second_leave_the_paint_quick():
    rows = Rows(5000)
    async with hosted(tree := table(rows), size=(120, 41)) as pilot:
        took = []
        for second in range(30):
            rows.values = {name: {"cpu": (f"{(second * 7 + i) % 100}%", "")} for i, name in enumerate(rows.names[:60])}
            begin = time.thread_time()
            tree.dirty(rows.names)
            live_of(tree).forget(tree)
            tree.paint_live()
            pilot.app.screen._compositor.update_widgets({tree})
            pilot.app.screen._compositor.render_partial_update()
            took.append(time.thread_time() - begin)
        assert sorted(took)[int(len(took) * 0.95) - 1] < 0.015, took


async def test_rebuilding_five_thousand_rows_is_quick():
    rows = Rows(5000)
    async with hosted(tree := table(rows), size=(120, 41)):
        tree.move_to("row2500")
        took = []
        for _ in range(10):
            rows.names = rows.names[1:] + rows.names[:1]
            begin = time.thread_time()
            tree.rows_changed()
            lines(tree)
            took.append(time.thread_time() - begin)
        assert min(took) < 0.03, took
        assert tree.cursor_id == "row2500"


def test_a_tree_can_be_told_of_rows_before_it_is_shown():
    rows = Rows(3)
    tree = table(rows)
    rows.names = ["a", "b"]
    tree.rows_changed()
    tree.move(1)
    tree.dirty()
    tree.set_sort("cpu")
    assert tree.cursor_id == "b"


async def test_a_tree_of_automatic_height_follows_its_rows():
    rows = Rows(3)
    tree = table(rows)
    async with hosted(tree, size=(60, 12)) as pilot:
        tree.styles.height = "auto"
        await pilot.pause()
        assert tree.size.height == 4
        rows.names = [f"row{i}" for i in range(6)]
        tree.rows_changed()
        await pilot.pause()
        assert tree.size.height == 7


def test_messages_have_the_names_handlers_are_found_by():
    assert RowTree.Moved.handler_name == "on_row_tree_moved"
    assert RowTree.HeaderClicked.handler_name == "on_row_tree_header_clicked"
