from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from taskmaster_core.aclient import AsyncClient, State
from taskmaster_core.errors import NoSuchJob, TimedOut, UsageError
from taskmaster_core.wire import MAX_FRAME
from tests.fakecore import FakeCore, Raw, event


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = FakeCore().start()
    yield made
    made.close()


def client_of(core: FakeCore, **options: Any) -> AsyncClient:
    return AsyncClient(at=core.commands, environ={}, **options)


async def test_call_returns_the_result(core: FakeCore) -> None:
    core.on("config", {"files": []})
    async with client_of(core) as client:
        assert await client.call("config", timeout=5) == {"files": []}


async def test_many_calls_at_a_time_get_their_own_answers(core: FakeCore) -> None:
    core.on("show", lambda request: request["select"])
    async with client_of(core) as client:
        answers = await asyncio.gather(*(client.call("show", [str(number)], timeout=5) for number in range(50)))
    assert answers == [[str(number)] for number in range(50)]


async def test_call_raw_returns_the_second_frame(core: FakeCore) -> None:
    core.on("logs", Raw({"lines": []}, b"\xff\x00"))
    async with client_of(core) as client:
        assert await client.call_raw("logs", timeout=5) == ({"lines": []}, b"\xff\x00")


async def test_an_error_reply_is_raised(core: FakeCore) -> None:
    def refuse(request: dict[str, Any]) -> None:
        raise NoSuchJob("no job or process matches `wbe`")

    core.on("stop", refuse)
    async with client_of(core) as client:
        with pytest.raises(NoSuchJob, match="wbe"):
            await client.call("stop", ["wbe"], timeout=5)


async def test_a_call_gives_up_only_when_told_to(core: FakeCore) -> None:
    core.on("stop", ...)
    async with client_of(core) as client:
        with pytest.raises(TimedOut):
            await client.call("stop", ["web"], timeout=0.1)


async def test_P05_a_request_longer_than_a_frame_is_refused_before_it_is_sent(core: FakeCore) -> None:
    async with client_of(core) as client:
        with pytest.raises(UsageError, match=str(MAX_FRAME)):
            await client.call("stop", ["x" * MAX_FRAME])
    assert core.requests == []


async def test_a_client_waits_for_a_core_that_comes_later(core: FakeCore) -> None:
    core.stop()
    states: list[State] = []
    async with client_of(core, on_state=states.append) as client:
        asked = asyncio.create_task(client.call("ping", timeout=10))
        await asyncio.sleep(0)
        assert client.state == "searching"
        core.start()
        assert (await asked)["boot"] == "b1"
    assert states == ["connected"]


async def test_P14_a_request_survives_a_restart_of_the_core(core: FakeCore) -> None:
    core.on("restart", ...)
    states: list[State] = []
    async with client_of(core, on_state=states.append) as client:
        asked = asyncio.create_task(client.call("restart", ["web"], timeout=20))
        await asyncio.to_thread(core.until, lambda: "restart" in core.ops())
        await asyncio.to_thread(core.stop)
        core.on("restart", {"ok": True, "outcomes": []})
        core.start()
        assert (await asked)["ok"]
    assert len({request["id"] for request in core.requests if request["op"] == "restart"}) == 1
    assert states[:3] == ["connected", "lost", "connected"]


async def test_a_request_that_got_lost_is_sent_again(core: FakeCore) -> None:
    seen: list[str] = []

    def answer(request: dict[str, Any]) -> Any:
        seen.append(request["id"])
        return {} if len(seen) > 1 else ...

    core.on("reopen", answer)
    async with client_of(core, silence=0.05) as client:
        assert await client.call("reopen", timeout=5) == {}
    assert len(set(seen)) == 1


async def test_a_subscription_made_before_the_core_is_there_is_heard(core: FakeCore) -> None:
    core.stop()
    async with client_of(core) as client:
        with client.subscribe(["state"]) as heard:
            core.start()
            await asyncio.to_thread(core.until, lambda: "state" in core.topics)
            core.publish("state", {"seq": 1})
            assert await asyncio.wait_for(anext(heard), 5) == ("state", {"seq": 1})


async def test_following_gives_every_event_once(core: FakeCore) -> None:
    """The journal has 6 and 7; 7 is published too, then 9: the journal brings 8."""
    known = [6, 7]

    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        found = [event(seq) for seq in known if seq > request["args"]["since"]]
        while not {"event", "beat"} <= core.topics and core._xpub.poll(1000):
            core._subscribed(core._xpub.recv())
        if len(known) == 2:
            for seq in (7, 9):
                core._xpub.send_multipart([b"event.started", json.dumps(event(seq)).encode()])
            known.extend([8, 9])
        return found

    core.on("events", answer)
    found: list[int] = []
    async with client_of(core) as client, asyncio.timeout(10):
        async for each in client.follow_events(5):
            found.append(each.seq)
            if len(found) == 4:
                break
    assert found == [6, 7, 8, 9]


async def test_closing_cancels_what_still_waits(core: FakeCore) -> None:
    core.on("stop", ...)
    client = client_of(core)
    client.open()
    asked = asyncio.create_task(client.call("stop", ["web"]))
    await asyncio.to_thread(core.until, lambda: "stop" in core.ops())
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await asked
