from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from taskmaster_core import eventlog
from taskmaster_core.eventlog import IN_ORDER, EventLog, render
from taskmaster_core.wire import Cause

BOOT = Cause("boot")


def until(done: Callable[[], bool], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.002)


def note(log: EventLog, text: str) -> None:
    log.write(1e9, "notice", "", BOOT, {"message": text})


def lines(path: Path) -> list[str]:
    return [line.split(" INFO ", 1)[-1] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "taskmaster.log"


@pytest.fixture
def log(path: Path) -> Iterator[EventLog]:
    made = EventLog(str(path), "info", max_size=1000)
    yield made
    made.close()


def test_a_line_has_instant_level_and_sentence() -> None:
    cause = Cause("operator", who="uid 0 pid 5")
    line = render(1_795_428_000.123, "started", "web:0", cause, {"pid": 123})
    assert line == "2026-11-23T10:00:00.123+00:00 INFO web:0 started with pid 123 (asked by uid 0 pid 5)\n"


def test_events_become_lines_in_order(log: EventLog, path: Path) -> None:
    for number in range(5):
        note(log, f"n{number}")
    log.close()
    assert lines(path) == ["n0", "n1", "n2", "n3", "n4"]
    assert path.stat().st_mode & 0o137 == 0


def test_times_go_up_but_what_was_heard_of_late_has_its_own(log: EventLog, path: Path) -> None:
    for second in (100.0, 99.5, 101.0, 101.0 - IN_ORDER - 1.0):
        log.write(second, "notice", "", BOOT, {"message": "m"})
    log.close()
    assert [line[17:19] for line in path.read_text().splitlines()] == ["40", "40", "41", "35"]


def test_the_level_decides_what_is_worth_a_line(log: EventLog, path: Path) -> None:
    log.loglevel = "warning"
    note(log, "dull")
    log.write(1e9, "fatal", "web:0", BOOT, {"reason": "gave up"})
    log.loglevel = "debug"
    log.write(1e9, "core_ready", "", BOOT, {})
    log.close()
    assert re.fullmatch(r"\S+ ERROR web:0 .*gave up\n\S+ DEBUG core is ready\n", path.read_text())


def test_an_unknown_level_means_info(path: Path) -> None:
    log = EventLog(str(path), "loud")
    note(log, "a")
    log.write(1e9, "core_ready", "", BOOT, {})
    log.close()
    assert lines(path) == ["a"]


def test_one_event_is_one_line_whatever_it_holds(log: EventLog, path: Path) -> None:
    note(log, "a\nERROR forged\r\x1b[2J\x9b\u2028\udcff\x00")
    log.close()
    text = path.read_bytes()
    assert text.count(b"\n") == 1
    assert text.rstrip(b"\n").decode().isprintable()


def test_it_is_rotated_by_size_and_five_parts_are_kept(log: EventLog, path: Path) -> None:
    for number in range(40):
        note(log, f"{number} " + "x" * 500)
        until(lambda number=number: f" {number} x" in everything(path))
    log.close()
    parts = sorted(path.parent.glob("taskmaster.log.*"))
    assert len(parts) == eventlog.KEPT
    assert all(1000 <= part.stat().st_size < 2000 for part in parts)
    assert " 39 x" in everything(path)
    assert " 0 x" not in everything(path)


def everything(path: Path) -> str:
    texts = []
    for each in path.parent.iterdir():
        with suppress(FileNotFoundError):  # rotated away meanwhile
            texts.append(each.read_text())
    return "".join(texts)


def test_other_files_beside_it_are_no_parts(log: EventLog, path: Path) -> None:
    other = path.with_name("taskmaster.log.old")
    other.write_text("")
    for number in range(20):
        note(log, f"{number} " + "x" * 1000)
        until(lambda number=number: f" {number} x" in everything(path))
    assert other.exists()


@pytest.mark.parametrize("away", [os.unlink, lambda path: os.rename(path, f"{path}.1")])
def test_a_file_that_somebody_else_rotated_is_begun_anew(
    log: EventLog, path: Path, away: Callable[[Path], None]
) -> None:
    note(log, "one")
    until(lambda: lines(path) == ["one"])
    away(path)
    note(log, "two")
    until(lambda: lines(path) == ["two"])


def test_R05_what_cannot_be_written_is_counted_and_told_later(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.log"
    log = EventLog(str(path), "info")
    note(log, "one")
    note(log, "two")
    until(lambda: log.lost == 2)
    assert "No such file" in log.trouble
    path.parent.mkdir()
    note(log, "three")
    until(lambda: len(lines(path)) == 2)
    log.close()
    assert path.read_text().splitlines()[0].endswith("WARNING 2 lines were lost here")
    assert lines(path)[-1] == "three"
    assert (log.lost, log.trouble) == (2, "")


def test_R05_a_full_disk_is_survived(path: Path) -> None:
    path.symlink_to("/dev/full")
    log = EventLog(str(path), "info")
    note(log, "one")
    until(lambda: "No space" in log.trouble)
    path.unlink()
    note(log, "two")
    log.close()
    assert lines(path)[-1] == "two"


def test_a_pipe_that_nobody_reads_does_not_hold_anybody_up(path: Path) -> None:
    os.mkfifo(path)
    log = EventLog(str(path), "info")
    note(log, "one")
    until(lambda: log.lost == 1)
    log.close()


def test_lines_that_wait_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "WAITING", 10)
    monkeypatch.setattr(eventlog, "CLOSE_WITHIN", 0.05)
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = EventLog(str(path), "info")
        note(log, "x" * 100_000)  # more than the pipe takes
        until(lambda: log._lines.qsize() == 0)
        for _ in range(15):
            note(log, "y")
        assert log.lost == 5
        log.close()
        assert log._thread.is_alive()
    finally:
        os.close(reader)  # EPIPE ends the wait
    log._thread.join(10)


def test_a_file_that_cannot_be_rotated_grows_on(log: EventLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", lambda *_: os.stat("/none"))
    for number in range(5):
        note(log, f"{number} " + "x" * 1000)
    log.close()
    assert len(lines(path)) == 5
    assert (log.lost, log.trouble) == (0, "")


def test_a_special_file_is_written_and_not_rotated(tmp_path: Path) -> None:
    log = EventLog("/dev/null", "info", max_size=0)
    note(log, "one")
    log.close()
    assert (log.lost, log.trouble) == (0, "")
    assert Path("/dev/null").is_char_device()


def test_the_path_may_change_while_it_runs(log: EventLog, path: Path, tmp_path: Path) -> None:
    note(log, "one")
    until(lambda: lines(path) == ["one"])
    log.path = str(tmp_path / "other.log")
    note(log, "two")
    until(lambda: lines(tmp_path / "other.log") == ["two"])


def test_R05_it_is_tried_again_by_itself_and_its_change_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "RETRY", 0.05)
    changes: list[str] = []
    kept = EventLog(str(tmp_path / "gone" / "t.log"), "info", on_change=lambda: changes.append(kept.trouble))
    note(kept, "lost")
    until(lambda: len(changes) == 1)
    (tmp_path / "gone").mkdir()
    until(lambda: len(changes) == 2)
    assert ("No such file" in changes[0], changes[1]) == (True, "")
    assert "1 lines were lost" in (tmp_path / "gone" / "t.log").read_text()
    kept.close()


def test_importing_the_sentences_loads_nothing_heavy() -> None:
    code = "import sys, taskmaster_core.sentences; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"logging", "msgspec"} & set(loaded.stdout.split())
