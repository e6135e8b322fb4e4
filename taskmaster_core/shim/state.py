"""All that a shim knows as data, and back: what the one that takes its place by `execve` goes on with.

Decides what is kept field by field, what is made anew (timers, epoll, whatever can be looked up) and which descriptors
must be there. `renewal` writes it before an exec; the main module reads it after, and in the rehearsal of one.
"""

from __future__ import annotations

import os
import signal
import socket
import stat

import packing
import release
from adopted import Adopted
from cgroups import Groves
from link import Link
from opening import Opening
from packing import Pack, due, give, raw, take, text
from runs import Run
from terminals import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corelife import CoreLife
    from house import House
    from orders import Orders
    from shutdown import Shutdown
    from streams import Stream

    Held = dict[str, Any]

BIRTH = ("key", "run", "pid", "stop", "killgroup", "nice")
RUN = ("at", "wall", "leaf", "lock", "amended", "stopping", "_killing", "_leader_only", "_end", "_told", "stuck")
ADOPTED = ("_since", "_looked", "lost")
WATCH = ("_doubts", "_quiet", "_suspect")
CORE = ("pid", "was_ready", "ready", "served", "wanted", "goodbye", "_delay", "_aborted", "_pidfd")
SILENCE = ("_slow", "_heard", "_ran", "_waited")
LINK = ("live", "_told", "_loose")
ORDERS = ("memos", "opened", "refused")
SHUTDOWN = ("asked", "_code", "_had_terminal")
HERITAGE = ("umask", "nofile")
HOUSE = ("spared",)
OOM = ("_seen", "_noticed")

FIFO, TTY, SOCKET, FILE, PIDFD = "a FIFO", "a terminal", "a socket", "a file", "a pidfd"
_KINDS = {FIFO: stat.S_ISFIFO, TTY: stat.S_ISCHR, SOCKET: stat.S_ISSOCK, FILE: stat.S_ISREG}


# Writing ----------------------------------------------------------------------------------------------------------


def write(house: House, core: CoreLife, orders: Orders, shutdown: Shutdown) -> Held:
    """Return everything as data that JSON can hold."""
    pack = Pack(house.sinks)
    return {
        "v": release.STATE,
        "release": release.RELEASE,
        "house": _house(house),
        "output": pack.data(),
        "runs": [_run(run, pack) for run in house.runs.values()],
        "inlets": [_inlet(house, name, pack) for name in house.inlets],
        "core": _core(core),
        "orders": _orders(orders),
        "shutdown": take(shutdown, SHUTDOWN),
    }


def _house(house: House) -> Held:
    heritage = house.heritage
    return {
        **take(house, HOUSE),
        "heritage": {**take(heritage, HERITAGE), "oom": text(heritage.oom)},
        "inherited": sorted(house.inherited),
        "groves": house.groves.root if house.groves is not None else None,
        "pids": sorted(house.pids),
        "oom": take(house.oom, OOM),
        "strays": list(house.strays._told.items()),
        "answers": [[key, run, told] for key, (run, told) in house._answers.items()],
    }


def _run(run: Run, pack: Pack) -> Held:
    held = {**take(run, BIRTH), **take(run, RUN), "ours": run.ours, "pidfd": run._pidfd, "status": run._status}
    held["tags"] = [text(tag) for tag in run.tags]
    held["streams"] = {name: pack.number(stream) for name, stream in run.streams.items()}
    held["killed"] = run._killed.kept()
    held["seen"] = list(run._seen.items())
    held["deferred"] = list(run._deferred)
    held["watch"] = take(run._watch, WATCH)
    held["patience"] = due(run._patience)
    if isinstance(run, Adopted):
        held |= {**take(run, ADOPTED), "lock_file": list(run._lock_file)}
    return held


def _inlet(house: House, name: tuple[str, int], pack: Pack) -> Held:
    """Return where a run's input goes: to a pipe of its own, or to the terminal of that number."""
    inlet, run = house.inlets[name], house.runs.get(name)
    out = run.streams.get("out") if run is not None else None
    if isinstance(out, Terminal) and out.inlet is inlet:
        return {"key": name[0], "run": name[1], "terminal": pack.number(out)}
    return {"key": name[0], "run": name[1], "pipe": packing.inlet(inlet)}


