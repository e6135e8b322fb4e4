"""What a killed shim left running is taken over by the next: alive, with output, tree and end (L06 to L08, G5, G6)."""

from __future__ import annotations

import base64
import errno
import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.shim import frames, pidfds, rights
from tests.unit.shim_harness import SHIM, Core, Shim, alive, output, program, sink, spawn_order, wait_for

exact = pytest.mark.skipif(not pidfds.TOLD, reason="the kernel (before 6.15) does not tell how strangers ended")


class House:
    """Hold one state directory and the shims that had it, one after the other."""

    def __init__(self, path: Path, options: tuple[str, ...]) -> None:
        self._path = path
        self._options = options
        self.shims: list[Shim] = []
        self.first = self._make()

    def _make(self) -> Shim:
        place = self._path / str(len(self.shims))
        place.mkdir()
        self.shims.append(Shim(place, *self._options))
        return self.shims[-1]

    def begin(self, *orders: Any) -> Core:
        """Open the first and have it carry out spawn orders."""
        core = self.first.open()
        core.order(*orders)
        wait_for(lambda: len(core.all("spawned")) == len(orders))
        return core

    def kill(self, core: Core) -> None:
        """Kill the newest shim and its core."""
        shim = self.shims[-1]
        for pid in (shim.pid, core.pid):
            os.kill(pid, signal.SIGSTOP)
        shim.process.kill()
        shim.process.wait()
        with suppress(ProcessLookupError):
            os.kill(core.pid, signal.SIGKILL)
        wait_for(lambda: not alive(core.pid))
        core.close()

    def next(self) -> Core:
        """Start another shim on the same state and return its core, which was greeted."""
        return self._make().open(statedir=str(self.first.state))

    def close(self) -> None:
        """End them all; what runs carries the mark of the first."""
        for shim in reversed(self.shims):
            shim.close()


@pytest.fixture(params=[(), ("--no-cgroup",)], ids=["cgroup", "sweep"])
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    made = House(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def swept(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, ("--no-cgroup",))
    yield made
    made.close()


def hello(core: Core) -> dict[str, Any]:
    return core.expect("hello")


def runs_of(core: Core) -> dict[str, tuple[int, int]]:
    return {each["key"]: (each["run"], each["pid"]) for each in hello(core)["runs"]}


def halt(core: Core, key: str = "job:0", run: int = 1, signum: int = 15) -> None:
    core.order({"t": "signal", "key": key, "run": run, "sig": signum, "group": True, "stopping": True})


def kill_tree(core: Core, key: str = "job:0", run: int = 1) -> None:
    core.order({"t": "kill", "key": key, "run": run, "tree": True})


def test_L07_what_lives_is_taken_over_with_its_pid_and_start(house: House) -> None:
    core = house.begin(*(spawn_order(house.first, program("sleeper"), f"j:{n}", run=n + 3) for n in range(3)))
    before = {each["key"]: (each["run"], each["pid"], each["at"]) for each in core.all("spawned")}
    house.kill(core)
    again = house.next()
    found = {each["key"]: (each["run"], each["pid"], each["at"]) for each in hello(again)["runs"]}
    assert {key: each[:2] for key, each in found.items()} == {key: each[:2] for key, each in before.items()}
    assert all(abs(found[key][2] - before[key][2]) < 0.5 for key in found)
    assert all(alive(pid) for _, pid, _ in before.values())
    assert not again.all("adopted")


def test_L06_output_goes_on_in_the_same_file_with_its_index(house: House) -> None:
    core = house.begin(spawn_order(house.first, program("counter", 900, 1, 0.001)))
    wait_for(lambda: len(output(house.first)) > 2000)
    house.kill(core)
    again = house.next()
    again.expect("exited", key="job:0")
    assert output(house.first) == b"".join(b"%09d\n" % number for number in range(900))
    index = Path(f"{house.first.state}/logs/job/0.out.idx").read_bytes()
    assert len(index) % 24 == 0
    entries = [(int.from_bytes(index[i : i + 8], "little"), int.from_bytes(index[i + 20 : i + 24], "little"))
               for i in range(0, len(index), 24)]  # fmt: skip
    assert entries == sorted(entries)
    offset, length = entries[-1]
    assert offset + length == 9_000


@exact
@pytest.mark.parametrize("status", [0, 7, 255])
def test_L40_the_exit_code_of_an_adopted_run_is_exact(swept: House, status: int) -> None:
    go = swept.first.path / "go"
    argv = ["sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; exit {status}"]
    swept.kill(swept.begin(spawn_order(swept.first, argv)))
    again = swept.next()
    go.touch()
    assert again.expect("exited", key="job:0")["code"] == status


@exact
def test_L40_the_signal_that_ended_an_adopted_run_is_exact(swept: House) -> None:
    core = swept.begin(spawn_order(swept.first, program("sleeper")))
    pid = core.expect("spawned")["pid"]
    swept.kill(core)
    again = swept.next()
    os.kill(pid, signal.SIGUSR1)
    assert again.expect("exited", key="job:0")["signal"] == signal.SIGUSR1


def test_L40_what_ended_while_nobody_looked_is_told_as_unknown_never_as_0(house: House) -> None:
    core = house.begin(spawn_order(house.first, ["sh", "-c", "read x < /dev/null; sleep 0.3; exit 0"]))
    pid = core.expect("spawned")["pid"]
    house.kill(core)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())  # reaped: nobody knows any more
    again = house.next()
    assert runs_of(again) == {"job:0": (1, pid)}
    told = again.expect("exited", key="job:0", run=1)
    assert "code" not in told
    assert "signal" not in told
    assert told["lingering"] == 0


