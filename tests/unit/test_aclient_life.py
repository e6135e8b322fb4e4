"""The async client's connection: attempts, reasons, and a loop that is never starved."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from taskmaster_core import paths
from taskmaster_core.aclient import AsyncClient, State
from taskmaster_core.errors import BadRequest
from taskmaster_core.wire import Status
from tests.fakecore import FakeCore, job, process, status


@pytest.fixture
def core() -> Iterator[FakeCore]:
    made = FakeCore().start()
    yield made
    made.close()


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def client_of(core: FakeCore, **options: Any) -> AsyncClient:
    return AsyncClient(at=core.commands, environ={}, **options)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


# Attempts ---------------------------------------------------------------------------------------------------------


async def test_attempts_are_counted_and_the_next_one_is_told(core: FakeCore) -> None:
    core.stop()
    async with client_of(core) as client:
        await until(lambda: client.attempt >= 2)
        assert client.next_in is not None
        assert 0 <= client.next_in <= 0.4


async def test_the_time_between_attempts_grows_to_five_seconds(core: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    core.stop()
    waits: list[float] = []
    async with client_of(core) as client:
        for _ in range(8):
            waits.append(client.next_in or 0.0)
            client._dial._try()
    assert [round(each, 1) for each in waits] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


async def test_a_connection_ends_the_counting(core: FakeCore) -> None:
    async with client_of(core) as client:
        await client.connected()
        assert (client.attempt, client.next_in) == (0, None)


async def test_retry_now_does_not_wait_for_the_next_attempt(core: FakeCore) -> None:
    core.stop()
    async with client_of(core) as client:
        for _ in range(6):
            client._dial._try()
        tried = client.attempt
        client.retry_now()
        assert client.attempt == tried + 1


async def test_a_new_socket_file_is_noticed_long_before_the_next_attempt(core: FakeCore) -> None:
    core.stop()
    async with client_of(core) as client:
        for _ in range(6):
            client._dial._try()
        assert (client.next_in or 0) > 4
        begun = time.monotonic()
        core.start()
        await asyncio.wait_for(client.connected(), 3)
        assert time.monotonic() - begun < 2


async def test_a_core_that_is_stopped_accepts_but_is_not_taken_for_one(home: Path) -> None:
    """SIGSTOP: the kernel still accepts, nobody says hello."""
    import socket

    (home / "cmd.sock").parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(home / "cmd.sock"))
        silent.listen()
        async with AsyncClient(at=str(home / "cmd.sock"), environ={}) as client:
            await asyncio.sleep(0.05)
            assert client.state == "searching"
            assert (client.attempt, client.next_in) == (1, None)
            assert client.diagnosis().kind == "ok"


async def test_many_restarts_leave_no_descriptor_behind(core: FakeCore) -> None:
    async with client_of(core) as client:
        await client.call("ping", timeout=5)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(5):
            await asyncio.to_thread(core.stop)
            await until(lambda: client.state == "lost")
            core.boot = f"b{number}"
            core.start()
            client.retry_now()
            await until(lambda: client.state == "connected")
            assert (await client.call("ping", timeout=5))["boot"] == core.boot
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_the_last_answer_of_a_core_that_ends_is_heard(home: Path) -> None:
    async with AsyncClient(at=str(home / "cmd.sock"), environ={}) as client:
        core = asyncio.create_task(asyncio.to_thread(_answer_and_end, f"ipc://{home}/cmd.sock"))
        assert await client.call("shutdown", timeout=5) == {"ok": True}
        await core


def _answer_and_end(address: str) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.bind(address)
        peer, empty, frame = router.recv_multipart()
        reply = {"v": 1, "id": json.loads(frame)["id"], "ok": True, "result": {"ok": True}}
        router.send_multipart([peer, empty, json.dumps(reply).encode()])
        router.close(linger=500)


# What is known of the core ----------------------------------------------------------------------------------------


async def test_another_core_and_another_version_are_seen(core: FakeCore) -> None:
    core.on("status", lambda request: status(boot=core.boot, version="99.0"))
    async with client_of(core) as client:
        await client.call("ping", timeout=5)
        assert client.core is not None
        assert (client.core.boot, client.core.differs) == ("b1", False)
        await asyncio.to_thread(core.restart)
        await client.call("status", timeout=5, into=Status)
        assert (client.core.boot, client.core.differs, client.core.statedir) == ("b2", True, "/s")


async def test_the_round_trip_is_measured_but_not_of_what_takes_long(core: FakeCore) -> None:
    def slow(request: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.2)
        return {}

    core.on("stop", slow)
    async with client_of(core) as client:
        await client.call("ping", timeout=5)
        assert client.rtt is not None
        quick = client.rtt
        await client.call("stop", timeout=5)
        assert client.rtt == quick


async def test_a_result_is_decoded_to_the_type_that_is_asked_for(core: FakeCore) -> None:
    core.on("status", status(job("web", process("web:0"))))
    async with client_of(core) as client:
        found = await client.call("status", timeout=5, into=Status)
    assert found.jobs[0].processes[0].key == "web:0"


async def test_a_result_of_another_type_is_told_as_such(core: FakeCore) -> None:
    core.on("status", {"nothing": "of it"})
    async with client_of(core) as client:
        with pytest.raises(BadRequest, match="not understood"):
            await client.call("status", timeout=5, into=Status)


# Diagnosis --------------------------------------------------------------------------------------------------------


def named(home: Path) -> AsyncClient:
    environ = {"XDG_RUNTIME_DIR": str(home / "run"), "XDG_STATE_HOME": str(home / "state"), "HOME": str(home)}
    return AsyncClient(f"t{home.name}", environ=environ)


def test_where_nobody_holds_the_lock_there_is_no_core(home: Path) -> None:
    found = named(home).diagnosis()
    assert (found.kind, found.shim_pid) == ("no_core", None)
    assert f"{home}/run/taskmaster/t{home.name}/cmd.sock (no such file)" in map(str, found.where)


def test_a_lock_that_is_held_means_that_the_shim_keeps_the_jobs(home: Path) -> None:
    lock = home / "state" / "taskmaster" / f"t{home.name}" / "shim.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        file.write("4711\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        found = named(home).diagnosis()
    assert (found.kind, found.shim_pid) == ("core_gone", 4711)
    assert "pid 4711" in found.detail


async def test_the_lock_is_looked_for_where_a_core_said_it_is(core: FakeCore, home: Path) -> None:
    core.on("status", status(statedir=str(home)))
    async with client_of(core) as client:
        await client.call("status", timeout=5)
        await asyncio.to_thread(core.stop)
        with (home / "shim.lock").open("w") as file:
            file.write("4711\n")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
            assert client.diagnosis().kind == "core_gone"


async def test_a_core_that_listens_is_diagnosed_well(core: FakeCore) -> None:
    found = client_of(core).diagnosis()
    assert (found.kind, found.detail) == ("ok", "")


_ASK = """
import grp, os, pwd, sys
from taskmaster_core import reach
os.setgroups([]); os.setgid(65534); os.setuid(65534)
found = reach.diagnose([sys.argv[1]], [])
each = found.denial
print(found.kind, each and each.path, each and oct(each.mode), each and each.owner, each and each.group, sep="|")
print(each and each.remedy)
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be denied")
@pytest.mark.parametrize(
    ("directory", "socket", "culprit", "remedy"),
    [
        (0o700, 0o600, "", "sudo -u root"),
        (0o755, 0o600, "/cmd.sock", "socketgroup"),
        (0o750, 0o660, "", "ask to be in group daemon"),
        (0o755, 0o660, "/cmd.sock", "ask to be in group daemon"),
    ],
)
def test_who_is_kept_out_is_told_by_what_and_what_to_do(
    core: FakeCore, directory: int, socket: int, culprit: str, remedy: str
) -> None:
    core.home.chmod(0o755)
    for parent in core.rundir.parents:
        if core.home in parent.parents:
            parent.chmod(0o755)
    group = 1 if "daemon" in remedy else 0
    os.chown(core.commands, -1, group)
    os.chown(core.rundir, -1, group)
    os.chmod(core.commands, socket)
    core.rundir.chmod(directory)
    done = subprocess.run([sys.executable, "-c", _ASK, core.commands], capture_output=True, text=True, check=True)
    facts, said = done.stdout.splitlines()
    mode = socket if culprit else directory
    assert facts == f"denied|{core.rundir}{culprit}|{oct(mode)}|root|{'daemon' if group else 'root'}"
    assert remedy in said


