"""What a shim leaves to the one that takes its place: every field is kept or known to be made anew, and comes back."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.shim_harness import SHIM

MODULES = (
    "adopted", "corelife", "frames", "house", "inlets", "link", "loop", "losses", "opening", "orders", "packing",
    "release", "runs", "shutdown", "sinks", "spawn", "state", "streams", "terminals", "trial", "visits",
)  # fmt: skip

ANEW = {
    "House": {
        "loop", "sinks", "heritage", "tell", "places", "groves", "null", "looker", "inherited", "nofile", "runs",
        "inlets", "pids", "on_empty", "_answers", "_reaping", "oom", "shelf", "strays", "keepsakes",
    },
    "Run": {"house", "tags", "_killed", "_seen", "streams", "_pidfd", "_status", "_deferred", "_watch", "_patience"},
    "Adopted": {"_lock_file", "_unreaped"},
    "Watch": {"_loop", "_fd", "_timer"},
    "Killed": {"_leader", "_swept", "_outlived", "_unnamed"},
    "CoreLife": {"house", "ledger", "on_order", "on_end", "argv", "env", "_silence", "_link", "_check_due", "_timer"},
    "Ledger": {"next", "_first", "_kept"},
    "Link": {"loop", "ledger", "on_order", "_lost", "_sock", "_decoder", "_out", "_writing", "_groups", "_handed"},
    "Orders": {"house", "core", "_use_cgroups", "_notify", "_again", "_opening", "_table", "_visits", "_keepsakes"},
    "Visits": {"_house", "_core", "_heard", "table"},
    "Shutdown": {"house", "core", "status", "_alone"},
    "Heritage": {"reset", "oom", "boot", "uid", "gid"},
    "Sink": {
        "path", "real", "sinks", "blocked", "_losses", "_fd", "_pos", "_inode", "_looked", "_times", "_parts",
    },
    "Losses": {"_path", "_loop", "_tell", "_timer"},
    "Sinks": {
        "loop", "tell", "complain", "limit", "owns", "hint", "live", "fifos", "streams", "troubles", "_due",
        "_sinks", "_open",
    },
    "Times": {"_path", "_troubles", "_index"},
    "Stream": {"_carry", "_waiting", "fd", "loop", "path", "sink", "sinks", "tag"},
    "Terminal": {"_from", "_nudge", "_size", "_slave", "_tail", "_timer", "inlet"},
    "Inlet": {"_loop", "_fd", "_terminal", "_queue", "_copy", "_timer", "on_shut"},
    "Oom": set(),
    "Shelf": {"house"},
    "Strays": {"_house", "_doubted", "_told"},
    "Troubles": {"_tell", "_on"},
    "Keepsakes": {"_house", "_core", "_whose", "_given", "_brought"},
}  # fmt: skip
"""What is told in a way of its own, looked up, or begins anew. A new attribute belongs here or in the lists of `state`
and `packing`: otherwise an upgrade of the shim forgets it."""


@pytest.fixture
def shim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the shim's modules by their plain names, for this test only."""
    known = set(sys.modules)
    umask = os.umask(0o022)
    monkeypatch.syspath_prepend(str(SHIM))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SHIM)):
            del sys.modules[name]
    os.umask(umask)


class Parts:
    """Build what a shim is made of, without its process."""

    def __init__(self, shim: Any) -> None:
        self.shim = shim
        self.errors: list[BaseException] = []
        self.loop = shim.loop.Loop(self.errors.append)
        self.told: list[Any] = []
        sinks = shim.sinks.Sinks(self.loop, self.told.append, self.told.append)
        self.house = shim.house.House(self.loop, sinks, shim.spawn.Heritage(), self.told.append)
        self.core = shim.corelife.CoreLife(self.house, ["core"], {}, None)
        self.orders = shim.orders.Orders(self.house, self.core, use_cgroups=False, notify="", again=None)
        self.shutdown = shim.shutdown.Shutdown(self.house, self.core)

    def write(self) -> Any:
        return json.loads(json.dumps(self.shim.state.write(self.house, self.core, self.orders, self.shutdown)))

    def read(self, held: Any) -> Parts:
        self.shim.state.read(held, self.house, self.core, self.orders, self.shutdown)
        return self

    def let_go(self) -> None:
        """Have no object close a descriptor later, when its number is somebody else's."""
        self.loop._epoll.close()
        self.loop._streams.close()
        self.core._link._sock.detach()


