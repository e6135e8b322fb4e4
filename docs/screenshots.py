"""Take the pictures of the README: the real app, driven by its keys, on the demo (`make screenshots`).

It decides what is shown and what must be on the screen before the picture is taken; everything that is seen comes from
a core of its own that runs `config/demo.toml` in a directory that is removed afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from textual.app import App
from textual.pilot import Pilot

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.harness import Daemon  # noqa: E402 - the directory of tests is beside this one

PICTURES = ROOT / "screenshots"
LINE = re.compile(r'<text class="[^"]*" x="[\d.]+" y="([\d.]+)"[^>]*>(.*?)</text>')
SHOWN_HOME = "/home/ada/server"  # as long as the directory of the core, so that columns stay where they are


class See(NamedTuple):
    """A text that must be on the screen before it goes on."""

    text: str


class Press(NamedTuple):
    """Keys, by Textual's names, one after the other."""

    keys: str


class Type(NamedTuple):
    """Letters to type."""

    text: str


class Edit(NamedTuple):
    """A change of the config file."""

    old: str
    new: str


class Warm(NamedTuple):
    """Let histories grow, as long as asked for."""


class Take(NamedTuple):
    """The picture to take now."""

    name: str


Step = See | Press | Type | Edit | Warm | Take


class Sitting(NamedTuple):
    """One run of the app: its size and theme, and what is done in it, in order."""

    size: tuple[int, int]
    theme: str
    steps: tuple[Step, ...]

    def names(self) -> list[str]:
        """Return its pictures."""
        return [step.name for step in self.steps if isinstance(step, Take)]


READY = (See("FATAL"), See("done 0"), Warm())
TO_WORKER = Press("g" + " j" * 5)  # web, api and its three, worker
TO_BILLING = Press("g" + " j" * 12)  # and its four, ticker, flapper, billing
EDITS = (
    Edit('stderr = "stdout"\nenv = { WORKER', 'stderr = "stdout"\nstopdelay = "5s"\nenv = { WORKER'),
    Edit("numprocess = 3", "numprocess = 4"),
    Edit('{ API_TOKEN_FILE = "/dev/null",', '{ API_TOKEN_FILE = "/dev/null", LOG_LEVEL = "debug",'),
    Edit('name = "scheduler"', 'name = "planner"'),
)
SITTINGS = (
    Sitting(
        (120, 36), "dark",
        (
            *READY, TO_WORKER, See("takes a job"), Take("home"),
            TO_BILLING, See("billing:0 is FATAL"), Take("why"),
            Press("2"), See("takes a job"), Press("slash"), Type("error"), Press("enter"), See("match"), Take("logs"),
            Press("escape 3"), See("given up"), Take("events"),
            Press("4"), See("worker"), Take("metrics"),
            *EDITS, Press("5"), See("planner"), Take("reload"),
            Press("1 question_mark"), See("Keys"), Take("keys"),
        ),
    ),
    Sitting((120, 36), "light", (*READY, TO_WORKER, See("takes a job"), Take("light"))),
    Sitting((80, 24), "dark", (*READY, TO_BILLING, See("billing:0 is FATAL"), Take("narrow"))),
)  # fmt: skip


def shown(app: App[Any]) -> str:
    """Return the text that is on the screen."""
    rows: dict[str, list[str]] = {}
    for y, text in LINE.findall(app.export_screenshot()):
        rows.setdefault(y, []).append(html.unescape(text).replace("\xa0", " "))
    return "\n".join("".join(parts) for parts in rows.values())


async def see(pilot: Pilot[Any], text: str, deadline: float = 40.0) -> None:
    """Wait until a text is on the screen; RuntimeError with the screen after `deadline` seconds."""
    end = asyncio.get_running_loop().time() + deadline
    while text.lower() not in (screen := shown(pilot.app)).lower():
        if asyncio.get_running_loop().time() > end:
            raise RuntimeError(f"not on the screen: {text!r}\n{screen}")
        await asyncio.sleep(0.1)


class Studio:
    """The core that is looked at, and where the pictures go."""

    def __init__(self, core: Daemon, warm: float) -> None:
        self.core, self.warm = core, warm
        self.taken: list[Path] = []

    async def sit(self, sitting: Sitting) -> None:
        """Run the app once and take its pictures."""
        from taskmaster_tui.app import TaskmasterApp  # noqa: PLC0415 - after its home is set
        from taskmaster_tui.options import Options  # noqa: PLC0415

        app = TaskmasterApp(Options("demo", self.core.places.commands, sitting.theme, "unicode"))
        async with app.run_test(size=sitting.size) as pilot:
            for step in sitting.steps:
                await self._do(pilot, step)

    async def _do(self, pilot: Pilot[Any], step: Step) -> None:
        match step:
            case Edit(old, new):
                self.core.write_config(self.core.config_path.read_text().replace(old, new))
            case Warm():
                await asyncio.sleep(self.warm)
            case See(text):
                await see(pilot, text)
            case Type(text):
                await pilot.press(*text)
            case Press(keys):
                await pilot.press(*keys.split())
            case Take(name):
                await pilot.pause(0.5)
                self._take(pilot.app, name)

    def _take(self, app: App[Any], name: str) -> None:
        path = PICTURES / f"{name}.svg"
        picture = app.export_screenshot(title="taskmaster").replace(str(self.core.dir), SHOWN_HOME)
        # what begins or ends with a space would lose it in rsvg, and with it its place
        path.write_text(picture.replace("<svg ", '<svg xml:space="preserve" ', 1))
        self.taken.append(path)
        print(f"{path.relative_to(ROOT)}")


def paint(svg: Path) -> None:
    """Make a PNG of a picture, where rsvg-convert is installed."""
    if shutil.which("rsvg-convert"):
        # it knows no textLength: the font must be as wide as the cells, 12.2 px (Fira Code is 1200 of 1950 units wide)
        text = svg.read_text().replace("font-size: 20px;", "font-size: 19.825px; text-rendering: geometricPrecision;")
        command = ["rsvg-convert", "-z", "1.5", "-o", str(svg.with_suffix(".png"))]
        subprocess.run(command, input=text, text=True, check=True)


def demo() -> str:
    """Return the demo's config as it must be to run elsewhere, and to show its plan before it acts."""
    text = (ROOT / "config" / "demo.toml").read_text()
    text = re.sub(r"(?m)^statedir = .*$", "", text).replace('autoreload = "apply"', 'autoreload = "ask"')
    return text.replace('workingdir = "../docs"', f'workingdir = "{ROOT / "docs"}"')


@contextmanager
def home() -> Iterator[None]:
    """Give the app a home of its own: nobody's settings or last place are in the pictures."""
    with tempfile.TemporaryDirectory(prefix="tms-") as directory:
        names = ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(dict.fromkeys(names, directory))
        os.environ["COLORTERM"] = "truecolor"
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def main() -> int:
    """Take all pictures, or those of one theme; return 0."""
    parser = argparse.ArgumentParser(description="Take the pictures in screenshots/.")
    parser.add_argument("--warm", type=float, default=60.0, help="seconds before the first picture (default: 60)")
    parser.add_argument("--only", choices=[name for each in SITTINGS for name in each.names()], help="its sitting only")
    asked = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    core = Daemon(demo())
    try:
        core.start()
        studio = Studio(core, asked.warm)
        with home():
            for sitting in SITTINGS:
                if asked.only in (None, *sitting.names()):
                    asyncio.run(studio.sit(sitting))
        for svg in studio.taken:
            paint(svg)
    finally:
        core.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
