"""Be the one way from the app to the core: what is known, how well it is known, and what is asked.

It decides the phase of the connection (live, quiet, lost, gone, never there, denied) and what to show of it; what the
messages mean is for `sync`. The app makes one and runs it for its whole life.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from statistics import median
from time import monotonic
from typing import Any

from msgspec import Struct

from taskmaster_core.aclient import AsyncClient, Diagnosis, State
from taskmaster_core.alogs import CoreLogs, LogSource
from taskmaster_core.errors import NoCore, TaskmasterError
from taskmaster_tui.changes import Change, Changes
from taskmaster_tui.last_state import Kept, path_of
from taskmaster_tui.model.world import World
from taskmaster_tui.silence import QUIET, SILENT, Silence
from taskmaster_tui.sync import Recent, Sync

__all__ = ["Change", "Health", "Link", "Phase"]

GRACE = 1.0
"""Seconds in which a lost core may come back before it counts as gone: the shim starts another one at once."""

QUEUE = 5.0
"""Seconds a request waits for a core that does not answer, before it is refused without having been sent."""

FILES_AFTER = 2.0
"""Seconds after the shape of the world changed until it is asked where the output lies, for a time without a core."""


class Phase(StrEnum):
    """Name what the connection is like."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALE = "stale"
    RECONNECTING = "reconnecting"
    CORE_GONE = "core gone"
    NO_CORE = "no core"
    DENIED = "denied"


class Health(Struct, frozen=True):
    """Say how well the core is heard. Times are of the monotonic clock."""

    phase: Phase
    since: float
    attempt: int = 0
    next_in: float | None = None
    rtt: float | None = None
    """Seconds, the median of the last requests."""
    step: str = ""
    where: list[str] = []
    shim_pid: int | None = None
    detail: str = ""
    version_differs: bool = False


def judge(found: Diagnosis, waited: float, *, ever: bool) -> Phase | None:
    """Return the phase after a failed attempt, None for the one it is in; `waited`: seconds since it began or was lost.

    `ever`: it was connected before, so the core may just be replaced.
    """
    if found.kind == "denied":
        return Phase.DENIED
    if found.kind == "ok":
        return Phase.RECONNECTING if ever else Phase.CONNECTING
    if found.kind == "no_core" and not ever:
        return Phase.NO_CORE
    if waited < GRACE:
        return None
    return Phase.NO_CORE if found.kind == "no_core" else Phase.CORE_GONE


