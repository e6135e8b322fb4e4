"""Control groups, version 2: one leaf for each run, so that a tree can be counted and killed exactly.

Decides whether we may use them here (tried, not guessed) and what lies in a leaf. `runs` makes, kills and removes
leaves through this; without control groups it sweeps instead.
"""

from __future__ import annotations

import os

import paths


class Groves:
    """Hold the directory below which each run gets its leaf."""

    def __init__(self, root: str) -> None:
        self.root = root

    def plant(self, name: str) -> str | None:
        """Make a leaf and return its path; None when the kernel refuses (the sweep then does the work)."""
        leaf = f"{self.root}/{name}"
        try:
            os.mkdir(leaf)
        except FileExistsError:
            return leaf if not pids(leaf) else None
        except OSError:
            return None
        return leaf

    def fell(self) -> None:
        """Remove all that is empty."""
        clear(self.root)


def clear(leaf: str) -> bool:
    """Remove a group and the groups in it; False when something still lives there."""
    try:
        inner = [entry.path for entry in os.scandir(leaf) if entry.is_dir(follow_symlinks=False)]
        for path in inner:
            clear(path)
        os.rmdir(leaf)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def pids(leaf: str) -> list[int]:
    """Return the living processes in a group and the groups in it; those of foreign pid namespaces count as 0."""
    found: list[int] = []
    try:
        with open(f"{leaf}/cgroup.procs", "rb", buffering=0) as file:
            found += map(int, file.readall().split())
        if not found and _populated(leaf):
            for entry in os.scandir(leaf):
                if entry.is_dir(follow_symlinks=False):
                    found += pids(entry.path)
    except OSError:
        pass
    return found


def _populated(leaf: str) -> bool:
    with open(f"{leaf}/cgroup.events", "rb", buffering=0) as file:
        return b"populated 1" in file.read(256)


def kill(leaf: str) -> bool:
    """Kill everything in the group at once, by the kernel, also what is frozen; False when it cannot."""
    return _write(f"{leaf}/cgroup.kill", b"1")


def thaw(leaf: str) -> bool:
    """Let what is in the group go on, should somebody have frozen it; False when it cannot."""
    return _write(f"{leaf}/cgroup.freeze", b"0")


def frozen(leaf: str) -> bool:
    """Tell whether what is in the group stands still."""
    try:
        with open(f"{leaf}/cgroup.events", "rb", buffering=0) as file:
            return b"frozen 1" in file.read(256)
    except OSError:
        return False


def of(pid: int) -> list[str]:
    """Return the names on the way to the group that a process is in; none for one that is gone."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
            own = next((line[3:].rstrip("\n") for line in lines if line.startswith("0::")), "")
    except OSError:
        return []
    return own.split("/")


def _write(path: str, word: bytes) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, word)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def enter(leaf: str) -> None:
    """Move the calling process into the group."""
    fd = os.open(f"{leaf}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    finally:
        os.close(fd)


def find(name: str) -> Groves | None:
    """Return a place for leaves where making, entering and killing one works, else None."""
    home = _home()
    if home is None:
        return None
    root = f"{home}/{name}"
    try:
        if not os.path.isdir(root):
            os.mkdir(root)
    except OSError:
        return None
    probe = f"{root}/probe-{os.getpid()}"
    if _works(probe):
        return Groves(root)
    clear(root)
    return None


def _home() -> str | None:
    where = next((entry[:2] for entry in paths.mounts() if entry[2] == "cgroup2"), None)
    if where is None:
        return None
    mount, root = where
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
        own = next((line[3:].strip() for line in lines if line.startswith("0::")), None)
    if own is None or "/.." in own:  # outside of what this mount shows
        return None
    if root != "/" and (own + "/").startswith(root + "/"):  # a container without a namespace of its own
        own = own[len(root) :]
    return mount + own.rstrip("/")


def _works(probe: str) -> bool:
    try:
        os.mkdir(probe)
    except OSError:
        return False
    try:
        return os.path.exists(f"{probe}/cgroup.kill") and _can_enter(probe)
    finally:
        clear(probe)


def _can_enter(probe: str) -> bool:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            enter(probe)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0
