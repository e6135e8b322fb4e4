"""Hostile clients of a real core: it lives, its memory stays, and others are answered meanwhile."""

from __future__ import annotations

import os
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import zmq

from taskmaster_core import zmtp
from tests.harness import Daemon

HELLO = zmtp.GREETING + zmtp._command(b"READY", b"\x0bSocket-Type\x00\x00\x00\x06DEALER")
CONFIG = '[[task]]\nname = "web"\ncmd = "sleep 1000"\n'


@pytest.fixture(scope="module")
def core() -> Iterator[Daemon]:
    d = Daemon(CONFIG).start()
    d.wait_state("web:0", "running")
    yield d
    assert d.close() == []


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def unmoved(core: Daemon, flood: Callable[[], None], most: int = 16 << 20) -> None:
    """Let a flood come over a core; the same core answers during and after it, soon, and has not grown."""
    pid, before = core.core_pid, rss(core.core_pid)
    flooding = threading.Thread(target=flood)
    flooding.start()
    slowest, grown = 0.0, 0
    while flooding.is_alive():
        began = time.monotonic()
        core.request("status", timeout=10)
        slowest, grown = max(slowest, time.monotonic() - began), max(grown, rss(pid) - before)
    assert core.core_pid == pid
    assert grown < most
    assert slowest < 2.0


def test_P02_five_thousand_connections_do_not_end_the_core(core: Daemon) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(5_000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as held:

        def flood() -> None:
            for number in range(wanted):
                made = held.enter_context(socket.socket(socket.AF_UNIX))
                made.connect(core.places.commands if number % 2 else core.places.events)
                if number % 3 == 0:
                    with suppress(OSError):
                        made.send(HELLO)

        try:
            unmoved(core, flood)
            core.request("ping")
            assert len(os.listdir(f"/proc/{core.core_pid}/fd")) < hard / 2 + 100
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_P02_a_core_with_few_descriptors_lives_through_it_too() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        d = Daemon(CONFIG).start()
        resource.prlimit(d.core_pid, resource.RLIMIT_NOFILE, (64, 64))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pid = d.core_pid
    with ExitStack() as held:
        for number in range(600):
            made = held.enter_context(socket.socket(socket.AF_UNIX))
            made.setblocking(False)
            with suppress(OSError):
                made.connect(d.places.commands if number % 2 else d.places.events)
                made.send(HELLO)
    d.wait(lambda: d.core_pid == pid)
    assert d.events("core_replaced") == []
    assert d.close() == []


def test_P04_endless_multipart_costs_nothing(core: Daemon) -> None:
    def flood() -> None:
        part = b"\x03" + (65_536).to_bytes(8, "big") + bytes(65_536)
        for _ in range(200):
            with socket.socket(socket.AF_UNIX) as made, suppress(OSError):
                made.connect(core.places.commands)
                made.send(HELLO)
                for _ in range(1_000):
                    made.send(part)

    unmoved(core, flood)


def test_P05_frames_of_64_MiB_are_not_taken(core: Daemon) -> None:
    def flood() -> None:
        with zmq.Context() as context:
            for _ in range(5):
                with context.socket(zmq.DEALER) as dealer:
                    dealer.linger = 0
                    dealer.connect(f"ipc://{core.places.commands}")
                    dealer.send_multipart([b"", bytes(64 << 20)], copy=False)
                    time.sleep(0.1)

    unmoved(core, flood)


def test_P13_a_hundred_thousand_topics_of_each_of_five_clients(core: Daemon) -> None:
    def flood() -> None:
        with zmq.Context() as context, ExitStack() as held:
            for client in range(5):
                sub = held.enter_context(context.socket(zmq.SUB))
                sub.linger = 0
                sub.connect(f"ipc://{core.places.events}")
                for number in range(100_000):
                    sub.subscribe(f"log.{client}.{number}")
            time.sleep(0.5)

    unmoved(core, flood, 32 << 20)
    core.wait(lambda: core.request("ping", timeout=1))


def test_P06_ten_thousand_messages_of_garbage(core: Daemon) -> None:
    def flood() -> None:
        chance = random.Random(4)
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.connect(f"ipc://{core.places.commands}")
            for _ in range(10_000):
                dealer.send_multipart(
                    [b"", *(chance.randbytes(chance.randrange(99)) for _ in range(chance.randrange(4)))]
                )
                while dealer.poll(0):
                    dealer.recv_multipart()

    unmoved(core, flood)
