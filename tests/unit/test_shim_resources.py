"""What the shim does when pipes, processors or the room for its own files are short (RELIABILITY G14, R05, R09)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.shim_harness import SHIM, Core, Shim, alive, output, program, sink, spawn_order, wait_for

PR_CAPBSET_DROP, SYS_ADMIN, SYS_RESOURCE = 24, 21, 24
MEMORY_OF_A_USER = 16384
"""Pages that the pipes of a user without privileges may take (fs.pipe-user-pages-soft)."""


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path)
    yield shim
    shim.close()


@pytest.fixture
def core(shim: Shim) -> Core:
    return shim.open()


# Pipes ---------------------------------------------------------------------------------------------------------------


def drop_privileges() -> None:
    """Give up what lets root take more pipe memory than others."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (SYS_ADMIN, SYS_RESOURCE):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@contextlib.contextmanager
def all_pipe_memory_taken() -> Iterator[None]:
    """Hold so many big pipes that others of this user get small ones."""
    held: list[int] = []
    try:
        for _ in range(MEMORY_OF_A_USER // 256):
            held += os.pipe()
            fcntl.fcntl(held[-1], fcntl.F_SETPIPE_SZ, 1 << 20)
        yield
    except OSError:
        pytest.skip("this user may not take so much pipe memory")
    finally:
        for fd in held:
            os.close(fd)


def test_G14_with_small_pipes_all_output_is_kept_and_that_is_said_once(tmp_path: Path) -> None:
    if Path("/proc/sys/fs/pipe-user-pages-soft").read_text().strip() != str(MEMORY_OF_A_USER):
        pytest.skip("the limit on pipe memory is another one here")
    with all_pipe_memory_taken():
        shim = Shim(tmp_path, preexec_fn=drop_privileges)
        try:
            core = shim.open()
            for number in range(2):
                core.order(spawn_order(shim, program("counter", 100_000, 1000), f"j:{number}"))
            core.expect("spawned", key="j:1")
            fifo = os.open(shim.state / "fifo" / "j%3A0.out", os.O_RDONLY | os.O_NONBLOCK)
            size = fcntl.fcntl(fifo, fcntl.F_GETPIPE_SZ)
            os.close(fifo)
            for number in range(2):
                core.expect("exited", key=f"j:{number}")
                assert output(shim, f"j/{number}.out") == b"".join(b"%09d\n" % each for each in range(100_000))
            if size >= 1 << 16:
                pytest.skip("the privileges that lift the limit could not be given up")
            assert shim.errors().count("pipes stay small") <= 1
        finally:
            shim.close()


# Processors ----------------------------------------------------------------------------------------------------------

SPIN = "import os\nos.sched_setaffinity(0, {0})\nos.nice(%d)\nwhile True:\n    pass"


def test_R09_a_core_that_gets_no_processor_is_not_taken_for_hung(tmp_path: Path) -> None:
    """Wait ten times as long for a core that is ready to run and has no processor; one that sleeps is replaced."""
    spin = [sys.executable, "-I", "-S", "-c", SPIN % 0]
    # Of sessions of their own: with autogroups the core's session shares a processor evenly with each other session.
    hogs = [subprocess.Popen(spin, start_new_session=True) for _ in range(6)]
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.6"})
    try:
        wait_for(lambda: all(os.sched_getaffinity(hog.pid) == {0} for hog in hogs), "the hogs are at it")
        core = shim.open()
        if not Path(f"/proc/{core.pid}/schedstat").exists():
            pytest.skip("the kernel does not count for how long a process waited for a processor")
        os.sched_setaffinity(core.pid, {0})
        os.setpriority(os.PRIO_PROCESS, core.pid, 19)
        core.order({"t": "beat"})
        core.tell("spin")
        core.receive(2.0)  # three times the patience for a core that sleeps
        assert alive(core.pid)
        assert "silent" not in shim.errors()
        os.kill(core.pid, signal.SIGSTOP)  # not ready to run any more
        shim.core()
        assert "silent" in shim.errors()
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
        shim.close()


@pytest.fixture
def corelife(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with _imported("corelife", monkeypatch) as module:
        yield module


@contextlib.contextmanager
def _imported(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of the shim by its plain name, for one test only."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(SHIM))
    yield importlib.import_module(name)
    for each in set(sys.modules) - known:
        if str(getattr(sys.modules[each], "__file__", "")).startswith(str(SHIM)):
            del sys.modules[each]


@pytest.mark.parametrize(
    ("ran", "waited", "state", "hangs"),
    [
        pytest.param(0.1, 0.0, "R", False, id="waits, which is not counted before it is over"),
        pytest.param(0.1, 9.0, "S", False, id="sleeps for a moment, after it had waited"),
        pytest.param(9.9, 0.0, "R", True, id="runs all the time"),
        pytest.param(0.1, 0.0, "S", True, id="sleeps"),
        pytest.param(0.1, 0.0, "T", True, id="is stopped"),
        pytest.param(-3.0, -4.0, "R", True, id="is not counted here"),
    ],
)
def test_R09_only_a_core_that_wants_to_run_and_cannot_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, corelife: Any, ran: float, waited: float, state: str, hangs: bool
) -> None:
    now, shares = 100.0, (3.0, 4.0)
    monkeypatch.setattr(corelife, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(corelife, "_shares", lambda _: shares)
    monkeypatch.setattr(corelife.tree, "look", lambda _: SimpleNamespace(state=state))
    silence = corelife.Silence(10.0)
    silence.begin(7)
    assert silence.wait(ready=True) == 10.0
    now, shares = 110.0, (3.0 + ran, 4.0 + waited)
    assert silence.judge(7, ready=True) == (None if hangs else 5.0)
    now, shares = 200.0, (3.0 + 10 * ran, 4.0 + 10 * waited)
    silence._due = now
    assert silence.judge(7, ready=True) is None, "ten times as long, not for ever"


def test_R09_a_shim_that_was_stopped_itself_does_not_blame_the_core(tmp_path: Path) -> None:
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.6"})
    try:
        core = shim.open()
        core.order({"t": "beat"})
        os.kill(shim.pid, signal.SIGSTOP)
        with contextlib.suppress(OSError):
            core.order({"t": "beat"})
        core.receive(0.9)  # longer than its patience, by less than what tells that it was not scheduled
        os.kill(shim.pid, signal.SIGCONT)
        for _ in range(6):
            core.order({"t": "beat"})
            core.receive(0.2)
        assert alive(core.pid)
        assert "silent" not in shim.errors()
    finally:
        shim.close()


# Room ----------------------------------------------------------------------------------------------------------------


def test_R05_times_that_cannot_be_kept_are_told_once_and_kept_again(shim: Shim, core: Core, tmp_path: Path) -> None:
    """Keep the output itself whole while its index cannot be written."""
    place = tmp_path / "index"
    place.write_text("in the way")
    out = sink(shim, str(tmp_path / "f"), index=str(place / "f.idx"))
    core.order(spawn_order(shim, program("counter", 10**8, 1, 0.005), out=out))
    found = core.expect("trouble", part="times", over=False)
    assert found["name"] == str(tmp_path / "f")
    size = (tmp_path / "f").stat().st_size
    wait_for(lambda: (tmp_path / "f").stat().st_size > size)
    place.unlink()
    core.expect("trouble", part="times", over=True)
    wait_for(lambda: (place / "f.idx").stat().st_size > 24)
    assert [report["over"] for report in core.all("trouble")] == [False, True]


def test_R05_a_rotation_that_fails_is_told_once_and_made_up_for(shim: Shim, core: Core, tmp_path: Path) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    out = sink(shim, str(place / "f"), index=None, maxsize=2000)
    if subprocess.run(["chattr", "+a", str(place)], check=False, capture_output=True).returncode != 0:
        pytest.skip("a directory that takes new files and lets none be renamed cannot be made here")
    try:
        core.order(spawn_order(shim, program("counter", 10**8, 10, 0.005), out=out))
        core.expect("trouble", part="rotation", over=False)
        wait_for(lambda: (place / "f").stat().st_size > 8000)
        assert len(core.all("trouble")) == 1
    finally:
        subprocess.run(["chattr", "-a", str(place)], check=True)


def test_R05_the_next_core_is_told_what_is_still_wrong(shim: Shim, core: Core, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    core.order(spawn_order(shim, program("counter", 10**8, 1, 0.005), out=sink(shim, str(place / "f"), index=None)))
    wait_for((place / "f").exists)
    place.rename(tmp_path / "away")
    (tmp_path / "away" / "f").unlink()
    core.expect("loss", over=False)
    core.tell("kill 9")
    hello = shim.open().expect("hello")
    text = f"output to {place / 'f'} is being lost: {errno.errorcode[errno.ENOENT]}"
    assert hello["troubles"] == [{"part": "log", "name": str(place / "f"), "text": text}]


def test_L08_a_lock_file_takes_its_room_before_the_fork(shim: Shim, core: Core) -> None:
    core.order(spawn_order(shim, ["sleep", "600"]))
    core.expect("spawned")
    lock = shim.state / "runs" / "job%3A0.lock"
    text = lock.read_bytes()
    assert text.endswith(b"}\n"), "no more than the record is left once it is written"


def test_L19_why_a_start_failed_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    many = os.strerror(errno.EMFILE)
    with _imported("sentences", monkeypatch) as module:
        assert module.sentence("fork", errno.EMFILE, many).count(many) == 1
        assert module.sentence("chdir", errno.ENOENT, "/nowhere").endswith(f"{os.strerror(errno.ENOENT)}: /nowhere")
