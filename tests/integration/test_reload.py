"""A new config reaches what runs by three ways, and moves nothing but what it must (DESIGN §6.4).

Most tests give one daemon, which takes configs only when told to, a config of their own and then another. Those about
saves, or about the daemon's own end, have a daemon each.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.wire import Event, ProcessView
from tests.harness import Daemon, alive, cmdline_of, environ_of, stat_of, status_field
from tests.integration.conftest import Start
from tests.integration.shared import BARE, cmd, job, running, words

OFF = '[taskmaster]\nautoreload = "off"\n'
SLEEP = '"sleep 1000"'
STEADY = job("steady", SLEEP, numprocess="2")
TELLER = """
import os, signal
for s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
    signal.signal(s, lambda n, _: (os.write(1, b"got %d\\n" % n), os._exit(0)))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""
"""It says which signal ended it."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Daemon]:
    with running(OFF) as it:
        yield it


@pytest.fixture
def yard(ground: Daemon) -> Iterator[Daemon]:
    """Give the daemon without any job, and without what was wished of an earlier test's jobs."""
    yield ground
    if ground.pids():
        ground.request("kill", "all")
    apply(ground, "")
    ground.wait(lambda: not ground.pids(), what="the yard is empty")


def apply(it: Daemon, config: str) -> Any:
    """Save a config and have it taken; return the plan."""
    it.write_config(OFF + config)
    return it.request("reload")


def settled(it: Daemon) -> dict[str, ProcessView]:
    """Wait until everything runs that is to run; return the views."""

    def look() -> dict[str, ProcessView]:
        views = it.procs()
        done = all(view.state == ("running" if view.goal == "up" else "stopped") for view in views)
        return {view.key: view for view in views} if done else {}

    return it.wait(look, what="everything is as wanted")


def lives(views: dict[str, ProcessView], name: str = "steady") -> dict[str, tuple[int | None, int, int]]:
    """Return of a job's processes what an untouched one keeps: pid, run, start time (by the tenth of a second)."""
    return {
        key: (view.pid, view.run, round((view.started_at or 0) * 10))
        for key, view in views.items() if key.startswith(f"{name}:")
    }  # fmt: skip


def kept(before: dict[str, ProcessView], after: dict[str, ProcessView], name: str = "steady") -> bool:
    """Tell whether a job's processes are the same ones, with the same start times."""
    old, new = lives(before, name), lives(after, name)
    return old.keys() == new.keys() and all(
        a[:2] == b[:2] and abs(a[2] - b[2]) <= 1 for a, b in zip(old.values(), new.values(), strict=True)
    )


def restarted(it: Daemon, before: dict[str, ProcessView], *keys: str) -> dict[str, ProcessView]:
    """Wait until these processes, and everything else, run again after one restart; return the views."""

    def look() -> dict[str, ProcessView]:
        found = settled(it)
        return found if all(found[key].run == before[key].run + 1 for key in keys) else {}

    return it.wait(look, what=f"{', '.join(keys)} restarted")


def pid_of(it: Daemon, key: str) -> int:
    found = it.wait_state(key, "running").pid
    assert found is not None
    return found


def newest(it: Daemon) -> int:
    """Return the number of the newest event."""
    return int(it.status()["core"]["seq"])


# What stays, what moves -----------------------------------------------------------------------------------------------


def test_jobs_that_are_the_same_keep_pid_and_start_time(yard: Daemon) -> None:
    apply(yard, STEADY + job("other", SLEEP))
    before = settled(yard)
    apply(yard, STEADY + job("other", '"sleep 1001"') + job("third", SLEEP))
    after = settled(yard)
    assert kept(before, after)
    assert before["other:0"].pid != after["other:0"].pid


def test_a_config_that_says_the_same_in_other_words_is_no_new_generation(yard: Daemon) -> None:
    apply(yard, STEADY)
    before = yard.status()["core"]["generation"]
    plan = apply(yard, "# a comment\n" + job("steady", words("sleep", "1000"), numprocess="0x2"))
    assert plan["changes"] <= 1, "`cmd` is written in another way, no process is touched by that"
    assert apply(yard, "# another comment\n" + job("steady", words("sleep", "1000"), numprocess="2"))["changes"] == 0
    assert yard.status()["core"]["generation"] <= before + 1


def test_numprocess_moves_only_the_indices_that_come_and_go(yard: Daemon) -> None:
    apply(yard, job("web", SLEEP, numprocess="3"))
    three = settled(yard)
    apply(yard, job("web", SLEEP, numprocess="5"))
    five = settled(yard)
    assert sorted(five) == [f"web:{index}" for index in range(5)]
    assert {key: five[key].pid for key in three} == {key: view.pid for key, view in three.items()}
    apply(yard, job("web", SLEEP, numprocess="2"))
    yard.wait(lambda: sorted(yard.pids("web")) == ["web:0", "web:1"])
    assert yard.pids("web") == {key: three[key].pid for key in ("web:0", "web:1")}
    assert not any(alive(pid) for key, view in five.items() if view.index > 1 and (pid := view.pid))


