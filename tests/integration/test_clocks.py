"""A whole instance whose clocks move: steps of the wall clock, suspends, starvation (G11, K01-K04).

The clock of the host is never touched. A small library that is preloaded into shim and core moves what they read
(`tests/programs/moved_clock.c`), and a time namespace gives them an uptime of their own.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PROGRAMS, Daemon, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job

HOUR = 3600.0
YEAR = 31536000.0


class Clocks:
    """What shim and core read: the wall clock and CLOCK_BOOTTIME, as far as a test has moved them."""

    def __init__(self, directory: Path, library: Path) -> None:
        path = directory / "clocks"
        path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            self._moved = mmap.mmap(file.fileno(), 16)
        self.env = {"LD_PRELOAD": str(library), "TM_MOVED_CLOCK": str(path)}
        self.wall = self.boot = 0.0

    def _write(self) -> None:
        self._moved[:] = struct.pack("<qq", int(self.wall * 1e9), int(self.boot * 1e9))

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall += seconds
        self._write()

    def suspend(self, seconds: float) -> None:
        """Sleep: both clocks go on, CLOCK_MONOTONIC and all programs stand still."""
        self.wall += seconds
        self.boot += seconds
        self._write()

    def close(self) -> None:
        self._moved.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: the library that moves clocks cannot be made")
    made = tmp_path_factory.mktemp("clock") / "moved_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(PROGRAMS / "moved_clock.c"), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the library that moves clocks cannot be made: {built.stderr[-300:]}")
    return made


@pytest.fixture
def clocks(tmp_path: Path, library: Path) -> Iterator[Clocks]:
    made = Clocks(tmp_path, library)
    yield made
    made.close()


def pids_of(it: Daemon) -> dict[str, int | None]:
    return {each.key: each.pid for each in it.procs()}


def age(it: Daemon, key: str) -> float:
    """Return for how long a process runs, as a client sees it."""
    status = it.request("status")
    started = next(each["started_at"] for j in status["jobs"] for each in j["processes"] if each["key"] == key)
    return float(status["core"]["now"]) - float(started)


def gapless(events: list[Any]) -> bool:
    numbers = [each.seq for each in events]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# K01 -----------------------------------------------------------------------------------------------------------------


def test_K01_steps_of_the_wall_clock_change_nothing(daemon: Start, clocks: Clocks) -> None:
    """A wall clock set by a year and back, or by a second again and again, kills, restarts and ages nothing."""
    jobs = job("web", cmd("sleeper.py"), numprocess="3") + job("slow", cmd("sleeper.py"), successdelay="3600")
    waits = job("bad", cmd("flapper.py", 0, 1), retry='"forever"', backoff="{first = 600, max = 600}")
    it = daemon(jobs + waits, env=clocks.env)
    it.wait_state("bad:0", "backoff")
    it.wait_state("web:2", "running")
    before, core, shim, last = pids_of(it), it.core_pid, it.shim_pid, it.events()[-1].seq
    for step in (YEAR, -2 * YEAR, YEAR, *([1.0, -1.0] * 20)):
        clocks.step(step)
        assert 0 <= age(it, "web:0") < 60
    told = it.events(since=last)
    assert not [each for each in told if each.type not in ("notice", "shim_trouble")], told
    assert (pids_of(it), it.core_pid, it.shim_pid) == (before, core, shim)
    assert {each.key: each.state for each in it.procs("slow", "bad")} == {"slow:0": "starting", "bad:0": "backoff"}


@pytest.mark.parametrize("step", [YEAR, -YEAR])
def test_K01_events_keep_their_order_and_commands_their_effect(daemon: Start, clocks: Clocks, step: float) -> None:
    """Events bear the wall time and a number; the number orders them, whatever the wall clock does meanwhile."""
    it = daemon(job("web", cmd("sleeper.py")), env=clocks.env)
    it.wait_state("web:0", "running")
    it.request("restart", "web")
    clocks.step(step)
    it.request("restart", "web")
    clocks.step(-step)
    it.request("stop", "web")
    events = it.events()
    assert gapless(events)
    starts = [each for each in events if each.type == "started"]
    assert [each.data["run"] for each in starts] == [1, 2, 3]
    assert starts[2].at - starts[1].at == pytest.approx(step, abs=60)
    assert it.proc("web:0").state == "stopped"


def test_K01_output_keeps_its_order_over_a_step_back(daemon: Start, clocks: Clocks) -> None:
    """No line of output is lost, doubled or put elsewhere because the clock was set back while it was written."""
    it = daemon(job("count", cmd("counter.py", 400, 1, 0.005), restart='"never"'), env=clocks.env)
    it.wait(lambda: len(it.output("count:0")) > 500, what="some output")
    clocks.step(-YEAR)
    it.wait_state("count:0", "exited", timeout=20)
    said = it.cli("logs", "count", "-n", "1000").stdout.split()
    assert said == [f"{number:09}" for number in range(400)]


@pytest.mark.parametrize("step", [YEAR, -YEAR])
def test_K01_core_that_comes_back_after_a_step_knows_everything(daemon: Start, clocks: Clocks, step: float) -> None:
    """A core that is replaced after the clock was set goes on with the same processes, waits and ages."""
    waits = job("bad", cmd("flapper.py", 0, 1), retry='"forever"', backoff="{first = 600, max = 600}")
    it = daemon(job("web", cmd("sleeper.py")) + waits, env=clocks.env)
    it.wait_state("bad:0", "backoff")
    it.wait_state("web:0", "running")
    before = pids_of(it)
    clocks.step(step)
    it.kill_core()
    assert pids_of(it) == before
    assert 0 <= age(it, "web:0") < 60
    status = it.request("status", "bad")
    process = status["jobs"][0]["processes"][0]
    assert 0 < process["next_start_at"] - status["core"]["now"] <= 660


# K02 -----------------------------------------------------------------------------------------------------------------


def test_K02_suspend_of_8_hours_ends_every_wait_once(daemon: Start, clocks: Clocks) -> None:
    """Starting, stopping and waiting processes find their time over after a suspend, and each is dealt with once."""
    jobs = [
        job("slow", cmd("sleeper.py"), successdelay="3600"),
        job("deaf", cmd("stubborn.py"), stopdelay="3600", autostart="true"),
        job("calm", cmd("sleeper.py")),
    ]
    it = daemon("".join(jobs), env=clocks.env)
    it.wait(lambda: "ready" in it.output("deaf:0"), what="the stubborn one ignores TERM")
    it.request("stop", "deaf", wait=False)
    it.wait_state("deaf:0", "stopping")
    calm = it.proc("calm:0").pid
    clocks.suspend(8 * HOUR)
    it.wait_state("slow:0", "running", timeout=15)
    it.wait_state("deaf:0", "stopped", timeout=15)
    assert it.proc("calm:0").pid == calm
    assert len(it.events("killed")) == 1
    assert [each.key for each in it.events("running")] == ["slow:0"]
    assert age(it, "calm:0") == pytest.approx(8 * HOUR, abs=60)


def test_K02_restarts_after_a_suspend_do_not_come_all_at_once(daemon: Start, clocks: Clocks) -> None:
    """Retries that were slept through are spread by their jitter: no thundering herd, and none is left out."""
    table = "{first = 3, max = 3, factor = 1, jitter = 1.0}"
    it = daemon(job("bad", cmd("flapper.py", 0, 1), numprocess="12", retry="1", backoff=table), env=clocks.env)
    for index in range(12):
        it.wait_state(f"bad:{index}", "backoff", "fatal", timeout=20)
    clocks.suspend(8 * HOUR)
    for index in range(12):
        it.wait_state(f"bad:{index}", "fatal", timeout=20)
    assert len(it.events("started")) == 24


def test_K02_core_is_not_taken_for_hung_after_a_suspend(daemon: Start, clocks: Clocks) -> None:
    """A night's sleep is no silence of the core: the shim does not replace it, and a viewer hears no storm of beats."""
    it = daemon(job("web", cmd("sleeper.py")), env={**clocks.env, "TM_TEST": "1", "TM_BEAT_TIMEOUT": "4"})
    core = it.core_pid
    client = it.client
    heard = 0
    with client.subscribe(("beat",)) as subscription:
        assert subscription.receive(5.0) is not None
        clocks.suspend(8 * HOUR)
        until = time.monotonic() + 5.0
        while (left := until - time.monotonic()) > 0:
            heard += subscription.receive(left) is not None
    client.close()
    assert 2 <= heard <= 8
    assert it.core_pid == core


