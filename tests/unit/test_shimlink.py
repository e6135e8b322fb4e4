"""The core's end of the wire to the shim: whole frames, exact ends, and no surprise when the shim is gone."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Iterator

import pytest

from taskmaster_core import machine
from taskmaster_core.shim.frames import encode
from taskmaster_core.shimlink import LinkClosed, ShimLink, signal_name, signal_number, to_found, to_stimulus
from taskmaster_core.spec import Exit, Key


@pytest.fixture
def pair() -> Iterator[tuple[ShimLink, socket.socket]]:
    ours, theirs = socket.socketpair()
    link = ShimLink(ours.detach())
    yield link, theirs
    theirs.close()
    link._socket.close()


def test_reports_come_out_in_order_however_they_are_cut(pair: tuple[ShimLink, socket.socket]) -> None:
    link, shim = pair
    stream = encode([{"t": "a"}, {"t": "b"}]) + encode([{"t": "c"}])
    got = []
    for byte in stream:
        shim.send(bytes([byte]))
        got += link.receive()
    assert [each["t"] for each in got] == ["a", "b", "c"]


def test_a_frame_larger_than_the_socket_waits_for_the_shim(pair: tuple[ShimLink, socket.socket]) -> None:
    link, shim = pair
    link.send([{"t": "spawn", "argv": ["x" * 4_000_000]}])
    before = link.backlog
    read = 0
    while link.backlog:
        read += len(shim.recv(1 << 20))
        link.flush()
    assert before
    assert read > 3_000_000


def test_the_end_of_the_wire_is_told_after_what_came_before_it(pair: tuple[ShimLink, socket.socket]) -> None:
    link, shim = pair
    shim.send(encode([{"t": "last"}]))
    shim.close()
    assert link.receive() == [{"t": "last"}]
    with pytest.raises(LinkClosed):
        link.receive()


def test_a_torn_wire_is_a_closed_wire(pair: tuple[ShimLink, socket.socket]) -> None:
    link, shim = pair
    shim.send((2).to_bytes(4, "big") + b"{}")
    with pytest.raises(LinkClosed, match="torn"):
        link.receive()


class Starved:
    """Be a socket for which the kernel has no memory, twice for each call."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._left = {"send": 2, "recvmsg": 2}

    def __getattr__(self, name: str) -> object:
        if self._left.get(name):
            self._left[name] -= 1
            raise OSError(errno.ENOMEM, "")
        return getattr(self._inner, name)


def test_L03_no_memory_for_the_wire_at_a_moment_is_no_end_of_it(pair: tuple[ShimLink, socket.socket]) -> None:
    link, shim = pair
    link._socket = Starved(link._socket)  # type: ignore[assignment]
    link.send([{"t": "beat"}])
    waiting = link.backlog
    link.flush()
    link.flush()
    assert (waiting, link.backlog) == (True, False)
    shim.sendall(encode([{"t": "reload"}]))
    assert [link.receive(), link.receive(), link.receive()] == [[], [], [{"t": "reload"}]]


def test_sending_to_a_shim_that_is_gone_says_so(pair: tuple[ShimLink, socket.socket]) -> None:
    link, shim = pair
    shim.close()
    with pytest.raises(LinkClosed):
        link.send([{"t": "beat"}])


WEB = Key("web", 0)


@pytest.mark.parametrize(
    ("report", "stimulus"),
    [
        ({"t": "spawned", "pid": 5, "at": 1.5}, machine.Spawned(7, 5, 1.5)),
        (
            {"t": "failed", "stage": "exec", "errno": "ENOENT", "message": "no"},
            machine.SpawnFailed(7, Exit(stage="exec", errno="ENOENT", message="no")),
        ),
        ({"t": "exited", "code": 0}, machine.Exited(7, Exit(code=0))),
        ({"t": "exited", "code": 3, "lingering": 2}, machine.Exited(7, Exit(code=3), 2)),
        (
            {"t": "exited", "signal": 11, "core": True},
            machine.Exited(7, Exit(signal="SIGSEGV", signum=11, core=True)),
        ),
        (
            {"t": "exited", "code": 0, "swept": [[9, "sleep"]]},
            machine.Exited(7, Exit(code=0), 0, ("sleep (9)",)),
        ),
        (
            {"t": "exited", "code": 0, "lingering": 12, "left": [[n, "nap"] for n in range(12)]},
            machine.Exited(7, Exit(code=0), 12, left=tuple(f"{n} nap" for n in range(10))),
        ),
        (
            {"t": "exited", "code": 0, "outlived": [[9, "sleep"]], "unnamed": 4},
            machine.Exited(7, Exit(code=0), outlived=("sleep (9)",), unnamed=4),
        ),
        ({"t": "exited"}, machine.Exited(7, Exit(message="not known how"))),
        ({"t": "unkillable", "pids": [4]}, machine.Unkillable(7, (4,))),
    ],
)
def test_a_report_says_the_same_to_the_machine(report: dict[str, object], stimulus: object) -> None:
    assert to_stimulus({"key": "web:0", "run": 7, **report}) == (WEB, stimulus)


def test_reports_about_other_things_are_not_for_the_machine() -> None:
    assert to_stimulus({"t": "grew", "path": "/x", "size": 1}) is None


def test_a_live_run_is_found() -> None:
    found = to_found({"key": "write bar:3", "run": 2, "pid": 9, "at": 4.0, "stopping": True})
    assert found == (Key("write bar", 3), machine.Found(2, 9, 4.0, stopping=True))


@pytest.mark.parametrize("number", range(1, 65))
def test_L14_every_signal_has_a_name_that_leads_back_to_it(number: int) -> None:
    if number in (32, 33):  # the C library keeps these two
        assert signal_name(number) == f"SIG{number}"
    assert signal_number(signal_name(number)) == number


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("sigterm", 15), (" 9 ", 9), ("RTMIN+1", signal.SIGRTMIN + 1)]
)
def test_signals_are_understood_as_people_write_them(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["TREM", "0", "65", "", "RTMIN+x", "-1"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no such signal"):
        signal_number(text)
