"""Other machines: a key on the list is let in with its role, and nothing else gets an answer."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from taskmaster_core import keys, wire
from taskmaster_core.access import Role
from taskmaster_core.aclient import AsyncClient
from taskmaster_core.client import Client
from taskmaster_core.errors import NoCore, Refused, TaskmasterError
from taskmaster_core.remote import Door
from tests.harness import Daemon, wait_until
from tests.integration.conftest import Start

SILENT = 600
"""Milliseconds after which nothing is taken for an answer; a good key has one in 10."""


def two_ports() -> int:
    """Return a port that is free, as is the one after it; below those the kernel gives to connections of others."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000, 2)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise AssertionError("no two ports")


class Far:
    """A core that listens, and what somebody elsewhere has of it."""

    def __init__(self, d: Daemon, address: str) -> None:
        self.d, self.address = d, address
        self.core = str(json.loads(d.cli("host", "keygen", "--core", "--json").stdout)["key"])
        self.list = keys.of_authorized(str(d.statedir))

    def pair(self, role: str | None = None, name: str = "laptop") -> keys.Pair:
        """Return a new key, on the list if it has a role."""
        made = keys.make_pair()
        if role is not None:
            said = self.d.cli("host", "authorize", name, made.public, "--role", role)
            assert said.returncode == 0, said.stderr
        return made

    def ask(self, pair: keys.Pair | None, op: str = "ping", *select: str, core: str = "") -> Any:
        """Return the reply to one request, None if nobody answers."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            if pair is not None:
                dealer.curve_publickey, dealer.curve_secretkey = pair.public.encode(), pair.secret.encode()
                dealer.curve_serverkey = (core or self.core).encode()
            dealer.connect(self.address)
            dealer.send_multipart([b"", wire.encode(wire.Request(1, uuid.uuid4().hex, op, list(select)))])
            wait = 5_000 if pair is not None and pair.public in Path(self.list).read_text() and not core else SILENT
            return json.loads(dealer.recv_multipart()[1]) if dealer.poll(wait) else None


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    port = two_ports()
    address = f"tcp://127.0.0.1:{port}"
    d = Daemon(f'[taskmaster.access]\nlisten = "{address}"\n[[task]]\nname = "web"\ncmd = "sleep 1000"\n').start()
    d.wait_state("web:0", "running")
    assert d.status()["core"]["troubles"] == []
    made = Far(d, address)
    made.pair("read-only", "somebody")
    yield made
    assert d.close() == []


# Who is let in -------------------------------------------------------------------------------------------------------


def test_a_key_on_the_list_is_let_in_with_its_role(far: Far) -> None:
    for role in ("read-only", "operator", "admin"):
        assert far.ask(far.pair(role))["result"]["role"] == role


def test_S02_a_key_that_is_not_on_the_list_gets_no_answer(far: Far) -> None:
    assert far.ask(far.pair()) is None


def test_S02_a_client_without_a_key_gets_no_answer(far: Far) -> None:
    assert far.ask(None) is None


def test_S02_a_client_that_takes_another_core_for_this_one_gets_no_answer(far: Far) -> None:
    assert far.ask(far.pair("admin", "misled"), core=far.pair().public) is None


def test_S02_the_events_are_as_closed_as_the_commands(far: Far) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as plain, context.socket(zmq.SUB) as strange:
        stranger = far.pair()
        strange.curve_publickey, strange.curve_secretkey = stranger.public.encode(), stranger.secret.encode()
        strange.curve_serverkey = far.core.encode()
        for each in (plain, strange):
            each.linger = 0
            each.subscribe(b"")
            each.connect(f"tcp://127.0.0.1:{int(far.address.rpartition(':')[2]) + 1}")
        time.sleep(0.2)
        far.d.request("hold", "web")
        far.d.request("release", "web")
        assert not plain.poll(SILENT)
        assert not strange.poll(0)


def test_S03_a_reader_from_far_cannot_act(far: Far) -> None:
    pid = far.d.pids("web")
    reply = far.ask(far.pair("read-only"), "restart", "web")
    assert reply["error"]["code"] == "refused"
    assert "key laptop from 127.0.0.1" in reply["error"]["message"]
    assert far.d.pids("web") == pid


def test_an_operator_from_far_acts_and_is_written_down_by_name(far: Far) -> None:
    assert far.ask(far.pair("operator", "night-shift"), "hold", "web")["ok"]
    far.d.request("release", "web")
    asked = [event for event in far.d.events("asked") if "night-shift" in event.cause.who]
    assert asked[0].data["op"] == "hold"
    assert asked[0].cause.who == "key night-shift from 127.0.0.1"


def test_a_key_that_is_taken_off_the_list_is_put_out_of_what_it_has_open(far: Far) -> None:
    pair = far.pair("read-only", "leaver")
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer, context.socket(zmq.SUB) as sub:
        for each in (dealer, sub):
            each.linger = 0
            each.curve_publickey, each.curve_secretkey = pair.public.encode(), pair.secret.encode()
            each.curve_serverkey = far.core.encode()
        sub.subscribe(b"beat")
        sub.connect(f"tcp://127.0.0.1:{int(far.address.rpartition(':')[2]) + 1}")
        dealer.connect(far.address)
        ping = [b"", wire.encode(wire.Request(1, uuid.uuid4().hex, "ping"))]
        dealer.send_multipart(ping)
        assert dealer.poll(5_000), "while it is listed it is answered"
        assert sub.poll(5_000), "while it is listed it hears"
        dealer.recv_multipart()
        assert far.d.cli("host", "rm", "leaver", "--authorized").returncode == 0

        def silent() -> bool:
            while sub.poll(0):
                sub.recv_multipart()
            return not sub.poll(1_500)

        wait_until(silent, 10)
        # A client that was told that it is refused has no connection left to send over.
        with contextlib.suppress(zmq.Again):
            dealer.send_multipart(ping, zmq.NOBLOCK)
        assert not dealer.poll(SILENT)
    assert far.ask(far.pair("read-only"))["ok"], "others are let in as before"


def test_S15_a_list_that_others_can_write_lets_nobody_in(far: Far) -> None:
    pair = far.pair("admin")
    os.chmod(far.list, 0o666)
    try:
        assert far.ask(pair) is None
        far.d.wait(lambda: any("no key is let in" in each for each in far.d.status()["core"]["troubles"]))
    finally:
        os.chmod(far.list, 0o600)
    far.d.wait(lambda: far.ask(pair))
    far.d.wait(lambda: far.d.status()["core"]["troubles"] == [])


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(300), os.urandom(1_000), b""])
def test_P01_garbage_from_far_is_dropped(far: Far, data: bytes) -> None:
    host, _, port = far.address.removeprefix("tcp://").partition(":")
    with socket.create_connection((host, int(port))) as raw, contextlib.suppress(OSError):
        raw.sendall(data)
    assert far.d.ping()
    assert far.ask(far.pair("read-only"))["ok"]


def test_P03_half_a_handshake_is_ended(far: Far) -> None:
    host, _, port = far.address.removeprefix("tcp://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.settimeout(6)
        raw.sendall(b"\xff" + bytes(8) + b"\x7f")
        while raw.recv(1_000):
            pass  # what the core says of itself, and then the end
    assert far.d.ping()


# Fail closed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", ["closed", "silent"])
def test_S02_without_its_judge_the_door_lets_nobody_in(tmp_path: Path, dead: str) -> None:
    address = f"tcp://127.0.0.1:{two_ports()}"
    public, secret = zmq.curve_keypair()
    keys.write_authorized(
        keys.of_authorized(str(tmp_path)), {public.decode(): keys.Authorized("good", public.decode(), Role.ADMIN)}
    )
    heard: list[Any] = []
    door = Door(address, str(tmp_path), lambda *said: heard.append(said), lambda _: None)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.curve_publickey, dealer.curve_secretkey, dealer.curve_serverkey = public, secret, door.public.encode()
        if dead == "closed":
            door._zap.close(0)
        dealer.connect(address)
        dealer.send(b"hello")
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if dead == "closed":
                with contextlib.suppress(zmq.ZMQError):
                    heard += [door._router.recv_multipart(zmq.NOBLOCK)]
            time.sleep(0.01)
        assert heard == []
        if dead == "silent":  # the same client is let in as soon as somebody judges
            wait_until(lambda: door.turn() or heard, 5)
    door.close()


def test_an_address_that_is_taken_is_told_and_nothing_else_suffers(daemon: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        d = daemon(f'[taskmaster.access]\nlisten = "tcp://127.0.0.1:{port}"\n')
        d.wait(lambda: any("cannot listen" in each for each in d.status()["core"]["troubles"]))


def test_the_door_opens_and_shuts_with_a_reload(daemon: Start) -> None:
    address = f"tcp://127.0.0.1:{two_ports()}"
    d = daemon("")
    d.write_config(f'[taskmaster.access]\nlisten = "{address}"\n')
    d.request("reload")
    far = Far(d, address)
    pair = far.pair("read-only")
    assert far.ask(pair)["ok"]
    d.write_config("[taskmaster.access]\n")
    d.request("reload")
    host, _, port = address.removeprefix("tcp://").partition(":")

    def shut() -> bool:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return True
        return False

    d.wait(shut)


# Clients -------------------------------------------------------------------------------------------------------------


def from_far(far: Far, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody who has no core on his machine."""
    return far.d.cli(*words, env={**far.d.env, "XDG_CONFIG_HOME": str(tmp_path)})


