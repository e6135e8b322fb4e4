"""Come up: from a command line and a wire to a running set of parts.

Decides whether this core is the first one (it must bring a valid config and says where things are) or follows another
(the shim tells what runs, the last generation what was declared, memos what was known). `daemon.py` calls it once.
"""

from __future__ import annotations

import argparse
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import uuid4

from msgspec import Struct

from taskmaster_core import __version__, config, history, memos, paths, shimlink, versions
from taskmaster_core.errors import ExitStatus
from taskmaster_core.eventlog import EventLog
from taskmaster_core.generations import Generations
from taskmaster_core.history import History
from taskmaster_core.journal import EventRow, Journal
from taskmaster_core.orders import Setting
from taskmaster_core.paths import Places
from taskmaster_core.plan import Plan, make_plan
from taskmaster_core.publisher import Publisher
from taskmaster_core.runtime import Facts, Runtime
from taskmaster_core.shimlink import ShimLink
from taskmaster_core.spec import Config, State
from taskmaster_core.supervisor import Supervisor
from taskmaster_core.timers import Timers
from taskmaster_core.users import group_number
from taskmaster_core.wire import Cause
from taskmaster_core.workers import Worker

ANSWER_WITHIN = 120.0
"""Seconds the shim may take for `open`: it may have to end what an earlier shim left running."""

Document = dict[str, Any]


class CannotRun(Exception):
    """Tell that this core must end, with which status and words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Wake:
    """Rouse the loop from another thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __call__(self) -> None:
        """Make `fd` readable."""
        os.eventfd_write(self.fd, 1)

    def drain(self) -> None:
        """Make `fd` quiet again."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return


class Started(Struct):
    """Hold what `start` built."""

    runtime: Runtime
    generations: Generations
    eventlog: EventLog
    wake: Wake
    paths: Sequence[str]
    environ: dict[str, str]
    texts: Mapping[str, bytes]
    problems: Sequence[object]
    requests: frozenset[str]
    first: bool
    socketgroup: int | None
    reports: list[Document]
    """What the shim said after `hello`; fed to the policy before anything else."""
    history: History
    again: list[str] | None
    """How to start a shim should this one die; None: somebody else does that."""
    opening: Document
    """What to say to it first."""
    upgrade: object
    """The memo of an upgrade that the core before us began."""


class _Asked(Struct):
    """Hold the command line."""

    instance: str
    paths: tuple[str, ...]
    idle: bool


def understand(argv: list[str], environ: Mapping[str, str]) -> _Asked:
    """Return what a command line asks for; raise CannotRun where there is no config at all."""
    parser = argparse.ArgumentParser(prog="taskmaster core")
    parser.add_argument("-f", "--config", action="append", default=[])
    parser.add_argument("--instance", default="default")
    parser.add_argument("--idle", action="store_true")  # `up SEL`: only what is named starts
    args = parser.parse_args(argv)
    found = config.discover(args.config, environ, os.getcwd())
    if not found.paths:
        looked = "\n".join(f"  {path}" for path in found.looked)
        raise CannotRun(ExitStatus.CONFIG, f"taskmaster: there is no config file; looked at\n{looked}")
    return _Asked(args.instance, tuple(found.paths), args.idle)


def reloading() -> str:
    """Return systemd's notice of a reload, with the time it asks for."""
    return f"RELOADING=1\nMONOTONIC_USEC={int(time.monotonic() * 1e6)}"


# With the shim ----------------------------------------------------------------------------------------------------


class _Opening:
    """Speak the first words with the shim, waiting for its answers."""

    def __init__(self, link: ShimLink) -> None:
        self._link = link
        self.reports: list[Document] = []

    def ask(self, order: Document) -> Document:
        """Send `open` and return `hello` or `refused`; keep what else is said."""
        self._link.send([order])
        deadline = time.monotonic() + ANSWER_WITHIN
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._link], [], [], deadline - time.monotonic())
            for report in self._link.receive() if ready else ():
                self.reports.append(report)
            answer = next((each for each in self.reports if each["t"] in ("hello", "refused")), None)
            if answer is not None:
                self.reports.remove(answer)
                return answer
        raise CannotRun(ExitStatus.NOT_AS_ASKED, "taskmaster: the shim does not answer")


