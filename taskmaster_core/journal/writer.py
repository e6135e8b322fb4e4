"""The thread that writes the journal: batches, commits, and what it does when the disk will not have it.

It decides when the journal is off (nothing is written, everything is remembered and answered with `ok` false) and when
to try again; supervision never waits for it. `Journal` starts it and feeds its queue.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from typing import NamedTuple

from taskmaster_core.intents import Intent
from taskmaster_core.journal.rows import EventRow, Memory, storable
from taskmaster_core.journal.store import Store, is_full, is_unreadable, salvage, set_aside
from taskmaster_core.steady import Steady

FIRST_RETRY = 0.25
LAST_RETRY = 30.0
"""Seconds until the next attempt to write again; doubled from the first to the last."""

RESERVE = 1 << 20
"""Bytes kept back on disk, given up when it is full: enough for the intents and the last words."""

RESERVE_AGAIN = 60.0
"""Seconds until the reserve that was given up is made again, if there is room."""

PRUNE_EVERY = 10_000
FLOOR_EVERY = 1_000
"""Rows between two notes of how far the numbers have come."""

TOLD_FOR = 600.0
"""Seconds for which it is told that a journal was moved aside."""


class Completion(NamedTuple):
    """Tell what was done: rows up to `upto` (token None), or everything before the barrier with that token."""

    token: int | None
    upto: int
    ok: bool
    """False: it is only in memory, for the journal is in trouble."""


class Order(NamedTuple):
    """Ask the writer for something; a token None is not answered."""

    rows: Sequence[EventRow] = ()
    changes: Sequence[Intent] = ()
    token: int | None = None
    full: bool = False
    close: bool = False
    suspect: str = ""
    """What a reader found wrong with the file."""


class Files:
    """Hold the two small files beside the database: how far the numbers have come, and the reserve."""

    def __init__(self, path: str) -> None:
        self._floor_path = f"{path}.seq"
        self._reserve_path = f"{path}.reserve"
        self._noted = 0

    def floor(self) -> int:
        """Return a number that was reached, 0 if none was noted."""
        try:
            with open(self._floor_path, encoding="ascii") as file:
                self._noted = int(file.read(32))
        except (OSError, ValueError):
            self._noted = 0
        return self._noted

    def note(self, seq: int, *, at_once: bool = False) -> None:
        """Note how far the numbers have come, if that is due."""
        due = at_once or self._noted == 0 or seq >= self._noted + FLOOR_EVERY
        if seq <= self._noted or not due:
            return
        fresh = f"{self._floor_path}.new"
        with suppress(OSError):  # the disk may be full: the next one tries again
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
            with open(os.open(fresh, flags, 0o600), "w", encoding="ascii") as file:
                file.write(f"{seq}\n")
            os.replace(fresh, self._floor_path)
            self._noted = seq

    def reserve(self) -> bool:
        """Keep some of the disk back; return whether there was room."""
        try:
            fd = os.open(self._reserve_path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVE)
            finally:
                os.close(fd)
        except OSError:
            return False
        return True

    def give_up_reserve(self) -> bool:
        """Free the reserve; return whether there was one."""
        try:
            size = os.stat(self._reserve_path).st_size
            os.unlink(self._reserve_path)
        except OSError:
            return False
        return size > 0


class Writer:
    """Hold what the thread knows; `run` is its life."""

    def __init__(
        self, path: str, keep_seconds: float, queue: SimpleQueue[Order], deliver: Callable[[list[Completion]], None]
    ) -> None:
        self.store = Store(path)
        self.files = Files(path)
        self.off = ""
        """Why nothing is written, in words; empty: all is well."""
        self.intents: dict[str, Intent] = {}
        self.upto = 0
        self.keep = keep_seconds
        """Events older than this many seconds go; the main thread may replace it at any time."""
        self._clock = Steady()
        self._queue = queue
        self._deliver = deliver
        self._memory = Memory()
        self._aside = ""
        self._aside_at = 0.0
        self._broken = False
        self._retry = FIRST_RETRY
        self._retry_at = 0.0
        self._reserve_at = inf
        self._since_prune = PRUNE_EVERY  # the first rows written bring the first pruning

    @property
    def trouble(self) -> str:
        """Tell what is wrong, in words; empty: nothing."""
        if self.off:
            return f"the journal is off: {self.off}; events wait in memory"
        told = self._aside and time.monotonic() - self._aside_at < TOLD_FOR
        return f"the journal could not be read and was begun anew; the old one is {self._aside}" if told else ""

    # Beginning ----------------------------------------------------------------------------------------------------

    def begin(self) -> int:
        """Open the journal, moving aside one that cannot be read; return the number the next event follows."""
        floor = self.files.floor()
        seq = 0
        try:
            seq = self._open()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        # Below the floor something was lost, and up to a thousand numbers after it may have been seen by somebody.
        self.upto = seq if seq >= floor else floor + FLOOR_EVERY
        self.files.note(self.upto)
        return self.upto

    def _open(self) -> int:
        try:
            seq = self._load()
        except (sqlite3.Error, OSError) as error:
            if not is_unreadable(error) or not os.path.lexists(self.store.path):
                raise
            self.intents = {intent.target: intent for intent in salvage(self.store.path)}
            self._move_aside()
            seq = self._load()
            self.store.replace_intents(self.intents.values())
        self.files.reserve()
        return seq

    def _load(self) -> int:
        self.store.open(timeout=1.0)
        self.intents |= {intent.target: intent for intent in self.store.intents()}
        return self.store.last_seq()

    def _move_aside(self) -> None:
        self.store.close()
        if os.path.lexists(self.store.path):
            self._aside = set_aside(self.store.path)
            self._aside_at = time.monotonic()
        self._broken = False

    # Living -------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Carry out orders until one says close."""
        closing = False
        while not closing:
            orders = self._take()
            closing = any(order.close for order in orders)
            if closing:
                self._retry_at = 0.0
            self._carry_out(orders)
        self.store.close()

    def _take(self) -> list[Order]:
        """Return everything that is asked for; wait for it, while in trouble until the next attempt is due."""
        orders: list[Order] = []
        timeout = max(self._retry_at - time.monotonic(), 0.0) if self.off else None
        try:
            orders.append(self._queue.get(timeout=timeout))
            while True:
                orders.append(self._queue.get_nowait())
        except Empty:
            return orders

    def _carry_out(self, orders: list[Order]) -> None:
        rows = [row for order in orders for row in order.rows]
        changes = [change for order in orders for change in order.changes]
        self._remember(rows, changes)
        for order in orders:
            if order.suspect and not self.off:
                self._fail(sqlite3.DatabaseError(order.suspect), broken=True)
        was_off = self.off
        ok = self._written(rows, changes, full=any(order.full for order in orders))
        done = [Completion(None, self.upto, ok)] if rows or (ok and was_off) else []
        done += [Completion(order.token, self.upto, ok) for order in orders if order.token is not None]
        if done:
            self._deliver(done)
        self._keep_house(len(rows))

    def _remember(self, rows: list[EventRow], changes: list[Intent]) -> None:
        for change in changes:
            if change.kind is None:
                self.intents.pop(change.target, None)
            else:
                self.intents[change.target] = change
        self._memory.add(rows, self.upto if not self.off else 0)
        if rows:
            self.upto = rows[-1].seq

    def _written(self, rows: list[EventRow], changes: list[Intent], *, full: bool) -> bool:
        """Write, or heal and write what is missing; on failure be off. Return whether it is on disk."""
        for _ in range(2):  # the second time after the reserve was given up
            if self.off and time.monotonic() < self._retry_at:
                return False
            try:
                if self.off:
                    self._heal()
                elif rows or changes or full:
                    self._write(rows, changes, full=full)
                return True
            except Exception as error:  # noqa: BLE001  # the edge of the thread: whatever it is, supervision goes on
                self._fail(error)
                if is_full(error) and self.files.give_up_reserve():
                    self._retry_at = 0.0
                    self._reserve_at = time.monotonic() + RESERVE_AGAIN
        return False

    def _write(self, rows: Sequence[EventRow], changes: Sequence[Intent], *, full: bool) -> None:
        if self.store.vanished():
            raise FileNotFoundError(f"{self.store.path} was deleted or replaced")
        try:
            self.store.write(rows, changes, full=full)
        except (UnicodeError, OverflowError):
            self.store.write([storable(row) for row in rows], changes, full=full)

    def _heal(self) -> None:
        """Open again and write everything that is missing, so that no gap is left where none must be."""
        self.store.close()
        if self._broken:
            self._move_aside()
        self.store.open()
        self._write(self._memory.after(self.store.last_seq()), (), full=True)
        self.store.replace_intents(self.intents.values())
        self.off = ""
        self._retry = FIRST_RETRY

    def _fail(self, error: Exception, *, broken: bool = False) -> None:
        if not self.off:
            self.files.note(self.upto, at_once=True)
        self.off = str(error) or repr(error)
        self._broken = broken or is_unreadable(error)
        self._retry_at = time.monotonic() + self._retry
        self._retry = min(self._retry * 2, LAST_RETRY)

    def _keep_house(self, added: int) -> None:
        self.files.note(self.upto)
        if not self.off and time.monotonic() >= self._reserve_at:
            self._reserve_at = inf if self.files.reserve() else time.monotonic() + RESERVE_AGAIN
        self._since_prune += added
        if self._since_prune < PRUNE_EVERY or self.off or not added:
            return
        self.files.reserve()
        try:
            more = self.store.prune(self._clock.now() - self.keep)
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return
        self._since_prune = PRUNE_EVERY if more else 0