def test_G5_a_stop_of_an_adopted_tree_ends_all_of_it(house: House) -> None:
    core = house.begin(
        spawn_order(house.first, program("daemoniser"), "daemon:0"),
        spawn_order(house.first, program("forker"), "forker:0"),
        spawn_order(house.first, program("stubborn"), "stubborn:0"),
    )
    wait_for(lambda: output(house.first, "daemon/0.out") and output(house.first, "stubborn/0.out"))
    house.kill(core)
    again = house.next()
    left = house.first.marked()
    assert len(left) >= 6
    for key in ("daemon:0", "forker:0", "stubborn:0"):
        halt(again, key)
        kill_tree(again, key)
        assert again.expect("exited", key=key)["lingering"] == 0
    assert not house.first.marked()
    assert not list((house.first.state / "runs").iterdir())


def test_G5_the_next_shim_stops_adopted_ones_by_their_recipe_without_a_core(house: House) -> None:
    argv = ["sh", "-c", "trap 'echo got int; exit 0' INT; echo up; while :; do sleep 0.02; done"]
    core = house.begin(spawn_order(house.first, argv, stop=[[2, 5.0]]))
    wait_for(lambda: output(house.first))
    house.kill(core)
    house.next()
    shim = house.shims[-1]
    shim.process.send_signal(signal.SIGTERM)
    shim.cores[-1].order({"t": "bye", "code": 0})
    os.kill(shim.cores[-1].pid, signal.SIGKILL)
    assert shim.wait() == 0
    assert output(house.first) == b"up\ngot int\n"
    assert not house.first.marked()


def test_G5_descendants_of_a_leader_that_ended_are_known(house: House) -> None:
    core = house.begin(spawn_order(house.first, program("daemoniser", "exit")))
    core.expect("exited", lingering=2)
    house.kill(core)
    again = house.next()
    assert hello(again)["runs"] == []  # its end was told before
    kill_tree(again)
    assert again.expect("exited", lingering=0)["code"] == 0
    assert not house.first.marked()


def test_G5_a_leader_that_ends_between_two_shims_leaves_its_descendants_known(house: House) -> None:
    core = house.begin(spawn_order(house.first, program("daemoniser")))
    wait_for(lambda: output(house.first))
    pid = core.expect("spawned")["pid"]
    house.kill(core)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    again = house.next()
    told = again.expect("exited", key="job:0")
    assert (told.get("code"), told.get("signal"), told["lingering"]) == (None, None, 2)
    kill_tree(again)
    again.expect("exited", key="job:0", lingering=0)
    assert not house.first.marked()


def test_G5_a_second_death_changes_nothing(house: House) -> None:
    core = house.begin(spawn_order(house.first, program("counter", 900, 1, 0.002)))
    pid = core.expect("spawned")["pid"]
    for _ in range(2):
        house.kill(core)
        core = house.next()
        assert runs_of(core) == {"job:0": (1, pid)}
    core.expect("exited", key="job:0", run=1)
    assert output(house.first) == b"".join(b"%09d\n" % number for number in range(900))


def test_an_end_that_crosses_orders_to_kill_is_told_once(swept: House) -> None:
    core = swept.begin(*(spawn_order(swept.first, program("sleeper"), f"j:{n}") for n in range(5)))
    pids = [each["pid"] for each in core.all("spawned")]
    swept.kill(core)
    again = swept.next()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while len({each["key"] for each in again.all("exited")}) < 5:
        for number in range(5):
            kill_tree(again, f"j:{number}")
        again.receive(0.005)
    again.order(spawn_order(swept.first, ["true"], "after:0"))
    again.expect("exited", key="after:0")
    assert len(again.all("exited")) == 6
    assert not swept.shims[-1].errors()


