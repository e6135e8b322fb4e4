"""The link against a scripted core: the phases of the connection, questions, topics, and what is kept."""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.errors import NoCore
from taskmaster_tui import last_state, silence
from taskmaster_tui import link as link_module
from taskmaster_tui.link import Link, Phase
from taskmaster_tui.model.world import World
from tests.fakecore import FakeCore, job, process, status
from tests.linked import beat, environ_of, linked, subscribed


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = FakeCore().start()
    made.on("status", status(job("web", process("web:0"), process("web:1"))))
    made.on("events", []).on("show", {"jobs": []})
    yield made
    made.close()


async def test_a_core_that_is_there_is_live_with_its_snapshot(core: FakeCore) -> None:
    async with linked(core) as seen:
        assert seen.phase is Phase.CONNECTING
        await seen.live()
        assert list(seen.world.jobs) == ["web"]
        assert any(change.world for change in seen.changes)


# Phases --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let silence be told in tenths of a second."""
    monkeypatch.setattr(silence, "QUIET", 0.15)
    monkeypatch.setattr(link_module, "QUIET", 0.15)
    monkeypatch.setattr(silence, "SILENT", 0.5)
    monkeypatch.setattr(link_module, "SILENT", 0.5)
    monkeypatch.setattr(link_module, "GRACE", 0.1)
    monkeypatch.setattr(link_module, "QUEUE", 0.2)


@pytest.mark.usefixtures("hasty")
async def test_silence_makes_it_stale_and_then_reconnecting_and_a_word_makes_it_live(core: FakeCore) -> None:
    core.on("ping", ...)
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        await seen.until(lambda: seen.phase is Phase.STALE)
        assert time.monotonic() - seen.link.health.since >= 0.14
        await seen.until(lambda: seen.phase is Phase.RECONNECTING)
        beat(core, 7)
        await seen.live()


