"""What stands above the daemon, systemd or a container or a terminal, is told and obeyed (DESIGN §1).

systemd itself is not needed: its protocol is a datagram socket, and a container is a namespace of process numbers.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Daemon, alive, children_of, environ_of, stat_of, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import cmd, job, words

SLEEP = '"sleep 1000"'
STEADY = job("web", SLEEP, numprocess="2")
GIVEN = {
    "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1", "INVOCATION_ID": "0123abcd", "JOURNAL_STREAM": "8:1",
    "LISTEN_FDS": "0", "LISTEN_PID": "1", "LISTEN_FDNAMES": "", "MAINPID": "1",
}  # fmt: skip
"""What systemd gives to a service beside NOTIFY_SOCKET."""


class Above:
    """Be the socket of systemd."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.name = address
        self.told: list[dict[str, str]] = []

    def look(self) -> list[dict[str, str]]:
        """Take in what has come; return everything so far."""
        while True:
            try:
                text = self._socket.recv(65536).decode()
            except BlockingIOError:
                return self.told
            self.told.append(dict(line.split("=", 1) for line in text.splitlines()))

    def names(self) -> list[str]:
        """Return which of the states that matter were told, in order."""
        return [name for each in self.look() for name in each if name in ("READY", "RELOADING", "STOPPING")]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def above(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Above]:
    it = Above(str(tmp_path / "notify") if request.param == "path" else f"@tm-{uuid.uuid4().hex}")
    yield it
    it.close()


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[Above]:
    it = Above(str(tmp_path / "notify"))
    yield it
    it.close()


def ended(d: Daemon, timeout: float = 20.0) -> int:
    assert d.process is not None
    return d.process.wait(timeout)


# The protocol ---------------------------------------------------------------------------------------------------------


def test_systemd_is_told_of_start_reload_and_stop_in_order(daemon: Start, above: Above) -> None:
    d = daemon(STEADY, env={"NOTIFY_SOCKET": above.name})
    wait_until(lambda: above.names() == ["READY"])
    d.terminate(signal.SIGHUP)
    wait_until(lambda: above.names() == ["READY", "RELOADING", "READY"])
    d.terminate()
    assert ended(d) == 0
    assert above.names() == ["READY", "RELOADING", "READY", "STOPPING"]


def test_READY_is_told_when_requests_are_answered(daemon_for: Start, notified: Above) -> None:
    d = daemon_for(STEADY, env={"NOTIFY_SOCKET": notified.name}).start(wait=False)
    wait_until(lambda: "READY" in notified.names(), 20.0)
    assert d.ping()


def test_RELOADING_carries_the_instant_that_systemd_asks_for(daemon: Start, notified: Above) -> None:
    d = daemon(STEADY, env={"NOTIFY_SOCKET": notified.name})
    before = time.monotonic() * 1e6
    d.terminate(signal.SIGHUP)
    wait_until(lambda: notified.names().count("READY") == 2)
    (said,) = [each for each in notified.told if "RELOADING" in each]
    assert before <= int(said["MONOTONIC_USEC"]) <= time.monotonic() * 1e6


def test_a_reload_of_a_broken_file_is_over_for_systemd_too(daemon: Start, notified: Above) -> None:
    d = daemon('[taskmaster]\nautoreload = "off"\n' + STEADY, env={"NOTIFY_SOCKET": notified.name})
    d.write_config("[[task]]\n")
    d.terminate(signal.SIGHUP)
    wait_until(lambda: notified.names() == ["READY", "RELOADING", "READY"])
    assert d.events("config_error")


def test_systemd_is_told_of_a_stop_by_request(daemon: Start, notified: Above) -> None:
    d = daemon(STEADY, env={"NOTIFY_SOCKET": notified.name})
    assert d.stop() == 0
    assert notified.names() == ["READY", "STOPPING"]


def test_a_broken_first_config_is_never_READY(daemon_for: Start, notified: Above) -> None:
    d = daemon_for("[[task]]\n", env={"NOTIFY_SOCKET": notified.name}).start(wait=False)
    assert ended(d) == 6
    assert notified.names() == []


