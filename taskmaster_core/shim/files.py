"""How an output file may be opened: what is a file of ours, and what is refused.

Decides whether a path is safe to write to (RELIABILITY §5 Files and Paths) and makes it; what is written is decided
in `sinks`. Every descriptor of an output file comes from here.
"""

from __future__ import annotations

import errno
import os
import stat

import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FLAGS = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
_LINKS = 40  # as the kernel's
MODE = 0o640


class Unfit(OSError):
    """Tell that the path exists and is nothing we write to; the sentence says why."""


def special(path: str, inherited: frozenset[int]) -> int | None:
    """Return the descriptor of ours that a special path means, None for an ordinary path."""
    if path == "/dev/stdout":
        return 1
    if path == "/dev/stderr":
        return 2
    for prefix in ("/proc/self/fd/", "/dev/fd/"):
        if path.startswith(prefix):
            number = path[len(prefix) :]
            if number.isdigit() and int(number) in inherited:
                return int(number)
            raise Unfit(errno.EBADF, f"we were not started with a descriptor {number}")
    return None


def resolve(path: str) -> str:
    """Return the path without symbolic links; one that another user made, anywhere in it, is refused.

    What is not there yet is taken as it is written. Whoever puts a link there after this look is met by `open_plain`.
    """
    done, left, links = "/", path.split("/")[::-1], 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        done = os.path.join(done, part)
        try:
            entry = os.lstat(done)
        except (FileNotFoundError, NotADirectoryError):
            return os.path.join(done, *left[::-1])
        if stat.S_ISLNK(entry.st_mode):
            links += 1
            if entry.st_uid not in (0, os.geteuid()):
                raise Unfit(errno.ELOOP, f"{done} is a symbolic link made by uid {entry.st_uid}")
            if links > _LINKS:
                raise Unfit(errno.ELOOP, f"too many symbolic links at {path}")
            target = os.readlink(done)
            done = "/" if target.startswith("/") else os.path.dirname(done)
            left += target.split("/")[::-1]
    return done


def open_output(path: str, *, uid: int | None, gid: int | None, append: bool = False) -> int:
    """Open a regular file for writing, made with mode 0640 when new; `path` is resolved already."""
    if uid in (None, os.geteuid()):
        return _open(path, uid, append)
    return _open_as(path, uid or 0, gid if gid is not None else 0, append)


def _open_as(path: str, uid: int, gid: int, append: bool) -> int:
    kernel.set_file_ids(uid, gid)
    try:
        return _open(path, uid, append)
    finally:
        kernel.set_file_ids(os.geteuid(), os.getegid())


def _open(path: str, uid: int | None, append: bool) -> int:
    flags = _FLAGS | (os.O_APPEND if append else 0)
    try:
        fd = kernel.open_plain(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | flags, MODE)
        os.fchmod(fd, MODE)  # whatever the umask
        return fd
    except FileExistsError:
        pass
    fd = _open_existing(path, flags)
    try:
        _judge(path, os.fstat(fd), uid)
    except OSError:
        os.close(fd)
        raise
    return fd


def _open_existing(path: str, flags: int) -> int:
    try:
        return kernel.open_plain(path, os.O_RDWR | flags)
    except PermissionError:
        return kernel.open_plain(path, os.O_WRONLY | flags)  # writing is enough; only the last byte cannot be looked at
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise Unfit(errno.ENXIO, f"{path} is a FIFO or a socket, not a regular file") from None
        raise


def _judge(path: str, entry: os.stat_result, uid: int | None) -> None:
    if not stat.S_ISREG(entry.st_mode):
        raise Unfit(errno.EINVAL, f"{path} is {_kind(entry.st_mode)}, not a regular file")
    if entry.st_uid not in (0, os.geteuid(), uid) and _sticky(os.path.dirname(path)):
        raise Unfit(errno.EACCES, f"{path} was put there by uid {entry.st_uid}")
    if entry.st_nlink > 1 and uid in (None, os.geteuid()) and _of_others(os.path.dirname(path)):
        raise Unfit(errno.EMLINK, f"{path} has another name: it may be anybody's file, put there by who can write here")


def _of_others(directory: str) -> bool:
    """Tell whether somebody else than we can put files there."""
    entry = os.stat(directory or ".")
    return entry.st_uid not in (0, os.geteuid()) or bool(entry.st_mode & 0o022)


def _sticky(directory: str) -> bool:
    mode = os.stat(directory or ".").st_mode
    return bool(mode & stat.S_ISVTX and mode & 0o022)


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISDIR, "a directory"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")


def make_parents(path: str) -> None:
    """Make the directories above a managed file."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        os.makedirs(parent, 0o750, exist_ok=True)


def inode_of(path: str) -> int:
    """Return the inode that a path names, 0 when there is none."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def at_line_start(fd: int, size: int) -> bool:
    """Tell whether a file ends in a newline or is empty; False where it may not be read."""
    if size == 0:
        return True
    try:
        return os.pread(fd, 1, size - 1) == b"\n"
    except OSError:
        return False


def as_user(uid: int | None, gid: int | None, action: Callable[[], None]) -> None:
    """Do something to files with the rights of this user."""
    if uid in (None, os.geteuid()):
        action()
        return
    kernel.set_file_ids(uid or 0, gid or 0)
    try:
        action()
    finally:
        kernel.set_file_ids(os.geteuid(), os.getegid())


def explain(error: OSError, path: str, *, managed: bool) -> str:
    """Return one sentence about an output file that cannot be opened."""
    if isinstance(error, Unfit):
        return str(error.strerror)
    if error.errno == errno.ENOENT and not managed:
        return f"No such directory: '{os.path.dirname(path)}' (for a redirection it must exist)"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"'{os.path.dirname(path)}' is not a directory"
    if error.errno == errno.EISDIR:
        return f"'{path}' is a directory, not a regular file"
    return f"{os.strerror(error.errno or errno.EIO)}: '{path}'"