@pytest.mark.usefixtures("hasty")
async def test_beats_keep_it_live(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        for _ in range(10):
            beat(core, 7)
            await asyncio.sleep(0.05)
        assert set(seen.phases) <= {Phase.CONNECTING, Phase.LIVE}


@pytest.mark.usefixtures("hasty")
async def test_a_pause_of_our_own_is_no_silence_of_the_core(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        beat(core, 7)
        await asyncio.sleep(0.05)
        ticking = asyncio.get_running_loop().call_later(0.3, beat, core, 7)
        time.sleep(0.9)  # noqa: ASYNC251  # as SIGSTOP does
        await asyncio.sleep(0.1)
        ticking.cancel()
        assert set(seen.phases) <= {Phase.CONNECTING, Phase.LIVE}


@pytest.mark.usefixtures("hasty")
async def test_where_only_the_events_do_not_come_it_connects_anew(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await seen.until(lambda: core.ops().count("status") >= 2)
        assert Phase.RECONNECTING in seen.phases


async def test_a_core_that_comes_back_is_live_again_with_its_own_state(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await asyncio.to_thread(core.stop)
        await seen.until(lambda: seen.phase is Phase.RECONNECTING)
        core.on("status", status(job("other", process("other:0"))))
        core.start()
        await seen.live()
        assert list(seen.world.jobs) == ["other"]
        assert not any(change.another for change in seen.changes)


async def test_another_core_is_told_and_so_is_its_version(core: FakeCore) -> None:
    def core_now() -> dict[str, Any]:
        return {"boot": core.boot, "version": "9.9" if core.boot == "b2" else "0.1.0", "seq": 7, "pid": 11}

    core.on("status", lambda request: status(**core_now())).on("ping", lambda request: core_now())
    async with linked(core) as seen:
        await seen.live()
        assert not seen.link.health.version_differs
        await asyncio.to_thread(core.restart)
        await seen.until(lambda: seen.world.boot == "b2")
        await seen.until(lambda: any(change.another for change in seen.changes))
        assert seen.link.health.version_differs


@pytest.mark.usefixtures("hasty")
async def test_where_nobody_is_there_is_no_core_and_one_that_comes_is_found(core: FakeCore) -> None:
    core.stop()
    async with linked(core) as seen:
        await seen.until(lambda: seen.phase is Phase.NO_CORE)
        assert seen.link.health.where == [f"{core.commands} (no such file)"]
        core.start()
        await seen.live()


@pytest.mark.usefixtures("hasty")
async def test_a_core_that_ended_is_first_awaited_then_gone(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await asyncio.to_thread(core.stop)
        await seen.until(lambda: seen.phases[-1] is Phase.NO_CORE)
        assert seen.phases[-3:] == [Phase.LIVE, Phase.RECONNECTING, Phase.NO_CORE]
        assert seen.link.health.attempt >= 1


@pytest.mark.usefixtures("hasty")
async def test_a_shim_that_holds_the_lock_means_that_the_jobs_run(core: FakeCore) -> None:
    state = core.home / "state"
    state.mkdir()
    core.on("status", status(job("web", process("web:0")), statedir=str(state)))
    async with linked(core) as seen:
        await seen.live()
        with held_lock(state / "shim.lock", 4711):
            await asyncio.to_thread(core.stop)
            await seen.until(lambda: seen.phase is Phase.CORE_GONE)
            assert seen.link.health.shim_pid == 4711
            assert list(seen.world.jobs) == ["web"]
            core.start()
            await seen.live()


@pytest.mark.usefixtures("hasty")
async def test_at_a_start_too_a_living_shim_is_told_of(core: FakeCore) -> None:
    core.stop()
    instance = f"t{core.home.name}"
    lock = core.home / "state" / "taskmaster" / instance / "shim.lock"
    lock.parent.mkdir(parents=True)
    environ = environ_of(core) | {"XDG_RUNTIME_DIR": f"{core.home}/run"}
    with held_lock(lock, 4712):
        async with linked(core, socket=None, instance=instance, environ=environ) as seen:
            await seen.until(lambda: seen.phase is Phase.CORE_GONE)
            assert seen.link.health.shim_pid == 4712


class held_lock:
    """Hold a lock as a shim does."""

    def __init__(self, path: Path, pid: int) -> None:
        self.file = path.open("w")
        self.file.write(f"{pid}\n")
        self.file.flush()

    def __enter__(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        self.file.close()


async def test_who_may_not_speak_to_the_core_is_told_so(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may everything, so the kernel's no is played; tests/unit/test_aclient_life.py hears the real one."""
    from taskmaster_core import reach

    monkeypatch.setattr(reach, "look", lambda path: reach.Look(path, 13))
    async with linked(core) as seen:
        await seen.until(lambda: seen.phase is Phase.DENIED)
        assert core.commands in seen.link.health.detail
        assert "sudo -u" in seen.link.health.detail


async def test_an_idle_link_wakes_for_beats_and_for_nothing_else(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.until(lambda: {"events", "ping"} <= set(core.ops()))
        await seen.live()
        await subscribed(core)
        await asyncio.sleep(0.4)  # past what follows a connection
        for task in list(seen.link._tasks):
            task.cancel()  # it asks once where the output lies, two seconds after the start
        loop: Any = asyncio.get_running_loop()
        plain, turns = loop._run_once, []
        loop._run_once = lambda: turns.append(1) or plain()
        for _ in range(3):
            beat(core, 7)
            await asyncio.sleep(0.8)
        loop._run_once = plain
    assert len(turns) <= 3 * 4  # the end of each sleep, the descriptor, and what it brings


# Asking --------------------------------------------------------------------------------------------------------------


async def test_a_call_brings_the_answer_and_the_round_trip(core: FakeCore) -> None:
    core.on("why", {"processes": []})
    async with linked(core) as seen:
        assert await seen.link.call("why", ["web"], timeout=5) == {"processes": []}
        assert seen.link.health.rtt is not None


@pytest.mark.usefixtures("hasty")
async def test_a_call_without_a_core_is_refused_and_never_sent(core: FakeCore) -> None:
    core.stop()
    async with linked(core) as seen:
        with pytest.raises(NoCore):
            await seen.link.call("stop", ["web"])
        core.start()
        await seen.live()
    assert "stop" not in core.ops()


async def test_the_state_is_asked_for_again_after_a_refusal(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster_tui.sync.RETRY", 0.05)
    core.on("status", {"not": "a status"})
    async with linked(core) as seen:
        await seen.until(lambda: "does not give its state" in seen.link.health.step)
        core.on("status", status(job("web", process("web:0"))))
        await seen.live()


# Topics --------------------------------------------------------------------------------------------------------------


async def test_metrics_are_subscribed_only_while_somebody_looks(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        seen.link.watch_metrics(True)
        await subscribed(core, "metrics")
        core.publish("metrics", {"boot": "b1", "at": 1.0, "interval": 1.0, "processes": {"web:0": [12.5, 1000]}})
        await seen.until(lambda: any(change.metrics for change in seen.changes))
        proc = seen.world.proc("web:0")
        assert proc is not None
        assert (proc.cpu, proc.rss) == (12.5, 1000)
        seen.link.watch_metrics(False)
        await seen.until(lambda: "metrics" not in core.topics)


async def test_growing_output_is_told_of_the_watched_processes_alone(core: FakeCore) -> None:
    async with linked(core) as seen:
        seen.link.watch_logs({"web:1"})
        await seen.live()
        await subscribed(core, "log.web:1")
        for key in ("web:10", "web:1"):
            core.publish(f"log.{key}", {"key": key, "stream": "out", "path": "/x", "size": 1})
        await seen.until(lambda: any(change.logs for change in seen.changes))
        assert {key for change in seen.changes for key in change.logs} == {"web:1"}
        seen.link.watch_logs({"web:0"})
        await subscribed(core, "log.web:0")
        assert "log.web:1" not in core.topics


# Last state ----------------------------------------------------------------------------------------------------------


async def test_what_was_known_last_is_there_at_the_next_start(core: FakeCore) -> None:
    spec = {"env": {"SECRET": "hunter2"}, "cmd": "x"}
    core.on("status", status(job("web", process("web:0", "fatal"), spec=spec)))
    async with linked(core) as seen:
        await seen.live()
    world = World()
    link = Link(world, socket=core.commands, environ=environ_of(core), tell=lambda _: None)
    as_of = link.load_cached(world)
    assert as_of is not None
    assert time.time() - as_of < 30
    assert world.counts().failed == 1
    check_file(last_state.path_of("default", core.commands, environ_of(core)))


def check_file(path: str) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    data = Path(path).read_bytes()
    assert b"hunter2" not in data
    assert b"SECRET" in data


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"\x80", b"\x81\xa7version\x63"])
def test_a_last_state_that_makes_no_sense_means_nothing_is_known(core: FakeCore, data: bytes) -> None:
    path = Path(last_state.path_of("default", core.commands, environ_of(core)))
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    world = World()
    link = Link(world, socket=core.commands, environ=environ_of(core), tell=lambda _: None)
    assert link.load_cached(world) is None


async def test_a_cache_that_cannot_be_written_is_not_felt(core: FakeCore) -> None:
    environ = environ_of(core) | {"XDG_CACHE_HOME": "/dev/null"}
    async with linked(core, environ=environ) as seen:
        await seen.live()


async def test_without_a_core_output_is_read_from_its_files(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "FILES_AFTER", 0.0)
    output = core.home / "0.out"
    output.write_text("hello\n")
    files = {"web:0": {"out": {"path": str(output), "index": None, "tag": None}}}
    core.on("show", {"jobs": [{"job": {}, "files": files}]})
    async with linked(core) as seen:
        await seen.live()
        await seen.until(lambda: seen.link._kept.files)
        through_core = seen.link.logs
        await asyncio.to_thread(core.stop)
        await seen.until(lambda: seen.phase is not Phase.LIVE)
        assert seen.link.logs is not through_core
        lines = await seen.link.logs.tail(["web:0"], 5)
        assert [line.data for line in lines.lines] == [b"hello\n"]
