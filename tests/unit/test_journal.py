from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskmaster_core.errors import Refused, TimedOut
from taskmaster_core.intents import KINDS, Intent
from taskmaster_core.journal import EventRow, Journal, Start, store, writer
from taskmaster_core.journal.rows import KEPT, REMEMBERED, Memory
from taskmaster_core.wire import Cause, Event

KEEP = 1e12


def rows(first: int, last: int, key: str = "web:0", type_: str = "started", at: float | None = None) -> list[EventRow]:
    wall = time.time() if at is None else at
    return [
        EventRow(seq, "boot", wall, type_, key, '{"kind":"boot"}', '{"pid":1}', "") for seq in range(first, last + 1)
    ]


class Hand:
    """Hold a journal and wait for what it says."""

    def __init__(self, path: Path, keep: float = KEEP) -> None:
        self.woken = 0
        self.journal = Journal(str(path), keep, self._wake)
        self.begun: Start = self.journal.start()
        self.tokens: dict[int, bool] = {}
        self.upto = 0
        self.oks: list[bool] = []

    def _wake(self) -> None:
        self.woken += 1

    def until(self, done: Callable[[], bool], seconds: float = 10.0) -> None:
        limit = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < limit, "it did not happen"
            time.sleep(0.001)
            for each in self.journal.completions():
                if each.token is not None:
                    self.tokens[each.token] = each.ok
                else:
                    self.upto = each.upto
                    self.oks.append(each.ok)

    def written(self, batch: list[EventRow]) -> bool:
        """Append and wait; return whether it is on disk."""
        self.journal.append(batch)
        self.until(lambda: self.upto >= batch[-1].seq)
        return self.oks[-1]

    def commit(self, token: int) -> bool:
        self.journal.barrier(token)
        self.until(lambda: token in self.tokens)
        return self.tokens[token]

    def seqs(self, **asked: object) -> list[int]:
        return [row.seq for row in self.journal.events(**asked)]  # type: ignore[arg-type]


@contextmanager
def opened(path: Path, keep: float = KEEP) -> Iterator[Hand]:
    hand = Hand(path, keep)
    try:
        yield hand
    finally:
        hand.journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(writer, "LAST_RETRY", 0.05)


def on_disk(path: Path) -> list[int]:
    db = sqlite3.connect(path)
    try:
        return [row[0] for row in db.execute("SELECT seq FROM events ORDER BY seq")]
    finally:
        db.close()


# Writing and reading -----------------------------------------------------------------------------------------------


def test_a_fresh_journal_begins_with_nothing(path: Path) -> None:
    with opened(path) as hand:
        assert hand.begun == Start(0, [], [], "")
        assert hand.journal.trouble == ""


def test_rows_are_told_once_they_are_written(path: Path) -> None:
    with opened(path) as hand:
        assert hand.written(rows(1, 3))
        assert on_disk(path) == [1, 2, 3]
        assert hand.woken >= 1


def test_a_barrier_comes_after_everything_before_it(path: Path) -> None:
    with opened(path) as hand:
        hand.journal.append(rows(1, 500))
        assert hand.commit(7)
        assert (hand.upto, on_disk(path)[-1]) == (500, 500)


def test_a_barrier_without_news_is_answered_too(path: Path) -> None:
    with opened(path) as hand:
        assert hand.commit(1)
        assert hand.commit(2)


def test_numbers_go_on_over_a_reopening(path: Path) -> None:
    for first in (1, 11, 21):
        with opened(path) as hand:
            assert hand.begun.last_seq == first - 1
            hand.written(rows(first, first + 9))
    assert on_disk(path) == list(range(1, 31))


def test_what_was_appended_before_close_is_on_disk(path: Path) -> None:
    with opened(path) as hand:
        hand.journal.append(rows(1, 2000))
    assert len(on_disk(path)) == 2000
    assert not path.with_name("journal.db-wal").exists()


def test_rows_come_back_as_events(path: Path) -> None:
    with opened(path) as hand:
        hand.written([EventRow(1, "b", 5.0, "exited", "web:0", '{"kind":"exit","run":3}', '{"code":1}', "r1")])
        event = hand.journal.events()[0].to_event()
    assert event == Event(1, "b", 5.0, "exited", "web:0", Cause("exit", run=3), {"code": 1})


