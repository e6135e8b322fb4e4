"""Core and shim are replaced while everything runs: nobody loses a process, a line, a status or a connection."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core import wire
from taskmaster_core.errors import Refused, TaskmasterError, UsageError
from tests.harness import ROOT, Daemon, alive, children_of, program, wait_until
from tests.integration.conftest import Start

STEADY = """
[[task]]
name = "steady"
cmd = "sleep 1000"
numprocess = 5
"""


def running(d: Daemon) -> dict[str, int | None]:
    """Wait until everything runs and return the pids."""
    d.wait(lambda: {view.state for view in d.procs()} == {"running"})
    return d.pids()


def upgrade(d: Daemon, what: str = "all") -> dict[str, Any]:
    with d.client as client:  # which asks again as soon as the next core is there
        done: dict[str, Any] = client.call("upgrade", args={"what": what}, timeout=60)
        return done


def gapless(d: Daemon) -> None:
    seqs = [event.seq for event in d.events()]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def shim_generation(d: Daemon) -> str:
    """Return what differs between two shims of one pid: where the kernel has put the last exec's arguments."""
    return Path(f"/proc/{d.shim_pid}/stat").read_text().rpartition(") ")[2].split()[45]


# Going well -------------------------------------------------------------------------------------------------------


def test_G3_an_upgrade_of_the_core_keeps_every_process_and_the_sequence(daemon: Start) -> None:
    d = daemon(STEADY)
    before, core, shim = running(d), d.core_pid, d.shim_pid
    done = upgrade(d, "core")
    assert (d.pids(), d.shim_pid) == (before, shim)
    assert d.core_pid != core
    assert not alive(core)
    assert (done["core"]["before"]["pid"], done["core"]["after"]["pid"]) == (core, d.core_pid)
    assert done["processes"] == {"before": 5, "kept": 5}
    gapless(d)
    assert "the core ended" not in d.stderr(), "it was expected"


def test_G4_an_upgrade_of_the_shim_keeps_every_process_and_the_core(daemon: Start) -> None:
    d = daemon(STEADY)
    before, core, shim, was = running(d), d.core_pid, d.shim_pid, shim_generation(d)
    client = d.client
    client.call("ping")
    done = upgrade(d, "shim")
    assert client.call("ping")["pid"] == core  # on the connection it had
    client.close()
    assert (d.pids(), d.core_pid, d.shim_pid) == (before, core, shim)
    assert shim_generation(d) != was
    assert done["shim"]["after"] == {"version": "0.1.0", "pid": shim}
    assert done["core"]["before"] == done["core"]["after"] == {"version": "0.1.0", "pid": core}
    gapless(d)


def test_an_upgrade_of_both_says_what_it_did(daemon: Start) -> None:
    d = daemon(STEADY)
    before, core = running(d), d.core_pid
    done = d.cli("upgrade")
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith(f"shim 0.1.0 -> 0.1.0 (pid {d.shim_pid} as before), ")
    assert second.startswith(f"core 0.1.0 -> 0.1.0 (pid {core} -> {d.core_pid}), ")
    assert third == "5 processes untouched"
    assert d.pids() == before
    told = [(event.data["part"], event.data["processes"]) for event in d.events("upgraded")]
    assert told == [("shim", 5), ("core", 5)]


def test_what_an_upgrade_did_as_json(daemon: Start) -> None:
    d = daemon(STEADY)
    running(d)
    done = json.loads(d.cli("upgrade", "--shim", "--json").stdout)
    assert done["what"] == "shim"
    assert done["shim"]["ms"] > 0
    assert "ms" not in done["core"]


def test_an_upgrade_that_is_asked_for_again_is_not_done_again(daemon: Start) -> None:
    d = daemon(STEADY)
    running(d)
    client = d.client
    first = client.call("upgrade", args={"what": "core"})
    request = f"{client._name}-1"
    document = wire.encode(wire.Request(wire.VERSION, request, "upgrade", [], {"what": "core"}))
    frames = d._exchange(document, 5)
    client.close()
    assert frames is not None
    assert wire.result_of(wire.decode_reply(frames[0])) == first
    assert first["core"]["after"]["pid"] == d.core_pid


def test_G4_what_is_kept_for_the_next_core_is_kept_over_both(daemon: Start) -> None:
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
    d.request("stop", "steady:3")
    before = {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()}
    for _ in range(2):
        upgrade(d)
    assert {view.key: (view.state, view.run, view.pid, view.tries, view.restarts) for view in d.procs()} == before
    assert len(children_of(d.shim_pid)) == 5  # the core, and four
    gapless(d)