def start(argv: list[str], fd: int, environ: dict[str, str], say: Callable[[str], None]) -> Started:
    """Return the parts of a core that has come up; raise CannotRun, or Refused by a part."""
    asked = understand(argv, environ)
    link = ShimLink(fd)
    opening = _Opening(link)
    hello = opening.ask({"t": "open"})
    if hello["t"] == "hello":
        places = Places(hello["statedir"], hello["rundir"])
        return _follow(asked, link, hello, opening.reports, places, environ)
    loaded = config.load(asked.paths, environ, privileged=os.geteuid() == 0)
    problems = config.discreet(loaded.problems)
    if problems:
        say(config.render(problems, color=False))
    if loaded.config is None:
        raise CannotRun(ExitStatus.CONFIG, "taskmaster: the config is not valid; nothing was started")
    settings = loaded.config.settings
    places = paths.places(asked.instance, environ, os.geteuid(), settings.statedir)
    group = group_number(settings.socketgroup) if settings.socketgroup is not None else None
    hello = opening.ask(_open_order(asked.instance, places, group))
    if hello["t"] == "refused":
        remedy = f"\n  {hello['help']}" if hello.get("help") else ""
        raise CannotRun(int(hello.get("code") or ExitStatus.REFUSED), f"taskmaster: {hello['message']}{remedy}")
    parts = _Parts(asked, link, hello, opening.reports, places, environ)
    return parts.begin(loaded.config, dict(loaded.texts), problems)


def _open_order(instance: str, places: Places, group: int | None) -> Document:
    return {
        "t": "open", "instance": instance, "statedir": places.statedir, "rundir": places.rundir, "socketgroup": group,
    }  # fmt: skip


def _follow(
    asked: _Asked, link: ShimLink, hello: Document, reports: list[Document], places: Places, environ: dict[str, str]
) -> Started:
    """Come up after another core: with the last generation, whatever the files say now."""
    parts = _Parts(asked, link, hello, reports, places, environ)
    return parts.follow()