def test_rows_that_are_still_on_their_way_are_read_too(path: Path) -> None:
    with opened(path) as hand:
        hand.journal.append(rows(1, 3))
        assert hand.seqs() == [1, 2, 3]


def test_a_lone_surrogate_does_not_stop_the_journal(path: Path) -> None:
    with opened(path) as hand:
        assert hand.written([EventRow(1, "b", 5.0, "failed", "web:0", "{}", '{"message":"\udcff"}'), *rows(2, 3)])
    assert on_disk(path) == [1, 2, 3]


@pytest.fixture
def full_hand(path: Path) -> Iterator[Hand]:
    with opened(path) as hand:
        hand.written([
            *rows(1, 2, "web:0", at=100.0),
            *rows(3, 4, "web:1", "exited", at=200.0),
            *rows(5, 6, "db:0", at=300.0),
            *rows(7, 8, "web", "scaled", at=400.0),
            *rows(9, 9, "", "reloaded", at=500.0),
        ])  # fmt: skip
        yield hand


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"since_seq": 6}, [7, 8, 9]),
        ({"since_time": 300.0}, [5, 6, 7, 8, 9]),
        ({"until": 200.0}, [1, 2, 3, 4]),
        ({"since_time": 200.0, "until": 300.0}, [3, 4, 5, 6]),
        ({"keys": ["web:1"]}, [3, 4]),
        ({"keys": ["web:*"]}, [1, 2, 3, 4]),
        ({"keys": ["web", "web:*"]}, [1, 2, 3, 4, 7, 8]),
        ({"keys": ["?b:0"]}, [5, 6]),
        ({"keys": []}, []),
        ({"types": ["exited", "reloaded"]}, [3, 4, 9]),
        ({"limit": 2}, [1, 2]),
        ({"tail": 2}, [8, 9]),
        ({"tail": 3, "keys": ["web:*"]}, [2, 3, 4]),
        ({"tail": 5, "limit": 2}, [8, 9]),
        ({"before_seq": 4}, [1, 2, 3]),
        ({"before_seq": 7, "tail": 2}, [5, 6]),
        ({"limit": 0}, []),
        ({"tail": 0}, []),
        ({"limit": -3}, []),
        ({"since_seq": 2, "keys": ["web:*"], "types": ["exited"], "limit": 1}, [3]),
    ],
)
def test_questions_are_answered_the_same_from_disk_and_from_memory(
    full_hand: Hand, asked: dict[str, object], found: list[int]
) -> None:
    assert hand_seqs(full_hand, asked) == found
    full_hand.journal._memory.rows.clear()
    assert hand_seqs(full_hand, asked) == found
    full_hand.journal._memory.add(full_hand.journal.events(), 0)
    full_hand.journal._path += ".none"
    assert hand_seqs(full_hand, asked) == found


def test_older_events_that_only_the_disk_has_are_not_taken_for_none_while_it_cannot_be_read(full_hand: Hand) -> None:
    remembered = [row for row in full_hand.journal.events() if row.seq >= 5]
    full_hand.journal._memory.rows.clear()
    full_hand.journal._memory.add(remembered, 0)
    full_hand.journal._path += ".none"
    assert full_hand.seqs(before_seq=7) == [5, 6]
    with pytest.raises(Refused, match="cannot be read now"):
        full_hand.seqs(before_seq=5)
    assert full_hand.seqs(before_seq=1) == []


def hand_seqs(hand: Hand, asked: dict[str, object]) -> list[int]:
    return hand.seqs(**asked)


def test_a_question_that_takes_too_long_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskmaster_core.journal.ANSWER_WITHIN", -1.0)
    monkeypatch.setattr(store, "_STEPS", 10)
    with opened(path) as hand:
        hand.written(rows(1, 100))
        with pytest.raises(TimedOut):
            hand.journal.events(types=["nothing"])


def test_recent_requests_are_known_after_a_reopening(path: Path) -> None:
    with opened(path) as hand:
        hand.written([EventRow(n, "b", 1e10, "stopped", "web:0", request=f"r{n // 2}") for n in range(1, 6)])
    with opened(path) as hand:
        assert sorted(hand.begun.recent_requests) == ["r0", "r1", "r2"]