def test_L08_no_second_copy_is_started_beside_an_adopted_one(house: House) -> None:
    house.kill(house.begin(spawn_order(house.first, program("sleeper"))))
    again = house.next()
    again.order(spawn_order(house.first, program("sleeper"), run=2))
    assert again.expect("failed", run=2)["errno"] == "EEXIST"
    halt(again)
    again.expect("exited", run=1)
    again.order(spawn_order(house.first, program("sleeper"), run=3))
    again.expect("spawned", run=3)


def test_L34_a_pid_that_is_somebody_elses_now_is_neither_adopted_nor_hit(swept: House) -> None:
    core = swept.begin(spawn_order(swept.first, program("sleeper")))
    pid = core.expect("spawned")["pid"]
    swept.kill(core)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    lock = swept.first.state / "runs" / "job%3A0.lock"
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as stranger:
        lock.write_text(f"{stranger.pid} {lock.read_text().split(' ', 1)[1]}")  # the number came round again
        again = swept.next()
        told = again.expect("exited", key="job:0")
        assert "code" not in told
        halt(again)
        kill_tree(again)
        again.order({"t": "ack", "n": told["n"]}, spawn_order(swept.first, ["true"], "after:0"))
        again.expect("exited", key="after:0")
        assert stranger.poll() is None
        stranger.kill()


