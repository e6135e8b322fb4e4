"""What a tired person stumbles over: small things that are wrong only at a second look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from taskmaster_tui.widgets.bars import KeyBar
from tests.fakecore import FakeCore, event, job, process, status
from tests.tui.support import Stage, running, scripted


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


async def test_what_is_typed_takes_the_place_of_the_filter_there_was(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"cron", "enter", "slash", *"mail", "enter")
        await stage.until(lambda: stage.jobs.rows.filter == "mail")


async def test_an_arrow_key_keeps_the_filter_to_change_it(core: FakeCore):
    async with running(core) as stage:
        await stage.press("slash", *"cro", "enter", "slash", "right", *"n", "enter")
        await stage.until(lambda: stage.jobs.rows.filter == "cron")


async def test_the_details_are_of_nothing_where_nothing_matches(core: FakeCore):
    async with running(core) as stage:
        await stage.at("mailer")
        await stage.says("mailer:0 is FATAL")
        await stage.press("slash", *"nonsense", "enter")
        await stage.says("nothing selected")
        assert "mailer:0 is FATAL" not in stage.text


async def test_what_to_do_next_is_on_the_card_of_a_low_terminal_too(core: FakeCore):
    chain = [f"reason {n} that takes a line of its own" for n in range(9)]
    why = {"key": "mailer:0", "state": "fatal", "goal": "up", "chain": chain, "next": "nothing"}
    core.on("why", {"processes": [why]})
    async with running(core, (80, 24)) as stage:
        await stage.at("mailer")
        await stage.says("Reason 1", "try again now", "earlier runs")


def dimmed(stage: Stage) -> set[str]:
    """Return the actions of the key bar that cannot be done now."""
    bar = stage.app.main.query_one(KeyBar)
    return {action for _, _, _, action, enabled in bar._entries() if not enabled}


def barred(stage: Stage) -> list[str]:
    return [action for _, _, _, action, _ in stage.app.main.query_one(KeyBar)._entries()]


async def test_the_next_hit_is_offered_once_something_is_searched_for(core: FakeCore):
    async with running(core) as stage:
        await stage.press("2")
        await stage.says("merged by time")
        assert "log.next" in dimmed(stage)
        await stage.press("n")
        assert "nothing is searched for yet" in stage.status
        await stage.press("slash", *"error", "enter")
        await stage.until(lambda: "log.next" not in dimmed(stage))
        await stage.press("escape")
        await stage.until(lambda: "log.next" in dimmed(stage))


async def test_apply_is_offered_where_there_is_something_to_apply(core: FakeCore):
    async with running(core) as stage:
        await stage.press("5")
        await stage.says("The file says what is in force")
        assert dimmed(stage) >= {"config.apply", "config.leave_out", "config.rollback"}
        row = {"sign": "~", "job": "web", "effect": "restarts 4", "fields": []}
        core.on("reload", {"rows": [row], "generation": None, "changes": 1})
        await stage.press("p")
        await stage.until(lambda: "config.apply" not in dimmed(stage))
        assert "config.rollback" in dimmed(stage)


async def test_the_keys_of_the_view_stand_before_what_is_done_to_jobs(core: FakeCore):
    core.on("events", [event(n) for n in range(1, 8)])
    async with running(core) as stage:
        await stage.press("3")
        await stage.until(lambda: barred(stage)[:3] == ["events.goto", "events.log", "events.filter"])
        shown = barred(stage)
        assert shown.index("job.stop") == shown.index("job.start") + 1


async def test_a_view_that_is_not_shown_does_not_keep_the_focus(core: FakeCore):
    async with running(core) as stage:
        await stage.press("4")
        await stage.until(lambda: stage.app.focused is not None and stage.app.focused.id == "metrics-grid")
        stage.jobs.rowtree.focus()  # as by something that was begun there and ends late
        await stage.pilot.pause()
        await stage.until(lambda: stage.app.focused is not None and stage.app.focused.id == "metrics-grid")


async def test_the_grid_of_metrics_has_room_in_a_low_terminal(core: FakeCore):
    async with running(core, (60, 16)) as stage:
        await stage.press("4")
        await stage.until(lambda: stage.app.main.query("#metrics-grid"))
        await stage.says("web")
        assert stage.app.main.query_one("#metrics-grid").size.height >= 3


async def test_the_palette_offers_jobs_before_the_processes_of_a_wide_one(core: FakeCore):
    async with running(core) as stage:
        await stage.press("colon")
        dialog = await stage.on_dialog("Palette")
        await stage.press(*"restart")
        await stage.until(lambda: "restart db" in dialog.entries.ids())
        ids = list(dialog.entries.ids())
        assert ids.index("restart db") < ids.index("restart web:0")


async def test_what_joins_characters_does_not_push_the_frame(core: FakeCore):
    family = "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2714\ufe0f"
    core.on("status", status(job(family, process(f"{family}:0", "fatal", reason=family, pid=None))))
    async with running(core) as stage:
        await stage.says("is FATAL")
        assert "\u200d" not in stage.text
        assert "\ufe0f" not in stage.text
        assert {cell_len(line) for line in stage.text.splitlines()} == {120}


@pytest.mark.parametrize("number", ["9" * 25, "9" * 5000, "-3", "٣"])
async def test_a_number_of_processes_that_cannot_be_is_refused_and_the_app_lives(core: FakeCore, number: str):
    async with running(core) as stage:
        await stage.at("web")
        await stage.press("ctrl+n")
        dialog = await stage.on_dialog("Prompt")
        dialog.query_one("Input").value = number
        await stage.press("enter")
        await stage.on_main()
        await stage.settled()
        assert "not a number of processes" in stage.status
        assert not stage.acts()


async def test_turning_the_tab_that_has_the_focus_leaves_the_keys_alive(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web:0")
        await stage.press("tab")
        await stage.until(lambda: stage.app.focused is not None and stage.app.focused is not stage.jobs.rowtree)
        for _ in range(6):
            await stage.press("right_square_bracket")
            await stage.until(lambda: stage.app.focused is not None and stage.app.focused.region.area)


async def test_a_dialog_that_was_too_small_takes_what_is_typed_again(core: FakeCore):
    async with running(core) as stage:
        await stage.press("colon")
        dialog = await stage.on_dialog("Palette")
        await stage.pilot.resize_terminal(1, 1)
        await stage.pilot.resize_terminal(99, 30)
        await stage.until(lambda: dialog.focused is not None)
        await stage.press(*"logs")
        await stage.until(lambda: dialog.text == "logs")


async def test_a_warning_about_the_config_is_not_told_as_a_problem(core: FakeCore):
    warning = {"code": "W201", "severity": "warning", "message": "autoreload is ask: `taskmaster reload` applies it"}
    core.on("status", lambda request: status(job("web", process("web:0")), config_problems=[warning], pending=2))
    async with running(core) as stage:
        await stage.says("2 jobs to reload")
        assert "problem" not in stage.text.splitlines()[0]


async def test_how_long_ago_is_said_once(core: FakeCore):
    shown = {"job": job("cron", process("cron:0")), "intents": [], "by_hand": [], "paths": {}, "files": {}, "env": []}
    core.on("show", {"jobs": [shown]})
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("i")
        await stage.says("1m ago)")