# K03 -----------------------------------------------------------------------------------------------------------------


def test_K03_log_of_the_core_is_in_utc_with_its_offset(daemon: Start) -> None:
    """The core's own log has UTC instants with their offset, whatever the time zone of the machine."""
    it = daemon(job("web", cmd("sleeper.py")), env={"TZ": "America/St_Johns"})
    it.wait_state("web:0", "running")
    log = Path(it.places.eventlog)
    line = it.wait(lambda: next((each for each in log.read_text().splitlines() if "started" in each), ""))
    stamp = line.split()[0]
    assert stamp.endswith("+00:00")
    assert abs(time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - time.time()) < 3 * HOUR


def test_K03_client_in_another_time_zone_means_its_own_times(daemon: Start) -> None:
    """`--since 10:00` is the local time of who asks; the same instant said in two zones gives the same lines."""
    it = daemon(job("say", cmd("counter.py", 3), restart='"never"'), env={"TZ": "Asia/Kathmandu"})
    it.wait_state("say:0", "exited")
    for zone in ("America/St_Johns", "Pacific/Chatham"):
        stamp = zoned(zone, time.time() - 60)
        said = it.cli("logs", "say", "--since", stamp, env={**it.env, "TZ": zone}).stdout.split()
        assert said == ["000000000", "000000001", "000000002"]
        late = zoned(zone, time.time() + 60)
        assert it.cli("logs", "say", "--since", late, env={**it.env, "TZ": zone}).stdout == ""


