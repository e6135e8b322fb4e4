"""What goes wrong only at a second look: nothing ends the screen, and what is shown is of what is selected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.widgets import Input

from taskmaster_tui.screens.log_actions import LogActions
from taskmaster_tui.widgets.line_pager import LinePager
from tests.fakecore import FakeCore, event, job, process, status
from tests.tui.support import config_of, running, scripted


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


async def test_a_file_of_settings_that_makes_no_sense_is_left_as_it_is(core: FakeCore):
    config_of(core).parent.mkdir(parents=True)
    config_of(core).write_text('theme = "dark\n')
    async with running(core) as stage:
        stage.app.prefer(theme="light")
        await stage.until(lambda: "not kept for the next time" in stage.status)
        assert config_of(core).read_text() == 'theme = "dark\n'


async def test_a_question_why_that_nobody_answers_can_be_left(core: FakeCore):
    core.on("why", lambda request: Ellipsis)
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("d")
        await stage.on_dialog("Why")
        await stage.press("escape")
        await stage.on_main()


async def test_an_expression_that_paints_no_hits_can_be_gone_through_too(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("tab")
        await stage.until(lambda: isinstance(stage.app.focused, LinePager))
        await stage.press("slash")
        await stage.until(lambda: isinstance(stage.app.focused, Input))
        await stage.type("error.*user=1+")
        await stage.press("enter")
        await stage.until(lambda: stage.app.query_one(LogActions).searched)


async def test_what_a_scaled_job_writes_is_followed_though_it_came_later(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.until(lambda: "log.cron:0" in core.topics)
        more = job("cron", process("cron:0"), process("cron:1"))
        core.on("status", status(more, seq=8))
        core.publish("event.scaled", event(8, "scaled", "cron"))
        await stage.until(lambda: "log.cron:1" in core.topics)


async def test_the_facts_of_another_row_are_not_those_of_the_row_before(core: FakeCore):
    core.on("show", {"jobs": [{"job": job("cron", process("cron:0", reason="only of cron"))}]})
    async with running(core) as stage:
        await stage.at("cron:0")
        await stage.press("i")
        await stage.says("only of cron")
        core.stop()
        await stage.until(lambda: not stage.app.context.live)
        await stage.at("db")
        await stage.says("the core cannot be asked now")
        core.restart()
        await stage.until(lambda: core.last("show")["select"] == ["db"], 10)


async def test_a_plan_that_could_not_be_made_is_made_once_the_core_is_back(core: FakeCore):
    async with running(core) as stage:
        core.stop()
        await stage.until(lambda: not stage.app.context.live)
        await stage.press("5")
        await stage.until(lambda: stage.app.view is not None and stage.app.view.id == "config")
        await stage.says("does not answer")
        core.restart()
        await stage.until(lambda: "reload" in core.ops(), 10)
        await stage.until(lambda: "does not answer" not in stage.text)


@pytest.mark.parametrize("tab", ["L", "i"])
async def test_a_tab_that_is_opened_first_while_no_core_answers_says_so_or_nothing(core: FakeCore, tab: str):
    async with running(core) as stage:
        await stage.at("cron:0")
        core.stop()
        await stage.until(lambda: not stage.app.context.live)
        await stage.press(tab)
        await stage.at("db")
        assert stage.app.is_running