# Under load -------------------------------------------------------------------------------------------------------


def test_L09_ten_renewals_under_load_lose_no_line_no_status_and_no_connection(daemon: Start) -> None:
    """Twenty jobs write some 300 lines a second each, one is killed meanwhile, and an operator goes on asking."""
    d = daemon(
        f"""
[[task]]
name = "count"
cmd = {program("counter.py", 10_000_000, 1, 0.003)}
numprocess = 20
restart = "never"
"""
    )
    before, core = running(d), d.core_pid
    client = d.client
    done = []
    for number in range(10):
        if number == 5:
            threading.Timer(0.1, lambda: os.kill(before["count:7"] or 0, signal.SIGKILL)).start()
        done.append(upgrade(d, "shim"))
        client.call("ping")
    client.close()
    view = d.wait_state("count:7", "exited")
    assert view.exit is not None
    assert view.exit.signal == "SIGKILL"
    now = d.pids()
    assert {key: pid for key, pid in now.items() if key != "count:7"} == {
        key: pid for key, pid in before.items() if key != "count:7"
    }
    assert d.core_pid == core
    time.sleep(0.1)  # after the last of them more lines come
    for number in range(20):
        lines = d.output(f"count:{number}").splitlines()
        assert len(lines) > 50
        assert lines[:-1] == [f"{each:09d}" for each in range(len(lines) - 1)]
    assert len(d.events("upgraded")) == 10
    assert len(d.events("exited")) == 1
    gapless(d)
    print([each["shim"]["ms"] for each in done])


def test_L09_restarts_and_stops_cross_renewals(daemon: Start) -> None:
    d = daemon(
        f"""
[[task]]
name = "flap"
cmd = "sleep 0.05"
restart = "always"
retry = "forever"
successdelay = 0
numprocess = 4
backoff = {{ first = 0.05, max = 0.1 }}
[[task]]
name = "slow"
cmd = {program("stubborn.py")}
stopdelay = 1.5
"""
    )
    slow = d.wait_state("slow:0", "running").pid or 0
    d.wait(lambda: d.output("slow:0"))
    d.request("stop", "slow:0", wait=False)
    d.wait_state("slow:0", "stopping")
    began = time.monotonic()
    while alive(slow):
        upgrade(d, "shim")
        assert time.monotonic() - began < 20
    d.wait_state("slow:0", "stopped")
    assert d.proc("slow:0").exit is not None
    runs = {view.key: view.run for view in d.procs("flap")}
    upgrade(d)
    d.wait(lambda: all(view.run > runs[view.key] + 2 for view in d.procs("flap")), what="they go on")
    ends = d.events("exited", "flap:0")
    assert {event.data.get("code") for event in ends} == {0}
    assert len({event.data["run"] for event in ends}) == len(ends), "each end is told once"
    gapless(d)


@pytest.mark.parametrize("args", [(), ("--no-cgroup",)], ids=["cgroup", "sweep"])
def test_G4_what_an_earlier_shim_had_started_is_kept_over_a_renewal(daemon: Start, args: tuple[str, ...]) -> None:
    """Adopted runs are no children of the shim: their pidfds, marks and control groups go with the state."""
    d = daemon(STEADY + f'[[task]]\nname = "tree"\ncmd = {program("daemoniser.py")}\nstopdelay = 0.2\n', args=args)
    before = running(d)
    d.wait(lambda: d.output("tree:0"))
    tree = [before["tree:0"] or 0, *map(int, d.output("tree:0").split())]
    d.kill_shim()
    core = d.core_pid
    upgrade(d, "shim")
    assert (d.pids(), d.core_pid) == (before, core)
    os.kill(before["steady:1"] or 0, signal.SIGKILL)
    d.wait(lambda: d.proc("steady:1").run == 2)
    upgrade(d)
    assert d.pids()["tree:0"] == tree[0]
    d.request("stop", "all")
    assert {view.state for view in d.procs()} == {"stopped"}
    wait_until(lambda: not any(alive(pid) for pid in tree), what="all of the tree is gone")


def test_G4_a_shim_that_is_killed_after_a_renewal_is_recovered(daemon: Start) -> None:
    d = daemon(STEADY)
    before = running(d)
    upgrade(d)
    d.kill_shim()
    assert d.pids() == before
    assert upgrade(d)["processes"] == {"before": 5, "kept": 5}
    d.kill_core()
    assert d.pids() == before


