"""The core may die at any moment: jobs, logs, exit codes and wishes do not notice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest
import zmq

from taskmaster_core import wire
from tests.harness import PROGRAMS, Daemon
from tests.integration.conftest import Start

STEADY = """
[[task]]
name = "steady"
cmd = "sleep 1000"
numprocess = 10
"""


def steady_pids(d: Daemon) -> dict[str, int | None]:
    """Wait until the steady ones run and return their pids."""
    d.wait(lambda: {view.state for view in d.procs("steady")} == {"running"})
    return d.pids("steady")


def exits(d: Daemon) -> list[tuple[str, object]]:
    return [(event.key, event.data.get("code")) for event in d.events("exited")]


def test_L01_a_killed_core_costs_no_process_and_no_exit_code(daemon: Start, tmp_path: Path) -> None:
    ends = "".join(
        f"""
[[task]]
name = "end{n}"
cmd = "sh -c 'until [ -e {tmp_path}/go ]; do sleep 0.01; done; sleep 0.{n}; exit {n}'"
restart = "never"
"""
        for n in range(1, 6)
    )
    d = daemon(STEADY + ends)
    d.wait(lambda: {view.state for view in d.procs()} == {"running"})
    before = d.pids("steady")
    os.kill(d.core_pid, signal.SIGSTOP)  # it hears nothing of what comes now
    core = int(Path(f"/proc/{d.shim_pid}/task/{d.shim_pid}/children").read_text().split()[0])
    (tmp_path / "go").touch()
    end_pids = [pid for key, pid in before.items() if pid is None]
    assert end_pids == []
    d.wait(lambda: not any(f"{tmp_path}/go" in cmdline(pid) for pid in children(d.shim_pid)), what="five have ended")
    began = time.monotonic()
    os.kill(core, signal.SIGKILL)
    d.wait(d.ping, 5.0, "a new core answers")
    assert time.monotonic() - began < 4.0  # two seconds on a machine of its own
    assert d.pids("steady") == before
    d.wait(lambda: len(exits(d)) == 5)
    assert exits(d) == [(f"end{n}:0", n) for n in range(1, 6)]
    assert {view.run for view in d.procs("steady")} == {1}


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def test_L01_counts_ends_and_wishes_outlive_the_core(daemon: Start) -> None:
    d = daemon(
        STEADY
        + """
[[task]]
name = "fatal"
cmd = "/no/such/program"
retry = 1
backoff = { first = 0.01 }
[[task]]
name = "done"
cmd = "sh -c 'exit 0'"
[[task]]
name = "waits"
cmd = "sh -c 'exit 3'"
retry = "forever"
backoff = { first = 60, max = 60 }
[[task]]
name = "held"
cmd = "sleep 1000"
"""
    )
    d.request("stop", "held")
    d.wait_state("fatal:0", "fatal")
    d.wait_state("waits:0", "backoff")
    d.wait_state("done:0", "exited")
    before = {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()}
    due = d.proc("waits:0").next_start_at
    d.kill_core()
    after = {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()}
    assert after == before
    assert d.proc("waits:0").next_start_at == pytest.approx(due, abs=0.5)
    assert d.proc("held:0").goal == "down"


def test_a_core_killed_twenty_times_at_random_moments_leaves_everything_in_order(daemon: Start) -> None:
    seed = int(os.environ.get("TM_SEED", "20261123"))
    chance = random.Random(seed)
    print(f"TM_SEED={seed}")
    d = daemon(
        STEADY
        + f"""
