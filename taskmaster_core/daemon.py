"""Be the core: build the parts, come to terms with the shim, and run the one loop.

The loop waits for a report, a request, a finished piece of work or the next deadline, feeds the policy, and carries its
effects out. Nothing here waits for anything else. The shim starts it (`python -m taskmaster_core.daemon`) and starts it
again when it dies; whatever it needs to know then stands in the shim's `hello` and in the last generation.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from taskmaster_core import acts, boot, doctor, logops, rehearsal, shimlink, terminals, upgrades
from taskmaster_core.admission import Admission
from taskmaster_core.boot import CannotRun, Started
from taskmaster_core.discretion import keep_discretion
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.machine import SpawnFailed
from taskmaster_core.ops import TABLE, Ops
from taskmaster_core.recovery import Fenced, Recovery
from taskmaster_core.reloader import Reloader, Wish
from taskmaster_core.rounds import Rounds
from taskmaster_core.server import Server
from taskmaster_core.shimlink import LinkClosed
from taskmaster_core.watch import Watch
from taskmaster_core.wire import Cause

BEAT_EVERY = 10.0
"""Seconds between two signs of life for the shim, which calls a core hung after 25 (DESIGN §1)."""

LINK_FD = "TASKMASTER_LINK_FD"


class Core:
    """Hold the loop."""

    def __init__(self, started: Started) -> None:
        self.runtime = started.runtime
        self._started = started
        self._poll = select.epoll()
        self.reloader = Reloader(started.runtime, started.generations, started.paths, started.environ)
        self.reloader.texts = self.reloader.seen = dict(started.texts)
        self.reloader.problems = list(started.problems)
        self.reloader.say = _say
        self.reloader.on_read = self._watch_config
        self.reloader.on_applied = self._applied
        self.ops = Ops(started.runtime, self.reloader, started.generations)
        self.ops.shut_down = self.shut_down
        self.ops.seen, self.ops.history = started.requests, started.history
        self.logs = logops.LogOps(started.runtime)
        self.watch = Watch(self._config_changed, self._config_missing)
        self.upgrades = upgrades.Upgrades(self.ops, started.upgrade)
        self.recovery = Recovery(started, started.environ)
        self.recovery.on_link = self._link_made
        self.recovery.on_found = self._shim_found
        self.reports = Reports(self)
        self._note = started.runtime.troubles.note
        self.admission = Admission(started.runtime, self._poll, started.socketgroup, self._note)
        self.rounds = Rounds(started.runtime, self.reloader, self.watch, started.eventlog, started.environ)
        self.ops.look = self.rounds.look
        if started.runtime.troubles.names("generations"):
            declared, number = started.runtime.supervisor.config, started.runtime.supervisor.generation
            self.reloader.unsaved = partial(started.generations.save, number, declared, started.texts, "start")
        self._more = self._backlog = False
        self._beat_every = _beat_every(started.environ)

    # Beginning ----------------------------------------------------------------------------------------------------

    def serve(self) -> int:
        """Run until everything is down; return the exit status."""
        runtime = self.runtime
        self._poll.register(runtime.link.fileno(), select.EPOLLIN)
        self._poll.register(self._started.wake.fd, select.EPOLLIN)
        runtime.settle()
        self._bind()
        runtime.order({"t": "ready"}, {"t": "notify", "text": "READY=1\nSTATUS=running"}, runtime.core_memo())
        runtime.fact("core_ready", Cause("boot"), pid=os.getpid())
        self.upgrades.finish()
        runtime.settle()  # first the shim: whoever was answered may send it a signal, of which it tells a ready core
        self._pump()
        self._beat()
        self._watch_config()
        if not self._started.first:
            self._saved(Cause("core", text="the core was replaced"))
        gc.collect()
        gc.freeze()
        while runtime.exit_code is None:
            try:
                self._turn()
            except LinkClosed as closed:
                self._link_lost(closed)
        self._end(runtime.exit_code)
        return runtime.exit_code

    def _bind(self) -> None:
        places = self.runtime.facts.setting.places
        server = Server(places.commands, places.events, self.ops.handle, self._started.socketgroup)
        server.bind()
        server.on_topics, server.on_gone = self._topics_changed, self.runtime.give_up
        self.runtime.server = self.runtime.publisher.server = self.runtime.sampler.server = server
        for fd in server.fds:
            self._poll.register(fd, select.EPOLLIN)
        self.admission.follow(self.runtime.supervisor.config.settings.access)

    # The loop -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for whatever comes first, take everything in, carry everything out."""
        runtime = self.runtime
        ready = dict(self._poll.poll(self._timeout()))
        runtime.timers.run(runtime.now())
        if self._started.wake.fd in ready:
            self._started.wake.drain()
            runtime.worker.deliver()
            self._journal()
        if runtime.link.fileno() in ready:
            self._hear(ready[runtime.link.fileno()])
        now = runtime.now()
        due = runtime.supervisor.deadline
        if due is not None and due <= now:
            runtime.supervisor.tick(now)
        self._pump()
        runtime.settle()
        self._watch_backlog()

    def _timeout(self) -> float | None:
        """Return the seconds until something is due; None: sleep until something comes."""
        held = self.recovery.holds_requests
        if not held and (self._more or (self.runtime.server is not None and self.runtime.server.pending())):
            return 0.0
        candidates = (self.runtime.supervisor.deadline, self.runtime.timers.deadline)
        due = [each for each in candidates if each is not None]
        # epoll counts whole milliseconds: rounding up once is better than turning idly twice
        return max(min(due) - self.runtime.now() + 0.0005, 0.0) if due else None

    def _pump(self) -> None:
        """Take requests in."""
        if self.runtime.server is not None and not self.recovery.holds_requests:
            self._more = self.runtime.server.pump()

    def _journal(self) -> None:
        journal = self.runtime.journal
        for done in journal.completions():
            if done.token is None:
                self.runtime.publisher.written(done.upto)
            else:
                self.runtime.committed(done.token)
        self.rounds.look()

    def _watch_backlog(self) -> None:
        link = self.runtime.link
        if link.backlog is not self._backlog and link.fileno() >= 0:
            self._backlog = link.backlog
            self._poll.modify(link.fileno(), select.EPOLLIN | (select.EPOLLOUT if link.backlog else 0))

    # The shim -----------------------------------------------------------------------------------------------------

    def _hear(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self.runtime.link.flush()
        if mask & ~select.EPOLLOUT:
            reports = self.runtime.link.receive()
            self._note("terminals", self.runtime.link.custody.trouble)
            if self.recovery.under_way:
                self.recovery.hear(reports)
            else:
                self.reports.take_in(reports)

    def _link_lost(self, closed: LinkClosed) -> None:
        """Go on without a shim until there is another one; without hope for one, end."""
        link = self.runtime.link
        try:
            while not self.recovery.under_way and (last := link.receive()):
                self.reports.take_in(last)
        except LinkClosed:
            pass  # that was all
        if link.fileno() >= 0:
            self._poll.unregister(link.fileno())
        try:
            self.recovery.begin()
        except Fenced as why:
            raise LinkClosed(f"{closed}; {why}") from closed
        terminals.forsake(self.runtime)  # what is asked from now on waits for the next shim
        self._note("shim", self.recovery.refused or "the shim died; another one is being started")
        self.upgrades.forsaken()

    def _link_made(self) -> None:
        self._backlog = False
        self._poll.register(self.runtime.link.fileno(), select.EPOLLIN)

    def _shim_found(self, early: Sequence[dict[str, object]]) -> None:
        terminals.resume(self.runtime)
        self.logs.watch_again()
        self.runtime.troubles.forsake()
        self.reports.take_in(early)
        self._note("shim", "")

    # Asked from outside ---------------------------------------------------------------------------------------------

    def asked_to_end(self, report: dict[str, object]) -> None:
        """Begin the ordered stop that a signal asked for."""
        pid = report.get("pid")
        sender = f" from pid {pid}" if pid else ""
        text = f"{report.get('cause')}{sender}"
        self.shut_down(Cause("signal", text=text), text, fast=bool(report.get("fast")))

    def shut_down(self, cause: Cause, why: str, *, fast: bool = False) -> None:
        """Begin the ordered stop of everything, after which core and shim end."""
        runtime = self.runtime
        if runtime.supervisor.shutting_down is None:
            runtime.fact("shutdown", cause, reason=why)
            runtime.order({"t": "notify", "text": "STOPPING=1\nSTATUS=stopping"})
        runtime.supervisor.shut_down(0, runtime.now(), cause, why, fast=fast)

    def reload(self, cause: Cause, *, by_save: bool = False) -> None:
        """Read the config again, and tell systemd so."""
        self.runtime.order({"t": "notify", "text": boot.reloading()})
        ready = {"t": "notify", "text": "READY=1"}
        self.reloader.ask(Wish(cause, lambda *_: self.runtime.order(ready), by_save=by_save))

    def _applied(self) -> None:
        self._take_settings()
        self._watch_config()

    def _take_settings(self) -> None:
        """Let the parts follow what `[taskmaster]` says now."""
        settings = self.runtime.supervisor.config.settings
        self.runtime.journal.keep(settings.journalkeep)
        self._started.eventlog.loglevel = settings.loglevel
        self._started.eventlog.path = settings.logfile or self.runtime.facts.setting.places.eventlog
        self.admission.follow(settings.access)

    def _config_changed(self) -> None:
        """Be told by the watching thread that the files changed and are stable."""
        cause = Cause("reload", text="the config was saved")
        self.runtime.worker.submit(lambda: None, lambda *_: self._saved(cause))

    def _saved(self, cause: Cause) -> None:
        """Look at files that may hold something new, unless they are to be looked at only when somebody asks."""
        if self.runtime.supervisor.config.settings.autoreload != "off":
            self.reload(cause, by_save=True)

    def _config_missing(self, path: str) -> None:
        text = f"{path} is not there; the config in force stays"
        self.runtime.worker.submit(lambda: None, lambda *_: self.runtime.fact("notice", Cause("core"), message=text))

    def _watch_config(self) -> None:
        settings = self.runtime.supervisor.config.settings
        main = self._started.paths
        files = (*self.runtime.supervisor.config.files, *main, *settings.include, *self.reloader.tried)
        if settings.autoreload == "off":
            files = ()
        self.watch.set(tuple(dict.fromkeys(files)), settings.debounce, self.reloader.seen, main)
        self._note("watch", self.watch.trouble)

    def _topics_changed(self) -> None:
        self.runtime.publisher.topics_changed(self.runtime.now())
        self.runtime.sampler.topics_changed(self.runtime.now())
        self.logs.topics_changed()

    # Rhythm and end -----------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        self.rounds.go()
        self.runtime.order({"t": "beat"})
        self.runtime.timers.at(self.runtime.now() + self._beat_every, self._beat)

    def _end(self, code: int) -> None:
        """Say the last things, in an order in which nothing is lost."""
        runtime = self.runtime
        runtime.fact("core_stopping", Cause("core"), code=code)
        self.watch.close()
        runtime.settle()
        runtime.journal.close()
        self._journal()
        if runtime.server is not None:
            runtime.publisher.last_states(runtime.supervisor, runtime.now(), runtime.wall_offset())
            runtime.server.close(to_be_bound_again=self.upgrades.leaving)
        self._started.eventlog.close()
        runtime.link.send(self.upgrades.last_words(code))
        while runtime.link.backlog:
            runtime.link.flush()


class Reports:
    """Take in what the shim says: of processes for the policy, of the rest for whom it concerns."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._runtime = core.runtime

    def take_in(self, reports: Sequence[dict[str, object]]) -> None:
        """Feed reports to the policy; numbered ones are acknowledged in the frame that carries what came of them."""
        newest, starts = 0, False
        for report in reports:
            number = report.get("n")
            newest = max(newest, number) if isinstance(number, int) else newest
            heard = shimlink.to_stimulus(self._core.recovery.complete(report))
            if heard is not None:
                self._runtime.instants.heard(report)
                self._runtime.supervisor.report(*heard, self._runtime.now())
                starts = starts or isinstance(heard[1], SpawnFailed) or bool(self._runtime.troubles.names("starts"))
            if not terminals.heard(self._runtime, report) and heard is None:
                self._notice(report)
        if newest:
            self._runtime.acknowledge(newest)
        if starts:
            self._core.rounds.look_at_starts()

    def _notice(self, report: dict[str, object]) -> None:
        cause = Cause("shim")
        match report["t"]:
            case "shutdown":
                self._core.asked_to_end(report)
            case "reload":
                self._core.reload(Cause("signal", text=str(report.get("cause") or "SIGHUP")))
            case "renewed":
                self._core.upgrades.heard(report)
            case "rebind":
                if self._runtime.server is not None:
                    self._runtime.server.rebind()
            case "grew":
                self._core.logs.grew(str(report["path"]), report["size"])
            case "rotated":
                self._core.logs.rotated(str(report["path"]), str(report["part"]))
            case "loss":
                self._loss(report)
            case "stray":
                stray: dict[str, Any] = {name: report.get(name) for name in ("pid", "comm", "of")}
                self._runtime.fact("stray", cause, **stray)
            case "trouble":
                self._trouble(report)
            case "adopted" | "error":
                kind = "adopted" if report["t"] == "adopted" else "notice"
                self._runtime.fact(kind, cause, message=str(report.get("message")))

    def _trouble(self, report: dict[str, object]) -> None:
        over, name = bool(report.get("over")), str(report["name"])
        text = "" if over else str(report["text"])
        told = {"path": name, "text": text or f"{name} is well again", "over": over}
        self._runtime.troubles.heard(str(report["part"]), text, name, told)

    def _loss(self, report: dict[str, object]) -> None:
        path, over = str(report["path"]), bool(report.get("over"))
        text = "" if over else f"output to {path} is being lost: {report.get('errno')}"
        told: dict[str, Any] = {name: report.get(name) for name in ("path", "bytes", "errno", "over")}
        self._runtime.troubles.heard("log", text, path, told)


def _say(text: str) -> None:
    """Write to stderr, where there still is one."""
    try:
        sys.stderr.write(text if text.endswith("\n") else f"{text}\n")
        sys.stderr.flush()
    except OSError:
        return


def _beat_every(environ: Mapping[str, str]) -> float:
    """Return the seconds between two beats; tests of the shim's watchdog do not want to wait for half a minute."""
    patience = environ.get("TM_BEAT_TIMEOUT") if environ.get("TM_TEST") == "1" else None
    return BEAT_EVERY if patience is None else float(patience) * 0.4


def _ignore_terminal() -> None:
    """Leave signals of people and terminals to the shim; the core's own end is the shim's word, or SIGKILL."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a core on the wire the shim has given it; return the exit status (6 config, 7 refused)."""
    faulthandler.enable()  # the shim's SIGABRT for a hung core leaves the stack on stderr
    keep_discretion()
    _ignore_terminal()
    trial = rehearsal.wanted(sys.argv)
    if trial is not None:
        return _rehearse(trial)
    fd = os.environ.pop(LINK_FD, "")
    if not fd.isdigit():
        _say("taskmaster: the core is started by the shim: use `taskmaster core`")
        return 2
    try:
        started = boot.start(sys.argv[1:] if argv is None else list(argv), int(fd), dict(os.environ), _say)
        core = Core(started)
        core.reports.take_in(started.reports)
        return core.serve()
    except CannotRun as end:
        _say(end.text)
        return end.code
    except TaskmasterError as error:
        _say(f"taskmaster: {error.message}" + (f"\n  {error.help}" if error.help else ""))
        return int(error.status)
    except LinkClosed as closed:
        _say(f"taskmaster: the shim is gone: {closed}")
        return 1


def _rehearse(fd: int) -> int:
    """Show the shim that we could take over; return the exit status."""
    try:
        said = rehearsal.rehearse(sys.argv[1:], fd, dict(os.environ))
    except CannotRun as end:
        _say(end.text)
        return end.code
    sys.stdout.write(f"{said}\n")
    return 0


TABLE |= (
    acts.TABLE | terminals.TABLE | upgrades.TABLE | {"logs": logops.logs, "find": logops.find, "doctor": doctor.doctor}
)

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads that sleep in a system call must not hold the end up