def test_numprocess_zero_stops_all_of_a_job_and_keeps_the_job(yard: Daemon) -> None:
    apply(yard, job("web", SLEEP, numprocess="2"))
    settled(yard)
    apply(yard, job("web", SLEEP, numprocess="0"))
    yard.wait(lambda: yard.procs("web") == [])
    assert [each["name"] for each in yard.status()["jobs"]] == ["web"]


def test_L33_numprocess_10_3_10_under_a_crash_loop(yard: Daemon) -> None:
    def config(width: int) -> str:
        command = words("sh", "-c", "case {index} in [012]) exec sleep 1000;; esac; exit 1")
        return job("flap", command, numprocess=str(width), retry='"forever"', backoff="{ first = 0.02, max = 0.1 }")

    apply(yard, config(10))
    yard.wait(lambda: all(view.run > 2 for view in yard.procs("flap") if view.index > 2))
    before = {key: pid for key, pid in yard.pids("flap").items() if key in ("flap:0", "flap:1", "flap:2")}
    apply(yard, config(3))
    yard.wait(lambda: yard.pids("flap") == before, what="three are left, the same ones")
    gone = {event.key: event for event in yard.events("removed")}
    seq = newest(yard)
    apply(yard, config(10))
    yard.wait(lambda: all(view.run > 2 for view in yard.procs("flap") if view.index > 2))
    assert {key: pid for key, pid in yard.pids("flap").items() if key in before} == before
    ghosts = [
        event for key, last in gone.items()
        for event in yard.events("started", key, since=last.seq) if event.seq <= seq
    ]  # fmt: skip
    assert ghosts == [], "nothing of what was removed was started again before it was wanted again"


# Live keys ------------------------------------------------------------------------------------------------------------


def live(it: Daemon, before: str, after: str, name: str = "web") -> ProcessView:
    """Change a job by a reload; assert that its process was not touched; return its view."""
    apply(it, STEADY + before)
    old = settled(it)
    plan = apply(it, STEADY + after)
    assert [row["sign"] for row in plan["rows"] if row["job"] == name] == ["~"]
    new = settled(it)
    assert kept(old, new)
    assert kept(old, new, name)
    return new[f"{name}:0"]


def test_a_stopsignal_changed_live_is_what_the_next_stop_uses(yard: Daemon) -> None:
    teller = words(*BARE, "-c", TELLER)
    apply(yard, STEADY + job("tells", teller))
    yard.wait(lambda: "ready" in yard.output("tells:0"))
    live(yard, job("tells", teller), job("tells", teller, stopsignal='"USR1"'), "tells")
    yard.request("stop", "tells")
    assert yard.output("tells:0").splitlines()[-1] == f"got {int(signal.SIGUSR1)}"


def test_a_stopdelay_changed_live_is_what_the_next_stop_waits(yard: Daemon) -> None:
    stubborn = cmd("stubborn.py")
    apply(yard, STEADY + job("slow", stubborn, stopdelay="50"))
    yard.wait(lambda: "ready" in yard.output("slow:0"))
    live(yard, job("slow", stubborn, stopdelay="50"), job("slow", stubborn, stopdelay="0.1"), "slow")
    began = time.monotonic()
    yard.request("stop", "slow", timeout=40)
    assert time.monotonic() - began < 10
    assert yard.events("killed", "slow:0")[-1].data["forced"] is True


def test_the_shim_alone_stops_by_the_recipe_that_was_changed_live(daemon: Start) -> None:
    teller = words(*BARE, "-c", TELLER)
    d = daemon(OFF + job("web", teller))
    d.wait(lambda: "ready" in d.output("web:0"))
    apply(d, job("web", teller, stopsignal='"USR1"'))
    log, core = Path(d.places.log_path("web", 0, "out")), d.core_pid
    os.kill(core, signal.SIGSTOP)  # no core can help
    d.terminate()
    os.kill(core, signal.SIGKILL)
    assert d.process is not None
    assert d.process.wait(20) == 0
    assert log.read_text().splitlines()[-1] == f"got {int(signal.SIGUSR1)}"


def test_nice_is_changed_live(yard: Daemon) -> None:
    view = live(yard, job("web", SLEEP), job("web", SLEEP, nice="7"))
    assert view.pid is not None
    yard.wait(lambda: stat_of(view.pid or 0)[16] == "7", what="the kernel knows")


def test_a_restart_policy_changed_live_is_used_at_the_next_exit(yard: Daemon) -> None:
    view = live(yard, job("web", SLEEP, restart='"never"'), job("web", SLEEP, restart='"always"'))
    os.kill(view.pid or 0, signal.SIGKILL)
    assert yard.wait(lambda: (new := yard.proc("web:0")).run > view.run and new.pid)


