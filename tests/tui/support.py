"""The whole app against a scripted core: started, at a place of its own, with helpers that wait and look.

Decides nothing about what is right; tests do. `running` is the app, `scripted` a core with jobs of every kind.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from taskmaster_tui.app import TaskmasterApp
from taskmaster_tui.link import Phase
from taskmaster_tui.options import Options
from taskmaster_tui.screens.jobs import JobsView
from tests.fakecore import FakeCore, Raw, done, job, process, status

CLEAN = ("TMUX", "STY", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "COLORTERM", "NO_COLOR", "TASKMASTER_SOCKET")
"""What of the machine that runs the tests must not be seen by them."""

ACTS = ("start", "stop", "restart", "kill", "hold", "release", "reset", "signal", "scale", "shutdown")


def jobs() -> list[dict[str, Any]]:
    """Return a job of each kind: many, few, failed, one, off, guarded."""
    reason = "gave up after 5 tries (exit 78)"
    failed = process("mailer:0", "fatal", reason=reason, tries=5, run=5, pid=None, exit={"code": 78, "signal": None})
    return [
        job("web", *(process(f"web:{i}") for i in range(4)), spec={"cmd": "serve", "tags": ["front"]}),
        job("worker", process("worker:0"), process("worker:1")),
        job("mailer", failed),
        job("cron", process("cron:0")),
        job("shell", process("shell:0", "stopped", goal="down", run=0)),
        job("db", process("db:0"), spec={"cmd": "postgres", "protected": True}),
    ]


def scripted(*made: dict[str, Any], **more: Any) -> FakeCore:
    """Return a core that has jobs and says yes to everything; `close` it."""
    core = FakeCore().start()
    listed = list(made) or jobs()
    core.on("status", lambda request: status(*listed, **more))
    core.on("events", []).on("show", {"jobs": []}).on("why", {"processes": []})
    core.on("config", {"files": [], "generation": 1, "settings": {}, "jobs": []})
    core.on("logs", no_lines).on("find", nothing_found)
    core.on("reload", {"rows": [], "generation": None, "changes": 0}).on("generations", [])
    for verb in ACTS:
        core.on(verb, lambda request: done(*((key, "running") for key in keys_of(listed, request["select"]))))
    return core


def keys_of(listed: Iterable[dict[str, Any]], select: Iterable[str]) -> list[str]:
    """Return the processes that selectors mean."""
    known = {each["name"]: [one["key"] for one in each["processes"]] for each in listed}
    return [key for name in select for key in known.get(name, [name])]


def no_lines(request: dict[str, Any]) -> Raw:
    return lines_of(())


def lines_of(texts: Iterable[tuple[str, str]]) -> Raw:
    """Return the answer of `logs` with lines of (process, text), a second apart."""
    rows, data = [], b""
    for number, (key, text) in enumerate(texts):
        line = text.encode() + b"\n"
        rows.append([1764000000.0 + number, key, "out", len(data), 0, len(line), 0, ""])
        data += line
    here = {"at": 0}
    return Raw({"lines": rows, "begin": here, "end": {"at": len(rows)}, "more": False, "held": False, "before": 0,
                "total": len(data), "problems": [], "start": True}, data)  # fmt: skip


def writes(core: FakeCore, *texts: tuple[str, str]) -> None:
    """Let processes have written lines, each seen only by who asks for it."""

    def answer(request: dict[str, Any]) -> Raw:
        select = request["select"]
        return lines_of(each for each in texts if not select or {each[0], each[0].rpartition(":")[0]} & set(select))

    core.on("logs", answer)


def nothing_found(request: dict[str, Any]) -> dict[str, Any]:
    return {"places": [], "cursor": {}, "more": False, "scanned": 0, "total": 0}


def home_of(core: FakeCore) -> dict[str, str]:
    """Return the environment of one person: all that is kept lies with the core's own directory."""
    base = core.home / "person"
    return {"HOME": str(base), "XDG_CONFIG_HOME": f"{base}/config", "XDG_STATE_HOME": f"{base}/state",
            "XDG_CACHE_HOME": f"{base}/cache", "TMPDIR": str(core.home), "TERM": "xterm-256color"}  # fmt: skip


def config_of(core: FakeCore) -> Path:
    return core.home / "person" / "config" / "taskmaster" / "ui.toml"


def place_of(core: FakeCore) -> Path:
    return core.home / "person" / "state" / "taskmaster" / "ui" / "default.json"


