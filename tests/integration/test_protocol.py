"""The wire of a real core: no loss, no doubles, and nothing that a client sends hurts it."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

import taskmaster_core.daemon  # noqa: F401  # `logs` and `doctor` join the table there
from taskmaster_core import wire
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.ops import TABLE
from tests.harness import ROOT, Daemon
from tests.integration.conftest import Start

TICKING = """
[[task]]
name = "flap"
cmd = "sleep 0.05"
restart = "always"
retry = "forever"
numprocess = 8
backoff = { first = 0.01, max = 0.05 }
[[task]]
name = "web"
cmd = "sleep 1000"
"""


STUBBORN = """
[[task]]
name = "slow"
cmd = "sh -c 'trap : TERM; while :; do sleep 0.1; done'"
stopdelay = 2
"""


class Listener:
    """Collect the events of a subscription in a thread."""

    def __init__(self, d: Daemon) -> None:
        self.events: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self._path = d.places.events
        self._end = threading.Event()
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as sub:
            sub.linger = 0
            sub.rcvhwm = 0
            sub.subscribe(b"event")
            sub.subscribe(b"beat")
            sub.connect(f"ipc://{self._path}")
            while not self._end.is_set():
                if sub.poll(50):
                    topic, body = sub.recv_multipart()
                    self.ready.set()
                    (self.beats if topic == b"beat" else self.events).append(msgspec.json.decode(body))

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()


@pytest.fixture
def ticking(daemon: Start) -> Daemon:
    d = daemon(TICKING)
    d.wait_state("web:0", "running")
    return d


@pytest.fixture
def listen(ticking: Daemon) -> Iterator[Listener]:
    listener = Listener(ticking)
    assert listener.ready.wait(5), "the beat says that the subscription holds"
    yield listener
    listener.stop()


def test_P12_a_late_joiner_gets_every_event_once(ticking: Daemon, listen: Listener) -> None:
    snapshot = ticking.status()["core"]["seq"]
    ticking.wait(lambda: listen.events and listen.events[-1]["seq"] > snapshot + 100, 20.0)
    seen = [event["seq"] for event in listen.events]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert seen[0] <= snapshot + 1, "nothing between the snapshot and the first event is missing"


def test_events_go_on_without_a_gap_over_a_new_core(ticking: Daemon, listen: Listener) -> None:
    ticking.wait(lambda: listen.events, 10.0)
    ticking.kill_core()
    last = ticking.status()["core"]["seq"]
    ticking.wait(lambda: listen.events[-1]["seq"] > last, 20.0)
    heard = {event["seq"]: event for event in listen.events}
    told = {event.seq: event for event in ticking.events(since=min(heard) - 1)}
    missed = sorted(set(told) - set(heard))
    replayed = ticking.events(since=missed[0] - 1) if missed else []
    everything = sorted({*heard, *(event.seq for event in replayed)})
    assert everything == list(range(everything[0], everything[0] + len(everything)))
    assert len({event["boot"] for event in listen.events}) == 2
    assert all(told[seq].type == event["type"] for seq, event in heard.items() if seq in told)


def test_every_published_event_is_in_the_journal_already(ticking: Daemon, listen: Listener) -> None:
    ticking.wait(lambda: len(listen.events) > 20, 10.0)
    newest = listen.events[-1]
    found = ticking.request("events", since=newest["seq"] - 1)[0]
    assert (found["seq"], found["type"], found["key"], found["data"]) == (
        newest["seq"], newest["type"], newest["key"], newest["data"],
    )  # fmt: skip


def test_a_beat_tells_the_newest_event_each_second(ticking: Daemon, listen: Listener) -> None:
    ticking.wait(lambda: len(listen.beats) >= 3, 6.0)
    assert listen.beats[-1]["boot"] == ticking.status()["core"]["boot"]
    assert listen.beats[-1]["seq"] <= ticking.status()["core"]["seq"]


def test_nothing_is_sent_while_nobody_listens(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n')
    d.wait_state("web:0", "running")

    def switches() -> int:
        lines = [line for path in Path(f"/proc/{core}/task").glob("*/status") for line in path.read_text().split("\n")]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))

    core = d.core_pid

    def quiet() -> bool:
        before, began = switches(), time.monotonic()
        while time.monotonic() - began < 2.0:
            time.sleep(0.1)
        return switches() - before <= 2  # a beat for the shim may fall into it; for clients it would be two more

    d.wait(quiet, 20.0, "the core sleeps")


def test_P06_garbage_on_the_raw_socket_is_dropped(ticking: Daemon) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(200), os.urandom(500), b""):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(ticking.places.commands)
            raw.sendall(data)
    assert ticking.ping()


@pytest.mark.parametrize(
    ("op", "select", "args", "code"),
    [
        ("statsu", [], {}, "unknown_op"),
        ("start", [], {}, "usage"),
        ("start", ["nope"], {}, "no_such_job"),
        ("start", ["web"], {"wait": "yes"}, "usage"),
        ("signal", ["web"], {"signal": "TREM"}, "usage"),
        ("signal", ["web"], {}, "usage"),
        ("scale", ["web"], {"n": 10_001}, "usage"),
        ("scale", ["web"], {"n": True}, "usage"),
        ("wait", ["web"], {"for": "happy"}, "usage"),
        ("logs", ["web"], {"n": "ten"}, "usage"),
        ("logs", ["web"], {"cursor": {"v": 99}}, "bad_request"),
        ("events", [], {"since": "x"}, "usage"),
        ("generation", [], {"number": 999}, "no_such_job"),
        ("reload", [], {"except": "web"}, "usage"),
    ],
)
def test_P07_a_wrong_request_is_told_what_is_wrong_and_changes_nothing(
    shared: Daemon, op: str, select: list[str], args: dict[str, Any], code: str
) -> None:
    before = shared.pids("web")
    with pytest.raises(TaskmasterError) as caught:
        shared.request(op, *select, **args)
    assert caught.value.code == code
    assert shared.pids("web") == before


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    d = Daemon(TICKING).start()
    d.wait_state("web:0", "running")
    yield d
    assert d.close() == []


def test_P07_a_selector_that_is_nearly_right_gets_a_hint(shared: Daemon) -> None:
    with pytest.raises(TaskmasterError) as caught:
        shared.request("status", "wbe")
    assert "did you mean `web`?" in caught.value.help


def test_P07_a_thousand_selectors_are_no_trouble(shared: Daemon) -> None:
    assert len(shared.request("status", *["web:0"] * 1000)["jobs"]) == 1


def test_P09_the_same_restart_sent_five_times_restarts_once(shared: Daemon) -> None:
    run = shared.proc("web:0").run
    document = wire.encode(wire.Request(wire.VERSION, uuid.uuid4().hex, "restart", ["web"]))
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(f"ipc://{shared.places.commands}")
        for _ in range(5):
            dealer.send_multipart([b"", document])
        answers = set()
        for _ in range(5):
            assert dealer.poll(10_000)
            answers.add(dealer.recv_multipart()[-1])
    assert len(answers) == 1
    assert shared.proc("web:0").run == run + 1


def test_P14_a_request_that_waits_outlives_the_death_of_the_core(daemon: Start) -> None:
    d = daemon(STUBBORN)
    d.wait_state("slow:0", "running")
    asking = d.popen("stop", "slow")
    d.wait_state("slow:0", "stopping")
    d.kill_core(wait=False)
    assert asking.wait(20) == 0
    assert d.proc("slow:0").state == "stopped"


def test_P15_a_runtime_directory_too_long_for_a_socket_has_a_way_out(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True, mode=0o700)
    d = Daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n', env={"XDG_RUNTIME_DIR": str(long)}).start()
    try:
        assert len(os.fsencode(d.places.commands)) <= 107
        assert d.cli("status").returncode == 0
    finally:
        rundir = Path(d.places.rundir)
        assert d.close() == []
        if rundir.exists():
            rundir.rmdir()


def test_P16_a_second_core_of_the_instance_is_refused_and_the_first_one_serves_on(shared: Daemon) -> None:
    second = shared.cli("core", "-f", str(shared.config_path))
    assert second.returncode == 7
    assert "running already" in second.stderr
    assert shared.ping()


def test_the_examples_of_the_protocol_page_are_what_the_code_speaks() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    kinds: dict[str, Any] = {
        "request": wire.Request, "reply": wire.Reply, "event": wire.Event, "metrics": wire.Metrics,
    }  # fmt: skip
    blocks = [part.split("\n```")[0].split("\n", 1) for part in page.split("```json ")[1:]]
    assert {kind for kind, _ in blocks} == set(kinds)
    for kind, text in blocks:
        decoded = msgspec.json.decode(text, type=kinds[kind])
        assert msgspec.json.decode(wire.encode(decoded)).items() >= msgspec.json.decode(text).items()


def test_who_listens_to_all_output_hears_processes_that_came_later(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sh -c \'while :; do echo x; sleep 0.1; done\'"\n')
    d.wait_state("web:0", "running")
    with zmq.Context() as context, context.socket(zmq.SUB) as heard:
        heard.linger = 0
        heard.subscribe(b"log.")
        heard.connect(f"ipc://{d.places.events}")
        assert heard.poll(10_000)
        d.request("scale", "web", n=2)
        d.wait(lambda: heard.poll(1_000) and heard.recv_multipart()[0] == b"log.web:1", 10.0, "it is heard")


def test_every_operation_is_on_the_protocol_page() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    assert [op for op in TABLE if f"`{op}`" not in page] == []