class Link:
    """Hold the client, the world's feed and the phase."""

    def __init__(
        self,
        world: World,
        *,
        instance: str = "default",
        socket: str | None = None,
        tell: Callable[[Change], None],
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.world = world
        self.client = AsyncClient(instance, socket, environ, on_state=self._on_state, on_attempt=self._on_attempt)
        self._clock = clock
        self._changes = Changes(tell)
        self._sync = Sync(self.client, world, self._changes, self._on_loaded, self._on_failed)
        self._topics = {"state", "event", "beat"}
        self._heard: Any = None
        self._phase = Phase.CONNECTING
        self._since = self._begun = clock()
        self._ever = False
        self._step = "looking for a core"
        self._diagnosis: Diagnosis | None = None
        self._rtts: deque[float] = deque(maxlen=15)
        self._live = asyncio.Event()
        self._ended = asyncio.Event()
        self._silence = Silence(clock, partial(self._become, Phase.STALE), self._on_silent, self._on_slept)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._kept = Kept(path_of(instance, socket, environ), clock)
        self._files_of: tuple[int, int] | None = None
        self._core_logs = CoreLogs(self.client)
        self._file_logs: LogSource | None = None

    # Life -------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and keep the world in step until `close`."""
        if self._ended.is_set():
            return
        self._heard = self.client.listen(self._topics, self._on_message)
        self.client.open()
        await self._ended.wait()

    async def close(self) -> None:
        """Let go of the core."""
        if self._ended.is_set():
            return
        self._ended.set()
        if self._ever:
            self._kept.save(self.world)
        self._changes.close()
        self._sync.close()
        self._silence.stop()
        for task in list(self._tasks):
            task.cancel()
        await self.client.close()

    def retry_now(self) -> None:
        """Try to connect now."""
        self.client.retry_now()

    def load_cached(self, world: World) -> float | None:
        """Fill a world with what was known at the last time; return when that was (Unix seconds), None if nothing was.

        For the first paint, before `run`.
        """
        found = self._kept.load(world)
        if found is not None and found.status.core.statedir:
            self.client.statedirs.add(found.status.core.statedir)
        return None if found is None else found.at

    # Asking -----------------------------------------------------------------------------------------------------------

    async def call(
        self,
        op: str,
        select: Iterable[str] = (),
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # as of the client
        into: Any = Any,
    ) -> Any:
        """Return the result of an operation, or raise its error; NoCore, unsent, if no core answers for 5 s."""
        await self._wait_for_core()
        before = self.client.rtt
        try:
            return await self.client.call(op, select, args, timeout=timeout, into=into)
        finally:
            if self.client.rtt is not None and self.client.rtt is not before:
                self._rtts.append(self.client.rtt)

    async def _wait_for_core(self) -> None:
        try:
            async with asyncio.timeout(QUEUE):
                await self._live.wait()
        except TimeoutError:
            raise NoCore("the core does not answer: nothing was sent", "try again once it is back") from None

    @property
    def recent(self) -> Recent:
        """Return the last 2,000 events, oldest first."""
        return self._sync.recent

    @property
    def logs(self) -> LogSource:
        """Return the way to the output: through the core, or from the files while it is gone and they are known."""
        if self._phase in (Phase.LIVE, Phase.STALE) or not self._kept.files:
            return self._core_logs
        if self._file_logs is None:
            from taskmaster_core.filelogs import FileLogs  # noqa: PLC0415  # loaded when the core is gone, not at a start

            self._file_logs = FileLogs(self._kept.files)
        return self._file_logs

    # Topics -----------------------------------------------------------------------------------------------------------

    def watch_metrics(self, on: bool) -> None:
        """Have the core sample cpu and memory, or not."""
        self._want({"metrics"} if on else set(), "metrics")

    def watch_logs(self, keys: set[str]) -> None:
        """Be told (`Change.logs`) when the output of these processes grows, and of no others."""
        self._want({f"log.{key}" for key in keys}, "log.")

    def _want(self, topics: set[str], kind: str) -> None:
        had = {topic for topic in self._topics if topic.startswith(kind)}
        self._topics = (self._topics - had) | topics
        if self._heard is not None and not self._ended.is_set():
            for topic in topics - had:
                self._heard.add(topic)
            for topic in had - topics:
                self._heard.drop(topic)

    def _on_message(self, topic: str, body: bytes) -> None:
        if topic == "beat":
            self._silence.expect()
            self._kept.save_now_and_then(self.world)
        self._silence.heard()
        if topic.startswith("log."):
            if topic in self._topics or "log." in self._topics:  # `log.web:1` brings `log.web:10` too
                self._changes.logs(topic[4:])
            return
        self._sync.heard(topic, body)
        if self._phase in (Phase.STALE, Phase.RECONNECTING) and self._sync.loaded:
            self._become(Phase.LIVE)

    # Health -----------------------------------------------------------------------------------------------------------

    @property
    def health(self) -> Health:
        """Return what the connection is like at this moment."""
        found = self._diagnosis
        core = self.client.core
        return Health(
            phase=self._phase,
            since=self._since,
            attempt=self.client.attempt,
            next_in=self.client.next_in,
            rtt=median(self._rtts) if self._rtts else None,
            step=self._step,
            where=[str(each) for each in found.where] if found else [],
            shim_pid=found.shim_pid if found else None,
            detail=found.detail if found else "",
            version_differs=core is not None and core.differs,
        )

    def _become(self, phase: Phase, since: float | None = None) -> None:
        if phase is not self._phase:
            self._phase = phase
            self._since = self._clock() if since is None else since
        self._ever = self._ever or phase is Phase.LIVE
        (self._live.set if phase is Phase.LIVE else self._live.clear)()
        self._changes.health()

    def _on_state(self, state: State) -> None:
        self._diagnosis = None
        if state == "connected":
            self._step = "asking for the snapshot"
            self._sync.connected()
            self._changes.health()
        else:
            self._silence.stop()
            self._sync.lost()
            self._step = "looking for a core"
            self._become(Phase.RECONNECTING)

    def _on_attempt(self) -> None:
        """Find out why the last attempt failed."""
        self._diagnosis = found = self.client.diagnosis()
        begun = self._since if self._ever else self._begun
        phase = judge(found, self._clock() - begun, ever=self._ever)
        if found.kind == "ok":
            self._step = "waiting for the core to say hello"
        if phase is not None:
            self._become(phase, begun)
        else:
            self._changes.health()

    def _on_failed(self, error: TaskmasterError) -> None:
        self._step = f"the core does not give its state: {error.message}"
        self._changes.health()

    def _on_loaded(self) -> None:
        self._silence.expect()
        if self._phase is not Phase.LIVE:
            self._step = ""
            self._become(Phase.LIVE)
            self._spawn(self._measure())
        shape = (self.world.shape, self.world.core.generation if self.world.core else 0)
        if shape != self._files_of:
            self._files_of = shape
            self._spawn(self._learn_files())

    async def _measure(self) -> None:
        with suppress(TaskmasterError):
            await self.call("ping", timeout=QUEUE)
            self._changes.health()

    async def _learn_files(self) -> None:
        await asyncio.sleep(FILES_AFTER)
        with suppress(TaskmasterError):
            shown = await self.client.call("show")
            self._kept.files = {key: its for each in shown["jobs"] for key, its in each.get("files", {}).items()}
            self._file_logs = None

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_slept(self) -> None:
        """Ask at once: much was dropped while nobody read, and the next beat that would tell may be a second away."""
        self._sync.ask(0.0)

    def _on_silent(self, since: float) -> None:
        self._step = "connected, but the core is silent"
        self._become(Phase.RECONNECTING, since)
        self._spawn(self._doubt_the_events())

    async def _doubt_the_events(self) -> None:
        """Connect anew if the core answers and only its events do not come."""
        with suppress(TaskmasterError):
            await self.client.call("ping", timeout=QUIET)
            await asyncio.sleep(QUIET)
            if self._silence.seconds >= SILENT:
                self.client.redial()