def _core(core: CoreLife) -> Held:
    ledger, link = core.ledger, core._link
    held = {**take(core, CORE), **take(core.silence, SILENCE), "timer": due(core._timer), "link": None}
    held["ledger"] = {"next": ledger.next, "first": ledger._first, "kept": list(ledger._kept.values())}
    if link is not None:
        if link._groups:
            raise release.Unfit("descriptors are on their way from the core")
        held["link"] = {**take(link, LINK), "fd": link._sock.fileno(), "out": text(link._out)}
        held["link"]["read"] = text(link._decoder._buffer)
    return held


def _orders(orders: Orders) -> Held:
    opening = orders._opening
    heard = orders._visits._heard
    keepsakes = orders._keepsakes
    held = {**take(orders, ORDERS), "opening": None}
    held["given"] = {"whose": keepsakes._whose, "names": sorted(keepsakes._given - _on_their_way(orders.core))}
    held["heard"] = [[key, run, leases] for (key, run), leases in heard.items()]
    if opening is not None:
        places = opening.places
        held["opening"] = {"instance": places.instance, "statedir": places.statedir, "rundir": places.rundir}
        held["opening"] |= {"socketgroup": opening._socketgroup, "lock": opening._fd}
    return held


def _on_their_way(core: CoreLife) -> set[tuple[str, int]]:
    """Return whose descriptors the core is still to be given."""
    handed = core._link._handed if core._link is not None else []
    return {(report["key"], report["run"]) for report, _ in handed}


# Descriptors ------------------------------------------------------------------------------------------------------


def descriptors(held: Held) -> list[tuple[int, str, int]]:
    """Return every descriptor the state speaks of: its number, its kind, and of a pidfd whose."""
    core, opening = held["core"], held["orders"]["opening"]
    found = [(core["pidfd"], PIDFD, core["pid"])]
    if core["link"] is not None:
        found.append((core["link"]["fd"], SOCKET, 0))
    if opening is not None:
        found.append((opening["lock"], FILE, 0))
    for run in held["runs"]:
        found += [(run["pidfd"], PIDFD, run["pid"]), (run["status"], FIFO, 0)]
    for stream in held["output"]["streams"]:
        found += [(stream["fd"], TTY, 0), (stream["slave"], TTY, 0)] if "slave" in stream else [(stream["fd"], FIFO, 0)]
    found += [(inlet["pipe"]["fd"], FIFO, 0) for inlet in held["inlets"] if "pipe" in inlet]
    return [each for each in found if each[0] >= 0]


def check(held: Held) -> None:
    """Raise Unfit where a descriptor is missing, or is something else than the state says."""
    for number, kind, pid in descriptors(held):
        try:
            fits = _is_pidfd(number, pid) if kind is PIDFD else _KINDS[kind](os.fstat(number).st_mode)
        except OSError as error:
            raise release.Unfit(f"descriptor {number}, {kind}, is not there: {error.strerror}") from None
        if not fits:
            raise release.Unfit(f"descriptor {number} is not {kind}")


def _is_pidfd(number: int, pid: int) -> bool:
    os.fstat(number)
    with open(f"/proc/self/fdinfo/{number}", "rb", buffering=0) as file:
        lines = file.readall().split(b"\n")
    whose = next((int(line[4:]) for line in lines if line.startswith(b"Pid:")), None)
    return whose in (pid, -1)  # -1: it was reaped


# Reading ----------------------------------------------------------------------------------------------------------


def read(held: Held, house: House, core: CoreLife, orders: Orders, shutdown: Shutdown) -> None:
    """Bring everything back; nothing is carried out before the loop turns."""
    _restore_house(held["house"], house)
    streams = packing.unpack(house, held["output"])
    _restore_opening(held["orders"], house, orders)
    for each in held["runs"]:
        _restore_run(each, house, streams)
    _restore_core(held["core"], core)
    for each in held["inlets"]:
        _restore_inlet(each, orders, streams)
    give(shutdown, SHUTDOWN, held["shutdown"])
    house.loop.after(0, house.child_ended)  # what ended during the exec
    house.loop.after(0, house.on_empty)