def test_a_socket_that_nobody_reads_stops_nothing(daemon: Start, tmp_path: Path) -> None:
    d = daemon(STEADY, env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    d.wait_state("web:0", "running")
    for _ in range(3):
        d.terminate(signal.SIGHUP)
    assert d.ping()


def test_nothing_that_systemd_gave_to_us_reaches_a_job(daemon: Start, notified: Above) -> None:
    d = daemon(STEADY, env={"NOTIFY_SOCKET": notified.name, **GIVEN})
    pid = d.wait_state("web:0", "running").pid
    assert pid is not None
    names = {each.partition(b"=")[0].decode() for each in environ_of(pid)}
    assert names & {"NOTIFY_SOCKET", *GIVEN} == set()
    assert "HOME" in names


# Signals --------------------------------------------------------------------------------------------------------------


def test_L36_TERM_stops_everything_and_the_journal_says_who_sent_it(daemon: Start) -> None:
    d = daemon(STEADY)
    pids = [d.wait_state(key, "running").pid for key in ("web:0", "web:1")]
    d.terminate()
    assert ended(d) == 0
    assert not any(alive(pid) for pid in pids if pid)
    d.start()
    (said,) = d.events("shutdown")
    assert "SIGTERM" in said.data["reason"]
    assert f"pid {os.getpid()}" in said.data["reason"]


def test_L39_TERM_waits_for_a_job_that_ignores_it_for_its_stopdelay_and_ends_with_0(daemon: Start) -> None:
    d = daemon(job("stub", cmd("stubborn.py"), stopdelay="1"))
    d.wait(lambda: "ready" in d.output("stub:0"))
    began = time.monotonic()
    d.terminate()
    assert ended(d) == 0
    assert 1.0 <= time.monotonic() - began < 8.0


def test_L39_a_second_INT_kills_at_once(daemon: Start) -> None:
    d = daemon(job("stub", cmd("stubborn.py"), stopdelay="50"))
    d.wait(lambda: "ready" in d.output("stub:0"))
    d.terminate(signal.SIGINT)
    d.wait_state("stub:0", "stopping")
    d.terminate(signal.SIGINT)
    assert ended(d, 10.0) == 0


def test_a_second_TERM_is_no_hurry(daemon: Start) -> None:
    d = daemon(job("stub", cmd("stubborn.py"), stopdelay="1"))
    d.wait(lambda: "ready" in d.output("stub:0"))
    began = time.monotonic()
    for _ in range(3):
        d.terminate()
    assert ended(d) == 0
    assert time.monotonic() - began >= 1.0


def test_a_TERM_right_after_the_start_ends_it(daemon_for: Start) -> None:
    d = daemon_for(STEADY).start(wait=False)
    d.wait(lambda: b"shim" in b" ".join(Path(f"/proc/{d.shim_pid}/cmdline").read_bytes().split(b"\0")))
    d.terminate()
    assert ended(d) in (0, -signal.SIGTERM)  # the latter: it came before the first line of the shim was run


def test_a_TERM_while_the_core_is_dead_stops_everything_all_the_same(daemon: Start) -> None:
    d = daemon(STEADY)
    pid = d.wait_state("web:0", "running").pid
    d.kill_core(wait=False)
    d.terminate()
    assert ended(d) == 0
    assert pid is not None
    assert not alive(pid)


def test_the_time_for_an_ordered_stop_can_be_bounded(daemon: Start) -> None:
    d = daemon('[taskmaster]\nshutdown = "500ms"\n' + job("stub", cmd("stubborn.py"), stopdelay="50"))
    d.wait(lambda: "ready" in d.output("stub:0"))
    d.terminate()
    assert ended(d, 10.0) == 0


def test_a_TERM_as_soon_as_it_answers_finds_a_core_that_is_ready(daemon_for: Start) -> None:
    d = daemon_for('[taskmaster]\nshutdown = "100ms"\n' + job("stub", cmd("stubborn.py"), stopdelay="50"))
    d.start(wait=False)
    d.wait(lambda: d.ping() or d.process is None or d.process.poll() is not None)
    d.terminate()
    assert ended(d, 20.0) == 0


def test_USR1_binds_the_sockets_again_that_somebody_removed(daemon: Start) -> None:
    d = daemon(STEADY)
    core = d.core_pid
    for path in (d.places.commands, d.places.events):
        os.unlink(path)
    d.terminate(signal.SIGUSR1)
    d.wait(lambda: d.core_pid == core, what="the same core answers again")
    assert os.path.exists(d.places.events)


def test_a_client_that_finds_no_socket_has_it_bound_again_by_itself(daemon: Start) -> None:
    d = daemon(STEADY)
    os.unlink(d.places.commands)
    assert d.cli("status").returncode == 0


def test_G06_USR2_goes_on_in_a_new_file_after_the_old_one_was_moved(daemon: Start) -> None:
    ticker = words("sh", "-c", "while :; do echo tick; sleep 0.02; done")
    d = daemon(job("tick", ticker, stdout='"tick.log"'))
    log = d.dir / "tick.log"
    d.wait(lambda: log.exists() and log.stat().st_size)
    log.rename(d.dir / "tick.log.1")
    d.terminate(signal.SIGUSR2)
    d.wait(lambda: log.exists() and "tick" in log.read_text(), what="the new file grows")
    size = (d.dir / "tick.log.1").stat().st_size
    more = log.stat().st_size
    d.wait(lambda: log.stat().st_size > more + 20)
    assert (d.dir / "tick.log.1").stat().st_size == size


@pytest.mark.parametrize("signum", [signal.SIGPIPE, signal.SIGTSTP, signal.SIGTTIN, signal.SIGWINCH, signal.SIGXFSZ])
def test_L36_other_signals_do_nothing(daemon: Start, signum: signal.Signals) -> None:
    d = daemon(STEADY)
    before = d.pids()
    d.terminate(signum)
    assert d.ping()
    d.wait(lambda: d.pids() == before)
    assert stat_of(d.shim_pid)[0] in "SR"


# A container ----------------------------------------------------------------------------------------------------------

NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def can_unshare() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


contained = pytest.mark.skipif(not can_unshare(), reason="a namespace of process numbers is not allowed here")


class Container(Daemon):
    """Run the daemon as process 1 of a namespace of its own."""

    def enter(self, *args: str) -> Container:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "taskmaster_core", "core", "-f", str(self.config_path)]
        with self.stderr_path.open("ab") as err:
            self.process = subprocess.Popen(
                [*NAMESPACE, *command, "--instance", self.instance, *args], env=self.env, cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, start_new_session=True,
            )  # fmt: skip
        self.wait(lambda: self._ended() or self.ping(), 20.0, "the core answers")
        return self

    @property
    def shim_pid(self) -> int:
        """Return its number as it is seen from outside."""
        assert self.process is not None
        return children_of(self.process.pid)[0]

    def inside(self, *words: str) -> None:
        """Run a command in the namespace, as `docker exec` does."""
        subprocess.run(["nsenter", "--target", str(self.shim_pid), "--pid", "--", *words], check=True, env=self.env)


