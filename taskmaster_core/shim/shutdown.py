"""The end of everything, and the signals that ask for it.

Decides who stops the jobs: a core that is ready does it in order, else the shim does by the recipes; and when the
shim itself may end. The main module hands in the signals.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corelife import CoreLife
    from house import House
    from runs import Run

_ENDING = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))


class WindDown:
    """Stop one run by its recipe: a signal, a delay, the next, at last the kill."""

    def __init__(self, house: House, run: Run) -> None:
        self._house = house
        self._run = run
        self._steps = list(run.stop)
        self._next()

    def _next(self) -> None:
        if self._run.finished:
            return
        if not self._steps:
            self._run.kill(whole=self._run.killgroup)
            return
        signum, delay = self._steps.pop(0)
        self._house.loop.after(delay, self._next)
        self._run.signal(int(signum), group=self._run.killgroup, stopping=True)


class Shutdown:
    """Bring everything down once."""

    def __init__(self, house: House, core: CoreLife) -> None:
        self.house = house
        self.core = core
        self.asked = False
        self.status: int | None = None
        """What to exit with; None as long as there is something to do."""
        self._alone = False  # we do the stopping ourselves
        self._code = 0
        self._had_terminal = _has_terminal()
        house.on_empty = self._check
        core.on_end = self._core_ended

    def receive(self, signum: int, sender: int) -> None:
        """Act on one signal."""
        name = signal.Signals(signum).name
        if signum in _ENDING:
            self._ask(name, sender, fast=self.asked and signum == signal.SIGINT)
        elif signum == signal.SIGHUP:
            if self._had_terminal and not _has_terminal():
                self._ask(name, sender, fast=False)
            else:
                self.core.say({"t": "reload", "cause": name})
        elif signum == signal.SIGUSR1:
            self.core.say({"t": "rebind"})
        elif signum == signal.SIGUSR2:
            self.house.sinks.reopen()
        elif signum == signal.SIGCHLD:
            self.house.child_ended()

    def _ask(self, cause: str, sender: int, *, fast: bool) -> None:
        self.asked = True
        self.core.listen()
        self.core.wanted = False  # should it die meanwhile we finish alone
        self.core.say({"t": "shutdown", "cause": cause, "pid": sender or None, "fast": fast})
        if fast:
            for run in list(self.house.runs.values()):
                run.kill(whole=True)
        if not self.core.ready:
            self._take_over()

    def _take_over(self) -> None:
        """No core can do it: stop everything by the recipes."""
        if self._alone:
            return
        self._alone = True
        self._stop_all()
        self.core.end()

    def _stop_all(self) -> None:
        for run in list(self.house.runs.values()):
            if not run.left_alone:
                WindDown(self.house, run)

    def _core_ended(self, code: int | None) -> None:
        """Finish alone: the core is gone and no other is wanted."""
        self._code = code or 0
        if not self._alone:
            self._alone = True
            self._stop_all()
        self._check()

    def _check(self) -> None:
        runs = self.house.runs.values()
        if self._alone and not self.core.pid and all(run.left_alone or run.stuck for run in runs):
            self.status = self._code or int(any(run.stuck for run in runs))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError:
        return False
    return True
