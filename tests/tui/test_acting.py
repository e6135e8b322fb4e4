"""What is done to jobs: the request that the core got first, the picture second."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from taskmaster_core.errors import Refused, UsageError
from taskmaster_tui import outside
from taskmaster_tui.link import Phase
from taskmaster_tui.screens import signals
from taskmaster_tui.screens.confirm import Confirm
from tests.fakecore import FakeCore, done, event, job, process
from tests.tui.support import Stage, acore, jobs, running, scripted


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


def sent(stage: Stage) -> list[tuple[str, list[str], dict[str, Any]]]:
    return [(each["op"], each["select"], each["args"]) for each in stage.acts()]


# One process, a job, marks --------------------------------------------------------------------------------------------


async def test_a_key_does_its_verb_to_the_process_under_the_cursor_without_a_question(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web:1")
        verbs = {"s": "start", "x": "stop", "r": "restart", "X": "kill", "ctrl+e": "reset", "p": "hold", "P": "release"}
        for key, verb in verbs.items():
            await stage.press(key)
            await stage.asked(verb)
            await stage.settled()
        assert sent(stage) == [(verb, ["web:1"], {}) for verb in verbs.values()]
        assert "web:1 released" in stage.status


async def test_a_job_of_one_process_is_acted_on_as_a_job_without_a_question(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("r")
        await stage.asked("restart")
        assert sent(stage) == [("restart", ["cron"], {})]


async def test_a_job_of_many_asks_with_its_effects_and_is_sent_as_confirmed(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web")
        await stage.press("r")
        await stage.on_dialog("Confirm")
        assert "Restart 4 processes of web?" in stage.text
        assert "web: restarts 4" in stage.text
        assert sent(stage) == []
        await stage.press("y")
        await stage.asked("restart")
        assert sent(stage) == [("restart", ["web"], {"confirmed": True})]


@pytest.mark.parametrize("key", ["escape", "n", "enter"])
async def test_no_is_the_default_and_sends_nothing(core: FakeCore, key: str):
    async with running(core) as stage:
        await stage.at("web")
        await stage.press("x")
        await stage.on_dialog("Confirm")
        await stage.press(key)
        await stage.settled()
        assert sent(stage) == []
        assert stage.status == "nothing was done"
        assert stage.app.screen is stage.app.main


async def test_marks_are_acted_on_instead_of_the_cursor(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web:1")
        await stage.press("space")
        await stage.at("cron")
        await stage.press("space")
        await stage.at("shell")
        await stage.press("x")
        await stage.on_dialog("Confirm")
        assert "web: stops 1 (:1)" in stage.text
        assert "cron: stops 1" in stage.text
        await stage.press("y")
        await stage.asked("stop")
        assert sent(stage) == [("stop", ["web:1", "cron"], {"confirmed": True})]


async def test_marks_that_a_filter_hides_are_not_acted_on(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web:1")
        await stage.press("space")
        await stage.at("cron")
        await stage.press("slash", *"cron", "enter", "r")
        await stage.asked("restart")
        assert sent(stage) == [("restart", ["cron"], {})]


async def test_a_protected_job_asks_for_one_process_too(core: FakeCore):
    async with running(core) as stage:
        await stage.at("db")
        await stage.press("x")
        await stage.on_dialog("Confirm")
        assert "(protected)" in stage.text
        await stage.press("left", "enter")
        await stage.settled()
        assert sent(stage) == []
        await stage.press("x")
        await stage.on_dialog("Confirm")
        await stage.press("right", "enter")
        await stage.asked("stop")
        assert sent(stage) == [("stop", ["db"], {"confirmed": True})]


async def test_stopping_all_wants_the_name_typed(core: FakeCore):
    async with running(core) as stage:
        await stage.press("asterisk", "x")
        await stage.on_dialog("Confirm")
        assert "Type default to do it" in stage.text
        await stage.press("y", "enter")
        assert isinstance(stage.app.screen, Confirm)
        await stage.press("backspace", *"defaul", "enter")
        assert isinstance(stage.app.screen, Confirm)
        await stage.press("t", "enter")
        await stage.asked("stop")
        (verb, select, args) = sent(stage)[0]
        assert (verb, args) == ("stop", {"confirmed": True})
        assert set(select) >= {"web", "cron", "db"}


async def test_a_double_click_on_yes_sends_once(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web")
        await stage.press("r")
        await stage.on_dialog("Confirm")
        await stage.pilot.click("#yes", times=2)
        await stage.asked("restart")
        await stage.settled()
        assert len(sent(stage)) == 1


# Signal, scale, hold --------------------------------------------------------------------------------------------------


async def test_a_signal_is_chosen_from_a_list_with_the_last_one_first(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signals, "_last", [])
    async with running(core) as stage:
        await stage.at("web:0")
        await stage.press("K")
        await stage.on_dialog("SignalPicker")
        assert "Send a signal to web:0" in stage.text
        await stage.press(*"usr1", "enter")
        await stage.asked("signal")
        await stage.settled()
        await stage.press("K")
        dialog = await stage.on_dialog("SignalPicker")
        assert dialog.rowtree.cursor_id == "USR1"
        await stage.press("enter")
        await stage.asked("signal", 2)
        assert sent(stage) == [("signal", ["web:0"], {"signal": "USR1"})] * 2


async def test_no_signal_is_sent_when_the_list_is_left(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web:0")
        await stage.press("K")
        await stage.on_dialog("SignalPicker")
        await stage.press("escape")
        await stage.settled()
        assert sent(stage) == []


async def test_presses_of_plus_and_minus_are_one_request(core: FakeCore):
    async with running(core) as stage:
        await stage.at("web")
        await stage.press("plus", "plus", "minus")
        assert stage.status == "web 4 → 5"
        assert sent(stage) == []
        await stage.asked("scale")
        assert sent(stage) == [("scale", ["web"], {"n": 5})]


async def test_plus_and_minus_that_cancel_out_send_nothing(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("taskmaster_tui.screens.acting._BURST", 0.3)
    async with running(core) as stage:
        await stage.at("web:2")
        await stage.press("equals_sign", "minus")
        await stage.until(lambda: stage.jobs._scaling is None)
        await stage.settled()
        assert sent(stage) == []


async def test_a_number_of_processes_is_asked_for(core: FakeCore):
    async with running(core) as stage:
        await stage.at("worker")
        await stage.press("ctrl+n")
        await stage.on_dialog("Prompt")
        assert "How many processes of worker?" in stage.text
        await stage.press("backspace", "5", "enter")
        await stage.on_dialog("Confirm")
        assert "worker: starts 3, 2 → 5" in stage.text
        await stage.press("y")
        await stage.asked("scale")
        assert sent(stage) == [("scale", ["worker"], {"n": 5, "confirmed": True})]


async def test_hold_releases_what_is_held():
    held = job("cron", process("cron:0", held=True))
    with acore(held, job("mailer", process("mailer:0"))) as core:
        async with running(core) as stage:
            await stage.at("cron")
            await stage.press("p")
            await stage.asked("release")
            await stage.settled()
            await stage.at("mailer")
            await stage.press("p")
            await stage.asked("hold")
            assert sent(stage) == [("release", ["cron"], {}), ("hold", ["mailer"], {})]


# Undo -----------------------------------------------------------------------------------------------------------------

PLANNED = {"text": "would start web again, which was stopped 3 s ago", "op": "start", "select": ["web"], "args": {}}


async def test_undo_tells_what_it_would_do_and_then_does_it(core: FakeCore):
    core.on(
        "undo",
        lambda request: (
            PLANNED if request["args"].get("plan") else done(("web:0", "running")) | {"text": "started web"}
        ),
    )
    async with running(core) as stage:
        await stage.press("u")
        await stage.on_dialog("Confirm")
        assert str(PLANNED["text"]) in stage.text
        assert sent(stage) == [("undo", [], {"plan": True})]
        await stage.press("y")
        await stage.asked("undo", 3)
        await stage.settled()
        assert sent(stage)[1:] == [("undo", [], {"plan": True}), ("undo", [], {"confirmed": True})]
        assert stage.status == "undone: started web"


async def test_undo_takes_nothing_back_that_was_not_agreed_to(core: FakeCore):
    plans = iter([PLANNED, PLANNED | {"select": ["db:0"]}])
    core.on("undo", lambda request: next(plans))
    async with running(core) as stage:
        await stage.press("u")
        await stage.on_dialog("Confirm")
        await stage.press("u", "y")
        await stage.until(lambda: "somebody has done something else" in stage.status)
        assert [args for _, _, args in sent(stage)] == [{"plan": True}, {"plan": True}]


async def test_the_palette_does_nothing_to_what_has_taken_the_place_of_what_it_was_opened_for(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("colon")
        await stage.on_dialog("Palette")
        await stage.type("kill")
        stage.jobs.rowtree.move_to("web")  # the list lives on behind it: what was selected may be gone
        await stage.press("enter")
        await stage.until(lambda: "nothing was done: web is selected now" in stage.status)
        assert sent(stage) == []


async def test_undo_that_is_not_agreed_to_does_nothing(core: FakeCore):
    core.on("undo", PLANNED)
    async with running(core) as stage:
        await stage.press("u")
        await stage.on_dialog("Confirm")
        await stage.press("n")
        await stage.settled()
        assert sent(stage) == [("undo", [], {"plan": True})]
        assert stage.status == "nothing was done"


async def test_what_cannot_be_undone_says_why(core: FakeCore):
    def refuse(request: dict[str, Any]) -> None:
        raise Refused("there is nothing to undo", "what operators do is remembered from now on")

    core.on("undo", refuse)
    async with running(core) as stage:
        await stage.press("u")
        await stage.until(lambda: stage.status.startswith("there is nothing to undo"))
        assert stage.app.screen is stage.app.main


async def test_undo_of_a_reload_asks_and_rolls_back(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    ran: list[Sequence[str]] = []

    async def quietly(command: Sequence[str], text: str | None = None) -> tuple[int, str, str]:
        ran.append(command)
        return 0, "generation 4 is in force", ""

    monkeypatch.setattr(outside, "quietly", quietly)
    core.on(
        "undo", {"text": "would roll back to generation 3", "op": "rollback", "select": [], "args": {"generation": 3}}
    )
    async with running(core) as stage:
        await stage.press("u")
        await stage.on_dialog("Confirm")
        assert "would roll back to generation 3" in stage.text
        assert ran == []
        await stage.press("y")
        await stage.settled()
        assert list(ran[0][-2:]) == ["undo", "-y"]
        assert stage.status == "generation 4 is in force"


# Why ------------------------------------------------------------------------------------------------------------------


async def test_why_shows_the_chain_of_reasons(core: FakeCore):
    chain = ["mailer:0 is FATAL since 12:04:12", "exit code 78", "it died 5 times"]
    core.on(
        "why", {"processes": [{"key": "mailer:0", "state": "fatal", "goal": "up", "chain": chain, "next": "nothing"}]}
    )
    async with running(core) as stage:
        await stage.at("mailer")
        await stage.press("d")
        await stage.on_dialog("Why")
        await stage.says("because exit code 78", "it died 5 times", "next: nothing")
        assert ["mailer"] in [each["select"] for each in core.requests if each["op"] == "why"]
        await stage.press("escape")
        await stage.on_main()


# Feedback -------------------------------------------------------------------------------------------------------------


async def test_a_row_shows_what_is_on_its_way_until_the_core_answers(core: FakeCore):
    gate = threading.Event()

    def slowly(request: dict[str, Any]) -> Any:
        gate.wait(5)
        return done(("cron:0", "running"))

    core.on("restart", slowly)
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("r")
        try:
            await stage.says("◐ cron", "restart…")
        finally:
            gate.set()
        await stage.until(lambda: "restart…" not in stage.text)
        await stage.until(lambda: "cron restarted" in stage.status)


async def test_a_refusal_is_shown_with_its_reason_until_the_next_key(core: FakeCore):
    def refuse(request: dict[str, Any]) -> None:
        raise UsageError("not while it is being replaced", "wait for it")

    core.on("restart", refuse)
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("r")
        await stage.until(lambda: stage.status == "restart: not while it is being replaced · wait for it")
        await stage.says("! refused")
        await stage.press("w")
        await stage.until(lambda: "! refused" not in stage.text)


async def test_a_process_that_did_not_do_it_is_told_with_the_note(core: FakeCore):
    no = {"key": "cron:0", "ok": False, "state": "backoff", "note": "it ended with exit code 3"}
    core.on("start", done(no, ok=False))
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("s")
        await stage.until(lambda: stage.status == "cron:0: it ended with exit code 3")


async def test_read_only_hides_what_acts_and_says_so_when_it_is_tried(core: FakeCore):
    async with running(core, read_only=True) as stage:
        await stage.at("cron")
        bar = stage.text.splitlines()[-1]
        assert "Start" not in bar
        assert "Restart" not in bar
        assert "Why?" in bar
        assert "read-only" in stage.text
        for key in ("r", "x", "plus", "K", "u", "e"):
            stage.app.say("")
            await stage.press(key)
            assert stage.status.startswith("read-only"), key
        assert sent(stage) == []


async def test_without_a_core_an_action_is_refused_with_a_reason(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        core.stop()
        await stage.until(lambda: not stage.app.context.live)
        await stage.press("r")
        assert stage.status == "not connected: actions wait until the core is back"
        assert stage.app.link.health.phase is not Phase.LIVE


async def test_trying_again_while_the_core_answers_says_that_it_does(core: FakeCore):
    async with running(core) as stage:
        await stage.press("R")
        assert stage.status == "the core answers: there is nothing to try again"


async def test_an_upgrade_asks_first_and_no_is_no(core: FakeCore):
    async with running(core) as stage:
        await stage.press("U")
        await stage.on_dialog("Confirm")
        await stage.says("every process, terminal and log goes on")
        await stage.press("n")
        await stage.until(lambda: stage.status == "nothing was done")
        assert sent(stage) == []


async def test_an_upgrade_whose_program_is_gone_says_so(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    async with running(core) as stage:
        await stage.press("U")
        await stage.on_dialog("Confirm")
        await stage.press("y")
        await stage.until(lambda: "/nowhere/python" in stage.status)


async def test_a_second_upgrade_waits_for_the_first(core: FakeCore, monkeypatch: pytest.MonkeyPatch):
    ended = asyncio.Event()

    async def quietly(command: Sequence[str]) -> tuple[int, str, str]:
        await ended.wait()
        return 0, "core 0.2.0: 2 processes untouched", ""

    monkeypatch.setattr(outside, "quietly", quietly)
    async with running(core) as stage:
        await stage.press("U")
        await stage.on_dialog("Confirm")
        await stage.press("y")
        await stage.until(lambda: stage.status == "upgrading…")
        await stage.press("U")
        assert stage.status == "an upgrade is under way"
        ended.set()
        await stage.until(lambda: stage.status == "core 0.2.0: 2 processes untouched")


# From elsewhere -------------------------------------------------------------------------------------------------------


async def test_what_an_event_is_about_can_be_acted_on(core: FakeCore):
    core.on("events", [event(5, "started", "web:2"), event(6, "exited", "cron:0"), event(7, "reloaded", "")])
    async with running(core) as stage:
        await stage.press("3")
        await stage.says("cron:0")
        await stage.press("g", "j", "r")
        await stage.asked("restart")
        assert sent(stage) == [("restart", ["cron:0"], {})]


async def test_what_is_charted_can_be_acted_on(core: FakeCore):
    async with running(core) as stage:
        await stage.press("4")
        await stage.until(lambda: stage.app.view is not None and stage.app.view.id == "metrics")
        stage.app.view.rowtree.move_to("cron")  # type: ignore[union-attr]
        await stage.press("x")
        await stage.asked("stop")
        assert sent(stage) == [("stop", ["cron"], {})]


async def test_keys_act_on_the_row_while_its_output_has_the_focus(core: FakeCore):
    async with running(core) as stage:
        await stage.at("cron")
        await stage.press("tab", "x")
        await stage.asked("stop")
        assert sent(stage) == [("stop", ["cron"], {})]


# Leaving --------------------------------------------------------------------------------------------------------------


async def test_the_leave_menu_stops_all_after_the_name_was_typed(core: FakeCore):
    async with running(core) as stage:
        await stage.press("Q")
        await stage.on_dialog("Leave")
        await stage.press("down", "enter")
        await stage.on_dialog("Confirm")
        await stage.press(*"default", "enter")
        await stage.asked("stop")
        assert sent(stage) == [("stop", [each["name"] for each in jobs()], {"confirmed": True})]
        await stage.settled()
        assert stage.app.is_running


async def test_the_leave_menu_shuts_down_after_the_name_was_typed(core: FakeCore):
    async with running(core) as stage:
        await stage.press("Q")
        await stage.on_dialog("Leave")
        await stage.press("down", "down", "enter")
        await stage.on_dialog("Confirm")
        assert "then the core and the shim end" in stage.text
        await stage.press(*"default", "enter")
        await stage.asked("shutdown")
        await stage.settled()
        assert sent(stage) == [("shutdown", [], {"confirmed": True})]
        assert stage.status == "everything is stopped; core and shim end"


async def test_leaving_stops_nothing(core: FakeCore):
    async with running(core) as stage:
        await stage.press("q")
        await stage.until(lambda: not stage.app.is_running)
        assert sent(stage) == []
        assert stage.app.return_code == 0


async def test_ctrl_c_tells_how_to_leave_and_leaves_at_the_second_time(core: FakeCore):
    async with running(core) as stage:
        await stage.press("ctrl+c")
        assert stage.status.startswith("q leaves, your jobs keep running")
        await stage.press("ctrl+c")
        await stage.until(lambda: not stage.app.is_running)
        assert sent(stage) == []
