"""The life of the core: its start, its wire, its beat, its end, its successor.

Decides when a core is started, fenced, killed for being silent, and when its exit ends the shim; what happens to the
jobs then is for `shutdown`. Orders arrive and reports leave through the link it owns.
"""

from __future__ import annotations

import os
import signal
import socket
import time

import spawn
import tree
from link import Ledger, Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from house import House
    from loop import Timer

    Report = dict[str, Any]

_SILENCE = 25.0  # seconds without a frame until a core counts as hung; it beats every 10
_SLOWEST = 8  # times that, for one that is not ready yet: twice as long after each that was not in time
_GRACE = 5.0  # seconds from ABRT (or a closed wire) to KILL
_LATE = 1.0  # a check that comes later than this tells that nobody was scheduled, not that the core hangs
_STARVED = 10  # times as long may a core be silent that is ready to run and gets no processor
_FIRST_DELAY, _LAST_DELAY = 0.1, 5.0
_REPLACED = 75  # EX_TEMPFAIL: a core that makes room for a newer one
_PASSED_ON = (6, 7)  # bad config, refused: another try would end the same


class Silence:
    """Judge how long a core may say nothing."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._slow = 1
        self._heard = 0.0
        self._ran = 0.0  # how long it had run by then
        self._waited = 0.0  # how long it had waited for a processor by then
        self._due = 0.0

    def begin(self, pid: int) -> None:
        """Give a core its time."""
        self._heard = time.monotonic()
        self._ran, self._waited = _shares(pid)

    def heard(self) -> None:
        """Note that it said something."""
        self._heard = time.monotonic()

    def beaten(self, pid: int) -> None:
        """Note that it beat."""
        self._ran, self._waited = _shares(pid)

    def was_in_time(self) -> None:
        """Note that it has become ready: the next one gets the usual time."""
        self._slow = 1

    def was_late(self) -> None:
        """Note that one did not become ready in its time: the next one gets more."""
        self._slow = min(self._slow * 2, _SLOWEST)

    def patience(self, *, ready: bool) -> float:
        """Return the seconds that it may be silent."""
        return self.limit if ready else self.limit * self._slow

    def wait(self, *, ready: bool) -> float:
        """Return the seconds until it is to be judged."""
        wait = max(0.05, self._heard + self.patience(ready=ready) - time.monotonic())
        self._due = time.monotonic() + wait
        return wait

    def judge(self, pid: int, *, ready: bool) -> float | None:
        """Return the seconds until it is to be judged again, None if it hangs."""
        now = time.monotonic()
        if now - self._due > _LATE:
            self._heard = now  # we were not scheduled ourselves: the core gets its time anew
        silent = now - self._heard
        if silent < self.patience(ready=ready):
            return self.wait(ready=ready)
        if silent < _STARVED * self.limit and self._starves(pid, silent):
            self._due = now + self.limit / 2
            return self.limit / 2
        return None

    def _starves(self, pid: int, silent: float) -> bool:
        """Tell whether it wants to run and has no processor."""
        ran, waited = _shares(pid)
        if waited - self._waited > silent / 2:
            return True
        # The kernel counts a wait when it is over: of the one that lasts only the state of the process tells.
        return 0.0 < ran < self._ran + silent / 2 and _is_ready_to_run(pid)


class CoreLife:
    """Keep one core running."""

    def __init__(self, house: House, argv: list[str], env: dict[str, str], silence: float | None) -> None:
        self.house = house
        self.ledger = Ledger()
        self.was_ready = False  # some core was
        self.ready = False  # this one is
        self.served = False  # this one was, perhaps: it stays so when its wire is cut
        self.wanted = True
        self.goodbye: int | None = None
        self.on_order: Callable[[Report], None] = lambda _: None
        self.on_end: Callable[[int | None], None] = lambda _: None
        self.pid = 0
        self.argv = argv
        self.env = env
        self.silence = Silence(silence or _SILENCE)
        self._pidfd = -1
        self._link: Link | None = None
        self._delay = _FIRST_DELAY
        self._aborted = False
        self._timer: Timer | None = None

    @staticmethod
    def wall() -> float:
        """Return the wall time."""
        return time.time()

    # -- start --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a core; raises OSError when that cannot be done now."""
        if not self.wanted or self.pid:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            for each in (ours, theirs):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self._fork(theirs.fileno())
            pidfd = _pidfd_of(self.pid, self.house.pids)
        except OSError:
            self.pid = 0
            ours.close()
            raise
        finally:
            theirs.close()
        self._attend(pidfd, ours)

    def adopt(self, link: int, pid: int) -> None:
        """Serve the core that started us because the shim before us died; it is no child of ours, but our parent."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # it is gone already
            os.close(link)
            self._try_start()
            return
        self.pid = pid
        self._attend(pidfd, socket.socket(fileno=link))

    def _attend(self, pidfd: int, ours: socket.socket) -> None:
        self._pidfd = pidfd
        self._link = Link(self.house.loop, ours, self.ledger, self._link_lost)
        self._link.on_order = self._order
        self.house.loop.watch(self._pidfd, self._ended)
        self.ready = self.served = self._aborted = False
        self.silence.begin(self.pid)
        self._expect_beat()

    def _fork(self, link: int) -> None:
        env = {**self.env, "TASKMASTER_LINK_FD": str(link)}
        pid = os.fork()
        if pid == 0:
            spawn.program(self.argv, env, self.house.heritage, link, spared=self.house.spared)
        self.pid = pid
        self.house.pids.add(pid)

    def _try_start(self) -> None:
        try:
            self.start()
        except OSError as error:
            self.house.sinks.complain(f"cannot start a core: {error.strerror}")
            self.house.loop.after(_LAST_DELAY, self._try_start)

    # -- talk ---------------------------------------------------------------------------------------------------

    def _order(self, order: Report) -> None:
        self.silence.heard()
        if order.get("t") == "beat" and self._link is not None and not self._aborted:
            self._expect_beat()  # we are awake anyway: looking when the old time is over would wake us once more
            self.silence.beaten(self.pid)
        self.on_order(order)

    def say(self, report: Report) -> None:
        """Tell the present core something that the next one need not know."""
        if self._link is not None:
            self._link.say(report)

    def say_live(self, report: Report) -> bool:
        """Tell the present core what is worth nothing later; False when it has not read what it was told before."""
        if self._link is None or self._link.crowded:
            return False
        self._link.say(report)
        return True

    def hand(self, report: Report, source: Callable[[], tuple[int, ...]]) -> None:
        """Give the present core the descriptors that `source` returns when they are sent; none: nothing is sent."""
        if self._link is not None:
            self._link.hand(report, source)

    def listen(self) -> None:
        """Take in what the core has sent already: that it is ready may be among it."""
        if self._link is not None:
            self._link.drain()

    def greet(self, hello: Report) -> None:
        """Answer `open`."""
        if self._link is not None:
            self._link.begin(hello)

    def repeat(self, reports: list[Report]) -> None:
        """Tell again what was told before."""
        if self._link is not None:
            self._link.again(reports)

    def flush(self) -> None:
        """Send what has gathered in this turn."""
        if self._link is not None:
            self._link.flush()

    def became_ready(self) -> None:
        """Note that the core serves."""
        self.ready = self.was_ready = self.served = True
        self.silence.was_in_time()
        self._delay = _FIRST_DELAY

    def say_goodbye(self, code: int) -> None:
        """Note that the core is done; the shim ends when it is gone."""
        self.goodbye = code
        self.wanted = False

    # -- silence ------------------------------------------------------------------------------------------------

    def _expect_beat(self) -> None:
        self._arm(self.silence.wait(ready=self.ready), self._check_beat)

    def _arm(self, delay: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.house.loop.after(delay, action)

    def _check_beat(self) -> None:
        self.listen()  # after a stop of ours this timer fires before the wire is looked at: a beat may lie there
        if self._link is None:
            return
        wait = self.silence.judge(self.pid, ready=self.ready)
        if wait is not None:
            self._arm(wait, self._check_beat)
            return
        patience = self.silence.patience(ready=self.ready)
        self.house.sinks.complain(f"the core (pid {self.pid}) was silent for {patience:g} s and is replaced")
        if not self.ready:
            self.silence.was_late()
        self.fence(signal.SIGABRT)

    def fence(self, signum: int) -> None:
        """Cut the core off and see to it that it ends."""
        self._cut()
        if self.pid and not self._aborted:
            self._aborted = True
            self._send(signum)
            self._arm(min(_GRACE, self.silence.limit), lambda: self._send(signal.SIGKILL))

    def _cut(self) -> None:
        self.ready = False
        if self._link is not None:
            self._link.close()
            self._link = None

    def _send(self, signum: int) -> None:
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signum)

    def _link_lost(self, why: str) -> None:
        if why:
            self.house.sinks.complain(why)
        self._cut()
        if self.pid and not self._aborted:
            self._aborted = True  # a core that closed its wire is about to end; it gets a moment for that
            self._arm(min(_GRACE, self.silence.limit), lambda: self._send(signal.SIGKILL))

    # -- end ----------------------------------------------------------------------------------------------------

    def _ended(self, _: int) -> None:
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if result is None:
                return
            exited, status = result.si_code == os.CLD_EXITED, result.si_status
        except ChildProcessError:  # it was adopted: nobody tells us how it ended, only that it did
            exited, status = False, 0
        if self._link is not None:
            self._link.drain()  # what it had decided in whole frames happens
        was_ready = self.ready
        self._cut()
        if self._timer is not None:
            self._timer.cancel()
        self.house.loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.house.pids.discard(self.pid)
        pid, self.pid = self.pid, 0
        self._follow_up(pid, exited, status, was_ready)

    def _follow_up(self, pid: int, exited: bool, status: int, was_ready: bool) -> None:
        if self.goodbye is not None or not self.wanted:
            self.on_end(self.goodbye)
            return
        if not self.was_ready and exited and status in (*_PASSED_ON, spawn.NO_PROGRAM):
            self.wanted = False
            self.on_end(status if status in _PASSED_ON else 1)
            return
        if exited and status == _REPLACED and self.served:
            self._try_start()
            return
        how = f"with status {status}" if exited else f"with signal {status}" if status else "somehow"
        how += ", because memory ran out" if status == signal.SIGKILL and self.house.oom.of(pid, None, status) else ""
        self.house.sinks.complain(f"the core ended {how}; a new one starts in {self._delay:g} s")
        self.house.loop.after(self._delay, self._try_start)
        self._delay = _FIRST_DELAY if was_ready else min(self._delay * 2, _LAST_DELAY)

    def end(self) -> None:
        """Want no core any more; one that still lives is asked to go, then killed."""
        self.wanted = False
        if self.pid:
            self._cut()
            self._send(signal.SIGTERM)
            self._arm(_GRACE, lambda: self._send(signal.SIGKILL))
        else:
            self.on_end(self.goodbye)


def _pidfd_of(pid: int, pids: set[int]) -> int:
    """Open a descriptor of a child that was just born; without one it must not live, for nobody would see its end."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED)
        pids.discard(pid)
        raise


def _shares(pid: int) -> tuple[float, float]:
    """Return the seconds that a process ran, and those it waited for a processor; zeros where they are not counted."""
    try:
        with open(f"/proc/{pid}/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read(128).split()
            return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0


def _is_ready_to_run(pid: int) -> bool:
    """Tell whether a process runs or waits for a processor; not one that sleeps, or is stopped."""
    member = tree.look(pid)
    return member is not None and member.state == "R"
