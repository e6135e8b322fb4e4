"""The orders of the core, each carried out by one small function.

Decides what an order means; an order that cannot be understood is answered by `error` and changes nothing. The link
hands them in one by one, in the order they were sent.
"""

from __future__ import annotations

import os
import socket

import release
import survey
from keepsakes import Keepsakes
from launch import Launch
from opening import Opening
from visits import Visits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corelife import CoreLife
    from house import House
    from runs import Run

    Order = dict[str, Any]


class Orders:
    """Carry out orders for one house."""

    def __init__(
        self, house: House, core: CoreLife, *, use_cgroups: bool, notify: str, again: list[str] | None
    ) -> None:
        self.house = house
        self.core = core
        self.memos: dict[str, Any] = {}
        self.opened = 0.0
        self.refused = False
        self._use_cgroups = use_cgroups
        self._notify = notify
        self._again = again
        self._opening: Opening | None = None
        self._table: dict[str, Callable[[Order], None]] = {
            "open": self._open,
            "spawn": self._spawn,
            "signal": self._signal,
            "kill": self._kill,
            "recipe": self._recipe,
            "sink": self._sink,
            "memo": self._memo,
            "ack": lambda order: core.ledger.acknowledge(order["n"]),
            "watch": lambda order: house.sinks.watch(order["path"], bool(order["on"])),
            "trees": lambda order: core.say({"t": "trees", "id": order["id"], **survey.answer(house, order["keys"])}),
            "reopen": lambda _: house.sinks.reopen(),
            "notify": lambda order: self.notify(order["text"]),
            "beat": lambda _: house.shelf.look(),
            "ready": lambda _: core.became_ready(),
            "bye": lambda order: core.say_goodbye(int(order.get("code") or 0)),
        }
        self._visits = Visits(house, core)
        self._keepsakes = house.keepsakes = Keepsakes(house, core)
        self._table |= {**self._visits.table, "fds": self._keepsakes.bring}

    def also(self, table: dict[str, Callable[[Order], None]]) -> None:
        """Carry out these orders too."""
        self._table |= table

    def carry_out(self, order: Order) -> None:
        """Do what one order says; never raises."""
        act = self._table.get(str(order.get("t")))
        if act is None:
            self._misunderstood(f"unknown order {order.get('t')!r}")
            return
        try:
            act(order)
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            self._misunderstood(f"order {order.get('t')!r}: {type(error).__name__}: {error}")

    def _misunderstood(self, message: str) -> None:
        self.house.sinks.complain(message)

    # -- open ---------------------------------------------------------------------------------------------------

    def _open(self, order: Order) -> None:
        now = self._opening
        if "statedir" not in order:  # a core asks whether one before it has opened already, and where
            if self.opened:
                self._hello()
            else:
                self._refuse("nothing is open", "", 0)
            return
        if now is None:
            self._opening = now = Opening(self.house, order, use_cgroups=self._use_cgroups)
            now.done = self._hello
            now.refuse = self._refuse
            now.begin()
            return
        if order["instance"] != now.places.instance:
            self._refuse("this shim has opened another instance already", "start a new one", 1)
        elif self.opened:
            self._hello()  # while it is still being opened, `hello` comes by itself

    def _refuse(self, message: str, remedy: str, code: int) -> None:
        if not self.opened:
            self._opening = None
        self.core.say({"t": "refused", "message": message, "help": remedy, "code": code})

    def _hello(self) -> None:
        self.opened = self.opened or self.core.wall()
        hello = {"t": "hello", "v": release.WIRE, "shim_pid": os.getpid(), "boot": self.house.heritage.boot}
        hello.update(release=release.RELEASE, oldest_v=release.OLDEST_WIRE)
        hello.update(opened=self.opened, first=not self.core.was_ready, memos=self.memos, next=self.core.ledger.next)
        hello["again"] = self._again
        hello["troubles"] = self.house.sinks.listed()
        if self.house.places is not None:
            hello.update(statedir=self.house.places.statedir, rundir=self.house.places.rundir)
        hello["runs"] = [_shown(run) for run in self.house.runs.values() if not run.told]
        hello["left"] = [{"key": run.key, "run": run.run} for run in self.house.runs.values() if run.told]
        self._visits.forget()
        self.core.greet(hello)
        self._keepsakes.give_all()

    # -- runs ---------------------------------------------------------------------------------------------------

    def _spawn(self, order: Order) -> None:
        if self.house.places is None or not self.opened:
            raise ValueError("nothing is open")
        key, run = str(order["key"]), int(order["run"])
        if (key, run) in self.house.runs or self.house.answers(key, run) is not None:
            self.core.repeat(self.house.answers(key, run) or [])
            return
        if order.get("memo") is not None:
            self.memos[key] = order["memo"]
        Launch(self.house, self.house.places, order).begin()

    def _run(self, order: Order) -> Run | None:
        """Return the run an order is about; None when it has ended: its report is on the way to the core."""
        return self.house.runs.get((order["key"], order["run"]))

    def _signal(self, order: Order) -> None:
        run = self._run(order)
        if run is not None:
            run.signal(int(order["sig"]), group=bool(order["group"]), stopping=bool(order["stopping"]))

    def _kill(self, order: Order) -> None:
        run = self._run(order)
        if run is not None:
            run.kill(whole=bool(order["tree"]))
        elif self.house.answers(order["key"], order["run"]) is None:
            self.house.tell_gone(order["key"], order["run"])

    def _recipe(self, order: Order) -> None:
        run = self._run(order)
        if run is None:
            return
        before = (run.stop, run.killgroup, run.nice)
        run.stop = order["stop"]
        run.killgroup = bool(order["killgroup"])
        if order.get("nice") is not None and order["nice"] != run.nice:
            run.renice(order["nice"])
        if before != (run.stop, run.killgroup, run.nice):
            self.house.amend(run, stop=run.stop, killgroup=run.killgroup, nice=run.nice)

    def _sink(self, order: Order) -> None:
        run = self._run(order)
        for name in ("out", "err"):
            spec = order.get(name)
            if run is None or spec is None:
                continue
            stream = run.streams.get(name)
            if stream is None or spec.get("kind") != "file" or spec.get("direct"):
                raise ValueError(f"{name} of {order['key']} can only be switched between files")
            stream.switch(self.house.sinks.attach(spec), spec.get("tag") or run.key)
            sinks = {**run.amended.get("sinks", {}), name: {**spec, "fifo": stream.inode}}
            self.house.amend(run, sinks=sinks)

    def _memo(self, order: Order) -> None:
        if order["memo"] is None:
            self.memos.pop(order["key"], None)
        else:
            self.memos[order["key"]] = order["memo"]

    def notify(self, text: str) -> None:
        """Tell systemd, if it asked to be told."""
        if not self._notify:
            return
        address = "\0" + self._notify[1:] if self._notify.startswith("@") else self._notify
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), address)


def _shown(run: Run) -> dict[str, Any]:
    shown = {"key": run.key, "run": run.run, "pid": run.pid, "at": run.at, "wall": run.wall}
    return {**shown, "stopping": run.stopping}
