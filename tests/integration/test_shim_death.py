"""The shim may be killed: jobs live on, are taken over within two seconds, and nothing is said that is not known."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from taskmaster_core.shim import pidfds
from tests.harness import Daemon, alive, children_of, environ_of, pids_now, program, wait_until
from tests.integration.conftest import Start

exact = pytest.mark.skipif(not pidfds.TOLD, reason="the kernel (before 6.15) does not tell how strangers ended")

STEADY = """
[[task]]
name = "steady"
cmd = "sleep 1000"
numprocess = 10
"""


def running(d: Daemon) -> dict[str, int | None]:
    """Wait until everything runs and return the pids."""
    d.wait(lambda: {view.state for view in d.procs()} == {"running"})
    return d.pids()


def story(d: Daemon, key: str) -> list[str]:
    return [event.type for event in d.events(key=key)]


def test_L06_a_killed_shim_costs_no_process_no_line_and_no_connection(daemon: Start) -> None:
    d = daemon(
        STEADY
        + f"""
[[task]]
name = "count"
cmd = {program("counter.py", 1_000_000, 1, 0.002)}
"""
    )
    before, core, boot = running(d), d.core_pid, d.status()["core"]["boot"]
    starts = {view.key: view.started_at for view in d.procs()}
    client = d.client
    client.call("ping")
    began = time.monotonic()
    old = d.kill_shim()
    assert time.monotonic() - began < 4.0  # two seconds on a machine of its own
    assert client.call("ping")["pid"] == core  # on the connection it had
    client.close()
    assert d.pids() == before
    assert (d.core_pid, d.status()["core"]["boot"]) == (core, boot)
    assert d.status()["core"]["shim_pid"] != old
    assert {view.key: view.started_at for view in d.procs()} == pytest.approx(starts, abs=0.01)
    assert {view.run for view in d.procs()} == {1}
    size = len(d.output("count:0"))
    d.wait(lambda: len(d.output("count:0")) > size + 1000)
    lines = d.output("count:0").splitlines()
    assert lines[:-1] == [f"{number:09d}" for number in range(len(lines) - 1)]
    assert not d.status()["core"].get("troubles")


def test_L06_a_job_that_writes_at_full_speed_loses_at_most_64_kib(daemon: Start) -> None:
    flood = program("counter.py", 1_000_000_000, 400)
    d = daemon(f'[[task]]\nname = "flood"\ncmd = {flood}\nlog = {{ maxsize = 0 }}\n')
    running(d)
    for _ in range(3):
        size = len(d.output("flood:0"))
        d.wait(lambda size=size: len(d.output("flood:0")) > size + (1 << 20))
        d.kill_shim()
    d.request("stop", "flood:0")
    data = Path(d.places.log_path("flood", 0, "out")).read_bytes()
    lost = torn = 0
    last = -1
    for line in data.splitlines():
        if len(line) != 9:
            torn += 1
            continue
        assert int(line) > last, "nothing comes twice"
        lost += int(line) - last - 1
        last = int(line)
    print(f"lost {lost * 10} bytes, torn {torn} lines in {len(data)} bytes")
    assert lost * 10 <= 3 << 16
    assert torn <= 2 * 3


WRITER = """
import os, sys
number = 0
while True:
    data = b"".join(b"%s%08d\\n" % (sys.argv[1].encode(), each) for each in range(number, number + 400))
    while data:
        data = data[os.write(1, data):]
    number += 400
"""


def test_L06_two_that_share_a_file_lose_at_most_64_kib_each(daemon: Start, tmp_path: Path) -> None:
    """Whole lines for a shared file pass through the shim's memory: that is what can be lost."""
    (tmp_path / "writer.py").write_text(WRITER)
    d = daemon(
        "".join(
            f"""
[[task]]
name = "{name}"
cmd = ["python3", "{tmp_path}/writer.py", "{name}"]
stdout = "{tmp_path}/shared"
"""
            for name in "ab"
        )
    )
    running(d)
    shared = tmp_path / "shared"
    for _ in range(3):
        size = shared.stat().st_size
        d.wait(lambda size=size: shared.stat().st_size > size + (1 << 20))
        d.kill_shim()
    d.request("stop", "all")
    lost = dict.fromkeys("ab", 0)
    last = dict.fromkeys("ab", -1)
    for line in shared.read_text().splitlines():
        name, number = line[:1], line[1:]
        if len(number) == 8 and name in lost:
            assert int(number) > last[name], "nothing comes twice"
            lost[name] += (int(number) - last[name] - 1) * 10
            last[name] = int(number)
    print(f"lost {lost}")
    assert max(lost.values()) <= 3 << 16


