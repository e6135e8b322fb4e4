"""What opens over the screen, what is copied and saved, and the reload plan."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomli
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import Input

from taskmaster_core.errors import ConfigInvalid, Refused
from taskmaster_tui import clipboard, outside
from taskmaster_tui.actions import BY_ID, SCOPES, VIEWS, available
from taskmaster_tui.keys import keys_of, shown
from taskmaster_tui.screens.panes import LogPane
from tests.fakecore import FakeCore, event
from tests.tui.support import Stage, acore, config_of, running, scripted, writes


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


class Ran(list[list[str]]):
    """The commands of our own that were run, and what they answer."""

    status, out, err = 0, "", ""

    async def quietly(self, command: Sequence[str], text: str | None = None) -> tuple[int, str, str]:
        words = list(command)
        self.append(words[words.index("--socket") + 2 :])
        return self.status, self.out, self.err


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    found = Ran()
    monkeypatch.setattr(outside, "quietly", found.quietly)
    return found


def kept(core: FakeCore) -> dict[str, Any]:
    return tomli.loads(config_of(core).read_text()) if config_of(core).exists() else {}


def listed(stage: Stage) -> list[str]:
    return list(stage.app.screen.entries.ids())  # type: ignore[attr-defined]


# Palette --------------------------------------------------------------------------------------------------------------


async def test_a_verb_and_a_part_of_a_name_do_it(core: FakeCore):
    async with running(core) as stage:
        await stage.press("colon")
        await stage.on_dialog("Palette")
        await stage.type("restart wor")
        assert listed(stage)[0] == "restart worker"
        await stage.says("taskmaster restart worker")
        await stage.press("enter")
        await stage.on_dialog("Confirm")
        await stage.press("y")
        await stage.asked("restart")
        assert core.last("restart")["select"] == ["worker"]


async def test_the_palette_goes_to_jobs_changes_the_theme_and_does_what_keys_do(core: FakeCore):
    async with running(core) as stage:
        await stage.press("ctrl+p")
        await stage.on_dialog("Palette")
        await stage.type("goto mail")
        await stage.press("enter")
        await stage.until(lambda: stage.jobs.rowtree.cursor_id == "mailer")
        await stage.press("colon")
        await stage.on_dialog("Palette")
        await stage.type("theme light")
        await stage.press("enter")
        await stage.until(lambda: stage.app.theme == "light")
        assert kept(core)["theme"] == "light"
        await stage.press("colon")
        await stage.on_dialog("Palette")
        await stage.type("tree/flat")
        await stage.press("enter")
        await stage.until(lambda: stage.jobs.rows.flat)


async def test_the_palette_lists_all_that_can_be_done(core: FakeCore):
    async with running(core) as stage:
        for view in VIEWS:
            await stage.app.main.go(view)
            await stage.pilot.pause()
            offered = {
                action.id for scope in (*VIEWS[view], "global") for action in SCOPES[scope]
                if available(action, stage.app.context) and action.group != "Move" and action.id != "app.palette"
            }  # fmt: skip
            await stage.press("colon")
            await stage.on_dialog("Palette")
            assert offered <= set(listed(stage))
            await stage.press("escape")
            await stage.on_main()


async def test_what_matches_nothing_does_nothing(core: FakeCore):
    async with running(core) as stage:
        await stage.press("colon")
        await stage.on_dialog("Palette")
        await stage.type("zzzz")
        await stage.says("nothing matches")
        await stage.press("enter", "escape")
        await stage.on_main()
        assert stage.acts() == []


async def test_a_read_only_palette_offers_nothing_that_acts(core: FakeCore):
    async with running(core, read_only=True) as stage:
        await stage.press("colon")
        await stage.on_dialog("Palette")
        assert "job.restart" not in listed(stage)
        await stage.type("web")
        assert {each.partition(" ")[0] for each in listed(stage)} <= {"goto", "logs", "why", *BY_ID}


# Keys -----------------------------------------------------------------------------------------------------------------


async def test_the_keys_sheet_lists_every_action_of_every_view_with_its_keys(core: FakeCore):
    async with running(core) as stage:
        for view in VIEWS:
            await stage.app.main.go(view)
            await stage.pilot.pause()
            await stage.press("question_mark")
            sheet = await stage.on_dialog("KeySheet")
            shown_here = [
                action for scope in (*VIEWS[view], "global") for action in SCOPES[scope]
                if available(action, stage.app.context) is not False
            ]  # fmt: skip
            assert {action.id for action in shown_here} <= set(listed(stage))
            for action in shown_here:
                cell = sheet.entries.cells(action.id, ())[0][0]
                assert cell == " ".join(shown(key) for key in keys_of(action.id, {}))
            await stage.press("escape")
            await stage.on_main()


async def test_the_keys_sheet_is_searched_and_runs_what_is_highlighted(core: FakeCore):
    async with running(core) as stage:
        await stage.press("question_mark")
        await stage.on_dialog("KeySheet")
        await stage.type("reload")
        assert listed(stage)[0] == "config.reload"
        await stage.press("enter")
        await stage.until(lambda: stage.app.main.view_name == "config")


async def test_the_keys_sheet_of_jobs_runs_what_is_about_the_output(core: FakeCore):
    writes(core, ("web:0", "one"))
    async with running(core) as stage:
        await stage.press("i", "question_mark")
        await stage.on_dialog("KeySheet")
        await stage.type("wrap")
        assert listed(stage)[0] == "log.wrap"
        await stage.press("enter")
        await stage.until(lambda: bool(stage.jobs.query(LogPane)))
        await stage.until(lambda: stage.jobs.query_one(LogPane).log_view.pager.wrap)


async def test_f2_gives_another_key_that_is_kept_and_delete_gives_its_own_back(core: FakeCore):
    async with running(core) as stage:
        await stage.press("question_mark")
        await stage.on_dialog("KeySheet")
        await stage.type("restart")
        await stage.press("f2")
        await stage.on_dialog("NewKey")
        await stage.press("ctrl+y")
        await stage.on_dialog("KeySheet")
        assert kept(core)["keys"] == {"job.restart": "ctrl+y"}
        await stage.says("^y")
        await stage.press("escape")
        await stage.on_main()
        await stage.at("cron")
        await stage.press("r")
        assert stage.acts() == []
        await stage.press("ctrl+y")
        await stage.asked("restart")
        await stage.until(lambda: "^y Restart" in stage.text.splitlines()[-1])
    async with running(core) as stage:
        assert stage.app.key_of("job.restart") == "^y"
        assert stage.app.rebind("job.restart", "") == ""
        assert kept(core)["keys"] == {}
        assert stage.app.key_of("job.restart") == "r"


async def test_a_key_that_is_taken_is_refused(core: FakeCore):
    async with running(core) as stage:
        await stage.press("question_mark")
        await stage.on_dialog("KeySheet")
        await stage.type("restart")
        await stage.press("f2")
        await stage.on_dialog("NewKey")
        await stage.press("x")
        await stage.on_dialog("KeySheet")
        assert "`x` means job.stop and job.restart in jobs" in stage.status
        assert "`x` means job.stop and job.restart" in stage.text
        assert kept(core).get("keys", {}) == {}
        assert stage.app.key_of("job.restart") == "r"


async def test_own_keys_that_clash_are_told_at_the_start_and_do_not_prevent_it(core: FakeCore):
    config_of(core).parent.mkdir(parents=True)
    config_of(core).write_text('[keys]\n"job.stop" = "s"\n')
    async with running(core) as stage:
        await stage.says("`s` means job.start and job.stop")


# Settings -------------------------------------------------------------------------------------------------------------


async def test_settings_hold_at_once_and_are_kept_with_the_comments(core: FakeCore):
    config_of(core).parent.mkdir(parents=True)
    config_of(core).write_text('# mine\ntheme = "dark"  # at night\n')
    async with running(core) as stage:
        await stage.press("comma")
        await stage.on_dialog("Settings")
        await stage.press("enter")
        assert stage.app.theme != "dark"
        await stage.type("keys as")
        assert listed(stage)[0] == "preset"
        await stage.press("enter")
        assert stage.app.preferences.preset == "k9s"
        await stage.press("escape")
        await stage.on_main()
        assert kept(core) == {"theme": stage.app.theme, "preset": "k9s"}
        assert "# mine" in config_of(core).read_text()
        await stage.at("cron")
        await stage.press("S")
        await stage.asked("start")


async def test_the_settings_of_output_are_used(core: FakeCore):
    config_of(core).parent.mkdir(parents=True)
    config_of(core).write_text('wrap = true\ntime = "relative"\n')
    async with running(core) as stage:
        await stage.says("wrap on · time relative")
        await stage.press("2")
        await stage.says("wrap on · time relative")


async def test_settings_that_are_wrong_cost_a_sentence(core: FakeCore):
    config_of(core).parent.mkdir(parents=True)
    config_of(core).write_text("theme = 3\n")
    async with running(core) as stage:
        await stage.until(lambda: "the defaults are used" in stage.status)


# Connect and leave ----------------------------------------------------------------------------------------------------


async def test_connect_lists_the_instances_and_begins_anew_with_the_chosen_one(core: FakeCore):
    other = FakeCore(core.rundir.parent / "other").start()
    try:
        async with running(core) as stage:
            await stage.press("c")
            await stage.on_dialog("Connect")
            await stage.says("default", "other", other.commands)
            await stage.type("oth")
            await stage.press("enter")
            await stage.until(lambda: not stage.app.is_running)
            assert stage.app.again == ("--socket", other.commands)
    finally:
        other.close()


async def test_connect_takes_the_path_of_a_socket(core: FakeCore):
    async with running(core) as stage:
        await stage.press("c")
        await stage.on_dialog("Connect")
        await stage.type("/tmp/x/cmd.sock")
        await stage.press("enter")
        await stage.until(lambda: not stage.app.is_running)
        assert stage.app.again == ("--socket", "/tmp/x/cmd.sock")


async def test_the_leave_menu_leaves_and_is_left(core: FakeCore):
    async with running(core) as stage:
        await stage.press("Q")
        await stage.on_dialog("Leave")
        await stage.says("the jobs keep running")
        await stage.press("escape")
        await stage.on_main()
        await stage.press("Q")
        await stage.on_dialog("Leave")
        await stage.press("enter")
        await stage.until(lambda: not stage.app.is_running)
        assert stage.acts() == []


async def test_a_read_only_leave_menu_only_leaves(core: FakeCore):
    async with running(core, read_only=True) as stage:
        await stage.press("Q")
        await stage.on_dialog("Leave")
        assert listed(stage) == ["leave"]


# Prompt, details, report ----------------------------------------------------------------------------------------------


async def test_lines_are_saved_to_the_file_that_was_asked_for(core: FakeCore):
    writes(core, ("cron:0", "one"), ("cron:0", "two"))
    async with running(core) as stage:
        await stage.at("cron")
        await stage.says("two")
        await stage.press("tab", "ctrl+s")
        prompt = await stage.on_dialog("Prompt")
        assert prompt.query_one(Input).value.startswith("cron-")
        prompt.query_one(Input).value = str(core.home / "saved.log")
        await stage.press("enter")
        await stage.until(lambda: stage.status == f"2 lines saved to {core.home / 'saved.log'}")
        assert "two" in (core.home / "saved.log").read_text()


async def test_a_file_that_cannot_be_written_is_told(core: FakeCore):
    async with running(core) as stage:
        await stage.press("tab", "ctrl+s")
        prompt = await stage.on_dialog("Prompt")
        prompt.query_one(Input).value = str(core.home / "no" / "such" / "place")
        await stage.press("enter")
        await stage.until(lambda: "No such file or directory" in stage.status)


async def test_a_prompt_that_is_left_does_nothing(core: FakeCore):
    async with running(core) as stage:
        await stage.press("ctrl+n")
        await stage.on_dialog("Prompt")
        await stage.press("escape")
        await stage.settled()
        assert stage.acts() == []


async def test_an_event_is_shown_whole_and_copied(core: FakeCore, written: list[str]):
    core.on("events", [event(5, "exited", "cron:0", code=3), event(6, "reloaded", "", generation=2)])
    async with running(core) as stage:
        await stage.press("3")
        await stage.says("cron:0")
        await stage.press("i")
        await stage.on_dialog("TextDialog")
        await stage.says("Event 6", '"generation": 2')
        await stage.press("y")
        await stage.until(lambda: '"reloaded"' in copied(written))
        await stage.press("escape")
        await stage.on_main()


async def test_a_report_is_two_files_without_values_of_the_environment(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    async with running(core) as stage:
        stage.app.environ = {"TERM": "xterm", "SECRET": "hunter2"}
        monkeypatch.setattr("tempfile.tempdir", str(core.home))
        await stage.press("f12")
        found = re.search(r"saved (\S+)\.svg", stage.status)
        assert found is not None
        facts = (core.home / (found[1].rpartition("/")[2] + ".txt")).read_text()
        assert "TERM=xterm" in facts
        assert "hunter2" not in facts
        assert "<svg" in (core.home / (found[1].rpartition("/")[2] + ".svg")).read_text()


async def test_picking_jobs_shows_their_output_full_screen(core: FakeCore):
    async with running(core) as stage:
        await stage.press("tab", "p")
        await stage.on_dialog("JobPicker")
        await stage.type("cron")
        await stage.press("tab")
        await stage.press("backspace", "backspace", "backspace", "backspace")
        await stage.type("mailer")
        await stage.press("tab", "enter")
        await stage.until(lambda: stage.app.main.view_name == "logs")
        await stage.says("Logs · ", "cron", "mailer")


async def test_earlier_runs_are_offered_in_the_output_of_jobs_too(core: FakeCore):
    core.on("events", [event(5, "started", "cron:0"), event(6, "exited", "cron:0", code=3)])
    writes(core, ("cron:0", "one"), ("cron:0", "two"))
    async with running(core) as stage:
        await stage.at("cron")
        await stage.says("two")
        view = stage.jobs.query_one(LogPane).log_view
        assert view.following
        await stage.press("tab", "L")
        await stage.on_dialog("RunPicker")
        await stage.until(lambda: len(listed(stage)) == 2)
        await stage.press("enter")
        await stage.on_main()
        await stage.until(lambda: not view.following)


# Copy -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, data: found.append(data))
    return found


def copied(written: list[str]) -> str:
    found = re.findall(r"\x1b\]52;c;([^\x07]*)\x07", "".join(written))
    return base64.b64decode(found[-1]).decode() if found else ""


async def test_y_copies_the_row_and_shift_y_the_command(core: FakeCore, written: list[str]):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("y")
        await stage.until(lambda: "cron" in copied(written))
        assert "1/1 up" in copied(written)
        assert stage.status == "copied 1 line by the terminal (OSC 52)"
        await stage.press("Y")
        await stage.until(lambda: copied(written) == f"taskmaster --socket {core.commands} restart cron")
        await stage.press("space", "g", "space", "Y")
        await stage.until(lambda: copied(written) == f"taskmaster --socket {core.commands} restart web cron")


async def test_the_command_of_an_instance_names_it(core: FakeCore, written: list[str]):
    async with running(core) as stage:
        stage.app.options = stage.app.options._replace(socket=None, instance="my prod")
        await stage.at("cron")
        await stage.press("Y")
        await stage.until(lambda: copied(written) == "taskmaster --instance 'my prod' restart cron")
        await stage.press("tab", "Y")
        await stage.until(lambda: copied(written) == "taskmaster --instance 'my prod' logs cron -f")
        stage.app.options = stage.app.options._replace(instance="default")
        await stage.press("Y")
        await stage.until(lambda: copied(written) == "taskmaster logs cron -f")


async def test_a_line_of_output_is_copied(core: FakeCore, written: list[str]):
    writes(core, ("cron:0", "one"), ("cron:0", "two"))
    async with running(core) as stage:
        await stage.at("cron")
        await stage.says("two")
        await stage.press("tab", "y")
        await stage.until(lambda: copied(written) == "two")
        await stage.press("V", "k", "y")
        await stage.until(lambda: copied(written) == "one\ntwo")


async def test_copying_within_tmux_goes_through_it_too(core: FakeCore, written: list[str]):
    async with running(core) as stage:
        stage.app.environ = {"TMUX": "/tmp/tmux-0/default,1,0"}
        stage.app.copy("text")
        told = "".join(written)
        plain = base64.b64encode(b"text").decode()
        assert f"\x1bPtmux;\x1b\x1b]52;c;{plain}\x07\x1b\\" in told
        assert "through tmux" in stage.status


async def test_what_is_too_long_for_a_terminal_goes_to_a_file(
    core: FakeCore, written: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(core.home))
    text = "x" * (clipboard.LONGEST + 1)
    async with running(core) as stage:
        stage.app.copy(text)
        assert copied(written) == ""
        path = stage.status.rpartition("saved to ")[2]
        assert path.startswith(str(core.home))
        assert open(path).read() == text  # noqa: ASYNC230, SIM115


# The reload plan ------------------------------------------------------------------------------------------------------

PLAN = {
    "rows": [
        {"sign": "+", "job": "thumbs", "effect": "starts 2"},
        {"sign": "~", "job": "web", "effect": "restarts 4",
         "fields": [{"name": "env.LEVEL", "old": "info", "new": "debug", "cost": "restart"}]},
        {"sign": "-", "job": "cron", "effect": "stops 1"},
    ],
    "generation": None, "changes": 3,
}  # fmt: skip


def planning(request: dict[str, Any]) -> dict[str, Any]:
    return PLAN if request["args"].get("plan") else PLAN | {"generation": 18}


async def test_the_plan_is_asked_for_and_applied_without_what_was_left_out(core: FakeCore):
    core.on("reload", planning)
    async with running(core) as stage:
        await stage.press("ctrl+r")
        await stage.says("thumbs", "restarts 4", "Nothing has been applied yet")
        assert [each["args"] for each in stage.acts()] == [{"plan": True}] * len(stage.acts())
        await stage.at_row("web")
        await stage.says("info", "debug")
        await stage.press("space", "a")
        await stage.until(lambda: any("except" in each["args"] for each in stage.acts()))
        assert [each["args"] for each in stage.acts() if not each["args"].get("plan")] == [{"except": ["web"]}]
        await stage.until(lambda: stage.status.startswith("generation 18 is in force"))


async def test_what_was_left_out_is_taken_in_again(core: FakeCore):
    core.on("reload", planning)
    async with running(core) as stage:
        await stage.press("ctrl+r")
        await stage.says("thumbs")
        await stage.at_row("cron")
        await stage.press("space", "space", "enter")
        await stage.until(lambda: any("except" in each["args"] for each in stage.acts()))
        assert [each["args"] for each in stage.acts() if not each["args"].get("plan")] == [{"except": []}]


async def test_a_plan_that_ends_something_protected_asks(core: FakeCore):
    def guarded(request: dict[str, Any]) -> dict[str, Any]:
        if request["args"].get("plan") or request["args"].get("confirmed"):
            return planning(request)
        error = Refused("db is protected: a reload that ends it has to be confirmed", "-y does it all the same")
        error.detail = {"protected": ["db"]}  # type: ignore[attr-defined]
        raise error

    core.on("reload", guarded)
    async with running(core) as stage:
        await stage.press("ctrl+r")
        await stage.says("thumbs")
        await stage.press("a")
        await stage.on_dialog("Confirm")
        await stage.says("touches db, which is protected")
        await stage.press("y")
        await stage.until(lambda: any(each["args"].get("confirmed") for each in stage.acts()))


async def test_a_plan_without_changes_applies_nothing(core: FakeCore):
    async with running(core) as stage:
        await stage.press("ctrl+r")
        await stage.says("The file says what is in force")
        before = len(stage.acts())
        await stage.press("a")
        await stage.settled()
        assert stage.status.startswith("nothing to apply")
        assert len(stage.acts()) == before


async def test_an_invalid_file_shows_its_problems_instead_of_a_plan(core: FakeCore):
    def invalid(request: dict[str, Any]) -> None:
        error = ConfigInvalid("the config is invalid: 1 problem", "")
        error.detail = [  # type: ignore[attr-defined]
            {"message": "unknown key `comand`", "file": "/etc/t.toml", "line": 3, "help": "did you mean cmd?"}
        ]
        raise error

    core.on("reload", invalid)
    async with running(core) as stage:
        await stage.press("ctrl+r")
        await stage.says("unknown key `comand`", "[Problems]")
        await stage.press("space", "a")
        await stage.settled()
        assert not [each for each in stage.acts() if not each["args"].get("plan")]


async def test_on_save_takes_the_next_policy_by_our_own_command(core: FakeCore, ran: Ran):
    async with running(core) as stage:
        await stage.press("5")
        await stage.says("on save: apply")
        await stage.press("o")
        await stage.until(lambda: stage.status == "on save: ask")
        assert ran == [["config", "set", "autoreload=ask"]]


async def test_rolling_back_asks_and_is_done_by_our_own_command(core: FakeCore, ran: Ran):
    made = [{"number": number, "at": 1764000000.0 + number, "cause": "start", "jobs": 6} for number in (1, 2, 3)]
    core.on("generations", made)
    ran.out = "generation 4 is in force"
    async with running(core) as stage:
        await stage.press("5", "right_square_bracket", "right_square_bracket")
        await stage.says("Generations 3")
        await stage.at_row("2")
        await stage.press("B")
        await stage.on_dialog("Confirm")
        await stage.says("Roll back to generation 2")
        assert ran == []
        await stage.press("escape")
        await stage.settled()
        assert ran == []
        await stage.press("B")
        await stage.on_dialog("Confirm")
        await stage.press("y")
        await stage.until(lambda: bool(ran))
        assert ran == [["rollback", "2", "-y"]]


async def test_the_difference_between_generations_is_shown(core: FakeCore):
    made = [{"number": number, "at": 1764000000.0 + number, "cause": "start", "jobs": 6} for number in (1, 2)]
    texts = {1: "a = 1\n", 2: "a = 2\n"}
    core.on("generations", made)
    core.on("generation", lambda request: {"number": 1, "texts": {"/t.toml": texts[request["args"]["number"]]}})
    async with running(core) as stage:
        await stage.press("5", "right_square_bracket", "right_square_bracket")
        await stage.says("Generations 2")
        await stage.at_row("2")
        await stage.press("d")
        await stage.on_dialog("DiffDialog")
        await stage.says("a = 1", "a = 2")
        await stage.press("escape")
        await stage.on_main()


async def test_parts_of_the_config_turn(tmp_path: Path):
    path = tmp_path / "t.toml"
    path.write_text("[[task]]\nname = 'web'\n")
    with acore(config=[str(path)]) as made:
        async with running(made) as stage:
            await stage.press("5")
            for part in ("Problems", "Generations", "File", "Plan"):
                await stage.press("right_square_bracket")
                await stage.says(f"[{part}]")
                if part == "File":
                    await stage.says("name = 'web'")
            await stage.press("left_square_bracket")
            await stage.says("[File]")


# Editing --------------------------------------------------------------------------------------------------------------


async def test_editing_opens_our_own_command_at_the_job(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    ran: list[list[str]] = []

    async def in_terminal(app: object, command: Sequence[str]) -> int:
        await asyncio.sleep(0)
        ran.append(list(command)[-2:])
        return 0

    monkeypatch.setattr(outside, "in_terminal", in_terminal)
    async with running(core) as stage:
        await stage.at("web:2")
        await stage.press("e")
        await stage.settled()
        assert ran.pop() == ["edit", "web"]
        assert stage.status == "saved and applied"
        await stage.press("E")
        await stage.settled()
        assert ran.pop()[-1] == "edit"