# The loop ---------------------------------------------------------------------------------------------------------


def test_the_client_does_not_load_the_library_that_starves_loops() -> None:
    code = "import sys, taskmaster_core.aclient; print('zmq.asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


_FLOOD = """
import sys, time, zmq
socket = zmq.Context().socket(zmq.XPUB)
socket.sndhwm = 1000
socket.bind("ipc://" + sys.argv[1])
socket.recv()
body, rate, end = b'{"x":"' + b"x" * 190 + b'"}', float(sys.argv[2]), time.monotonic() + float(sys.argv[3])
begun, sent = time.monotonic(), 0
while time.monotonic() < end:
    due = int((time.monotonic() - begun) * rate)
    while sent < due:
        socket.send_multipart([b"state", body])
        sent += 1
    time.sleep(0.001)
"""


async def test_a_flood_of_20000_messages_a_second_leaves_the_loop_to_others(core: FakeCore) -> None:
    os.unlink(core.rundir / "evt.sock")  # the flood comes from a process of its own, or it would hold our interpreter
    events = paths.events_beside(core.commands)
    flood = await asyncio.create_subprocess_exec(sys.executable, "-c", _FLOOD, events, "20000", "2.0")
    heard = 0

    def count(topic: str, body: bytes) -> None:
        nonlocal heard
        heard += 1

    try:
        await until(lambda: os.path.exists(events))
        async with client_of(core) as client:
            await client.connected()
            with client.listen(["state"], count):
                await until(lambda: heard > 100)
                lags = await _lags(1.2)
    finally:
        flood.kill()
        await flood.wait()
    assert heard > 5_000
    assert sorted(lags)[int(len(lags) * 0.99)] < 0.06


