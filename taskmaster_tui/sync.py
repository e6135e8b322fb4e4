"""Keep the world in step with the core: a snapshot, what is published after it, a new snapshot where that has a gap.

It decides what is older than the snapshot, what is missing, and when to ask again (docs/protocol.md, Events); it knows
nothing of connections. The link hands it what is heard and tells it when there is a core to ask.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from itertools import takewhile
from time import time

import msgspec

from taskmaster_core import wire
from taskmaster_core.aclient import AsyncClient, Follower, Verdict
from taskmaster_core.errors import TaskmasterError
from taskmaster_tui.changes import Changes
from taskmaster_tui.model.world import World

RECENT = 2_000
"""Events that are kept."""

FIRST_PAGE = 200
"""Events of earlier times that are read at first."""

DEBOUNCE = 0.1
"""Seconds from a reason to ask for a snapshot to the asking: a reload brings many reasons at a time."""

RETRY = 2.0
"""Seconds to the next question after the core refused one."""

LATENESS = 0.15
"""Seconds an event may come after the beat that counts it: it is published once its row is on the disk."""

RESHAPES = frozenset({
    "added", "removed", "scaled", "reloaded", "held", "released", "reload_refused", "config_error", "core_ready",
    "core_stopping", "shutdown",
})  # fmt: skip
"""Events that tell of something only a snapshot has: jobs, the config's problems; so does every `…_trouble`."""

_batches = msgspec.json.Decoder(wire.StateBatch)
_beats = msgspec.json.Decoder(wire.Beat)
_events = msgspec.json.Decoder(wire.Event)
_samples = msgspec.json.Decoder(wire.Metrics)


class Recent(deque[wire.Event]):
    """Keep the newest events, oldest first."""

    journal = 0
    """How often the core has lost its journal: it counts from a lower number then, and what was read is void."""

    def take(self, events: list[wire.Event]) -> None:
        """Add events that are newer than all that are here, or of a journal that begins anew."""
        if self and events and events[0].seq <= self[-1].seq:
            self.clear()
            self.journal += 1
        self.extend(events)

    def after(self, seq: int, journal: int) -> list[wire.Event] | None:
        """Return the events after number `seq` of a journal; None where not all of them are kept: ask the core."""
        if journal != self.journal or (self and seq < self[0].seq - 1):
            return None
        return [*takewhile(lambda event: event.seq > seq, reversed(self))][::-1]


