"""Which processes belong to a run, and how to kill all of them.

Decides membership (control group, else descent, session, group and environment) and carries out the kill; when to
kill is decided in `runs`. A process is signalled only through a pidfd whose start time was checked, so that a
recycled pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    File = tuple[int, int]  # device and inode

LOCK_FDS = (100, 20, 3)  # shells use 3 to 9 and 10 to 20 or 255, socket activation begins at 3; low limits the rest
_HELD = (*LOCK_FDS, 1, 2)  # where a process has the lock file and the FIFOs of its run, if it has not let go
_ROUND = 0.02  # seconds of stop-and-walk before the loop gets its turn again


class Member:
    """Hold what was seen of one living process."""

    __slots__ = ("comm", "pgrp", "pid", "ppid", "session", "started", "state", "threads")

    def __init__(self, pid: int, comm: str, fields: list[str]) -> None:
        self.pid = pid
        self.comm = comm
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.pgrp = int(fields[2])
        self.session = int(fields[3])
        self.threads = int(fields[17])
        self.started = int(fields[19])

    @property
    def dead(self) -> bool:
        """Tell whether it is a zombie: it has ended, only its status is kept (its other threads may still run)."""
        return self.state in "ZX" and self.threads <= 1


def look(pid: int) -> Member | None:
    """Return what the kernel says about a process, None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096).decode("utf-8", "replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")  # the name may hold spaces and parentheses
    if not tail:
        return None
    return Member(pid, head.partition("(")[2], tail.split())


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, of all its threads."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.readall().split())
        except OSError:
            continue
    return found


def below(pids: list[int]) -> list[Member]:
    """Return these processes and all their descendants, zombies too (they may still have children)."""
    found: list[Member] = []
    seen: set[int] = set()
    todo = list(pids)
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        member = look(pid)
        if member is not None:
            found.append(member)
            todo += children(pid)
    return found


def settings_of(pid: int) -> frozenset[bytes]:
    """Return the NAME=value settings that a process was started with; none for one that is gone or not to be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return frozenset(file.readall().split(b"\0"))
    except OSError:
        return frozenset()


def holds(pid: int, files: frozenset[File]) -> bool:
    """Tell whether a process still has one of these files open where it got it from its run."""
    for number in _HELD:
        try:
            entry = os.stat(f"/proc/{pid}/fd/{number}")
        except OSError:
            continue
        if (entry.st_dev, entry.st_ino) in files:
            return True
    return False


def belongs(member: Member, leader: int, tags: list[bytes], files: Callable[[], frozenset[File]]) -> bool:
    """Tell whether an orphan is of the run of this leader: by session or group, by its marks, by what it has open."""
    if leader in (member.session, member.pgrp):
        return True
    settings = settings_of(member.pid)
    if tags and settings.issuperset(tags):
        return True
    for each in settings:
        if each.startswith(b"TASKMASTER_RUN="):
            return False  # it is another run's
    return holds(member.pid, files())


def send(member: Member, signum: int) -> bool:
    """Signal exactly this process; False when it is gone already."""
    try:
        fd = os.pidfd_open(member.pid)
    except OSError:
        return False
    try:
        now = look(member.pid)
        if now is None or now.started != member.started:
            return False
        signal.pidfd_send_signal(fd, signum)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def stop_and_kill(find: Callable[[], list[Member]]) -> list[Member]:
    """Stop all that `find` returns until it finds nobody new, then kill them; return who was hit.

    Stopping first keeps a process that forks without end from running away between the look and the kill.
    """
    stopped: dict[tuple[int, int], Member] = {}
    until = time.monotonic() + _ROUND
    while True:
        fresh = [each for each in find() if (each.pid, each.started) not in stopped]
        for each in fresh:
            stopped[each.pid, each.started] = each
            send(each, signal.SIGSTOP)
        if not fresh or time.monotonic() > until:
            break
    for each in stopped.values():
        send(each, signal.SIGKILL)
    return list(stopped.values())
