"""A core whose clock is not ours: what the screen tells of ages is the core's (P19, K01)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from taskmaster_tui.app import TaskmasterApp
from taskmaster_tui.model.world import World
from taskmaster_tui.options import Options
from tests.fakecore import FakeCore, job, process, status
from tests.linked import beat, linked, subscribed

HOUR = 3600.0


@pytest.fixture(params=[HOUR, -HOUR, 31536000.0], ids=["ahead", "behind", "a year"])
def far(request: pytest.FixtureRequest) -> Iterator[FakeCore]:
    core = FakeCore().start()
    core.ahead = request.param
    core.on("events", []).on("show", {"jobs": []})

    def answer(_: object) -> object:
        now = time.time() + core.ahead
        return status(job("web", process("web:0", started_at=now - 125, since=now - 125)), now=now)

    core.on("status", answer)
    yield core
    core.close()


async def test_P19_ages_on_the_screen_are_counted_by_the_clock_of_the_core(far: FakeCore) -> None:
    """Uptimes and `ago` of the TUI are counted by the core's clock; an hour of difference changes none of them."""
    async with linked(far) as seen:
        await seen.live()
        app = TaskmasterApp(Options(), {}, link=seen.link)
        app.world = seen.world
        proc = seen.world.proc("web:0")
        assert proc is not None
        assert app.now() - (proc.view.started_at or 0.0) == pytest.approx(125, abs=3)
        assert seen.world.as_of == pytest.approx(app.now(), abs=3)


async def test_K01_a_clock_that_is_set_under_way_is_followed(far: FakeCore) -> None:
    """The beat tells the core's clock: once it is set, ages are counted by the new time."""
    async with linked(far) as seen:
        await seen.live()
        await subscribed(far)
        beat(far, 7, at=time.time() - 5000)
        await seen.until(lambda: seen.world.ahead == pytest.approx(-5000, abs=3))
        beat(far, 7)  # of a core that does not tell
        beat(far, 7, at=time.time() + 0.2)
        await seen.until(lambda: seen.world.ahead == 0.0)


def test_P19_the_way_of_an_answer_is_no_difference() -> None:
    known = World()
    known.set_clock(1000.4, 1000.0)
    assert known.ahead == 0.0
    known.set_clock(0.0, 1000.0)
    assert known.ahead == 0.0
    known.set_clock(4600.0, 1000.0)
    known.set_clock(4601.3, 1001.0)
    assert known.ahead == 3600.0
