"""The terminal in front of a person, lent to a job: raw while it is, and as it was before, whatever happens.

Decides what undoes the things that a program may have done to a terminal, and what of an old picture must not be shown
again. `attach` reads and writes through it.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios
import tty
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
_HEEDED = (*_ENDS, signal.SIGWINCH, signal.SIGCONT)

_ALTERNATE = re.compile(rb"\x1b\[\?(?:1049|1047|47)([hl])")
_LEAVE_ALTERNATE = b"\x1b[?1049l"
_UNDO = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l"  # mouse, focus, paste
    b"\x1b[?1l\x1b>\x1b[<9u\x1b[>4m\x1b[4l\x1b[?7h"  # keys, insert, wrap
    b"\x1b7\x1b[r\x1b8\x1b(B\x0f\x1b[?25h\x1b[0m"  # margins (which would move the cursor), characters, cursor, colours
)
_KEEP_TITLE, _OLD_TITLE = b"\x1b[22;0t", b"\x1b[23;0t"
CLEAR = b"\x1b[0m\x1b[2J\x1b[H"

# What asks the terminal for an answer, which would be typed into the job now, long after the question; and what writes
# the clipboard.
_QUESTIONS = re.compile(
    rb"\x1b\[[?>=]?[0-9;]*[cn]|\x1b\[\?[0-9;]*\$p|\x1b\[[0-9;]*t|\x1b\[\?u|\x1b\[>[0-9]*q|\x05"
    rb"|\x1b\](?:52;|[0-9;]*\?)[^\x07\x1b]*(?:\x07|\x1b\\)?|\x1bP[+$]q[^\x1b]*(?:\x1b\\)?"
)


def replayed(data: bytes, *, cut: bool) -> bytes:
    """Return an old picture as it may be painted again; `cut`: its beginning is missing, so it starts at a new line."""
    if cut:
        starts = [at for at in (data.find(b"\n", 0, 4096) + 1, data.find(b"\x1b", 0, 4096)) if at > 0]
        data = data[min(starts, default=0) :]
    return _QUESTIONS.sub(b"", data)


def key_bytes(name: str) -> bytes:
    """Return the byte of a key written as ^] or ctrl+]; raise ValueError for what is no such key."""
    text = name.strip()
    letter = text.removeprefix("^") if text.startswith("^") else text.lower().removeprefix("ctrl+")
    if len(letter) != 1 or letter == text or not 0x40 <= ord(letter.upper()) <= 0x5F:
        raise ValueError(name)
    return bytes([ord(letter.upper()) & 0x1F])


def spellings(key: bytes) -> re.Pattern[bytes]:
    """Return what a terminal may send for a control key: its byte, or a sequence if the program asked for those."""
    code = ord(chr(key[0] | 0x40).lower())
    return re.compile(b"%s|\x1b\\[%d(?::\\d*)*;5(?::1)?u|\x1b\\[27;5;%d~" % (re.escape(key), code, code))


class Screen:
    """Be the terminal; a context in which it is raw."""

    def __init__(self, source: int = 0, target: int = 1) -> None:
        self.source = source
        self._target = target
        self._alternate = False
        self._carry = b""
        self._before: dict[int, Any] = {}
        self.wake, self._bell = os.pipe()

    def __enter__(self) -> Self:
        self._saved = termios.tcgetattr(self.source)
        for number in (self.wake, self._bell):
            os.set_blocking(number, False)
        self._wakeup = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        for number in _HEEDED:
            self._before[number] = signal.signal(number, lambda *_: None)
        self.raw()
        self._put(_KEEP_TITLE)
        return self

    def raw(self) -> None:
        """Pass every key on; also after somebody stopped us and had us go on."""
        tty.setraw(self.source, termios.TCSADRAIN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal is gone
            self._put((_LEAVE_ALTERNATE if self._alternate else b"") + _UNDO + _OLD_TITLE)
        self._give_back()

    def _give_back(self) -> None:
        with suppress(termios.error):  # the terminal is gone
            # what was typed and not read is dropped: a second press of the key must not reach what comes after us
            termios.tcsetattr(self.source, termios.TCSAFLUSH, self._saved)
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self.wake)
        os.close(self._bell)

    def signals(self) -> list[int]:
        """Return the signals that came."""
        try:
            return list(os.read(self.wake, 256))
        except BlockingIOError:
            return []

    @staticmethod
    def ends(number: int) -> bool:
        """Tell whether a signal asks us to end."""
        return number in _ENDS

    def size(self) -> tuple[int, int]:
        """Return columns and rows."""
        packed = fcntl.ioctl(self._target, termios.TIOCGWINSZ, b"\0" * 8)
        rows, columns = struct.unpack("HHHH", packed)[:2]
        return columns or 80, rows or 24

    def title(self, text: str) -> None:
        """Name the window; the text must be clean."""
        self._put(f"\x1b]2;{text}\x07".encode())

    def show(self, data: bytes) -> None:
        """Paint what the job painted."""
        for found in _ALTERNATE.finditer(self._carry + data):
            self._alternate = found[1] == b"h"
        self._carry = (self._carry + data)[-8:]
        self._put(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._target, view) :]