def test_L07_both_are_killed_and_the_next_start_takes_over(daemon: Start) -> None:
    d = daemon(STEADY)
    before = running(d)
    d.kill_both()
    assert all(alive(pid) for pid in before.values() if pid is not None)
    began = time.monotonic()
    d.start()
    assert time.monotonic() - began < 4.0
    assert d.pids() == before
    assert {view.run for view in d.procs()} == {1}
    assert "adopted" in story(d, "steady:0")
    assert len(children_of(d.shim_pid)) == 1  # the core


def test_L07_what_the_config_says_since_holds_for_what_is_taken_over(daemon: Start) -> None:
    def config(*jobs: str) -> str:
        return '[taskmaster]\nautoreload = "off"\n' + "".join(f"[[task]]\n{job}\n" for job in jobs)

    same = 'name = "same"\ncmd = "sleep 1000"'
    d = daemon(config(same, 'name = "changed"\ncmd = "sleep 1001"', 'name = "gone"\ncmd = "sleep 1002"'))
    before = running(d)
    d.kill_both()
    d.write_config(config(same, 'name = "changed"\ncmd = "sleep 1003"', 'name = "new"\ncmd = "sleep 1004"'))
    d.start()
    d.wait(lambda: set(d.pids()) == {"same:0", "changed:0", "new:0"} and set(states(d).values()) == {"running"})
    after = d.pids()
    assert after["same:0"] == before["same:0"]
    assert after["changed:0"] != before["changed:0"]
    assert not any(alive(before[key] or 0) for key in ("changed:0", "gone:0"))


def states(d: Daemon) -> dict[str, str]:
    return {view.key: view.state for view in d.procs()}


def test_L07_what_was_stopped_by_hand_stays_so(daemon: Start) -> None:
    d = daemon(STEADY)
    running(d)
    d.request("stop", "steady:3")
    d.kill_both()
    d.start()
    assert states(d) == {f"steady:{n}": "stopped" if n == 3 else "running" for n in range(10)}


