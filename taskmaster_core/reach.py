"""Find out whether a core can be reached, and if not, why not: nobody is there, it died, or it may not be spoken to.

It decides what the marks on the disk mean (who listens at a socket, who holds the instance's lock, whose a directory
is) and changes none of them. The async client asks it for every attempt, the CLI for the holder of the lock.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import suppress
from errno import EACCES, ECONNREFUSED, ENAMETOOLONG, ENOENT, EPERM
from typing import Literal, NamedTuple

Kind = Literal["ok", "denied", "core_gone", "no_core"]

_WORDS = {ENOENT: "no such file", ECONNREFUSED: "nobody listens", EACCES: "permission denied", EPERM: "not permitted"}


class Look(NamedTuple):
    """Hold what was found at one command socket; `error` is an errno, 0 if somebody listens."""

    path: str
    error: int

    def __str__(self) -> str:
        """Return it as a line for people."""
        said = _WORDS.get(self.error, os.strerror(self.error)) if self.error else "listens"
        return f"{self.path} ({said})"


class Denial(NamedTuple):
    """Name what keeps us out (a socket or a directory on the way), and what to do about it."""

    path: str
    owner: str
    group: str
    mode: int
    remedy: str


class Diagnosis(NamedTuple):
    """Say why there is no connection."""

    kind: Kind
    where: list[Look]
    shim_pid: int | None = None
    """The living shim of a core that is gone; 0 if it does not say."""
    denial: Denial | None = None

    @property
    def detail(self) -> str:
        """Return the reason as a sentence; empty when somebody listens."""
        if self.denial is not None:
            each = self.denial
            return f"{each.path} belongs to {each.owner}:{each.group}, mode {each.mode:04o}: {each.remedy}"
        if self.kind == "core_gone":
            pid = f" (pid {self.shim_pid})" if self.shim_pid else ""
            return f"the core does not answer; the shim{pid} is alive and keeps the jobs"
        return "no core is running here" if self.kind == "no_core" else ""


def look(path: str) -> Look:
    """Tell whether somebody listens at a unix socket. It never waits: these connect at once or not at all.

    Of an address of another machine it says that somebody does: only trying to connect tells.
    """
    if path.startswith("tcp://"):
        return Look(path, 0)
    with socket.socket(socket.AF_UNIX) as probing:
        probing.setblocking(False)
        try:
            probing.connect(path)
        except BlockingIOError:
            return Look(path, 0)  # EAGAIN: somebody listens, the backlog is full
        except OSError as error:
            return Look(path, error.errno or ENAMETOOLONG)  # without a number: "AF_UNIX path too long"
    return Look(path, 0)


def mark(paths: Iterable[str]) -> tuple[tuple[int, int] | None, ...]:
    """Return something that changes when a socket file comes, goes, or is made again."""
    return tuple(_mark(path) for path in paths)


def _mark(path: str) -> tuple[int, int] | None:
    try:
        seen = os.stat(path)
    except OSError:
        return None
    return seen.st_ino, seen.st_ctime_ns


def holder(lock: str) -> int | None:
    """Return the pid of the shim that holds an instance's lock, 0 if it does not say, None if nobody holds it."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def diagnose(sockets: Iterable[str], locks: Iterable[str]) -> Diagnosis:
    """Say why none of these sockets can be spoken to; `locks` are where a shim of the instance would hold its lock."""
    where = [look(path) for path in sockets]
    if any(each.error == 0 for each in where):
        return Diagnosis("ok", where)
    for each in where:
        if each.error in (EACCES, EPERM):
            return Diagnosis("denied", where, denial=_denial(each.path))
    for lock in locks:
        pid = holder(lock)
        if pid is not None:
            return Diagnosis("core_gone", where, pid)
    return Diagnosis("no_core", where)


def _denial(path: str) -> Denial:
    culprit, seen = _culprit(path)
    owner, group = _owner(seen.st_uid), _group(seen.st_gid)
    bit = stat.S_IXGRP if stat.S_ISDIR(seen.st_mode) else stat.S_IWGRP
    user = f"run this as that user: sudo -u {owner} taskmaster"
    if seen.st_mode & bit and seen.st_gid != 0:
        return Denial(culprit, owner, group, stat.S_IMODE(seen.st_mode), f"ask to be in group {group}, or {user}")
    more = "or let its owner set `socketgroup` in [taskmaster]"
    return Denial(culprit, owner, group, stat.S_IMODE(seen.st_mode), f"{user}, {more}")


def _culprit(path: str) -> tuple[str, os.stat_result]:
    """Return the first thing on the way down that we may not pass."""
    names = path.split("/")
    here, seen = "/", os.stat("/")
    for number in range(2, len(names) + 1):
        try:
            seen = os.stat("/".join(names[:number]))
        except OSError:
            break  # of this we may not even ask: its directory is what keeps us out
        here = "/".join(names[:number])
        if not os.access(here, os.X_OK if stat.S_ISDIR(seen.st_mode) else os.W_OK, effective_ids=True):
            break
    return here, seen


def _owner(uid: int) -> str:
    import pwd  # noqa: PLC0415 only for somebody who is kept out: it may ask the network

    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    import grp  # noqa: PLC0415 as above

    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)
