"""What the kernel offers and Python's library does not: subreaper, signalfd, file-system ids.

Decides nothing. The loop's start and the opening of output files call it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1
_RECORD = 128  # sizeof(struct signalfd_siginfo)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class _CloneArgs(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


_with_gil = ctypes.PyDLL(None, use_errno=True)  # the child must come back holding the lock it left with
_CLONE3 = 435  # the same on every architecture
_CLONE_INTO_CGROUP = 1 << 33


def fork_into(leaf: str) -> int:
    """Fork a child that is born in a control group; raise OSError where the kernel (before 5.7) cannot.

    Moving a process into a group waits for a grace period of the kernel, some 10 ms, and holds up other forks; being
    born there costs nothing. The library's own hooks around a fork are for threads, and here are none.
    """
    group = os.open(leaf, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        args = _CloneArgs(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=group)
        return _checked(_with_gil.syscall(_CLONE3, ctypes.byref(args), ctypes.sizeof(args)))
    finally:
        os.close(group)


class _OpenHow(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("flags", "mode", "resolve")]


_OPENAT2 = 437  # the same on every architecture
_AT_FDCWD, _NO_SYMLINKS = -100, 0x04
_WITHOUT = (errno.ENOSYS, errno.EPERM)  # a kernel before 5.6, or a container that has never heard of the call


def open_plain(path: str, flags: int, mode: int = 0) -> int:
    """Open a path in which no part is a symbolic link; raise OSError (ELOOP for one that is)."""
    how = _OpenHow(flags, mode, _NO_SYMLINKS)
    fd = _libc.syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd >= 0:
        return int(fd)
    code = ctypes.get_errno()
    if code in _WITHOUT:
        return os.open(path, flags, mode)
    raise OSError(code, os.strerror(code), path)


def become_subreaper() -> None:
    """Have orphaned descendants given to us instead of to init."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent() -> None:
    """Have this process killed when its parent ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def unignore_reserved() -> None:
    """Give the two signals that the C library keeps for itself their default action.

    Its posix_spawn (make uses it) leaves them ignored, every job would inherit that, and sigaction refuses to touch
    them: only the bare system call does. Where its number is not known it stays as it is, which harms nobody.
    """
    call = {"x86_64": 13, "aarch64": 134}.get(os.uname().machine)
    default = (ctypes.c_ulong * 4)()  # struct kernel_sigaction, all zero: SIG_DFL, no flags, empty mask
    for signum in (32, 33) if call is not None else ():
        _libc.syscall(call, signum, ctypes.byref(default), None, 8)


def open_signals(signums: Sequence[int]) -> int:
    """Block these signals and return a descriptor that tells them; unlike a handler it tells the sender too."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signums)
    bits = ctypes.sizeof(ctypes.c_ulong) * 8
    mask = (ctypes.c_ulong * (1024 // bits))()
    for signum in signums:
        mask[(signum - 1) // bits] |= 1 << ((signum - 1) % bits)
    return _checked(_libc.signalfd(-1, ctypes.byref(mask), os.O_CLOEXEC | os.O_NONBLOCK))


def read_signals(fd: int) -> list[tuple[int, int]]:
    """Return (signal, pid of the sender, 0 for the kernel) of what is pending."""
    try:
        data = os.read(fd, _RECORD * 32)
    except BlockingIOError:
        return []
    order = sys.byteorder
    return [
        (int.from_bytes(data[at : at + 4], order), int.from_bytes(data[at + 12 : at + 16], order))
        for at in range(0, len(data), _RECORD)
    ]


def set_file_ids(uid: int, gid: int) -> None:
    """Look at files as this user from now on; with another uid than 0 root's power over files is off too."""
    if uid:
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
    else:
        _libc.setfsuid(uid)
        _libc.setfsgid(gid)