def test_exitcodes_changed_live_are_used_at_the_next_exit(yard: Daemon) -> None:
    view = live(yard, job("web", SLEEP), job("web", SLEEP, exitcodes='["KILL"]'))
    os.kill(view.pid or 0, signal.SIGKILL)
    assert yard.wait_state("web:0", "exited").run == view.run


def test_a_retry_changed_live_is_used_at_the_next_exit(yard: Daemon) -> None:
    view = live(yard, job("web", SLEEP), job("web", SLEEP, retry="0"))
    os.kill(view.pid or 0, signal.SIGKILL)
    assert yard.wait_state("web:0", "fatal").run == view.run


@pytest.mark.parametrize(("old", "new"), [("true", "false"), ("false", "true")])
def test_autostart_changed_live_neither_starts_nor_stops(yard: Daemon, old: str, new: str) -> None:
    live(yard, job("web", SLEEP, autostart=old), job("web", SLEEP, autostart=new))


def test_tags_changed_live_select(yard: Daemon) -> None:
    live(yard, job("web", SLEEP), job("web", SLEEP, tags='["front"]', description='"the site"'))
    assert list(yard.pids("@front")) == ["web:0"]
    assert yard.request("status", "web")["jobs"][0]["spec"]["description"] == "the site"


def test_killgroup_changed_live_is_what_the_next_stop_does(yard: Daemon) -> None:
    parent = words("sh", "-c", "sleep 1000 & echo $! ; wait")
    apply(yard, STEADY + job("parent", parent))
    child = int(yard.wait(lambda: yard.output("parent:0").strip()).split()[-1])
    live(yard, job("parent", parent), job("parent", parent, killgroup="false"), "parent")
    yard.request("stop", "parent")
    spared = alive(child)
    os.kill(child, signal.SIGKILL)
    assert spared


@pytest.mark.parametrize("first", ["log", "old.txt"])
def test_stdout_is_switched_live_from_file_to_file(yard: Daemon, first: str) -> None:
    ticker = words("sh", "-c", "while :; do echo tick; sleep 0.02; done")
    new = yard.dir / f"new-{first}.txt"
    live(
        yard, job("web", ticker, stdout=json.dumps(first)), job("web", ticker, stdout=json.dumps(str(new)))
    )  # fmt: skip
    yard.wait(lambda: new.exists() and "tick" in new.read_text(), what="the new file grows")
    old = Path(yard.places.log_path("web", 0, "out")) if first == "log" else yard.dir / first
    size = old.stat().st_size
    assert size > 0
    here = new.stat().st_size
    yard.wait(lambda: new.stat().st_size > here + 20)
    assert old.stat().st_size == size, "the old one grows no more"


def test_a_log_size_changed_live_rotates(yard: Daemon) -> None:
    ticker = words("sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; sleep 0.01; done")
    live(yard, job("web", ticker), job("web", ticker, log="{ maxsize = 500, keep = 2 }"))
    log = Path(yard.places.log_path("web", 0, "out"))
    yard.wait(lambda: len(list(log.parent.glob("0.out.*"))) >= 1, what="it rotates")


# Relaunch keys --------------------------------------------------------------------------------------------------------


def limit_of(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[3] for line in lines if line.startswith(name))


@pytest.mark.parametrize(
    ("keys", "holds"),
    [
        pytest.param({"env": '{ COLOUR = "blue" }'}, lambda pid: b"COLOUR=blue" in environ_of(pid), id="env"),
        pytest.param({"cleanenv": "true"}, lambda pid: not any(e.startswith(b"HOME=") for e in environ_of(pid)),
                     id="cleanenv"),
        pytest.param({"workingdir": '"/"'}, lambda pid: os.readlink(f"/proc/{pid}/cwd") == "/", id="workingdir"),
        pytest.param({"umask": '"077"'}, lambda pid: status_field(pid, "Umask") == "0077", id="umask"),
        pytest.param({"limits": "{ nofile = 77 }"}, lambda pid: limit_of(pid, "Max open files") == "77", id="limits"),
        pytest.param({"stdin": '"/dev/zero"'}, lambda pid: os.readlink(f"/proc/{pid}/fd/0") == "/dev/zero", id="stdin"),
        pytest.param({"stdout": '"null"'}, lambda pid: os.readlink(f"/proc/{pid}/fd/1") == "/dev/null", id="stdout"),
        pytest.param({"shell": "true"}, lambda pid: cmdline_of(pid) in (["/bin/sh", "-c", "sleep 1000"],
                                                                        ["sleep", "1000"]), id="shell"),
        pytest.param({"cmd": '"sleep 1002"'}, lambda pid: cmdline_of(pid) == ["sleep", "1002"], id="cmd"),
    ],
)  # fmt: skip
def test_what_only_a_new_run_can_have_restarts_that_job_alone(
    yard: Daemon, keys: dict[str, str], holds: Callable[[int], bool]
) -> None:
    apply(yard, STEADY + job("web", SLEEP))
    before = settled(yard)
    command = keys.get("cmd", SLEEP)
    apply(yard, STEADY + job("web", command, **{key: value for key, value in keys.items() if key != "cmd"}))
    after = restarted(yard, before, "web:0")
    assert kept(before, after)
    assert holds(after["web:0"].pid or 0)


