"""Measure the TUI in a real pty: what it costs, and how long a key takes to the screen.

It decides how each figure is taken; what it should be is in `tui.py`, which calls it. Every measure is a generator of
(name, value), so that what was measured before a failure is kept.
"""

from __future__ import annotations

import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import kernel
import tui_worlds as worlds

from tests.terminal import Link, RawTerminal
from tests.vt import Screen

PYTHON = sys.executable
SAMPLE = str(worlds.ROOT / "tests" / "programs" / "live_sample.py")
MINIMAL = """
from textual.app import App
from textual.widgets import Static
class Minimal(App):
    def compose(self):
        yield Static("painted")
Minimal().run()
"""
CURSOR = re.compile(r"^\W?>")
FIRST = re.compile(r"request +0 ")
Figures = Iterator[tuple[str, float]]


class Size(NamedTuple):
    """How much is done of everything."""

    starts: int
    idle: float
    flood: float
    presses: int
    lines: int


FULL = Size(10, 20.0, 10.0, 40, 1_000_000)
QUICK = Size(3, 5.0, 4.0, 12, 200_000)


def tui(socket: str) -> list[str]:
    """Return the command line of the TUI."""
    return [PYTHON, "-m", "taskmaster_tui", "--socket", socket]


@contextmanager
def at_home(argv: Sequence[str], columns: int, rows: int, link: Link | None = None) -> Iterator[RawTerminal]:
    """Run a program in a terminal, with a home of its own, so that nobody's settings or last place count."""
    with tempfile.TemporaryDirectory(prefix="tmb-") as home:
        places = dict.fromkeys(("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), home)
        # compiled once, as it is for everybody who installs it
        env = {**places, "PYTHONDONTWRITEBYTECODE": ""}
        with RawTerminal(argv, columns=columns, rows=rows, link=link, env=env, cwd=worlds.ROOT) as terminal:
            yield terminal


def cursor(screen: Screen) -> int | None:
    """Return the row of the list's cursor."""
    return next((y for y, line in enumerate(screen.lines()) if CURSOR.match(line)), None)


def press(terminal: RawTerminal, key: str, deadline: float = 30.0) -> float:
    """Press a key that moves the cursor; return the seconds until the terminal shows it moved."""
    before = cursor(terminal.screen)
    pressed = terminal.press(key)
    return terminal.wait_for(lambda screen: cursor(screen) not in (before, None), deadline) - pressed


def presses(terminal: RawTerminal, count: int, pause: float = 0.15) -> list[float]:
    """Move the cursor down and up again, at moments that have nothing to do with the frames; return the times."""
    took = []
    for n in range(count):
        time.sleep(pause * random.uniform(0.3, 1.3))
        took.append(press(terminal, "j" if n % 2 == 0 else "k"))
    return took


def p50(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def share(pid: int, seconds: float) -> tuple[float, kernel.Effort]:
    """Return the part of one CPU (in %) that a process uses in the time, and its effort."""
    began, before = time.monotonic(), kernel.effort([pid])
    time.sleep(seconds)
    effort = kernel.effort([pid]).since(before)
    return 100 * effort.cpu / (time.monotonic() - began), effort


# Start


def _until(argv: Sequence[str], text: str, columns: int, rows: int) -> tuple[float, float]:
    with at_home(argv, columns, rows) as terminal:
        took = terminal.wait_for(text) - terminal.started
        return took, kernel.memory(terminal.pid)[0]


def start(size: Size) -> Figures:
    """From exec to the screen: python itself, a Textual app of one line, the TUI with 40 jobs."""
    with worlds.many_rows(40, 2, 0) as socket:
        for columns, rows in ((80, 24), (120, 36)):
            programs = {
                "python": ([PYTHON, "-c", "print('painted')"], "painted"),
                "minimal": ([PYTHON, "-c", MINIMAL], "painted"),
                "skeleton": (tui(socket), "Jobs"),
                "tui": (tui(socket), "job001"),
            }
            took: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
            for _ in range(size.starts):  # one after the other, so that all see the same machine
                for name, (argv, text) in programs.items():
                    took[name].append(_until(argv, text, columns, rows))
            for name, values in took.items():
                yield f"start.{name}.{columns}", 1000 * p50([seconds for seconds, _ in values])
            yield f"start.pss.{columns}", p50([pss for _, pss in took["tui"]])


# What it costs to look


def idle(size: Size) -> Figures:
    """Ten jobs that sleep, nobody touches a key."""
    with worlds.real_core() as daemon, at_home(tui(daemon.places.commands), 120, 36) as terminal:
        terminal.wait_for("idle9")
        time.sleep(3)
        received = terminal.received
        cpu, effort = share(terminal.pid, size.idle)
        yield "idle.cpu", cpu
        yield "idle.wakeups", effort.wakeups / size.idle
        yield "idle.bytes", (terminal.received - received) / size.idle
        yield "idle.pss", kernel.memory(terminal.pid)[0]


def _to_flood(terminal: RawTerminal) -> None:
    """Put the cursor on the job that floods, unfolded, so that j and k go to and fro and its output stays."""
    terminal.wait_for("idle1")
    terminal.wait_for(lambda screen: cursor(screen) is not None)
    terminal.press("g")
    terminal.press("l")
    terminal.wait_for("request ", 20)
    time.sleep(2)


def _flooded(daemon: worlds.Daemon, size: Size, columns: int, rows: int) -> Figures:
    with at_home(tui(daemon.places.commands), columns, rows) as terminal:
        _to_flood(terminal)
        received, began = terminal.received, time.monotonic()
        core = kernel.effort([daemon.core_pid])
        cpu, _ = share(terminal.pid, size.flood)
        took = time.monotonic() - began
        yield f"flood.cpu.{columns}", cpu
        yield f"flood.core.{columns}", 100 * kernel.effort([daemon.core_pid]).since(core).cpu / took
        yield f"flood.bytes.{columns}", (terminal.received - received) / took / 1000
        keys = presses(terminal, size.presses)
        yield f"flood.key50.{columns}", 1000 * p50(keys)
        yield f"flood.key95.{columns}", 1000 * p95(keys)


def flood(size: Size) -> Figures:
    """One job that writes 10,000 coloured lines a second, its output in the pane beside the list."""
    with worlds.real_core(10_000) as daemon:
        for columns, rows in ((80, 24), (120, 36)):
            yield from _flooded(daemon, size, columns, rows)


def many(size: Size) -> Figures:
    """5,000 processes, each published once a second; all rows unfolded."""
    with worlds.many_rows(625, 8, 1.0) as socket, at_home(tui(socket), 120, 36) as terminal:
        terminal.wait_for("job001", 20)
        terminal.wait_for(lambda screen: cursor(screen) is not None)
        time.sleep(3)
        cpu, _ = share(terminal.pid, size.flood)
        yield "rows.cpu", cpu
        keys = presses(terminal, size.presses)
        yield "rows.key50", 1000 * p50(keys)
        yield "rows.key95", 1000 * p95(keys)
        yield "rows.pss", kernel.memory(terminal.pid)[0]


# A long log


def _await_lines(daemon: worlds.Daemon) -> None:
    path = Path(daemon.places.log_path("flood", 0, "out"))

    def written() -> bool:
        with path.open("rb") as file:
            file.seek(-min(64, path.stat().st_size), 2)
            return file.read().endswith(b"that was all\n")

    daemon.wait(written, 240, "all lines written")


def long_log(size: Size) -> Figures:
    """Open the output of a job that wrote a million lines, go through it, and search it."""
    with worlds.real_core(0, size.lines, idle=2) as daemon:
        _await_lines(daemon)
        with at_home(tui(daemon.places.commands), 120, 36) as terminal:
            terminal.wait_for("idle1")
            time.sleep(2)
            before = kernel.memory(terminal.pid)[0]
            terminal.press("2")
            terminal.wait_for("that was all", 20)
            opened = time.monotonic()
            terminal.press("g")
            first = terminal.wait_for(lambda screen: any(FIRST.search(each) for each in screen.lines()), 30)
            yield "long.oldest", 1000 * (first - opened)
            for _ in range(20):
                terminal.press("\x1b[6~")
                time.sleep(0.05)
            terminal.press("G")
            terminal.wait_for("that was all", 20)
            yield "long.memory", kernel.memory(terminal.pid)[0] - before
            yield from _searched(terminal)


def _searched(terminal: RawTerminal) -> Figures:
    terminal.press("/")
    time.sleep(0.3)
    for letter in "request   123456 ":
        terminal.send(letter)
    began = terminal.send("\r")
    yield "long.search", terminal.wait_for("1 of 1", 60) - began


# Slow links


LINKS = {"1m": Link.bits(1e6), "100k": Link.bits(1e5)}


def links(size: Size) -> Figures:
    """The same flood, looked at from far away: 100 ms round trip, 256 kB in the network."""
    with worlds.real_core(10_000) as daemon:
        for name, link in LINKS.items():
            with at_home(tui(daemon.places.commands), 120, 36, link) as terminal:
                _to_flood(terminal)
                time.sleep(3)
                keys = presses(terminal, max(size.presses // 2, 10), 0.6)
                yield f"link.{name}.key50", 1000 * p50(keys)
                yield f"link.{name}.key95", 1000 * p95(keys)


def stock(size: Size) -> Figures:
    """The sample app's flood without the governor: what Textual does by itself."""
    for name, link in LINKS.items():
        for kind, more in (("stock", ["--stock"]), ("sample", [])):
            with at_home([PYTHON, SAMPLE, "--rate", "10000", *more], 120, 36, link) as terminal:
                terminal.wait_for("painted=", 30)
                time.sleep(4)
                keys = []
                for n in range(1, 6):
                    pressed = terminal.press("j")
                    try:
                        keys.append(terminal.wait_for(f"keys={n} ", 30) - pressed)
                    except AssertionError:
                        keys.append(30.0)  # not within half a minute
                        break
                    time.sleep(0.4)
                yield f"link.{name}.{kind}", 1000 * p50(keys)


MEASURES = {
    "start": start, "idle": idle, "flood": flood, "rows": many, "long": long_log, "links": links, "stock": stock,
}  # fmt: skip
