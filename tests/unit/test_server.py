"""The server answers what is a request, refuses what is none, and never raises."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_core import wire
from taskmaster_core.errors import BadRequest, Refused, WrongVersion
from taskmaster_core.server import REMEMBERED, Asked, Server


class World:
    """Hold a bound server, a client's sockets, and what was asked."""

    def __init__(self, directory: str) -> None:
        self.commands, self.events = f"{directory}/cmd.sock", f"{directory}/evt.sock"
        self.asked: list[Asked] = []
        self.server = Server(self.commands, self.events, self.asked.append)
        self.server.bind()
        self._context = zmq.Context()
        self._open: list[zmq.Socket[bytes]] = []

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        """Return a connected client socket."""
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.connect(f"ipc://{self.events if kind == zmq.SUB else self.commands}")
        self._open.append(socket)
        return socket

    def until(self, condition: Callable[[], Any], within: float = 5.0) -> Any:
        """Pump until the condition holds and return it."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            self.server.pump()
            found = condition()
            if found:
                return found
            time.sleep(0.002)
        raise AssertionError("it did not come true")

    def has_asked(self, number: int) -> bool:
        """Tell whether so many requests have come."""
        return len(self.asked) == number

    def reply(self, socket: zmq.Socket[bytes]) -> wire.Reply:
        """Return the next reply a client gets."""
        self.until(lambda: socket.poll(0))
        return wire.decode_reply(socket.recv_multipart()[-1])

    def close(self) -> None:
        """Close everything."""
        self.server.close()
        self._context.destroy(linger=0)


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(prefix="tm-", dir="/tmp") as directory:
        found = World(directory)
        yield found
        found.close()


def request(op: str = "ping", request_id: str = "a", **args: Any) -> bytes:
    return wire.encode(wire.Request(wire.VERSION, request_id, op, [], args))


def test_a_request_arrives_with_the_credentials_of_its_sender(world: World) -> None:
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart([b"", request()])
    asked = world.until(lambda: world.asked)[0]
    assert asked.request.op == "ping"
    assert asked.peer.who == f"uid {os.getuid()} pid {os.getpid()}"


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.DEALER])
def test_an_answer_reaches_both_kinds_of_client(world: World, kind: int) -> None:
    client = world.socket(kind)
    client.send_multipart([request()] if kind == zmq.REQ else [b"", request()])
    world.server.answer(world.until(lambda: world.asked)[0], {"fine": True})
    assert world.reply(client).result == {"fine": True}


def test_the_sockets_are_for_their_owner_alone(world: World) -> None:
    assert stat.S_IMODE(os.stat(world.commands).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(world.events).st_mode) == 0o600


def test_raw_bytes_travel_in_a_second_frame(world: World) -> None:
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart([b"", request()])
    world.server.answer(world.until(lambda: world.asked)[0], {}, b"\xff\x00raw")
    world.until(lambda: dealer.poll(0))
    assert dealer.recv_multipart()[-1] == b"\xff\x00raw"


def test_P05_an_oversize_frame_cuts_its_sender_off_and_nobody_else(world: World) -> None:
    rude, polite = world.socket(zmq.DEALER), world.socket(zmq.DEALER)
    rude.send_multipart([b"", b"x" * (wire.MAX_FRAME + 1)])
    polite.send_multipart([b"", request("status", "b")])
    assert [each.request.id for each in world.until(lambda: world.asked)] == ["b"]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([b"", b""], "bad_request"),
        ([b"", b"\xff\xfe"], "bad_request"),
        ([b"", b"[1,2]"], "bad_request"),
        ([b"", b"null"], "bad_request"),
        ([b"", b"17"], "bad_request"),
        ([b"", b"["], "bad_request"),
        ([b"", b"[" * 100_000], "bad_request"),
        ([b"", b'{"v":1,"id":"x","op":"ping","args":{"n":NaN}}'], "bad_request"),
        ([b"", b'{"v":1,"id":"x","op":"ping","args":{"n":' + b"9" * 5000 + b"}}"], "bad_request"),
        ([b"", b'{"v":1,"id":"","op":"ping"}'], "bad_request"),
        ([b"", b'{"v":1,"id":"' + b"i" * 65 + b'","op":"ping"}'], "bad_request"),
        ([b"", b'{"v":1,"id":"x","op":"ping","more":1}'], "bad_request"),
        ([b"", b'{"v":1,"id":"x","op":["ping"]}'], "bad_request"),
        ([b"", b'{"v":2,"id":"x","op":"ping"}'], "wrong_version"),
        ([b"", b'{"v":"one","id":"x","novel":true}'], "wrong_version"),
        ([b"", request(), request()], "bad_request"),
        ([b""], "bad_request"),
    ],
)
def test_P06_what_is_no_request_is_answered_with_an_error(world: World, frames: list[bytes], code: str) -> None:
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart(frames)
    answer = world.reply(dealer)
    assert (answer.ok, answer.error.code if answer.error else None) == (False, code)
    assert world.asked == []


def test_P06_an_error_names_the_request_it_is_about(world: World) -> None:
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart([b"", b'{"v":1,"id":"mine","op":7}'])
    assert world.reply(dealer).id == "mine"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
shaped = st.fixed_dictionaries({}, optional=dict.fromkeys(("v", "id", "op", "select", "args"), json_like))


@settings(max_examples=300)
@given(st.binary(max_size=60) | (json_like | shaped).map(msgspec.json.encode))
def test_P06_no_frame_at_all_makes_decoding_raise_anything_else(frame: bytes) -> None:
    with suppress(BadRequest, WrongVersion):
        assert wire.decode_request(frame).v == wire.VERSION
    assert isinstance(wire.request_id_in(frame), str)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_P06_no_message_at_all_makes_the_server_raise(frames: list[bytes]) -> None:
    with TemporaryDirectory(prefix="tm-", dir="/tmp") as directory:
        world = World(directory)
        dealer = world.socket(zmq.DEALER)
        dealer.send_multipart(frames)
        dealer.send_multipart([b"", request(request_id="after")])
        world.until(lambda: [each for each in world.asked if each.request.id == "after"])
        world.close()


def test_P08_an_answer_to_a_client_that_is_gone_is_dropped(world: World) -> None:
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart([b"", request()])
    asked = world.until(lambda: world.asked)[0]
    dealer.close()
    world.server.answer(asked, {})
    other = world.socket(zmq.DEALER)
    other.send_multipart([b"", request(request_id="b")])
    assert world.until(lambda: len(world.asked) == 2)


def test_P09_a_repeated_request_gets_the_first_answer_and_is_not_handed_over_again(world: World) -> None:
    dealer = world.socket(zmq.DEALER)
    for _ in range(2):
        dealer.send_multipart([b"", request("restart")])
    asked = world.until(lambda: world.asked)[0]
    world.until(lambda: world.server._late)
    world.server.answer(asked, {"times": 1})
    answers = [world.reply(dealer).result, world.reply(dealer).result]
    dealer.send_multipart([b"", request("restart")])
    answers.append(world.reply(dealer).result)
    assert answers == [{"times": 1}] * 3
    assert len(world.asked) == 1


def test_P09_answers_are_forgotten_after_a_while_but_open_requests_never(world: World) -> None:
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart([b"", request("restart", "open")])
    world.until(lambda: world.asked)
    for number in range(REMEMBERED + 5):
        dealer.send_multipart([b"", request("reset", f"r{number}")])
        world.until(partial(world.has_asked, number + 2))
        world.server.answer(world.asked[-1], {})
        world.reply(dealer)
    dealer.send_multipart([b"", request("restart", "open")])
    world.until(lambda: world.server._late)
    assert len(world.server._answers) <= REMEMBERED + 1


def test_P16_a_regular_file_at_the_path_is_never_deleted(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="tm-", dir="/tmp") as directory:
        path = Path(directory, "cmd.sock")
        path.write_text("precious")
        server = Server(str(path), f"{directory}/evt.sock", lambda asked: None)
        with pytest.raises(Refused, match="not a socket"):
            server.bind()
        assert path.read_text() == "precious"


def test_P16_a_stale_socket_file_is_taken_over(world: World) -> None:
    with TemporaryDirectory(prefix="tm-", dir="/tmp") as directory:
        first = World(directory)
        for port in (first.server._commands, first.server._events):
            port.close(0)  # dies without a clean end
        assert os.path.exists(first.commands)
        second = World(directory)
        dealer = second.socket(zmq.DEALER)
        dealer.send_multipart([b"", request()])
        assert second.until(lambda: second.asked)
        second.close()
        first._context.destroy(linger=0)


def test_a_clean_end_leaves_no_socket_file() -> None:
    with TemporaryDirectory(prefix="tm-", dir="/tmp") as directory:
        World(directory).close()
        assert os.listdir(directory) == []


def test_rebinding_serves_again_after_the_file_was_removed(world: World) -> None:
    os.unlink(world.commands)
    world.server.rebind()
    dealer = world.socket(zmq.DEALER)
    dealer.send_multipart([b"", request()])
    assert world.until(lambda: world.asked)


def test_subscriptions_tell_what_anybody_watches(world: World) -> None:
    told: list[set[str]] = []
    world.server.on_topics = lambda: told.append(set(world.server.topics))
    sub = world.socket(zmq.SUB)
    sub.subscribe(b"log.web:0")
    world.until(lambda: world.server.wanted("log.web:0"))
    assert not world.server.wanted("log.web:1")
    sub.unsubscribe(b"log.web:0")
    world.until(lambda: not world.server.wanted("log.web:0"))
    assert told == [{"log.web:0"}, set()]


def test_P13_endless_topics_are_not_remembered(world: World) -> None:
    sub = world.socket(zmq.SUB)
    sub.subscribe(b"x" * 1000)
    sub.subscribe(b"state")
    world.until(lambda: world.server.wanted("state"))
    assert world.server.topics == {"state"}


def test_published_documents_reach_who_subscribed(world: World) -> None:
    sub = world.socket(zmq.SUB)
    sub.subscribe(b"event")
    world.until(lambda: world.server.wanted("event.started"))
    world.server.publish("state", b"{}")
    world.server.publish("event.started", b'{"seq":1}')
    world.until(lambda: sub.poll(0))
    assert sub.recv_multipart() == [b"event.started", b'{"seq":1}']
