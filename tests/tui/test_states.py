"""Every state of the connection and of what is shown, on the real app: what a person reads, and what still works."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskmaster_tui import link as link_module
from taskmaster_tui import outside, silence
from taskmaster_tui.governor import Governor
from taskmaster_tui.link import Phase
from taskmaster_tui.widgets.banner import Banner
from taskmaster_tui.widgets.trouble import Trouble
from tests.fakecore import FakeCore, event, job, process, status
from tests.linked import beat, subscribed
from tests.tui.support import Stage, jobs, lines_of, running, scripted

PROBLEMS = [
    {"code": "E101", "file": "?", "line": 3, "column": 1, "message": "unknown key `stopsignla`",
     "help": "did you mean `stopsignal`?"},
    {"code": "E203", "file": "?", "line": 4, "column": 9, "message": "not a number", "help": ""},
]  # fmt: skip


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def cli(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, str, str]]:
    """Answer our own commands by script, by their first word; what is not scripted finds nothing."""
    answers: dict[str, tuple[int, str, str]] = {}

    async def quietly(command: list[str], text: str | None = None) -> tuple[int, str, str]:
        word = next((each for each in command if each in answers), "")
        return answers.get(word, (6, "", ""))

    monkeypatch.setattr(outside, "quietly", quietly)
    return answers


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let silence be told soon, and a core that is gone at once."""
    for name, seconds in (("QUIET", 0.8), ("SILENT", 1.2)):
        monkeypatch.setattr(silence, name, seconds)
        monkeypatch.setattr(link_module, name, seconds)
    monkeypatch.setattr(link_module, "GRACE", 0.1)
    monkeypatch.setattr(link_module, "QUEUE", 0.3)


