"""Random walks over every key, the mouse and the size of the terminal, against a core gone mad.

After each step the whole must still be sound. `TM_MONKEY_WALKS`, `TM_MONKEY_STEPS` and `TM_MONKEY_SEED` make it walk
further; a failure names the last steps, so that it can be walked again and made small.
"""

from __future__ import annotations

import asyncio
import os
import random
import unicodedata
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from rich.cells import cell_len
from textual.events import MouseScrollDown, MouseScrollUp

from taskmaster_tui import keys, outside
from taskmaster_tui.actions import BY_ID
from taskmaster_tui.app import TaskmasterApp
from taskmaster_tui.screens.main import VIEWS
from taskmaster_tui.widgets.bars import KeyBar
from tests.fakecore import FakeCore
from tests.tui.chaos import Chaos
from tests.tui.support import Stage, acore, running

WALKS = int(os.environ.get("TM_MONKEY_WALKS", "6"))
STEPS = int(os.environ.get("TM_MONKEY_STEPS", "80"))
FIRST = int(os.environ.get("TM_MONKEY_SEED", "1"))

KEYS = sorted({key for action in BY_ID.values() for key in action.keys.split(",")} | {"enter", "f2", "delete"})
LEAVES = {"q", "ctrl+c"}
"""What ends the walk; it is pressed at its end."""
TURNS = "\u202d\u202e\u2066\u2067"
"""Characters that turn the rest of a line around."""
TYPED = (
    "error",
    "^[a-",
    "web",
    "state:fatal",
    "cpu>50",
    "!x",
    "日本",
    "👩\u200d👩\u200d👧",
    "[b]",
    "999999999999999999999",
    "((((",
    "",
    "-3",
    "²",
)
SIZES = (
    (20, 5),
    (39, 7),
    (40, 8),
    (59, 15),
    (60, 16),
    (80, 24),
    (99, 30),
    (100, 30),
    (120, 36),
    (200, 60),
    (1, 1),
    (300, 3),
)
ENDS = ("stop", "kill", "restart", "signal", "shutdown")


