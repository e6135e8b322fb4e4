"""How a process ended that is no child of ours: what the kernel still says of it through a pidfd.

Decides nothing. From Linux 6.15 on the kernel keeps the wait status of a process for whoever had opened a pidfd before
its real parent reaped it; older kernels say nothing. The shim asks for what it adopted, the core for what ended between
two shims (as `taskmaster_core.shim.pidfds`).
"""

from __future__ import annotations

import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes), the same on every architecture we know
_EXIT = 1 << 3  # in `mask`: the exit code is wanted, or known
_SIZE, _CODE_AT = 64, 60  # struct pidfd_info, first version; exit_code is its last member


def _release() -> tuple[int, ...]:
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return tuple(int(each) if each.isdigit() else 0 for each in numbers)


TOLD = _release() >= (6, 15)
"""Whether this kernel tells at all."""


def status_of(fd: int) -> int | None:
    """Return the wait status of the process; None as long as nobody has reaped it, and where the kernel cannot tell."""
    answer = bytearray(_SIZE)
    struct.pack_into("=Q", answer, 0, _EXIT)
    try:
        fcntl.ioctl(fd, _GET_INFO, answer)
    except OSError:  # gone before we opened it, or an old kernel
        return None
    if not struct.unpack_from("=Q", answer, 0)[0] & _EXIT:
        return None
    return int(struct.unpack_from("=i", answer, _CODE_AT)[0])


def end_of(status: int | None) -> dict[str, Any]:
    """Return the end as reports tell it: `code` or `signal`, and `core`; neither where it is not known."""
    if status is None:
        return {"core": False}
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status), "core": os.WCOREDUMP(status)}
    return {"code": os.WEXITSTATUS(status), "core": False}