def test_old_events_are_dropped_and_the_newest_holds_the_count(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 5, at=1000.0))
    with opened(path, keep=3600.0) as hand:
        hand.written(rows(6, 7, at=2000.0))
        hand.commit(1)
    with opened(path) as hand:
        assert on_disk(path) == [7]
        assert hand.begun.last_seq == 7


def test_pruning_goes_in_steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PRUNED", 10)
    with opened(path) as hand:
        hand.written(rows(1, 25, at=1000.0))
    with opened(path, keep=3600.0) as hand:
        for seq in range(26, 30):
            hand.written(rows(seq, seq))
            hand.commit(seq)
    assert on_disk(path) == [26, 27, 28, 29]


def test_the_files_are_for_their_owner_only(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 1))
        modes = {each.name: each.stat().st_mode & 0o077 for each in path.parent.iterdir() if ".seq" not in each.name}
    assert set(modes.values()) == {0}


# Intents -----------------------------------------------------------------------------------------------------------


def test_G8_intents_survive(path: Path) -> None:
    with opened(path) as hand:
        hand.journal.put_intents((Intent("web", "down"), Intent("db:*", "scale", 4)), 1)
        hand.until(lambda: hand.tokens.get(1, False))
        hand.journal.put_intents((Intent("web", None), Intent("a b:0", "down")), 2)
        hand.until(lambda: hand.tokens.get(2, False))
    with opened(path) as hand:
        assert hand.begun.intents == [Intent("a b:0", "down"), Intent("db:*", "scale", 4)]


