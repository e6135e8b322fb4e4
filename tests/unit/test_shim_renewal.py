"""The shim renews itself in place: what it held before the exec it holds after it, and a bad successor is refused."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.shim_harness import (
    PYTHON,
    SHIM,
    Core,
    Report,
    Shim,
    alive,
    output,
    program,
    sink,
    spawn_order,
    wait_for,
)

CGROUPS = [(), ("--no-cgroup",)]


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    made = Shim(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=CGROUPS, ids=["cgroup", "sweep"])
def either(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shim]:
    made = Shim(tmp_path, *request.param)
    yield made
    made.close()


def ask(core: Core, name: str = "r1", **fields: object) -> None:
    core.order({"t": "renew", "id": name, "shim": True, "core": False, "wire": 2, **fields})


def renew(core: Core, name: str = "r1") -> Report:
    ask(core, name)
    told = core.expect("renewed", id=name)
    assert told["ok"], told
    return told


def start(core: Core, order: Report) -> int:
    core.order(order)
    return int(core.expect("spawned", key=order["key"], run=order["run"])["pid"])


def fds(pid: int) -> list[str]:
    return sorted(os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())


def test_G4_pid_jobs_and_wire_stay(shim: Shim) -> None:
    core = shim.open()
    pid = start(core, spawn_order(shim, ["sleep", "60"]))
    told = renew(core)
    assert told["shim"]["pid"] == shim.pid
    assert told["runs"] == 1
    assert alive(pid)
    os.kill(pid, signal.SIGTERM)
    assert core.expect("exited")["signal"] == signal.SIGTERM


def test_G4_many_renewals_leave_no_descriptor_and_no_process_behind(shim: Shim) -> None:
    core = shim.open()
    start(core, spawn_order(shim, ["sleep", "60"]))
    before = None
    for number in range(5):
        renew(core, f"r{number}")
        now = [name for name in fds(shim.pid) if "/proc/" not in name]
        before = before or now
        assert len(now) == len(before), (now, before)
    children = Path(f"/proc/{shim.pid}/task/{shim.pid}/children").read_text().split()
    assert len(children) == 2  # the core and the job
    words = Path(f"/proc/{shim.pid}/cmdline").read_bytes().split(b"\0")
    assert words.count(b"--resume") == 1


def test_G4_nothing_of_ours_is_inherited_by_jobs_after_a_renewal(shim: Shim) -> None:
    core = shim.open()
    start(core, spawn_order(shim, ["sleep", "60"], "a:0", tty=True))
    plain = ["sh", "-c", "ls /proc/self/fd | wc -l"]
    core.order(spawn_order(shim, plain, "b:0"))
    core.expect("exited", key="b:0")
    renew(core)
    core.order(spawn_order(shim, plain, "b:0", run=2))
    core.expect("exited", key="b:0", run=2)
    first, second = output(shim, "b/0.out").split()
    assert first == second


def test_G4_the_core_that_follows_is_told_all_that_was_not_acknowledged(shim: Shim) -> None:
    core = shim.open()
    core.order({"t": "memo", "key": "job:0", "memo": {"tries": 3}})
    core.order(spawn_order(shim, ["sh", "-c", "exit 7"]), spawn_order(shim, ["sleep", "60"], "b:0"))
    core.expect("exited")
    core.expect("spawned", key="b:0")
    core.order({"t": "ack", "n": core.expect("spawned", key="job:0")["n"]})
    renew(core)
    core.tell("kill 9")
    after = shim.core()
    after.order({"t": "open"})
    hello = after.expect("hello")
    assert hello["memos"] == {"job:0": {"tries": 3}}
    assert not hello["first"]
    assert [run["key"] for run in hello["runs"]] == ["b:0"]
    assert after.expect("exited", key="job:0")["code"] == 7
    assert after.all("spawned", key="job:0") == []


def test_G4_the_same_spawn_order_still_starts_nothing_twice(shim: Shim) -> None:
    core = shim.open()
    order = spawn_order(shim, ["sh", "-c", "echo once"])
    core.order(order)
    core.expect("exited")
    renew(core)
    core.order(order)
    core.order(spawn_order(shim, ["true"], "b:0"))
    core.expect("exited", key="b:0")
    assert output(shim) == b"once\n"


def test_G4_a_frame_that_had_half_arrived_is_carried_out(shim: Shim) -> None:
    from taskmaster_core.shim import frames

    core = shim.open()
    frame = frames.encode([spawn_order(shim, ["sleep", "60"])])
    core.order({"t": "renew", "id": "r1", "shim": True, "core": False, "wire": 2})
    core.link.setblocking(True)
    core.link.sendall(frame[:100])
    assert core.expect("renewed")["ok"]
    core.link.setblocking(True)
    core.link.sendall(frame[100:])
    core.expect("spawned")


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.06, 0.1, 0.15, 0.25])
def test_L09_an_exit_at_any_moment_of_a_renewal_is_told_once_and_exactly(shim: Shim, moment: float) -> None:
    core = shim.open()
    for number in range(6):
        start(core, spawn_order(shim, ["sh", "-c", f"sleep {moment + number / 100}; exit {number + 3}"], f"j:{number}"))
    ask(core)
    assert core.expect("renewed")["ok"]
    for number in range(6):
        assert core.expect("exited", key=f"j:{number}")["code"] == number + 3
    assert len(core.all("exited")) == 6


def test_L09_an_exit_while_the_shim_does_not_run_is_told(shim: Shim) -> None:
    """The job ends between the rehearsal and the first turn of the new shim, whenever that is: it is stopped there."""
    core = shim.open()
    pid = start(core, spawn_order(shim, ["sleep", "60"]))
    ask(core)
    wait_for(lambda: b"--resume" in Path(f"/proc/{shim.pid}/cmdline").read_bytes(), "the exec")
    os.kill(shim.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(shim.pid, signal.SIGCONT)
    assert core.expect("renewed")["ok"]
    assert core.expect("exited")["signal"] == signal.SIGKILL


def test_L09_lines_of_a_shared_file_stay_whole(shim: Shim) -> None:
    """Half a line that was read before the exec gets its end after it."""
    core = shim.open()
    shared = f"{shim.path}/shared.log"
    first, second = shim.path / "first", shim.path / "second"
    wait = "until [ -e {} ]; do sleep 0.01; done"
    for number in range(2):
        script = f"{wait.format(first)}; printf 'begun-{number}'; {wait.format(second)}; echo -ended; sleep 60"
        start(core, spawn_order(shim, ["sh", "-c", script], f"j:{number}", out=sink(shim, shared, f"j:{number}")))
    first.touch()
    time.sleep(0.1)  # both halves are with the shim; nothing tells that from outside
    renew(core)
    second.touch()
    wait_for(lambda: Path(shared).exists() and len(Path(shared).read_text().splitlines()) == 2)
    assert sorted(Path(shared).read_text().splitlines()) == ["begun-0-ended", "begun-1-ended"]


def test_L09_a_flood_loses_no_byte_and_rotates_on(shim: Shim) -> None:
    core = shim.open()
    last = 400_000
    flood = spawn_order(shim, program("counter", last, 50), out=sink(shim, "job/0.out", maxsize=1 << 20, keep=100))
    start(core, flood)
    wait_for((shim.state / "logs/job/0.out").exists)
    for number in range(4):
        renew(core, f"r{number}")
    core.expect("exited")
    parts = sorted((shim.state / "logs/job").glob("0.out.2*"), key=lambda part: part.name.rpartition(".")[2])
    data = b"".join(part.read_bytes() for part in parts) + output(shim)
    assert data == b"".join(b"%09d\n" % number for number in range(last))
    assert len(parts) == len(core.all("rotated"))


def test_L29_a_stop_whose_descendants_are_being_swept_goes_on(either: Shim) -> None:
    core = either.open()
    pid = start(core, spawn_order(either, program("daemoniser")))
    wait_for(lambda: output(either).count(b" "))
    tree = [pid, *map(int, output(either).split())]
    ask(core)
    core.order({"t": "kill", "key": "job:0", "run": 1, "tree": True})
    assert core.expect("renewed")["ok"]
    assert core.expect("exited")["signal"] == signal.SIGKILL
    assert not any(alive(each) for each in tree)


def test_G4_what_is_being_stopped_is_told_only_when_its_tree_is_gone(either: Shim) -> None:
    core = either.open()
    script = "trap '' TERM; (trap '' TERM; echo $BASHPID >&2; sleep 60) & echo up; wait; sleep 60"
    start(core, spawn_order(either, ["bash", "-c", f"{script}"]))
    wait_for(lambda: output(either) == b"up\n")
    core.order({"t": "signal", "key": "job:0", "run": 1, "sig": 15, "group": True, "stopping": True})
    renew(core)
    core.tell("kill 9")
    after = either.core()
    after.order({"t": "open"})
    (run,) = after.expect("hello")["runs"]
    assert run["stopping"] is True
    after.order({"t": "kill", "key": "job:0", "run": 1, "tree": True})
    assert after.expect("exited")["signal"] == signal.SIGKILL


def test_G4_descendants_that_linger_are_known_and_told_when_they_end(either: Shim) -> None:
    core = either.open()
    start(core, spawn_order(either, program("daemoniser", "exit")))
    first = core.expect("exited")
    assert first["lingering"] == 2
    renew(core)
    assert len(core.all("exited")) == 1
    for pid in map(int, output(either).split()):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: core.all("exited", lingering=0), "the rest of it is gone")
    assert len(core.all("exited")) == 2


def test_G4_a_run_that_has_not_reached_its_exec_gets_there(shim: Shim) -> None:
    """Its program is being written, so it tries again for 150 ms; there it is stopped for the time of the renewal."""
    core = shim.open()
    path = shim.path / "program"
    path.write_text("#!/bin/sh\nsleep 60\n")
    path.chmod(0o755)
    with path.open("a"):
        core.order(spawn_order(shim, [str(path)]))
        core.order({"t": "signal", "key": "job:0", "run": 1, "sig": 10, "group": False, "stopping": False})
        children = Path(f"/proc/{shim.pid}/task/{shim.pid}/children")
        pid = wait_for(lambda: [int(each) for each in children.read_text().split() if int(each) != core.pid])[0]
        os.kill(pid, signal.SIGSTOP)
        ask(core)
        assert core.expect("renewed")["ok"]
        assert core.all("spawned") == []
    os.kill(pid, signal.SIGCONT)
    assert core.expect("spawned")["pid"] == pid
    assert core.expect("exited")["signal"] == 10


# Terminals and input ----------------------------------------------------------------------------------------------


def typed(text: bytes, **fields: object) -> Report:
    data = base64.b64encode(text).decode()
    return {"t": "input", "key": "job:0", "run": 1, "data": data, "end": False, "id": "i", **fields}


def test_G4_a_terminal_keeps_its_screen_its_size_and_its_job(shim: Shim) -> None:
    core = shim.open()
    script = "tty; printf 'painted\\n'; while read line; do echo \"heard $line\"; stty size; done"
    pid = start(core, spawn_order(shim, ["sh", "-c", script], tty=True))
    core.order({"t": "resize", "key": "job:0", "run": 1, "columns": 101, "rows": 33})
    wait_for(lambda: b"painted" in output(shim))
    core.order({"t": "screen", "id": "s", "key": "job:0", "run": 1, "since": 0, "lease": "l"})
    before = core.expect("screen", id="s")
    core.order(typed(b"one\n", lease="l", n=1))
    wait_for(lambda: b"33 101" in output(shim))
    renew(core)
    assert alive(pid)
    core.order(typed(b"two\n", lease="l", n=2))
    wait_for(lambda: output(shim).count(b"33 101") == 2)
    core.order({"t": "screen", "id": "t", "key": "job:0", "run": 1, "since": 0, "lease": "l"})
    after = core.expect("screen", id="t")
    assert base64.b64decode(after["data"]) == output(shim)
    assert (after["offset"], after["heard"], after["size"]) == (before["offset"], 2, [101, 33])
    assert any(b"heard two" in base64.b64decode(each["data"]) for each in core.all("output")), "told as before"


def test_G4_a_pipe_stays_open_and_what_waits_in_it_is_read(shim: Shim) -> None:
    core = shim.open()
    go = shim.path / "go"
    script = f"until [ -e {go} ]; do sleep 0.01; done; cat"
    start(core, spawn_order(shim, ["sh", "-c", script], stdin="pipe"))
    text = b"".join(b"%07d\n" % number for number in range(12_000))  # more than the kernel's buffer of 64 KiB
    core.order(typed(text[:60_000], id="a"), typed(text[60_000:], id="b", end=True))
    assert core.expect("took", id="b")["why"] == ""
    renew(core)
    go.touch()
    assert core.expect("exited")["code"] == 0
    assert output(shim) == text


def test_G4_the_core_is_given_a_terminal_once_and_told_when_a_pipe_is_closed(shim: Shim) -> None:
    core = shim.open()
    start(core, spawn_order(shim, ["cat"], "t:0", tty=True))
    start(core, spawn_order(shim, ["sh", "-c", "cat; sleep 60"], stdin="pipe"))
    wait_for(lambda: len(core.all("fds")) == 2)
    renew(core)
    core.order(typed(b"bye", end=True))
    told = core.expect("fds", what="none")
    assert (told["key"], told["run"]) == ("job:0", 1)
    assert len(core.all("fds")) == 3


# Refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Shim]:
    """Run a shim of a copy of the sources, which may be changed."""
    source = tmp_path / "taskmaster_core" / "shim"
    shutil.copytree(SHIM, source, ignore=shutil.ignore_patterns("__pycache__"))
    made = Shim(tmp_path, source=source)
    yield made
    made.close()


def source(shim: Shim, name: str) -> Path:
    return shim.path / "taskmaster_core" / "shim" / name


BROKEN = {
    "syntax": ("runs.py", "def (:\n", "SyntaxError"),
    "import": ("tree.py", "import no_such_module\n", "No module named 'no_such_module'"),
    "exit": ("loop.py", "raise SystemExit('changed my mind')\n", "changed my mind"),
    "dies": (
        "loop.py",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
        "it ended with 9 and said nothing",
    ),
    "field": ("state.py", "def read(held, *_):\n    raise KeyError(held['no_such_field'])\n", "no_such_field"),
    "older": ("release.py", "STATE = OLDEST_STATE = 0\n", "the running shim's state is of version 1"),
    "newer": ("release.py", "STATE = OLDEST_STATE = 2\n", "reads version 2"),
    "wire": ("release.py", "OLDEST_WIRE = 3\n", "upgrade the core first"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_L10_a_broken_new_version_is_refused_in_words_and_the_old_one_goes_on(copied: Shim, kind: str) -> None:
    name, text, words = BROKEN[kind]
    core = copied.open()
    pid = start(core, spawn_order(copied, ["sleep", "60"]))
    path = source(copied, name)
    good = path.read_text()
    path.write_text(f"{good}\n{text}")
    ask(core)
    told = core.expect("renewed")
    assert (told["ok"], told["part"]) == (False, "shim")
    assert words in told["why"]
    assert alive(pid)
    path.write_text(good)
    renew(core, "r2")
    os.kill(pid, signal.SIGTERM)
    core.expect("exited")


def test_G4_a_fit_version_is_not_refused_for_what_its_rehearsal_has_let_go_of(copied: Shim) -> None:
    """Objects that a rehearsal makes close their descriptors when they are collected: it must have looked by then."""
    core = copied.open()
    pid = start(core, spawn_order(copied, ["sleep", "60"]))
    path = source(copied, "state.py")
    collects = "import gc\n_check = check\n\ndef check(held):\n    gc.collect()\n    _check(held)\n"
    path.write_text(f"{path.read_text()}\n{collects}")
    for name in ("r1", "r2"):
        renew(core, name)
    assert alive(pid)


def test_L10_a_new_version_that_says_nothing_is_given_up(copied: Shim) -> None:
    core = copied.open()
    release = source(copied, "trial.py")
    release.write_text(release.read_text().replace("PATIENCE = 20.0", "PATIENCE = 0.5"))
    renew(core)
    release.write_text(release.read_text() + "\nimport time\ntime.sleep(60)\n")
    ask(core, "r2")
    assert "did not answer within 0.5 s" in core.expect("renewed", id="r2")["why"]
    assert not [pid for pid in copied.marked() if b"--selftest" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_L10_an_exec_that_the_kernel_refuses_changes_nothing(copied: Shim) -> None:
    core = copied.open()
    pid = start(core, spawn_order(copied, ["sleep", "60"], tty=True))
    python = copied.path / "python"
    trial = source(copied, "trial.py")
    changed = trial.read_text().replace("return [sys.executable, *options", f'return ["{python}", *options')
    python.symlink_to(PYTHON)
    trial.write_text(changed)
    renew(core)
    trial.write_text(changed + f"\nif '--selftest' in sys.argv:\n    os.unlink('{python}')\n")
    before = fds(copied.pid)
    ask(core, "r2")
    told = core.expect("renewed", id="r2")
    assert (told["ok"], told["why"]) == (False, "the kernel does not start it: No such file or directory")
    wait_for(lambda: len(fds(copied.pid)) == len(before))
    core.order(spawn_order(copied, ["sh", "-c", "ls -l /proc/self/fd"], "b:0"))
    core.expect("exited", key="b:0")
    assert b"ptmx" not in output(copied, "b/0.out"), "descriptors are kept from jobs again"
    assert alive(pid)


def test_a_renewal_while_everything_is_being_stopped_is_refused(shim: Shim) -> None:
    core = shim.open()
    start(core, spawn_order(shim, ["sleep", "60"]))
    os.kill(shim.pid, signal.SIGTERM)
    core.expect("shutdown")
    ask(core)
    assert core.expect("renewed")["why"] == "everything is being stopped"
    core.order({"t": "bye", "code": 0})
    core.tell("exit 0")
    assert shim.wait() == 0


def test_a_stop_that_is_asked_for_during_a_rehearsal_wins(copied: Shim) -> None:
    core = copied.open()
    release = source(copied, "release.py")
    release.write_text(release.read_text() + "\nimport time\ntime.sleep(0.5)\n")
    ask(core)
    wait_for(lambda: [pid for pid in copied.marked() if b"--selftest" in Path(f"/proc/{pid}/cmdline").read_bytes()])
    os.kill(copied.pid, signal.SIGTERM)
    core.expect("shutdown")
    assert core.expect("renewed")["why"] == "everything is being stopped"
    core.order({"t": "bye", "code": 3})
    core.tell("exit 0")
    assert copied.wait() == 3


def test_a_signal_that_comes_during_the_exec_is_heard(shim: Shim) -> None:
    core = shim.open()
    stop = threading.Event()

    def pester() -> None:
        while not stop.is_set():
            os.kill(shim.pid, signal.SIGHUP)
            time.sleep(0.002)

    thread = threading.Thread(target=pester)
    thread.start()
    try:
        for number in range(3):
            renew(core, f"r{number}")
    finally:
        stop.set()
        thread.join()
    assert core.all("reload")
    core.reports.clear()
    os.kill(shim.pid, signal.SIGHUP)
    core.expect("reload")


def test_a_shim_that_is_killed_in_a_rehearsal_takes_it_along(copied: Shim) -> None:
    """The child has a copy of the wire: it must not keep the core from seeing that the shim is dead."""
    core = copied.open()
    release = source(copied, "release.py")
    release.write_text(release.read_text() + "\nimport time\ntime.sleep(30)\n")
    ask(core)
    wait_for(lambda: [pid for pid in copied.marked() if b"--selftest" in Path(f"/proc/{pid}/cmdline").read_bytes()])
    os.kill(copied.pid, signal.SIGKILL)
    copied.process.wait()
    core.expect_closed()
    os.kill(core.pid, signal.SIGKILL)
    wait_for(lambda: not copied.marked())


def test_a_second_renewal_at_the_same_time_is_refused_and_the_same_again_is_not(shim: Shim) -> None:
    core = shim.open()
    ask(core, "r1")
    ask(core, "r2")
    ask(core, "r1")
    assert core.expect("renewed", id="r2")["why"] == "another upgrade is under way"
    assert core.expect("renewed", id="r1")["ok"]
    assert len(core.all("renewed", id="r1")) == 1


# The core ---------------------------------------------------------------------------------------------------------


def test_G3_a_core_that_makes_room_is_followed_at_once_and_without_complaint(shim: Shim) -> None:
    core = shim.open()
    began = time.monotonic()
    core.tell("exit 75")
    shim.core()
    assert time.monotonic() - began < 5
    assert "ended with" not in shim.errors()


def test_L10_a_core_that_cannot_start_is_told_and_the_old_one_goes_on(shim: Shim) -> None:
    """The stand-in core does not know `--selftest`: it ends without an answer."""
    core = shim.open()
    core.order({"t": "renew", "id": "r1", "shim": False, "core": True, "wire": 2})
    told = core.expect("renewed")
    assert (told["ok"], told["part"]) == (False, "core")
    core.order({"t": "beat"})
    renew(core, "r2")
    assert not core.closed


def test_hello_tells_the_versions(shim: Shim) -> None:
    core = shim.core()
    core.order(shim.open_order())
    hello = core.expect("hello")
    assert (hello["v"], hello["oldest_v"], hello["release"]) == (2, 1, "0.1.0")


def test_a_rehearsal_by_hand_says_what_it_is(tmp_path: Path) -> None:
    words = [PYTHON, "-I", "-S", str(SHIM), "--selftest"]
    assert subprocess.run(words, check=False, capture_output=True, text=True).stderr.startswith("usage: ")
    state = os.memfd_create("state", 0)
    os.write(state, json.dumps({"v": 77}).encode())
    os.lseek(state, 0, os.SEEK_SET)
    done = subprocess.run([*words, str(state), "--", "core"], check=False, capture_output=True, pass_fds=[state])
    assert done.returncode == 1
    assert b"state is of version 77" in done.stderr
