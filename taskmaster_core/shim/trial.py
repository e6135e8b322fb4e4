"""A rehearsal in a child: a new version shows, before anything depends on it, that it starts and takes what is there.

Decides how long it may take and what its failure is called; what it has to show is its own affair. `renewal` starts
one for the shim and one for the core.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys

import kernel
import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from house import House
    from loop import Timer

    Answer = dict[str, Any]

PATIENCE = 20.0
"""Seconds until one that says nothing has failed; on an idle machine it takes a tenth of a second."""
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')


class Trial:
    """Run one child and tell what came of it: its answer, or why there is none."""

    def __init__(self, house: House, done: Callable[[Answer | None, str], None]) -> None:
        self._house = house
        self._done = done
        self._pid = 0
        self._pidfd = self._output = -1
        self._late = False
        self._timer: Timer | None = None

    def begin(self, argv: list[str], env: dict[str, str], state: int, *, descriptors: list[int] | None) -> None:
        """Start it with a state to read; with `descriptors` as a shim that has these, else as a core. May raise."""
        self._output, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self._become(argv, env, state, theirs, descriptors)
        except OSError:
            os.close(self._output)
            raise
        finally:
            os.close(theirs)
        try:
            self._pidfd = os.pidfd_open(self._pid)
        except OSError:
            os.kill(self._pid, signal.SIGKILL)  # what we cannot watch must not run
            os.waitid(os.P_PID, self._pid, os.WEXITED)
            os.close(self._output)
            raise
        self._house.pids.add(self._pid)
        self._house.loop.watch(self._pidfd, self._ended)
        self._timer = self._house.loop.after(PATIENCE, self._lose_patience)

    def _become(
        self, argv: list[str], env: dict[str, str], state: int, output: int, descriptors: list[int] | None
    ) -> NoReturn:
        try:
            kernel.die_with_parent()
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            for number, source in enumerate((null, output, output)):
                os.dup2(source, number)
            if descriptors is None:
                spawn.program(argv, env, self._house.heritage, state, spared=self._house.spared)
            for number in (state, *descriptors):
                os.set_inheritable(number, True)
            os.setsid()
            os.execve(argv[0], argv, env)  # noqa: S606 - ourselves
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "backslashreplace"))
        finally:
            os._exit(spawn.NO_PROGRAM)

    def _lose_patience(self) -> None:
        self._timer, self._late = None, True
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _ended(self, _: int) -> None:
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        if result is None:
            return
        self._house.loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._house.pids.discard(self._pid)
        if self._timer is not None:
            self._timer.cancel()
        said = self._said()
        good = result.si_code == os.CLD_EXITED and result.si_status == 0
        answer = _answer(said) if good else None
        why = f"it did not answer within {PATIENCE:g} s" if self._late else reason(said, result.si_status)
        self._done(answer, "" if answer is not None else why)

    def _said(self) -> str:
        os.set_blocking(self._output, False)
        try:
            return os.read(self._output, 1 << 16).decode("utf-8", "replace")
        except BlockingIOError:  # it said nothing, and somebody else holds the other end
            return ""
        finally:
            os.close(self._output)


def _answer(said: str) -> Answer | None:
    try:
        answer = json.loads(said.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def reason(said: str, status: int) -> str:
    """Return in a line why it failed: the last it said, and of a traceback where."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return f"it ended with {status} and said nothing"
    places = _PLACE.findall(said)
    where = f" ({places[-1][0]}, line {places[-1][1]})" if places and "Error" in lines[-1] else ""
    return f"{lines[-1][:500]}{where}"


def to_memory(name: str, data: object) -> int:
    """Return a descriptor (not inherited) of data in memory, to be read from its beginning."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        left = memoryview(json.dumps(data, separators=(",", ":")).encode("ascii"))
        while left:
            left = left[os.write(fd, left) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def from_memory(fd: int) -> Any:
    """Return the data behind such a descriptor, which is closed."""
    with os.fdopen(fd, "rb") as file:
        return json.loads(file.read())


def own_words(*more: str) -> list[str]:
    """Return the command line that starts this shim, with more options; those of a renewal before are left out."""
    words = sys.orig_argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    options, rest = words[:cut], words[cut:]
    for name in ("--resume", "--selftest"):
        while name in options:
            at = options.index(name)
            del options[at : at + 2]
    return [sys.executable, *options, *more, *rest]
