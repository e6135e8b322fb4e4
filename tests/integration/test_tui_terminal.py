"""The TUI in a real terminal: how it is entered and left, what it leaves behind, and which terminals it can live in.

Every test looks at a real core through tmux or a bare pty, with keys as a person presses them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import seat
from tests.harness import Daemon, alive, children_of, wait_until
from tests.integration.shared import job, running, words
from tests.terminal import Terminal, gone

Sit = Callable[..., Terminal]
SLEEP = words("sleep", "1000")
CONFIG = "\n".join(
    [
        job("web", SLEEP, numprocess="3", successdelay='"0s"', tags='["front"]'),
        job("solo", SLEEP, successdelay='"0s"'),
        job("bad", words("sh", "-c", "echo oh no >&2; exit 78"), retry="0", successdelay='"1s"'),
    ]
)
ALL_UP = ("web", "solo", "bad", "3/3 up")
SGR = re.compile(rb"\x1b\[([\d;:]*)m")


@pytest.fixture(scope="module")
def core() -> Iterator[Daemon]:
    """One core for the tests that do it no harm."""
    with running(CONFIG) as made:
        made.wait_state("bad:0", "fatal")
        yield made


@pytest.fixture
def place(core: Daemon) -> Daemon:
    """The core, seen by somebody who was never here."""
    seat.forget_place(core)
    return core


def in_shell(argv: list[str]) -> list[str]:
    """Return a shell that notes what the terminal is like before and after a program, and stays."""
    line = " ".join(f"'{each}'" for each in argv)
    rest = "echo status $?; stty -a >after; echo the shell again; exec sleep 1000"
    return ["sh", "-c", f"stty -a >before; {line}; {rest}"]


def is_restored(screen: Terminal, core: Daemon) -> bool:
    """Tell whether the terminal is as it was before the program."""
    screen.wait_for("the shell again")
    stty = [(core.dir / name).read_text() for name in ("before", "after")]
    flags = {name: screen.ask(name) for name in ("alternate_on", "mouse_any_flag", "cursor_flag", "insert_flag")}
    assert flags == {"alternate_on": "0", "mouse_any_flag": "0", "cursor_flag": "1", "insert_flag": "0"}
    return stty[0] == stty[1]


# Leaving --------------------------------------------------------------------------------------------------------------


def test_q_leaves_says_that_jobs_keep_running_and_restores_the_terminal(place: Daemon, sit: Sit) -> None:
    before = place.pids()
    screen = sit(place, in_shell(seat.tui(place)))
    seat.live(screen, *ALL_UP)
    assert screen.ask("alternate_on") == "1"
    screen.send("q")
    said = screen.wait_for("the shell again")
    assert "4 processes keep running" in said
    assert "status 0" in said
    assert is_restored(screen, place)
    assert place.pids() == before


def test_ctrl_c_hints_and_leaves_only_the_second_time(place: Daemon, sit: Sit) -> None:
    before = place.pids()
    screen = sit(place, in_shell(seat.tui(place)))
    seat.live(screen, *ALL_UP)
    screen.send("C-c")
    screen.wait_for("q leaves, your jobs keep running")
    screen.send("C-c")
    assert "status 0" in screen.wait_for("the shell again")
    assert is_restored(screen, place)
    assert place.pids() == before


def test_SIGTERM_restores_the_terminal(place: Daemon, sit: Sit) -> None:
    screen = sit(place, in_shell(seat.tui(place)))
    seat.live(screen, *ALL_UP)
    os.kill(children_of(screen.pid)[0], signal.SIGTERM)
    assert "status 143" in screen.wait_for("the shell again")
    assert is_restored(screen, place)


def test_the_end_of_the_terminal_is_the_end_of_the_program(place: Daemon, sit: Sit) -> None:
    screen = sit(place)
    seat.live(screen, *ALL_UP)
    screen.close()  # the pane is closed: SIGHUP, and nobody at the other side of the tty
    assert gone(screen.pid)


def test_a_terminal_that_goes_without_a_signal_ends_the_program(place: Daemon) -> None:
    # as a dead ssh does under nohup or in a process that ignores SIGHUP: reads end, writes fail
    code = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    screen = seat.in_raw(place, [sys.executable, "-c", code, *seat.tui(place)])
    screen.wait_for(seat.UP)
    pid = screen.pid
    screen.close()
    assert gone(pid)
    assert screen.status != -signal.SIGKILL


def test_Q_offers_to_stop_all_and_wants_the_word_for_it(daemon: Any, sit: Sit) -> None:
    it = daemon(job("one", SLEEP, successdelay='"0s"') + job("two", SLEEP, successdelay='"0s"'))
    screen = sit(it)
    seat.live(screen, "one", "two")
    screen.wait_for(seat.rows_are(one="1/1 up", two="1/1 up"))
    screen.send("Q")
    screen.wait_for("Stop all jobs")
    screen.send("Down", "Enter")
    screen.wait_for(f"Type {it.instance} to do it")
    screen.type("y")
    screen.send("Enter")
    screen.wait_for(lambda text: "Type" in text)
    assert all(it.pids().values())
    screen.send("BSpace")
    screen.type(it.instance)
    screen.send("Enter")
    screen.wait_for(seat.rows_are(one="off", two="off"))
    assert not any(it.pids().values())
    assert it.ping()


# Ways in --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["tui"], ["up"]])
def test_on_a_terminal_the_command_ends_in_the_screen(place: Daemon, sit: Sit, command: list[str]) -> None:
    screen = sit(place, place.command(*command))
    seat.live(screen, *ALL_UP)
    assert not children_of(screen.pid)  # nothing of the CLI stays above it
    screen.send("q")
    screen.wait_end()


@pytest.mark.parametrize("how", ["dumb", "--plain", "a11y"])
def test_a_terminal_that_wants_lines_gets_lines(place: Daemon, sit: Sit, how: str) -> None:
    env = {"dumb": {"TERM": "dumb"}, "a11y": {"TASKMASTER_A11Y": "1"}}.get(how, {})
    argv = ["env", *(f"{name}={value}" for name, value in env.items()), *seat.tui(place)]
    screen = sit(place, argv + (["--plain"] if how == "--plain" else []))
    screen.wait_for(lambda text: "web" in text and "running" in text)
    assert screen.ask("alternate_on") == "0"
    screen.send("C-c")
    screen.wait_end()


def test_without_a_terminal_there_are_lines(place: Daemon) -> None:
    with subprocess.Popen(
        seat.tui(place), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=place.env, cwd=place.dir
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        assert b"\x1b" not in line + process.stdout.read()
    assert b"3 jobs" in line


def test_the_first_screen_of_a_restart_is_where_the_last_one_was_killed(place: Daemon, sit: Sit) -> None:
    screen = sit(place)
    seat.live(screen, *ALL_UP)
    screen.send("h")  # web, which is under the cursor, is folded
    screen.wait_for(lambda text: ":1" not in seat.row(text, ":1"))
    screen.send("j")
    screen.wait_for(lambda text: "solo" in seat.under_cursor(text))
    screen.send("/")
    screen.type("o")
    screen.send("Enter")
    screen.wait_for(lambda text: not seat.row(text, "web") and "solo" in seat.under_cursor(text))
    file = place.dir / "state" / "taskmaster" / "ui" / f"{place.instance}.json"
    wait_until(lambda: file.exists() and '"filter":"o"' in file.read_text(), what="the place is on disk")
    screen.kill()
    screen.wait_end()
    again = sit(place)
    text = seat.live(again, "solo")
    assert "solo" in seat.under_cursor(text)
    assert not seat.row(text, "web")
    again.send("Escape")
    text = again.wait_for(lambda text: seat.row(text, "web"))
    assert "▶" in seat.row(text, "web")
    assert "solo" in seat.under_cursor(text)


def test_the_view_is_the_same_after_a_kill(place: Daemon, sit: Sit) -> None:
    screen = sit(place)
    seat.live(screen, *ALL_UP)
    screen.send("3")
    screen.wait_for("[3 Events]")
    file = place.dir / "state" / "taskmaster" / "ui" / f"{place.instance}.json"
    wait_until(lambda: file.exists() and "events" in file.read_text(), what="the place is on disk")
    screen.kill()
    again = sit(place)
    seat.live(again, "[3 Events]")


# Sizes and colours ----------------------------------------------------------------------------------------------------


def test_every_size_shows_something_sensible(place: Daemon, sit: Sit) -> None:
    screen = sit(place, columns=120, rows=36)
    seat.live(screen, *ALL_UP)
    screen.resize(80, 24)
    screen.wait_for(lambda text: fits(text, 80) and "web" in text and "3/3 up" in text and "q" in text)
    screen.resize(45, 12)
    screen.wait_for(lambda text: fits(text, 45) and "web" in text and "3/3" in text)
    screen.resize(30, 6)
    screen.wait_for(lambda text: fits(text, 30) and "4" in text and "✗" in text)
    screen.resize(10, 2)
    screen.wait_for(lambda text: text.strip())
    screen.resize(120, 36)
    screen.wait_for(lambda text: all(each in text for each in (seat.UP, *ALL_UP, "[Logs]", "┃> ▼ ● web")))
    for view in "2345":
        screen.send(view)
        screen.wait_for(f"[{view} ")
        screen.resize(30, 6)
        screen.wait_for(lambda text: fits(text, 30) and text.strip())
        screen.resize(120, 36)
        screen.wait_for(f"[{view} ")
    assert screen.exit_status is None


def fits(text: str, columns: int) -> bool:
    """Tell whether every line was painted for this width: the border is whole, or there is none."""
    framed = [line for line in text.splitlines() if line.startswith(("┃", "┏", "┗"))]
    return all(line.rstrip()[-1] in "┃┓┛│╮╯" and len(line.rstrip()) <= columns for line in framed)


def test_NO_COLOR_means_no_colour(place: Daemon) -> None:
    with seat.in_raw(place, env={"NO_COLOR": "1"}) as screen:
        screen.wait_for(seat.UP)
        screen.wait_for("3/3 up")
        screen.send("3")
        screen.wait_for("[3 Events]")
        raw = bytes(screen.raw or b"")
    colours = {found.group() for found in SGR.finditer(raw) if coloured(found.group(1))}
    assert not colours
    assert b"\x1b[7m" in raw or b";7m" in raw or b"\x1b[7;" in raw  # the cursor is seen without


def coloured(numbers: bytes) -> bool:
    """Tell whether an SGR sequence sets a colour."""
    found = [int(each) for each in re.split(rb"[;:]", numbers) if each]
    return any(30 <= each <= 38 or 40 <= each <= 48 or 90 <= each <= 107 for each in found)


def test_colours_are_there_without_it(place: Daemon) -> None:
    with seat.in_raw(place) as screen:
        screen.wait_for(seat.UP)
        screen.wait_for("3/3 up")
        assert any(coloured(found.group(1)) for found in SGR.finditer(bytes(screen.raw or b"")))


def test_somebody_who_stops_it_with_SIGSTOP_finds_it_alive_afterwards(place: Daemon, sit: Sit) -> None:
    screen = sit(place)
    seat.live(screen, *ALL_UP)
    os.kill(screen.pid, signal.SIGSTOP)
    screen.send("3")
    os.kill(screen.pid, signal.SIGCONT)
    screen.wait_for("[3 Events]")
    assert alive(screen.pid)
