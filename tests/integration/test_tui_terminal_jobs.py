"""The TUI in a real terminal, acting: what keys do to processes, to the config file and to the person's editor.

Every test looks at the screen and asks the core by itself what has really happened.
"""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import seat
from tests.harness import Daemon, alive, program, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import job, words
from tests.terminal import Link, Terminal

Sit = Callable[..., Terminal]
SLEEP = words("sleep", "1000")
SOON = {"successdelay": '"0s"'}
WEB = job("web", SLEEP, numprocess="3", **SOON)
SOLO = job("solo", SLEEP, **SOON)


def cursor_on(screen: Terminal, name: str) -> None:
    """Wait until the cursor is on a row."""
    screen.wait_for(lambda text: name in seat.under_cursor(text))


@pytest.fixture
def before_web(daemon: Start, sit: Sit) -> tuple[Daemon, Terminal]:
    """Two jobs, and somebody who looks at them."""
    it = daemon(WEB + SOLO)
    screen = sit(it)
    screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up"))
    return it, screen


# Keys and processes ---------------------------------------------------------------------------------------------------


def test_x_stops_what_is_under_the_cursor_and_u_starts_it_again(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    before = it.pids()
    screen.send("j", "j")
    cursor_on(screen, ":1")
    screen.send("x")
    screen.wait_for(lambda text: "off" in seat.under_cursor(text) and "2/3 up" in text)
    now = it.pids()
    assert now == {**before, "web:1": None}
    screen.send("u")
    screen.wait_for("start web:1")
    screen.send("y")
    screen.wait_for(lambda text: "running" in seat.under_cursor(text) and "3/3 up" in text)
    assert it.pids()["web:1"]
    assert {**it.pids(), "web:1": None} == now


def test_s_r_and_X_do_to_the_process_what_they_say(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    screen.send("G")
    cursor_on(screen, "solo")
    first = it.pids()
    screen.send("r")
    screen.wait_for("solo restarted")
    second = it.pids()
    assert first["solo:0"] != second["solo:0"]
    assert {key: pid for key, pid in first.items() if key != "solo:0"}.items() <= second.items()
    screen.send("X")
    screen.wait_for(lambda text: "solo killed" in text)
    assert not alive(second["solo:0"] or 0)
    screen.wait_for(lambda text: "1/1 up" not in seat.row(text, "solo"))
    screen.send("s")
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    assert it.pids()["solo:0"] not in (None, second["solo:0"])


def test_plus_and_minus_scale_and_several_presses_are_one_order(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    screen.send("G")
    cursor_on(screen, "solo")
    kept = it.pids()
    screen.send("+")
    screen.wait_for(seat.rows_are(solo="2/2 up"))
    assert set(it.pids()) - set(kept) == {"solo:1"}
    screen.send("+", "+")
    screen.wait_for("solo: starts 2")  # more than one: it asks, with what it will do
    screen.send("y")
    screen.wait_for(seat.rows_are(solo="4/4 up"))
    screen.send("-")
    screen.wait_for(seat.rows_are(solo="3/3 up"))
    assert kept.items() <= it.pids().items()


def test_K_sends_the_signal_that_is_found_by_its_name(daemon: Start, sit: Sit) -> None:
    it = daemon(job("ears", words(*program("signal_log.py")), **SOON))
    it.wait(lambda: "ready" in it.output("ears:0"))
    pid = it.pids()["ears:0"]
    screen = sit(it)
    screen.wait_for(seat.rows_are(ears="1/1 up"))
    screen.send("K")
    screen.wait_for("Send a signal to ears")
    screen.type("usr2")
    screen.wait_for(lambda text: "USR2" in text and "QUIT" not in text)
    screen.send("Enter")
    it.wait(lambda: "SIGUSR2" in it.output("ears:0"))
    screen.wait_for("signalled")
    assert it.pids()["ears:0"] == pid


def test_p_holds_and_p_again_releases(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    screen.send("G")
    cursor_on(screen, "solo")
    pid = it.pids()["solo:0"]
    screen.send("p")
    screen.wait_for("held: no automatic restart")
    assert it.proc("solo:0").held
    os.kill(pid or 0, signal.SIGKILL)
    screen.wait_for(lambda text: "0/1" in seat.row(text, "solo") or "SIGKILL" in seat.row(text, "solo"))
    assert it.proc("solo:0").state == "exited"
    screen.send("p")
    screen.wait_for("solo released")
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    it.wait(lambda: it.pids()["solo:0"] not in (None, pid))


def test_several_at_once_are_asked_for_and_the_default_is_no(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    before = it.pids()
    screen.send("x")
    screen.wait_for("stops 3")
    screen.send("Enter")
    screen.wait_for("nothing was done")
    assert it.pids() == before
    screen.send("x")
    screen.wait_for("stops 3")
    screen.send("y")
    screen.wait_for(seat.rows_are(web="off"))
    assert it.pids() == {**dict.fromkeys(before), "solo:0": before["solo:0"]}


def test_what_is_typed_behind_the_slash_is_the_filter_and_no_command(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    before = it.pids()
    screen.send("G")
    cursor_on(screen, "solo")
    screen.type("/sxr")  # in one packet, as over a slow link
    screen.wait_for("nothing matches")
    screen.send("Escape")
    screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up"))
    assert it.pids() == before


# Why it is down -------------------------------------------------------------------------------------------------------


def test_the_card_says_why_it_is_down_and_r_on_it_works_once_the_config_is_right(daemon: Start, sit: Sit) -> None:
    bad = job("mailer", words("sh", "-c", "echo no such host >&2; exit 78"), retry="1", successdelay='"1s"')
    it = daemon(bad + SOLO)
    it.wait_state("mailer:0", "fatal")
    screen = sit(it)
    text = seat.live(screen, "no such host")
    assert "exit 78" in text or "78" in text
    for word in ("mailer:0", "FATAL", "78", "try again", "edit this job"):
        assert word in text, f"{word} is not on the card\n{text}"
    screen.send("r")
    it.wait(lambda: it.proc("mailer:0").run > 2, what="r tried it again")
    it.wait_state("mailer:0", "fatal")
    solo = it.pids()["solo:0"]
    it.write_config(job("mailer", SLEEP, **SOON) + SOLO)
    screen.wait_for(seat.rows_are(mailer="1/1 up"), 5)
    screen.send("r")
    screen.wait_for("mailer restarted")
    text = screen.wait_for(seat.rows_are(mailer="1/1 up"))
    assert "edit this job" not in text
    assert it.pids()["solo:0"] == solo


# The config is saved by somebody else ---------------------------------------------------------------------------------


def test_a_save_of_another_program_shows_up_within_two_seconds(before_web: tuple[Daemon, Terminal]) -> None:
    it, screen = before_web
    before = it.pids()
    it.write_config(job("new", SLEEP, **SOON) + WEB + SOLO)
    screen.wait_for(seat.rows_are(new="1/1 up"), 2.5)
    assert before.items() <= it.pids().items()
    it.write_config("[[task]\nname = ")
    screen.wait_for("1 problem", 2.5)
    assert before.items() <= it.pids().items()
    screen.send("5")
    screen.wait_for(lambda text: "What runs is untouched" in text and str(it.config_path.name) in text)
    it.write_config(WEB + SOLO)
    screen.wait_for(lambda text: "problem" not in text.splitlines()[0] and "config ok" in text, 3)
    it.wait(lambda: it.pids() == before, what="what was removed is gone, nothing else")


def test_with_ask_a_save_waits_and_the_plan_is_applied_but_for_what_is_left_out(daemon: Start, sit: Sit) -> None:
    ask = '[taskmaster]\nautoreload = "ask"\n'
    two = job("two", SLEEP, **SOON)
    it = daemon(ask + WEB + SOLO + two)
    screen = sit(it)
    screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up", two="1/1 up"))
    before = it.pids()
    other = words("sleep", "2000")
    it.write_config(ask + WEB + job("solo", other, **SOON) + job("two", other, **SOON) + job("add", SLEEP, **SOON))
    screen.wait_for("3 jobs to reload", 3)
    assert it.pids() == before
    screen.send("C-r")
    screen.wait_for(lambda text: all(each in text for each in ("Reload plan", "solo", "two", "add", "Nothing")))
    for _ in range(6):
        if "solo" in seat.under_cursor(screen.screen()):
            break
        row = seat.under_cursor(screen.screen())
        screen.send("j")
        screen.wait_for(lambda text, row=row: seat.under_cursor(text) != row)
    screen.send("Space")
    screen.wait_for(lambda text: re.search(r"left out|leave", seat.row(text, "solo")))
    screen.send("a")
    screen.wait_for("is in force")
    after = it.pids()
    assert {"web:0", "web:1", "web:2", "solo:0"} <= {key for key, pid in before.items() if after.get(key) == pid}
    assert after["two:0"] not in (None, before["two:0"])
    assert after["add:0"]


# The editor -----------------------------------------------------------------------------------------------------------

EDITOR = """#!/bin/sh
# note how it was called, and wait until the test says what to do
echo "$@" > {dir}/called
stty size > {dir}/size
trap 'echo int > {dir}/interrupted' INT
echo EDITOR IS HERE
while [ ! -e {dir}/go ]; do sleep 0.02; done
for last; do :; done
[ -e {dir}/wish ] && cp {dir}/wish "$last"
stty size > {dir}/size
exit 0
"""


def editing(it: Daemon) -> dict[str, str]:
    """Return an environment with an editor that waits for a file `go`, and saves what is in `wish`."""
    return {"EDITOR": seat.script(it.dir, "vi", EDITOR.format(dir=it.dir)), "VISUAL": ""}


def test_e_opens_the_editor_at_the_line_of_the_job_and_comes_back_to_a_whole_screen(daemon: Start, sit: Sit) -> None:
    text = "# kept\n" + WEB + SOLO
    it = daemon(text)
    line = text.splitlines().index('name = "solo"') + 1
    screen = sit(it, env=editing(it))
    screen.wait_for(seat.rows_are(web="3/3 up", solo="1/1 up"))
    before = it.pids()
    screen.send("G")
    cursor_on(screen, "solo")
    screen.send("e")
    screen.wait_for(lambda text: "EDITOR IS HERE" in text and "web" not in text)
    called = wait_until((it.dir / "called").read_text, what="the editor was called")
    assert re.search(rf"\+({line}|{line - 1})\b", called)
    screen.send("C-c")
    wait_until((it.dir / "interrupted").exists, what="ctrl+c has reached the editor")
    screen.resize(100, 30)
    (it.dir / "wish").write_text(text.replace("[[task]]", "# a remark\n[[task]]", 1) + job("added", SLEEP, **SOON))
    (it.dir / "go").touch()
    screen.wait_for(seat.rows_are(added="1/1 up"))
    screen.wait_for(lambda text: "saved" in text and "EDITOR" not in text and whole(text, 100, 30))
    assert (it.dir / "size").read_text() == "30 100\n"
    assert "# kept" in it.config_path.read_text()
    assert before.items() <= it.pids().items()
    screen.send("3")
    screen.wait_for("[3 Events]")
    assert stat.S_IMODE(it.config_path.stat().st_mode) == 0o644


LISTENER = """#!/bin/sh
stty -icanon -echo min 0 time 10
dd bs=100 count=1 of={dir}/typed 2>/dev/null
echo > {dir}/heard
exit 1
"""


def test_what_the_terminal_still_answers_is_not_typed_into_the_editor(daemon: Start) -> None:
    it = daemon(job("busy", words("sh", "-c", "while :; do echo line; sleep 0.01; done"), **SOON))
    env = {"EDITOR": seat.script(it.dir, "ear.sh", LISTENER.format(dir=it.dir))}
    with seat.in_raw(it, env=env, link=Link(rtt=0.3)) as screen:
        screen.wait_for(seat.UP)
        screen.wait_for("line")
        screen.send("e")
        wait_until((it.dir / "heard").exists, what="the editor has listened")
        assert (it.dir / "typed").read_bytes() == b""


def whole(text: str, columns: int, rows: int) -> bool:
    """Tell whether the border of the list goes down to the bars below it."""
    lines = text.splitlines()
    borders = [line for line in lines if line.startswith(("┃", "│"))]
    return len(lines) == rows and len(borders) > 5 and all(len(line) == columns for line in borders)


def test_what_fails_while_an_editor_has_the_terminal_does_not_stop_the_screen(daemon: Start, sit: Sit) -> None:
    """The writer stands still meanwhile: the 30th change of the title waited for it for ever."""
    it = daemon(SOLO + job("bad", words("sh", "-c", "sleep 0.2; exit 3"), retry="0"))
    screen = sit(it, env=editing(it))
    screen.wait_for(seat.rows_are(solo="1/1 up", bad="0/1 FATAL"))
    screen.send("E")
    screen.wait_for("EDITOR IS HERE")
    for _ in range(20):  # each is a change to no failure, and one back
        it.request("restart", "bad", wait=False)
        it.wait_state("bad:0", "starting", "running", "backoff")
        it.wait_state("bad:0", "fatal")
    (it.dir / "go").touch()
    screen.wait_for(seat.rows_are(solo="1/1 up", bad="0/1 FATAL"))
    screen.send("?")
    screen.wait_for("All keys")


def test_title_and_cursor_are_ours_again_after_an_editor_that_had_its_own(daemon: Start, sit: Sit) -> None:
    it = daemon(SOLO)
    settings = it.dir / "config" / "taskmaster" / "ui.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("cursor = true\n")
    titled = EDITOR.replace("echo EDITOR", "printf '\\033]0;of the editor\\007'; echo EDITOR", 1)
    editor = seat.script(it.dir, "vi", titled.format(dir=it.dir))
    screen = sit(it, env={"EDITOR": editor, "VISUAL": ""})
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    wait_until(lambda: screen.ask("cursor_flag") == "1", what="the cursor is shown")
    ours = screen.ask("pane_title")
    assert "taskmaster" in ours
    screen.send("E")
    wait_until(lambda: screen.ask("pane_title") == "of the editor", what="the editor has set its title")
    (it.dir / "go").touch()
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    wait_until(lambda: screen.ask("pane_title") == ours, what="the title is ours again")
    wait_until(lambda: screen.ask("cursor_flag") == "1", what="the cursor is shown again")


def test_an_editor_that_saves_nonsense_changes_nothing_and_says_so(daemon: Start, sit: Sit) -> None:
    it = daemon(SOLO)
    nonsense = '#!/bin/sh\nfor last; do :; done\necho "[[" > "$last"\n'
    screen = sit(it, env={"EDITOR": seat.script(it.dir, "e.sh", nonsense)})
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    pid = it.pids()
    screen.send("E")
    screen.wait_for(lambda text: "nothing" in text or "not saved" in text or "[y/N]" in text or "again" in text)
    text = screen.screen()
    if "┃" not in text:
        screen.send("d", "Enter")
    screen.wait_for(lambda text: "┃" in text and ("not saved" in text or "nothing was changed" in text))
    assert it.config_path.read_text() == SOLO
    assert it.pids() == pid


# A new job ------------------------------------------------------------------------------------------------------------


def test_the_form_adds_a_job_and_keeps_the_comments(daemon: Start, sit: Sit) -> None:
    it = daemon("# my own words\n" + SOLO)
    screen = sit(it)
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    screen.send("A")
    screen.wait_for("New job")
    screen.type("hello")
    screen.send("Tab")
    screen.type("sleep 500")
    screen.wait_for(lambda text: "Will be added to" in text and "[[task]]" in text)
    screen.send("C-s")
    screen.wait_for(seat.rows_are(hello="1/1 up"))
    assert it.pids()["hello:0"]
    saved = it.config_path.read_text()
    assert saved.startswith("# my own words\n" + SOLO.rstrip("\n"))
    assert "hello" in saved


def test_the_form_refuses_what_is_wrong_with_the_reason_and_writes_nothing(daemon: Start, sit: Sit) -> None:
    it = daemon(SOLO)
    screen = sit(it)
    screen.wait_for(seat.rows_are(solo="1/1 up"))
    screen.send("A")
    screen.wait_for("New job")
    screen.type("solo")
    screen.send("Tab")
    screen.type("sleep 5")
    screen.wait_for(lambda text: re.search("already|twice|exists|there is", text))
    screen.send("C-s")
    screen.send("Escape")
    screen.wait_gone("New job")
    assert it.config_path.read_text() == SOLO
    assert Path(it.config_path).stat().st_size == len(SOLO)


def test_Y_gives_the_command_line(before_web: tuple[Daemon, Any]) -> None:
    _, screen = before_web
    screen.send("G")
    cursor_on(screen, "solo")
    screen.send("Y")
    screen.wait_for("OSC 52")
    assert "solo" in screen._tmux("show-buffer")  # tmux took the OSC 52 that it was given
