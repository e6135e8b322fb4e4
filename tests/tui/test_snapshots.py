"""Pictures of the screen: what a person sees at three sizes and in each theme, compared with those that are kept.

Everything that moves stands still here: the clock, the round trip, the cursor's blinking; the data is made. Look at
what changed before TM_UPDATE_SNAPSHOTS=1 takes it over.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from textual.app import App
from textual.widgets import Input

from taskmaster_core import wire
from taskmaster_tui import link as link_module
from taskmaster_tui import outside
from taskmaster_tui.app import TaskmasterApp
from taskmaster_tui.link import Change, Health, Link, Phase
from tests.fakecore import FakeCore, event, job, process, status
from tests.tui.fake_logs import FakeLogs
from tests.tui.fake_logs import line as log_line
from tests.tui.support import Stage, running, scripted

NOW = 1_764_000_300.0
SIZES = {"80x24": (80, 24), "120x36": (120, 36), "200x50": (200, 50)}
EVERY_SIZE = pytest.mark.parametrize("size", SIZES)
Snapshot = Callable[[App[Any], str], None]

OUTPUT = (
    ("web:0", "out", "GET /api/v1/items/4711 200 12ms"),
    ("web:2", "out", "GET /api/v1/items/9 200 3ms"),
    ("mailer:0", "err", "Traceback (most recent call last):"),
    ("mailer:0", "err", '  File "/srv/mailer/app.py", line 88, in main'),
    ("mailer:0", "err", "ConnectionRefusedError: [Errno 111] refused"),
    ("web:1", "out", "POST /login \x1b[33m302\x1b[0m 41ms"),
    ("worker:1", "out", "job 88121 done in \x1b[1;32m4.2s\x1b[0m"),
    ("web:3", "out", "GET /health 200 1ms"),
)

PLAN = {
    "generation": None, "changes": 5, "warnings": [], "protected": [],
    "rows": [
        {"sign": "+", "job": "thumbs", "effect": "starts 2"},
        {"sign": "~", "job": "worker", "effect": "none: applied in place",
         "fields": [{"name": "retry", "old": "3", "new": "5", "cost": "live"}]},
        {"sign": "~", "job": "web", "effect": "restarts 4, one at a time",
         "fields": [{"name": "env.LOG_LEVEL", "old": "info", "new": "debug", "cost": "restart"}]},
        {"sign": "~", "job": "search", "effect": "starts 1, keeps 2",
         "fields": [{"name": "numprocess", "old": "2", "new": "3", "cost": "scale"}]},
        {"sign": "-", "job": "mailer", "effect": "stops 0 (already FATAL)"},
        {"sign": "=", "job": "", "effect": "untouched"},
    ],
}  # fmt: skip


def listed() -> list[dict[str, Any]]:
    """Return jobs of every kind, as old as the clock that stands says."""

    def one(key: str, state: str = "running", ago: float = 190_000, **more: Any) -> dict[str, Any]:
        began = NOW - ago
        base = {"since": began, "started_at": began if state in ("running", "starting", "stopping") else None}
        return process(key, state, **(base | more))

    gave_up = {"code": 78, "signal": None}
    return [
        job("web", *(one(f"web:{i}") for i in range(4)), spec={"cmd": "gunicorn", "tags": ["front"]}),
        job("worker", *(one(f"worker:{i}", ago=22_320) for i in range(2)), restarts=3),
        job("mailer", one("mailer:0", "fatal", 41, reason="gave up after 5 tries (exit 78)", tries=5, exit=gave_up),
            restarts=5),
        job("search", one("search:0", "starting", 3), one("search:1"), restarts=1),
        job("queue", one("queue:0", "backoff", 2, tries=2, exit=gave_up, next_start_at=NOW + 6)),
        job("migrate", one("migrate:0", "exited", 11_000, exit={"code": 0, "signal": None})),
        job("shell", one("shell:0", "stopped", 0, goal="down", run=0)),
        job("redis", one("redis:0", held=True), spec={"cmd": "redis", "protected": True}),
    ]  # fmt: skip


WHY = {
    "processes": [{
        "key": "mailer:0", "state": "fatal", "reason": "gave up after 5 tries (exit 78)",
        "events": [], "next": "nothing: it is not tried again by itself",
    }],
}  # fmt: skip


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stop the clocks."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(TaskmasterApp, "now", staticmethod(lambda: NOW))
    monkeypatch.setattr("taskmaster_tui.sync.time", lambda: NOW)
    monkeypatch.setattr(link_module, "median", lambda _: 0.003)
    for module in ("bars", "trouble"):
        monkeypatch.setattr(f"taskmaster_tui.widgets.{module}.time", SimpleNamespace(monotonic=lambda: 1000.0))
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def no_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    async def quietly(command: list[str], text: str | None = None) -> tuple[int, str, str]:
        return (0, "/etc/taskmaster/taskmaster.toml\n", "") if "path" in command else (0, "{}", "")

    monkeypatch.setattr(outside, "quietly", quietly)


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = scripted(*listed())
    made.on("status", status(*listed(), version="1.0.0", config=["/etc/taskmaster/taskmaster.toml"]))
    made.on("why", WHY).on("reload", PLAN)
    made.on("ping", {"version": "0.1.0", "boot": "b1", "seq": 7, "pid": 11})
    made.on("events", lambda request: [] if request["select"] else history())
    yield made
    made.close()


def history() -> list[dict[str, Any]]:
    """Return what happened, the oldest first."""
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("started", "web:0", {"pid": 4000, "run": 1}), ("exited", "mailer:0", {"code": 78, "run": 4}),
        ("backoff", "mailer:0", {"delay": 8, "tries": 4}), ("started", "mailer:0", {"pid": 4711, "run": 5}),
        ("exited", "mailer:0", {"code": 78, "run": 5}), ("fatal", "mailer:0", {"tries": 5}),
    ]  # fmt: skip
    return [event(seq, kind, key, **data) | {"at": NOW - 60 + seq} for seq, (kind, key, data) in enumerate(kinds, 2)]


@asynccontextmanager
async def posing(core: FakeCore, size: str, *, theme: str = "dark", glyphs: str = "") -> AsyncIterator[Stage]:
    """Run the app with output and ten minutes of samples, from when all of it is painted."""
    lines = [log_line(i, text.encode(), key=key, stream=stream) for i, (key, stream, text) in enumerate(OUTPUT * 6)]
    logs = FakeLogs(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "logs", property(lambda _: logs))
        async with running(core, SIZES[size], theme=theme, glyphs=glyphs) as stage:
            await stage.until(lambda: stage.app.link.health.rtt is not None)
            sample(stage.app)
            yield stage


def sample(app: TaskmasterApp) -> None:
    """Measure ten minutes at once."""
    keys = [proc.key for proc in app.world.procs() if proc.view.pid is not None]
    for second in range(0, 600, 5):
        at = NOW - 600 + second
        values = {
            key: [8 + 6 * math.sin((second + 40 * i) / 37) + 4 * (i % 3), 300_000_000 + 4_000_000 * i + second * 20_000]
            for i, key in enumerate(keys)
        }
        app.world.sample(values, at)
    app.changed(Change(metrics=True, world=True, health=True))


async def pose(stage: Stage, *words: str) -> None:
    """Wait until the words are there and nothing moves any more."""
    for field in stage.app.screen.query(Input):
        field.cursor_blink = False
    await stage.says(*words)
    for _ in range(3):
        await stage.pilot.pause(0.08)


@EVERY_SIZE
async def test_home(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, size) as stage:
        await pose(stage, "mailer", "GET /health")
        snapshot_svg(stage.app, f"home-{size}")


@pytest.mark.parametrize("theme", ["light", "mono", "colourblind", "terminal"])
async def test_home_in_other_colours(core: FakeCore, theme: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, "120x36", theme=theme) as stage:
        await pose(stage, "mailer", "GET /health")
        snapshot_svg(stage.app, f"home-{theme}")


async def test_home_in_ascii(core: FakeCore, snapshot_svg: Snapshot) -> None:
    async with posing(core, "120x36", glyphs="ascii") as stage:
        await pose(stage, "mailer", "GET /health")
        snapshot_svg(stage.app, "home-ascii")


@EVERY_SIZE
async def test_why_card(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, size) as stage:
        await stage.at("mailer")
        await pose(stage, "mailer:0 is FATAL")
        snapshot_svg(stage.app, f"why-{size}")


@EVERY_SIZE
async def test_merged_logs_with_a_search(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, size) as stage:
        await stage.press("2")
        await stage.says("GET /health")
        await stage.press("slash")
        stage.app.screen.query_one("LogInput Input", Input).value = "refused"
        await stage.press("enter")
        await pose(stage, "refused", "n next", "6")
        snapshot_svg(stage.app, f"search-{size}")


@EVERY_SIZE
async def test_events(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, size) as stage:
        await stage.until(lambda: len(stage.app.link.recent) == 6)
        await stage.press("3")
        await pose(stage, "mailer:0")
        snapshot_svg(stage.app, f"events-{size}")


@EVERY_SIZE
async def test_metrics(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, size) as stage:
        await stage.press("4")
        await pose(stage, "web")
        snapshot_svg(stage.app, f"metrics-{size}")


@EVERY_SIZE
async def test_reload_plan(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    pending = status(*listed(), pending=5, autoreload="ask", config=["/etc/taskmaster/taskmaster.toml"])
    core.on("status", pending)
    async with posing(core, size) as stage:
        await stage.press("ctrl+r")
        await stage.says("thumbs")
        await stage.press("j", "j")
        await pose(stage, "env.LOG_LEVEL")
        snapshot_svg(stage.app, f"plan-{size}")


@EVERY_SIZE
async def test_keys(core: FakeCore, size: str, snapshot_svg: Snapshot) -> None:
    async with posing(core, size) as stage:
        await stage.press("question_mark")
        await stage.on_dialog("KeySheet")
        await pose(stage, "Start")
        snapshot_svg(stage.app, f"keys-{size}")


@EVERY_SIZE
async def test_no_core(core: FakeCore, size: str, snapshot_svg: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ["/run/user/1000/taskmaster/default/cmd.sock (no such file)"]
    monkeypatch.setattr(Link, "health", Health(Phase.NO_CORE, 900.0, where=where))
    core.stop()
    async with running(core, SIZES[size], live=False, theme="dark") as stage:
        await pose(stage, "No core is running here", "/etc/taskmaster/taskmaster.toml")
        snapshot_svg(stage.app, f"no-core-{size}")


@EVERY_SIZE
async def test_core_gone(core: FakeCore, size: str, snapshot_svg: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    async with posing(core, size) as stage:
        gone = Health(Phase.CORE_GONE, 988.0, attempt=4, shim_pid=3121)
        monkeypatch.setattr(Link, "health", gone)
        stage.app.changed(Change(health=True))
        await pose(stage, "shim (pid 3121) is alive", "core gone 12s")
        snapshot_svg(stage.app, f"core-gone-{size}")


def test_the_made_data_is_what_a_core_says() -> None:
    msgspec.convert(status(*listed()), wire.Status)
    msgspec.convert(PLAN, wire.PlanView)
    msgspec.convert(history(), list[wire.Event])