def test_an_envfile_whose_content_changed_restarts_its_job(yard: Daemon) -> None:
    file = yard.dir / "settings.env"
    file.write_text("COLOUR=red\n")
    config = STEADY + job("web", SLEEP, envfile=json.dumps(str(file)))
    apply(yard, config)
    before = settled(yard)
    file.write_text("COLOUR=green\n")
    apply(yard, config)
    after = restarted(yard, before, "web:0")
    assert b"COLOUR=green" in environ_of(after["web:0"].pid or 0)
    assert kept(before, after)


# Removing, renaming, correcting ---------------------------------------------------------------------------------------


def test_a_removed_job_gets_its_own_stop_signal(yard: Daemon) -> None:
    teller = words(*BARE, "-c", TELLER)
    apply(yard, STEADY + job("old", teller, stopsignal='"INT"', stdout='"told.txt"'))
    told = yard.dir / "told.txt"
    yard.wait(lambda: told.exists() and "ready" in told.read_text())
    apply(yard, STEADY)
    yard.wait(lambda: "old:0" not in yard.pids(), what="it is gone")
    assert told.read_text().splitlines()[-1] == f"got {int(signal.SIGINT)}"


def test_a_removed_job_gets_its_stopdelay_and_only_then_is_killed(yard: Daemon) -> None:
    apply(yard, STEADY + job("hard", cmd("stubborn.py"), stopdelay="0.5"))
    yard.wait(lambda: "ready" in yard.output("hard:0"))
    apply(yard, STEADY)
    assert yard.proc("hard:0").state == "stopping"
    yard.wait(lambda: "hard:0" not in yard.pids(), what="it is gone")
    told = {event.type: event.at for event in yard.events(key="hard:0") if event.type in ("stopping", "killed")}
    assert told["killed"] - told["stopping"] >= 0.45


def test_a_removed_job_that_comes_back_while_it_stops_runs_again(yard: Daemon) -> None:
    stubborn = job("stub", cmd("stubborn.py"), stopdelay="0.3")
    apply(yard, STEADY + stubborn)
    first = pid_of(yard, "stub:0")
    yard.wait(lambda: "ready" in yard.output("stub:0"))
    apply(yard, STEADY)
    apply(yard, STEADY + stubborn)
    yard.wait(lambda: (view := yard.proc("stub:0")).state == "running" and view.pid != first)
    assert not alive(first)
    assert yard.proc("stub:0").reason == "is wanted again"


def test_a_renamed_job_is_one_that_goes_and_one_that_comes(yard: Daemon) -> None:
    apply(yard, STEADY + job("old", SLEEP))
    before = settled(yard)
    plan = apply(yard, STEADY + job("new", SLEEP))
    assert {row["job"]: row["sign"] for row in plan["rows"]} == {"steady": "=", "new": "+", "old": "-"}
    yard.wait(lambda: "old:0" not in yard.pids())
    after = settled(yard)
    assert after["new:0"].pid != before["old:0"].pid
    assert kept(before, after)
    assert not alive(before["old:0"].pid or 0)


def test_C13_two_jobs_that_swap_their_names_run_what_they_now_say(yard: Daemon) -> None:
    apply(yard, STEADY + job("a", '"sleep 1001"') + job("b", '"sleep 1002"'))
    before = settled(yard)
    plan = apply(yard, STEADY + job("a", '"sleep 1002"') + job("b", '"sleep 1001"'))
    assert {row["job"]: row["effect"] for row in plan["rows"]} == {
        "steady": "untouched", "a": "restarts 1 process", "b": "restarts 1 process",
    }  # fmt: skip
    after = restarted(yard, before, "a:0", "b:0")
    assert cmdline_of(after["a:0"].pid or 0) == ["sleep", "1002"]
    assert cmdline_of(after["b:0"].pid or 0) == ["sleep", "1001"]
    assert not any(alive(view.pid or 0) for key, view in before.items() if key in ("a:0", "b:0"))
    assert kept(before, after)