def test_G3_events_are_followed_over_an_upgrade_without_a_gap(daemon: Start) -> None:
    d = daemon(STEADY)
    running(d)
    follow = d.popen("events", "-f", "--json", "--since", "0")
    upgrade(d)
    d.request("restart", "steady:0")
    last = d.status()["core"]["seq"]
    seqs: list[int] = []
    assert follow.stdout is not None
    while not seqs or seqs[-1] < last:
        seqs.append(json.loads(follow.stdout.readline())["seq"])
    assert seqs == list(range(1, last + 1))


def test_G3_who_waits_for_an_effect_is_answered_by_the_next_core(daemon: Start) -> None:
    d = daemon(STEADY)
    running(d)
    waiting = d.popen("wait", "steady:2", "--for", "stopped")
    stopping = threading.Timer(0.5, lambda: d.cli("stop", "steady:2"))
    upgrade(d)
    stopping.start()
    assert waiting.wait(30) == 0
    stopping.join()


def test_G4_a_terminal_keeps_its_screen_and_who_types_at_it(daemon: Start) -> None:
    d = daemon(
        '[[task]]\nname = "cat"\ncmd = "cat"\ntty = true\n[[task]]\nname = "pipe"\ncmd = "cat"\nstdin = "pipe"\n'
    )
    before = running(d)
    d.cli("send", "cat", "before")
    d.cli("send", "pipe", "before")
    d.wait(lambda: d.output("cat:0").count("before") == 2 and d.output("pipe:0") == "before\n")
    d.request("attach", "cat:0", lease="mine", write=True, columns=80, rows=24)
    upgrade(d, "shim")
    d.request("input", lease="mine", data="eA==", n=1)
    d.wait(lambda: "x" in d.output("cat:0"))
    upgrade(d)
    assert d.cli("send", "cat", "after").returncode == 0
    assert d.cli("send", "pipe", "after").returncode == 0
    d.wait(lambda: d.output("cat:0").count("after") == 2 and d.output("pipe:0") == "before\nafter\n")
    assert d.pids() == before
    d.kill_shim()  # the core still has its copies of both
    assert d.cli("send", "cat", "at last").returncode == 0
    assert d.cli("send", "pipe", "at last").returncode == 0
    d.wait(lambda: d.output("cat:0").count("at last") == 2 and d.output("pipe:0").endswith("at last\n"))
    assert d.pids() == before


# Going wrong ------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(daemon_for: Start, tmp_path: Path) -> Callable[[str], Daemon]:
    """Start a daemon of a copy of the package, which may be changed."""
    for name in ("taskmaster_core", "taskmaster_tui"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))

    def start(config: str) -> Daemon:
        return daemon_for(config, env={"PYTHONPATH": str(tmp_path)}).start()

    return start


BROKEN = {
    "shim-syntax": ("shim/runs.py", "def (:\n", "shim", "SyntaxError"),
    "shim-import": ("shim/tree.py", "import no_such_module\n", "shim", "No module named 'no_such_module'"),
    "shim-state": ("shim/release.py", "STATE = OLDEST_STATE = 7\n", "shim", "state is of version 1"),
    "core-syntax": ("machine.py", "def (:\n", "core", "SyntaxError"),
    "core-import": ("ops.py", "import no_such_module\n", "core", "No module named 'no_such_module'"),
    "core-memos": ("memos.py", "def read(*_):\n    return None\n", "core", "is of another version"),
    "core-older": ("versions.py", "WIRE = 0\n", "core", "downgrade the shim first"),
    "core-newer": ("versions.py", "OLDEST_WIRE = 9\n", "core", "upgrade the shim first"),
}


_RARE = ("shim-import", "shim-state", "core-older")  # the shim's are proven on the shim itself, too


@pytest.mark.parametrize(
    "kind", [pytest.param(each, marks=[pytest.mark.slow] if each in _RARE else []) for each in BROKEN]
)
def test_L10_a_broken_new_version_is_refused_and_the_old_one_goes_on(
    copied: Callable[[str], Daemon], tmp_path: Path, kind: str
) -> None:
    name, text, part, words = BROKEN[kind]
    d = copied(STEADY)
    before, core, shim, was = running(d), d.core_pid, d.shim_pid, shim_generation(d)
    path = tmp_path / "taskmaster_core" / name
    good = path.read_text()
    path.write_text(f"{good}\n{text}")
    with pytest.raises(Refused, match=f"the new {part} cannot take over, the one that runs goes on: ") as refused:
        upgrade(d)
    assert words in refused.value.message
    assert (d.pids(), d.core_pid, d.shim_pid, shim_generation(d)) == (before, core, shim, was)
    told = d.events("upgrade_refused")[-1].data
    assert (told["part"], words in told["reason"]) == (part, True)
    path.write_text(good)
    if kind.endswith("syntax"):
        assert upgrade(d)["processes"] == {"before": 5, "kept": 5}


