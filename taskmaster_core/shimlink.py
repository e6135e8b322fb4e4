"""Speak with the shim: the core's end of the wire, and its reports as stimuli (docs/shim-protocol.md).

Decides nothing. Orders of one decision are sent as one frame, so the shim carries them out whole or not at all. The
daemon polls `fileno()`, and writes again when `backlog` says that the shim was slow.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import sys
import termios
import time
from typing import Any

from msgspec.structs import replace

from taskmaster_core import machine
from taskmaster_core.custody import Custody
from taskmaster_core.machine import Stimulus
from taskmaster_core.shim import rights
from taskmaster_core.shim.frames import BadFrame, Decoder, encode
from taskmaster_core.spec import Exit, Key, parse_key

Document = dict[str, Any]

LEFT_NAMED = 10
"""So many of those who live on are kept by name; `show` has them all."""

_READ = 1 << 16
"""Bytes read at once; more would be mapped and unmapped for each of the short frames of every day."""

_FOR_NOW = (errno.ENOMEM, errno.ENOBUFS)
"""The kernel has no memory at this moment; that says nothing about the shim."""


class LinkClosed(Exception):
    """Tell that the shim closed the wire: it is dead, or it has another core."""


class ShimLink:
    """Hold the core's end of the socketpair."""

    def __init__(self, fd: int, custody: Custody | None = None) -> None:
        self.custody = custody if custody is not None else Custody()
        """The descriptors that this wire and those before it brought."""
        self._groups: rights.Groups = []
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        os.set_inheritable(fd, False)
        self._decoder = Decoder()
        self._out = bytearray()
        self._unread: float | None = None

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the wire; `fileno` is -1 from now on, and what was kept is dropped."""
        self._out.clear()
        self._socket.close()
        for group in self._groups:
            rights.close(group)
        self._groups.clear()

    @property
    def backlog(self) -> bool:
        """Tell whether bytes wait for the shim to read."""
        return bool(self._out)

    @property
    def silent_for(self) -> float:
        """Return the seconds for which the shim has neither said anything nor read all that was sent.

        The kernel counts what lies unread in the wire, so that this needs no answer and wakes nobody.
        """
        if self.fileno() < 0 or self._unread is None:
            return 0.0
        left = fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0\0\0\0")
        if not int.from_bytes(left, sys.byteorder):
            self._unread = None
            return 0.0
        return time.monotonic() - self._unread

    def send(self, orders: list[Document]) -> None:
        """Send orders as one frame; what the socket does not take now is kept. Raise LinkClosed if nobody reads."""
        if not self.silent_for:
            self._unread = time.monotonic()
        self._out += encode(orders)
        self.flush()

    def flush(self) -> None:
        """Write what is kept as far as the socket takes it."""
        try:
            while self._out:
                sent = self._socket.send(self._out)
                del self._out[:sent]
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _FOR_NOW:
                raise LinkClosed(str(error)) from error

    def receive(self) -> list[Document]:
        """Return the reports that have come, in order; raise LinkClosed at the end of the wire."""
        reports: list[Document] = []
        while True:
            known = len(self._groups)
            try:
                data = rights.receive(self._socket, _READ, self._groups)
            except BlockingIOError:
                return reports
            except OSError as error:
                if error.errno in _FOR_NOW:
                    return reports
                data, why = b"", str(error)
            else:
                why = "the shim closed the wire"
            if not data:
                if reports:
                    return reports  # they are told first; the next call meets the end again
                raise LinkClosed(why)
            self._unread = None
            try:
                more = len(self._groups) > known  # bytes with descriptors come alone, however many wait behind them
                for frame in self._decoder.feed(data):
                    reports += [report for report in frame if not self._keep(report)]
            except BadFrame as error:
                raise LinkClosed(f"the wire to the shim is torn: {error}") from error
            if len(data) < _READ and not more:
                return reports

    def _keep(self, report: Document) -> bool:
        """Follow what a report says of descriptors; tell whether that is all it says."""
        kind = report.get("t")
        if kind == "fds" and report["what"] != "none":
            fds = rights.claim(self._groups, report["what"])
            self.custody.take(report["key"], report["run"], report["what"], fds)
            return True
        if kind in ("fds", "failed") or (kind == "exited" and not report.get("lingering")):
            self.custody.drop(report["key"], report["run"])
        return False


def signal_name(number: int) -> str:
    """Return a signal's name; real-time ones and unknown ones by number, as "SIGRTMIN+2", "SIG77"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        low, high = signal.SIGRTMIN, signal.SIGRTMAX
        return f"SIGRTMIN+{number - low}" if low < number < high else f"SIG{number}"


