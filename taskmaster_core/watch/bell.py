"""An inotify descriptor that becomes readable when something happens at the places that matter, and only then.

It decides which kernel events count. Nothing polls it: whoever owns it sleeps in poll(2) until it rings.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

ANY = "*"
"""Among the names of a directory: every name matters."""

_MODIFY, _CLOSE_WRITE, _MOVED, _CREATE, _DELETE = 0x2, 0x8, 0xC0, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF = 0x400, 0x800
_ONLYDIR, _MASK_ADD, _ISDIR = 0x0100_0000, 0x2000_0000, 0x4000_0000
_OVERFLOWED = -1  # the "watch" of the event that says events were lost
_SELF = _DELETE_SELF | _MOVE_SELF
_IN_DIRECTORY = _CLOSE_WRITE | _MOVED | _CREATE | _DELETE | _SELF | _ONLYDIR
# Not MODIFY: a log file that grows beside the config must not wake us; the config itself has a watch of its own.
_PASSED = _SELF | _DELETE | _ONLYDIR
# DELETE: a directory that a job still has as its own tells nothing of its removal; the one above it does.
_FILE = _MODIFY | _CLOSE_WRITE | _SELF
_HEAD = struct.Struct("iIII")
_FLEETING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

_REMOTE = frozenset({0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x00C3_6400, 0x6573_5546})

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


class Bell:
    """Hold the descriptor; raise OSError where the kernel has none left."""

    def __init__(self) -> None:
        self.fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._names: dict[int, set[str]] = {}

    def arm(self, directories: Mapping[str, AbstractSet[str]], files: AbstractSet[str]) -> None:
        """Ring for these names in these directories, for changes of these files, and if a directory goes away.

        What vanished meanwhile is passed over; raise OSError if the kernel refuses more (limits, permission).
        """
        names: dict[int, set[str]] = {}
        for path, wanted in directories.items():
            self._add(path, _IN_DIRECTORY if wanted else _PASSED, wanted, names)
        for path in files:
            self._add(path, _FILE, frozenset(), names)
        for old in self._names.keys() - names.keys():
            _libc.inotify_rm_watch(self.fd, old)  # fails if the directory is gone: then it went by itself
        self._names = names

    def _add(self, path: str, mask: int, wanted: AbstractSet[str], names: dict[int, set[str]]) -> None:
        # MASK_ADD: two paths may lead to one inode, and the second must not replace the mask of the first.
        try:
            number = _checked(_libc.inotify_add_watch(self.fd, os.fsencode(path), mask | _MASK_ADD), path)
        except OSError as error:
            if error.errno in _FLEETING:
                return
            raise
        names.setdefault(number, set()).update(wanted)

    def rang(self) -> bool:
        """Take what happened out of the descriptor and tell whether any of it matters."""
        found = False
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return found
            found = self._matters(data) or found

    def _matters(self, data: bytes) -> bool:
        at = 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            name = os.fsdecode(data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0"))
            at += _HEAD.size + length
            wanted = self._names.get(number)
            if number == _OVERFLOWED or (wanted is not None and _is_meant(name, mask, wanted)):
                return True
        return False

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def _is_meant(name: str, mask: int, wanted: AbstractSet[str]) -> bool:
    """Tell whether an event in a directory matters: something of this name, or any directory taken off the way."""
    gone = not wanted and mask & _DELETE and mask & _ISDIR
    return not name or name in wanted or ANY in wanted or bool(gone)


def is_remote(path: str) -> bool:
    """Tell whether others can change files there without inotify telling us (NFS, SMB, 9p, Ceph, FUSE)."""
    about = ctypes.create_string_buffer(256)  # struct statfs has 120 bytes; f_type is its first word
    if _libc.statfs(os.fsencode(path), about) < 0:
        return False
    return ctypes.c_long.from_buffer(about).value & 0xFFFF_FFFF in _REMOTE
