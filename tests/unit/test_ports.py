"""No peer moves the server's bounds: connections, bytes, frames, topics, time are shared out, and others are served."""

from __future__ import annotations

import gc
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_core import ports, wire, zmtp
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.server import MAX_SUBSCRIPTIONS, OPEN, Server
from tests.unit.test_server import World, request

HELLO = zmtp.GREETING + zmtp._command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x06DEALER")
LISTENER = zmtp.GREETING + zmtp._command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x03SUB")


class Small(World):
    """A server with room for few, whose requests are answered at once unless they are to wait."""

    def __init__(self, directory: str, most: int = 32) -> None:
        super().__init__(directory)
        self.server.close()
        self.server = Server(self.commands, self.events, self.take, most=most)
        self.server.bind()
        self.raw = ExitStack()

    def take(self, asked: object) -> None:
        self.asked.append(asked)  # type: ignore[arg-type]
        if self.asked[-1].request.op == "ping":
            self.server.answer(self.asked[-1], {"pong": True}, keep=False)

    def connect(self, hello: bytes = b"", path: str | None = None) -> socket.socket:
        """Return a bare connection."""
        made = self.raw.enter_context(socket.socket(socket.AF_UNIX))
        made.setblocking(False)
        self.until(lambda: not made.connect_ex(path or self.commands))
        if hello:
            made.send(hello)
        return made

    def answers(self) -> bool:
        """Tell whether a newcomer is served."""
        dealer = self.socket(zmq.DEALER)
        dealer.send_multipart([b"", request(request_id=os.urandom(8).hex())])
        found = self.reply(dealer).result
        dealer.close()
        return bool(found == {"pong": True})

    def is_cut(self, made: socket.socket) -> bool:
        """Tell whether the core has ended a bare connection."""
        try:
            while made.recv(65_536):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        self.raw.close()
        super().close()


@pytest.fixture
def small() -> Iterator[Small]:
    with TemporaryDirectory(prefix="tm-", dir="/tmp") as directory:
        found = Small(directory)
        yield found
        found.close()


def rss() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def message(*frames: bytes) -> bytes:
    return zmtp.pack(frames)


# Connections ---------------------------------------------------------------------------------------------------------


def test_P02_silent_connections_make_room_for_those_who_speak(small: Small) -> None:
    for _ in range(100):
        small.connect()
        small.server.pump()
    assert small.answers()
    assert len(small.server._commands.connections) <= 32


def test_P02_greeted_but_idle_connections_make_room_too(small: Small) -> None:
    for _ in range(100):
        small.connect(HELLO)
        small.server.pump()
    assert small.answers()


def test_P02_who_waits_for_an_answer_stays_when_others_only_sit_there(small: Small) -> None:
    waiting = small.connect(HELLO + message(b"", request("restart", "mine")))
    small.until(lambda: small.asked)
    for _ in range(100):
        small.connect(HELLO)
        small.server.pump()
    assert not small.is_cut(waiting)


def test_P02_a_subscriber_stays_when_a_flood_of_idle_ones_comes(small: Small) -> None:
    heard = small.connect(LISTENER + message(b"\x01state"), small.events)
    small.until(lambda: small.server.wanted("state"))
    for _ in range(100):
        small.connect(LISTENER, small.events)
        small.server.pump()
    assert not small.is_cut(heard)
    assert small.server.wanted("state")


@pytest.mark.parametrize("busy", [True, False])
def test_P02_without_descriptors_the_idle_make_room_and_the_busy_stay(
    small: Small, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(ports, "TIRED", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = small.connect(HELLO + (message(b"", request("wait")) if busy else b""))
    small.until(lambda: small.asked if busy else small.server._commands.connections)
    made = small.raw.enter_context(socket.socket(socket.AF_UNIX))
    full = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]  # every number below is taken
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(full) + 1, hard))
    try:
        made.connect(small.commands)
        for _ in range(5):
            small.server.pump()
        assert len(small.server._commands.connections) == 1
        assert small.is_cut(before) is not busy
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in full:
            os.close(each)
    small.until(lambda: len(small.server._commands.connections) == 1 + busy)