async def _lags(seconds: float) -> list[float]:
    found = []
    end = time.monotonic() + seconds
    while (due := time.monotonic() + 0.01) < end:
        await asyncio.sleep(0.01)
        found.append(time.monotonic() - due)
    return found


async def test_an_error_of_who_listens_loses_no_other_message(core: FakeCore) -> None:
    heard: list[str] = []

    def listen(topic: str, body: bytes) -> None:
        heard.append(topic)
        if topic == "state.bad":
            raise RuntimeError

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with client_of(core) as client:
        with client.listen(["state"], listen):
            await asyncio.to_thread(core.until, lambda: "state" in core.topics)
            for topic in ("state.bad", "state.good", "state.better"):
                core.publish(topic, {})
            await until(lambda: len(heard) == 3)


async def test_a_slow_reader_holds_back_the_socket_and_not_the_memory(core: FakeCore) -> None:
    async with client_of(core) as client:
        with client.subscribe(["state"]) as heard:
            await asyncio.to_thread(core.until, lambda: "state" in core.topics)
            for number in range(600):
                core.publish("state", {"seq": number})
            await until(lambda: len(heard._messages) >= 256)
            await asyncio.sleep(0.05)
            assert len(heard._messages) == 256
            seen = [(await asyncio.wait_for(anext(heard), 5)).body["seq"] for _ in range(600)]
    assert seen == list(range(600))


async def test_an_idle_client_wakes_nobody(core: FakeCore) -> None:
    async with client_of(core) as client:
        with client.listen(["state"], lambda topic, body: None):
            await client.call("ping", timeout=5)
            await asyncio.sleep(0.5)  # past the last look of the safety timer
            turns = await turns_of(1.0)
    assert turns <= 2


async def turns_of(seconds: float) -> int:
    """Count how often the loop wakes while nobody does anything, the end of the wait among it."""
    loop: Any = asyncio.get_running_loop()
    plain, turns = loop._run_once, 0

    def counted() -> None:
        nonlocal turns
        turns += 1
        plain()

    loop._run_once = counted
    try:
        await asyncio.sleep(seconds)
    finally:
        loop._run_once = plain
    return turns


async def test_nothing_is_left_after_closing(core: FakeCore) -> None:
    states: list[State] = []
    loop: Any = asyncio.get_running_loop()
    before = set(loop._selector.get_map())
    async with client_of(core, on_state=states.append) as client:
        client.listen(["state"], lambda topic, body: None)
        await client.call("ping", timeout=5)
    assert set(loop._selector.get_map()) == before
    assert states == ["connected"]
    assert client._context.closed
