"""A link for tests: all that it told is kept, and what a scripted core publishes is one call.

Decides nothing about what is right; tests do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from taskmaster_tui.link import Change, Link, Phase
from taskmaster_tui.model.world import World
from tests.fakecore import FakeCore, event
from tests.programs.busy_core import WIDTH, run_at


def environ_of(core: FakeCore) -> dict[str, str]:
    return {"XDG_CACHE_HOME": f"{core.home}/cache", "XDG_STATE_HOME": f"{core.home}/state", "HOME": str(core.home)}


class Seen:
    """A link, and all that it told."""

    def __init__(self, core: FakeCore | None, **options: Any) -> None:
        self.changes: list[Change] = []
        self.phases: list[Phase] = []
        self.world = World()
        of_core: dict[str, Any] = {} if core is None else {"socket": core.commands, "environ": environ_of(core)}
        self.link = Link(self.world, tell=self.told, **(of_core | options))

    def told(self, change: Change) -> None:
        self.changes.append(change)
        if change.health and self.phases[-1:] != [self.phase]:
            self.phases.append(self.phase)

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
async def linked(core: FakeCore | None, **options: Any) -> AsyncIterator[Seen]:
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


def consistent(world: World) -> bool:
    """Tell whether the world is that of a busy core (tests/programs/busy_core.py) at its seq."""
    return [proc.view.run for proc in world.procs()] == [run_at(world.seq, index) for index in range(WIDTH)]
