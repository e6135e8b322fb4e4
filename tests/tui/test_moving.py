"""Where a person is and goes: cursor, folds, marks, filter, order, tabs, views, mouse; and that the place is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest

from taskmaster_tui.link import Phase
from taskmaster_tui.screens.panes import LogPane
from taskmaster_tui.settings import Place, load_place
from taskmaster_tui.widgets.bars import KeyBar
from taskmaster_tui.widgets.row_tree import RowTree
from tests.fakecore import FakeCore, event, job, process
from tests.tui.support import Stage, acore, place_of, running, scripted, writes


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


def here(stage: Stage) -> str | None:
    return stage.jobs.rowtree.cursor_id


def ids(stage: Stage) -> list[str]:
    return stage.jobs.rows.ids()


def title(stage: Stage) -> str:
    return str(stage.jobs.query_one("#jobs-pane").border_title)


UNFOLDED = [
    "web",
    "web:0",
    "web:1",
    "web:2",
    "web:3",
    "worker",
    "worker:0",
    "worker:1",
    "mailer",
    "cron",
    "shell",
    "db",
]


# Cursor, folds, marks -------------------------------------------------------------------------------------------------


async def test_the_cursor_moves_by_rows_pages_and_to_the_ends(core: FakeCore):
    async with running(core, size=(120, 16)) as stage:
        assert ids(stage) == UNFOLDED
        for keys, row in (
            ("j", "web:0"), ("down", "web:1"), ("k", "web:0"), ("up", "web"), ("k", "web"), ("G", "db"), ("j", "db"),
            ("g", "web"), ("end", "db"), ("home", "web"),
        ):  # fmt: skip
            await stage.press(keys)
            assert here(stage) == row, keys
        for down, up in (("ctrl+f", "pageup"), ("pagedown", "pageup"), ("ctrl+d", "ctrl+u")):
            await stage.press(down)
            assert here(stage) != "web", down
            await stage.press(up)
            assert here(stage) == "web", up
        assert stage.acts() == []


async def test_folding_and_unfolding(core: FakeCore):
    async with running(core) as stage:
        await stage.press("h")
        assert ids(stage)[:2] == ["web", "worker"]
        await stage.press("right")
        assert ids(stage) == UNFOLDED
        await stage.press("l")
        assert here(stage) == "web:0"
        await stage.press("j", "left")
        assert here(stage) == "web"
        await stage.press("left")
        assert ids(stage)[:2] == ["web", "worker"]
        await stage.at("cron")
        await stage.press("l")
        assert "cron:0" in ids(stage)


async def test_marks_ranges_and_all(core: FakeCore):
    async with running(core) as stage:
        await stage.press("j", "space")
        assert here(stage) == "web:1"
        assert stage.jobs.rows.marks == {"web:0"}
        await stage.press("j", "j", "V")
        assert stage.jobs.rows.marks == {"web:0", "web:1", "web:2", "web:3"}
        assert stage.jobs.selection().selectors == ("web:0", "web:1", "web:2", "web:3")
        assert "4 marked" in title(stage)
        await stage.says(">+", " +")
        await stage.press("asterisk")
        assert stage.jobs.rows.marks == set(UNFOLDED)
        await stage.press("asterisk")
        assert stage.jobs.rows.marks == set()
        await stage.press("g", "space", "g", "space")
        assert stage.jobs.rows.marks == set()


# Filter, problems, order ----------------------------------------------------------------------------------------------


async def test_a_filter_is_followed_as_it_is_typed_and_kept_by_enter(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"wor")
        assert ids(stage) == ["worker", "worker:0", "worker:1"]
        assert "/wor" in title(stage)
        assert "5 hidden" in title(stage)
        await stage.press("enter")
        assert stage.app.focused is stage.jobs.rowtree
        await stage.press("j")
        assert here(stage) == "worker:0"
        await stage.press("escape")
        assert ids(stage) == UNFOLDED
        assert here(stage) == "worker:0"


async def test_escape_while_typing_drops_the_filter(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"cron", "escape")
        assert ids(stage) == UNFOLDED
        assert stage.app.focused is stage.jobs.rowtree


async def test_a_filter_that_nothing_matches_says_so_and_how_to_clear_it(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"zzz")
        await stage.says('nothing matches "zzz" (6 hidden) · esc clears')
        await stage.press("enter", "r")
        assert stage.status == "nothing is selected"
        assert stage.acts() == []


async def test_keys_of_other_things_are_letters_while_a_filter_is_typed(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"x2q?:")
        assert stage.jobs.rows.filter == "x2q?:"
        assert stage.acts() == []
        assert stage.app.main.view_name == "jobs"


async def test_problems_only(core: FakeCore):
    async with running(core) as stage:
        await stage.press("exclamation_mark")
        assert ids(stage) == ["mailer"]
        assert "problems only" in title(stage)
        await stage.press("exclamation_mark")
        assert ids(stage) == UNFOLDED


async def test_flat_and_tree(core: FakeCore):
    async with running(core) as stage:
        await stage.at("worker:1")
        await stage.press("t")
        assert "web" not in ids(stage)
        assert len(ids(stage)) == 10
        assert here(stage) == "worker:1"
        await stage.press("t")
        assert here(stage) == "worker:1"


async def test_sorting_by_columns_and_the_other_way_round(core: FakeCore):
    async with running(core) as stage:
        await stage.press("greater_than_sign")
        assert [each for each in ids(stage) if ":" not in each] == ["cron", "db", "mailer", "shell", "web", "worker"]
        assert here(stage) == "web"
        assert "by name" in title(stage)
        await stage.says("NAME▲")
        await stage.press("I")
        assert next(each for each in ids(stage) if ":" not in each) == "worker"
        await stage.says("NAME▼")
        await stage.press("greater_than_sign")
        assert "by state" in title(stage)
        await stage.press("less_than_sign", "less_than_sign")
        assert "config order" in title(stage)


async def test_nothing_moves_under_the_cursor_when_rows_come(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        line = stage.text.splitlines().index(
            next(each for each in stage.text.splitlines() if "> " in each and "cron" in each)
        )
        new = process("web:0", "backoff")
        core.publish("state", {"boot": "b1", "seq": 8, "n": 0, "processes": [new], "gone": []})
        await stage.says("backoff") if "backoff" in stage.text else await stage.pilot.pause()
        assert here(stage) == "cron"
        assert "cron" in stage.text.splitlines()[line]


# Panes, tabs, views ---------------------------------------------------------------------------------------------------


async def test_detail_tabs_turn_and_are_asked_for_when_they_are_shown(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        for tab in ("info", "events", "metrics", "env", "config", "logs"):
            await stage.press("right_square_bracket")
            assert stage.jobs.detail._tab == tab
            await stage.says(f"[{tab.capitalize()}]")
        assert {"show", "events", "config"} <= set(core.ops())
        await stage.press("left_square_bracket")
        assert stage.jobs.detail._tab == "config"
        await stage.press("i")
        assert stage.jobs.detail._tab == "info"
        await stage.press("L")
        assert stage.jobs.detail._tab == "events"


async def test_focus_goes_round_the_panes_and_keys_follow_it(core: FakeCore):
    async with running(core) as stage:
        await stage.press("tab")
        focused = stage.app.focused
        assert focused is not None
        assert any(isinstance(each, LogPane) for each in focused.ancestors)
        await stage.until(lambda: "Follow" in stage.text.splitlines()[-1])
        await stage.press("shift+tab")
        assert stage.app.focused is stage.jobs.rowtree
        await stage.until(lambda: "Mark" in stage.text.splitlines()[-1])
        await stage.press("tab", "escape")
        assert stage.app.focused is stage.jobs.rowtree


async def test_zoom_shows_the_focused_pane_alone(core: FakeCore):
    async with running(core) as stage:
        await stage.press("z")
        await stage.until(lambda: not stage.jobs.detail.display or stage.jobs.detail.region.area == 0)
        assert stage.jobs.query_one("#jobs-pane").region.width == 120
        await stage.press("z")
        await stage.until(lambda: stage.jobs.detail.region.width > 40)
        await stage.press("tab", "z")
        await stage.until(lambda: stage.jobs.detail.region.width == 120)
        await stage.press("escape")
        await stage.until(lambda: stage.jobs.detail.region.width < 120 or stage.app.focused is stage.jobs.rowtree)
        await stage.press("escape")
        await stage.until(lambda: stage.jobs.query_one("#jobs-pane").region.width in range(50, 80))


async def test_the_split_moves_and_is_kept(core: FakeCore):
    async with running(core) as stage:
        before = stage.jobs.query_one("#jobs-pane").region.width
        await stage.press("ctrl+right")
        await stage.until(lambda: stage.jobs.query_one("#jobs-pane").region.width > before)
        await stage.press("ctrl+left", "ctrl+left")
        await stage.until(lambda: stage.jobs.query_one("#jobs-pane").region.width < before)
        assert stage.app.place.split == Place().split - 5


async def test_views_switch_by_number_and_back_by_backtick_and_escape(core: FakeCore):
    async with running(core) as stage:
        for key, name in (("2", "logs"), ("3", "events"), ("4", "metrics"), ("5", "config"), ("1", "jobs")):
            await stage.press(key)
            assert stage.app.main.view_name == name
            await stage.says(f"[{key} {name.capitalize()}]")
        await stage.press("grave_accent")
        assert stage.app.main.view_name == "config"
        await stage.press("grave_accent")
        assert stage.app.main.view_name == "jobs"
        await stage.press("3", "escape")
        assert stage.app.main.view_name == "jobs"
        await stage.press("escape")
        assert stage.app.is_running


async def test_escape_goes_back_step_by_step(core: FakeCore):
    async with running(core) as stage:
        await stage.press("exclamation_mark", "slash", *"mail", "enter", "space", "tab")
        rows = stage.jobs.rows
        await stage.press("escape")
        assert stage.app.focused is stage.jobs.rowtree
        assert (rows.filter, rows.problems, bool(rows.marks)) == ("mail", True, True)
        await stage.press("escape")
        assert (rows.filter, rows.problems, bool(rows.marks)) == ("", True, True)
        await stage.press("escape")
        assert (rows.filter, rows.problems, bool(rows.marks)) == ("", False, True)
        await stage.press("escape")
        assert (rows.filter, rows.problems, bool(rows.marks)) == ("", False, False)


async def test_escape_in_the_output_ends_the_search_first(core: FakeCore):
    writes(core, ("cron:0", "one"), ("cron:0", "two"))
    async with running(core) as stage:
        await stage.at("cron")
        await stage.says("two")
        await stage.press("tab", "slash", *"one", "enter")
        view = stage.jobs.query_one(LogPane).log_view
        await stage.until(lambda: view.search_state.text == "one")
        await stage.press("escape")
        assert view.search_state.text == ""
        assert stage.app.focused is not stage.jobs.rowtree
        await stage.press("escape")
        assert stage.app.focused is stage.jobs.rowtree


async def test_enter_shows_the_output_full_screen_and_escape_comes_back(core: FakeCore):
    async with running(core) as stage:
        await stage.at("worker")
        await stage.press("enter")
        assert stage.app.main.view_name == "logs"
        await stage.until(lambda: any(each["select"] == ["worker"] for each in core.requests if each["op"] == "logs"))
        await stage.says("Logs · worker")
        await stage.press("escape")
        assert stage.app.main.view_name == "jobs"
        assert here(stage) == "worker"


async def test_enter_on_a_line_goes_to_it_full_screen_and_then_to_its_process(core: FakeCore):
    writes(core, ("web:1", "one"), ("web:1", "two"))
    async with running(core) as stage:
        await stage.at("web")
        await stage.says("two")
        await stage.press("tab", "enter")
        assert stage.app.main.view_name == "logs"
        await stage.until(lambda: stage.app.view is not None and bool(stage.app.view.selection()))
        await stage.press("enter")
        await stage.until(lambda: stage.app.main.view_name == "jobs")
        assert here(stage) == "web:1"


async def test_an_event_goes_to_its_process_and_its_output(core: FakeCore):
    core.on("events", [event(5, "started", "web:2"), event(6, "exited", "cron:0"), event(7, "reloaded", "")])
    async with running(core) as stage:
        await stage.press("3")
        await stage.says("cron:0")
        await stage.press("g", "enter")
        await stage.until(lambda: stage.app.main.view_name == "jobs")
        assert here(stage) == "web:2"
        await stage.press("3", "g", "j", "o")
        await stage.until(lambda: stage.app.main.view_name == "logs")
        await stage.says("Logs · cron:0")


async def test_events_are_scrubbed_filtered_and_followed(core: FakeCore):
    made = [event(seq, "started", "web:2" if seq % 2 else "cron:0") for seq in range(1, 9)]
    core.on("events", [*made, event(9, "fatal", "mailer:0")])
    async with running(core) as stage:
        await stage.press("3")
        await stage.says("mailer:0")
        view = stage.app.view
        await stage.press("g", "right_square_bracket")
        assert view.rowtree.cursor_id == "3"  # type: ignore[union-attr]
        await stage.press("left_square_bracket")
        assert view.rowtree.cursor_id == "1"  # type: ignore[union-attr]
        await stage.says("paused · f follows")
        await stage.press("f")
        assert view.rowtree.cursor_id == "9"  # type: ignore[union-attr]
        await stage.press("exclamation_mark")
        assert list(view.rows.ids()) == ["9"]  # type: ignore[union-attr]
        await stage.press("exclamation_mark", "slash", *"cron", "enter")
        assert len(view.rows.ids()) == 4  # type: ignore[union-attr]
        await stage.press("escape")
        assert len(view.rows.ids()) == 9  # type: ignore[union-attr]


async def test_metrics_change_kind_order_and_level_and_lead_to_the_list(core: FakeCore):
    async with running(core) as stage:
        await stage.press("4")
        await stage.says("Metrics · CPU of jobs")
        await stage.press("m")
        await stage.says("memory of jobs")
        await stage.press("t")
        await stage.says("memory of processes")
        order = "config order" if "config order" in stage.text else "by share"
        await stage.press("greater_than_sign")
        await stage.until(lambda: order not in stage.text)
        await stage.press("enter")
        await stage.until(lambda: stage.app.main.view_name == "jobs")


# Jump -----------------------------------------------------------------------------------------------------------------


async def test_a_letter_goes_to_its_row_and_another_key_nowhere(core: FakeCore):
    async with running(core) as stage:
        await stage.press("semicolon")
        dialog = await stage.on_dialog("Jump")
        letter = next(key for key, target in dialog._targets.items() if target.row_id == "mailer")
        await stage.press(letter)
        await stage.on_main()
        await stage.until(lambda: here(stage) == "mailer")
        await stage.press("semicolon")
        await stage.on_dialog("Jump")
        await stage.press("escape")
        await stage.on_main()
        assert here(stage) == "mailer"


async def test_a_letter_goes_to_a_pane(core: FakeCore):
    async with running(core) as stage:
        await stage.press("semicolon")
        dialog = await stage.on_dialog("Jump")
        letter = next(key for key, target in dialog._targets.items() if not target.row_id)
        await stage.press(letter)
        await stage.on_main()
        await stage.until(lambda: stage.app.focused is not stage.jobs.rowtree)


# Freeze ---------------------------------------------------------------------------------------------------------------


async def test_a_frozen_picture_stands_still_and_catches_up(core: FakeCore):
    async with running(core) as stage:
        await stage.press("F")
        await stage.says("frozen")
        gone = process("cron:0", "fatal", pid=None)
        core.publish("state", {"boot": "b1", "seq": 8, "n": 0, "processes": [gone], "gone": []})
        proc = stage.app.world.proc("cron:0")
        await stage.until(lambda: proc is not None and proc.view.state == "fatal")
        await stage.pilot.pause()
        assert stage.text.count("FATAL") == 1
        await stage.press("F")
        await stage.until(lambda: stage.text.count("FATAL") >= 2)


# The place is kept ----------------------------------------------------------------------------------------------------


async def test_the_place_is_on_disk_two_seconds_later_and_a_second_app_is_there_again(core: FakeCore):
    async with running(core) as stage:
        await stage.press("h", "slash", *"w", "enter", "G", "space", "greater_than_sign", "I", "i", "ctrl+right")
        at, begun = here(stage), time.monotonic()
        await stage.until(lambda: place_of(core).exists() and load_place(place_of(core)).split != Place().split, 3)
        assert time.monotonic() - begun < 2
        # what is on the disk now is what a kill -9 leaves
        kept = place_of(core).read_bytes()
        rows = list(ids(stage))
    place_of(core).write_bytes(kept)
    async with running(core) as stage:
        assert here(stage) == at
        assert ids(stage) == rows
        assert stage.jobs.rows.filter == "w"
        assert stage.jobs.rows.marks == {"worker:1"}
        assert "web" in stage.jobs.rows.folded
        assert "by name" in title(stage)
        await stage.says("NAME▼", "[Info]")
        assert stage.app.place.split == Place().split + 5


async def test_the_view_is_kept(core: FakeCore):
    async with running(core) as stage:
        await stage.press("5")
    async with running(core) as stage:
        assert stage.app.main.view_name == "config"


async def test_a_start_without_a_core_does_not_forget_the_place(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
    core.stop()
    async with running(core, live=False) as stage:
        await stage.until(lambda: stage.app.link.health.phase not in (Phase.CONNECTING, Phase.LIVE))
    assert load_place(place_of(core)).cursor == "cron"


async def test_a_place_that_cannot_be_read_is_no_reason_not_to_start(core: FakeCore):
    place_of(core).parent.mkdir(parents=True)
    place_of(core).write_bytes(b"{broken")
    async with running(core) as stage:
        assert here(stage) == "web"


async def test_a_place_of_jobs_that_are_gone_is_no_reason_to_act_on_them(core: FakeCore):
    place_of(core).parent.mkdir(parents=True)
    place_of(core).write_bytes(msgspec.json.encode(Place(cursor="gone:1", marks=["gone:1", "gone"], folded=["gone"])))
    async with running(core) as stage:
        assert here(stage) == "web"
        assert stage.jobs.selection().selectors == ("web",)


# The mouse ------------------------------------------------------------------------------------------------------------


async def test_clicks_on_rows_glyphs_marks_and_the_header(core: FakeCore):
    async with running(core) as stage:
        tree = stage.jobs.rowtree
        await stage.pilot.click(tree, offset=(20, 3))
        assert here(stage) == "web:1"
        await stage.pilot.click(tree, offset=(0, 4))
        await stage.until(lambda: stage.jobs.rows.marks == {"web:2"})
        await stage.pilot.click(tree, offset=(tree.slots[0].x, 1))
        await stage.until(lambda: "web:0" not in ids(stage))
        assert here(stage) == "web"
        await stage.pilot.click(tree, offset=(tree.slots[1].x, 0))
        await stage.until(lambda: "by state" in title(stage))
        await stage.pilot.click(tree, offset=(tree.slots[1].x, 0))
        await stage.until(lambda: stage.jobs.rows.reverse)


async def test_a_double_click_shows_the_output(core: FakeCore):
    async with running(core) as stage:
        await stage.pilot.click(stage.jobs.rowtree, offset=(20, 6), times=2)
        await stage.until(lambda: stage.app.main.view_name == "logs")
        await stage.says("Logs · worker")


async def click_on(stage: Stage, words: str, line: int | None = None) -> None:
    """Click in the middle of words on the screen."""
    for y, text in enumerate(stage.text.splitlines()):
        if words in text and line in (None, y):
            await stage.pilot.click(offset=(text.index(words) + len(words) // 2, y))
            return
    raise AssertionError(f"{words} is not on the screen\n{stage.text}")


async def test_clicks_on_tabs_of_views_and_details(core: FakeCore):
    async with running(core) as stage:
        await click_on(stage, "Metrics", 1)
        await stage.until(lambda: stage.app.main.view_name == "metrics")
        await click_on(stage, "1 Jobs")
        await stage.until(lambda: stage.app.main.view_name == "jobs")
        await stage.says(" Env ")
        await click_on(stage, " Env ")
        await stage.until(lambda: stage.jobs.detail._tab == "env")


async def test_a_click_on_the_key_bar_does_what_the_key_does(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.until(lambda: "Restart" in stage.text.splitlines()[-1])
        await click_on(stage, "Restart", 35)
        await stage.asked("restart")
        assert core.last("restart")["select"] == ["cron"]
        assert stage.app.query_one(KeyBar) is not None


async def test_a_click_on_an_offer_of_the_why_card_does_it(core: FakeCore):
    async with running(core) as stage:
        await stage.at("mailer")
        await stage.says("mailer:0 is FATAL", "try again")
        await click_on(stage, "try again")
        await stage.until(lambda: {"start", "restart"} & set(core.ops()))


async def test_the_wheel_scrolls_what_is_under_it():
    many = [job(f"job{i:02}", process(f"job{i:02}:0")) for i in range(60)]
    with acore(*many) as core:
        async with running(core) as stage:
            tree = stage.jobs.rowtree
            await stage.pilot._post_mouse_events([__import__("textual.events").events.MouseScrollDown], tree, button=0)
            await stage.until(lambda: tree.first > 0)
            assert isinstance(tree, RowTree)


# Sizes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(200, 50), (80, 24), (60, 16), (40, 10), (20, 5), (8, 3)])
async def test_every_size_can_be_moved_in(core: FakeCore, size: tuple[int, int]):
    async with running(core, size=size) as stage:
        for key in ("j", "G", "2", "3", "4", "5", "1", "question_mark", "escape", "colon", "escape"):
            await stage.press(key)
        assert stage.app.main.view_name == "jobs"
        assert stage.app.screen is stage.app.main
        if size >= (40, 10):
            assert here(stage) == "db"
