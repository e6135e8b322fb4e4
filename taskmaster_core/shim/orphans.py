"""What all processes look like at one moment: which of them carry a run's marks, or hold its lock file.

Decides which process that descends from no living shim belongs to a run. Who looks for what a dead shim left behind
(`leftovers`, `adopted`) asks here.
"""

from __future__ import annotations

import os
import time

import tree


class Snapshot:
    """Hold what all processes look like at one moment: read once for all leftovers."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self._tagged = {pid: env for pid in _all_pids() if (env := _tagged_environment(pid))}
        self._holders: dict[tuple[int, int], list[int]] | None = None
        self._at_lock: dict[int, list[tuple[int, int]]] | None = None

    def tagged(self, tags: list[bytes]) -> list[int]:
        """Return the orphans that were started with all of these settings.

        Another instance may use the same names: what descends from a living shim is that one's.
        """
        found = [pid for pid, env in self._tagged.items() if tags and all(tag in env for tag in tags)]
        return [pid for pid in found if not _has_shim(pid)]

    def of(self, tags: list[bytes], lock: tuple[int, int]) -> list[int]:
        """Return the orphans with these settings or this lock file; who holds another run's lock belongs to that."""
        holders = [pid for pid, files in self._locks().items() if lock in files]
        found = [pid for pid in self.tagged(tags) if pid in holders or not _holds_a_lock(pid)]
        return list({*found, *holders})

    def _locks(self) -> dict[int, list[tuple[int, int]]]:
        """Return what every process has open where runs have their lock file; looking at all files takes far longer."""
        if self._at_lock is None:
            self._at_lock = {pid: found for pid in _all_pids() if (found := _files_at_lock(pid))}
        return self._at_lock

    def holders(self, lock: tuple[int, int]) -> list[int]:
        """Return the processes that have this file open."""
        if self._holders is None:
            self._holders = {}
            for pid in _all_pids():
                for file in _open_files(pid):
                    self._holders.setdefault(file, []).append(pid)
        return self._holders.get(lock, [])


class Looker:
    """Look at all processes, not more often than needed: a look costs some 50 microseconds for each of them."""

    def __init__(self) -> None:
        self._last: Snapshot | None = None

    def look(self, since: float) -> Snapshot:
        """Return how it was at this instant of CLOCK_MONOTONIC or later."""
        if self._last is None or self._last.at < since:
            self._last = Snapshot()
        return self._last


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _tagged_environment(pid: int) -> frozenset[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            text = file.readall()
    except OSError:
        return frozenset()
    return frozenset(text.split(b"\0")) if b"TASKMASTER_RUN=" in text else frozenset()


def _has_shim(pid: int) -> bool:
    while pid > 1:
        member = tree.look(pid)
        if member is None:
            return False
        pid = member.ppid
        if pid != os.getpid() and _is_shim(_command_line(pid)):
            return True
    return False


def _is_shim(words: list[bytes]) -> bool:
    return b"-I" in words and any(word.endswith(b"taskmaster_core/shim") for word in words)


def _command_line(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            return file.readall().split(b"\0")
    except OSError:
        return []


def _open_files(pid: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    if pid == os.getpid():
        return found
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for fd in fds:
        try:
            entry = os.stat(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        found.append((entry.st_dev, entry.st_ino))
    return found


def _files_at_lock(pid: int) -> list[tuple[int, int]]:
    found = []
    for number in tree.LOCK_FDS:
        try:
            entry = os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        found.append((entry.st_dev, entry.st_ino))
    return found


def _holds_a_lock(pid: int) -> bool:
    """Tell whether it has the lock file of some run open."""
    try:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any("/runs/" in name and name.endswith(".lock") for name in names)