def test_P03_who_does_not_say_who_it_is_is_dismissed(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "HANDSHAKE", 0.1)
    halves = [small.connect(HELLO[:size]) for size in (0, 1, 10, 63, 64, 70)]
    small.until(lambda: all(small.is_cut(each) for each in halves))


def test_a_peer_that_goes_is_forgotten(small: Small) -> None:
    heard = small.connect(LISTENER + message(b"\x01state"), small.events)
    small.until(lambda: small.server.wanted("state"))
    heard.close()
    small.until(lambda: not small.server.topics and not small.server._events.connections)


# Bytes and frames ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + bytes(200),
        b"\xff" + bytes(8) + b"\x7f\x01" + bytes(60),
        zmtp.GREETING.replace(b"NULL", b"CURV"),
        zmtp.GREETING + message(b"early"),
        zmtp.GREETING + zmtp._command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x03PUB"),
        zmtp.GREETING + zmtp._command(b"READY", b"\xff\xff\xff\xff\xff\xff"),
        HELLO + zmtp._command(b"MAGIC", b""),
        HELLO + b"\x80\x00",
        HELLO + b"\x02" + (1 << 62).to_bytes(8, "big"),
        HELLO + b"\x02" + (64 << 20).to_bytes(8, "big"),
    ],
)
def test_P01_P05_who_does_not_keep_to_the_protocol_is_cut_off_at_once(small: Small, data: bytes) -> None:
    rude = small.connect(data)
    small.until(lambda: small.is_cut(rude))
    assert small.answers()


def test_P04_a_message_without_end_is_cut_off(small: Small) -> None:
    rude = small.connect(HELLO)
    endless = b"\x03" + (60_000).to_bytes(8, "big") + bytes(60_000)
    before = rss()
    small.until(lambda: _pour(rude, endless) and small.is_cut(rude))
    assert rss() - before < 8 << 20


def test_P04_so_is_one_of_empty_frames(small: Small) -> None:
    rude = small.connect(HELLO)
    small.until(lambda: _pour(rude, b"\x01\x00" * 1000) and small.is_cut(rude))


def _pour(made: socket.socket, data: bytes) -> bool:
    try:
        made.send(data)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_P04_what_all_peers_hold_together_is_bounded(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "HELD", 2 << 20)
    head = b"\x02" + (1_000_000).to_bytes(8, "big")
    for _ in range(20):
        half = small.connect(HELLO + head)
        for _ in range(9):
            small.until(lambda half=half: _pour(half, bytes(100_000)))
    small.server.pump()
    held = sum(each.reader.held for each in small.server._commands.connections.values())
    assert held <= 3 << 20
    assert small.answers()


def test_P08_who_asks_and_never_reads_is_not_read_either(small: Small) -> None:
    """Memory stays: what it has not read yet is bounded, and so is what it may still ask."""
    deaf = small.connect(HELLO)
    big = {"text": "x" * 100_000}
    small.server._on_request = lambda asked: small.server.answer(asked, big, keep=False)
    number, refused = 0, 0
    while refused < 20:  # the kernel's buffers are full in both directions
        refused = 0 if _pour(deaf, message(b"", request(request_id=f"r{number}"))) else refused + 1
        number += 1
        small.server.pump()
    each = next(iter(small.server._commands.connections.values()))
    assert each.queued < ports.FULL + 300_000
    assert small.server._commands._queued == each.queued
    small.server._on_request = small.take
    assert small.answers()


def test_who_reads_again_gets_everything_it_asked_for(small: Small) -> None:
    dealer = small.socket(zmq.DEALER)
    dealer.rcvhwm = 1
    big = {"text": "x" * 100_000}
    small.server._on_request = lambda asked: small.server.answer(asked, big, keep=False)
    for number in range(100):
        dealer.send_multipart([b"", request(request_id=f"r{number}")])
    seen = [small.reply(dealer).id for _ in range(100)]
    assert seen == [f"r{number}" for number in range(100)]


