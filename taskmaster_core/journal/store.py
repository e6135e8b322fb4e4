"""The database file: open, upgrade, write, prune, read; and move aside one that cannot be read.

It decides the schema and how durable a commit is, and raises whatever SQLite says; what to do about trouble is the
writer's business (`writer.py`). WAL mode, so that a reader never blocks the one writer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress

from taskmaster_core.intents import KINDS, Intent
from taskmaster_core.journal.rows import EventRow, Question

_VERSIONS = (
    """
    CREATE TABLE events(
        seq INTEGER PRIMARY KEY, boot TEXT NOT NULL, at REAL NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL,
        cause TEXT NOT NULL, payload TEXT NOT NULL, request TEXT NOT NULL);
    CREATE INDEX events_key ON events(key);
    CREATE INDEX events_at ON events(at);
    CREATE TABLE intents(target TEXT PRIMARY KEY, kind TEXT NOT NULL, value INTEGER NOT NULL, at REAL NOT NULL);
    CREATE TABLE barrier(one INTEGER PRIMARY KEY CHECK (one = 1), at REAL NOT NULL);
    """,
)
"""What each version of the schema adds to the one before; `user_version` counts them."""

_UNREADABLE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_INTERRUPTED = sqlite3.SQLITE_INTERRUPT
_STEPS = 50_000
"""Virtual machine steps between two looks at the clock: about a millisecond."""

PRUNED = 5_000
"""Rows dropped at a time: some 20 ms, for which the newest events wait."""

ASIDE_KEPT = 5
"""So many databases that could not be read are kept: a failing disk must not fill itself with them."""


class TooSlow(Exception):
    """Tell that a question took longer than the main loop may be kept."""


class NotOurs(sqlite3.DatabaseError):
    """Tell that the file is a database, but not one of ours, or not a whole one."""


def is_unreadable(error: Exception) -> bool:
    """Tell whether an error means that the file itself is no good. "Cannot open" does not: it may be EMFILE."""
    if isinstance(error, NotOurs | IsADirectoryError | PermissionError):
        return True
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _UNREADABLE or code == sqlite3.SQLITE_IOERR_SHORT_READ


def is_full(error: Exception) -> bool:
    """Tell whether an error means that there is no room."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def set_aside(path: str) -> str:
    """Rename a database and its companions; return the new name. Raise OSError where that is impossible."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = f"{path}.corrupt-{stamp}-{time.monotonic_ns() % 1_000_000:06d}"
    os.rename(path, aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.rename(path + suffix, aside + suffix)
    _forget_oldest(path)
    return aside


def _forget_oldest(path: str) -> None:
    folder, name = os.path.split(path)
    old = sorted(each for each in os.listdir(folder) if each.startswith(f"{name}.corrupt-") and each[-4:-3] != "-")
    for each in old[:-ASIDE_KEPT]:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, each + suffix))


class Store:
    """Hold the writing connection. Every method may raise sqlite3.Error or OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._full: bool | None = None  # the durability last set

    @property
    def db(self) -> sqlite3.Connection:
        """Return the connection; raise OSError without one."""
        if self._db is None:
            raise OSError("the journal is not open")
        return self._db

    def open(self, timeout: float = 0.25) -> None:
        """Open, create or upgrade; `timeout` is how long another process's lock is waited for."""
        self.close()
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # SQLite would take 0644
        db = sqlite3.connect(self.path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            _refuse_torn(db, os.stat(self.path).st_size)
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        self._db = db
        self._file = _identity(self.path)
        self._full = None

    @staticmethod
    def _prepare(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        try:
            for number, script in enumerate(_VERSIONS[version:], version + 1):
                db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT")
            db.execute("SELECT seq, boot, at, type, key, cause, payload, request FROM events LIMIT 0")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:
                raise NotOurs(str(error)) from error
            raise

    def close(self) -> None:
        """Close the connection, if there is one; the last one to close takes the WAL in."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def vanished(self) -> bool:
        """Tell whether the file was deleted or replaced under us: SQLite would go on writing into nowhere."""
        try:
            return _identity(self.path) != self._file
        except FileNotFoundError:
            return True

    def last_seq(self) -> int:
        """Return the number of the newest event, 0 without any."""
        return int(self.db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0)

    def intents(self) -> list[Intent]:
        """Return the intents in force."""
        return [Intent(*row) for row in self.db.execute("SELECT target, kind, value FROM intents ORDER BY target")]

    def recent_requests(self) -> list[str]:
        """Return the ids of requests that caused one of the newest events."""
        newest = self.db.execute("SELECT request FROM events ORDER BY seq DESC LIMIT 10000")
        return list({row[0]: None for row in newest if row[0]})

    def write(self, rows: Sequence[EventRow], changes: Iterable[Intent], *, full: bool) -> None:
        """Write in one transaction; with `full` it and all before it survive a power cut once this returns."""
        if full is not self._full:
            self.db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self._write(rows, changes, full=full)
            self.db.execute("COMMIT")
        except BaseException:
            # Some errors roll back by themselves; then there is nothing to roll back.
            with suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise

    def _write(self, rows: Sequence[EventRow], changes: Iterable[Intent], *, full: bool) -> None:
        self.db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        now = time.time()
        for change in changes:
            if change.kind is None:
                self.db.execute("DELETE FROM intents WHERE target = ?", (change.target,))
            else:
                row = (change.target, change.kind, change.value, now)
                self.db.execute("INSERT OR REPLACE INTO intents VALUES (?, ?, ?, ?)", row)
        if full and not rows:  # an empty commit would sync nothing of what was written before
            self.db.execute("INSERT OR REPLACE INTO barrier VALUES (1, ?)", (now,))

    def replace_intents(self, intents: Iterable[Intent]) -> None:
        """Make these the intents in force, for good."""
        known = {intent.target for intent in self.intents()}
        wanted = list(intents)
        gone = [Intent(target, None) for target in known - {intent.target for intent in wanted}]
        self.write((), [*gone, *wanted], full=True)

    def prune(self, before: float) -> bool:
        """Drop events older than this Unix time, some at a time; return whether there may be more.

        The newest one stays whatever its age: it holds the count.
        """
        old = "SELECT seq FROM events WHERE at < ? AND seq < (SELECT max(seq) FROM events) LIMIT ?"
        done = self.db.execute(f"DELETE FROM events WHERE seq IN ({old})", (before, PRUNED))  # noqa: S608 two constants
        return done.rowcount == PRUNED


def _refuse_torn(db: sqlite3.Connection, size: int) -> None:
    # SQLite notices missing pages, but fills up a last one that was cut and then finds nonsense in it.
    page = int(db.execute("PRAGMA page_size").fetchone()[0])
    if size % page:
        raise NotOurs(f"the file was cut: {size} bytes are no whole number of pages of {page}")


def _identity(path: str) -> tuple[int, int]:
    seen = os.stat(path)
    return seen.st_dev, seen.st_ino


def salvage(path: str) -> list[Intent]:
    """Return the intents of a database that is no good, as far as they can be read: what was stopped stays stopped."""
    found: list[Intent] = []
    with suppress(sqlite3.Error, TypeError), closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True)) as db:
        found += [Intent(*row) for row in db.execute("SELECT target, kind, value FROM intents")]
    return [each for each in found if isinstance(each.target, str) and each.kind in KINDS]


def read(path: str, question: Question, seconds: float) -> list[EventRow]:
    """Return the stored rows that answer a question; raise TooSlow after so many seconds.

    A connection of its own each time: 0.3 ms, and none is left that points at a file since replaced.
    """
    until = time.monotonic() + seconds
    with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=0.25)) as db:
        db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        text, values = question.sql()
        try:
            return [EventRow._make(row) for row in db.execute(text, values)]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == _INTERRUPTED:
                raise TooSlow from error
            raise


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
