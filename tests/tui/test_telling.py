"""What is told beyond the screen, and what is told without colour: title, bell, notices, NO_COLOR, ASCII."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from taskmaster_tui.link import Phase
from taskmaster_tui.notify import Notifier
from taskmaster_tui.orphans import alive, last_words
from tests.fakecore import FakeCore, event, job, process, status
from tests.linked import subscribed
from tests.tui.support import Stage, config_of, running, scripted


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


def notifier(term: str = "xterm-256color", **environ: str) -> tuple[Notifier, list[str]]:
    written: list[str] = []

    def write(data: str) -> bool:
        written.append(data)
        return True

    return Notifier(write, {"TERM": term, **environ}), written


# Title and bell ------------------------------------------------------------------------------------------------------


def test_a_title_is_written_when_it_changes_and_given_back_at_the_end() -> None:
    told, written = notifier()
    for text in ("a", "a", "b"):
        told.title(text)
    told.restore()
    told.restore()
    assert written == ["\x1b[22;0t\x1b]0;a\x07", "\x1b]0;b\x07", "\x1b[23;0t"]


def test_a_title_that_could_not_be_written_is_written_with_the_next_change() -> None:
    written: list[str] = []
    takes = [False, True, True]

    def write(data: str) -> bool:
        written.append(data)
        return takes.pop(0)

    told = Notifier(write, {"TERM": "xterm"})
    for text in ("a", "a", "a", "b"):
        told.title(text)
    assert written == ["\x1b[22;0t\x1b]0;a\x07", "\x1b[22;0t\x1b]0;a\x07", "\x1b]0;b\x07"]


def test_who_never_wrote_a_title_gives_none_back() -> None:
    told, written = notifier()
    told.restore()
    assert not written


@pytest.mark.parametrize("term", ["linux", "dumb"])
def test_a_terminal_without_a_title_bar_gets_the_bell_alone(term: str) -> None:
    told, written = notifier(term)
    told.title("a")
    told.alarm("b")
    told.restore()
    assert written == ["\x07"]


def test_a_notice_goes_through_tmux() -> None:
    told, written = notifier(TMUX="/tmp/x,1,0")
    told.alarm("web:0 gave up")
    assert written == ["\x07\x1bPtmux;\x1b\x1b]9;taskmaster: web:0 gave up\x07\x1b\\"]


def test_S13_nothing_of_a_name_ends_the_title_or_begins_another_sequence() -> None:
    told, written = notifier()
    told.title("a\x07b\x1b]52;c;QQ==\x07\x9c\x9b2J\u202ec\n" + "x" * 500)
    text = written[0].removeprefix("\x1b[22;0t\x1b]0;").removesuffix("\x07")
    assert text.isprintable()
    assert text.startswith("ab")
    assert len(text) <= 120


def listen(stage: Stage) -> list[str]:
    """Collect what goes past the screen."""
    written: list[str] = []
    stage.app.notifier._write = lambda data: not written.append(data)
    return written


async def test_the_title_tells_failures_first_and_is_written_only_when_it_changes(core: FakeCore) -> None:
    async with running(core) as stage:
        assert stage.app.title_words() == "✗1 · default · taskmaster"
        written = listen(stage)
        await subscribed(core)
        core.publish("state", {"boot": "b1", "seq": 8, "processes": [process("cron:0", "fatal")], "gone": []})
        await stage.until(lambda: written)
        core.publish("state", {"boot": "b1", "seq": 9, "processes": [process("cron:0", "fatal", run=2)], "gone": []})
        await stage.until(lambda: stage.app.world.seq == 9)
        await stage.pilot.pause(0.2)
        assert written == ["\x1b]0;✗2 · default · taskmaster\x07"]
    assert written[-1] == "\x1b[23;0t"


@pytest.mark.parametrize(
    ("looked_at", "bell", "rings"), [(False, True, True), (True, True, False), (False, False, False)]
)
async def test_a_new_fatal_rings_only_where_nobody_looks_and_it_is_wanted(
    core: FakeCore, looked_at: bool, bell: bool, rings: bool
) -> None:
    async with running(core) as stage:
        await stage.until(lambda: stage.app.link._sync._follower is not None and stage.app.link._sync._catching is None)
        await subscribed(core)
        stage.app.app_focus, stage.app.preferences.bell = looked_at, bell
        written = listen(stage)
        core.publish("event.fatal", event(8, "fatal", "cron:0"))
        await stage.until(lambda: any(each.type == "fatal" for each in stage.app.link.recent))
        await stage.pilot.pause(0.2)
        assert [each for each in written if "\x1b]9;" in each] == (
            ["\x07\x1b]9;taskmaster: cron:0 gave up (FATAL) · default\x07"] if rings else []
        )


async def test_the_terminals_own_cursor_is_on_the_selected_row_where_that_is_wanted(core: FakeCore) -> None:
    config_of(core).parent.mkdir(parents=True)
    config_of(core).write_text("cursor = true\n")
    async with running(core) as stage:
        for row_id in ("cron:0", "web:1"):
            await stage.at(row_id)
            line = stage.text.splitlines()[stage.app.cursor_position.y]
            assert line.startswith("┃>")
            assert stage.app.cursor_position.x == stage.jobs.rowtree.region.x


# No colour -----------------------------------------------------------------------------------------------------------


async def test_no_color_means_no_colour_at_all(core: FakeCore) -> None:
    core.on("status", status(*every_state()))
    with mock.patch("tests.tui.support.CLEAN", ()), mock.patch.dict(os.environ, {"NO_COLOR": "1"}):
        async with running(core) as stage:
            assert stage.app.theme == "mono"
            await stage.says("FATAL")
            strips = stage.app.screen._compositor.render_strips()
            styles = [part.style for strip in strips for part in strip if part.style is not None]
            colours = {each for style in styles for each in (style.color, style.bgcolor) if each is not None}
            assert all(each.is_default for each in colours), colours
            assert any(style.reverse for style in styles)


def every_state() -> list[dict[str, object]]:
    ended = {"code": 0, "signal": None}
    return [
        job("a", process("a:0")), job("b", process("b:0", "starting")),
        job("c", process("c:0", "fatal", exit={"code": 78, "signal": None})),
        job("d", process("d:0", "stopped", goal="down")), job("e", process("e:0", "exited", exit=ended)),
        job("f", process("f:0", "exited", exit=ended, next_start_at=time.time() + 9000)),
        job("g", process("g:0", "stopped", held=True, goal="down")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("glyphs", "signs"), [("unicode", "●◐✗○◌◔⏸"), ("ascii", "*~!-.@=")]
)
async def test_every_state_has_its_own_sign_and_a_word_without_any_colour(
    core: FakeCore, glyphs: str, signs: str
) -> None:
    core.on("status", status(*every_state()))
    async with running(core, glyphs=glyphs) as stage:
        rows = [line[1:59] for line in stage.text.splitlines()]
        words = ("1/1 up", "start", "FATAL", "off", "done 0", "due", "off")
        for name, sign, word in zip("abcdefg", signs, words, strict=True):
            row = next(each for each in rows if f"{sign} {name} " in each)
            assert word in row


async def test_ascii_glyphs_leave_nothing_else_on_the_screen(core: FakeCore) -> None:
    core.on("status", status(*every_state()))
    async with running(core, glyphs="ascii") as stage:
        for key in ("1", "2", "3", "4", "5", "question_mark"):
            await stage.press(key)
            await stage.pilot.pause(0.05)
            assert stage.text.isascii(), sorted({each for each in stage.text if not each.isascii()})


# What still runs -----------------------------------------------------------------------------------------------------


def test_a_process_is_known_by_its_pid_and_its_start() -> None:
    import msgspec

    from taskmaster_core.wire import ProcessView

    def view(**more: Any) -> ProcessView:
        return msgspec.convert(process("web:0", **more), ProcessView)

    began = os.stat(f"/proc/{os.getpid()}").st_ctime
    assert alive([view(pid=os.getpid(), started_at=began)]) == [("web:0", os.getpid())]
    assert not alive([view(pid=os.getpid(), started_at=began - 60)])
    assert not alive([view(pid=2**22 + 1, started_at=began)])
    assert not alive([view(pid=None, started_at=None)])
    assert not alive([view(pid=os.getpid(), started_at=began)], proc="/nonexistent")


def test_last_words_are_those_of_the_file_or_none(tmp_path: object) -> None:
    path = f"{tmp_path}/core.out"
    with open(path, "wb") as file:
        file.write(b"x" * 10_000 + b"\nbefore\n\nlast \xff\n")
    assert last_words(str(tmp_path), 2) == ["before", "last \ufffd"]
    assert last_words("", 2) == []
    assert last_words("/nonexistent", 2) == []


async def test_the_title_of_a_lost_core_says_so(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster_tui.link.GRACE", 0.1)
    async with running(core) as stage:
        await asyncio.to_thread(core.stop)
        await stage.until(lambda: stage.app.link.health.phase is Phase.NO_CORE)
        assert stage.app.title_words() == "no core · default · taskmaster"
