"""The wire, the cores that come and go, the end of everything, and who may open what (L01, L04, L07, L36, S12, P17)."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from taskmaster_core.shim import frames
from tests.unit.shim_harness import PYTHON, SHIM, Core, Shim, alive, output, program, sink, spawn_order, wait_for

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    shim = Shim(tmp_path)
    yield shim
    shim.close()


def kill_core(core: Core) -> None:
    os.kill(core.pid, signal.SIGKILL)
    core.close()


# -- the end, alone ---------------------------------------------------------------------------------------------------


def test_L36_alone_the_shim_ends_though_what_is_left_alone_lives_on(shim: Shim) -> None:
    core = shim.open()
    leader = "trap 'sleep 0.5; exit 0' TERM; sh -c 'trap \"\" TERM; sleep 9; :' & while :; do sleep 0.05; done"
    core.order(spawn_order(shim, ["sh", "-c", leader], killgroup=False, stop=[[15, 5.0]]))
    core.expect("spawned")
    core.tell("exit 0")
    kill_core(core)
    began = time.monotonic()
    shim.process.terminate()
    shim.wait()
    assert time.monotonic() - began < 2.5
    for pid in shim.marked():  # what is left alone is nobody's to end
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not shim.marked())


def test_a_complaint_that_nobody_reads_holds_the_shim_up_no_longer(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    shim = Shim(tmp_path, stderr=write)
    os.close(write)
    try:
        core = shim.open()
        core.order({"t": "no such order"})
        core.expect("error")
        core.order(spawn_order(shim, ["true"]))
        core.expect("exited")
    finally:
        os.close(read)
        shim.close()


# -- the core dies and comes back ---------------------------------------------------------------------------------


def test_L01_the_next_core_learns_every_exit_in_order_with_exact_codes(shim: Shim, tmp_path: Path) -> None:
    core = shim.open()
    stay = [spawn_order(shim, program("sleeper"), f"stay:{n}") for n in range(5)]
    gates = [tmp_path / f"gate{n}" for n in range(10)]
    for gate in gates:
        os.mkfifo(gate)
    go = [spawn_order(shim, ["sh", "-c", f"read x < {gates[n]}; exit {n + 10}"], f"go:{n}") for n in range(10)]
    core.order(*stay, *go)
    wait_for(lambda: len(core.all("spawned")) == 15)
    pids = {report["key"]: report["pid"] for report in core.reports if report["t"] == "spawned"}
    core.order({"t": "ack", "n": 15})
    kill_core(core)
    died = time.monotonic()
    for n in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7):
        gates[n].write_text("")  # opens when the reader does
        wait_for(lambda n=n: not alive(pids[f"go:{n}"]))
    core = shim.core()
    assert time.monotonic() - died < 5
    core.order(shim.open_order())
    hello = core.expect("hello")
    assert hello["first"] is False
    assert {run["key"]: run["pid"] for run in hello["runs"]} == {f"stay:{n}": pids[f"stay:{n}"] for n in range(5)}
    wait_for(lambda: len(core.all("exited")) == 10)
    assert [(report["key"], report["code"]) for report in core.all("exited")] == [
        (f"go:{n}", n + 10) for n in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)
    ]
    assert all(alive(pids[f"stay:{n}"]) for n in range(5))


def test_reports_are_numbered_kept_until_acknowledged_and_sent_again_after_hello(shim: Shim) -> None:
    core = shim.open()
    null = {"kind": "null"}
    core.order(*(spawn_order(shim, ["true"], f"a:{n}", out=null, err=null) for n in range(20)))
    wait_for(lambda: len(core.all("exited")) == 20)
    numbers = [report["n"] for report in core.reports if "n" in report]
    assert numbers == list(range(1, 41))
    core.order({"t": "ack", "n": 25})
    core.order({"t": "beat"})
    core.tell("exit 3")
    second = shim.core()
    second.order(shim.open_order())
    wait_for(lambda: len(second.all("exited") + second.all("spawned")) == 15)
    assert second.reports[0]["t"] == "hello"
    assert [report["n"] for report in second.reports[1:]] == list(range(26, 41))
    assert second.reports[0]["next"] == 41


def test_thousands_of_reports_reach_a_core_that_was_away(shim: Shim) -> None:
    core = shim.open()
    nowhere = sink(shim, "/no/such/directory/x")  # fails before the fork
    core.order(*(spawn_order(shim, ["true"], f"z:{n}", out=nowhere) for n in range(1200)))
    core.expect("failed", key="z:1199")
    kill_core(core)
    core = shim.core()
    core.order(shim.open_order())
    wait_for(lambda: len(core.all("failed")) == 1200)
    assert [report["n"] for report in core.all("failed")] == list(range(1, 1201))


def test_what_a_dying_core_had_sent_in_whole_frames_happens(shim: Shim) -> None:
    core = shim.open()
    order = frames.encode([spawn_order(shim, program("sleeper"))])
    half = frames.encode([spawn_order(shim, program("sleeper"), "half:0")])[:-5]
    os.kill(shim.pid, signal.SIGSTOP)
    core.link.sendall(order + half)
    os.kill(core.pid, signal.SIGKILL)
    core.close()
    os.kill(shim.pid, signal.SIGCONT)
    core = shim.core()
    core.order(shim.open_order())
    core.expect("spawned", key="job:0")
    assert [run["key"] for run in core.expect("hello")["runs"]] == ["job:0"]


def test_a_core_may_ask_where_an_earlier_one_opened(shim: Shim) -> None:
    core = shim.core()
    core.order({"t": "open"})
    assert core.expect("refused")["code"] == 0
    core.order(shim.open_order())
    core.expect("hello")
    kill_core(core)
    core = shim.core()
    core.order({"t": "open"})
    hello = core.expect("hello")
    assert (hello["statedir"], hello["rundir"]) == (str(shim.state), str(shim.run))


def test_memos_are_kept_for_the_next_core(shim: Shim) -> None:
    core = shim.open()
    core.order({"t": "memo", "key": "a:0", "memo": {"x": [1]}}, {"t": "memo", "key": "b:0", "memo": 2})
    core.order({"t": "memo", "key": "b:0", "memo": None})
    core.order(spawn_order(shim, ["true"], "c:0", memo="with the spawn"))
    core.expect("exited")
    kill_core(core)
    core = shim.core()
    core.order(shim.open_order())
    assert core.expect("hello")["memos"] == {"a:0": {"x": [1]}, "c:0": "with the spawn"}


def test_a_run_whose_leader_is_gone_but_whose_stop_is_not_told_is_in_hello(shim: Shim) -> None:
    core = shim.open()
    core.order(spawn_order(shim, program("forker")))
    pid = core.expect("spawned")["pid"]
    wait_for(lambda: output(shim).endswith(b"\n"))
    core.order({"t": "signal", "key": "job:0", "run": 1, "sig": 15, "group": True, "stopping": True})
    wait_for(lambda: not alive(pid))
    kill_core(core)
    core = shim.core()
    core.order(shim.open_order())
    (run,) = core.expect("hello")["runs"]
    assert (run["pid"], run["stopping"]) == (pid, True)


def test_L04_a_hung_core_is_replaced_and_fenced(tmp_path: Path) -> None:
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.4"})
    try:
        core = shim.open()
        core.order(spawn_order(shim, program("sleeper")))
        pid = core.expect("spawned")["pid"]
        os.kill(core.pid, signal.SIGSTOP)
        second = shim.core()
        assert not alive(core.pid)
        core.expect_closed()
        second.order(shim.open_order())
        assert [run["pid"] for run in second.expect("hello")["runs"]] == [pid]
        assert "silent" in shim.errors()
    finally:
        shim.close()


def test_L04_a_core_that_beats_is_left_alone(tmp_path: Path) -> None:
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.5"})
    try:
        core = shim.open()
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            core.order({"t": "beat"})
            core.receive(0.1)
        assert alive(core.pid)
    finally:
        shim.close()


def test_K04_a_core_that_is_slow_to_come_up_is_given_more_time_each_time(tmp_path: Path) -> None:
    """A machine on which a core needs longer than the watchdog has a core in the end."""
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.3"})
    try:
        for _ in range(4):
            core = shim.core()
            core.receive(1.2)  # so long it loads its modules
            if not core.closed:
                break
        core.order(shim.open_order())
        core.expect("hello")
        assert len(shim.cores) > 1
    finally:
        shim.close()


def test_a_core_that_closes_its_wire_is_ended_and_replaced(tmp_path: Path) -> None:
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.5"})
    try:
        core = shim.open()
        core.link.close()
        core.tell("forget")
        shim.open()
        assert not alive(core.pid)
    finally:
        shim.close()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\5hello", b"\0\0\0\2{}", b"\0\0\0\3[1]"])
def test_P17_garbage_on_the_wire_closes_it_and_disturbs_no_job(tmp_path: Path, garbage: bytes) -> None:
    shim = Shim(tmp_path, env={"TM_BEAT_TIMEOUT": "0.5"})
    try:
        core = shim.open()
        core.order(spawn_order(shim, program("sleeper")))
        pid = core.expect("spawned")["pid"]
        core.link.sendall(garbage)
        core.expect_closed()
        second = shim.open()
        assert [run["pid"] for run in second.expect("hello")["runs"]] == [pid]
    finally:
        shim.close()


@pytest.mark.parametrize(
    "order",
    [
        {"t": "nonsense"},
        {},
        {"t": "spawn"},
        {"t": "spawn", "key": 3, "run": "x"},
        {"t": "signal", "key": "a", "run": [], "sig": 1},
        {"t": "ack", "n": "many"},
        {"t": "sink", "key": "a:0", "run": 1, "out": 7},
        {"t": "open", "statedir": "/"},
    ],
    ids=json.dumps,
)
def test_an_order_that_makes_no_sense_is_answered_and_changes_nothing(shim: Shim, order: dict[str, object]) -> None:
    core = shim.open()
    core.order(order, spawn_order(shim, ["true"]))
    core.expect("exited")
    if order.get("t") not in ("signal", "sink"):  # about a run that is over these two are late, not wrong
        core.expect("error")


def test_a_core_that_does_not_read_costs_the_shim_no_memory_and_no_answer(shim: Shim) -> None:
    core = shim.open()
    for run in range(1, 21):
        nowhere = sink(shim, "/no/" + "x" * 3000)  # fails before the fork
        core.order(*(spawn_order(shim, ["true"], f"n:{n}", run, out=nowhere) for n in range(20)))
        core.order(*({"t": "unknown", "pad": "x" * 100} for _ in range(200)))
    core.expect("failed", n=400)
    assert len(core.all("failed")) == 400


# -- how a first core ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [6, 7])
def test_a_first_core_that_refuses_is_passed_on(shim: Shim, code: int) -> None:
    shim.core().tell(f"exit {code}")
    assert shim.wait() == code


def test_a_core_that_was_ready_and_ends_with_6_is_replaced(shim: Shim) -> None:
    shim.open().tell("exit 6")
    shim.open()


def test_a_core_that_keeps_dying_is_started_ever_more_slowly(shim: Shim) -> None:
    started = []
    for _ in range(4):
        shim.core().tell("exit 1")
        started.append(time.monotonic())
    gaps = [later - earlier for earlier, later in pairwise(started)]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4
    assert gaps[2] < 3


def test_a_core_that_cannot_be_started_at_all_ends_the_shim_with_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(SHIM), "--", "/no/such/core"], capture_output=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert b"/no/such/core" in done.stderr


def test_goodbye_ends_the_shim_with_its_code_and_leaves_nothing(shim: Shim) -> None:
    core = shim.open()
    core.order({"t": "bye", "code": 42})
    core.tell("exit 0")
    assert shim.wait() == 42
    assert not list((shim.state / "runs").iterdir())
    assert not list((shim.state / "fifo").iterdir())


def test_goodbye_stops_what_still_runs_by_its_recipe(shim: Shim) -> None:
    core = shim.open()
    core.order(spawn_order(shim, ["sh", "-c", "trap 'echo int; exit 0' INT; echo up; while :; do sleep 0.05; done"],
                           stop=[[2, 5.0]]))  # fmt: skip
    wait_for(lambda: output(shim) == b"up\n")
    core.order({"t": "bye", "code": 0})
    core.tell("exit 0")
    assert shim.wait() == 0
    assert output(shim) == b"up\nint\n"


# -- signals to the shim ------------------------------------------------------------------------------------------


def test_L36_term_is_told_with_its_sender_and_the_core_has_the_say(shim: Shim) -> None:
    core = shim.open()
    os.kill(shim.pid, signal.SIGTERM)
    report = core.expect("shutdown")
    assert (report["cause"], report["pid"], report["fast"]) == ("SIGTERM", os.getpid(), False)
    core.receive(0.2)
    assert shim.process.poll() is None
    core.order({"t": "bye", "code": 0})
    core.tell("exit 0")
    assert shim.wait() == 0


def test_hup_reloads_usr1_rebinds_and_the_terminal_signals_do_nothing(shim: Shim) -> None:
    core = shim.open()
    for signum in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGPIPE, signal.SIGXFSZ):
        os.kill(shim.pid, signum)
    os.kill(shim.pid, signal.SIGHUP)
    os.kill(shim.pid, signal.SIGUSR1)
    assert core.expect("reload")["cause"] == "SIGHUP"
    core.expect("rebind")
    assert not core.all("shutdown")


def test_a_second_interrupt_kills_at_once(shim: Shim) -> None:
    core = shim.open()
    core.order(spawn_order(shim, program("stubborn"), stop=[[15, 60.0]]))
    wait_for(lambda: output(shim) == b"ready\n")
    os.kill(shim.pid, signal.SIGINT)
    core.expect("shutdown", fast=False)
    os.kill(shim.pid, signal.SIGINT)
    core.expect("shutdown", fast=True)
    assert core.expect("exited")["signal"] == signal.SIGKILL


def test_without_a_ready_core_the_shim_stops_everything_by_the_recipes(shim: Shim) -> None:
    core = shim.open()
    argv = ["sh", "-c", "trap 'echo got term; exit 0' TERM; echo up; while :; do sleep 0.05; done"]
    core.order(spawn_order(shim, argv), spawn_order(shim, program("stubborn"), "s:0", stop=[[2, 0.1], [15, 0.1]]))
    wait_for(lambda: output(shim) == b"up\n" and output(shim, "s/0.out") == b"ready\n")
    kill_core(core)
    shim.core()  # started, but never ready
    os.kill(shim.pid, signal.SIGTERM)
    assert shim.wait() == 0
    assert output(shim) == b"up\ngot term\n"


def test_a_core_that_dies_during_the_shutdown_is_not_missed(shim: Shim) -> None:
    core = shim.open()
    core.order(spawn_order(shim, program("sleeper")))
    core.expect("spawned")
    os.kill(shim.pid, signal.SIGTERM)
    core.expect("shutdown")
    kill_core(core)
    assert shim.wait() == 0


def test_a_shutdown_while_no_core_is_there_needs_none(shim: Shim) -> None:
    core = shim.open()
    core.order(spawn_order(shim, program("sleeper")))
    core.expect("spawned")
    os.kill(shim.pid, signal.SIGSTOP)
    kill_core(core)
    os.kill(shim.pid, signal.SIGTERM)
    os.kill(shim.pid, signal.SIGCONT)
    assert shim.wait() == 0


def test_notify_sends_to_systemd(tmp_path: Path) -> None:
    for number, name in enumerate((str(tmp_path / "notify"), f"@tm-test-{os.getpid()}")):
        place = tmp_path / str(number)
        place.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(name.replace("@", "\0", 1))
            systemd.settimeout(20)
            shim = Shim(place, env={"NOTIFY_SOCKET": name})
            try:
                shim.open().order({"t": "notify", "text": "READY=1"})
                assert systemd.recv(100) == b"READY=1"
            finally:
                shim.close()


# -- open ---------------------------------------------------------------------------------------------------------


def refusal(shim: Shim, **fields: object) -> dict[str, object]:
    core = shim.core()
    core.order(shim.open_order(**fields))
    return core.expect("refused")


def test_a_second_shim_of_the_same_instance_is_refused_and_names_the_first(shim: Shim, tmp_path: Path) -> None:
    shim.open()
    place = tmp_path / "second"
    place.mkdir()
    second = Shim(place)
    try:
        report = refusal(second, statedir=str(shim.state))
        assert report["code"] == 7
        assert f"pid {shim.pid}" in str(report["message"])
    finally:
        second.close()


def test_the_lock_of_a_shim_that_is_just_ending_is_waited_for(shim: Shim) -> None:
    shim.state.mkdir(mode=0o700)
    with (shim.state / "shim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        core = shim.core()
        core.order(shim.open_order())
        core.receive(0.2)
        assert core.reports == []
    core.expect("hello")


def test_a_second_open_is_answered_again_and_another_instance_is_not(shim: Shim, tmp_path: Path) -> None:
    core = shim.open()
    core.order(shim.open_order())
    wait_for(lambda: len(core.all("hello")) == 2)
    assert core.all("hello")[1]["statedir"] == str(shim.state)
    core.order(shim.open_order(instance="elsewhere"))
    assert core.expect("refused")["code"] == 1


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o703])
def test_S12_a_directory_that_others_may_write_to_is_refused(shim: Shim, mode: int) -> None:
    shim.run.mkdir()
    shim.run.chmod(mode)
    report = refusal(shim)
    assert report["code"] == 7
    assert str(shim.run) in str(report["message"])


@ROOT_ONLY
def test_S12_a_directory_of_somebody_else_is_refused(shim: Shim) -> None:
    shim.state.mkdir(mode=0o700)
    os.chown(shim.state, 65534, 65534)
    assert "uid 65534" in str(refusal(shim)["message"])


@ROOT_ONLY
def test_S12_a_link_planted_by_somebody_else_is_refused(shim: Shim, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    shim.run.symlink_to(tmp_path / "real")
    os.lchown(shim.run, 65534, 65534)
    assert "symbolic link" in str(refusal(shim)["message"])


def test_S12_a_file_in_the_place_of_the_directory_is_refused(shim: Shim) -> None:
    shim.state.touch()
    assert refusal(shim)["code"] == 7


def test_the_directories_are_closed_to_others(shim: Shim) -> None:
    shim.open(socketgroup=os.getegid())
    assert shim.state.stat().st_mode & 0o777 == 0o700
    assert shim.run.stat().st_mode & 0o777 == 0o750


# -- what an earlier shim left ------------------------------------------------------------------------------------


def stop(core: Core) -> None:
    core.order({"t": "signal", "key": "job:0", "run": 1, "sig": 15, "group": True, "stopping": True})


def test_L07_another_instance_of_the_same_name_is_not_touched(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("other", "1", "2")]
    for place in places:
        place.mkdir()
    other, first = Shim(places[0]), Shim(places[1])
    theirs = other.open()
    theirs.order(spawn_order(other, program("daemoniser")))
    wait_for(lambda: output(other))
    core = first.open()
    core.order(spawn_order(first, program("sleeper")))
    core.expect("spawned")
    first.process.kill()
    first.process.wait()
    kill_core(core)
    second = Shim(places[2])
    try:
        taken = second.open(statedir=str(first.state))
        stop(taken)
        taken.expect("exited", key="job:0", run=1)
        assert len(other.marked()) == 5
        assert not theirs.all("exited")
    finally:
        second.close()
        first.close()
        other.close()


def test_records_of_an_earlier_boot_mean_nothing(shim: Shim) -> None:
    (shim.state / "runs").mkdir(parents=True)
    shim.state.chmod(0o700)
    (shim.state / "runs").chmod(0o700)
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    (shim.state / "runs" / "x%3A0.lock").write_text(f'{os.getpid()} {started} another-boot 3 {{"key":"x:0"}}\n')
    (shim.state / "runs" / "torn%3A0.lock").write_text("123 45")
    core = shim.open()
    assert not core.all("adopted")
    assert not list((shim.state / "runs").iterdir())


# -- quiet --------------------------------------------------------------------------------------------------------


def test_an_idle_shim_sleeps(shim: Shim) -> None:
    core = shim.open()
    core.order(*(spawn_order(shim, program("sleeper"), f"i:{n}") for n in range(10)))
    wait_for(lambda: len(core.all("spawned")) == 10 and all(output(shim, f"i/{n}.out") for n in range(10)))
    core.receive(0.5)
    before = _switches(shim.pid)
    time.sleep(1.0)  # nothing to wait for: that nothing happens is the point
    assert _switches(shim.pid) - before <= 1


def _switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("voluntary_ctxt")))


def test_a_watched_file_is_told_to_grow_and_an_unwatched_one_is_not(shim: Shim) -> None:
    core = shim.open()
    path = f"{shim.state}/logs/job/0.out"
    core.order({"t": "watch", "path": path, "on": True})
    order = spawn_order(shim, program("counter", 400, 1, 0.001))
    core.order(order, spawn_order(shim, ["echo", "x"], "other:0"))
    core.expect("exited", key="job:0")
    grown = wait_for(lambda: [each for each in core.all("grew") if each["size"] == 4000] and core.all("grew"))
    assert {report["path"] for report in grown} == {path}
    assert len(grown) <= 40
    core.order({"t": "watch", "path": path, "on": False}, spawn_order(shim, ["echo", "y"], run=2, out=sink(shim, path)))
    core.expect("exited", run=2)
    core.receive(0.1)
    assert core.all("grew")[-1]["size"] == 4000