@pytest.fixture
def container(request: pytest.FixtureRequest) -> Iterator[Container]:
    it = Container(request.param)
    try:
        yield it.enter()
    finally:
        said, problems = it.stderr(), it.close()
        print(said)
    assert problems == []


@contained
@pytest.mark.parametrize("container", [STEADY], indirect=True)
def test_L39_as_process_1_it_ends_in_order_on_TERM_from_outside(container: Container) -> None:
    container.wait_state("web:1", "running")
    assert container.status()["core"]["shim_pid"] == 1
    container.terminate()
    assert ended(container) == 0


@contained
@pytest.mark.parametrize("container", [STEADY], indirect=True)
def test_L39_as_process_1_it_ends_in_order_on_INT_as_by_ctrl_c(container: Container) -> None:
    container.wait_state("web:1", "running")
    container.terminate(signal.SIGINT)
    assert ended(container) == 0


@contained
@pytest.mark.parametrize("container", [STEADY], indirect=True)
def test_L39_as_process_1_it_reaps_strangers(container: Container) -> None:
    container.wait_state("web:1", "running")
    shim = container.shim_pid
    container.inside("sh", "-c", "for n in 1 2 3 4 5; do (sleep 0.0$n &) ; done; (sleep 0.3 &)")
    container.wait(
        lambda: not any(stat_of(pid)[:1] == ["Z"] for pid in children_of(shim)) and len(children_of(shim)) == 3,
        what="only the core and two jobs are left",
    )


@contained
@pytest.mark.parametrize("container", [STEADY], indirect=True)
def test_G7_as_process_1_a_kill_from_inside_does_nothing(container: Container) -> None:
    container.wait_state("web:1", "running")
    container.inside("kill", "-9", "1")
    assert container.ping()
    assert alive(container.shim_pid)


@contained
@pytest.mark.parametrize(
    "container", [job("main", words("sh", "-c", "sleep 0.3; exit 7"), exitwith="true", restart='"never"')],
    indirect=True,
)  # fmt: skip
def test_L39_as_process_1_it_ends_with_the_code_of_its_main_job(container: Container) -> None:
    assert ended(container) == 7


@contained
@pytest.mark.parametrize("container", [STEADY], indirect=True)
def test_L01_as_process_1_a_killed_core_costs_nothing(container: Container) -> None:
    container.wait_state("web:1", "running")
    before = container.pids()
    core = container.core_pid
    container.inside("kill", "-9", str(core))
    container.wait(lambda: container.core_pid != core, what="a new core answers")
    assert container.pids() == before