def test_a_peer_has_so_many_open_requests_and_no_more(small: Small) -> None:
    dealer = small.socket(zmq.DEALER)
    for number in range(OPEN + 1):
        dealer.send_multipart([b"", request("wait", f"w{number}")])
    said = small.reply(dealer)
    assert said.error is not None
    assert (said.id, said.error.code) == (f"w{OPEN}", "refused")
    small.server.answer(small.asked[0], {})
    assert small.reply(dealer).id == "w0"
    dealer.send_multipart([b"", request("wait", "again")])
    small.until(lambda: small.asked[-1].request.id == "again")


def test_what_only_a_peer_that_is_gone_waits_for_is_let_go(small: Small) -> None:
    told: list[tuple[str, int]] = []
    small.server.on_gone = lambda request_id, peer: bool(told.append((request_id, peer))) or True
    made = small.connect(HELLO + message(b"", request("wait", "w")))
    small.until(lambda: small.asked)
    made.close()
    small.until(lambda: told)
    assert told == [("w", small.asked[0].peer.address)]
    assert not small.server._answers, "asked again, it is handed over again"


def test_a_turn_ends_though_many_have_much_to_say(small: Small) -> None:
    small.server._on_request = lambda asked: time.sleep(0.005)
    floods = [small.connect(HELLO) for _ in range(10)]
    small.until(lambda: len(small.server._commands.connections) == 10)
    small.server.pump()
    for flood in floods:
        for _ in range(100):
            _pour(flood, message(b"", request("wait", os.urandom(8).hex())))
    began = time.monotonic()
    assert small.server.pump(), "more waits"
    assert time.monotonic() - began < 0.02 + ports.EACH * 0.005 + 0.1


def test_a_flood_of_one_peer_does_not_keep_another_waiting(small: Small) -> None:
    flood = small.connect(HELLO)
    small.until(lambda: small.server._commands.connections)
    polite = small.connect(HELLO)
    while _pour(flood, message(b"", request(request_id=os.urandom(8).hex()))):
        pass
    before = len(small.asked)
    polite.send(message(b"", request(request_id="polite")))
    small.until(lambda: any(each.request.id == "polite" for each in small.asked))
    place = [each.request.id for each in small.asked].index("polite")
    assert place - before <= 4 * ports.EACH


# Subscribers ---------------------------------------------------------------------------------------------------------


def test_P13_a_hundred_thousand_topics_are_bounded_and_quickly_dealt_with(small: Small) -> None:
    sub = small.socket(zmq.SUB)
    sub.sndhwm = 0
    before, longest = rss(), 0.0
    for number in range(100_000):
        sub.subscribe(f"log.{number}")
    sub.subscribe("beat")
    end = time.monotonic() + 20
    while small.server._events.waits or len(small.server.topics) < MAX_SUBSCRIPTIONS:
        began = time.monotonic()
        small.server.pump()
        longest = max(longest, time.monotonic() - began)
        assert time.monotonic() < end
    assert len(small.server.topics) == MAX_SUBSCRIPTIONS
    assert rss() - before < 60 << 20, "most of it is the client's, who is in this process too"
    assert longest < 0.2
    assert small.answers()


def test_P11_P13_who_does_not_read_what_it_subscribed_to_loses_it_and_nobody_else_does(small: Small) -> None:
    slow = small.connect(LISTENER + message(b"\x01state"), small.events)
    small.until(lambda: small.server.wanted("state"))
    quick = small.socket(zmq.SUB)
    quick.rcvhwm = 0
    quick.subscribe("state")
    small.until(lambda: sum(bool(each.interests) for each in small.server._events.connections.values()) == 2)
    before, heard = rss(), 0
    for turn in range(100):
        for _ in range(50):
            small.server.publish("state", b"x" * 10_000)
        small.server.flush()
        while heard < 50 * (turn + 1):
            small.until(lambda: quick.poll(0))
            heard += _drained(quick, 0)
    assert rss() - before < 30 << 20
    assert max(each.queued for each in small.server._events.connections.values()) <= ports.BEHIND + 10_100
    assert not small.is_cut(slow), "it stays, and sees the gap by seq"