async def gets_quiet(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be told soon of silence, which is never taken for a dead connection."""
    monkeypatch.setattr(silence, "QUIET", 0.1)
    monkeypatch.setattr(silence, "SILENT", 60.0)
    await subscribed(stage.core)
    beat(stage.core, 7)
    await stage.says("◐ quiet")
    assert stage.app.link.health.phase is Phase.STALE


@contextmanager
def held_lock(path: Path, pid: int) -> Iterator[None]:
    """Hold an instance's lock, as its shim does."""
    with path.open("w") as file:
        file.write(f"{pid}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def stopped(core: FakeCore) -> None:
    await asyncio.to_thread(core.stop)


async def becomes(stage: Stage, phase: Phase, seconds: float = 5.0) -> None:
    await stage.until(lambda: stage.app.link.health.phase is phase, seconds)
    await stage.pilot.pause()


# Connecting ----------------------------------------------------------------------------------------------------------


async def test_before_a_core_answers_the_last_known_state_is_shown_dimmed_with_its_time(core: FakeCore) -> None:
    async with running(core):
        pass
    core.on("status", ...)  # connected, and no snapshot comes
    async with running(core, live=False) as stage:
        await stage.says("web", "as of", "connecting")
        assert stage.app.link.health.phase is Phase.CONNECTING
        assert all(dim_where(stage, "4/4 up"))
        await stage.press("slash", *"mailer", "enter")
        await stage.says("hidden")
        assert "worker" not in stage.text


def dim_where(stage: Stage, text: str) -> list[bool]:
    """Tell of each line of the list with this text whether it is painted dimmed."""
    tree = stage.jobs.rowtree
    strips = tree.render_lines(tree.size.region)
    return [any(part.style and part.style.dim for part in strip) for strip in strips if text in strip.text]


async def test_connecting_for_long_tells_the_step(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster_tui.widgets.trouble_words.PATIENCE", 0.2)
    core.on("status", ...)
    async with running(core, live=False) as stage:
        await stage.says("Connecting for", "asking for the snapshot")


async def test_live_shows_the_round_trip_and_nothing_is_dimmed(core: FakeCore) -> None:
    async with running(core) as stage:
        await stage.until(lambda: " ms" in stage.text)
        assert "● live" in stage.text
        assert not any(dim_where(stage, "4/4 up"))
        assert not stage.app.main.query_one(Trouble).display
        assert not stage.app.main.query_one(Banner).display


# Quiet, lost ---------------------------------------------------------------------------------------------------------


async def test_a_quiet_core_is_told_and_an_action_waits_visibly_then_is_refused_unsent(
    core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "QUEUE", 0.3)
    async with running(core, beats=False) as stage:
        await stage.at("cron:0")
        await gets_quiet(stage, monkeypatch)
        await stage.press("r")
        await stage.says("restart: waiting for the core", "nothing is sent yet")
        await stage.says("nothing was sent", "! refused")
        assert "restart" not in core.ops()


async def test_an_action_that_waits_for_a_quiet_core_is_sent_at_its_next_word(
    core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(core, beats=False) as stage:
        await stage.at("cron:0")
        await gets_quiet(stage, monkeypatch)
        await stage.press("r")
        await stage.says("waiting for the core")
        assert "restart" not in core.ops()
        beat(core, 7)
        await stage.asked("restart")


@pytest.mark.usefixtures("hasty")
async def test_a_core_that_answers_nothing_is_tried_for_ever_and_the_list_still_works(core: FakeCore) -> None:
    core.on("ping", ...)
    async with running(core, beats=False) as stage:
        await subscribed(core)
        beat(core, 7)
        await becomes(stage, Phase.RECONNECTING)
        await stage.says("reconnecting", "Your jobs do not depend on this connection", "as of")
        await stage.press("j", "slash", *"mailer", "enter")
        await stage.says("5 hidden")
        await stage.press("r")
        await stage.says("not connected")
        assert stage.app.is_running
        beat(core, 7)
        await becomes(stage, Phase.LIVE)
        await stage.until(lambda: not stage.app.main.query_one(Trouble).display)


@pytest.mark.usefixtures("hasty")
async def test_core_gone_and_shim_alive_says_that_the_jobs_run_and_reads_their_files(
    core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "FILES_AFTER", 0.0)
    state = core.home / "state"
    state.mkdir()
    (state / "core.out").write_text("Traceback\nMemoryError\n")
    output = core.home / "0.out"
    output.write_text("from the file\n")
    files = {"cron:0": {"out": {"path": str(output), "index": None, "tag": None}}}
    core.on("show", {"jobs": [{"job": {}, "files": files}]})
    core.on("status", status(*jobs(), statedir=str(state)))
    async with running(core) as stage:
        await stage.at("cron:0")
        await stage.until(lambda: stage.app.link._kept.files)
        with held_lock(state / "shim.lock", 4711):
            await stopped(core)
            await becomes(stage, Phase.CORE_GONE)
            await stage.says("core gone", "shim (pid 4711) is alive", "MemoryError", "as of", "from the file")
            with output.open("a") as file:
                file.write("and more\n")
            await stage.says("and more")
            core.start()
            await becomes(stage, Phase.LIVE)
            await stage.until(lambda: "shim (pid" not in stage.text)


@pytest.mark.usefixtures("hasty")
async def test_core_and_shim_gone_names_what_still_runs(core: FakeCore) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as orphan:  # noqa: ASYNC220  # to wait for it is the test's own
        here = process("web:0", pid=orphan.pid, started_at=time.time())
        other = process("web:1", pid=orphan.pid, started_at=time.time() - 5000)  # another had its pid
        core.on("status", status(job("web", here, other), shim_pid=3121))
        async with running(core) as stage:
            await stopped(core)
            await becomes(stage, Phase.NO_CORE)
            await stage.says("Core and shim are gone", "pid 3121", "1 process still runs", f"web:0 (pid {orphan.pid})")
            assert f"web:1 (pid {orphan.pid})" not in stage.text
            assert not stage.app.main.query_one(Trouble).has_class("calm")
            orphan.communicate(b"\n")
            await stage.says("None of the 2 processes that ran then is alive")


@pytest.mark.usefixtures("hasty")
async def test_where_nothing_runs_any_more_ages_stand_still(core: FakeCore) -> None:
    async with running(core) as stage:
        await stopped(core)
        await becomes(stage, Phase.NO_CORE)
        assert stage.app.moment() == stage.app.world.as_of


async def test_another_core_says_how_many_processes_went_on(core: FakeCore) -> None:
    core.on("status", lambda request: status(*jobs(), boot=core.boot, pid=77))
    async with running(core) as stage:
        await asyncio.to_thread(core.restart)
        await stage.says("took over", "8 processes kept, 0 lost")
        assert "core 0.1.0 (pid 77)" in stage.text


async def test_a_core_of_another_version_is_told_in_a_line(core: FakeCore) -> None:
    core.on("ping", {"version": "9.9", "boot": "b1", "seq": 7, "pid": 11})
    core.on("status", status(*jobs(), version="9.9"))
    async with running(core) as stage:
        await stage.says("core 9.9, this client")


async def test_the_cores_own_troubles_are_told(core: FakeCore) -> None:
    core.on("status", status(*jobs(), troubles=["the journal cannot be written: disk full", "x"]))
    async with running(core, (80, 24)) as stage:
        await stage.says("the journal cannot be written", "and 1 more")


@pytest.mark.parametrize("kind", ["log", "journal", "watch", "state", "starts", "shim", "eventlog", "times"])
async def test_R05_a_trouble_of_any_part_reaches_the_banner_and_leaves_it(core: FakeCore, kind: str) -> None:
    async with running(core, (80, 24)) as stage:
        await stage.until(lambda: not stage.app.main.query_one(Banner).display)
        core.on("status", status(*jobs(), troubles=["something is wrong here"], seq=8))
        core.publish(f"event.{kind}_trouble", event(8, f"{kind}_trouble", "", text="something is wrong here"))
        await stage.says("something is wrong here")
        core.on("status", status(*jobs(), seq=9))
        core.publish(f"event.{kind}_trouble", event(9, f"{kind}_trouble", "", text="is well again", over=True))
        await stage.until(lambda: not stage.app.main.query_one(Banner).display)


# No core -------------------------------------------------------------------------------------------------------------


async def test_no_core_offers_what_can_be_done(core: FakeCore, cli: dict[str, Any]) -> None:
    cli["path"] = (0, "/srv/taskmaster.toml\n", "")
    cli["check"] = (0, "{}", "")
    await stopped(core)
    async with running(core, live=False) as stage:
        await becomes(stage, Phase.NO_CORE)
        await stage.says("No core is running here", core.commands, "/srv/taskmaster.toml")
        assert " S   start the core" in stage.text
        assert " c   another instance" in stage.text
        assert " D   load the demo" in stage.text


async def test_enter_starts_the_core_where_that_is_all_there_is(
    core: FakeCore, cli: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    monkeypatch.setattr("taskmaster_tui.app.TaskmasterApp.do_core_start", lambda self: started.append(True))
    await stopped(core)
    async with running(core, live=False) as stage:
        await becomes(stage, Phase.NO_CORE)
        await stage.press("enter")
        await stage.until(lambda: started)


async def test_who_may_not_speak_to_the_core_reads_whose_it_is_and_the_remedy(
    core: FakeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may everything, so the kernel's no is played; tests/unit/test_aclient_life.py hears the real one."""
    from taskmaster_core import reach

    monkeypatch.setattr(reach, "look", lambda path: reach.Look(path, 13))
    async with running(core, live=False) as stage:
        await becomes(stage, Phase.DENIED)
        await stage.says("permission denied", "belongs to", "mode 0", "sudo -u")


async def test_read_only_says_so_hides_the_keys_and_gives_the_reason_when_one_is_pressed(core: FakeCore) -> None:
    async with running(core, read_only=True) as stage:
        await stage.at("cron:0")
        assert "read-only" in stage.text
        assert "s Start" not in stage.text
        assert "x Stop" not in stage.text
        for key in ("s", "x", "r", "K", "e"):
            stage.app.say("")
            await stage.press(key)
            await stage.says("read-only: this client was started with --read-only")
        assert not stage.acts()
        await stage.press("i")
        await stage.says("[Info]")


# Config --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_an_invalid_save_is_in_the_header_until_it_is_mended(core: FakeCore, size: tuple[int, int]) -> None:
    core.on("status", status(*jobs(), config_problems=PROBLEMS))
    async with running(core, size) as stage:
        await stage.says("config ✗ 2")
        core.on("status", status(*jobs()))
        core.publish("event.reloaded", event(8, "reloaded", key=""))
        await stage.until(lambda: "config ✗" not in stage.text)


async def test_a_held_back_reload_is_in_the_header_and_ctrl_r_shows_its_plan(core: FakeCore) -> None:
    core.on("status", status(*jobs(), pending=5, autoreload="ask"))
    core.on("reload", {"generation": 2, "rows": [], "changes": 0})
    async with running(core) as stage:
        await stage.says("5 jobs to reload")
        await stage.press("ctrl+r")
        request = await stage.asked("reload")
        assert request["args"] == {"plan": True}


async def test_a_config_that_cannot_be_started_shows_its_first_mistake_and_waits_until_it_is_mended(
    core: FakeCore, cli: dict[str, Any]
) -> None:
    file = core.home / "broken.toml"
    file.write_text('[[task]]\nname = "web"\nstopsignla = "TERM"\nretry = "x"\n')
    cli["path"] = (0, f"{file}\n", "")
    cli["check"] = (6, json.dumps({"errors": [each | {"file": str(file)} for each in PROBLEMS], "warnings": []}), "")
    cli["up"] = (6, "", "taskmaster: the core did not start")
    await stopped(core)
    async with running(core, live=False) as stage:
        await becomes(stage, Phase.NO_CORE)
        await stage.says("has 2 mistakes", "E101", "stopsignla", "did you mean `stopsignal`?", "1 more")
        lines = stage.text.splitlines()
        wrong = next(number for number, line in enumerate(lines) if '3 │ stopsignla = "TERM"' in line)
        assert '2 │ name = "web"' in lines[wrong - 1]
        assert lines[wrong + 1].index("^^^^^^^^^^") == lines[wrong].index("stopsignla")
        assert '4 │ retry = "x"' in lines[wrong + 2]
        await stage.press("S")
        await stage.says("nothing was started")
        cli["check"] = (0, "{}", "")
        file.write_text('[[task]]\nname = "web"\ncmd = "x"\n')
        await stage.until(lambda: "mistakes" not in stage.text)
        await stage.says("Its config would be")


# Nothing to show -----------------------------------------------------------------------------------------------------


async def test_no_jobs_says_what_to_do(core: FakeCore) -> None:
    core.on("status", status())
    async with running(core) as stage:
        await stage.says("No jobs yet.", "/etc/t.toml", "adds a job", "the demo")


async def test_a_filter_that_matches_nothing_says_how_much_it_hides(core: FakeCore) -> None:
    async with running(core) as stage:
        await stage.press("slash", *"nonesuch", "enter")
        await stage.says('nothing matches "nonesuch" (6 hidden)', "esc clears")
        await stage.press("escape")
        await stage.says("mailer")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (process("one:0", "stopped", run=0), "it never ran"),
        (process("one:0"), "no output yet (running "),
    ],
)
async def test_an_empty_log_says_why(core: FakeCore, made: dict[str, Any], words: str) -> None:
    core.on("status", status(job("one", made)))
    async with running(core) as stage:
        await stage.says(words)


@pytest.mark.parametrize(
    ("where", "words"),
    [("/tmp/foo.out", "it goes to /tmp/foo.out"), ("null", "thrown away (stdout is null)")],
)
async def test_output_that_is_not_kept_here_says_where_it_goes(core: FakeCore, where: str, words: str) -> None:
    core.on("status", status(job("one", process("one:0"), spec={"stdout": where})))
    async with running(core) as stage:
        await stage.says(words)


async def test_a_gap_in_the_log_stands_between_its_lines(core: FakeCore) -> None:
    def gap(request: dict[str, Any]) -> Any:
        found = lines_of([("web:0", "before"), ("web:0", "after")])
        found.result["lines"].insert(1, [1764000000.5, "web:0", "out", 7, 0, 0, "3112 lines dropped by rotation", 0])
        return found

    core.on("logs", gap)
    async with running(core) as stage:
        await stage.says("before", "3112 lines dropped by rotation", "after")


# The picture ---------------------------------------------------------------------------------------------------------


async def test_a_slow_terminal_is_told(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Governor, "slow", "slow link · 3 fps")
    async with running(core) as stage:
        await stage.says("slow link · 3 fps")


async def test_a_frozen_picture_stands_while_the_data_goes_on(core: FakeCore) -> None:
    async with running(core) as stage:
        await stage.press("F")
        await stage.says("frozen", "F resumes")
        core.publish("state", {"boot": "b1", "seq": 8, "processes": [process("cron:0", "fatal")], "gone": []})
        proc = stage.app.world.proc("cron:0")
        assert proc is not None
        await stage.until(lambda: proc.view.state == "fatal")
        await stage.pilot.pause(0.3)
        assert "✗ cron" not in stage.text
        await stage.press("F")
        await stage.says("✗ cron")


@pytest.mark.parametrize(
    ("size", "there", "missing"),
    [
        ((99, 30), ("web", "follow", "q Leave"), ("2 Logs",)),
        ((59, 24), ("web", "mailer", "q Leave"), ("follow",)),
        ((80, 15), ("web", "q Leave"), ("follow",)),
        ((39, 12), ("web", "● live"), ("follow", "taskmaster")),
        ((39, 7), ("● live", "● 8", "✗ 1"), ("web",)),
        ((20, 3), ("● live", "● 8"), ("web",)),
    ],
)
async def test_a_small_terminal_shows_less_and_never_refuses(
    core: FakeCore, size: tuple[int, int], there: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    async with running(core, size) as stage:
        await stage.says(*there)
        for word in missing:
            assert word not in stage.text
        assert all(len(line) == size[0] for line in stage.text.splitlines())


async def test_a_terminal_that_shrinks_and_grows_shows_all_again(core: FakeCore) -> None:
    async with running(core) as stage:
        for size in ((30, 5), (70, 20), (120, 36)):
            await stage.pilot.resize_terminal(*size)
            await stage.pilot.pause()
        await stage.says("2 Logs", "web", "follow", "q Leave")
