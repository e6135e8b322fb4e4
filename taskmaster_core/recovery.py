"""Survive the shim: start another one, give it what only we still know, and take over what it found.

Decides when the core does that (its shim is dead, and nobody else starts shims) and what the new one is told; what
follows for each process is the supervisor's. The daemon's loop calls it: the core goes on serving meanwhile.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskmaster_core import shimlink, versions
from taskmaster_core.boot import Started
from taskmaster_core.custody import Custody
from taskmaster_core.machine import Exited, Found
from taskmaster_core.runtime import Runtime
from taskmaster_core.shim import rights
from taskmaster_core.shim.frames import encode
from taskmaster_core.shimlink import LinkClosed, ShimLink
from taskmaster_core.spec import ALIVE, Key
from taskmaster_core.timers import Timer
from taskmaster_core.witness import Witness

Document = dict[str, Any]

DYING = 1.0
"""Seconds a shim that closed the wire gets to be dead; one that lives has fenced us."""

_FIRST_DELAY, _LAST_DELAY = 0.1, 5.0
"""Seconds until another try, doubling."""

_PATIENT = 0.8
"""Seconds for which requests wait for the new shim, so that they meet a known world (I6: an answer within 1 s)."""

_TAKES = 2.0
"""Seconds the new shim gets to read what no buffer holds: some hundred terminals fit in."""

_REMEMBER = 30.0
"""Seconds after which an end that nobody saw is not asked for any more."""

_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2)


class Fenced(LinkClosed):
    """Tell that the shim lives and wants another core, or that this one is not to replace it."""


class Recovery:
    """Hold what is needed to come by a new shim."""

    def __init__(self, started: Started, environ: Mapping[str, str]) -> None:
        self.runtime: Runtime = started.runtime
        self.on_link: Callable[[], None] = lambda: None
        self.on_found: Callable[[Sequence[Document]], None] = lambda _: None
        self.under_way = False
        self.refused = ""
        self._argv = started.again
        self._open_order = started.opening
        self._environ = environ
        self._witness = Witness()
        self._pid = self.runtime.facts.shim_pid
        self._pidfd = _pidfd_of(self._pid)
        self._child = False
        self._delay = _FIRST_DELAY
        self._since = 0.0
        self._early: list[Document] = []
        self._forget: Timer | None = None

    @property
    def holds_requests(self) -> bool:
        """Tell whether requests should wait a moment."""
        return self.under_way and self.runtime.now() - self._since < _PATIENT

    # The old shim -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take in that the wire is closed; raise Fenced if the shim lives, or if another one is not ours to start."""
        if not self._is_dead():
            raise Fenced("it has another core")
        if self._argv is None:
            raise Fenced("who started it starts it again")
        self._bury()
        runtime = self.runtime
        if not self.under_way:
            self.under_way, self._since = True, runtime.now()
            runtime.timers.at(self._since + _PATIENT, lambda: None)  # wakes the loop: requests wait no longer
        living = [proc for proc in runtime.supervisor.procs.values() if proc.state in ALIVE]
        self._witness.watch(living)
        runtime.cut()
        runtime.supervisor.link_lost(runtime.now())
        self._early = []
        self._retry(0.0 if self._delay == _FIRST_DELAY else self._delay)

    def _is_dead(self) -> bool:
        if self._pidfd is None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(DYING * 1000))

    def _bury(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._child:
            self._child = False
            os.waitpid(self._pid, 0)

    # The new one --------------------------------------------------------------------------------------------------

    def _retry(self, delay: float) -> None:
        self._delay = min(self._delay * 2, _LAST_DELAY)
        if delay:
            self.runtime.timers.at(self.runtime.now() + delay, self._start)
        else:
            self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            for each in (ours, theirs):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self._pid = self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            self.refused = f"no shim can be started: {error.strerror}"
            self._retry(self._delay)
            return
        finally:
            theirs.close()
        self._child, self._pidfd = True, _pidfd_of(self._pid)
        custody = self.runtime.link.custody
        _hand_over(ours, custody)
        self.runtime.link = ShimLink(ours.detach(), custody)
        self.runtime.link.send([self._open_order])
        self.on_link()

    def _spawn(self, theirs: int) -> int:
        """Start it in a session of its own; posix_spawn, because we have threads and must not fork."""
        argv = self._argv or []
        number = 3 if theirs != 3 else 4
        env = {**self._environ, "TASKMASTER_RECOVER": f"{number}:{os.getpid()}"}
        actions = [(os.POSIX_SPAWN_DUP2, theirs, number)]  # the copy is inherited, whatever else closes
        return os.posix_spawn(
            argv[0], argv, env, file_actions=actions, setsid=True, setsigdef=_RESET, setsigmask=()
        )  # fmt: skip

    def hear(self, reports: Sequence[Document]) -> None:
        """Take in what the new shim says until it has said `hello`; raise Fenced if the instance is another's."""
        self._early += reports
        answer = next((each for each in self._early if each["t"] in ("hello", "refused")), None)
        if answer is None:
            return
        self._early.remove(answer)
        if answer["t"] == "refused":
            raise Fenced(str(answer.get("message")))
        early, self._early = self._early, []
        self._found(answer)
        self.on_found(early)

    def _found(self, hello: Document) -> None:
        runtime = self.runtime
        self.under_way, self._delay, self.refused = False, _FIRST_DELAY, ""
        runtime.shim_is(hello["shim_pid"])
        runtime.facts.shim_release, runtime.facts.shim_wire = versions.of(hello)
        runtime.restore()
        runs: dict[Key, Found] = {}
        for run in hello.get("runs") or ():
            key, found = shimlink.to_found(run)
            if key not in runs or runs[key].run < found.run:
                runs[key] = found
        runtime.supervisor.link_found(runs, runtime.now(), self._end_of)
        if self._forget is not None:
            self._forget.cancel()
        self._forget = runtime.timers.at(runtime.now() + _REMEMBER, self._witness.close)

    # Ends that no shim saw ----------------------------------------------------------------------------------------

    def _end_of(self, key: Key, run: int) -> Exited:
        return Exited(run, shimlink.end_of(self._witness.ended(key, run)))

    def complete(self, report: Document) -> Document:
        """Return an exit without a status with the one we know, if we do."""
        if report["t"] != "exited" or "code" in report or "signal" in report:
            return report
        key, found = shimlink.run_of(report)
        return {**report, **self._witness.ended(key, found)}


def _hand_over(wire: socket.socket, custody: Custody) -> None:
    """Give the new shim the ptys and pipes that we kept, before anything else: then it finds them at the runs.

    Where it does not take them in time, it goes on without: it tells which runs lost theirs.
    """
    wire.settimeout(_TAKES)
    try:
        for key, run, what, fds in custody:
            rights.send(wire, encode([rights.frame_of(key, run, what)]), tuple(fds))
    except OSError:
        return  # if it is dead already, its wire tells


def _pidfd_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
