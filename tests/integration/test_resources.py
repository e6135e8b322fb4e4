"""Nothing grows: descriptors, memory and processes are the same after much work as before (RELIABILITY R02, short).

The numbers are those of the kernel. A first round warms everything up (allocators, caches, threads); what counts is
the second one, which is as long.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import zmq

from tests.harness import Daemon, children_of, status_field
from tests.integration.shared import job, running

CONFIG = '[taskmaster]\nautoreload = "off"\nloglevel = "error"\n'
STEADY = job("steady", '"sleep 1000"', numprocess="10")
SLACK = 1.05
"""What R02 allows memory to move."""


class Size(NamedTuple):
    """Hold what a process takes: open descriptors, threads, resident kilobytes."""

    descriptors: int
    threads: int
    memory: int


def size_of(pid: int) -> Size:
    memory = int(status_field(pid, "VmRSS").split()[0])
    return Size(len(os.listdir(f"/proc/{pid}/fd")), int(status_field(pid, "Threads")), memory)


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    with running(CONFIG + STEADY) as found:
        found.wait(lambda: {view.state for view in found.procs()} == {"running"})
        yield found


def flat(it: Daemon, work: Callable[[int], None], rounds: int) -> None:
    """Do the work for some rounds, then again as many; assert that the second half left nothing behind."""
    shim, core = it.shim_pid, it.core_pid
    for number in range(rounds):
        work(number)
    before = {"shim": size_of(shim), "core": size_of(core)}
    children = sorted(children_of(shim))
    for number in range(rounds, 2 * rounds):
        work(number)
    it.wait(lambda: len(children_of(shim)) == len(children), what="no child is left over")
    it.wait(
        lambda: (
            size_of(core).descriptors <= before["core"].descriptors
            and size_of(shim).descriptors <= before["shim"].descriptors
        ),
        what="no descriptor is left over",
    )
    after = {"shim": size_of(shim), "core": size_of(core)}
    for name, size in after.items():
        assert size.threads == before[name].threads
        assert size.memory <= before[name].memory * SLACK, f"{name}: {before[name]} -> {size}"


def test_R02_three_hundred_starts_and_stops_leave_nothing(it: Daemon) -> None:
    def work(_: int) -> None:
        assert it.request("stop", "steady")["ok"]
        assert it.request("start", "steady")["ok"]

    flat(it, work, 15)


def test_R02_processes_that_come_and_go_by_themselves_leave_nothing(it: Daemon) -> None:
    def work(number: int) -> None:
        name = f"brief{number % 2}"
        it.write_config(CONFIG + STEADY + job(name, '"true"', numprocess="10", restart='"never"'))
        it.request("reload")
        it.wait(lambda: all(view.state == "exited" for view in it.procs(name)))

    flat(it, work, 12)
    it.write_config(CONFIG + STEADY)
    it.request("reload")


def test_R02_fifty_reloads_leave_nothing(it: Daemon) -> None:
    def work(number: int) -> None:
        it.write_config(CONFIG + STEADY + job("other", '"sleep 1000"', description=f'"{number}"', nice=str(number % 5)))
        assert it.request("reload")["generation"]

    flat(it, work, 50)  # fifty more are the warming up: the generations that are kept must be full
    it.write_config(CONFIG + STEADY)
    it.request("reload")


def test_R02_refused_reloads_leave_nothing(it: Daemon) -> None:
    broken = CONFIG + STEADY + "[[task]]\nname = \n"

    def work(number: int) -> None:
        it.write_config(broken + "#" * number)
        before = it.status()["core"]["seq"]
        os.kill(it.shim_pid, 1)
        it.wait_event("config_error", since=before)

    flat(it, work, 20)
    it.write_config(CONFIG + STEADY)
    it.request("reload")


def test_R02_clients_that_come_and_go_leave_nothing(it: Daemon) -> None:
    def work(number: int) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as events, context.socket(zmq.DEALER) as commands:
            events.linger = commands.linger = 0
            events.subscribe(b"")
            events.connect(f"ipc://{it.places.events}")
            commands.connect(f"ipc://{it.places.commands}")
            commands.send_multipart(
                [b"", b"not a request" if number % 2 else b'{"v":1,"id":"%d","op":"ping"}' % number]
            )
            assert commands.poll(10_000)

    flat(it, work, 100)


def test_R02_connections_cut_in_the_middle_leave_nothing(it: Daemon) -> None:
    def work(_: int) -> None:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(it.places.commands)
            raw.sendall(b"\xff\x00\x00")
        assert it.ping()

    flat(it, work, 50)


def test_R02_signals_to_the_main_process_leave_nothing(it: Daemon) -> None:
    def work(_: int) -> None:
        for signum in (10, 12):  # USR1: bind again, USR2: open the logs again
            os.kill(it.shim_pid, signum)
        it.wait(it.ping)

    flat(it, work, 20)


def test_R02_cores_that_come_and_go_leave_nothing_in_the_shim(it: Daemon) -> None:
    def size() -> tuple[int, int]:
        found = size_of(it.shim_pid)
        return found.descriptors, found.memory

    for _ in range(3):
        it.kill_core()
    before = size()
    for _ in range(5):
        it.kill_core()
    it.wait(lambda: size()[0] <= before[0])
    assert size()[1] <= before[1] * SLACK
    assert len(children_of(it.shim_pid)) == 11
