"""The TUI in a real terminal, reading output: searching, following, taking away; and output that means harm.

The jobs write what the test puts into files, so that every line on the screen is known. What reaches the terminal is
looked at byte by byte where it matters.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable

import pytest

from tests import seat
from tests.harness import Daemon, status_field, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import job, words
from tests.terminal import RawTerminal, Terminal

Sit = Callable[..., Terminal]
SOON = {"successdelay": '"0s"'}


def tail(name: str, **keys: str) -> str:
    """Return a job that writes what is put into a file of its name."""
    return job(name, words("sh", "-c", f"touch {name}.txt; exec tail -n +1 -s 0.02 -f {name}.txt"), **SOON, **keys)


def feed(it: Daemon, name: str, data: str | bytes) -> None:
    """Let such a job write."""
    with (it.dir / f"{name}.txt").open("ab") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def numbers(screen: str) -> list[int]:
    """Return the numbers of the numbered lines on the screen, from top to bottom."""
    return [int(each) for each in re.findall(r"\bn(\d{8})\b", screen)]


def numbered(first: int, last: int) -> str:
    """Return numbered lines."""
    return "".join(f"n{each:08}\n" for each in range(first, last))


@pytest.fixture
def two_logs(daemon: Start, sit: Sit) -> tuple[Daemon, Terminal]:
    """Two jobs with a hundred lines each, every tenth an error, and the view of all output."""
    it = daemon(tail("alpha") + tail("beta"))
    for name in ("alpha", "beta"):
        it.wait_state(f"{name}:0", "running")
        feed(it, name, "".join(f"{name} line {each}{' error' * (each % 10 == 9)}\n" for each in range(100)))
        it.wait(lambda name=name: "line 99" in it.output(f"{name}:0"))
    screen = sit(it, env={"PAGER": "cat; echo PAGED; sh -c 'while [ ! -e done ]; do sleep 0.02; done' #"})
    seat.live(screen, "alpha")
    screen.send("2")
    screen.wait_for(lambda text: "[2 Logs]" in text and "line 99" in text)
    return it, screen


def test_search_counts_goes_on_and_keeps_only_what_matches(two_logs: tuple[Daemon, Terminal]) -> None:
    _, screen = two_logs
    screen.type("/error")
    screen.send("Enter")
    screen.wait_for("of 20")
    first = re.search(r"match (\d+) of 20", screen.screen())
    assert first is not None
    screen.send("N")
    other = screen.wait_for(lambda text: (found := re.search(r"match (\d+) of 20", text)) and found[1] != first[1])
    assert "error" in other
    screen.send("n")
    screen.wait_for(first[0])
    screen.send("&")  # of what is searched for
    kept = screen.wait_for(lambda text: len(body(text)) == 20 and "line 98" not in text)
    assert all("error" in line for line in body(kept))
    for _ in range(3):  # the cursor, the search, the filter
        before = screen.styled()
        screen.send("Escape")
        wait_until(lambda before=before: screen.styled() != before)
    # Not before the last of them is taken in: an Escape right before a character is that character with alt.
    screen.wait_for(lambda text: "match" not in text and any("error" not in line for line in body(text)))
    screen.type("&!error")
    screen.send("Enter")
    screen.wait_for(lambda text: "without error" in text and body(text) and "error" not in "".join(body(text)))


def test_a_paused_log_counts_what_comes_below_and_f_follows_again(two_logs: tuple[Daemon, Terminal]) -> None:
    it, screen = two_logs
    screen.send("PPage")
    before = screen.wait_for("paused")
    feed(it, "alpha", "".join(f"fresh {each}\n" for each in range(7)))
    text = screen.wait_for("7 new lines below")
    assert "fresh" not in text
    assert body(text)[:10] == body(before)[:10]
    screen.send("f")
    screen.wait_for(lambda text: "fresh 6" in text and "follow ▼" in text)
    feed(it, "beta", "and beta\n")
    screen.wait_for("and beta")


def body(text: str) -> list[str]:
    """Return the lines of output on the screen."""
    return [line for line in text.splitlines() if re.search(r"(alpha|beta) line \d", line)]


def test_w_wraps_and_T_changes_the_time(two_logs: tuple[Daemon, Terminal]) -> None:
    it, screen = two_logs
    feed(it, "alpha", "long " + "x" * 150 + " its end\n")
    screen.wait_for(lambda text: "long xxx" in text and "its end" not in text)
    screen.send("w")
    screen.wait_for("its end")
    clock = r"\d\d:\d\d:\d\d\.\d{3}"
    screen.wait_for(lambda text: re.search(clock, text))
    screen.send("T")
    screen.wait_for(lambda text: re.search(r"20\d\d-\d\d-\d\d|\d\d-\d\d \d\d:", text) and "time date" in text)
    for name in ("relative", "delta", "off"):
        screen.send("T")
        screen.wait_for(f"time {name}")
    assert not re.search(clock, "\n".join(body(screen.screen())))


def test_o_opens_the_pager_and_comes_back_and_ctrl_s_saves(two_logs: tuple[Daemon, Terminal]) -> None:
    it, screen = two_logs
    screen.send("o")
    text = screen.wait_for("PAGED")
    assert "line 99" in text
    assert "[2 Logs]" not in text
    (it.dir / "done").touch()
    screen.wait_for(lambda text: "[2 Logs]" in text and "PAGED" not in text and "line 99" in text)
    screen.send("C-s")
    screen.wait_for("Save the lines")
    screen.send("C-u")
    path = it.dir / "saved.log"
    screen.type(str(path))
    screen.send("Enter")
    screen.wait_for("lines saved")
    assert "alpha line 99 error" in path.read_text() or "line 99 error" in path.read_text()
    assert "\x1b" not in path.read_text()


def test_y_copies_the_line_through_the_terminal(daemon: Start) -> None:
    it = daemon(tail("alpha"))
    it.wait_state("alpha:0", "running")
    feed(it, "alpha", "only this line\n")
    it.wait(lambda: "only this" in it.output("alpha:0"))
    with seat.in_raw(it) as screen:
        screen.wait_for(seat.UP)
        screen.send("2")
        screen.wait_for("only this line")
        screen.send("y")
        screen.wait_for("OSC 52")
        raw = bytes(screen.raw or b"")
    found = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", raw)
    assert [base64.b64decode(each) for each in found] == [b"only this line"]


# Output that means harm -----------------------------------------------------------------------------------------------

EVIL = (
    b"\x1b]52;c;RVZJTA==\x07 one EVIL\n"  # the clipboard
    b"\x1b]0;EVIL title\x07 two EVIL\n\x1b]2;EVIL title\x1b\\ three EVIL\n"
    b"\x1bP$qEVIL\x1b\\ four EVIL\n\x1bP+q544e\x1b\\ five EVIL\n"  # DECRQSS, XTGETTCAP: the terminal would type answers
    b"\x1b[?1049h\x1b[2J\x1b[H six EVIL\n\x1b[6n\x1b[c seven EVIL\n"
    b"\x9b31m\xc2\x9b31m\xc2\x9d0;EVIL\xc2\x9c eight EVIL\n"
    b"[@click=app.quit]nine[/] [b]EVIL[/b] [link=http://x]EVIL[/link]\n"
    b"\x1b]8;;http://EVIL\x1b\\ten EVIL\x1b]8;;\x1b\\\n"
    b"\x1b[31mred\x1b[0m eleven EVIL\x07\x08\x0e\x0f\n\x1b^EVIL\x1b\\\x1b_EVIL\x1b\\\x1bX EVIL\x1b\\ last EVIL\n"
)
FORBIDDEN = (
    rb"\x1b\]52", rb"\x1b\][0-9]*;[^\x07\x1b]*EVIL", rb"\x1bP", rb"\x1b[\^_X]", rb"\x1b\[c", rb"\xc2[\x80-\x9f]",
    rb"\x1b\[2J\x1b\[H six", rb"\x1b\]8;", rb"\x0e|\x0f|\x08",
)  # fmt: skip


def harmless(raw: bytes) -> list[bytes]:
    """Return which forbidden things are in the bytes that reached the terminal."""
    lone_c1 = [raw[found.start() - 4 : found.end() + 4] for found in re.finditer(rb"[\x80-\x9f]", raw)
               if not is_utf8_part(raw, found.start())]  # fmt: skip
    return [pattern for pattern in FORBIDDEN if re.search(pattern, raw)] + lone_c1


def is_utf8_part(raw: bytes, at: int) -> bool:
    """Tell whether a byte belongs to a character of several bytes."""
    start = at
    while start > max(0, at - 3) and 0x80 <= raw[start] < 0xC0:
        start -= 1
    return raw[start] >= 0xC2


def test_G11_S13_nothing_that_a_job_says_reaches_the_terminal_as_a_command(daemon: Start) -> None:
    said = json.dumps("desc EVIL \x1b]52;c;RVZJTA==\x07 \x1b]0;EVIL\x07 \x9b31m [@click=app.quit]x[/]")
    it = daemon(tail("alpha", description=said, env=f"{{ HARM = {said} }}"))
    it.wait_state("alpha:0", "running")
    feed(it, "alpha", EVIL)
    it.wait(lambda: "last EVIL" in it.output("alpha:0"))
    with seat.in_raw(it) as screen:
        screen.wait_for(seat.UP)
        screen.wait_for("last EVIL")  # beside the list
        begun = alt_screens(screen)
        for tab in ("EVIL", "EVIL", "pid", "", "HARM", "desc"):
            if tab:
                screen.wait_for(tab)
            screen.send("]")
        screen.send("2")
        screen.wait_for(lambda seen: "[2 Logs]" in seen and "last EVIL" in seen)
        screen.wait_for("[@click=app.quit]nine[/]")  # text, and no markup
        screen.send("w")
        screen.send("/EVIL\r")
        screen.wait_for("match")
        screen.send("3")
        screen.wait_for("[3 Events]")
        screen.send("5")
        screen.wait_for("[5 Config]")
        screen.send("]]]")
        screen.wait_for("HARM")
        raw = bytes(screen.raw or b"")
        assert alt_screens(screen) == begun
        assert not harmless(raw)
        screen.send("q")
        assert screen.wait_end() == 0


def alt_screens(screen: RawTerminal) -> int:
    """Count how often the alternate screen was asked for."""
    return bytes(screen.raw or b"").count(b"\x1b[?1049h")


def test_G09_an_endless_line_costs_no_memory_and_is_cut(daemon: Start, sit: Sit) -> None:
    endless = "mkfifo go; read go <go; head -c 50000000 /dev/zero | tr '\\0' x; sleep 1000"
    it = daemon(job("long", words("sh", "-c", endless), log='{ maxsize = "80MiB" }', **SOON))
    screen = sit(it)
    seat.live(screen, "long")
    screen.send("2")
    screen.wait_for("[2 Logs]")
    before = rss(screen.pid)
    with open(it.dir / "go", "w") as go:
        go.write("go\n")
    screen.wait_for("xxxxxxxx")
    it.wait(lambda: os.path.getsize(it.places.log_path("long", 0, "out")) >= 50_000_000, timeout=15)
    screen.send("G")
    screen.wait_for(lambda text: "xxxxxxxx" in text and "…" in text and "50.0 MB" in text)
    screen.send("w")
    screen.wait_for(lambda text: "wrap on" in text and "xxxxxxxx" in text)
    screen.send("w")
    screen.wait_for("wrap off")
    assert rss(screen.pid) - before < 20_000


def rss(pid: int) -> int:
    """Return the memory of a process in kB."""
    return int(status_field(pid, "VmRSS").split()[0])


def test_G10_binary_is_shown_and_a_split_character_is_whole(daemon: Start, sit: Sit) -> None:
    it = daemon(tail("bin"))
    it.wait_state("bin:0", "running")
    screen = sit(it)
    seat.live(screen, "bin")
    screen.send("2")
    screen.wait_for("[2 Logs]")
    feed(it, "bin", b"bad \xff\xfe bytes\nzero \x00 byte\nwhole \xc3")
    screen.wait_for(lambda text: "bad" in text and "whole" in text)
    feed(it, "bin", b"\xa9 again\nwait  10%\rwait  60%\rdone 100%\n")
    text = screen.wait_for(lambda text: "é again" in text and "100%" in text)
    assert re.search(r"bad \ufffd+ bytes", text)
    assert re.search(r"zero .{0,2} byte", text)
    assert b"bad \xff\xfe bytes\nzero \x00 byte\nwhole \xc3\xa9 again" in (it.dir / "bin.txt").read_bytes()


def test_G20_scrolled_back_lines_are_shown_once_while_the_file_is_rotated(daemon: Start, sit: Sit) -> None:
    it = daemon(tail("roll", log='{ maxsize = "64KiB", keep = 9, compress = false }'))
    it.wait_state("roll:0", "running")
    feed(it, "roll", numbered(0, 4000))
    it.wait(lambda: "n00003999" in it.output("roll:0"))
    screen = sit(it)
    seat.live(screen, "n00003999")
    screen.send("2")
    screen.wait_for(lambda text: "[2 Logs]" in text and 3999 in numbers(text))
    for _ in range(3):
        top = numbers(screen.screen())[0]
        screen.send("PPage")
        screen.wait_for(lambda text, top=top: numbers(text) and numbers(text)[0] < top)
    stays = numbers(screen.screen())
    log = it.places.log_path("roll", 0, "out")
    inode = os.stat(log).st_ino
    feed(it, "roll", numbered(4000, 13000))
    it.wait(lambda: "n00012999" in it.output("roll:0"))
    assert os.stat(log).st_ino != inode  # it was rotated
    screen.wait_for("new lines below")
    assert numbers(screen.screen())[:20] == stays[:20]
    seen = set(stays)
    for _ in range(12):
        bottom = numbers(screen.screen())[-1]
        screen.send("NPage")
        text = screen.wait_for(lambda text, bottom=bottom: numbers(text) and numbers(text)[-1] > bottom)
        now = numbers(text)
        assert now == list(range(now[0], now[0] + len(now)))
        seen.update(now)
    assert seen == set(range(min(seen), max(seen) + 1))
    screen.send("G")
    screen.wait_for(lambda text: 12999 in numbers(text))


@pytest.mark.parametrize("how", ["truncated", "deleted"])
def test_G21_a_log_that_others_cut_or_delete_is_followed_on(daemon: Start, sit: Sit, how: str) -> None:
    it = daemon(tail("cut"))
    it.wait_state("cut:0", "running")
    feed(it, "cut", numbered(0, 50))
    screen = sit(it)
    seat.live(screen, "cut")
    screen.send("2")
    screen.wait_for(lambda text: 49 in numbers(text))
    path = it.places.log_path("cut", 0, "out")
    os.truncate(path, 0) if how == "truncated" else os.unlink(path)
    feed(it, "cut", numbered(100, 110))
    text = screen.wait_for(lambda text: 109 in numbers(text))
    now = numbers(text)
    assert len(now) == len(set(now))
    feed(it, "cut", numbered(200, 210))
    screen.wait_for(lambda text: 209 in numbers(text))
    wait_until(lambda: screen.exit_status is None)