class _Parts:
    """Build the parts that first and later cores share."""

    def __init__(
        self, asked: _Asked, link: ShimLink, hello: Document, reports: list[Document], places: Places,
        environ: dict[str, str],
    ) -> None:  # fmt: skip
        self._asked = asked
        self._link = link
        self._hello = hello
        self._reports = reports
        self._places = places
        self._environ = environ
        if why := versions.misfit(hello):
            raise CannotRun(ExitStatus.NOT_AS_ASKED, f"taskmaster: {why}")
        self._wake = Wake()
        self._generations = Generations(places.generations)

    def begin(self, declared: Config, texts: dict[str, bytes], problems: Sequence[object]) -> Started:
        """Return the parts of a first core."""
        latest = self._generations.latest()
        since = make_plan(latest.config, declared) if latest is not None else None
        same = since is not None and since.empty
        number = latest.number + (not same) if latest is not None else 1
        trouble = "" if same else self._save(number, declared, texts)
        if latest is None or same or not self._hello.get("runs"):
            return self._build(declared, number, texts, problems, trouble, since)
        started = self._build(latest.config, latest.number, texts, problems, trouble)
        self._go_on(started, latest.config, declared, number, "what was left running is of an older generation")
        return started

    def _save(self, number: int, declared: Config, texts: dict[str, bytes]) -> str:
        try:
            self._generations.save(number, declared, texts, "start")
        except OSError as error:
            return f"the applied config could not be kept on disk: {error}"
        return ""

    def _go_on(self, started: Started, before: Config, after: Config, number: int, why: str) -> None:
        """Reload to a newer generation than the one that what runs was started with."""
        runtime = started.runtime
        cause = Cause("reload", generation=number, text=why)
        runtime.supervisor.reload(make_plan(before, after), after, number, runtime.now(), cause)

    def follow(self) -> Started:
        """Return the parts of a core that follows another."""
        before = memos.read_core((self._hello.get("memos") or {}).get(memos.CORE))
        known = self._generations.load(before.generation) if before is not None else None
        known = known or self._generations.latest()
        if known is None:
            raise CannotRun(ExitStatus.NOT_AS_ASKED, "taskmaster: no generation of the config can be read")
        started = self._build(known.config, known.number, dict(known.texts), (), "")
        newest = self._generations.latest()
        if newest is not None and newest.number > known.number:  # the core before died between keeping and applying
            self._go_on(started, known.config, newest.config, newest.number, "continued after the core was replaced")
            started.texts = dict(newest.texts)
        return started

    def _build(
        self, declared: Config, number: int, texts: dict[str, bytes], problems: Sequence[object], trouble: str,
        since: Plan | None = None,
    ) -> Started:  # fmt: skip
        settings = declared.settings
        journal = Journal(self._places.journal, settings.journalkeep, self._wake)
        begun = journal.start()
        eventlog = EventLog(settings.logfile or self._places.eventlog, settings.loglevel, on_change=self._wake)
        timers = Timers()
        boot = uuid4().hex[:12]
        publisher = Publisher(boot, begun.last_seq, journal, eventlog, timers)
        lost = memos.read_rows(self._hello.get("memos") or {}, begun.last_seq)
        publisher.recover(EventRow(*row) for row in lost)
        facts = Facts(
            boot, self._asked.instance, time.time(), self._hello["shim_pid"], self._asked.paths,
            Setting(self._places, self._asked.instance, self._base_env()),
            *versions.of(self._hello),
        )  # fmt: skip
        supervisor = Supervisor(begun.intents)
        if since is not None:
            supervisor.outgrow(since)
        runtime = Runtime(facts, supervisor, self._link, journal, publisher, timers, Worker(self._wake))
        runtime.entrusted.inherit(self._hello.get("memos") or {})
        self._awake(runtime, declared, number)
        runtime.troubles.note("generations", trouble)
        runtime.troubles.inherit(self._hello.get("troubles") or ())
        if self._generations.trouble:
            runtime.fact("notice", Cause("boot"), message=f"{self._generations.trouble}; one before it is in force")
        group = group_number(settings.socketgroup) if settings.socketgroup is not None else None
        return Started(
            runtime, self._generations, eventlog, self._wake, self._asked.paths, self._environ, texts, problems,
            frozenset(begun.recent_requests), bool(self._hello.get("first")), group, self._reports,
            history.read((self._hello.get("memos") or {}).get(memos.HISTORY)), self._hello.get("again"),
            _open_order(self._asked.instance, self._places, group),
            (self._hello.get("memos") or {}).get(memos.UPGRADE),
        )  # fmt: skip

    def _base_env(self) -> dict[str, str]:
        return dict(self._environ)

    # The processes ------------------------------------------------------------------------------------------------

    def _awake(self, runtime: Runtime, declared: Config, number: int) -> None:
        """Give the supervisor what is known, and let it find what lives."""
        first = bool(self._hello.get("first"))
        cause = Cause("boot", generation=number)
        about = {"pid": os.getpid(), "shim_pid": self._hello["shim_pid"], "version": __version__}
        runtime.fact("core_started" if first else "core_replaced", cause, generation=number, **about)
        now = runtime.now()
        runs, texts = self._hello.get("runs") or (), self._hello.get("memos") or {}
        before = memos.read_core(texts.get(memos.CORE))
        runtime.acked = before.acked if before is not None else 0
        newest = {run["key"]: run["run"] for run in reversed(runs)}  # of several of a process the newest comes first
        restored = memos.restore(texts, declared, newest)
        idle, living = self._asked.idle and first, {shimlink.run_of(run)[0] for run in runs}
        ended = sorted(self._hello.get("left") or (), key=itemgetter("run"))  # the newest counts
        left = {shimlink.run_of(run)[0]: run["run"] for run in ended}
        past = memos.past_runs(texts)
        runtime.supervisor.boot(declared, number, restored, now, past, idle=idle, living=living, left=left)
        for run in runs:
            key, found = shimlink.to_found(run)
            proc = runtime.supervisor.procs.get(key)
            if proc is None or proc.state is State.UNKNOWN:
                runtime.supervisor.found(key, found, now)
        runtime.supervisor.booted(now)
        if before is not None and before.ending is not None:  # the core before died in the midst of an ordered stop
            runtime.supervisor.shut_down(before.ending, now, Cause("core"), "everything is being stopped")
