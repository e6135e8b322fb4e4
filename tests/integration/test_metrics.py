"""Processor time and memory of whole trees, by control group and by descent; and that nobody pays who does not look."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import zmq

from tests.harness import Daemon, descendants_of, stat_of, status_field
from tests.integration.shared import cmd, job, running

MB = 1 << 20
CONFIG = '[taskmaster]\nautoreload = "off"\nloglevel = "error"\n' + "".join(
    [
        job("busy", cmd("tree.py", "busy", 1), nice="19"),
        job("parent", cmd("tree.py", "still", 1, "--child", "busy", 1), nice="19"),
        job("holder", cmd("tree.py", "still", 1, "--child", "still", 60)),
        job("runaway", cmd("tree.py", "still", 1, "--orphan", "still", 60)),
        job("quiet", '"sleep 1000"', numprocess="3"),
        job("brief", '"sleep 1000"', restart='"never"', autostart="false"),
    ]
)


@pytest.fixture(scope="module", params=[(), ("--no-cgroup",)], ids=["groups", "descent"])
def it(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with running(CONFIG, args=request.param) as found:
        for key, lines in (("busy:0", 1), ("parent:0", 2), ("holder:0", 2), ("runaway:0", 2)):
            found.wait(lambda key=key, lines=lines: found.output(key).count("\n") == lines, what=f"{key} is whole")
        yield found


@contextmanager
def watching(it: Daemon, *topics: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Subscribe; what is yielded waits for the next message and returns it."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        for topic in topics:
            socket.subscribe(topic)
        socket.connect(f"ipc://{it.places.events}")

        def heard() -> dict[str, Any]:
            assert socket.poll(10_000), "nothing was published"
            found: dict[str, Any] = msgspec.json.decode(socket.recv_multipart()[1])
            return found

        yield heard


def looked_at(it: Daemon) -> list[str]:
    """Return the files of processes and groups that the core holds open."""
    where = f"/proc/{it.core_pid}/fd"
    paths = [os.readlink(f"{where}/{fd}") for fd in os.listdir(where) if os.path.lexists(f"{where}/{fd}")]
    return [path for path in paths if path.startswith(("/proc/", "/sys/fs/cgroup/"))]


def switches(pid: int) -> int:
    """Return how often any thread of a process has woken up."""
    return sum(
        int(status_field(int(tid), kind)) for tid in os.listdir(f"/proc/{pid}/task")
        for kind in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    )  # fmt: skip


def ticks(*pids: int) -> int:
    """Return what processes have used of the processors, in hundredths of a second."""
    return sum(int(used) for pid in pids for used in stat_of(pid)[11:13])


def share(it: Daemon, key: str) -> tuple[float, float]:
    """Return the percent the second sample tells of a tree, and what the kernel told us of its processes meanwhile."""
    leader = it.proc(key).pid
    assert leader is not None
    pids = [leader, *descendants_of(leader)]
    with watching(it, "metrics") as heard:
        heard()
        before, began = ticks(*pids), time.monotonic()
        told = heard()["processes"][key][0]
        return told, (ticks(*pids) - before) / (time.monotonic() - began)


def test_a_busy_loop_takes_what_it_can_get_of_one_processor(it: Daemon) -> None:
    told, real = share(it, "busy:0")
    assert 0 < told <= 110
    assert told == pytest.approx(real, abs=20)


def test_what_a_child_uses_counts(it: Daemon) -> None:
    told, real = share(it, "parent:0")
    assert 0 < told <= 110
    assert told == pytest.approx(real, abs=20)


def test_memory_of_a_child_counts(it: Daemon) -> None:
    with watching(it, "metrics") as heard:
        processes = heard()["processes"]
    assert 60 * MB < processes["holder:0"][1] < 110 * MB
    assert processes["quiet:0"][1] < 10 * MB


def test_what_has_left_session_group_and_parent_counts(it: Daemon) -> None:
    with watching(it, "metrics") as heard:
        assert 60 * MB < heard()["processes"]["runaway:0"][1] < 110 * MB


def test_a_sample_comes_each_second_and_says_over_which_time(it: Daemon) -> None:
    with watching(it, "metrics") as heard:
        heard()
        first, second = heard(), heard()
    assert first["boot"] == it.status()["core"]["boot"]
    assert second["interval"] == pytest.approx(second["at"] - first["at"], abs=0.2)
    assert second["interval"] == pytest.approx(1, abs=0.3)


def test_a_process_that_ended_is_not_in_the_next_sample(it: Daemon) -> None:
    it.request("start", "brief")
    with watching(it, "metrics") as heard:
        assert "brief:0" in heard()["processes"]
        it.request("stop", "brief")
        at = time.time()
        while (sample := heard())["at"] < at:
            pass
    assert "brief:0" not in sample["processes"]
    assert it.proc("brief:0").rss is None


def test_status_shows_a_sample_of_late(it: Daemon) -> None:
    with watching(it, "metrics") as heard:
        sample = heard()["processes"]["holder:0"]
        view = it.proc("holder:0")
    assert [view.cpu, view.rss] == sample


def test_status_brings_fresh_numbers_when_asked_and_nobody_subscribes(it: Daemon) -> None:
    jobs = {job["name"]: job["processes"][0] for job in it.request("status", usage=True)["jobs"]}
    assert 60 * MB < jobs["holder"]["rss"] < 110 * MB
    assert 0 < jobs["busy"]["cpu"] <= 110
    assert jobs["quiet"]["cpu"] < 5
    assert jobs["brief"]["rss"] is None


def test_a_selector_that_means_nothing_is_an_error_with_usage_too(it: Daemon) -> None:
    with pytest.raises(Exception, match="no job or process matches"):
        it.request("status", "nobody", usage=True)


def test_descriptors_are_held_while_somebody_looks_and_closed_after(it: Daemon) -> None:
    with watching(it, "metrics") as heard:
        heard()
        assert len(looked_at(it)) >= 2 * len(it.pids("quiet"))
    it.wait(lambda: not looked_at(it), what="the descriptors are closed")
    it.request("status", usage=True)
    assert looked_at(it) == []


def test_nobody_looks_and_nothing_is_read_and_nobody_wakes(it: Daemon) -> None:
    with watching(it, "metrics") as heard:
        heard()
    it.wait(lambda: not looked_at(it), what="the descriptors are closed")
    pid = it.core_pid

    def still() -> bool:
        before = switches(pid)
        time.sleep(2.2)  # longer than two samples would need; there is no condition for nothing
        return switches(pid) - before <= 2  # the beat to the shim may fall into it

    it.wait(still, what="the core sleeps")


def test_another_topic_brings_no_sample(it: Daemon) -> None:
    with watching(it, "beat", "state") as heard:
        heard()
        heard()
        assert looked_at(it) == []


def test_the_table_shows_both(it: Daemon) -> None:
    lines = it.cli("status", "--procs", "holder").stdout.splitlines()
    assert lines[0].split()[4:6] == ["CPU", "MEM"]
    assert lines[1].split()[6].endswith("M")