def zoned(zone: str, at: float) -> str:
    found = subprocess.run(
        ["date", "-d", f"@{at:.0f}", "+%Y-%m-%dT%H:%M:%S"], env={**os.environ, "TZ": zone}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return found.stdout.strip()


# K04 -----------------------------------------------------------------------------------------------------------------


def stopped_for(pid: int, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Let a process get no processor for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        until = time.monotonic() + seconds
        meanwhile()
        wait_until(lambda: time.monotonic() >= until, seconds + 5)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_K04_starved_core_meets_its_deadlines_once(daemon: Start) -> None:
    """A core that got no processor while deadlines passed kills and restarts once each, and nothing twice."""
    deaf = job("deaf", cmd("stubborn.py"), stopdelay="0.5")
    it = daemon(deaf + job("soon", cmd("sleeper.py"), successdelay="1"))
    it.wait(lambda: "ready" in it.output("deaf:0"), what="the stubborn one ignores TERM")
    it.request("stop", "deaf", wait=False)
    stopped_for(it.core_pid, 2.0)
    it.wait_state("deaf:0", "stopped")
    it.wait_state("soon:0", "running")
    assert len(it.events("killed", "deaf:0")) == 1
    assert len(it.events("stopped", "deaf:0")) == 1


def test_K04_starved_shim_does_not_take_the_core_for_hung(daemon: Start) -> None:
    """A shim that got no processor itself for longer than a core may be silent gives the core its time anew."""
    it = daemon(job("web", cmd("sleeper.py")), env={"TM_TEST": "1", "TM_BEAT_TIMEOUT": "2"})
    core, web = it.core_pid, it.wait_state("web:0", "running").pid
    stopped_for(it.shim_pid, 5.0)
    it.request("restart", "web")
    assert it.core_pid == core
    assert it.proc("web:0").pid != web


def test_K04_both_starved_for_longer_than_the_watchdog_go_on_as_they_were(daemon: Start) -> None:
    """A machine that stood still for everybody changes nothing."""
    it = daemon(job("web", cmd("sleeper.py")), env={"TM_TEST": "1", "TM_BEAT_TIMEOUT": "2"})
    core, web = it.core_pid, it.wait_state("web:0", "running").pid
    stopped_for(it.shim_pid, 4.0, lambda: stopped_for(core, 4.0))
    assert it.core_pid == core
    assert it.proc("web:0").pid == web


# K05: an uptime of months ---------------------------------------------------------------------------------------------


def time_namespace() -> list[str]:
    """Return what execs a program in a time namespace of its own; skip where that cannot be had."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    line = ["unshare", "--time", "--boottime", "90000000", "--monotonic", "80000000"]
    said = subprocess.run([*line, "cat", "/proc/uptime"], capture_output=True, text=True, check=False)
    if said.returncode or float(said.stdout.split()[0]) < 90000000:
        pytest.skip("no time namespaces here (they need root, and Linux 6.1 to be entered by exec)")
    return line


def test_K05_machine_that_is_up_for_years_is_like_any_other(daemon_for: Start) -> None:
    """After 1041 days of uptime, in a time namespace, everything starts, retries, adopts and ends as ever."""
    its = daemon_for(job("web", cmd("sleeper.py")) + job("soon", cmd("sleeper.py"), successdelay="0.5"))
    its.under = time_namespace()
    its.start()
    its.wait_state("soon:0", "running")
    web = its.wait_state("web:0", "running").pid
    its.kill_core()
    assert its.proc("web:0").pid == web
    assert 0 <= age(its, "web:0") < 60
    its.kill_shim()
    assert its.wait_state("web:0", "running").pid == web
    its.request("stop", "web")
    assert its.proc("web:0").state == "stopped"