def test_G8_what_was_answered_survives_kill_9(path: Path) -> None:
    code = f"""
import os, sys
from taskmaster_core.intents import Intent
from taskmaster_core.journal import EventRow, Journal
r, w = os.pipe()
journal = Journal({str(path)!r}, 1e9, lambda: os.write(w, b"x"))
journal.start()
journal.append([EventRow(1, "b", 1e10, "stopped", "web:0")])
journal.put_intents((Intent("web", "down"),), 5)
while 5 not in [done.token for done in journal.completions()]:
    os.read(r, 1)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False, timeout=20)
    with opened(path) as hand:
        assert hand.begun.last_seq == 1
        assert hand.begun.intents == [Intent("web", "down")]


# Trouble -----------------------------------------------------------------------------------------------------------


def aside(path: Path) -> list[Path]:
    return [each for each in path.parent.glob("journal.db.corrupt-*") if not each.name.endswith(("-wal", "-shm"))]


def filled(path: Path, last: int = 50) -> None:
    with opened(path) as hand:
        hand.journal.put_intents((Intent("web", "down"),), 1)
        hand.written(rows(1, last))


def test_R06_every_wish_is_saved_from_a_journal_that_is_no_good(path: Path) -> None:
    wishes = [Intent(f"{kind}:*", kind, 2) for kind in KINDS]
    with opened(path) as hand:
        hand.journal.put_intents(tuple(wishes), 1)
        hand.written(rows(1, 2))
    assert sorted(store.salvage(str(path)), key=lambda each: each.target) == wishes


def test_R06_garbage_over_the_header_is_moved_aside(path: Path) -> None:
    filled(path)
    path.write_bytes(b"\xaa" * 100 + path.read_bytes()[100:])
    with opened(path) as hand:
        assert len(aside(path)) == 1
        assert "begun anew" in hand.begun.trouble
        assert hand.written(rows(hand.begun.last_seq + 1, hand.begun.last_seq + 2))


def test_R06_numbers_never_go_back_when_the_journal_is_lost(path: Path) -> None:
    filled(path, 2345)
    path.write_bytes(b"not a database" * 100)
    with opened(path) as hand:
        assert hand.begun.last_seq >= 2345


def test_R06_numbers_never_go_back_for_a_young_journal_either(path: Path) -> None:
    filled(path, 3)
    path.unlink()
    with opened(path) as hand:
        assert hand.begun.last_seq >= 3


def test_R06_intents_are_saved_from_a_damaged_journal_where_they_can_be_read(path: Path) -> None:
    filled(path, 3000)
    db = sqlite3.connect(path)
    page = db.execute("PRAGMA page_size").fetchone()[0]
    root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()[0]
    db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xff" * page)
    with opened(path) as hand:
        assert hand.begun.intents == [Intent("web", "down")]
        assert len(aside(path)) == 1


def test_R06_a_directory_in_its_place_is_moved_aside(path: Path) -> None:
    path.mkdir()
    with opened(path) as hand:
        assert hand.written(rows(1, 1))
    assert len(aside(path)) == 1


def test_R06_a_database_of_somebody_else_is_moved_aside(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE events(foo)")
    db.commit()
    db.close()
    with opened(path) as hand:
        assert hand.written(rows(1, 1))
    assert len(aside(path)) == 1


def test_R06_only_a_few_broken_ones_are_kept(path: Path) -> None:
    for _ in range(store.ASIDE_KEPT + 3):
        path.write_bytes(b"not a database" * 100)
        with opened(path):
            pass
    assert len(aside(path)) == store.ASIDE_KEPT


def test_R06_a_journal_deleted_while_open_is_begun_anew_without_a_gap(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 10))
        hand.journal.put_intents((Intent("web", "down"),), 1)
        hand.until(lambda: 1 in hand.tokens)
        for suffix in ("", "-wal", "-shm"):
            os.unlink(f"{path}{suffix}")
        assert not hand.written(rows(11, 12))
        assert "deleted" in hand.journal.trouble
        hand.until(lambda: hand.journal.trouble == "")
        assert on_disk(path) == list(range(1, 13))
    with opened(path) as hand:
        assert hand.begun.intents == [Intent("web", "down")]


def test_R06_a_journal_damaged_while_open_is_moved_aside_and_goes_on(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 900))
        db = sqlite3.connect(path)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
        assert hand.seqs() == list(range(1, 901))
        hand.journal.append(rows(901, 902))
        hand.until(lambda: bool(aside(path)) and bool(hand.oks[-1]))
        assert on_disk(path) == list(range(1, 903))
        assert "begun anew" in hand.journal.trouble


def test_R06_locked_by_another_process_loses_nothing(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 5))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert not hand.written(rows(6, 8))
        assert "locked" in hand.journal.trouble
        assert not hand.commit(1)
        assert hand.seqs() == list(range(1, 9))
        other.execute("ROLLBACK")
        other.close()
        hand.until(lambda: hand.journal.trouble == "")
        assert hand.oks[-1]
        assert on_disk(path) == list(range(1, 9))


def test_R06_a_full_database_says_so_and_heals_with_everything(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 5))
        hand.commit(1)  # its housekeeping, which makes the reserve, is done
        path.with_name("journal.db.reserve").unlink()
        _limit_pages(hand, 12)
        assert not hand.written(rows(6, 2005))
        assert "full" in hand.journal.trouble
        hand.until(lambda: hand.journal.trouble == "")  # a new connection has no limit
        assert on_disk(path) == list(range(1, 2006))


def test_R06_the_reserve_is_given_up_when_the_disk_is_full(path: Path) -> None:
    with opened(path) as hand:
        hand.written(rows(1, 5))
        hand.commit(1)
        reserve = path.with_name("journal.db.reserve")
        assert reserve.stat().st_blocks * 512 >= writer.RESERVE
        _limit_pages(hand, 12)
        assert hand.written(rows(6, 2005))
        assert not reserve.exists()
        assert hand.journal.trouble == ""


def test_R06_a_reserve_that_was_given_up_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RESERVE_AGAIN", 0.0)
    with opened(path) as hand:
        hand.written(rows(1, 5))
        hand.commit(1)
        _limit_pages(hand, 12)
        assert hand.written(rows(6, 2005))
        assert hand.written(rows(2006, 2006))
        hand.commit(2)
        hand.until(path.with_name("journal.db.reserve").exists)


def _limit_pages(hand: Hand, pages: int) -> None:
    hand.journal._writer.store.db.execute(f"PRAGMA max_page_count = {pages}")


def test_R06_a_directory_that_vanished_leaves_the_journal_off_and_the_core_alive(tmp_path: Path) -> None:
    with opened(tmp_path / "none" / "journal.db") as hand:
        assert hand.begun.last_seq == 0
        assert hand.begun.trouble
        assert not hand.written(rows(1, 5))
        assert hand.seqs(since_seq=2) == [3, 4, 5]
        (tmp_path / "none").mkdir()
        hand.until(lambda: hand.journal.trouble == "")
    assert on_disk(tmp_path / "none" / "journal.db") == [1, 2, 3, 4, 5]


def test_R05_a_tiny_full_disk_is_survived_and_healed(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mount)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root and mount")
    try:
        with opened(mount / "journal.db") as hand:
            hand.written(rows(1, 10))
            ballast = mount / "ballast"
            with pytest.raises(OSError, match="space"):
                ballast.write_bytes(bytes(4 << 20))
            last = 10
            while hand.oks[-1]:
                assert last < 60_000
                hand.written(rows(last + 1, last + 500))
                last += 500
            assert hand.journal.trouble
            assert hand.seqs(tail=1) == [last]
            ballast.unlink()
            hand.until(lambda: hand.journal.trouble == "")
            assert on_disk(mount / "journal.db") == list(range(1, last + 1))
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_R07_a_journal_cut_anywhere_is_opened_and_written(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    filled(whole, 300)
    data = whole.read_bytes()
    dice = random.Random(7)
    for number in range(80):
        path = tmp_path / str(number) / "journal.db"
        path.parent.mkdir()
        path.write_bytes(data[: dice.randrange(len(data))])
        with opened(path) as hand:
            first = hand.begun.last_seq + 1
            hand.journal.append(rows(first, first + 3))
            hand.until(lambda hand=hand: hand.oks[-1:] == [True])
            assert hand.seqs(since_seq=first - 1) == list(range(first, first + 4))


def test_R07_a_wal_cut_anywhere_keeps_a_whole_beginning(tmp_path: Path) -> None:
    source = tmp_path / "journal.db"
    with opened(source) as hand:
        for seq in range(1, 60):
            hand.written(rows(seq, seq))
        db, wal = source.read_bytes(), Path(f"{source}-wal").read_bytes()
    dice = random.Random(8)
    for number in range(30):
        path = tmp_path / str(number) / "journal.db"
        path.parent.mkdir()
        path.write_bytes(db)
        Path(f"{path}-wal").write_bytes(wal[: dice.randrange(len(wal))])
        with opened(path) as hand:
            last = hand.begun.last_seq
            assert on_disk(path) == list(range(1, last + 1))


def test_the_thread_survives_what_it_does_not_understand(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as hand:
        with monkeypatch.context() as patch:
            patch.setattr(hand.journal._writer.store, "write", lambda *args, **kw: 1 / 0)
            assert not hand.written(rows(1, 1))
            assert "division" in hand.journal.trouble
        hand.until(lambda: hand.journal.trouble == "")
    assert on_disk(path) == [1]


def test_memory_is_bounded_and_keeps_what_is_not_written() -> None:
    memory = Memory()
    memory.add(rows(1, KEPT + 500), 0)
    assert len(memory.rows) == KEPT + 500
    memory.add(rows(KEPT + 501, KEPT + 501), KEPT + 500)
    assert len(memory.rows) == KEPT
    memory.add(rows(KEPT + 502, KEPT + 502 + REMEMBERED), 0)
    assert len(memory.rows) == REMEMBERED
    assert [row.seq for row in memory.after(KEPT + 500 + REMEMBERED)] == [
        KEPT + 501 + REMEMBERED,
        KEPT + 502 + REMEMBERED,
    ]


# Speed -------------------------------------------------------------------------------------------------------------


def test_an_idle_journal_sleeps(path: Path) -> None:
    with opened(path) as hand:
        hand.commit(1)
        thread = hand.journal._thread
        assert thread is not None
        status = Path(f"/proc/self/task/{thread.native_id}/status")

        def switches() -> str:
            return next(line for line in status.read_text().splitlines() if line.startswith("voluntary"))

        hand.until(lambda: "sleeping" in status.read_text())
        before = switches()
        time.sleep(0.5)  # the subject is that nothing happens
        assert switches() == before


def test_appending_never_waits_for_the_disk(path: Path) -> None:
    with opened(path) as hand:
        batch = rows(1, 20_000)
        begun = time.perf_counter()
        for first in range(0, 20_000, 100):
            hand.journal.append(batch[first : first + 100])
        handed_over = time.perf_counter() - begun
        hand.until(lambda: hand.upto == 20_000)
        written = time.perf_counter() - begun
    print(f"handed over {20_000 / handed_over:.0f}/s, written {20_000 / written:.0f}/s")
    assert handed_over < 1.0