def test_G5_counts_and_backoffs_outlive_core_shim_and_core_again(daemon: Start) -> None:
    d = daemon(
        STEADY
        + """
[[task]]
name = "fatal"
cmd = "/no/such/program"
retry = 1
backoff = { first = 0.01 }
[[task]]
name = "waits"
cmd = "sh -c 'exit 3'"
retry = "forever"
backoff = { first = 60, max = 60 }
"""
    )
    d.wait_state("fatal:0", "fatal")
    d.wait_state("waits:0", "backoff")
    d.wait(lambda: {view.state for view in d.procs("steady")} == {"running"})
    before = {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()}
    d.kill_core()
    d.kill_shim()
    assert {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()} == before
    d.kill_core()
    assert {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()} == before
    assert len(children_of(d.shim_pid)) == 1  # the new core is its child
    seqs = [event.seq for event in d.events()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_G5_a_second_death_after_the_first(daemon: Start) -> None:
    d = daemon(STEADY)
    before = running(d)
    shims = [d.kill_shim() for _ in range(4)]
    assert len(set(shims)) == 4
    assert d.pids() == before
    assert {view.run for view in d.procs()} == {1}


@pytest.mark.parametrize("args", [(), ("--no-cgroup",)], ids=["cgroup", "sweep"])
def test_G5_adopted_ones_are_stopped_restarted_scaled_and_reloaded_like_others(
    daemon: Start, args: tuple[str, ...]
) -> None:
    def config(tree: str) -> str:
        return f"""
[taskmaster]
autoreload = "off"
[[task]]
name = "tree"
cmd = {program("daemoniser.py")}
stopdelay = 0.2
env = {{ V = "{tree}" }}
[[task]]
name = "web"
cmd = "sleep 1000"
numprocess = 3
"""

    d = daemon(config("1"), args=args)
    before = running(d)
    d.wait(lambda: d.output("tree:0"))
    tree = [before["tree:0"], *map(int, d.output("tree:0").split())]
    d.kill_shim()
    d.request("restart", "web:1")
    d.request("scale", "web", n=2)
    d.wait(lambda: set(d.pids("web")) == {"web:0", "web:1"})
    assert d.pids("web")["web:0"] == before["web:0"]
    assert d.pids("web")["web:1"] != before["web:1"]
    assert not alive(before["web:2"] or 0)
    d.write_config(config("2").replace("numprocess = 3", "numprocess = 2"))
    d.request("reload")
    d.wait(lambda: d.proc("tree:0").run == 2 and d.proc("tree:0").state == "running")
    wait_until(lambda: not any(alive(pid or 0) for pid in tree), what="all of the old tree is gone")
    d.kill_shim()
    d.request("stop", "all")
    assert set(states(d).values()) == {"stopped"}
    assert jobs_of(d) == {}


def test_L36_a_new_shim_is_ended_in_order_by_term(daemon: Start) -> None:
    d = daemon(STEADY)
    before = running(d)
    d.kill_shim()
    core, shim = d.core_pid, d.shim_pid
    os.kill(shim, signal.SIGTERM)
    wait_until(lambda: not alive(shim) and not alive(core), what="both have ended")
    assert not any(alive(pid or 0) for pid in before.values())


def test_L04_a_core_that_hangs_after_its_shim_was_replaced_is_replaced(daemon: Start) -> None:
    d = daemon(STEADY, env={"TM_TEST": "1", "TM_BEAT_TIMEOUT": "3"})
    before = running(d)
    d.kill_shim()
    hung = d.core_pid
    os.kill(hung, signal.SIGSTOP)
    d.wait(lambda: d.request("ping", timeout=1.0)["pid"] != hung, 30.0, "a new core answers")
    assert d.pids() == before
    assert len(children_of(d.shim_pid)) == 1


class Gap:
    """Kill the shim, and keep the next one from the instance until the end: it tries for a second to get its lock."""

    def __init__(self, d: Daemon) -> None:
        self._d = d
        self._fd = -1

    def __enter__(self) -> None:
        core = self._d.core_pid
        os.kill(core, signal.SIGSTOP)
        self._d.kill_shim(wait=False)
        self._fd = os.open(self._d.statedir / "shim.lock", os.O_RDWR)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.kill(core, signal.SIGCONT)
        wait_until(lambda: children_of(core), what="the core has started another shim")

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def ender(go: Path, status: int) -> str:
    return f"""
[[task]]
name = "ender"
cmd = "sh -c 'until [ -e {go} ]; do sleep 0.01; done; exit {status}'"
restart = "never"
"""


@exact
@pytest.mark.parametrize("status", [0, 7])
def test_L40_an_end_between_two_shims_is_known_exactly(daemon: Start, tmp_path: Path, status: int) -> None:
    d = daemon(STEADY + ender(tmp_path / "go", status))
    pid = running(d)["ender:0"] or 0
    with Gap(d):
        (tmp_path / "go").touch()
        wait_until(lambda: not alive(pid))
    view = d.wait_state("ender:0", "exited")
    assert view.exit is not None
    assert view.exit.code == status


def test_L40_an_end_that_nobody_saw_is_unknown_and_a_failure(daemon: Start, tmp_path: Path) -> None:
    d = daemon(ender(tmp_path / "go", 0).replace('"never"', '"on-error"'))
    pid = running(d)["ender:0"] or 0
    core = d.core_pid
    os.kill(core, signal.SIGSTOP)  # it cannot open a pidfd in time
    d.kill_shim(wait=False)
    (tmp_path / "go").touch()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    (tmp_path / "go").unlink()
    os.kill(core, signal.SIGCONT)
    d.wait(lambda: d.proc("ender:0").run == 2, what="it is restarted, as after a failure")
    told = d.events("exited", "ender:0")[0].data
    assert (told.get("code"), told.get("signal"), told["expected"]) == (None, None, False)
    assert told["message"] == "not known how"


def test_L08_a_restart_under_way_when_the_shim_dies_is_finished(daemon: Start) -> None:
    d = daemon(f'[[task]]\nname = "slow"\ncmd = {program("stubborn.py")}\nstopdelay = 1.0\n')
    before = running(d)["slow:0"]
    d.wait(lambda: d.output("slow:0"))
    d.request("restart", "slow:0", wait=False)
    d.wait_state("slow:0", "stopping")
    d.kill_shim()
    d.wait(lambda: d.proc("slow:0").run == 2 and d.proc("slow:0").state == "running")
    assert not alive(before or 0)


def test_G5_a_core_that_somebody_else_starts_ends_with_its_shim(daemon: Start) -> None:
    d = daemon(STEADY, env={"TASKMASTER_SUPERVISED": "1"})
    before, core = running(d), d.core_pid
    d.kill_shim(wait=False)
    wait_until(lambda: not alive(core), what="the core has ended")
    assert all(alive(pid or 0) for pid in before.values())
    d.start()
    assert d.pids() == before


def test_G5_down_ends_all_of_it_and_the_new_shim(daemon: Start) -> None:
    d = daemon(STEADY)
    running(d)
    d.kill_shim()
    shim = d.shim_pid
    done = d.cli("down")
    assert done.returncode == 0, done.stderr
    assert not alive(shim)
    assert d.leftovers() == []


def test_G5_up_goes_on_showing_and_ctrl_c_still_stops_all(daemon_for: Start) -> None:
    count = program("counter.py", 1_000_000, 1, 0.05)
    d = daemon_for(f'[[task]]\nname = "count"\ncmd = {count}\n')
    up = d.popen("-f", str(d.config_path), "up", "--no-tui")
    d.wait(lambda: d.proc("count:0").state == "running")
    shim = d.status()["core"]["shim_pid"]
    os.kill(shim, signal.SIGKILL)
    d.wait(lambda: d.status()["core"]["shim_pid"] != shim and d.proc("count:0").state == "running")
    size = len(d.output("count:0"))
    d.wait(lambda: len(d.output("count:0")) > size + 100)
    assert up.poll() is None
    up.send_signal(signal.SIGINT)
    out, _ = up.communicate(timeout=20)
    assert up.returncode == 130
    assert len(out.splitlines()) > 5
    assert jobs_of(d) == {}


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))])
def test_L08_random_kills_in_a_spawn_storm_leave_no_copy_and_no_orphan(daemon: Start, seed: int) -> None:
    chance = random.Random(seed + int(os.environ.get("TM_SEED", "20261123")))
    d = daemon(
        """
[taskmaster]
autoreload = "off"
[[task]]
name = "web"
cmd = "sleep 1000"
numprocess = 30
[[task]]
name = "flap"
cmd = "sleep 0.05"
restart = "always"
retry = "forever"
successdelay = 0
numprocess = 4
backoff = { first = 0.05, max = 0.1 }
"""
    )
    for _ in range(7):
        time.sleep(chance.uniform(0.0, 0.1))  # the moment is what is random
        kind = chance.choice(("shim", "shim", "both", "restart"))
        if kind == "both":
            d.kill_both()
            d.start(wait=False)
        else:
            if kind == "restart":
                d.request("restart", "web:*", wait=False)
                time.sleep(chance.uniform(0.0, 0.05))
            d.kill_shim(wait=False)
        time.sleep(chance.uniform(0.0, 0.15))
        d.wait(d.recovered, 20.0, f"recovered after {kind}")
    d.wait(lambda: {view.state for view in d.procs("web")} == {"running"}, 20.0)
    # what died beside both is told only once init has reaped it, and started again then
    d.wait(lambda: one_of_each(d) == {f"web:{n}": 1 for n in range(30)}, 20.0, "one of each runs")
    d.wait(lambda: not strange(d), what="every process is known")