class Sync:
    """Hold how far the world is, and what came too early for it."""

    def __init__(
        self,
        client: AsyncClient,
        world: World,
        changes: Changes,
        on_loaded: Callable[[], None],
        on_failed: Callable[[TaskmasterError], None],
    ) -> None:
        self.recent = Recent(maxlen=RECENT)
        self._client = client
        self._world = world
        self._changes = changes
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._follower: Follower | None = None
        self._loaded = False
        self._again = False
        self._asking: asyncio.Task[None] | None = None
        self._asked: asyncio.TimerHandle | None = None
        self._early: list[wire.StateBatch] = []
        self._n = 0
        """The number of the last batch in the world; 0: this core does not count them."""
        self._catching: asyncio.Task[None] | None = None
        self._late: list[wire.Event] = []
        self._known: asyncio.TimerHandle | None = None
        self._owing = 0

    @property
    def loaded(self) -> bool:
        """Tell whether the world is that of the core there is now."""
        return self._loaded

    def close(self) -> None:
        """Ask nothing more."""
        self.lost()
        self._cancel(self._catching)

    def connected(self) -> None:
        """Take a snapshot of the core that is there now."""
        self.lost()
        self._ask_now()

    def lost(self) -> None:
        """Take what is known for old until the next snapshot."""
        self._loaded = self._again = False
        self._cancel(self._asking)
        self._cancel(self._asked)
        self._cancel(self._known)
        self._asking = self._asked = self._known = None
        self._early.clear()

    @staticmethod
    def _cancel(each: asyncio.Task[None] | asyncio.TimerHandle | None) -> None:
        if each is not None:
            each.cancel()

    def heard(self, topic: str, body: bytes) -> None:
        """Take in a message; one of a future version is dropped, the gap it leaves is seen."""
        try:
            if topic == "state":
                self._state(_batches.decode(body))
            elif topic == "beat":
                self._beat(_beats.decode(body))
            elif topic.startswith("event."):
                self._event(_events.decode(body))
            elif topic == "metrics":
                self._metrics(_samples.decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return

    def _now(self) -> float:
        """Return the time by the core's clock."""
        return time() + self._world.ahead

    # Snapshots -------------------------------------------------------------------------------------------------------

    def ask(self, after: float = DEBOUNCE) -> None:
        """Ask for a snapshot soon; several reasons make one question."""
        if self._asking is not None:
            self._again = True  # this answer may be older than the reason
        elif self._asked is None and self._client.state == "connected":
            self._asked = asyncio.get_running_loop().call_later(after, self._ask_now)

    def _ask_now(self) -> None:
        self._cancel(self._asked)
        self._asked = None
        self._asking = asyncio.get_running_loop().create_task(self._load())

    async def _load(self) -> None:
        try:
            status = await self._client.call("status", into=wire.Status)
        except TaskmasterError as error:
            self._asking = None
            self._on_failed(error)
            self.ask(RETRY)
            return
        self._take(status)
        self._on_loaded()
        if self._again or self._world.stale_shape:
            self._again = False
            self.ask()

    def _take(self, status: wire.Status) -> None:
        before = {proc.key: proc.view.pid for proc in self._world.procs() if proc.view.pid is not None}
        another = self._follower is not None and self._world.boot != status.core.boot
        self._world.set_clock(status.core.now, time())
        self._world.load(status, self._now())
        if another:
            self._replaced(before)
        self._n = status.core.batches
        early, self._early = self._early, []
        self._loaded, self._asking = True, None
        for batch in early:
            if batch.boot == status.core.boot:
                self._apply(batch)
        self._changes.rows(world=True)
        if self._follower is None:
            self._follower = Follower(status.core.seq, status.core.boot)
            self._catch_up(first=True)
        elif self._follower.beat(status.core.boot, status.core.seq) is Verdict.ASK:
            self._catch_up()

    def _replaced(self, before: Mapping[str, int]) -> None:
        kept = sum((proc := self._world.proc(key)) is not None and proc.view.pid == pid for key, pid in before.items())
        self._changes.another(kept, len(before) - kept)

    def _state(self, batch: wire.StateBatch) -> None:
        if self._asking is not None or not self._loaded:
            self._early.append(batch)  # the answer may be older than this: it is to be applied again
        if self._follower is not None and batch.boot == self._world.boot:  # also the last words of a core that is lost
            self._apply(batch)
        elif self._loaded:
            self.ask()

    def _apply(self, batch: wire.StateBatch) -> None:
        if batch.n and batch.boot == self._world.boot:
            if batch.n <= self._n:
                return  # the snapshot has it, and perhaps what came after
            if batch.n > self._n + 1:
                self.ask()
            self._n = batch.n
        shape = self._world.shape
        keys = self._world.apply(batch, self._now())
        if keys:
            self._changes.rows(keys, world=self._world.shape != shape)
        if self._world.stale_shape:
            self.ask()

    def _metrics(self, samples: wire.Metrics) -> None:
        if samples.boot == self._world.boot:
            self._world.sample(samples.processes, samples.at)
            self._changes.metrics()

    # Events ----------------------------------------------------------------------------------------------------------

    def _beat(self, beat: wire.Beat) -> None:
        if self._loaded:
            self._world.set_clock(beat.at, time())
            self._world.as_of = self._now()
            if beat.batches > self._n and beat.boot == self._world.boot:
                self.ask()  # batches come before the beat that counts them: one was dropped on the way
        if self._follower is None or self._catching is not None:
            return
        if self._follower.beat(beat.boot, beat.seq) is Verdict.ASK and self._known is None:
            self._owing = beat.seq
            self._known = asyncio.get_running_loop().call_later(LATENESS, self._overdue)

    def _overdue(self) -> None:
        self._known = None
        if self._follower is not None and self._follower.seq < self._owing:
            self._gap()

    def _event(self, event: wire.Event) -> None:
        if self._follower is None or self._catching is not None:
            self._late.append(event)
            return
        verdict = self._follower.event(event.boot, event.seq)
        if verdict is Verdict.NEXT:
            self._happened([event])
        elif verdict is Verdict.ASK:
            self._late.append(event)
            self._gap()

    def _gap(self) -> None:
        """Find in the journal what was missed. Where batches are not numbered, states may be missing too."""
        self._catch_up()
        if not self._n:
            self.ask()

    def _catch_up(self, *, first: bool = False) -> None:
        if self._catching is None:
            self._catching = asyncio.get_running_loop().create_task(self._caught_up(first))

    async def _caught_up(self, first: bool) -> None:
        follower = self._follower
        if follower is None:
            return
        try:
            if first:
                await self._first_page(follower)
            else:
                self._happened(await self._client.caught_up(follower, RECENT))
                follower.settle(self._owing)
            if self._hole(follower):  # some were dropped on their way, too late for the answer
                self._happened(await self._client.caught_up(follower, RECENT))
        except TaskmasterError:
            self._late.clear()  # they are in the journal too, and the next beat shows that they are missing
        finally:
            self._catching = None
        late, self._late = self._late, []
        self._happened([event for event in late if follower.take(event.seq)])

    def _hole(self, follower: Follower) -> bool:
        """Tell whether what came meanwhile does not begin where the answer ended."""
        return next((each.seq > follower.seq + 1 for each in self._late if each.seq > follower.seq), False)

    async def _first_page(self, follower: Follower) -> None:
        """Read the last events there were. What is numbered but not yet published will come, and is no news before."""
        page = await self._client.call("events", args={"n": FIRST_PAGE}, into=list[wire.Event])
        self.recent.take(page)
        if page:
            follower.seq = page[-1].seq
        self._changes.rows(world=True)

    def _happened(self, events: list[wire.Event]) -> None:
        if not events:
            return
        self.recent.take(events)
        self._changes.events(events)
        if any(event.type in RESHAPES or event.type.endswith("_trouble") for event in events):
            self.ask()
