"""What the machine lacks is said in one line, explained by `doctor`, told once, and over by itself (G9, G12).

Each test takes something away from a running daemon (room, a directory, processes, the shim's time), looks at the five
things that must hold, gives it back, and looks again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskmaster_core import wire
from taskmaster_core.errors import TaskmasterError
from tests.harness import ROOT as ROOT_DIR
from tests.harness import Daemon, alive, cmdline_of
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, read, words

OFF = '[taskmaster]\nautoreload = "off"\n'
SLEEP = '"sleep 1000"'
STEADY = job("web", SLEEP)
QUICK = "{ first = 0.05, max = 0.2 }"
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it mounts a small file system")


def troubles(it: Daemon) -> list[str]:
    return [str(each) for each in it.status()["core"]["troubles"]]


def told(it: Daemon, kind: str) -> list[bool]:
    """Return whether each event of this kind was an end."""
    return [bool(event.data.get("over")) for event in it.events(kind)]


def in_trouble(it: Daemon, *pieces: str, timeout: float = 15.0) -> str:
    """Wait until one line says all this, in `status`; assert that `doctor` has it with a remedy. Return the line."""

    def line() -> str:
        return next((each for each in troubles(it) if all(piece in each for piece in pieces)), "")

    found = it.wait(line, timeout, f"status says {pieces}")
    said = it.cli("status")
    assert found in said.stderr
    assert said.stderr.startswith("trouble: ")
    lines = it.cli("doctor").stdout.splitlines()
    place = next((number for number, text in enumerate(lines) if found in text), -1)
    assert place >= 0, f"doctor says nothing of {found!r}"
    assert lines[place + 1].strip().startswith("->"), "with a remedy"
    return found


def well(it: Daemon, timeout: float = 20.0) -> None:
    """Wait until `status` is clean."""
    it.wait(lambda: not troubles(it), timeout, "all is well again")
    assert "trouble" not in it.cli("status").stderr


@contextlib.contextmanager
def small_disk(path: Path, size: str = "1m") -> Iterator[Path]:
    """Mount a small file system, for root in a place where mounting is allowed."""
    path.mkdir(parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Make a directory read-only for whoever opens something there from now on."""
    if subprocess.run(["mount", "--bind", str(place), str(place)], check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is; return the file that has it."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return ballast


def signalled(it: Daemon) -> bool:
    """Have something happen, so that there is something to be written."""
    return bool(it.request("signal", "other", signal="CONT"))


def die(it: Daemon, key: str) -> None:
    """SIGKILL a process."""
    pid = it.proc(key).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


# Output -------------------------------------------------------------------------------------------------------------


@ROOT
def test_G01_a_full_log_disk_is_one_line_told_once_marked_in_the_file_and_over_by_itself(daemon_for: Start) -> None:
    it = daemon_for(OFF)
    with small_disk(it.dir / "small") as disk:
        path = disk / "ticks.txt"
        it.config_path.write_text(OFF + job("ticks", cmd("counter.py", 10**8, 1, 0.002), stdout=f'"{path}"'))
        it.start()
        pid = it.wait_state("ticks:0", "running").pid
        it.wait(lambda: read(path).count("\n") > 3)
        ballast = fill(disk)
        in_trouble(it, str(path), "ENOSPC")
        it.kill_core()
        in_trouble(it, str(path), "ENOSPC")
        assert told(it, "log_trouble") == [False], "once, whatever is lost meanwhile, and not again by the next core"
        ballast.unlink()
        well(it)
        it.wait(lambda: read(path).count("\n") > 6 and "bytes dropped, ENOSPC]" in read(path), what="the marker")
        assert told(it, "log_trouble") == [False, True]
        assert it.proc("ticks:0").pid == pid
        assert it.stop() == 0


@ROOT
def test_G02_a_read_only_log_disk_is_a_loss_until_it_is_writable(daemon: Start) -> None:
    it = daemon("")
    place = it.dir / "place"
    place.mkdir()
    path = place / "ticks.txt"
    it.write_config(OFF + job("ticks", cmd("counter.py", 10**8, 1, 0.002), stdout=f'"{path}"'))
    it.request("reload")
    it.wait(lambda: read(path).count("\n") > 3)
    with read_only(place):
        os.kill(it.shim_pid, signal.SIGUSR2)
        in_trouble(it, str(path), "EROFS")
    well(it)
    it.wait(lambda: "bytes dropped, EROFS]" in read(path))
    assert told(it, "log_trouble") == [False, True]


def test_G04_a_log_directory_that_goes_and_comes_is_one_line_for_all_who_write_there(daemon: Start) -> None:
    ticker = cmd("counter.py", 10**8, 1, 0.002)
    it = daemon("")
    place = it.dir / "place"
    place.mkdir()
    it.write_config(OFF + job("ticks", ticker, numprocess="3", stdout=f'"{place}/{{index}}.txt"'))
    it.request("reload")
    it.wait(lambda: len(list(place.iterdir())) == 3 and all(it.pids().values()))
    pids = it.pids()
    away = place.rename(it.dir / "away")
    for path in away.iterdir():
        path.unlink()
    line = in_trouble(it, "output to", "ENOENT", "2 more")
    assert troubles(it) == [line]
    assert told(it, "log_trouble") == [False] * 3
    away.rename(place)
    well(it)
    assert sorted(told(it, "log_trouble")) == [False] * 3 + [True] * 3
    assert it.pids() == pids


def test_G04_losses_of_a_job_that_is_stopped_are_over_when_there_is_room_again(daemon: Start) -> None:
    it = daemon("")
    place = it.dir / "place"
    place.mkdir()
    path = place / "t.txt"
    it.write_config(OFF + job("ticks", cmd("counter.py", 10**8, 1, 0.002), stdout=f'"{path}"'))
    it.request("reload")
    it.wait(lambda: read(path).count("\n") > 3)
    away = place.rename(it.dir / "away")
    (away / "t.txt").unlink()
    in_trouble(it, "ENOENT")
    it.request("stop", "ticks")
    assert troubles(it), "what was lost is still to be said in the file"
    away.rename(place)
    well(it)
    assert "bytes dropped, ENOENT]" in read(path)
    assert told(it, "log_trouble") == [False, True]


def test_G04_troubles_that_a_shim_told_of_are_over_with_its_death_and_told_anew_by_the_next(daemon: Start) -> None:
    it = daemon("")
    place = it.dir / "place"
    place.mkdir()
    path = place / "t.txt"
    it.write_config(OFF + job("ticks", cmd("counter.py", 10**8, 1, 0.002), stdout=f'"{path}"'))
    it.request("reload")
    it.wait(lambda: read(path).count("\n") > 3)
    away = place.rename(it.dir / "away")
    (away / "t.txt").unlink()
    in_trouble(it, "ENOENT")
    it.kill_shim()
    it.wait(lambda: told(it, "log_trouble")[:3] == [False, True, False], what="over, and told anew")
    away.rename(place)
    well(it)
    assert told(it, "log_trouble") == [False, True, False, True]


# The state directory ------------------------------------------------------------------------------------------------


def on_disk(it: Daemon, disk: Path) -> None:
    it.env["XDG_STATE_HOME"] = str(disk)
    it.start()


@ROOT
def test_R05_a_full_state_directory_keeps_no_job_from_starting_and_none_from_being_found(daemon_for: Start) -> None:
    web, late = job("web", SLEEP, restart='"always"', backoff=QUICK), job("late", SLEEP, autostart="false")
    it = daemon_for(OFF + web + job("other", SLEEP) + late)
    with small_disk(it.dir / "small", "4m") as disk:
        on_disk(it, disk)
        it.wait_state("web:0", "running")
        other = it.proc("other:0").pid
        it.wait(lambda: fill(disk) and signalled(it) and "off" in str(troubles(it)), 40, "no reserve is left")
        for _ in range(3):
            run = it.proc("web:0").run
            ballast = fill(disk)
            die(it, "web:0")
            it.wait(lambda run=run: it.proc("web:0").run > run and it.proc("web:0").state == "running", what="again")
        it.request("start", "late")
        in_trouble(it, "the state directory", "No space left")
        pids = it.pids()
        it.kill_shim()
        assert it.pids() == pids, "its record was found in the run directory"
        assert pids["other:0"] == other
        ballast.unlink()
        well(it, 45)
        it.request("restart", "late")
        assert not list(Path(it.places.rundir, "runs").glob("late*")), "its record is where it belongs"
        assert it.stop() == 0
        it.process = None  # ended; where its lock stood is gone in a moment


@ROOT
def test_R05_a_full_state_directory_is_no_reason_not_to_start(daemon_for: Start) -> None:
    it = daemon_for(OFF + STEADY)
    with small_disk(it.dir / "small", "4m") as disk:
        on_disk(it, disk)
        it.wait_state("web:0", "running")
        it.stop()
        ballast = fill(disk)
        it.start()
        it.wait_state("web:0", "running")
        in_trouble(it, "the state directory")
        in_trouble(it, "the journal is off")
        ballast.unlink()
        well(it, 45)
        assert it.stop() == 0


@ROOT
def test_R05_a_read_only_state_directory_is_survived_and_the_config_is_kept_later(daemon: Start) -> None:
    web = job("web", SLEEP, restart='"always"', backoff=QUICK)
    it = daemon(OFF + web)
    pid = it.wait_state("web:0", "running").pid
    with read_only(it.statedir):
        die(it, "web:0")
        it.wait(lambda: it.proc("web:0").pid not in (None, pid), what="it is started again")
        in_trouble(it, "the state directory", "Read-only")
        it.write_config(OFF + web + job("more", SLEEP, retry="0", backoff=QUICK))
        assert it.request("reload", timeout=30)["generation"] == 2
        in_trouble(it, "the applied config could not be kept on disk")
        in_trouble(it, "more:0 cannot be started now")
    well(it, 45)
    it.wait_state("more:0", "running")
    assert Path(it.places.generations, "2.json").exists()
    assert told(it, "generations_trouble") == [False, True]
    assert told(it, "state_trouble") == [False, True]


def test_R05_a_removed_state_directory_is_made_again_with_the_records_of_what_runs(daemon: Start) -> None:
    it = daemon(OFF + job("web", SLEEP, numprocess="3") + job("late", SLEEP, autostart="false"))
    it.wait(lambda: {each.state for each in it.procs("web")} == {"running"})
    pids = it.pids("web")
    subprocess.run(["rm", "-rf", str(it.statedir)], check=True)
    it.request("start", "late")
    assert (it.statedir / "shim.lock").read_text().split() == [str(it.shim_pid)]
    it.kill_shim()
    assert it.pids("web") == pids, "the next shim has found them"
    well(it, 45)


# Processes and memory -----------------------------------------------------------------------------------------------


def controller(name: str) -> Path | None:
    """Return a place to make a control group with this controller in, in either hierarchy."""
    old = Path("/sys/fs/cgroup") / name
    if (old / "cgroup.procs").exists() and os.access(old, os.W_OK):
        return old
    new = Path("/sys/fs/cgroup")
    controllers = new / "cgroup.subtree_control"
    if controllers.exists() and name in controllers.read_text().split() and os.access(new, os.W_OK):
        return new
    return None


@pytest.fixture
def group() -> Iterator[Callable[[str], Path]]:
    """Make control groups; they are emptied into their parents and removed."""
    made: list[Path] = []

    def make(name: str) -> Path:
        above = controller(name)
        if above is None:
            pytest.skip(f"no control group with a {name} controller can be made here")
        path = above / f"taskmaster-test-{os.getpid()}-{len(made)}"
        path.mkdir()
        made.append(path)
        return path

    yield make
    for path in made:
        for pid in (path / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (path.parent / "cgroup.procs").write_text(pid)
        path.rmdir()


def test_R04_a_full_process_table_is_waited_out_and_uses_up_no_retry(
    daemon: Start, group: Callable[[str], Path]
) -> None:
    it = daemon(OFF + STEADY + job("late", SLEEP, autostart="false", retry="1", backoff=QUICK))
    pid = it.wait_state("web:0", "running").pid
    limited = group("pids")
    (limited / "cgroup.procs").write_text(str(it.shim_pid))
    (limited / "pids.max").write_text("1")
    it.request("start", "late", wait=False)
    found = in_trouble(it, "late:0", "cannot be started now")
    assert "fork" in found or "process" in found
    it.wait(lambda: it.proc("late:0").restarts > 4, what="it is tried on and on")
    assert it.proc("late:0").tries == 0
    assert told(it, "starts_trouble") == [False]
    (limited / "pids.max").write_text("max")
    it.wait_state("late:0", "running")
    well(it)
    assert told(it, "starts_trouble") == [False, True]
    assert it.proc("web:0").pid == pid


# The shim -----------------------------------------------------------------------------------------------------------


def test_L11_a_stopped_shim_is_said_not_to_answer_and_everything_goes_on_afterwards(daemon: Start) -> None:
    ticks = cmd("counter.py", 10**8, 1, 0.002)
    it = daemon(OFF + STEADY + job("ticks", ticks), env={"TM_TEST": "1", "TM_BEAT_TIMEOUT": "2.5"})
    it.wait_state("web:0", "running")
    pids, core = it.pids(), it.core_pid
    os.kill(it.shim_pid, signal.SIGSTOP)
    try:
        found = in_trouble(it, "the shim", "does not answer")
        assert f"kill -CONT {it.shim_pid}" in found
        it.request("stop", "web", wait=False)
        assert it.ping()
    finally:
        os.kill(it.shim_pid, signal.SIGCONT)
    it.wait_state("web:0", "stopped")
    well(it)
    assert told(it, "shim_trouble") == [False, True]
    assert (it.core_pid, it.pids()["ticks:0"]) == (core, pids["ticks:0"])


def test_G13_with_the_shim_stopped_a_job_waits_in_write_and_loses_nothing(daemon: Start) -> None:
    """Block a job when its pipe is full while nobody reads; it goes on, without SIGPIPE and without a gap."""
    it = daemon(OFF + job("flood", cmd("counter.py", 1_000_000, 100)))
    pid = it.wait(lambda: it.proc("flood:0").pid)
    assert pid is not None
    it.wait(lambda: it.output("flood:0"))
    os.kill(it.shim_pid, signal.SIGSTOP)
    try:
        it.wait(lambda: "pipe_write" in Path(f"/proc/{pid}/wchan").read_text() or sleeps(pid), what="it waits")
        assert alive(pid)
    finally:
        os.kill(it.shim_pid, signal.SIGCONT)
    end = it.wait_state("flood:0", "exited", timeout=60).exit
    assert end is not None
    assert end.code == 0
    assert [int(line) for line in it.output("flood:0").split()] == list(range(1_000_000))


def sleeps(pid: int) -> bool:
    """Tell whether a process waits, and has not done anything since a moment ago."""

    def used() -> list[str]:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]

    before = used()
    time.sleep(0.3)
    return before == used()


# Memory -------------------------------------------------------------------------------------------------------------

HOG = "x = []\nwhile True:\n    x.append(bytearray(1 << 20))"


def limit_memory(place: Path, size: int) -> None:
    """Let a control group have so many bytes, in either hierarchy, and no swap."""
    name = "memory.max" if (place / "memory.max").exists() else "memory.limit_in_bytes"
    (place / name).write_text(str(size))
    with contextlib.suppress(OSError):
        (place / "memory.swap.max").write_text("0")


def test_R03_a_job_killed_for_want_of_memory_says_so(daemon: Start, group: Callable[[str], Path]) -> None:
    place = group("memory")
    limit_memory(place, 64 << 20)
    code = f"open('{place}/cgroup.procs', 'w').write('0')\n{HOG}"
    hungry = words(sys.executable, "-I", "-S", "-c", code)
    it = daemon(OFF + STEADY + job("hog", hungry, restart='"never"'))
    web = it.proc("web:0").pid
    view = it.wait_state("hog:0", "exited", "fatal", timeout=30)
    assert view.exit is not None
    assert (view.exit.signal, view.exit.oom) == ("SIGKILL", "yes")
    assert "out of memory" in view.reason
    assert "out of memory" in it.cli("why", "hog").stdout
    assert it.wait_event("exited", "hog:0").data["oom"] == "yes"
    assert "out of memory" in it.cli("events").stdout
    assert it.proc("web:0").pid == web


def test_R03_a_job_killed_by_hand_is_not_said_to_have_run_out_of_memory(daemon: Start) -> None:
    it = daemon(OFF + job("web", SLEEP, restart='"never"'))
    it.wait_state("web:0", "running")
    die(it, "web:0")
    view = it.wait_state("web:0", "exited", "fatal")
    assert view.exit is not None
    assert (view.exit.signal, view.exit.oom) == ("SIGKILL", "")


def test_R03_a_core_killed_for_want_of_memory_costs_no_job(daemon: Start, group: Callable[[str], Path]) -> None:
    it = daemon(OFF + STEADY)
    it.wait_state("web:0", "running")
    pids, old = it.pids(), it.core_pid
    place = group("memory")
    (place / "cgroup.procs").write_text(str(old))
    with contextlib.suppress(OSError):  # what it has is not moved with it in the old hierarchy: it may fit at first
        limit_memory(place, 1 << 20)

    def replaced() -> bool:
        with contextlib.suppress(OSError):
            limit_memory(place, 64 << 10)
        with contextlib.suppress(TaskmasterError):  # what fits into memory that it has already would not be counted
            it.request("status", "x" * (wire.MAX_FRAME // 2), timeout=1)
        return not alive(old)

    it.wait(replaced, 30, "the kernel has killed it")
    it.wait(lambda: it.core_pid != old)
    assert it.pids() == pids
    assert "because memory ran out" in it.stderr()


@ROOT
def test_R03_the_shim_is_the_last_that_the_kernel_chooses(daemon: Start) -> None:
    sparing = ["sh", "-c", "echo -900 > /proc/self/oom_score_adj"]
    if subprocess.run(sparing, check=False, capture_output=True).returncode != 0:
        pytest.skip("even root may not lower its score here (CAP_SYS_RESOURCE)")
    it = daemon(OFF + STEADY)
    it.wait_state("web:0", "running")

    def score(pid: int | None) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    mine = score(os.getpid())
    assert (score(it.shim_pid), score(it.core_pid), score(it.proc("web:0").pid)) == (-900, mine, mine)


# Much, starved, and taken away ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_R08_ten_thousand_processes_with_a_thousand_running_are_asked_within_a_tenth_of_a_second(
    daemon: Start,
) -> None:
    idle = job("idle", SLEEP, numprocess="9000", autostart="false")
    it = daemon("[taskmaster]\nautoreload = 'off'\nmaxstarts = 32\n" + idle + job("busy", SLEEP, numprocess="1000"))
    deepest, trips = 0, []

    def all_run() -> bool:
        nonlocal deepest
        asked = time.monotonic()
        states = [each.state for each in it.procs("busy")]
        trips.append(time.monotonic() - asked)
        deepest = max(deepest, states.count("starting"))
        return states.count("running") == 1000

    it.wait(all_run, 120, "a thousand run")
    assert deepest <= 32, "no more than maxstarts begin at a time"
    for _ in range(50):
        asked = time.monotonic()
        assert it.request("ping")
        trips.append(time.monotonic() - asked)
    assert statistics.median(trips) < 0.1


def test_R10_without_its_files_the_shim_works_on_and_the_next_core_comes_with_them(daemon_for: Start) -> None:
    it = daemon_for(OFF + STEADY + job("flap", '"sleep 0.5"', restart='"always"', retry='"forever"'))
    site = it.dir / "site" / "taskmaster_core"
    shutil.copytree(ROOT_DIR / "taskmaster_core", site, ignore=shutil.ignore_patterns("__pycache__"))
    it.env["PYTHONPATH"] = str(site.parent)
    it.start()
    it.wait_state("web:0", "running")
    pids, old = it.pids("web"), it.core_pid
    assert str(site) in " ".join(cmdline_of(it.shim_pid))
    away = site.rename(it.dir / "away")
    site.mkdir()
    (site / "__init__.py").touch()  # so that no other installation is found in its place
    run = it.proc("flap:0").run
    it.wait(lambda: it.proc("flap:0").run > run, what="the shim starts and reaps as before")
    os.kill(old, signal.SIGKILL)
    it.wait(lambda: it.stderr().count("the core ended with status") >= 2, what="why no core comes is said")
    assert "No module named" in it.stderr(20_000)
    assert alive(it.shim_pid)
    assert all(alive(pid) for pid in pids.values() if pid is not None)
    shutil.rmtree(site)
    away.rename(site)
    it.wait(lambda: it.core_pid != old, 20, "the next core")
    assert it.pids("web") == pids


@ROOT
def test_C19_without_inotify_the_config_is_polled_and_status_says_so(daemon_for: Start) -> None:
    it = daemon_for(OFF.replace("off", "apply") + STEADY)
    inside = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    wrapped = ["unshare", "--user", "--map-root-user", "sh", "-c", inside, "sh"]
    if subprocess.run([*wrapped, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no user namespace can be made here")
    command = [*wrapped, *it.command("core", "-f", str(it.config_path))]
    with it.stderr_path.open("ab") as err:
        it.process = subprocess.Popen(
            command, env=it.env, cwd=it.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err, start_new_session=True
        )
    it.wait(it.ping, 20, "the core answers")
    in_trouble(it, "config files are looked at every 2 s", "inotify")
    it.write_config(OFF.replace("off", "apply") + STEADY + job("more", SLEEP))
    it.wait_state("more:0", "running")
