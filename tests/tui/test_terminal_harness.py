"""The harness itself: keys reach a program, its screen is read, links are as slow as said, and nothing stays."""

from __future__ import annotations

import sys
import time

import pytest

from tests.terminal import KINDS, Link, RawTerminal, Terminal, gone, tmux_missing
from tests.vt import Screen

PYTHON = [sys.executable, "-I", "-S", "-c"]
CAT = ["sh", "-c", "stty raw -echo; echo ready; cat"]
ASK = """
import os, select, sys, tty, termios
tty.setraw(0)
os.write(1, sys.argv[1].encode() + b"ready")
data = b""
while select.select([0], [], [], 0.5)[0]: data += os.read(0, 100)
os.write(1, b"\\x1b[H got " + repr(data).encode() + b" end")
select.select([], [], [], 20)
"""
WRITE = """
import os
n = 0
while n < 500_000:
    n += os.write(1, b"x" * 1000)
    open(os.environ["OUT"], "w").write(str(n))
"""


# tmux


def test_keys_reach_the_program_and_its_screen_is_read(terminal):
    screen = terminal(["cat"])
    screen.type("hello; 'you'")
    screen.send("Enter")
    assert screen.wait_for(lambda text: text.count("hello; 'you'") == 2)


def test_colours_are_read(terminal):
    screen = terminal(["sh", "-c", r"printf '\033[38;2;1;2;3mred\n'; cat"])
    screen.wait_for("red")
    assert "38;2;1;2;3m" in screen.styled()


def test_the_program_hears_of_a_new_size(terminal):
    screen = terminal(["sh", "-c", "while :; do stty size; sleep 0.1; done"], columns=80, rows=24)
    screen.wait_for("24 80")
    screen.resize(100, 30)
    screen.wait_for("30 100")


def test_the_last_screen_and_the_exit_status_stay(terminal):
    screen = terminal(["sh", "-c", "echo last words; exit 7"])
    assert screen.wait_end() == 7
    screen.wait_for("last words")


def test_a_program_that_is_killed_tells_its_signal(terminal):
    screen = terminal(["sleep", "100"])
    screen.kill()
    assert screen.wait_end() == 128 + 9


def test_what_never_comes_fails_with_the_screen(terminal):
    screen = terminal(["sh", "-c", "echo something else; cat"])
    screen.wait_for("something else")
    with pytest.raises(AssertionError, match="something else"):
        screen.wait_for("never", 0.1)


@pytest.mark.skipif(bool(tmux_missing()), reason=tmux_missing() or "-")
def test_nothing_of_a_terminal_is_left():
    with Terminal(["sh", "-c", "trap '' HUP; echo up; while :; do sleep 0.2; done"]) as screen:
        screen.wait_for("up")
        directory, pid = screen.dir, screen.pid
        server = int(screen._tmux("display-message", "-p", "#{pid}"))
    end = time.monotonic() + 5
    while not (gone(pid) and gone(server)):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not directory.exists()


# The raw terminal


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (r"\x1b[3;4H\x1b[6n", r"\x1b[3;4R"),
        (r"\x1b[c", r"\x1b[?62;22c"),
        (r"\x1b[?2026$p", r"\x1b[?2026;2$y"),
        (r"\x1b[?u", r"\x1b[?0u"),
    ],
)
def test_questions_are_answered(question, answer):
    with RawTerminal([*PYTHON, ASK, question.encode().decode("unicode_escape")]) as terminal:
        terminal.wait_for(f"got b'{answer}' end")


def test_questions_are_left_unanswered_when_asked_to():
    with RawTerminal([*PYTHON, ASK, "\x1b[6n\x1b[c"], answers=KINDS - {"cpr"}) as terminal:
        terminal.wait_for(r"got b'\x1b[?62;22c' end")


def test_a_link_is_as_slow_as_said():
    with RawTerminal([*PYTHON, "print('x' * 20000 + '\\nend', flush=True); input()"], link=Link(40_000)) as terminal:
        took = terminal.wait_for("end") - terminal.started
        assert 0.5 <= took < 2


def test_a_key_takes_the_round_trip():
    with RawTerminal(CAT, link=Link(rtt=0.2)) as terminal:
        terminal.wait_for("ready")
        pressed = terminal.press("k")
        assert 0.2 <= terminal.wait_for(lambda screen: "k" in screen) - pressed < 0.6


def test_a_full_network_makes_the_writer_wait(tmp_path):
    written = tmp_path / "written"
    with RawTerminal([*PYTHON, WRITE], link=Link(1000, buffer=50_000), env={"OUT": str(written)}) as terminal:
        terminal.wait_for("xxx")
        time.sleep(0.5)
        assert 0 < int(written.read_text() or 0) < 100_000


def test_the_program_behind_a_raw_terminal_ends_with_it():
    with RawTerminal(CAT) as terminal:
        terminal.wait_for("ready")
    assert gone(terminal.pid)
    assert terminal.status is not None


# The small screen


def test_text_goes_where_the_cursor_is_and_wide_letters_take_two_cells():
    screen = Screen(10, 3)
    screen.feed("\x1b[2;5H漢a\x1b[1;1Htop\nnext\x1b[2;5H ".encode())
    assert screen.lines() == ["top", "next a", ""]


def test_sequences_cut_anywhere_are_put_together():
    data = "\x1b[2;3H\x1b[38;2;1;2;3mü\x1b[0m\x1b]0;title\x07end".encode()
    whole = Screen(10, 3)
    whole.feed(data)
    for at in range(len(data)):
        parts = Screen(10, 3)
        parts.feed(data[:at])
        parts.feed(data[at:])
        assert parts.text() == whole.text()
