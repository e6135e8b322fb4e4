"""Hold the parts of a running core, and carry the supervisor's effects out: the one interpreter.

The loop (`daemon.py`) feeds it, the operations (`ops.py`) and the reload (`reloader.py`) use it. It decides no policy:
what is wanted comes from the supervisor, how it is said to the shim from `orders.py`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from taskmaster_core import machine, memos, orders
from taskmaster_core.instants import Instants
from taskmaster_core.intents import Intent
from taskmaster_core.journal import Journal
from taskmaster_core.leases import Leases, attending
from taskmaster_core.machine import Forget, KillTree, Signal, Spawn
from taskmaster_core.orders import Setting
from taskmaster_core.publisher import Publisher
from taskmaster_core.sampler import Sampler
from taskmaster_core.server import Asked, Server
from taskmaster_core.shimlink import ShimLink
from taskmaster_core.spec import Key
from taskmaster_core.supervisor import AllDown, Answer, Fact, Outcomes, Persist, Retune, Supervisor
from taskmaster_core.timers import Timer, Timers
from taskmaster_core.troubles import Troubles
from taskmaster_core.wire import Cause, Done
from taskmaster_core.workers import Worker

Order = dict[str, Any]


_MANY = 20
"""So many memos of events may lie with the shim, though journalled, until a frame goes there anyway."""


_OF_THE_OLD_WIRE = frozenset({"memo", "ack", "beat", "watch", "renew"})
"""Orders that mean nothing to another shim, or are given to it again."""


class Facts(Struct):
    """Hold what does not change while a core runs."""

    boot: str
    instance: str
    started_at: float
    shim_pid: int
    config_paths: tuple[str, ...]
    setting: Setting
    shim_release: str = ""
    shim_wire: int = 1


class Entrusted:
    """Mirror the memos that the shim holds for us: should it die, only we can tell the next one."""

    def __init__(self) -> None:
        self._memos: dict[str, object] = {}

    def inherit(self, held: Mapping[str, object]) -> None:
        """Note what the shim holds of cores before."""
        self._memos = {key: memo for key, memo in held.items() if not key[1:].isdigit()}

    def note(self, frame: Iterable[Order]) -> None:
        """Follow what a frame has the shim remember and forget."""
        for order in frame:
            if order["t"] == "memo" and order["memo"] is None:
                self._memos.pop(order["key"], None)
            elif order["t"] == "memo":
                self._memos[order["key"]] = order["memo"]

    def orders(self) -> Iterable[Order]:
        """Return what gives all of it to another shim."""
        return ({"t": "memo", "key": key, "memo": memo} for key, memo in self._memos.items())


class Runtime:
    """Hold the parts, and the few verbs that need several of them."""

    def __init__(
        self, facts: Facts, supervisor: Supervisor, link: ShimLink, journal: Journal, publisher: Publisher,
        timers: Timers, worker: Worker,
    ) -> None:  # fmt: skip
        self.facts = facts
        self.supervisor = supervisor
        self.link = link
        self.journal = journal
        self.publisher = publisher
        self.timers = timers
        self.worker = worker
        self.sampler = Sampler(facts.boot, facts.shim_pid, facts.instance, supervisor, timers)
        publisher.fill, publisher.wall_offset = self.sampler.fill, self.wall_offset
        self.server: Server | None = None
        self.acked = 0
        self.exit_code: int | None = None
        """Set once everything is down: the loop ends."""
        self.troubles = Troubles(self.fact)
        """Degradations in words, by the part that has them."""
        self.asked: dict[str, Asked] = {}
        """The requests that wait for an effect, by id."""
        self.texts: dict[str, str] = {}
        """Sentences that go with the answers of requests, by id."""
        self.instants, self.leases = Instants(), Leases()
        """When that was which is told; who is attached to terminals."""
        self.awaited: dict[str, Callable[[Order], None]] = {}
        """What the shim is to answer, by the name that its answer bears."""
        self._limits: dict[str, Timer] = {}
        self._orders: list[Order] = []
        self._own_memo: Order = {}
        self._barriers: dict[int, Callable[[], None]] = {}
        self._token = 0
        self._after: list[Callable[[], None]] = []
        self._kept: deque[int] = deque()
        self._files: dict[Key, dict[str, Order]] = {}
        self.linked = True
        self.entrusted = Entrusted()

    # Time ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def now() -> float:
        """Return the instant decisions are made with (seconds of CLOCK_BOOTTIME)."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    @staticmethod
    def wall_offset() -> float:
        """Return what makes Unix time of an instant, now."""
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    # Effects ------------------------------------------------------------------------------------------------------

    def order(self, *documents: Order) -> None:
        """Add orders to the frame that goes out at the end of this turn."""
        self._orders += documents

    def settle(self) -> None:
        """Carry out everything the supervisor has decided, and send it as one frame with the memos and the ack."""
        while effects := self.supervisor.take():
            for effect in effects:
                self._carry_out(effect)
        self.instants.forget()
        self._remember()
        self._keep_rows()
        if self._orders and self.linked:
            frame, self._orders = self._orders, []
            self.entrusted.note(frame)
            self.link.send(frame)
        self.publisher.flush()
        after, self._after = self._after, []
        for call in after:
            self.journal.barrier(self._remember_call(call), full=True)
        if self.server is not None:
            self.server.flush()

    def cut(self) -> None:
        """Close the wire to a shim that is dead; what was decided for it is void, what it was to remember is kept."""
        self.link.close()
        self.linked = False
        self.settle()
        self.entrusted.note(self._orders)
        self._orders.clear()

    def shim_is(self, pid: int) -> None:
        """Note which process is the shim from now on."""
        self.facts.shim_pid = pid
        self.sampler.shim_is(pid)

    def restore(self) -> None:
        """Begin with another shim: it is told what the one before it knew, then what was decided meanwhile."""
        meanwhile, self._orders = self._orders, []
        self.entrusted.note(meanwhile)
        self.linked = True
        self.acked = 0  # it counts its reports anew
        self.order(*self.entrusted.orders(), *attending(self.leases, self.supervisor.procs))
        self.order({"t": "ready"}, *(order for order in meanwhile if order["t"] not in _OF_THE_OLD_WIRE))

    def _carry_out(self, effect: Outcomes) -> None:
        match effect:
            case Spawn():
                self._spawn(effect)
            case Signal():
                self.order(orders.signal_order(effect))
            case KillTree():
                self.order(orders.kill_order(effect))
            case Retune():
                self.order(*orders.retune_orders(effect, self.facts.setting, int(time.time())))
                self._files.pop(effect.key, None)
            case Fact():
                self.publisher.fact(effect, self.instants.of(effect))
            case Answer():
                self._answer(effect)
            case Persist():
                self.journal_intents(effect.changes, None)
            case Forget():  # its memo goes with it: `_remember` sees that it is gone
                self._files.pop(effect.key, None)
            case AllDown():
                self.exit_code = effect.code

    def _spawn(self, effect: Spawn) -> None:
        try:
            order = orders.spawn_order(effect, self.facts.setting, int(time.time()))
        except orders.CannotSpawn as failure:
            self.supervisor.report(effect.key, machine.SpawnFailed(effect.run, failure.exit), self.now())
            return
        self._files[effect.key] = orders.files_in(order)
        self.order(order)

    def _remember(self) -> None:
        """Give the shim the memo of every process that changed, and the core's own if that did."""
        changed = self.supervisor.changed
        for key in changed:
            proc = self.supervisor.procs.get(key)
            gone = memos.write_past(self.supervisor.past.get(key, 0))
            self._orders.append({"t": "memo", "key": str(key), "memo": memos.write(proc) if proc is not None else gone})
        if changed:
            self.publisher.changed(changed, self.supervisor, self.now(), self.wall_offset)
            changed.clear()
        own = self.core_memo()
        if own != self._own_memo:  # in the frame that carries what it speaks of: both arrive or none does
            self._own_memo = own
            self._orders.append(own)

    def _keep_rows(self) -> None:
        """Give the shim this turn's events, in the frame that acknowledges what they tell of.

        The journal gets them right after, but from its own thread: a core that dies in between would take them along.
        """
        rows = self.publisher.fresh
        if rows:
            self._kept.append(rows[-1].seq)
            self._orders.append({"t": "memo", "key": f"{memos.ROWS}{rows[-1].seq}", "memo": memos.write_rows(rows)})
        while self._kept and self._kept[0] <= self.publisher.journalled and (self._orders or len(self._kept) > _MANY):
            self._orders.append({"t": "memo", "key": f"{memos.ROWS}{self._kept.popleft()}", "memo": None})

    def acknowledge(self, number: int) -> None:
        """Tell the shim, in the frame that carries what came of it, that reports up to `number` are dealt with."""
        self.acked = max(self.acked, number)
        self.order({"t": "ack", "n": self.acked})

    def core_memo(self) -> Order:
        """Return the order that keeps the core's own memo."""
        text = memos.write_core(self.supervisor.generation, self.acked, self.supervisor.shutting_down)
        return {"t": "memo", "key": memos.CORE, "memo": text}

    def fact(self, type_: str, cause: Cause, key: str = "", **data: Any) -> None:
        """Publish something that no process did."""
        self.publisher.fact(Fact(type_, key, cause, data), time.time())

    # Journal ------------------------------------------------------------------------------------------------------

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call once everything of this turn is on disk for good; soon if the journal is in trouble."""
        self._after.append(call)

    def journal_intents(self, changes: Iterable[Intent], then: Callable[[], None] | None) -> None:
        """Write changes of intents for good, then go on (RELIABILITY G8: durable before its effect)."""
        rows = tuple(changes)
        if rows:
            self.journal.put_intents(rows, self._remember_call(then or (lambda: None)))
        elif then is not None and self._barriers:  # behind the wishes under way: the last command wins (L30)
            self.journal.barrier(self._remember_call(then), full=False)
        elif then is not None:
            then()

    def _remember_call(self, call: Callable[[], None]) -> int:
        self._token += 1
        self._barriers[self._token] = call
        return self._token

    def committed(self, token: int) -> None:
        """Go on with what waited for this commit."""
        call = self._barriers.pop(token, None)
        if call is not None:
            call()

    # Requests -----------------------------------------------------------------------------------------------------

    def wait(self, asked: Asked, timeout: float | None, on_timeout: Callable[[str], None]) -> None:
        """Remember a request that waits for an effect, for `timeout` seconds at most."""
        request_id = asked.request.id
        self.asked[request_id] = asked
        if timeout is not None:
            self._limits[request_id] = self.timers.at(self.now() + timeout, lambda: on_timeout(request_id))

    def give_up(self, request_id: str, peer: int) -> bool:
        """Forget a request that only waits when its peer is gone; what acts goes on, and is answered if asked again."""
        asked = self.asked.get(request_id)
        if asked is None or asked.request.op != "wait" or asked.peer.address != peer:
            return False
        self.supervisor.give_up_waiting(request_id)
        del self.asked[request_id]
        limit = self._limits.pop(request_id, None)
        if limit is not None:
            limit.cancel()
        return True

    def _answer(self, effect: Answer) -> None:
        settled = effect.settled
        asked = self.asked.pop(settled.request, None)
        limit = self._limits.pop(settled.request, None)
        if limit is not None:
            limit.cancel()
        if asked is not None:
            self.after_commit(lambda: self.reply(asked, settled.done))

    def reply(self, asked: Asked, result: object, *, keep: bool = True) -> None:
        """Answer a request."""
        if isinstance(result, Done) and (text := self.texts.pop(asked.request.id, None)) is not None:
            result = replace(result, text=text)
        if self.server is not None:
            self.server.answer(asked, result, keep=keep)

    def files_of(self, key: Key) -> dict[str, orders.Order]:
        """Return the output files of a process, "out" and "err", as its run was given them."""
        known = self._files.get(key)
        if known is not None:
            return known
        proc = self.supervisor.procs.get(key)
        if proc is None:
            return {}
        at = time.time() if proc.started_at is None else proc.started_at + self.wall_offset()
        return orders.files_of(proc.spec, key, max(proc.run, 1), self.facts.setting, int(at))

    def sources_of(self, key: Key) -> dict[str, dict[str, Any]]:
        """Return where a reader finds the output of a process: per stream path, index, and tag if others share it."""
        return orders.sources_in(self.files_of(key), key)