def test_the_whole_way_from_keygen_to_restart(far: Far, tmp_path: Path) -> None:
    key = from_far(far, tmp_path, "host", "keygen").stdout.strip()
    assert stat.S_IMODE(os.stat(tmp_path / "taskmaster" / "client.key").st_mode) == 0o600
    assert from_far(far, tmp_path, "host", "keygen").stdout.strip() == key, "a key is made once"
    assert from_far(far, tmp_path, "host", "add", "prod", far.address, far.core).returncode == 0
    before = from_far(far, tmp_path, "--host", "prod", "status")
    assert (before.returncode, "does not let this key in" in before.stderr) == (7, True), before.stderr
    assert far.d.cli("host", "authorize", "me", key, "--role", "operator").returncode == 0
    assert "web" in from_far(far, tmp_path, "--host", "prod", "status").stdout
    pid = far.d.pids("web")
    assert from_far(far, tmp_path, "restart", "web", "--host", "prod").returncode == 0
    assert far.d.pids("web") != pid
    assert from_far(far, tmp_path, "--host", "prod", "reload").returncode == 7
    listed = json.loads(from_far(far, tmp_path, "host", "list", "--json").stdout)
    assert listed["hosts"] == [{"name": "prod", "address": far.address, "key": far.core}]
    assert from_far(far, tmp_path, "host", "rm", "prod").returncode == 0
    assert from_far(far, tmp_path, "--host", "prod", "status").returncode == 2