class Stage:
    """A running app, and what tests do with it."""

    def __init__(self, app: TaskmasterApp, pilot: Pilot[int], core: FakeCore) -> None:
        self.app, self.pilot, self.core = app, pilot, core

    async def press(self, *keys: str) -> None:
        """Press keys one after the other; a single character is itself."""
        for key in keys:
            await self._press_only(key)
        await self.pilot.pause()

    async def _press_only(self, key: str) -> None:
        """Press a key, and wait until the widgets have done what it asked; not until the process is idle.

        The pilot waits 50 ms after each key until the process has used no CPU; a key goes to the focused widget, up to
        the app and from there to who carries it out: three rounds.
        """
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        sent = events.Key(name, key if len(key) == 1 else " " if key == "space" else None)
        sent.set_sender(self.app)
        self.app.post_message(sent)
        for _ in range(3):
            await self.pilot._wait_for_screen()

    async def type(self, text: str) -> None:
        await self.press(*("space" if each == " " else each for each in text))

    async def until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        """Wait for a condition."""
        await until(condition, seconds, self)

    async def asked(self, op: str, times: int = 1) -> dict[str, Any]:
        """Wait until an operation was asked for so many times, return the last request."""
        await self.until(lambda: self.core.ops().count(op) >= times)
        return self.core.last(op)

    async def says(self, *words: str) -> None:
        """Wait until the screen shows all of these."""
        await self.until(lambda: all(word in self.text for word in words))

    async def live(self) -> None:
        """Wait until the core is heard and its jobs are shown."""
        app = self.app
        await self.until(lambda: app.link.health.phase is Phase.LIVE and app.world.core is not None)
        await self.until(lambda: app.main.view is not None and app.main.view.is_mounted)
        await self.pilot.pause()

    async def settled(self) -> None:
        """Wait until all that was begun by keys is done: what was not asked for by then never is."""
        await self.pilot.pause()
        orders = [each for each in self.app.workers if each.group in ("orders", "outside")]
        for worker in orders:
            await worker.wait()
        await self.pilot.pause()

    async def on_dialog(self, kind: str) -> Any:
        """Wait until a dialog of this class is the screen; return it."""
        await self.until(lambda: type(self.app.screen).__name__ == kind and self.app.screen.is_mounted)
        await self.pilot.pause()
        return self.app.screen

    async def on_main(self) -> None:
        """Wait until no dialog is open."""
        await self.until(lambda: self.app.screen is self.app.main)

    async def at(self, row_id: str) -> None:
        """Put the cursor of the job list on a row."""
        self.jobs.goto(row_id)
        await self.until(lambda: self.jobs.rowtree.cursor_id == row_id)
        await self.pilot.pause()

    async def at_row(self, row_id: str) -> None:
        """Put the cursor of the list that is shown on a row."""
        tree = self.app.view.rowtree  # type: ignore[union-attr]
        await self.until(lambda: row_id in tree._ids)
        tree.move_to(row_id)
        await self.until(lambda: tree.cursor_id == row_id)
        await self.pilot.pause()

    def acts(self) -> list[dict[str, Any]]:
        """Return the requests that do something, in their order."""
        return [each for each in self.core.requests if each["op"] in (*ACTS, "undo", "reload")]

    @property
    def jobs(self) -> JobsView:
        return self.app.main.query_one(JobsView)

    @property
    def status(self) -> str:
        """The sentence on the status line."""
        return self.app.main.query_one("#status").text  # type: ignore[attr-defined,no-any-return]

    @property
    def text(self) -> str:
        return screen_text(self.app)


def screen_text(app: TaskmasterApp) -> str:
    """Return what is painted, line by line."""
    strips = app.screen._compositor.render_strips()  # Textual has no other way
    return "\n".join("".join(part.text for part in strip) for strip in strips)


async def until(condition: Callable[[], object], seconds: float = 5.0, stage: Stage | None = None) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            seen = f"\n{stage.text}\nrequests: {stage.core.requests[-8:]}" if stage is not None else ""
            raise AssertionError(f"it did not come true in {seconds} s{seen}")
        await asyncio.sleep(0.005)


@contextmanager
def acore(*made: dict[str, Any], **more: Any) -> Iterator[FakeCore]:
    """Have a scripted core for a while."""
    core = scripted(*made, **more)
    try:
        yield core
    finally:
        core.close()


async def _beats(core: FakeCore) -> None:
    while True:
        core.publish("beat", {"boot": core.boot, "seq": core.seq})
        await asyncio.sleep(0.5)


@asynccontextmanager
async def running(
    core: FakeCore, size: tuple[int, int] = (120, 36), *, live: bool = True, beats: bool = True, **options: Any
) -> AsyncIterator[Stage]:
    """Run the app against a core, from when it is live on; without `beats` the test says when one comes."""
    cleaned = {name: value for name, value in os.environ.items() if name not in CLEAN}
    with mock.patch.dict(os.environ, cleaned | home_of(core), clear=True):
        app = TaskmasterApp(Options(**({"socket": core.commands} | options)))
        heart = asyncio.create_task(_beats(core) if beats else asyncio.sleep(0))
        try:
            async with app.run_test(size=size) as pilot:
                stage = Stage(app, pilot, core)
                if live:
                    await stage.live()
                yield stage
        finally:
            heart.cancel()