def test_C13_a_name_taken_up_again_continues_nothing_of_the_old_job(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", '"false"', retry="0"))
    yard.wait_state("web:0", "fatal")
    apply(yard, STEADY)
    yard.wait(lambda: "web:0" not in yard.pids())
    apply(yard, STEADY + job("web", SLEEP))
    view = yard.wait_state("web:0", "running")
    assert (view.tries, view.restarts, view.exit) == (0, 0, None)


def test_a_fatal_job_whose_command_is_corrected_starts_by_itself(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", '"/no/such/program"', retry="0"))
    yard.wait_state("web:0", "fatal")
    apply(yard, STEADY + job("web", SLEEP))
    assert yard.wait_state("web:0", "running").pid


def test_a_job_in_backoff_whose_command_is_corrected_does_not_wait_any_longer(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", '"false"', backoff="{ first = 50, max = 50 }"))
    yard.wait_state("web:0", "backoff")
    apply(yard, STEADY + job("web", SLEEP, backoff="{ first = 50, max = 50 }"))
    assert yard.wait_state("web:0", "running").pid


def test_L31_a_job_removed_while_in_backoff_is_never_started_again(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", '"false"', backoff="{ first = 0.4, max = 0.4, jitter = 0 }"))
    yard.wait_state("web:0", "backoff")
    due = yard.proc("web:0").next_start_at or 0
    apply(yard, STEADY)
    removed = yard.wait_event("removed", "web:0", since=yard.events("backoff", "web:0")[-1].seq)
    yard.wait(lambda: time.time() > due + 0.2, what="the time of the retry has passed")
    assert yard.events("started", "web:0", since=removed.seq) == []


# By hand --------------------------------------------------------------------------------------------------------------


def test_a_job_stopped_by_hand_stays_stopped_through_a_reload_that_changes_it(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP))
    settled(yard)
    yard.request("stop", "web")
    apply(yard, STEADY + job("web", '"sleep 1001"', numprocess="1", description='"new"'))
    apply(yard, STEADY + job("web", '"sleep 1001"') + job("third", SLEEP))
    assert yard.wait_state("third:0", "running")
    view = yard.proc("web:0")
    assert (view.state, view.goal, view.pid) == ("stopped", "down", None)
    yard.request("start", "web")
    assert cmdline_of(yard.proc("web:0").pid or 0) == ["sleep", "1001"]


def test_a_job_stopped_by_hand_stays_stopped_through_the_death_of_core_and_daemon(daemon: Start) -> None:
    d = daemon(STEADY + job("web", SLEEP) + job("done", '"true"'))
    d.wait_state("web:0", "running")
    d.request("stop", "web")
    d.kill_core()
    assert d.proc("web:0").state == "stopped"
    d.restart()
    d.wait_state("steady:0", "running")
    assert (d.proc("web:0").state, d.proc("web:0").goal) == ("stopped", "down")
    d.request("start", "web")
    d.restart()
    assert d.wait_state("web:0", "running").goal == "up"


def test_numprocess_that_is_edited_while_nothing_runs_holds_over_a_scale_by_hand(daemon: Start) -> None:
    d = daemon(STEADY + job("web", SLEEP) + job("gone", SLEEP))
    d.wait_state("web:0", "running")
    d.request("scale", "web", n=3)
    d.request("stop", "gone")
    d.stop()
    d.start()
    d.wait(lambda: len(d.pids("web")) == 3)  # what was not edited stays as it was scaled
    d.stop()
    d.config_path.write_text(STEADY + job("web", SLEEP, numprocess="2"))
    d.start()
    d.wait(lambda: len(d.pids("web")) == 2)
    apply(d, STEADY + job("web", SLEEP, numprocess="2") + job("gone", SLEEP))
    d.wait_state("gone:0", "running")


def test_a_scale_by_hand_holds_until_numprocess_is_edited(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP, numprocess="2"))
    settled(yard)
    yard.request("scale", "web", n=4)
    apply(yard, STEADY + job("web", '"sleep 1001"', numprocess="2"))
    yard.wait(lambda: len(settled(yard)) == 6 and len(yard.pids("web")) == 4)
    apply(yard, STEADY + job("web", '"sleep 1001"', numprocess="3"))
    yard.wait(lambda: len(yard.pids("web")) == 3)


def test_a_scale_by_hand_outlives_core_and_daemon(daemon: Start) -> None:
    d = daemon(job("web", SLEEP))
    d.wait_state("web:0", "running")
    d.request("scale", "web", n=3)
    d.kill_core()
    assert len(d.procs("web")) == 3
    d.restart()
    assert len(settled(d)) == 3


# Plans ----------------------------------------------------------------------------------------------------------------


def test_reload_plan_shows_every_sign_and_applies_nothing(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP) + job("old", SLEEP))
    before, generation = settled(yard), yard.status()["core"]["generation"]
    yard.write_config(OFF + STEADY + job("web", '"sleep 1001"', nice="3") + job("new", SLEEP))
    said = yard.cli("reload", "--plan", "-v").stdout
    assert {line[:2] for line in said.splitlines()} >= {"+ ", "~ ", "- ", "= "}
    assert "nice: 0" in said
    assert "restarts 1 process" in said
    assert "stops 1 process" in said
    assert yard.status()["core"]["generation"] == generation
    assert {key: view.pid for key, view in settled(yard).items()} == {key: view.pid for key, view in before.items()}


def test_reload_plan_exit_code_tells_whether_anything_is_pending(yard: Daemon) -> None:
    apply(yard, STEADY)
    assert yard.cli("reload", "--plan", "--exit-code").returncode == 0
    yard.write_config(OFF + STEADY + job("new", SLEEP))
    assert yard.cli("reload", "--plan", "--exit-code").returncode == 8
    assert yard.cli("reload", "--plan").returncode == 0


def test_what_the_plan_says_is_what_the_reload_does(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP))
    yard.write_config(OFF + STEADY + job("web", SLEEP, nice="3") + job("new", SLEEP))
    plan, done = yard.request("reload", plan=True), yard.request("reload")
    assert plan["rows"] == done["rows"]
    assert (plan["generation"], done["generation"]) == (None, yard.status()["core"]["generation"])


