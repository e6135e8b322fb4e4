"""What is typed to a job: a bounded queue before its standard input, which may be a pipe or a terminal.

Decides whether more is taken; a job that does not read makes it full and never makes the shim wait. The orders put
bytes in, the run's end closes it.
"""

from __future__ import annotations

import errno
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from loop import Loop, Timer

LIMIT = 1 << 16
"""Bytes that wait beside what the kernel takes; what would be more is refused as a whole."""
_AGAIN = 0.05  # seconds: a terminal may call itself writable and take nothing
_EOT = b"\x04"


class Inlet:
    """Write to the standard input of one run."""

    def __init__(self, loop: Loop, fd: int, *, terminal: bool) -> None:
        self._loop = loop
        self._fd = fd
        self._terminal = terminal  # the descriptor is the terminal's own, which reads from it
        self._queue = bytearray()
        self._ends = False  # its end is to follow what waits
        self._copy = -1
        self._timer: Timer | None = None
        self.on_shut: Callable[[], None] = lambda: None
        """Told when a pipe is closed before its run is over."""

    @property
    def fd(self) -> int:
        """Return the descriptor that is written to, -1 when it is closed."""
        return self._fd

    @property
    def terminal(self) -> bool:
        """Tell whether it belongs to a terminal."""
        return self._terminal

    def put(self, data: bytes, *, end: bool) -> str:
        """Take bytes, and with `end` the end of the input behind them; return why not, or ""."""
        if self._fd < 0 or self._ends:
            return "its input is closed already"
        if self._queue and len(self._queue) + len(data) > LIMIT:
            return f"it does not read its input: {len(self._queue)} bytes wait"
        self._queue += data
        if end and self._terminal:
            self._queue += _EOT
        elif end:
            self._ends = True
        if self._timer is None and self._copy < 0:
            return self._write()
        return ""

    def _write(self) -> str:
        try:
            while self._queue:
                count = os.write(self._fd, self._queue)
                if count == 0:
                    break
                del self._queue[:count]
        except BlockingIOError:
            pass
        except OSError as error:
            self._queue.clear()
            if not self._terminal:
                self._shut()
            return "it has closed its input" if error.errno in (errno.EPIPE, errno.EIO) else str(error.strerror)
        if self._queue:
            self._wait()
        elif self._ends:
            self._shut()
        return ""

    def _shut(self) -> None:
        self.close()
        self.on_shut()

    def _wait(self) -> None:
        try:
            self._copy = os.dup(self._fd)  # the loop knows the terminal's own number already, as what is read
        except OSError:
            self._timer = self._loop.after(_AGAIN, self._again)
        else:
            self._loop.watch(self._copy, self._writable, mask=select.EPOLLOUT)

    def _writable(self, _: int) -> None:
        before = len(self._queue)
        self._rest()
        if self._fd >= 0 and not self._write() and len(self._queue) == before and self._copy >= 0:
            self._rest()
            self._timer = self._loop.after(_AGAIN, self._again)

    def _again(self) -> None:
        self._timer = None
        if self._fd >= 0:
            self._write()

    def _rest(self) -> None:
        if self._copy >= 0:
            self._loop.forget(self._copy)
            os.close(self._copy)
            self._copy = -1

    def close(self) -> None:
        """Wait for nothing more; a pipe is closed, which is the end of the job's input."""
        self._rest()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()
        if self._fd >= 0 and not self._terminal:
            os.close(self._fd)
        self._fd = -1
