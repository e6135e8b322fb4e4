"""Descriptors beside frames: each frame finds its own, however the bytes are cut, and none is ever left open."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskmaster_core.custody import Custody
from taskmaster_core.shim import rights
from taskmaster_core.shim.frames import Decoder, encode
from taskmaster_core.shimlink import ShimLink, end_of


def opened() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, two = socket.socketpair()
    before = len(opened())
    yield one, two
    one.close()
    two.close()
    assert len(opened()) == before - 2


def hand(sock: socket.socket, key: str, what: str = "pipe", run: int = 1) -> list[int]:
    """Send fresh descriptors and close ours; return the inodes of what was sent."""
    fds = list(os.pipe()) if what == "terminal" else list(os.pipe())[:1]
    spare = [] if what == "terminal" else [fds[0] + 1]
    inodes = [os.fstat(fd).st_ino for fd in fds]
    rights.send(sock, encode([rights.frame_of(key, run, what)]), tuple(fds))
    rights.close([*fds, *(fd for fd in spare if os.path.exists(f"/proc/self/fd/{fd}"))])
    return inodes


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["terminal", "pipe", "words"]), max_size=30),
    size=st.integers(1, 300),
    ahead=st.integers(0, 30),
)
def test_every_frame_finds_its_own_descriptors_however_the_bytes_are_cut(
    steps: list[str], size: int, ahead: int
) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    groups: rights.Groups = []
    decoder, found, sent = Decoder(), [], []

    def read() -> None:
        try:
            data = rights.receive(theirs, size, groups)
        except BlockingIOError:
            return
        for frame in decoder.feed(data):
            for each in frame:
                fds = rights.claim(groups, each.get("what"))
                assert all(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for fd in fds)
                found.append((each.get("key"), [os.fstat(fd).st_ino for fd in fds]))
                rights.close(fds)

    for number, step in enumerate(steps):
        if step == "words":
            ours.send(encode([{"t": "grew", "key": str(number), "path": "x" * number * 7}]))
            sent.append((str(number), []))
        else:
            sent.append((str(number), hand(ours, str(number), step)))
        for _ in range(ahead if number % 3 == 0 else 0):
            read()
    for _ in range(sum(400 + 7 * each for each in range(len(steps))) // size + len(steps) + 1):
        read()
    ours.close()
    theirs.close()
    assert found == sent
    assert groups == []


def test_R01_a_full_table_of_descriptors_loses_one_terminal_and_not_the_step(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Where the kernel cannot give us what came, the frames behind it still find their own."""
    ours, theirs = pair
    hand(ours, "lost", "terminal")
    wanted = hand(ours, "whole")
    groups: rights.Groups = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))  # one fits, two do not
    try:
        first = rights.receive(theirs, 1 << 16, groups)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    second = rights.receive(theirs, 1 << 16, groups)
    decoder = Decoder()
    keys = [each["key"] for data in (first, second) for frame in decoder.feed(data) for each in frame]
    assert keys == ["lost", "whole"]
    assert rights.claim(groups, "terminal") == []
    (fd,) = rights.claim(groups, "pipe")
    assert [os.fstat(fd).st_ino] == wanted
    os.close(fd)


def test_the_core_keeps_what_comes_and_closes_it_when_the_run_is_over(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    link = ShimLink(os.dup(theirs.fileno()))
    before = len(opened())
    hand(ours, "web:0", "terminal")
    hand(ours, "web:1", "pipe")
    hand(ours, "web:1", "pipe")  # again, as after a greeting: instead of the first
    hand(ours, "web:2", "terminal")
    hand(ours, "web:3", "terminal")
    assert link.receive() == []
    assert len(opened()) == before + 7
    ours.send(
        encode(
            [
                {"t": "exited", "key": "web:0", "run": 1, "lingering": 1},
                {"t": "fds", "key": "web:1", "run": 1, "what": "none", "n": 1},
                {"t": "exited", "key": "web:2", "run": 1, "lingering": 0},
                {"t": "failed", "key": "web:3", "run": 1},
            ]
        )
    )
    assert [each["t"] for each in link.receive()] == ["exited", "fds", "exited", "failed"]
    assert [held[:3] for held in link.custody] == [("web:0", 1, "terminal")]
    assert len(opened()) == before + 2
    link.custody.drop("web:0", 1)
    link.close()


def test_what_came_without_its_frame_is_closed_with_the_wire(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    link = ShimLink(os.dup(theirs.fileno()))
    read, write = os.pipe()
    frame = encode([rights.frame_of("web:0", 1, "pipe")])
    rights.send(ours, frame[:10], (write,))
    rights.close([read, write])
    assert link.receive() == []
    link.close()  # `pair` counts


def test_R02_more_than_there_is_room_for_is_not_kept_and_said(pair: tuple[socket.socket, socket.socket]) -> None:
    """The copies never take so many descriptors that libzmq has none."""
    ours, theirs = pair
    custody = Custody(room=3)
    link = ShimLink(os.dup(theirs.fileno()), custody)
    for key in ("web:0", "web:1"):
        hand(ours, key, "terminal")
    link.receive()
    assert [held[0] for held in custody] == ["web:0"]
    assert "1 processes would lose" in custody.trouble
    ours.send(encode([{"t": "exited", "key": "web:1", "run": 1}]))
    link.receive()
    assert custody.trouble == ""
    custody.drop("web:0", 1)
    link.close()


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"lost": "terminal"}, "not known how; its terminal was lost with the shim"),
        ({"lost": "terminal", "signal": 1}, "its terminal was lost with the shim"),
        ({"lost": "terminal", "signal": 9}, ""),
        ({"lost": "terminal", "code": 0}, ""),
        ({"lost": "pipe", "code": 0}, "its input ended with the shim"),
        ({"code": 0}, ""),
    ],
)
def test_the_end_of_a_run_says_what_of_it_was_lost(report: dict[str, object], message: str) -> None:
    assert end_of({"t": "exited", **report}).message == message