[[task]]
name = "flap"
cmd = ["python3", "{PROGRAMS}/exit_with.py", "3"]
restart = "always"
retry = "forever"
numprocess = 4
backoff = {{ first = 0.05, max = 0.2 }}
"""
    )
    before = steady_pids(d)
    for _ in range(20):
        d.kill_core(wait=False)
        time.sleep(chance.uniform(0.0, 0.25))  # the moment is what is random; nothing is awaited here
        d.wait(d.ping, 10.0, "a new core answers")
    d.wait(lambda: all(view.state != "unknown" for view in d.procs()))
    assert d.pids("steady") == before
    assert {view.run for view in d.procs("steady")} == {1}
    events = d.events()
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(events)))
    for key in (f"flap:{index}" for index in range(4)):
        runs = [(event.data["run"], event.type) for event in events if event.key == key and event.type in ORDER]
        assert len(set(runs)) == len(runs), f"{key}: something was told twice"
        assert sorted(runs, key=lambda each: (each[0], ORDER.index(each[1]))) == runs
        started = [run for run, kind in runs if kind == "started"]
        assert started == list(range(1, len(started) + 1))


ORDER = ("started", "exited")


def test_L02_a_core_killed_while_it_reloads_ends_with_the_new_config(daemon: Start) -> None:
    def config(version: int) -> str:
        kept = "".join(f'[[task]]\nname = "kept{n}"\ncmd = "sleep 1000"\n' for n in range(10))
        changed = "".join(f'[[task]]\nname = "new{n}"\ncmd = "sleep {1000 + version}"\n' for n in range(10))
        return kept + changed

    chance = random.Random(7)
    d = daemon('[taskmaster]\nautoreload = "off"\n' + config(0))
    d.wait(lambda: {view.state for view in d.procs()} == {"running"})
    before = {key: pid for key, pid in d.pids().items() if key.startswith("kept")}
    for version in range(1, 6):
        d.write_config('[taskmaster]\nautoreload = "off"\n' + config(version))
        core = d.core_pid
        threading.Timer(chance.uniform(0.0, 0.12), os.kill, (core, signal.SIGKILL)).start()
        d.wait(lambda: d.request("reload", timeout=20.0) is not None, 30.0)
        d.wait(lambda core=core: d.core_pid != core, 10.0, "the core was replaced")
        d.request("reload", timeout=20.0)
        d.wait(lambda: {view.state for view in d.procs()} == {"running"}, 20.0)
        lines = [cmdline(pid) for pid in d.pids().values() if pid is not None]
        assert sum(f"sleep {1000 + version}" in line for line in lines) == 10
        assert sum("sleep " in cmdline(pid) for pid in children(d.shim_pid)) == 20
    assert {key: pid for key, pid in d.pids().items() if key.startswith("kept")} == before


def test_L03_a_request_repeated_after_the_cores_death_has_one_effect(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n')
    d.wait_state("web:0", "running")
    document = wire.encode(wire.Request(wire.VERSION, uuid.uuid4().hex, "restart", ["web:0"]))
    assert ask(d, document).ok
    first = d.proc("web:0")
    d.kill_core()
    again = ask(d, document)
    assert again.ok
    assert (d.proc("web:0").pid, d.proc("web:0").run) == (first.pid, first.run) == (first.pid, 2)


def ask(d: Daemon, document: bytes) -> wire.Reply:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{d.places.commands}")
        socket.send(document)
        assert socket.poll(10_000), "no answer"
        return wire.decode_reply(socket.recv())


def test_L03_a_start_whose_reply_was_lost_starts_one_process(daemon: Start) -> None:
    d = daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\nautostart = false\n')
    document = wire.encode(wire.Request(wire.VERSION, uuid.uuid4().hex, "start", ["web:0"]))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{d.places.commands}")
        core = d.core_pid
        socket.send_multipart([b"", document])
        d.wait(lambda: "sleep 1000" in " ".join(cmdline(pid) for pid in children(d.shim_pid)))
        os.kill(core, signal.SIGKILL)
    d.wait(d.ping, 10.0)
    assert ask(d, document).ok
    assert sum("sleep 1000" in cmdline(pid) for pid in children(d.shim_pid)) == 1
    assert d.proc("web:0").run == 1


def test_L04_a_hung_core_is_replaced_and_the_old_one_commands_nothing(daemon: Start) -> None:
    d = daemon(STEADY, env={"TM_TEST": "1", "TM_BEAT_TIMEOUT": "4"})
    before = steady_pids(d)
    hung = d.core_pid
    os.kill(hung, signal.SIGSTOP)
    d.wait(lambda: d.request("ping", timeout=1.0)["pid"] != hung, 30.0, "a new core answers")
    assert d.pids("steady") == before
    assert "SIGABRT" in d.stderr() or "signal 6" in d.stderr() or "signal 9" in d.stderr()
    assert not Path(f"/proc/{hung}/cmdline").exists()


def test_a_broken_config_does_not_keep_a_new_core_from_coming(daemon: Start) -> None:
    d = daemon(STEADY)
    before = steady_pids(d)
    d.write_config("[[task]]\nname = ")
    d.wait_event("config_error")
    d.kill_core()
    assert d.pids() == before
    d.wait(lambda: d.status()["core"]["config_problems"], what="the problems are told")
    d.write_config(STEADY.replace("10", "11"))
    d.wait(lambda: len(d.procs()) == 11, what="the next save is taken")