def furnished(shim: Any, path: Path, child: int, strange: int) -> Parts:
    """Return parts that hold one of everything, in the midst of something."""
    parts = Parts(shim)
    house = parts.house
    order = {"instance": "i", "statedir": f"{path}/s", "rundir": f"{path}/r", "socketgroup": None}
    opening = shim.opening.Opening(house, order, use_cgroups=False)
    opening._fd = os.open(path / "lock", os.O_CREAT | os.O_RDWR)
    parts.orders._opening, parts.orders.opened = opening, 5.0
    parts.orders.memos = {"job:0": {"a": "\udcff"}, "": "own"}
    parts.orders._visits._heard = {("tty:0", 1): {"lease": 7}}
    house.places = opening.places
    house._answers = {"job:0": (3, [{"t": "spawned", "n": 9}])}
    house.pids = {child}
    house.strays._told = {77: 5}
    house.sinks.troubles.note("times", f"{path}/shared", "the times are not kept")
    birth = {"key": "job:0", "run": 3, "stop": [[15, 1.5]], "killgroup": False, "nice": 2, "env": {}}
    _killed(shim, house, birth, child, _streams(shim, house, path))
    _seated(shim, house, birth, child)
    record = SimpleNamespace(run=2, pid=strange, started=100)
    recipe = {**birth, "key": "old:0", "leaf": None, "tags": ["TASKMASTER_RUN=2"], "sinks": {}, "told": {"code": 3}}
    lock = path / "old.lock"
    lock.touch()
    house.runs["old:0", 2] = shim.adopted.Adopted(house, recipe, record, str(lock), -1)
    _linked(parts.core, child)
    return parts


def _streams(shim: Any, house: Any, path: Path) -> list[Any]:
    """Make two streams of a shared file that is full: one has half a line, the other waits."""
    spec = {"path": f"{path}/shared", "index": f"{path}/shared.idx", "maxsize": 5000, "keep": 3, "full": "block"}
    sinks = [house.sinks.attach(spec) for _ in range(2)]
    sinks[0]._losses.begin(OSError(28, "full"), sinks[0].ready, drops=False)
    streams = []
    for name in ("out", "err"):
        ours, theirs = shim.streams.make_fifo(f"{path}/{name}.fifo", None, busy=False)
        os.write(theirs, b"x")
        streams.append(shim.streams.Stream(house.loop, house.sinks, sinks[0], "job:0", f"{path}/{name}.fifo", ours))
    streams[0]._carry = b"half a \xff line"
    streams[0].begin()
    sinks[0].blocked.append(streams[1])
    house.sinks.watched = {f"{path}/shared": 4.0}
    house.sinks._due = {f"{path}/shared": 17}
    return streams


def _killed(shim: Any, house: Any, birth: Any, pid: int, streams: list[Any]) -> None:
    """Add a run that has not reached its exec and is being killed already."""
    run = shim.runs.Run(house, birth, pid, os.pidfd_open(pid), os.pipe()[0])
    run.streams = dict(zip(("out", "err"), streams, strict=True))
    run._killed.go_on([[[77, "mole"]], [[78, "rat"]], [79, 80, 81]])
    run._seen, run.stuck = {pid: 9}, True
    run._deferred, run._killing, run.lock = [(15, True, True)], True, "/lock"
    run._patience = house.loop.after(100, run._lose_patience)
    run.amended = {"nice": 2}
    house.loop.watch(run._pidfd, run._ended)
    house.loop.watch(run._status, run._settled)
    house.runs["job:0", 3] = run
    house.inlets["job:0", 3] = shim.inlets.Inlet(house.loop, os.pipe()[1], terminal=False)
    house.inlets["job:0", 3].put(b"hello", end=True)


