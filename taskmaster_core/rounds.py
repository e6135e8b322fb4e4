"""Make the rounds: note every trouble that nobody reports by himself, and have tried again what failed.

It decides nothing but when a silent shim counts as one that does not answer. The daemon calls it with each beat, so it
wakes nobody, and where something was just heard of it; `status` and `doctor` ask for a look before they answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskmaster_core.ends import describe, short
from taskmaster_core.eventlog import EventLog
from taskmaster_core.reloader import Reloader
from taskmaster_core.runtime import Runtime
from taskmaster_core.spec import State
from taskmaster_core.watch import Watch

UNREAD = 5.0
"""Seconds for which what was sent to the shim may lie unread: its longest turn takes well below one."""

_MOMENT = 0.3

_TRYING = frozenset({State.BACKOFF, State.PENDING, State.STARTING})


class Rounds:
    """Hold whom to look at."""

    def __init__(
        self, runtime: Runtime, reloader: Reloader, watch: Watch, eventlog: EventLog, environ: Mapping[str, str]
    ) -> None:
        self._runtime = runtime
        self._reloader = reloader
        self._watch = watch
        self._eventlog = eventlog
        patience = environ.get("TM_BEAT_TIMEOUT") if environ.get("TM_TEST") == "1" else None
        self._suspected = False
        self._unread = UNREAD if patience is None else float(patience) * UNREAD / 25

    def go(self) -> None:
        """Look at everything, and try again what failed."""
        self.look()
        self.look_at_starts()
        self._reloader.save_again()

    def look(self) -> None:
        """Note how the parts are that work on threads of their own or are another process."""
        note = self._runtime.troubles.note
        note("journal", self._runtime.journal.trouble)
        note("eventlog", self._eventlog.trouble)
        note("watch", self._watch.trouble)
        self._look_at_shim()

    def _look_at_shim(self) -> None:
        """Note a shim that reads nothing: what lies unread in the wire says so, without a word between us."""
        runtime, silent = self._runtime, self._runtime.link.silent_for
        if silent < self._unread:
            self._suspected = False
            if not silent:
                runtime.troubles.note("shim", "", "the shim")
        elif self._suspected:
            pid = runtime.facts.shim_pid
            text = f"the shim (pid {pid}) does not answer{_stopped(pid)}: nothing is started or stopped until it does"
            runtime.troubles.note("shim", text, "the shim")
        else:  # perhaps nobody was scheduled, we neither: it gets a moment
            runtime.timers.at(runtime.now() + _MOMENT, self._confirm)

    def _confirm(self) -> None:
        self._suspected = True
        self._look_at_shim()

    def look_at_starts(self) -> None:
        """Note whether starts fail for want of descriptors, processes, memory or disk."""
        procs = self._runtime.supervisor.procs.values()
        waiting = [proc for proc in procs if proc.state in _TRYING and proc.pid is None and short(proc.exit)]
        text = ""
        if waiting:
            more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
            text = f"{waiting[0].key}{more} cannot be started now: {describe(waiting[0].exit)}"
        self._runtime.troubles.note("starts", text)


def _stopped(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state = file.read().rpartition(") ")[2][:1]
    except OSError:
        return ""
    return f" (it was stopped by a signal: kill -CONT {pid})" if state == "T" else ""