def test_reload_except_leaves_a_job_as_it_is_and_says_so(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP) + job("gone", SLEEP))
    before = settled(yard)
    yard.write_config(OFF + STEADY + job("web", '"sleep 1001"') + job("new", SLEEP))
    done = yard.cli("reload", "--except", "web", "--except", "gone")
    assert done.returncode == 0, done.stderr
    after = settled(yard)
    assert (after["web:0"].pid, after["gone:0"].pid) == (before["web:0"].pid, before["gone:0"].pid)
    assert "new:0" in after
    assert any("left out" in str(each) for each in yard.status()["core"]["config_problems"])
    assert yard.request("reload")["changes"] == 2
    assert yard.status()["core"]["config_problems"] == []


def test_what_was_left_out_stays_out_when_the_core_is_replaced(daemon: Start) -> None:
    d = daemon(STEADY + job("web", SLEEP))
    before = settled(d)
    core = d.core_pid
    os.kill(core, signal.SIGSTOP)  # the save must not be taken before the request
    d.write_config(STEADY + job("web", '"sleep 1001"', description='"other"'))
    threading.Timer(0.1, os.kill, (core, signal.SIGCONT)).start()
    assert d.cli("reload", "--except", "web").returncode == 0
    d.kill_core()
    d.wait(lambda: any("left out" in str(each) for each in d.status()["core"]["config_problems"]))
    assert kept(before, settled(d), "web")


def test_a_process_of_an_older_generation_says_so(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP))
    first = settled(yard)
    apply(yard, STEADY + job("web", '"sleep 1001"'))
    generation = yard.status()["core"]["generation"]
    after = restarted(yard, first, "web:0")
    assert after["web:0"].generation == generation
    assert after["steady:0"].generation == first["steady:0"].generation < generation


def test_rollback_brings_files_and_processes_back(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP))
    generation = yard.status()["core"]["generation"]
    text = yard.config_path.read_text()
    apply(yard, STEADY + job("web", '"sleep 1001"') + job("new", SLEEP))
    settled(yard)
    done = yard.cli("rollback", str(generation), "-y")
    assert done.returncode == 0, done.stderr
    assert yard.config_path.read_text() == text
    yard.wait(lambda: "new:0" not in yard.pids())
    assert cmdline_of(settled(yard)["web:0"].pid or 0) == ["sleep", "1000"]
    assert yard.status()["core"]["generation"] == generation + 2


def test_rollback_without_a_number_goes_one_back(yard: Daemon) -> None:
    apply(yard, STEADY + job("web", SLEEP))
    apply(yard, STEADY + job("web", SLEEP, nice="2"))
    assert yard.cli("rollback", "-y").returncode == 0
    assert yard.request("status", "web")["jobs"][0]["spec"]["nice"] == 0


def test_the_generations_are_files_for_the_owner_alone(yard: Daemon) -> None:
    apply(yard, STEADY)
    modes = {path.stat().st_mode & 0o777 for path in Path(yard.places.generations).iterdir()}
    assert modes == {0o600}


def test_settings_are_taken_live(yard: Daemon) -> None:
    apply(yard, STEADY)
    before = settled(yard)
    yard.write_config('[taskmaster]\nautoreload = "off"\nlogfile = "people.log"\n' + STEADY)
    plan = yard.request("reload")
    assert [row["job"] for row in plan["rows"] if row["sign"] == "~"][-1:] == ["[taskmaster]"]
    apply(yard, STEADY)
    assert kept(before, settled(yard))


def test_one_of_two_hundred_jobs_changed_leaves_199_pids(daemon: Start) -> None:
    def config(changed: str) -> str:
        return OFF + "".join(job(f"j{n}", changed if n == 77 else SLEEP) for n in range(200))

    d = daemon(config(SLEEP))
    before = settled(d)
    d.write_config(config('"sleep 1001"'))
    plan = d.request("reload")
    assert plan["changes"] == 1
    after = restarted(d, before, "j77:0")
    moved = [key for key in before if (before[key].pid, before[key].run) != (after[key].pid, after[key].run)]
    assert moved == ["j77:0"]


# The other two ways: HUP, and saving ----------------------------------------------------------------------------------


def version(number: int) -> str:
    """Return a config whose versions differ in what touches no process."""
    return (
        '[taskmaster]\ndebounce = "100ms"\n' + STEADY + job("web", SLEEP, description=f'"version {number}"')
    )  # fmt: skip