def _seated(shim: Any, house: Any, birth: Any, pid: int) -> None:
    """Add a run with a terminal, whose leader has ended."""
    tty, _ = shim.terminals.lay(house, {"key": "tty:0", "run": 1, "tty": True}, None)
    tty._tail += b"painted \x1b[1m"
    tty.total, tty._told, tty._size = 900, 880, (100, 30)
    tty.inlet._queue += b"typed"
    seated = shim.runs.Run(house, {**birth, "key": "tty:0", "run": 1}, pid, -1, -1)
    seated._end = {"code": 0, "at": 1.0, "wall": 2.0}
    seated.streams = {"out": tty}
    house.runs["tty:0", 1] = seated
    house.inlets["tty:0", 1] = tty.inlet


def _linked(core: Any, pid: int) -> None:
    """Add a core in the midst of a frame, with reports that it has not acknowledged."""
    for number in range(3):
        core.ledger.add({"t": "exited", "key": f"k:{number}"})
    core.ledger.acknowledge(1)
    ours, theirs = socket.socketpair()
    theirs.detach()
    core.pid = pid
    core._attend(os.pidfd_open(pid), ours)
    core._link._decoder.feed(b"\0\0\0\x05[{")
    core._link._out += b"unsent"
    core._link.say({"t": "rebind"})
    core.house.keepsakes._given = {("tty:0", 1), ("gone:0", 4)}
    core.house.keepsakes._whose = pid
    core.became_ready()


@pytest.fixture
def children() -> Iterator[list[int]]:
    made = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield [each.pid for each in made]
    for each in made:
        each.kill()
        each.wait()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Close what the test opened: two shims in one process share their descriptors, so neither can."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    for name in set(os.listdir("/proc/self/fd")) - before:
        try:
            os.close(int(name))
        except OSError:
            continue


@pytest.fixture
def full(shim: Any, tmp_path: Path, children: list[int], descriptors: None) -> Iterator[Parts]:
    parts = furnished(shim, tmp_path, *children)
    yield parts
    parts.let_go()


def test_G4_a_state_that_was_read_is_written_as_it_was(shim: Any, full: Parts) -> None:
    held = full.write()
    again = Parts(shim).read(held)
    written = again.write()
    again.let_go()
    assert written["core"].pop("timer") == pytest.approx(held["core"].pop("timer"), abs=0.01)  # from the last beat on
    for name in held:
        assert written[name] == held[name], name
    assert again.errors == []


def test_G4_every_descriptor_of_a_state_is_there_and_of_its_kind(shim: Any, full: Parts) -> None:
    held = full.write()
    kinds = {kind for _, kind, _ in shim.state.descriptors(held)}
    assert kinds == {"a FIFO", "a terminal", "a socket", "a file", "a pidfd"}
    shim.state.check(held)


@pytest.mark.parametrize("kind", ["a FIFO", "a terminal", "a socket", "a file", "a pidfd"])
def test_L10_a_descriptor_of_another_kind_is_refused(shim: Any, full: Parts, kind: str) -> None:
    held = full.write()
    number = next(each for each, what, _ in shim.state.descriptors(held) if what == kind)
    os.dup2(os.memfd_create("wrong") if kind != "a file" else os.pipe()[0], number)
    with pytest.raises(shim.release.Unfit, match=f"descriptor {number} is not {kind}"):
        shim.state.check(held)


def test_L10_a_descriptor_that_is_missing_is_refused(shim: Any, full: Parts) -> None:
    held = full.write()
    number = held["runs"][0]["pidfd"]
    os.close(number)
    with pytest.raises(shim.release.Unfit, match=f"descriptor {number}, a pidfd, is not there"):
        shim.state.check(held)


def test_L10_a_pidfd_of_another_process_is_refused(shim: Any, full: Parts) -> None:
    held = full.write()
    number = held["runs"][0]["pidfd"]
    os.dup2(os.pidfd_open(os.getpid()), number)
    with pytest.raises(shim.release.Unfit, match="is not a pidfd"):
        shim.state.check(held)