class Witness:
    """Stand between the app and the world: note what it sends, and what was agreed to."""

    def __init__(self, app: TaskmasterApp, dice: random.Random) -> None:
        self.app, self.dice = app, dice
        self.wrong: list[str] = []
        self.exits = 0
        self._agreed = self._used = 0
        self._call, self._agrees, self.exit = app.link.call, app.commander.agrees, app.exit
        app.link.call = self.call  # type: ignore[method-assign,assignment]
        app.commander.agrees = self.agrees  # type: ignore[method-assign]
        app.exit = self._no_exit  # type: ignore[method-assign]
        asyncio.get_running_loop().set_exception_handler(self._unseen)

    def _no_exit(self, *_: Any, **__: Any) -> None:
        self.exits += 1

    def _unseen(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        self.wrong.append(f"nobody saw: {context.get('message')} {context.get('exception')!r}")

    async def agrees(self, question: Any) -> bool:
        answer = await self._agrees(question)
        self._agreed += answer
        return answer

    async def call(self, op: str, select: Sequence[str] = (), args: Any = None, **more: Any) -> Any:
        """Let a request through if it was agreed to where it must be."""
        confirmed = bool((args or {}).get("confirmed"))
        if confirmed:
            self._used += 1
            if self._used > self._agreed:
                self.wrong.append(f"{op} {select} says confirmed, and nobody agreed")
        elif (op in ENDS and self._many(select)) or op == "shutdown":
            self.wrong.append(f"{op} {select} was sent without a question")
        elif op == "undo" and not (args or {}).get("plan"):
            self.wrong.append("an undo was sent without a question")
        return await self._call(op, select, args, **more)

    def _many(self, select: Sequence[str]) -> bool:
        world = self.app.world
        keys_ = {key for each in select for key in world.keys_of(each)}
        alive = [key for key in keys_ if (proc := world.proc(key)) is not None and proc.view.pid is not None]
        return len(alive) > 1

    async def outside(self, *_: Any) -> Any:
        """Be the program that would have been run."""
        await asyncio.sleep(0)
        return self.dice.choice((0, 1, 6))

    async def quietly(self, command: Sequence[str], text: str | None = None) -> tuple[int, str, str]:
        if {"rollback", "undo", "upgrade"}.intersection(command):
            self._used += 1
            if self._used > self._agreed:
                self.wrong.append(f"{command[3:]} was run without a question")
        return await self.outside(), self.dice.choice(("", "\x1b[1mout\n")), self.dice.choice(("", "[b]err\nmore"))


class Walk:
    """Take random steps, and look at the whole after each."""

    def __init__(self, stage: Stage, core: FakeCore, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage, self.app, self.core = stage, stage.app, core
        self.dice = random.Random(seed)
        self.chaos = Chaos(core, seed)
        self.witness = Witness(stage.app, self.dice)
        self.steps: deque[str] = deque(maxlen=25)
        self.down = 0
        monkeypatch.setattr(outside, "in_terminal", self.witness.outside)
        monkeypatch.setattr(outside, "quietly", self.witness.quietly)
        monkeypatch.setattr(self.app, "connect", lambda where: None)

    async def step(self) -> None:
        """Do one thing at random."""
        dice = self.dice
        kind = dice.choices(("key", "type", "mouse", "resize", "chaos", "core", "wait"), (50, 6, 10, 4, 24, 2, 4))[0]
        if kind == "key":
            await self.press(*(dice.choice(KEYS) for _ in range(dice.choice((1, 1, 1, 4)))))
        elif kind == "type":
            await self.press(*(_named(each) for each in dice.choice(TYPED)), dice.choice(("enter", "escape", "tab")))
        elif kind == "mouse":
            await self.mouse()
        elif kind == "resize":
            size = dice.choice(SIZES)
            self.steps.append(f"resize {size}")
            await self.stage.pilot.resize_terminal(*size)
        elif kind == "core":
            await self.trouble()
        elif kind == "wait":
            await asyncio.sleep(0.12)
        else:
            for _ in range(dice.choice((1, 3))):
                self.chaos.happen()
        self.down -= self.down > 0
        if self.core._thread is None and not self.down:
            self.steps.append("core back")
            self.core.restart(f"b{len(self.core.requests)}")
        await self.stage.pilot.pause()

    async def press(self, *pressed: str) -> None:
        sent = [key for key in pressed if key not in LEAVES]
        self.steps.append(f"keys {' '.join(sent)}")
        if sent:
            await self.stage.pilot.press(*sent)

    async def mouse(self) -> None:
        """Click, double-click, drag or turn the wheel somewhere."""
        dice, pilot = self.dice, self.stage.pilot
        width, height = self.app.size
        at = (dice.randrange(width), dice.randrange(height)) if min(width, height) > 0 else (0, 0)
        kind = dice.choice(("click", "click", "double", "right", "wheel", "drag"))
        self.steps.append(f"{kind} {at}")
        if kind == "wheel":
            await pilot._post_mouse_events([dice.choice((MouseScrollDown, MouseScrollUp))], offset=at)
        elif kind == "drag":
            await pilot.mouse_down(offset=at)
            await pilot.hover(offset=(dice.randrange(width), dice.randrange(height)))
            await pilot.mouse_up(offset=at)
        else:
            await pilot.click(offset=at, times=2 if kind == "double" else 1, button=3 if kind == "right" else 1)

    async def trouble(self) -> None:
        """Let the core restart, or go for a while."""
        if self.down:
            return
        self.steps.append("core restarts" if self.dice.random() < 0.5 else "core goes")
        self.core.stop()
        if self.steps[-1] == "core goes":
            self.down = self.dice.choice((3, 12))
        else:
            self.core.restart(f"b{len(self.core.requests)}")

    # What must be -----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look whether all is sound."""
        app = self.app
        self.right(app._exception is None, f"an exception: {app._exception!r}")
        self.right(not self.witness.wrong, str(self.witness.wrong))
        self.right(app.is_running, "the app lives")
        shown = [name for name in VIEWS if (view := app.main._views.get(name)) is not None and view.display]
        self.right(shown == [app.main.view_name], f"one view is shown: {shown}")
        self._screen_is_clean()
        self._bars_are_there()

    def _screen_is_clean(self) -> None:
        width = self.app.size.width
        for strip in self.app.screen._compositor.render_strips():
            line = "".join(part.text for part in strip)
            bad = [each for each in line if unicodedata.category(each) in ("Cc", "Zl", "Zp") or each in TURNS]
            self.right(not bad, f"no control reaches the terminal: {bad} in {line!r}")
            self.right(
                sum(part.cell_length for part in strip) <= width, f"it fits: {cell_len(line)} of {width} {line!r}"
            )

    def _bars_are_there(self) -> None:
        main = self.app.main
        inside = self.app.size.region
        for name in ("header", "status", "keys"):
            bar = main.query_one(f"#{name}")
            if bar.display and self.app.size.height >= 8:
                self.right(inside.contains_region(bar.region), f"{name} is on the screen: {bar.region}")
        if main.query_one(KeyBar).display and self.app.size.width >= 20:
            self.right(bool(main.query_one(KeyBar).pieces(self.app.size.width)), "the key bar says something")
        if self.app.screen is not main and self.app.size.width >= 20:
            for dialog in self.app.screen.query(".dialog"):
                self.right(
                    inside.contains_region(dialog.region), f"the dialog is on the screen: {dialog.region} of {inside}"
                )

    async def settle(self) -> None:
        """Wait until the focus is somewhere and seen, where there is anything to be focused."""
        for _ in range(100):
            if self._focused():
                return
            await asyncio.sleep(0.02)
        self.right(False, f"the focus is on {self.app.screen.focused}, {self.app.screen}")

    def _focused(self) -> bool:
        screen = self.app.screen
        if not any(each.display for each in screen.focus_chain) or self.app.size.height < 8:
            return True
        focused = screen.focused
        return focused is not None and focused.is_attached and bool(focused.region.area)

    def right(self, true: bool, said: str) -> None:
        assert true, f"{said}\nsteps: {list(self.steps)}\n{self.stage.text if self.app.is_running else ''}"

    async def home(self) -> None:
        """Go back until the jobs are shown and nothing lies over them."""
        back = keys.keys_of("app.back", self.app.keymap)[0]
        for _ in range(14):
            if self.app.screen is self.app.main and self.app.main.view_name == "jobs" and not self.app.main.zoomed:
                return
            await self.stage.pilot.press(*dict.fromkeys(("escape", back)))
            await self.stage.pilot.pause()
        self.right(False, f"escape leads home: {self.app.screen} {self.app.main.view_name}")

    async def leave(self) -> None:
        """Leave by the key."""
        self.app.exit = self.witness.exit  # type: ignore[method-assign]
        await self.stage.pilot.press(keys.keys_of("app.quit", self.app.keymap)[0])
        for _ in range(250):
            if self.app._exit or not self.app.is_running:
                return
            await asyncio.sleep(0.02)
        self.right(False, f"the key leaves; the focus is on {self.app.focused!r}")


def _named(character: str) -> str:
    return {" ": "space"}.get(character, character)


@asynccontextmanager
async def walking(seed: int, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = (120, 36)) -> AsyncIterator[Walk]:
    """Have an app and a mad core, in a directory where a walk may save what it wants."""
    with acore() as core, TemporaryDirectory() as somewhere:
        monkeypatch.chdir(somewhere)
        async with running(core, size) as stage:
            yield Walk(stage, core, seed, monkeypatch)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + WALKS))
async def test_after_each_step_of_a_random_walk_the_whole_is_sound(seed: int, monkeypatch: pytest.MonkeyPatch):
    async with walking(seed, monkeypatch, SIZES[5 + seed % 5]) as walk:
        for number in range(STEPS):
            await walk.step()
            walk.look()
            if number % 10 == 9:
                await walk.settle()
            if number % 40 == 39:
                await walk.home()
        await walk.home()
        walk.look()
        await walk.leave()