def seen(it: Daemon) -> int:
    """Return which version the core holds."""
    return int(it.request("status", "web")["jobs"][0]["spec"]["description"].split()[1])


def reloads(it: Daemon, since: int = 0) -> list[Event]:
    return it.events("reloaded", since=since)


def test_SIGHUP_reloads_also_where_saving_does_not(yard: Daemon) -> None:
    apply(yard, STEADY)
    before = settled(yard)
    seq = newest(yard)
    yard.write_config(OFF + STEADY + job("new", SLEEP))
    os.kill(yard.shim_pid, signal.SIGHUP)
    yard.wait_state("new:0", "running")
    assert kept(before, settled(yard))
    assert "SIGHUP" in reloads(yard, seq)[0].cause.text


@pytest.fixture(scope="module")
def saved() -> Iterator[Daemon]:
    with running(version(0)) as it:
        settled(it)
        yield it


def number_in(text: str) -> str:
    return text.partition('"version ')[2].partition('"')[0]


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_rename(path: Path, text: str) -> None:
    draft = path.with_name(".draft")
    draft.write_text(text)
    draft.replace(path)


def by_sed(path: Path, text: str) -> None:
    number = number_in(text)
    subprocess.run(["sed", "-i", f's/"version [0-9]*"/"version {number}"/', str(path)], check=True)


def by_vim(path: Path, text: str) -> None:
    if shutil.which("vim") is None:
        pytest.skip("vim is not installed")
    number = number_in(text)
    change = f'%s/"version [0-9]*"/"version {number}"/'
    subprocess.run(["vim", "-u", "NONE", "-N", "-es", "-c", change, "-c", "wq", str(path)], check=True)


