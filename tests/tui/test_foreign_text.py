"""S13 on the whole app: what a name, a config, a job or the core says is shown, and acts on nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from taskmaster_core.errors import Refused, TaskmasterError
from taskmaster_tui import outside
from tests.fakecore import FakeCore, done, event, job, process, status
from tests.linked import subscribed
from tests.tui.support import Stage, lines_of, running, scripted

EVIL = "[@click=app.quit]x[/][bold red]\x1b]52;c;QQ==\x07\x1b[2J\x1b[31m\x9b2J\x9d0;t\x9c\u202eevil\u2066\r\x08\x00"
SEEN = "[@click=app.quit]x[/][bold red]"
"""What is left of it that a person reads."""

PROBLEM = {"code": "E1", "file": EVIL, "line": 3, "column": 1, "message": EVIL, "help": EVIL, "text": EVIL}


@pytest.fixture(autouse=True)
def no_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quietly(command: list[str], text: str | None = None) -> tuple[int, str, str]:
        return 1, EVIL, EVIL

    monkeypatch.setattr(outside, "quietly", quietly)


@pytest.fixture
def core() -> Iterator[FakeCore]:
    name = EVIL
    end = {"code": None, "signal": None, "error": {"stage": EVIL, "errno": EVIL, "message": EVIL}}
    spec = {"cmd": EVIL, "description": EVIL, "tags": [EVIL], "workingdir": EVIL, "stdout": EVIL, "env": {EVIL: EVIL}}
    bad = process(f"{name}:0", "fatal", reason=EVIL, exit=end, pid=None)
    strange = process("ok:0", EVIL, reason=EVIL)
    made = scripted(job(name, bad, spec=spec), job("ok", strange, process("ok:1"), spec=spec))
    listed = status(job(name, bad, spec=spec), job("ok", strange, process("ok:1"), spec=spec), config=[EVIL],
                    config_problems=[PROBLEM], troubles=[EVIL, EVIL], version=EVIL, autoreload=EVIL)  # fmt: skip
    made.on("status", listed)
    made.on("ping", {"version": EVIL, "boot": "b1", "seq": 7, "pid": 11})
    made.on("logs", lambda request: lines_of([("ok:1", EVIL), (f"{name}:0", EVIL)]))
    made.on("events", [event(each, kind, key, reason=EVIL, signal=EVIL, text=EVIL) for each, (kind, key) in enumerate(
        (("fatal", f"{name}:0"), (EVIL, "ok:0"), ("exited", "ok:1"), ("config_error", EVIL)), 1)])  # fmt: skip
    made.on("why", {"processes": [{"key": f"{name}:0", "state": EVIL, "reason": EVIL, "events": [], "next": EVIL}]})
    made.on("show", {"jobs": [{"job": job("ok", process("ok:1"), spec=spec), "env": [EVIL], "intents": [EVIL],
                               "paths": {"ok:1": {"out": EVIL}}, "files": {}}]})  # fmt: skip
    made.on("config", {"files": [EVIL], "generation": 1, "settings": {}, "jobs": [{"name": "ok", EVIL: EVIL}]})
    made.on("reload", {"changes": 1, "warnings": [EVIL], "protected": [EVIL], "rows": [
        {"sign": "~", "job": EVIL, "effect": EVIL,
         "fields": [{"name": EVIL, "old": EVIL, "new": EVIL, "cost": EVIL}]}]})  # fmt: skip
    made.on("generations", [{"number": 1, "at": 1.0, "jobs": 1, "cause": EVIL}])
    yield made
    made.close()


def harmless(stage: Stage) -> None:
    """Check that nothing on the screen is a control, turns the direction, or is a link or an action."""
    for strip in stage.app.screen._compositor.render_strips():
        for part in strip:
            assert part.text.isprintable(), repr(part.text)
            style = part.style
            assert style is None or (not style.link and "@click" not in (style.meta or {})), repr(part)


@pytest.mark.parametrize("view", ["1", "2", "3", "4", "5"])
async def test_S13_no_view_and_no_tab_acts_on_foreign_text(core: FakeCore, view: str) -> None:
    async with running(core) as stage:
        await stage.says(SEEN)
        await stage.press(view)
        await stage.pilot.pause(0.1)
        harmless(stage)
        for _ in range({"1": 5, "5": 3}.get(view, 0)):  # the tabs of the details, the parts of the config
            await stage.press("right_square_bracket")
            await stage.pilot.pause(0.05)
            harmless(stage)
        assert stage.app.is_running


@pytest.mark.parametrize("key", ["colon", "question_mark", "comma", "d", "K", "R", "x", "A", "semicolon", "Y", "y"])
async def test_S13_no_dialog_acts_on_foreign_text(core: FakeCore, key: str) -> None:
    async with running(core) as stage:
        await stage.says(SEEN)
        await stage.press(key)
        await stage.pilot.pause(0.2)
        harmless(stage)
        await stage.press("escape")
        assert stage.app.is_running


@pytest.mark.parametrize("error", [Refused(EVIL, EVIL), TaskmasterError(EVIL, EVIL)])
async def test_S13_an_error_of_the_core_is_only_text(core: FakeCore, error: TaskmasterError) -> None:
    def refuse(request: dict[str, Any]) -> Any:
        raise error

    core.on("restart", refuse)
    async with running(core) as stage:
        await stage.at("ok:1")
        await stage.press("r")
        await stage.says(f"restart: {SEEN}")
        harmless(stage)


async def test_S13_a_note_of_an_outcome_and_an_event_as_it_happens_are_only_text(core: FakeCore) -> None:
    core.on("restart", done({"key": "ok:1", "ok": False, "state": EVIL, "note": EVIL}, ok=False))
    async with running(core) as stage:
        await subscribed(core)
        await stage.at("ok:1")
        await stage.press("r")
        await stage.says(f"ok:1: {SEEN}")
        harmless(stage)
        core.publish("event.config_error", event(8, "config_error", EVIL, message=EVIL, problems=[PROBLEM]))
        await stage.pilot.pause(0.3)
        harmless(stage)


@pytest.mark.parametrize("keys", [("slash",), ("2", "slash"), ("2", "ampersand")])
async def test_S13_a_filter_and_a_search_with_markup_are_only_text(core: FakeCore, keys: tuple[str, ...]) -> None:
    async with running(core) as stage:
        await stage.says(SEEN)
        await stage.press(*keys)
        await stage.type("[@click=a]x")
        await stage.press("enter")
        await stage.pilot.pause(0.1)
        harmless(stage)


async def test_S13_the_title_of_the_terminal_and_the_words_of_no_core_are_only_text(
    core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskmaster_tui.link.GRACE", 0.1)
    async with running(core) as stage:
        written: list[str] = []
        stage.app.notifier._write = lambda data: not written.append(data)
        core.stop()
        await stage.says("Core and shim are gone")
        harmless(stage)
        await stage.until(lambda: written)
        assert all(each.removeprefix("\x1b]0;").removesuffix("\x07").isprintable() for each in written)