@pytest.mark.parametrize("seed", range(3))
def test_L08_a_shim_killed_while_it_takes_over_leaves_that_to_the_next(daemon: Start, seed: int) -> None:
    chance = random.Random(seed + int(os.environ.get("TM_SEED", "20261123")))
    d = daemon(STEADY.replace("10", "40"))
    before, core = running(d), d.core_pid
    d.kill_shim(wait=False)
    for _ in range(3):
        (shim,) = wait_until(lambda: [pid for pid in children_of(core) if alive(pid)], what="another shim")
        time.sleep(chance.uniform(0.0, 0.12))  # the moment is what is random
        os.kill(shim, signal.SIGKILL)
        wait_until(lambda shim=shim: not alive(shim))
    d.wait(d.recovered, 20.0)
    assert d.pids() == before
    assert one_of_each(d, "steady") == {f"steady:{n}": 1 for n in range(40)}
    assert d.core_pid == core


def marks(pid: int) -> dict[str, str]:
    pairs = (each.decode(errors="replace").partition("=") for each in environ_of(pid))
    return {name: value for name, _, value in pairs if name.startswith("TASKMASTER_")}


def jobs_of(d: Daemon) -> dict[int, dict[str, str]]:
    found = {pid: marks(pid) for pid in pids_now() if alive(pid)}
    return {pid: each for pid, each in found.items() if each.get("TASKMASTER_INSTANCE") == d.instance}


def one_of_each(d: Daemon, job: str = "web") -> dict[str, int]:
    keys = (f"{each['TASKMASTER_JOB']}:{each['TASKMASTER_INDEX']}" for each in jobs_of(d).values())
    return dict(Counter(key for key in keys if key.startswith(job)))


def strange(d: Daemon) -> list[int]:
    """Return the living processes of jobs that the core does not speak of."""
    before = jobs_of(d)
    known = set(d.pids().values())
    return [pid for pid in before if pid not in known and alive(pid)]
