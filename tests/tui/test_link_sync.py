"""A world in step: with a scripted core each rule alone, with a busy one that nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.aclient import AsyncClient
from tests.fakecore import FakeCore, event, job, process, status
from tests.linked import Seen, batch, beat, consistent, linked, publish, subscribed


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = FakeCore().start()
    made.on("status", status(job("web", process("web:0"), process("web:1"))))
    made.on("events", []).on("show", {"jobs": []})
    yield made
    made.close()


async def test_a_batch_changes_the_world_and_is_told(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        batch(core, 8, process("web:1", "fatal"))
        await seen.until(lambda: "web:1" in seen.keys)
        proc = seen.world.proc("web:1")
        assert proc is not None
        assert proc.view.state == "fatal"


async def test_many_batches_are_told_ten_times_a_second_at_most(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        await asyncio.sleep(0.15)
        seen.changes.clear()
        begun = time.monotonic()
        for number in range(50):
            batch(core, 8 + number, process("web:0", run=number))
            await asyncio.sleep(0.01)
        await seen.until(lambda: seen.world.seq == 57)
        assert 2 <= len(seen.changes) <= (time.monotonic() - begun) * 10 + 2


@pytest.mark.parametrize("kind", ["added", "removed", "scaled", "reloaded", "held", "released", "config_error"])
async def test_what_only_a_snapshot_tells_is_asked_for_once(core: FakeCore, kind: str) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        asked = core.ops().count("status")
        for seq in range(8, 18):
            publish(core, seq, kind)
        await seen.until(lambda: core.ops().count("status") > asked)
        await asyncio.sleep(0.25)
        assert core.ops().count("status") == asked + 1


async def test_a_process_nobody_knows_has_the_snapshot_asked_for(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        core.on("status", status(job("web", *(process(f"web:{n}") for n in range(3))), seq=8))
        batch(core, 8, process("web:2"))
        await seen.until(lambda: core.ops().count("status") == 2)


async def test_a_batch_on_its_way_beside_the_snapshot_is_not_undone_by_it(core: FakeCore) -> None:
    """The snapshot is made (seq 9), the batch (seq 10) is published and heard, then the answer arrives."""
    core.on("status", lambda request: late_status(core))

    def late_status(core: FakeCore) -> dict[str, Any]:
        while core._xpub.poll(0) or not {"state", "beat"} <= core.topics:
            core._subscribed(core._xpub.recv())
        made = status(job("web", process("web:0", "stopped")), seq=9)
        body = {"boot": "b1", "seq": 10, "processes": [process("web:0", "running")], "gone": []}
        core._xpub.send_multipart([b"state", json.dumps(body).encode()])
        time.sleep(0.1)
        return made

    async with linked(core) as seen:
        await seen.live()
        proc = seen.world.proc("web:0")
        assert proc is not None
        assert proc.view.state == "running"


async def test_a_batch_older_than_the_snapshot_is_dropped(core: FakeCore) -> None:
    core.on("status", status(job("web", process("web:0")), seq=50, batches=5))
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        batch(core, 49, process("web:0", "fatal"), n=5)
        batch(core, 51, process("web:0", "backoff"), n=6)
        await seen.until(lambda: seen.world.seq == 51)
        proc = seen.world.proc("web:0")
        assert proc is not None
        assert proc.view.state == "backoff"
        assert core.ops().count("status") == 1


@pytest.mark.parametrize("told_by", ["batch", "beat"])
async def test_a_batch_that_got_lost_is_noticed_by_its_number(core: FakeCore, told_by: str) -> None:
    core.on("status", status(job("web", process("web:0")), batches=5))
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        core.on("status", status(job("web", process("web:0", "fatal")), seq=9, batches=7))
        if told_by == "batch":
            batch(core, 9, n=7)
        else:
            beat(core, 7, batches=7)
        await seen.until(lambda: core.ops().count("status") == 2)
        await seen.until(lambda: seen.world.counts().failed == 1)


async def test_events_come_once_and_in_order_over_gaps(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        await seen.until(lambda: "events" in core.ops())
        core.on("events", lambda request: [event(n) for n in range(request["args"]["since"] + 1, 13)])
        publish(core, 8)
        await seen.until(lambda: seen.events == [8])
        publish(core, 8)
        publish(core, 12)
        await seen.until(lambda: seen.events == [8, 9, 10, 11, 12])
        beat(core, 12)
        await asyncio.sleep(0.3)
        assert seen.events == [8, 9, 10, 11, 12]


async def test_a_beat_tells_of_an_event_that_got_lost(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        await seen.until(lambda: "events" in core.ops())
        core.on("events", lambda request: [event(8)])
        beat(core, 8)
        await seen.until(lambda: seen.events == [8])


async def test_an_event_that_follows_its_beat_is_not_asked_for(core: FakeCore) -> None:
    async with linked(core) as seen:
        await seen.live()
        await subscribed(core)
        await seen.until(lambda: "events" in core.ops())
        beat(core, 8)
        publish(core, 8)
        await seen.until(lambda: seen.events == [8])
        await asyncio.sleep(0.25)
        assert core.ops().count("events") == 1


async def test_earlier_events_are_known_but_are_no_news(core: FakeCore) -> None:
    core.on("events", [event(6), event(7)])
    async with linked(core) as seen:
        await seen.until(lambda: len(seen.link.recent) == 2)
        assert seen.events == []


async def test_P12_what_got_lost_while_the_first_page_was_on_its_way_is_asked_for(core: FakeCore) -> None:
    def events(request: dict[str, Any]) -> list[dict[str, Any]]:
        if "since" in request["args"]:
            return [event(n) for n in range(request["args"]["since"] + 1, 11)]
        while core._xpub.poll(0) or "event" not in core.topics:
            core._subscribed(core._xpub.recv())
        core._xpub.send_multipart([b"event.started", json.dumps(event(10)).encode()])  # 8 and 9 were dropped
        time.sleep(0.1)
        return [event(6), event(7)]

    core.on("events", events)
    async with linked(core) as seen:
        await seen.until(lambda: seen.events == [8, 9, 10])
        assert [each.seq for each in seen.link.recent] == [6, 7, 8, 9, 10]


async def test_what_happened_while_the_core_was_away_is_told(core: FakeCore) -> None:
    core.on("status", lambda request: status(job("web", process("web:0")), boot=core.boot, seq=core.seq))
    async with linked(core) as seen:
        await seen.live()
        await seen.until(lambda: "events" in core.ops())
        await asyncio.to_thread(core.stop)
        core.seq = 9
        core.on("events", lambda request: [event(8), event(9, boot="b2")])
        core.boot = "b2"
        core.start()
        await seen.until(lambda: seen.events == [8, 9])


# Against a busy core --------------------------------------------------------------------------------------------------

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


class Place:
    """A busy core: its socket, and a client to steer it."""

    def __init__(self, home: Path, client: AsyncClient) -> None:
        self.home = home
        self.commands = str(home / "cmd.sock")
        self.client = client

    async def ping(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.client.call("ping", timeout=5)
        return found


@asynccontextmanager
async def busy(rate: float) -> AsyncIterator[Place]:
    home = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    core = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAMS / "busy_core.py"), str(home), str(rate))
    try:
        async with AsyncClient(at=str(home / "cmd.sock"), environ={}) as client:
            await asyncio.wait_for(client.connected(), 10)
            yield Place(home, client)
    finally:
        core.kill()
        await core.wait()
        shutil.rmtree(home, ignore_errors=True)


def gapless(seqs: list[int]) -> bool:
    return seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True


async def test_P12_joining_while_all_changes_loses_nothing_and_doubles_nothing() -> None:
    """200 joins instead of 1,000, five at a time: a race open in one of a hundred is met all the same."""
    async with busy(1000) as place:
        for _ in range(40):
            await asyncio.gather(*(join(place) for _ in range(5)))


async def join(place: Place) -> None:
    async with joined(place) as seen:
        await seen.until(lambda: len(seen.events) >= 20)
        assert gapless(seen.events)
        assert gapless([each.seq for each in seen.link.recent])
        await seen.until(lambda: consistent(seen.world))


async def test_P12_who_stays_is_right_whenever_told() -> None:
    async with busy(1000) as place, joined(place) as seen:
        await seen.until(lambda: len(seen.changes) > 3)
        for _ in range(10):
            told = len(seen.changes)
            await seen.until(lambda: len(seen.changes) > told)  # noqa: B023
            assert consistent(seen.world)
        await place.client.call("halt", timeout=5)
        end = (await place.ping())["seq"]
        await seen.until(lambda: seen.world.seq == end and seen.events[-1] == end)
        assert gapless(seen.events)
        assert consistent(seen.world)


@asynccontextmanager
async def joined(place: Place) -> AsyncIterator[Seen]:
    environ = {"XDG_CACHE_HOME": "/dev/null"}
    async with linked(None, socket=place.commands, environ=environ) as seen:
        yield seen


class Watcher:
    """A link in a process that can be stopped."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self._lines = process.stdout

    async def until(self, seq: int, seconds: float) -> dict[str, Any]:
        """Return the first report of a right world at or after an event."""
        async with asyncio.timeout(seconds):
            while True:
                said: dict[str, Any] = json.loads(await self._lines.readline())
                if said["right"] and said["seq"] >= seq and said["event"] >= seq:
                    return said


@asynccontextmanager
async def watcher(place: Place) -> AsyncIterator[Watcher]:
    script = str(PROGRAMS / "link_watcher.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, place.commands, str(place.home), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Watcher(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("silent", [False, True], ids=["noise goes on", "then silence"])
async def test_P11_a_viewer_that_was_stopped_is_right_again_within_a_second(silent: bool) -> None:
    """3 s at 4,000 events/s instead of 30 s: what counts is that more was said than all the queues hold."""
    async with busy(200) as place, joined(place) as other, watcher(place) as stopped:
        await stopped.until(1, 10)
        memory = (await place.ping())["rss"]
        stopped.process.send_signal(signal.SIGSTOP)
        await place.client.call("go", args={"rate": 4000}, timeout=5)
        await asyncio.sleep(3)
        await place.client.call("go", args={"rate": 0 if silent else 200}, timeout=5)
        now = await place.ping()
        continued = time.monotonic()
        stopped.process.send_signal(signal.SIGCONT)
        said = await stopped.until(now["seq"], 10)
        assert said["at"] - continued <= 1.0
        assert now["rss"] - memory < 20 << 20
        await other.until(lambda: other.world.seq >= now["seq"] and consistent(other.world))
        assert gapless(other.events)