def test_a_child_that_never_wrote_its_record_is_ended(swept: House) -> None:
    swept.kill(swept.begin())
    lock = swept.first.state / "runs" / "job%3A0.lock"
    script = "import fcntl,sys,time; f=open(sys.argv[1],'w'); fcntl.flock(f,2); print(flush=True); time.sleep(100)"
    with subprocess.Popen(["python3", "-c", script, str(lock)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        again = swept.next()
        assert child.wait(10) == -signal.SIGKILL
        assert hello(again)["runs"] == []
        assert not lock.exists()


def test_what_runs_in_another_pid_namespace_is_left_and_gets_no_copy(swept: House) -> None:
    core = swept.begin(spawn_order(swept.first, program("sleeper")))
    pid = core.expect("spawned")["pid"]
    swept.kill(core)
    lock = swept.first.state / "runs" / "job%3A0.lock"
    here = os.stat("/proc/self/ns/pid").st_ino
    lock.write_text(lock.read_text().replace(f'"pidns":{here}', f'"pidns":{here + 1}'))
    again = swept.next()
    assert "another pid namespace" in again.expect("adopted")["message"]
    assert hello(again)["runs"] == []
    again.order(spawn_order(swept.first, program("sleeper"), run=2))
    assert again.expect("failed", run=2)["errno"] == "EEXIST"
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_what_was_changed_while_it_ran_holds_after_the_shims_death(swept: House) -> None:
    core = swept.begin(spawn_order(swept.first, program("counter", 100_000, 1, 0.002)))
    core.order(
        {"t": "recipe", "key": "job:0", "run": 1, "stop": [[12, 3.0]], "killgroup": False, "nice": 3},
        {"t": "sink", "key": "job:0", "run": 1, "out": sink(swept.first, "job/other")},
    )
    wait_for(lambda: output(swept.first, "job/other"))
    swept.kill(core)
    now = json.loads((swept.first.state / "runs" / "job%3A0.now").read_text())
    assert (now["stop"], now["killgroup"], now["nice"]) == ([[12, 3.0]], False, 3)
    swept.next()
    size = len(output(swept.first, "job/other"))
    wait_for(lambda: len(output(swept.first, "job/other")) > size)


def test_output_of_an_older_run_goes_on_though_its_fifo_has_lost_its_name(swept: House) -> None:
    old = ["sh", "-c", "(while :; do echo old; sleep 0.02; done) & exit 0"]
    core = swept.begin(spawn_order(swept.first, old, out=sink(swept.first, "job/old")))
    core.expect("exited", run=1)
    core.order(spawn_order(swept.first, program("counter", 100_000, 1, 0.01), run=2, out=sink(swept.first, "job/new")))
    core.expect("spawned", run=2)
    wait_for(lambda: output(swept.first, "job/new"))
    swept.kill(core)
    swept.next()
    sizes = [len(output(swept.first, name)) for name in ("job/old", "job/new")]
    wait_for(lambda: len(output(swept.first, "job/old")) > sizes[0] and len(output(swept.first, "job/new")) > sizes[1])


# -- terminals and pipes, of which the core has copies ----------------------------------------------------------------


class Keeper:
    """Be a core that keeps what a shim gives it, and hands it to the next."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.groups: rights.Groups = []
        self.held: dict[str, tuple[str, list[int]]] = {}
        self._decoder = frames.Decoder()

    def take(self, *keys: str) -> None:
        """Read until all of these are held; nothing else reads this wire meanwhile."""

        def come() -> bool:
            try:
                data = rights.receive(self.core.link, 1 << 16, self.groups)
            except BlockingIOError:
                return False
            for frame in self._decoder.feed(data):
                for report in frame:
                    self.core.reports.append(report)
                    if report["t"] == "fds" and report["what"] != "none":
                        rights.close(self.held.pop(report["key"], ("", []))[1])
                        self.held[report["key"]] = (report["what"], rights.claim(self.groups, report["what"]))
            return set(keys) <= set(self.held)

        wait_for(come, f"copies of {keys}")

    def hand_to(self, core: Core) -> None:
        for key, (what, fds) in self.held.items():
            rights.send(core.link, frames.encode([rights.frame_of(key, 1, what)]), tuple(fds))

    def close(self) -> None:
        for _, fds in self.held.values():
            rights.close(fds)
        self.held.clear()


def tty_order(shim: Shim, words: str, key: str) -> dict[str, Any]:
    return spawn_order(shim, ["/bin/sh", "-c", words], key, tty=True, err={"kind": "out"})


def typed(text: str, key: str, **fields: Any) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {"t": "input", "key": key, "run": 1, "data": data, **fields}


def open_with(house: House, keeper: Keeper) -> Core:
    """Start the next shim, which is given what was kept before anything else."""
    shim = house._make()
    core = shim.core()
    keeper.hand_to(core)
    core.order(shim.open_order(statedir=str(house.first.state)))
    core.expect("hello")
    core.order({"t": "ready"})
    return core


@pytest.fixture
def kept(house: House) -> Iterator[tuple[House, Keeper]]:
    """A terminal and a pipe, copies of both, and the shim that made them killed."""
    core = house.first.open()
    keeper = Keeper(core)
    core.order(
        tty_order(house.first, "stty -echo; echo up; exec cat", "tty:0"),
        spawn_order(house.first, ["/bin/cat"], "pipe:0", stdin="pipe"),
    )
    keeper.take("tty:0", "pipe:0")
    wait_for(lambda: output(house.first, "tty/0.out") == b"up\r\n", "it is up")
    house.kill(core)
    yield house, keeper
    keeper.close()


def test_G05_terminal_and_pipe_go_on_with_the_copies_a_core_has_kept(kept: tuple[House, Keeper]) -> None:
    house, keeper = kept
    core = open_with(house, keeper)
    assert {each["key"] for each in hello(core)["runs"]} == {"tty:0", "pipe:0"}
    core.order(typed("one\n", "tty:0", id="a"), typed("two\n", "pipe:0", id="b"))
    assert (core.expect("took", id="a")["why"], core.expect("took", id="b")["why"]) == ("", "")
    wait_for(lambda: output(house.first, "tty/0.out") == b"up\r\none\r\n", "the terminal hears and is logged")
    wait_for(lambda: output(house.first, "pipe/0.out") == b"two\n", "the pipe too")
    core.order({"t": "screen", "id": "c", "key": "tty:0", "run": 1})
    shown = core.expect("screen", id="c")
    assert base64.b64decode(shown["data"]) == b"up\r\none\r\n"
    assert shown["offset"] > 1 << 20, "higher than any before"


def test_G05_the_end_of_an_input_waits_for_the_copy_and_holds_for_the_next_shim(kept: tuple[House, Keeper]) -> None:
    """A shim that is killed after it closed a pipe has the copy closed by the next."""
    house, keeper = kept
    core = open_with(house, keeper)
    core.order(typed("last\n", "pipe:0", end=True, id="a"))
    assert core.expect("took", id="a")["why"] == ""
    told = core.expect("fds", key="pipe:0")
    assert (told["what"], "n" in told) == ("none", True)
    assert core.all("exited") == []  # a copy is open still: ours
    house.kill(core)
    core = open_with(house, keeper)
    assert core.expect("fds", key="pipe:0")["what"] == "none"
    keeper.close()
    assert "lost" not in core.expect("exited", key="pipe:0")
    assert output(house.first, "pipe/0.out") == b"last\n"


def test_G06_what_nobody_has_kept_is_lost_and_the_end_says_so(kept: tuple[House, Keeper]) -> None:
    house, keeper = kept
    keeper.close()
    core = house.next()
    assert core.expect("exited", key="tty:0")["lost"] == "terminal"
    assert core.expect("exited", key="pipe:0")["lost"] == "pipe"


def test_what_is_handed_over_for_no_run_is_closed_and_said(house: House) -> None:
    core = house.first.open()
    read, write = os.pipe()
    rights.send(core.link, frames.encode([rights.frame_of("gone:0", 3, "pipe")]), (write,))
    os.close(write)
    house.kill(core)
    shim = house._make()
    core = shim.core()
    rights.send(core.link, frames.encode([rights.frame_of("gone:0", 3, "pipe")]), (read,))
    core.order(shim.open_order(statedir=str(house.first.state)))
    assert core.expect("fds", key="gone:0", run=3)["what"] == "none"
    pipes = [os.readlink(f"/proc/{shim.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{shim.pid}/fd")]
    assert f"pipe:[{os.fstat(read).st_ino}]" not in pipes
    os.close(read)


@pytest.fixture
def shim_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import modules of the shim by the names they have for each other."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(SHIM))
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(SHIM)):
            del sys.modules[name]


# -- who may not be signalled -----------------------------------------------------------------------------------------


def test_a_leader_that_became_somebody_else_ends_no_stop_of_the_others(
    shim_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EPERM from one of many left the others unasked, and the end of everything without an end."""

    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", forbidden)
    monkeypatch.setattr(signal, "pidfd_send_signal", forbidden)
    for run, kind in ((shim_module("runs"), "Run"), (shim_module("adopted"), "Adopted")):
        made = object.__new__(getattr(run, kind))
        made.pid, made._pidfd, made._end = 4711, 3, None
        for group in (True, False):
            made._send(signal.SIGTERM, group)


# -- what was on the screen of a terminal -----------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path, shim_module: Callable[[str], Any]) -> Callable[..., bytes]:
    """Return what is restored of a log, given its text and its index: (offset, wall, tag, length)."""
    keepsakes = shim_module("keepsakes")

    def restored(
        text: bytes, *records: tuple[int, float, int, int], since: float = 100.0, tag: str = "tty:0"
    ) -> bytes:
        (tmp_path / "log").write_bytes(text)
        (tmp_path / "index").write_bytes(b"".join(struct.pack("<QdII", *each) for each in records))
        (tmp_path / "index.tags").write_text("tty:0\ntty:1\n" if any(each[2] for each in records) else "tty:0\n")
        spec = {"path": str(tmp_path / "log"), "index": str(tmp_path / "index")}
        found: bytes = keepsakes.picture(spec, since, tag)
        return found

    return restored


@pytest.mark.parametrize(
    ("text", "records", "shown"),
    [
        (b"old\nnew\n", [(0, 50.0, 0, 4), (4, 101.0, 0, 4)], b"new\n"),
        (b"old\nnew\nlast\n", [(0, 50.0, 0, 4), (4, 101.0, 0, 4)], b"new\nlast\n"),  # no index yet
        (b"old\nnew\n", [(0, 50.0, 0, 4)], b"new\n"),
        (b"new\n", [], b"new\n"),
        (b"old\n", [(0, 50.0, 0, 4)], b""),
        (b"mine\nhers\n", [(0, 101.0, 0, 5), (5, 102.0, 1, 5)], b""),
        (b"mine\nhers\nwhose\n", [(0, 50.0, 0, 5), (5, 51.0, 1, 5)], b""),
        (b"cut\n", [(0, 50.0, 0, 400)], b""),
        (b"hers\n", [(0, 101.0, 1, 5)], b""),
        (b"damaged\n", [(1 << 63, 50.0, 0, (1 << 32) - 1)], b""),
        (b"damaged\n", [((1 << 64) - 1, float("nan"), (1 << 32) - 1, (1 << 32) - 1)], b""),
    ],
)  # fmt: skip
def test_G05_what_was_on_a_screen_is_what_its_run_has_written(
    picture: Callable[..., bytes], text: bytes, records: list[tuple[int, float, int, int]], shown: bytes
) -> None:
    assert picture(text, *records) == shown


def test_G05_a_log_that_was_not_written_since_the_run_began_is_not_on_its_screen(picture: Callable[..., bytes]) -> None:
    assert picture(b"of somebody else\n", since=time.time() + 60) == b""


def test_G05_without_an_index_nothing_of_a_log_that_others_write_to_is_on_a_screen(
    picture: Callable[..., bytes],
) -> None:
    assert picture(b"hers\n", tag="tty:7") == b""


def test_G05_a_log_that_cannot_be_read_makes_an_empty_screen(
    picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    assert picture(b"new\n", (0, 101.0, 0, 4)) == b""