def in_two_writes(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.05)  # the pause is what is tested; it is shorter than the debounce
        file.write(text[len(text) // 2 :])


def by_backup_and_new_file(path: Path, text: str) -> None:
    path.rename(path.with_name(path.name + "~"))
    path.write_text(text)


@pytest.mark.parametrize(
    "save", [in_place, by_rename, by_sed, by_vim, in_two_writes, by_backup_and_new_file], ids=lambda f: f.__name__
)
def test_C04_each_way_to_save_is_one_reload_time_after_time(saved: Daemon, save: Callable[[Path, str], None]) -> None:
    before = settled(saved)
    generation, number = saved.status()["core"]["generation"], seen(saved)
    for count in (1, 2, 3):
        save(saved.config_path, version(number + count))
        saved.wait(lambda count=count: seen(saved) == number + count, what=f"save {count} is in force")
    assert saved.status()["core"]["generation"] == generation + 3
    assert kept(before, settled(saved))
    assert kept(before, settled(saved), "web")


def test_C04_a_file_deleted_and_made_again_is_one_reload_and_stops_nothing(saved: Daemon) -> None:
    before, number, seq = settled(saved), seen(saved), newest(saved)
    generation = saved.status()["core"]["generation"]
    saved.config_path.unlink()
    told = saved.wait_event("notice", since=seq)
    assert "is not there" in told.data["message"]
    saved.config_path.write_text(version(number + 1))
    saved.wait(lambda: seen(saved) == number + 1)
    assert saved.status()["core"]["generation"] == generation + 1
    assert kept(before, settled(saved))


def test_C04_a_file_that_was_dropped_from_the_config_and_removed_holds_no_later_save_up(saved: Daemon) -> None:
    number, extra = seen(saved), saved.dir / "extra.env"
    extra.write_text("A=1\n")
    with_it = version(number + 1) + job("extra", SLEEP, envfile='"extra.env"')
    saved.write_config(with_it)
    saved.wait_state("extra:0", "running")
    extra.unlink()  # first: what was wanted of it is still in force, and is refused
    saved.write_config(version(number + 2))
    saved.wait(lambda: seen(saved) == number + 2)
    saved.write_config(version(number + 3))
    saved.wait(lambda: seen(saved) == number + 3)


def test_C04_a_file_that_a_refused_config_wanted_is_taken_when_it_comes(saved: Daemon) -> None:
    number, seq = seen(saved), newest(saved)
    saved.write_config(version(number + 1) + job("extra", SLEEP, envfile='"extra.env"'))
    saved.wait_event("config_error", since=seq)
    (saved.dir / "extra.env").write_text("A=1\n")
    saved.wait_state("extra:0", "running")
    assert saved.status()["core"]["config_problems"] == []


def test_C04_a_truncated_file_rewritten_after_a_pause_stops_nothing(saved: Daemon) -> None:
    before, number, seq = settled(saved), seen(saved), newest(saved)
    text = version(number + 1)
    with saved.config_path.open("w") as file:
        saved.wait_event("reload_refused", since=seq)
        file.write(text)
    saved.wait(lambda: seen(saved) == number + 1)
    assert kept(before, settled(saved))
    assert saved.status()["core"]["config_problems"] == []


def linked(target: str, make: Callable[[Path], None]) -> Daemon:
    """Return a daemon, not yet started, whose config is a symlink."""
    d = Daemon("")
    make(d.dir)
    d.config_path.unlink()
    d.config_path.symlink_to(target)
    return d


def test_C04_a_swapped_symlink_is_a_reload_and_so_is_an_edit_of_its_target() -> None:
    def make(place: Path) -> None:
        for number in (1, 2):
            (place / f"v{number}.toml").write_text(version(number))

    d = linked("v1.toml", make)
    try:
        d.start()
        before = settled(d)
        fresh = d.dir / "fresh"
        fresh.symlink_to("v2.toml")
        fresh.replace(d.config_path)
        d.wait(lambda: seen(d) == 2, what="the link's new target is in force")
        (d.dir / "v2.toml").write_text(version(3))
        d.wait(lambda: seen(d) == 3, what="the target's new text is in force")
        assert len(reloads(d)) == 2
        assert kept(before, settled(d))
    finally:
        assert d.close() == []


def test_C04_a_kubernetes_swap_is_a_reload_time_after_time() -> None:
    def publish(place: Path, number: int) -> None:
        folder = place / f"..2026_{number}"
        folder.mkdir()
        (folder / "taskmaster.toml").write_text(version(number))
        link = place / "..data_tmp"
        link.symlink_to(folder.name)
        link.replace(place / "..data")

    d = linked("..data/taskmaster.toml", lambda place: publish(place, 1))
    try:
        d.start()
        before = settled(d)
        for number in (2, 3):
            publish(d.dir, number)
            shutil.rmtree(d.dir / f"..2026_{number - 1}")
            d.wait(lambda number=number: seen(d) == number, what=f"version {number} is in force")
        assert len(reloads(d)) == 2
        assert kept(before, settled(d))
    finally:
        assert d.close() == []


def test_a_file_that_joins_or_leaves_an_included_directory_is_a_reload(daemon_for: Start) -> None:
    d = daemon_for('[taskmaster]\ndebounce = "100ms"\ninclude = ["conf.d/*.toml"]\n' + STEADY)
    (d.dir / "conf.d").mkdir()
    d.start()
    before = settled(d)
    (d.dir / "conf.d" / "more.toml").write_text(job("more", SLEEP))
    d.wait_state("more:0", "running")
    (d.dir / "conf.d" / "more.toml").unlink()
    d.wait(lambda: "more:0" not in d.pids(), what="it was stopped again")
    assert kept(before, settled(d))


# What autoreload says -------------------------------------------------------------------------------------------------


def asking(number: int) -> str:
    return version(number).replace("[taskmaster]\n", '[taskmaster]\nautoreload = "ask"\n')


def test_autoreload_ask_says_that_something_waits_and_applies_it_when_told_to(daemon: Start) -> None:
    d = daemon(asking(1))
    d.write_config(asking(2))
    told = d.wait_event("reload_refused")
    assert "ask" in told.data["reason"]
    assert seen(d) == 1
    assert d.status()["core"]["config_problems"] != []
    assert d.cli("reload").returncode == 0
    assert seen(d) == 2
    assert d.status()["core"]["config_problems"] == []


def test_autoreload_ask_has_nothing_to_ask_after_a_core_was_replaced(daemon: Start) -> None:
    d = daemon(asking(1))
    d.kill_core()
    d.request("reload", plan=True)  # answered after what the new core looks at by itself
    assert d.events("reload_refused") == []
    assert d.status()["core"]["config_problems"] == []


def test_autoreload_ask_keeps_a_later_core_from_taking_what_waits(daemon: Start) -> None:
    d = daemon(asking(1))
    d.write_config(asking(2))
    seq = d.wait_event("reload_refused").seq
    d.kill_core()
    d.wait_event("reload_refused", since=seq)
    assert seen(d) == 1
    assert d.status()["core"]["config_problems"] != []


def test_autoreload_off_takes_no_save_and_no_later_core_takes_it_either(daemon: Start) -> None:
    off = version(1).replace("[taskmaster]\n", OFF)
    d = daemon(off)
    d.write_config(off.replace("version 1", "version 2"))
    since = time.monotonic()
    d.wait(lambda: time.monotonic() - since > 0.5, what="five times the debounce has passed")
    assert seen(d) == 1
    d.kill_core()
    since = time.monotonic()
    d.wait(lambda: time.monotonic() - since > 0.5)
    assert seen(d) == 1
    d.request("reload")
    assert seen(d) == 2


def test_a_save_while_no_core_was_there_is_taken_by_the_next_core(daemon: Start) -> None:
    d = daemon(version(1))
    before = settled(d)
    core = d.core_pid
    os.kill(core, signal.SIGSTOP)
    d.write_config(version(2))
    os.kill(core, signal.SIGKILL)
    d.wait(lambda: seen(d) == 2)
    assert kept(before, settled(d))