def _restore_house(held: Held, house: House) -> None:
    give(house, HOUSE, held)
    heritage = house.heritage
    give(heritage, HERITAGE, held["heritage"])
    heritage.nofile = (heritage.nofile[0], heritage.nofile[1])
    heritage.oom = raw(held["heritage"]["oom"])
    house.inherited = frozenset(held["inherited"])
    give(house.oom, OOM, held["oom"])
    house.strays._told = dict(held["strays"])
    house.groves = Groves(held["groves"]) if held["groves"] is not None else None
    house.pids = set(held["pids"])
    house._answers = {key: (run, told) for key, run, told in held["answers"]}


def _restore_opening(held: Held, house: House, orders: Orders) -> None:
    give(orders, ORDERS, held)
    orders._keepsakes._whose = held["given"]["whose"]
    orders._keepsakes._given = {(key, run) for key, run in held["given"]["names"]}
    orders._visits._heard = {(key, run): leases for key, run, leases in held["heard"]}
    if held["opening"] is not None:
        opening = Opening(house, held["opening"], use_cgroups=house.groves is not None)
        opening._fd = held["opening"]["lock"]
        orders._opening = opening
        if orders.opened:
            house.places = opening.places
            house.sinks.owns = opening.places.owns
            house.shelf.resume()


def _restore_run(held: Held, house: House, streams: list[Stream]) -> None:
    run: Run = Run.__new__(Run if held["ours"] else Adopted)
    Run.__init__(run, house, held, held["pid"], held["pidfd"], held["status"])
    give(run, RUN, held)
    run.tags = [raw(tag) for tag in held["tags"]]
    run.streams = {name: streams[number] for name, number in held["streams"].items() if number >= 0}
    run._killed.go_on(held["killed"])
    run._seen = dict(held["seen"])
    run._deferred = [(signum, group, stopping) for signum, group, stopping in held["deferred"]]
    give(run._watch, WATCH, held["watch"])
    if isinstance(run, Adopted):
        give(run, ADOPTED, held)
        run._lock_file = (held["lock_file"][0], held["lock_file"][1])
        run._unreaped = None
    house.runs[run.key, run.run] = run
    _watch_again(run, held)


def _watch_again(run: Run, held: Held) -> None:
    loop = run.house.loop
    if held["patience"] is not None:
        run._patience = loop.at(held["patience"], run._lose_patience)
    if run.unborn:
        loop.watch(run._status, run._settled)
    if run._pidfd >= 0:
        loop.watch(run._pidfd, run._ended)
    else:
        loop.after(0, run.look)


def _restore_inlet(held: Held, orders: Orders, streams: list[Stream]) -> None:
    name = (held["key"], held["run"])
    if "pipe" in held:
        orders._keepsakes.opened(name, packing.inlet_of(orders.house, held["pipe"]))
        return
    terminal = streams[held["terminal"]] if held["terminal"] >= 0 else None
    if isinstance(terminal, Terminal):
        orders._keepsakes.opened(name, terminal.inlet)


def _restore_core(held: Held, core: CoreLife) -> None:
    give(core, CORE, held)
    give(core.silence, SILENCE, held)
    ledger = core.ledger
    ledger.next, ledger._first = held["ledger"]["next"], held["ledger"]["first"]
    ledger._kept = {report["n"]: report for report in held["ledger"]["kept"]}
    if held["link"] is not None:
        link = Link(core.house.loop, socket.socket(fileno=held["link"]["fd"]), ledger, core._link_lost)
        give(link, LINK, held["link"])
        link._out += raw(held["link"]["out"])
        link._decoder._buffer += raw(held["link"]["read"])
        link.on_order = core._order
        core._link = link
    _go_on_with(core, held["timer"])


def _go_on_with(core: CoreLife, due_at: float | None) -> None:
    """Watch the core that the shim before us had, if it had one; `due_at`: when it was to look at it."""
    loop = core.house.loop
    if core._pidfd >= 0:
        loop.watch(core._pidfd, core._ended)
    if not core.pid:
        loop.after(core._delay, core._try_start)
    elif not core._aborted:
        core._expect_beat()
    elif due_at is not None:
        core._timer = loop.at(due_at, lambda: core._send(signal.SIGKILL))
