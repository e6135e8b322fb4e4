"""Descriptors that travel beside the frames of the wire between core and shim.

Decides how the two stay in step: a frame that brings descriptors holds one object (`"t": "fds"`) and is sent with them
in one call. Its first byte carries them, and the kernel never returns the bytes of two such calls at once, so a reader
has one group for each such frame, in their order, before it has the whole frame. Both ends of the wire use it.
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Groups = list[list[int]]

COUNTS = {"terminal": 2, "pipe": 1}
"""How many descriptors each kind of input has: a pty its two ends, a pipe the one to write to."""
_SPACE = socket.CMSG_SPACE(4 * 8)


def send(sock: socket.socket, frame: bytes, fds: tuple[int, ...]) -> int:
    """Send a frame and its descriptors; return how many bytes were taken. They are gone with the first one."""
    return sock.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))])


def receive(sock: socket.socket, size: int, groups: Groups) -> bytes:
    """Return bytes; descriptors that came with them are a new last group, closed at exec.

    Where our table of descriptors is full some are missing: the group is there nevertheless, for its frame.
    """
    data, ancillary, flags, _ = sock.recvmsg(size, _SPACE, socket.MSG_CMSG_CLOEXEC)
    if ancillary or flags & socket.MSG_CTRUNC:
        groups.append([fd for level, kind, raw in ancillary if kind == socket.SCM_RIGHTS for fd in _numbers(raw)])
    return data


def _numbers(raw: bytes) -> tuple[int, ...]:
    count = len(raw) // 4
    return struct.unpack(f"{count}i", raw[: count * 4])


def claim(groups: Groups, what: object) -> list[int]:
    """Return the descriptors of the `fds` frame that was just read; none unless all of them came."""
    count = COUNTS.get(str(what), 0)
    if not count or not groups:
        return []
    group = groups.pop(0)
    if len(group) == count:
        return group
    close(group)
    return []


def frame_of(key: str, run: int, what: str) -> dict[str, Any]:
    """Return what a frame with the descriptors of this run says; "none" brings none and has the old ones closed."""
    return {"t": "fds", "key": key, "run": run, "what": what}


def close(fds: Iterable[int]) -> None:
    """Close descriptors."""
    for fd in fds:
        os.close(fd)