def signal_number(text: str) -> int:
    """Return the number of a signal written as "TERM", "SIGTERM", "15" or "RTMIN+2"; raise ValueError otherwise."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdigit():
        number = int(name)
    elif name.startswith("RTMIN+") and name[6:].isdigit():
        number = signal.SIGRTMIN + int(name[6:])
    else:
        number = getattr(signal.Signals, f"SIG{name}", 0)
    if not 0 < number < signal.NSIG:
        raise ValueError(f"no such signal: {text}")
    return int(number)


def end_of(report: Document) -> Exit:
    """Return the end a report tells of; one without code and signal is not known."""
    return _with_loss(_end_of(report), report)


def _end_of(report: Document) -> Exit:
    number = report.get("signal")
    if number is not None:
        oom = str(report.get("oom") or "")
        return Exit(signal=signal_name(number), signum=number, core=bool(report.get("core")), oom=oom)
    code = report.get("code")
    return Exit(code=code, oom=str(report.get("oom") or "")) if code is not None else Exit(message="not known how")


_LOST = {"terminal": "its terminal was lost with the shim", "pipe": "its input ended with the shim"}


def _with_loss(end: Exit, report: Document) -> Exit:
    """Add what of the run died with a shim, where that may be why it ended."""
    lost = _LOST.get(str(report.get("lost")), "")
    if not lost or (report["lost"] == "terminal" and (end.code is not None or end.signal not in (None, "SIGHUP"))):
        return end
    return replace(end, message=f"{end.message}; {lost}" if end.message else lost)


def _text(words: str) -> str:
    """Return words that can be told: bytes of the system that are no text (lone surrogates) become escapes."""
    return words.encode("utf-8", "backslashreplace").decode()


def _failure(report: Document) -> Exit:
    return Exit(stage=report["stage"], errno=report.get("errno") or "", message=_text(report.get("message") or ""))


def _exited(run: int, report: Document) -> machine.Exited:
    return machine.Exited(
        run, end_of(report), report.get("lingering") or 0, _names(report, "swept"),
        left=_names(report, "left", "{pid} {comm}")[:LEFT_NAMED],
        outlived=_names(report, "outlived"), unnamed=report.get("unnamed") or 0,
    )  # fmt: skip


def _names(report: Document, field: str, form: str = "{comm} ({pid})") -> tuple[str, ...]:
    return tuple(_text(form.format(pid=pid, comm=comm)) for pid, comm in report.get(field) or ())


def to_stimulus(report: Document) -> tuple[Key, Stimulus] | None:
    """Return which process a report speaks of and what it tells the machine; None for reports about other things."""
    kind = report["t"]
    if kind not in ("spawned", "failed", "exited", "unkillable"):
        return None
    key, run = parse_key(report["key"]), report["run"]
    match kind:
        case "spawned":
            return key, machine.Spawned(run, report["pid"], report["at"])
        case "failed":
            return key, machine.SpawnFailed(run, _failure(report))
        case "exited":
            return key, _exited(run, report)
        case _:
            return key, machine.Unkillable(run, tuple(report.get("pids") or ()))


def fact_of(report: Document) -> tuple[str, str, int] | None:
    """Return type, key and run of the event that tells what a report tells; None if there is none at that instant."""
    type_ = {"spawned": "started", "failed": "failed", "exited": "exited"}.get(report["t"])
    return (type_, report["key"], report["run"]) if type_ is not None else None


def run_of(report: Document) -> tuple[Key, int]:
    """Return which process and which run a report speaks of."""
    return parse_key(report["key"]), report["run"]


def to_found(run: Document) -> tuple[Key, machine.Found]:
    """Return a live run of `hello` as a stimulus."""
    found = machine.Found(run["run"], run["pid"], run["at"], bool(run.get("stopping")))
    return parse_key(run["key"]), found