def test_S15_a_secret_key_that_others_can_read_is_not_used(far: Far, tmp_path: Path) -> None:
    from_far(far, tmp_path, "host", "keygen")
    from_far(far, tmp_path, "host", "add", "prod", far.address, far.core)
    os.chmod(tmp_path / "taskmaster" / "client.key", 0o644)
    said = from_far(far, tmp_path, "--host", "prod", "status")
    assert (said.returncode, "open to others" in said.stderr) == (7, True)


async def test_an_async_client_speaks_to_a_host_and_hears_it(far: Far) -> None:
    pair = far.pair("read-only")
    async with AsyncClient(at=far.address, curve=keys.Curve(far.core, pair)) as client:
        assert (await client.call("ping", timeout=10))["role"] == "read-only"
        with client.subscribe(["beat"]) as heard:
            assert (await anext(heard)).topic == "beat"


def test_P18_a_host_that_does_not_answer_is_told(tmp_path: Path) -> None:
    pair = keys.pair_at(str(tmp_path / "own.key"))
    client = Client(f"tcp://127.0.0.1:{two_ports()}", silence=0.1, curve=keys.Curve(pair.public, pair))
    with client, pytest.raises((NoCore, Refused)):
        client.call("ping")


def test_a_socket_that_ssh_forwards_needs_no_key(far: Far, tmp_path: Path) -> None:
    """What `ssh -L` does: another path whose bytes go to the core's socket; the peer is then sshd's user there."""
    forwarded = tmp_path / "cmd.sock"
    forwarded.symlink_to(far.d.places.commands)
    (tmp_path / "evt.sock").symlink_to(far.d.places.events)
    assert far.d.cli("--socket", str(tmp_path), "status").returncode == 0


def test_a_key_never_shows_its_secret(far: Far) -> None:
    pair = keys.read_pair(keys.of_core(str(far.d.statedir)))
    assert pair is not None
    assert pair.secret not in repr(pair) + repr(keys.Curve(far.core, pair))
    with contextlib.suppress(TaskmasterError):
        assert pair.secret not in json.dumps(far.d.request("config")) + json.dumps(far.d.request("status"))