def _drained(heard: zmq.Socket[bytes], patience: int) -> int:
    found = 0
    while heard.poll(patience):
        heard.recv_multipart()
        found += 1
    return found


def test_a_topic_that_nobody_was_given_is_published_to_nobody(small: Small) -> None:
    sub = small.socket(zmq.SUB)
    sub.subscribe("")
    small.until(lambda: small.server.topics)
    small.server.publish("novel.thing", b"{}")
    small.server.publish("state", b"{}")
    small.until(lambda: sub.poll(0))
    assert sub.recv_multipart()[0] == b"state"


def test_a_ping_of_the_protocol_is_answered(small: Small) -> None:
    made = small.connect(HELLO)
    made.send(zmtp._command(b"PING", b"\x00\x10context"))
    said = bytearray()
    small.until(lambda: said.extend(_received(made)) or b"PONGcontext" in said)


def _received(made: socket.socket) -> bytes:
    try:
        return made.recv(65_536)
    except BlockingIOError:
        return b""


def test_a_reply_of_one_user_is_not_another_users(small: Small) -> None:
    """P10: the id of a request is known from events; somebody else who repeats it is refused, and disturbs nobody."""
    dealer = small.socket(zmq.DEALER)
    dealer.send_multipart([b"", request("restart", "known")])
    small.until(lambda: small.asked)
    ours = small.asked[0]
    thief = ours.peer.__class__(ours.peer.address, ours.peer.delimiter, "uid 7 pid 1", "uid 7")
    small.server.receive(thief, [request("restart", "known")])
    assert small.asked == [ours], "nothing is done for him under an id that is somebody's"
    small.server.answer(ours, {})
    small.server.flush()
    small.until(lambda: dealer.poll(0))
    said = [dealer.recv_multipart()[-1], dealer.recv_multipart()[-1]]
    assert ["somebody else" in str(each) for each in said] == [True, False]


# Fuzz ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(HELLO)), st.booleans())
def test_P06_no_bytes_at_all_make_the_reader_do_anything_but_cut_off(data: bytes, keep: int, whole: bool) -> None:
    reader = zmtp.Reader(zmtp.ROUTER)
    stream = HELLO[: None if whole else keep] + data
    began = time.process_time()
    try:
        for at in range(0, len(stream), 7):
            reader.feed(stream[at : at + 7])
            while reader.next() is not None:
                pass
    except zmtp.Broken:
        pass
    assert time.process_time() - began < 0.05
    assert reader.held <= len(stream)


frames = st.lists(st.binary(max_size=300), min_size=1, max_size=zmtp.MAX_FRAMES)


@settings(max_examples=200, deadline=None)
@given(st.lists(frames, max_size=5), st.integers(1, 400))
def test_what_is_packed_comes_out_however_it_is_cut_up(messages: list[list[bytes]], step: int) -> None:
    reader = zmtp.Reader(zmtp.ROUTER)
    stream = HELLO + b"".join(map(zmtp.pack, messages))
    found = []
    for at in range(0, len(stream), step):
        reader.feed(stream[at : at + step])
        while (each := reader.next()) is not None:
            found.append(each)
    assert found == messages


deep = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1000) | st.builds(lambda op, args: request(op, "i", **args), st.text(max_size=20),
       st.dictionaries(st.text(max_size=8), deep, max_size=4)))  # fmt: skip
def test_P06_decoding_a_frame_costs_little_whatever_it_holds(frame: bytes) -> None:
    costs = []
    for _ in range(3):  # the collector of this process is not its fault
        began = time.process_time()
        with suppress(TaskmasterError):
            wire.decode_request(frame)
        costs.append(time.process_time() - began)
    assert min(costs) < 0.05
