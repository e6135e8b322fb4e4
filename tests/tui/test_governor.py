"""One acknowledged live frame in flight: by the clock, and then in a terminal behind a slow link."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from itertools import pairwise
from pathlib import Path

import pytest
from textual import events

from taskmaster_tui import _textual_compat as compat
from taskmaster_tui.governor import BLIND_FPS, FIRST, PATIENCE, QUEUED, TRIES, Governor
from tests.terminal import Link, RawTerminal

SAMPLE = Path(__file__).parent.parent / "programs" / "live_sample.py"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal:
    """A governor, its clock, and a terminal that answers after some seconds."""

    def __init__(self, *, fps: float = 15, asking: bool = True) -> None:
        self.clock = Clock()
        self.governor = Governor(fps, self.clock)
        self.governor.asking = asking

    def paint(self) -> int | None:
        assert self.governor.may_paint()
        self.governor.painted()
        return self.governor.question()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def exchange(self, seconds: float) -> None:
        self.wait(self.governor.delay() + 0.001)
        number = self.paint()
        self.wait(seconds)
        assert number is not None
        self.governor.answered(number)


def sample(*words: str) -> list[str]:
    return [sys.executable, str(SAMPLE), *words]


# By the clock


def test_the_first_frame_goes_at_once_and_the_next_after_a_fifteenth_of_a_second():
    each = Terminal(asking=False)
    each.paint()
    assert not each.governor.may_paint()
    assert each.governor.delay() == pytest.approx(1 / 15)
    each.wait(1 / 15 + 0.001)
    assert each.governor.may_paint()


def test_no_question_is_asked_where_there_is_no_terminal():
    assert Terminal(asking=False).paint() is None


def test_no_question_is_asked_behind_a_frame_that_a_key_caused():
    assert Terminal().governor.question() is None


def test_while_a_frame_is_under_way_no_other_is_painted():
    each = Terminal()
    each.paint()
    each.wait(FIRST - 0.1)
    assert not each.governor.may_paint()


def test_until_the_first_answer_patience_is_short():
    each = Terminal()
    each.paint()
    assert each.governor.delay() == pytest.approx(FIRST)


def test_the_answer_frees_the_next_frame_and_says_so():
    each, freed = Terminal(), []
    each.governor.on_free = lambda: freed.append(1)
    number = each.paint()
    assert number is not None
    each.wait(0.1)
    each.governor.answered(number)
    assert (freed, each.governor.may_paint()) == ([1], True)


def test_without_an_answer_the_next_frame_goes_after_three_seconds():
    each = Terminal()
    each.exchange(0.01)
    each.wait(1)
    each.paint()
    assert each.governor.delay() == pytest.approx(PATIENCE)
    each.wait(PATIENCE)
    assert each.governor.may_paint()


def test_the_answer_for_a_frame_that_was_given_up_frees_nothing():
    each = Terminal()
    late = each.paint()
    each.wait(PATIENCE)
    assert late is not None
    assert each.paint() != late
    each.governor.answered(late)
    assert each.governor.in_flight


def mute() -> Terminal:
    each = Terminal()
    for _ in range(TRIES):
        assert each.paint() is not None
        each.wait(FIRST)
    assert each.governor.may_paint()
    assert each.governor.mute
    return each


def test_a_terminal_that_never_answers_gets_five_frames_a_second():
    each = mute()
    each.paint()
    assert each.governor.delay() == pytest.approx(1 / BLIND_FPS)
    assert each.governor.slow == ""
    assert not each.governor.in_flight


def test_a_terminal_that_never_answers_is_asked_every_three_seconds():
    each = mute()
    asked = []
    for _ in range(int(2 * PATIENCE * BLIND_FPS)):
        asked.append(each.paint() is not None)
        each.wait(1 / BLIND_FPS + 0.001)
    assert sum(asked) == 2


@pytest.mark.parametrize("late", [0, 1])
def test_a_terminal_that_answers_late_is_not_mute_but_far_away(late):
    each = mute()
    last = each.paint()
    assert last is not None
    each.wait(1)
    each.governor.answered(last - late)
    assert not each.governor.mute
    assert each.governor.may_paint() is (late == 0)


def test_a_terminal_that_answered_once_is_not_held_for_mute():
    each = Terminal()
    each.exchange(0.01)
    for _ in range(TRIES + 1):
        each.wait(PATIENCE + 1)
        assert each.paint() is not None
    assert not each.governor.mute


def test_a_quick_link_has_nothing_said_of_it():
    each = Terminal()
    for _ in range(20):
        each.exchange(0.1)
    assert each.governor.slow == ""


def test_a_slow_link_is_named_with_its_frames_a_second():
    each = Terminal()
    for _ in range(20):
        each.exchange(0.25)
    assert each.governor.slow == "slow link · 3 fps"
    assert not each.governor.thin


def test_a_very_slow_link_is_named_and_what_is_only_nice_is_left_away():
    each = Terminal()
    for _ in range(20):
        each.exchange(1.0)
    assert each.governor.slow == "slow link · <1 fps"
    assert each.governor.thin


def test_a_link_that_stalls_is_named_before_the_answer_comes():
    each = Terminal()
    each.exchange(0.01)
    each.wait(1)
    each.paint()
    each.wait(1.2)
    assert each.governor.slow == "slow link · <1 fps"


def test_a_link_that_recovers_is_no_longer_named():
    each = Terminal()
    for _ in range(5):
        each.exchange(1.0)
    for _ in range(20):
        each.exchange(0.02)
    assert each.governor.slow == ""
    assert each.governor.period == pytest.approx(1 / 15)


def test_a_slow_link_rests_a_third_of_the_time_for_keys():
    each = Terminal()
    for _ in range(20):
        each.exchange(1.0)
    assert each.governor.delay() == pytest.approx(0.5, abs=0.02)


def test_the_option_fps_caps_the_rate():
    each = Terminal(fps=2, asking=False)
    each.paint()
    assert each.governor.delay() == pytest.approx(0.5)


def test_a_full_writer_queue_holds_live_frames():
    each = Terminal()
    each.governor.queued = lambda: QUEUED + 1
    assert not each.governor.may_paint()
    assert each.governor.delay() > 0
    each.governor.queued = lambda: 0
    assert each.governor.may_paint()


def test_after_the_terminal_was_handed_over_no_answer_is_waited_for():
    each = Terminal()
    each.paint()
    each.wait(0.1)
    each.governor.forget()
    assert each.governor.may_paint()


def test_before_the_terminal_is_left_no_more_is_asked():
    each = Terminal()
    each.governor.quiet = True
    assert each.paint() is None


# What the terminal is asked, and what it says


@pytest.mark.parametrize("number", range(10))
def test_the_answer_tells_which_question_it_answers(number):
    ((row, column),) = re.findall(r"\x1b\[(\d+);(\d+)H\x1b\[6n", compat.question(number))
    assert compat.answer(events.CursorPosition(int(column) - 1, int(row) - 1)) == number


@pytest.mark.parametrize(("modifier", "key"), [(2, "shift+f3"), (3, "alt+f3"), (5, "ctrl+f3"), (6, "ctrl+shift+f3")])
def test_f3_with_modifiers_is_a_key_and_no_answer(modifier, key):
    report = events.CursorPosition(modifier - 1, 0)
    assert (compat.answer(report), compat.pressed(report)) == (None, key)


@pytest.mark.parametrize(
    ("version", "known"),
    [("8.2.8", True), ("8.3.0", True), ("8.2.7", False), ("9.0.0", False), ("10.1", False), ("8.2.8.dev1", True)],
)
def test_only_versions_that_were_read_are_touched(version, known):
    assert compat.known(version) is known


async def test_without_a_terminal_nothing_is_asked():
    app = compat.Governed()
    async with app.run_test() as pilot:
        app.governor.painted()
        app.refresh()
        await pilot.pause()
        assert not app.governor.asking


# In a terminal


def test_a_key_gets_through_a_flood_over_one_megabit():
    with RawTerminal(sample("--rate", "10000"), link=Link.bits(1e6)) as terminal:
        terminal.wait_for("painted=1")
        took = []
        for n in range(1, 6):
            pressed = terminal.press("j")
            took.append(terminal.wait_for(f"keys={n} ") - pressed)
        assert sorted(took)[2] < 0.4  # stock Textual: over 1.5 s


def test_a_slow_link_is_told_on_the_screen():
    with RawTerminal(sample("--rate", "10000"), link=Link.bits(2e5)) as terminal:
        terminal.wait_for("slow link")


def test_a_terminal_that_never_answers_is_painted_nevertheless():
    with RawTerminal(sample("--rate", "10000"), answers=frozenset()) as terminal:
        terminal.wait_for("mute=True")
        painted = terminal.screen.lines()[-1]
        terminal.wait_for(lambda screen: screen.lines()[-1] != painted)


@pytest.mark.parametrize("key", ["f3", "shift+f3", "ctrl+f3"])
def test_f3_arrives_as_a_key_amid_answers(key):
    with RawTerminal(sample("--rate", "10000")) as terminal:
        terminal.wait_for("painted=")
        terminal.press(key)
        terminal.wait_for(f"keys=1 {key}.")


def test_a_terminal_that_takes_nothing_does_not_stop_the_loop_and_is_painted_when_it_does(tmp_path):
    beats = tmp_path / "beats"
    with RawTerminal(sample("--rate", "10000", "--beat", str(beats))) as terminal:
        terminal.wait_for("painted=")
        terminal.set_link(Link(buffer=0))
        for _ in range(60):
            terminal.press("j")
            time.sleep(0.02)
        terminal.set_link(Link())
        terminal.wait_for("keys=60 ")
    times = [float(line) for line in beats.read_text().split()]
    assert max(b - a for a, b in pairwise(times)) < 0.6


def test_no_answer_comes_after_the_terminal_was_left():
    with RawTerminal(sample("--rate", "10000"), link=Link(rtt=0.3)) as terminal:
        terminal.wait_for("painted=")
        shell = os.open(terminal.tty(), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        terminal.press("q")
        assert terminal.wait_end() == 0
        tty.setraw(shell, termios.TCSANOW)
        late = select.select([shell], [], [], 0.4)[0]
        assert not late, os.read(shell, 100)
        os.close(shell)
