"""The link and a real core, which is killed, frozen and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from taskmaster_tui.link import Phase
from tests.harness import Daemon
from tests.integration.shared import running
from tests.linked import linked

CONFIG = """
[[task]]
name = "web"
cmd = "sleep 1000"
numprocess = 3
"""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with running(CONFIG) as made:
        yield made


async def test_a_core_that_is_killed_is_replaced_under_the_eyes_of_the_link(daemon: Daemon) -> None:
    async with linked(None, instance=daemon.instance, environ=daemon.env) as seen:
        await seen.until(lambda: seen.world.counts().up == 3, 15)
        boot, pids = seen.world.boot, [proc.view.pid for proc in seen.world.procs()]
        os.kill(await asyncio.to_thread(lambda: daemon.core_pid), signal.SIGKILL)
        await seen.until(lambda: seen.world.boot != boot and seen.phase is Phase.LIVE, 15)
        await seen.until(lambda: seen.world.counts().up == 3, 15)
        assert [proc.view.pid for proc in seen.world.procs()] == pids
        await seen.until(lambda: any(change.another for change in seen.changes))
        numbers = [each.seq for each in seen.link.recent]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_a_core_that_is_frozen_is_quiet_and_then_live_again(daemon: Daemon) -> None:
    async with linked(None, instance=daemon.instance, environ=daemon.env) as seen:
        await seen.until(lambda: seen.phase is Phase.LIVE, 15)
        pid = await asyncio.to_thread(lambda: daemon.core_pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            await seen.until(lambda: seen.phase is Phase.STALE, 6)
        finally:
            os.kill(pid, signal.SIGCONT)
        await seen.until(lambda: seen.phase is Phase.LIVE, 5)


async def test_a_restart_asked_for_is_seen_as_it_happens(daemon: Daemon) -> None:
    async with linked(None, instance=daemon.instance, environ=daemon.env) as seen:
        await seen.until(lambda: seen.world.counts().up == 3, 15)
        done = await seen.link.call("restart", ["web:1"], timeout=20)
        assert done["ok"]
        await seen.until(lambda: {"stopped", "started"} <= {e.type for c in seen.changes for e in c.events})
        proc = seen.world.proc("web:1")
        assert proc is not None
        await seen.until(lambda: proc.view.run == 2 and proc.view.state == "running")


async def test_after_a_shutdown_there_is_no_core_and_its_last_events_are_known(daemon: Daemon) -> None:
    async with linked(None, instance=daemon.instance, environ=daemon.env) as seen:
        await seen.until(lambda: seen.world.counts().up == 3, 15)
        await seen.link.call("shutdown", timeout=20)
        await seen.until(lambda: seen.phase is Phase.NO_CORE, 15)
        assert seen.world.counts().up == 0
