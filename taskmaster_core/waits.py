"""Decide when a command's effect has come: the requests that wait for processes.

Pure. The supervisor registers a wait when a command was taken, and tells it of every process that changed; a wait
answers with the outcome of each of its processes, once all are settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from taskmaster_core.machine import Proc, Start, Stimulus
from taskmaster_core.spec import Goal, Key, State
from taskmaster_core.wire import Done, Outcome

Judge = Callable[[Proc | None, int], "bool | None"]
"""Given a process (None: it is gone) and the run it had at the request: True as asked, False no more, None not yet."""


class Settled(Struct, frozen=True):
    """Hold the answer to a request."""

    request: str
    done: Done


def run_before(proc: Proc, stimulus: Stimulus, *, so: bool) -> int:
    """Return the run that what a command asks for comes after, given the process as it was before the command.

    One less where the run there is may be what was asked for: it is `so` already, or is to be started while nobody
    knows whether it lives.
    """
    unheard = proc.state is State.UNKNOWN and isinstance(stimulus, Start)
    return proc.run - (so or unheard)


def started(proc: Proc | None, run_before: int) -> bool | None:
    """Judge a start: the new run has been running, also if it has ended as expected since."""
    if proc is None or proc.goal is Goal.GONE:
        return False
    if proc.state is State.RUNNING and proc.run > run_before:
        return True
    if proc.state is State.EXITED:
        return proc.run > run_before and not proc.owed
    return False if proc.state in (State.FATAL, State.STOPPED) else None


def stopped(proc: Proc | None, run_before: int) -> bool | None:
    """Judge a stop: nothing of it is left. Started again meanwhile by somebody else: no longer as asked."""
    if proc is None or proc.state is State.STOPPED:
        return True
    return False if proc.goal is Goal.UP else None


def gone(proc: Proc | None, run_before: int) -> bool | None:
    """Judge a removal."""
    return True if proc is None else None


def in_state(wanted: str) -> Judge:
    """Return the judge of `wait --for`: a state, or a goal that is reached (`up`: running, `down`: nothing runs)."""

    def judge(proc: Proc | None, run_before: int) -> bool | None:
        if wanted == "down":
            return proc is None or proc.state in (State.STOPPED, State.EXITED, State.FATAL) or None
        if proc is None:
            return False
        return (proc.state is State.RUNNING if wanted == "up" else proc.state == wanted) or None

    return judge


class _Wait:
    """Hold one request: what is still open, and the outcomes that are known."""

    def __init__(self, request: str, judge: Judge, runs: dict[Key, int], known: list[Outcome]) -> None:
        self.request = request
        self.judge = judge
        self.open = dict(runs)
        self.known = list(known)


class Waits:
    """Hold the requests that wait, and by process who waits for it."""

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}
        self._by_key: dict[Key, set[str]] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, request: str, judge: Judge, runs: dict[Key, int], known: Iterable[Outcome] = ()) -> None:
        """Register a request about the processes in `runs` (with the run each had); `known` are settled already."""
        self._waits[request] = _Wait(request, judge, runs, list(known))
        for key in runs:
            self._by_key.setdefault(key, set()).add(request)

    def tell(self, key: Key, proc: Proc | None) -> None:
        """Judge a process that changed for all who wait for it."""
        for request in tuple(self._by_key.get(key, ())):
            wait = self._waits[request]
            verdict = wait.judge(proc, wait.open[key])
            if verdict is not None:
                wait.known.append(outcome(key, proc, ok=verdict))
                self._close(key, wait)

    def _close(self, key: Key, wait: _Wait) -> None:
        del wait.open[key]
        askers = self._by_key[key]
        askers.discard(wait.request)
        if not askers:
            del self._by_key[key]

    def settled(self) -> list[Settled]:
        """Take out the requests for which nothing is open any more."""
        ready = [wait for wait in self._waits.values() if not wait.open]
        for wait in ready:
            del self._waits[wait.request]
        return [Settled(wait.request, _done(wait.known)) for wait in ready]

    def give_up(self, request: str, procs: Callable[[Key], Proc | None]) -> Done | None:
        """Take out a request whose time is over; return how far it came, None if it was answered already."""
        wait = self._waits.get(request)
        if wait is None:
            return None
        for key in tuple(wait.open):
            wait.known.append(outcome(key, procs(key), ok=False))
            self._close(key, wait)
        del self._waits[request]
        return _done(wait.known)


def outcome(key: Key, proc: Proc | None, *, ok: bool, note: str = "") -> Outcome:
    """Return what is to be told of one process."""
    state = proc.state.value if proc is not None else "gone"
    reason = note or (left_behind(proc.lingering, proc.left) if ok and proc is not None else "")
    reason = reason or ("" if ok or proc is None else proc.reason)
    return Outcome(str(key), ok, state, reason, proc.pid if proc is not None else None)


def left_behind(lingering: int, left: Sequence[str]) -> str:
    """Say who of an ended run still runs, "" if nobody does: the first by pid and name, of the others how many."""
    if not lingering:
        return ""
    names = ", ".join(left) + (f" and {lingering - len(left)} more" if lingering > len(left) else "") if left else ""
    runs = "1 process of it still runs" if lingering == 1 else f"{lingering} processes of it still run"
    return f"{runs}: {names}" if names else runs


def _done(outcomes: list[Outcome]) -> Done:
    ordered = sorted(outcomes, key=lambda each: (each.key.rpartition(":")[0], int(each.key.rpartition(":")[2])))
    return Done(ordered, all(each.ok for each in ordered))