def test_L10_a_refusal_is_told_on_the_command_line_with_status_7(
    copied: Callable[[str], Daemon], tmp_path: Path
) -> None:
    d = copied(STEADY)
    running(d)
    path = tmp_path / "taskmaster_core" / "shim" / "loop.py"
    path.write_text(path.read_text() + "\ndef (:\n")
    done = d.cli("upgrade", env=d.env | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 7
    assert "SyntaxError: invalid syntax" in done.stderr
    assert "loop.py" in done.stderr
    assert done.stdout == ""


def test_L10_a_fit_core_waits_for_no_unfit_shim(copied: Callable[[str], Daemon], tmp_path: Path) -> None:
    d = copied(STEADY)
    before, core = running(d), d.core_pid
    path = tmp_path / "taskmaster_core" / "shim" / "loop.py"
    path.write_text(path.read_text() + "\ndef (:\n")
    upgrade(d, "core")
    assert d.core_pid != core
    assert d.pids() == before


def test_versions_that_differ_are_told_after_half_an_upgrade(copied: Callable[[str], Daemon], tmp_path: Path) -> None:
    d = copied(STEADY)
    running(d)
    release = tmp_path / "taskmaster_core" / "shim" / "release.py"
    release.write_text(release.read_text().replace('RELEASE = "0.1.0"', 'RELEASE = "0.2.0"'))
    done = upgrade(d, "shim")
    assert (done["shim"]["before"]["version"], done["shim"]["after"]["version"]) == ("0.1.0", "0.2.0")
    core = d.status()["core"]
    assert (core["version"], core["shim_version"]) == ("0.1.0", "0.2.0")
    said = d.cli("version")
    assert "shim 0.2.0" in said.stdout
    for each in (said, d.cli("status")):
        assert "not of one release" in each.stderr
        assert "taskmaster upgrade" in each.stderr
    assert "client 0.1.0, core 0.1.0, shim 0.2.0" in d.cli("doctor").stdout


def test_an_upgrade_while_everything_is_stopped_is_refused(daemon: Start) -> None:
    d = daemon(f'[[task]]\nname = "slow"\ncmd = {program("stubborn.py")}\nstopdelay = 1.0\n')
    running(d)
    d.wait(lambda: d.output("slow:0"))
    d.terminate()
    d.wait(lambda: d.status()["core"]["stopping"])
    with pytest.raises(Refused, match="everything is being stopped"):
        upgrade(d)
    assert d.stop() == 0


def test_an_upgrade_of_something_else_is_a_usage_error(daemon: Start) -> None:
    d = daemon(STEADY)
    with pytest.raises(UsageError, match="`what` must be one of all, core, shim"):
        upgrade(d, "everything")
    assert d.cli("upgrade", "--core", "--shim").returncode == 2


def test_L10_a_core_that_is_killed_during_an_upgrade_is_followed_by_one_that_answers(daemon: Start) -> None:
    d = daemon(STEADY)
    before, core = running(d), d.core_pid
    asking = d.popen("upgrade", "--json")
    d.wait(lambda: d.events("asked"))
    os.kill(core, signal.SIGKILL)
    out, err = asking.communicate(timeout=60)
    assert asking.returncode == 0, err
    assert json.loads(out)["processes"]["kept"] == 5
    assert d.pids() == before
    gapless(d)


def come_back(d: Daemon) -> None:
    """Wait until core and shim have found each other.

    Where the shim dies at the very moment at which no core lives, since that is being replaced, both are gone: then it
    is the next start that takes over (L07).
    """

    def recovered() -> bool:
        try:
            return d.recovered()
        except TaskmasterError:
            return False

    try:
        wait_until(recovered, 20.0)
    except AssertionError:
        d.start()
        d.wait(recovered, 20.0)


@pytest.mark.timeout(150)
def test_L08_kills_of_shim_and_core_around_upgrades_leave_one_of_each(daemon: Start) -> None:
    d = daemon(STEADY)
    before = running(d)
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8):
        asking = d.popen("upgrade", "--shim" if delay < 0.3 else "--json")
        time.sleep(delay)  # the moment is what differs
        try:
            victim = d.shim_pid if delay in (0.05, 0.2, 0.8) else d.core_pid
        except TaskmasterError:  # it is being replaced at this moment
            continue
        if victim == d.shim_pid:
            d.kill_shim(wait=False)
        else:
            os.kill(victim, signal.SIGKILL)
        asking.communicate(timeout=60)
        come_back(d)
    assert d.pids() == before
    assert {view.run for view in d.procs()} == {1}
    gapless(d)
