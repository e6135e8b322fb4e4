"""The link against a scripted core: every phase of the connection, and a world that is never wrong for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from taskmaster_tui.link import Change, Link, Phase
from taskmaster_tui.model.world import World
from tests.fakecore import FakeCore, event, job, process, status


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = FakeCore().start()
    made.on("status", status(job("web", process("web:0"), process("web:1"))))
    made.on("events", []).on("show", {"jobs": []})
    yield made
    made.close()


class Seen:
    """A link, and all that it told."""

    def __init__(self, core: FakeCore, **options: Any) -> None:
        self.changes: list[Change] = []
        self.world = World()
        self.link = Link(self.world, socket=core.commands, tell=self.changes.append, **options)

    @property
    def phase(self) -> Phase:
        return self.link.health.phase

    @property
    def keys(self) -> set[str]:
        return {key for change in self.changes for key in change.keys}

    @property
    def events(self) -> list[int]:
        return [each.seq for change in self.changes for each in change.events]

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in {seconds} s: {self.link.health} {self.changes[-5:]}"
            await asyncio.sleep(0.005)

    async def live(self) -> None:
        await self.until(lambda: self.phase is Phase.LIVE)


@asynccontextmanager
async def linked(core: FakeCore, **options: Any) -> AsyncIterator[Seen]:
    seen = Seen(core, **options)
    running = asyncio.create_task(seen.link.run())
    try:
        yield seen
    finally:
        await seen.link.close()
        await asyncio.wait_for(running, 5)


def batch(core: FakeCore, seq: int, *processes: dict[str, Any], gone: tuple[str, ...] = (), **more: Any) -> None:
    body = {"boot": core.boot, "seq": seq, "processes": list(processes), "gone": list(gone)}
    core.publish("state", body | more)


def beat(core: FakeCore, seq: int, **more: Any) -> None:
    core.publish("beat", {"boot": core.boot, "seq": seq} | more)


def publish(core: FakeCore, seq: int, kind: str = "started", **data: Any) -> None:
    core.publish(f"event.{kind}", event(seq, kind, boot=core.boot, **data))


async def subscribed(core: FakeCore, *topics: str) -> None:
    await asyncio.to_thread(core.until, lambda: set(topics or ("state", "event", "beat")) <= core.topics)


async def test_a_core_that_is_there_is_live_with_its_snapshot(core: FakeCore) -> None:
    async with linked(core) as seen:
        assert seen.phase is Phase.CONNECTING
        await seen.live()
        assert list(seen.world.jobs) == ["web"]
        assert any(change.world for change in seen.changes)


async def test_a_batch_changes_the_world_and_is_told(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        batch(core, 8, process("web:1", "fatal"))
        await seen.until(lambda: "web:1" in seen.keys)
        proc = seen.world.proc("web:1")
        assert proc is not None
        assert proc.view.state == "fatal"