@pytest.mark.parametrize("version", [0, 2, 99, None, "1"])
def test_L10_a_state_of_an_unknown_version_is_refused_in_words(shim: Any, version: object) -> None:
    with pytest.raises(shim.release.Unfit, match=r"state is of version .*reads version 1"):
        shim.release.judge(version)


def attributes(thing: object) -> set[str]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return set(getattr(thing, "__dict__", {})) | set(slots)


def test_G4_no_attribute_is_forgotten(shim: Any, full: Parts) -> None:
    """Every attribute of what a shim holds is kept over a renewal, or known to be made anew."""
    state, packing = shim.state, shim.packing
    house, core = full.house, full.core
    run, seated, old = house.runs.values()
    kept = {
        "House": (house, state.HOUSE),
        "Run": (run, state.BIRTH + state.RUN),
        "Adopted": (old, state.BIRTH + state.RUN + state.ADOPTED),
        "Watch": (run._watch, state.WATCH),
        "CoreLife": (core, state.CORE),
        "Ledger": (core.ledger, ()),
        "Link": (core._link, state.LINK),
        "Orders": (full.orders, state.ORDERS),
        "Visits": (full.orders._visits, ()),
        "Shutdown": (full.shutdown, state.SHUTDOWN),
        "Heritage": (house.heritage, state.HERITAGE),
        "Sink": (run.streams["out"].sink, packing.SINK),
        "Losses": (run.streams["out"].sink._losses, packing.LOSSES),
        "Sinks": (house.sinks, packing.SINKS),
        "Times": (run.streams["out"].sink._times, packing.TIMES),
        "Stream": (run.streams["out"], packing.STREAM),
        "Terminal": (seated.streams["out"], packing.STREAM + packing.TERMINAL),
        "Inlet": (house.inlets["job:0", 3], packing.INLET),
        "Oom": (house.oom, state.OOM),
        "Shelf": (house.shelf, ()),
        "Strays": (house.strays, ()),
        "Troubles": (house.sinks.troubles, ()),
        "Keepsakes": (house.keepsakes, ()),
    }
    inherited = {"Adopted": ANEW["Run"], "Terminal": ANEW["Stream"]}
    for name, (thing, names) in kept.items():
        assert type(thing).__name__ == name
        forgotten = attributes(thing) - set(names) - ANEW[name] - inherited.get(name, set())
        assert not forgotten, f"{name} has {forgotten}: see shim/state.py and shim/packing.py"


def test_the_shim_is_of_the_release_of_the_package(shim: Any) -> None:
    from taskmaster_core import __version__, versions

    assert __version__ == shim.release.RELEASE
    assert shim.release.WIRE == versions.WIRE
    assert shim.release.OLDEST_WIRE <= versions.WIRE


def test_L10_why_a_trial_failed_is_the_last_word_and_its_place(shim: Any) -> None:
    said = (
        "Traceback…\n  File \"/a/b.py\", line 3, in <module>\n    import x\nModuleNotFoundError: No module named 'x'\n"
    )
    assert shim.trial.reason(said, 1) == "ModuleNotFoundError: No module named 'x' (/a/b.py, line 3)"
    assert shim.trial.reason("", 1) == "it ended with 1 and said nothing"
    assert shim.trial.reason("the state is old\n", 1) == "the state is old"


def test_command_lines_of_renewals_do_not_grow(shim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["python", "-I", "-S", "/shim", "--no-cgroup", "--resume", "7", "--", "core", "--resume", "x"]
    monkeypatch.setattr(sys, "orig_argv", words)
    said = shim.trial.own_words("--selftest", "9")
    assert said[1:] == ["-I", "-S", "/shim", "--no-cgroup", "--selftest", "9", "--", "core", "--resume", "x"]


def test_timers_due_by_now_are_settled_and_later_ones_wait(shim: Any) -> None:
    loop = shim.loop.Loop(lambda error: None)
    done: list[str] = []
    loop.after(0, lambda: loop.after(0, lambda: done.append("second")))
    loop.at(time.monotonic() + 60, lambda: done.append("late"))
    loop.settle()
    assert done == ["second"]
