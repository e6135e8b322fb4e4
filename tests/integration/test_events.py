"""Everything that happens is written down with its cause, for people and for programs, whatever becomes of the disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.eventlog import KEPT
from taskmaster_core.instants import AT_ONCE
from taskmaster_core.wire import Event
from tests.harness import Daemon, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import job, read, running, words

QUICK = '[taskmaster]\ndebounce = "100ms"\n'
OFF = '[taskmaster]\nautoreload = "off"\n'
SLEEP = '"sleep 1000"'
STEADY = job("web", SLEEP)
FLAPPER = job("flap", '"false"', restart='"always"', retry='"forever"', backoff="{ first = 0.05, max = 0.2 }")
CONFIG = OFF + STEADY + FLAPPER + job("bad", words("sh", "-c", "exit 3"), retry="1", backoff="{ first = 0.02 }")


@pytest.fixture(scope="module")
def it() -> Iterator[Daemon]:
    with running(CONFIG) as found:
        found.wait_state("web:0", "running")
        found.wait_state("bad:0", "fatal")
        yield found


def newest(d: Daemon) -> int:
    return int(d.status()["core"]["seq"])


def first(d: Daemon, kind: str, key: str | None = None, since: int = 0) -> Event:
    return d.wait_event(kind, key, since=since)


def numbers(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


# Causes ---------------------------------------------------------------------------------------------------------------


def test_a_start_with_the_core_has_the_generation_as_its_cause(it: Daemon) -> None:
    said = first(it, "started", "web:0")
    assert (said.cause.kind, said.cause.generation) == ("boot", 1)
    assert said.data["run"] == 1
    assert said.data["pid"]


def test_an_exit_has_its_run_and_its_code(it: Daemon) -> None:
    said = first(it, "exited", "bad:0")
    assert (said.cause.kind, said.cause.run, said.data["run"], said.data["code"]) == ("exit", 1, 1, 3)
    assert said.data["expected"] is False


def test_a_retry_tells_that_its_time_had_come(it: Daemon) -> None:
    starts = it.wait(lambda: it.events("started", "flap:0")[3:])
    assert [(event.cause.kind, event.cause.run) for event in starts] == [
        ("deadline", event.data["run"] - 1) for event in starts
    ]


def test_a_restart_after_a_long_life_has_the_exit_as_its_cause(daemon: Start) -> None:
    d = daemon(OFF + job("web", SLEEP, restart='"always"', successdelay="0"))
    pid = d.wait_state("web:0", "running").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    started = d.wait(lambda: d.events("started", "web:0")[1:])[0]
    assert (started.cause.kind, started.cause.run) == ("exit", 1)


def test_a_job_that_is_given_up_says_after_which_exit(it: Daemon) -> None:
    said = first(it, "fatal", "bad:0")
    assert (said.cause.kind, said.cause.run) == ("exit", 2)
    assert said.data["reason"]


def test_what_an_operator_did_carries_request_and_person(it: Daemon) -> None:
    seq = newest(it)
    it.request("restart", "web")
    told = {event.type: event.cause for event in it.events(key="web:0", since=seq)}
    asked = told["stopping"]
    assert told["started"] == asked
    assert asked.kind == "operator"
    assert asked.request
    assert f"uid {os.getuid()}" in asked.who
    assert str(os.getpid()) in asked.who


def test_a_stop_by_hand_ends_with_an_event_of_how_it_ended(it: Daemon) -> None:
    seq = newest(it)
    it.request("stop", "web")
    said = first(it, "stopped", "web:0", seq)
    assert said.data["signal"] == "SIGTERM"
    seq = newest(it)
    it.request("start", "web")
    assert first(it, "started", "web:0", seq).cause.kind == "operator"


def test_a_reload_and_what_it_started_carry_the_generation(it: Daemon) -> None:
    seq = newest(it)
    it.write_config(CONFIG + job("more", SLEEP))
    generation = it.request("reload")["generation"]
    reloaded, started = first(it, "reloaded", since=seq), first(it, "started", "more:0", seq)
    assert reloaded.data["generation"] == generation
    assert (started.cause.kind, started.cause.generation) == ("reload", generation)
    assert f"uid {os.getuid()}" in reloaded.cause.who
    it.write_config(CONFIG)
    it.request("reload")
    removed = first(it, "removed", "more:0", seq)
    assert removed.seq > started.seq
    stopping = first(it, "stopping", "more:0", seq)
    assert (stopping.cause.kind, stopping.cause.generation) == ("reload", generation + 1)


def test_a_signal_sent_by_hand_is_written_down(it: Daemon) -> None:
    seq = newest(it)
    it.request("signal", "web", signal="CONT")
    said = first(it, "signalled", "web:0", seq)
    assert (said.data["signum"], said.cause.kind) == (signal.SIGCONT, "operator")


def test_a_scale_and_a_reset_by_hand_are_written_down(it: Daemon) -> None:
    seq = newest(it)
    it.request("scale", "web", n=2)
    it.request("scale", "web", n=1)
    it.request("reset", "bad")
    assert [event.data["n"] for event in it.events("scaled", since=seq)] == [2, 1]
    assert first(it, "reset", "bad:0", seq).cause.kind == "operator"


def test_a_core_that_was_replaced_is_written_down(daemon: Start) -> None:
    d = daemon(STEADY)
    d.wait_state("web:0", "running")
    seq = newest(d)
    d.kill_core()
    said = first(d, "core_replaced", since=seq)
    assert said.data["pid"] == d.core_pid
    assert said.data["shim_pid"] == d.shim_pid
    assert "WARNING" in next(line for line in read(Path(d.places.eventlog)).splitlines() if "took over" in line)


def test_no_number_is_missing_or_told_twice(it: Daemon) -> None:
    found = numbers(it.events())
    assert found == list(range(1, len(found) + 1))


# Following ------------------------------------------------------------------------------------------------------------


def test_events_f_follows_and_prints_json_lines(it: Daemon) -> None:
    seq = newest(it)
    following = it.popen("events", "-f", "--since", str(seq), "--json", "web")
    it.request("restart", "web")
    assert following.stdout is not None
    said = [json.loads(following.stdout.readline()) for _ in range(3)]
    assert {event["key"] for event in said} == {"web:0"}
    assert said[0]["type"] == "stopping"
    assert all(event["seq"] > seq for event in said)
    following.terminate()
    following.wait(10)


def test_events_f_goes_on_without_loss_when_the_core_is_replaced(daemon: Start) -> None:
    d = daemon(OFF + STEADY + FLAPPER)
    d.wait_state("web:0", "running")
    following = d.popen("events", "-f", "--since", "0", "--json")
    assert following.stdout is not None
    d.kill_core()
    last = newest(d)
    seen: list[int] = []
    while not seen or seen[-1] < last:
        seen.append(json.loads(following.stdout.readline())["seq"])
    assert seen == list(range(1, len(seen) + 1))
    following.terminate()
    following.wait(10)


def test_events_since_a_number_begin_after_it(it: Daemon) -> None:
    seq = newest(it) - 3
    said = [json.loads(line) for line in it.cli("events", "--since", str(seq), "--json").stdout.splitlines()]
    assert said[0]["seq"] == seq + 1


def test_events_since_a_time_are_those_after_it(it: Daemon) -> None:
    said = it.cli("events", "--since", "1h", "--json", "-n", "100000").stdout.splitlines()
    assert json.loads(said[0])["seq"] == 1


def test_events_of_a_job_are_told_in_sentences(it: Daemon) -> None:
    said = it.cli("events", "bad").stdout
    assert "bad:0 started with pid" in said
    assert "ended unexpectedly with code 3" in said
    assert "is given up" in said
    assert "flap" not in said


# The log for people ---------------------------------------------------------------------------------------------------


def log_lines(d: Daemon) -> list[str]:
    return read(Path(d.places.eventlog)).splitlines()


@pytest.mark.parametrize(
    ("level", "part"),
    [
        ("INFO", "web:0 started with pid"),
        ("WARNING", "bad:0 ended unexpectedly with code 3"),
        ("ERROR", "bad:0 is given up"),
        ("INFO", "core"),
    ],
)
def test_the_log_tells_it_with_its_level(it: Daemon, level: str, part: str) -> None:
    line = it.wait(lambda: [line for line in log_lines(it) if part in line], what=part)[0]
    assert line.split()[1] == level


def test_the_log_names_who_asked(it: Daemon) -> None:
    it.request("restart", "web")
    it.wait(
        lambda: [ln for ln in log_lines(it) if "web:0 is being stopped" in ln and f"asked by uid {os.getuid()}" in ln]
    )


def test_the_log_begins_with_times_in_UTC_that_go_up(it: Daemon) -> None:
    stamps = [line.split()[0] for line in log_lines(it)]
    assert all(stamp.endswith("+00:00") for stamp in stamps)
    assert stamps == sorted(stamps)


def test_the_log_is_for_owner_and_group_only(it: Daemon) -> None:
    assert Path(it.places.eventlog).stat().st_mode & 0o007 == 0


def test_logfile_and_loglevel_are_taken_and_changed_live(daemon: Start) -> None:
    d = daemon('[taskmaster]\nautoreload = "off"\nlogfile = "people.log"\nloglevel = "warning"\n' + STEADY)
    d.wait_state("web:0", "running")
    d.write_config('[taskmaster]\nautoreload = "off"\nlogfile = "other.log"\nloglevel = "info"\n' + STEADY)
    d.request("reload")
    d.request("restart", "web")
    d.wait(lambda: "web:0 started" in read(d.dir / "other.log"), what="the new file at the new level")
    assert "started" not in read(d.dir / "people.log")


def test_a_log_that_was_moved_away_is_begun_anew(it: Daemon) -> None:
    path = Path(it.places.eventlog)
    path.rename(path.with_suffix(".moved"))
    it.request("restart", "web")
    it.wait(lambda: "web:0 started" in read(path))


def test_the_log_is_rotated_by_size_and_keeps_so_many_parts(daemon: Start) -> None:
    d = daemon(OFF + STEADY)
    d.wait_state("web:0", "running")
    path = Path(d.places.eventlog)
    for _ in range(KEPT + 2):
        with path.open("r+b") as file:
            file.truncate(11_000_000)  # as if so much had been written
        inode = path.stat().st_ino
        d.request("signal", "web", signal="CONT")
        d.wait(lambda inode=inode: not path.exists() or path.stat().st_ino != inode)
        d.request("signal", "web", signal="CONT")
        d.wait(path.exists)
    assert len(list(path.parent.glob(f"{path.name}.*"))) == KEPT


# R06: the journal in trouble ------------------------------------------------------------------------------------------


def supervision_goes_on(d: Daemon) -> None:
    """Assert that a killed process is restarted and an operator is answered."""
    run = d.proc("web:0").run
    assert d.request("restart", "web", timeout=10)["ok"]
    assert d.proc("web:0").run == run + 1


def troubles(d: Daemon) -> list[str]:
    found: list[str] = d.status()["core"]["troubles"]
    return found


def test_R06_a_corrupt_journal_is_moved_aside_and_jobs_do_not_notice(daemon: Start) -> None:
    d = daemon(OFF + STEADY)
    pid = d.wait_state("web:0", "running").pid
    journal = Path(d.places.journal)
    d.request("events")
    for path in journal.parent.glob(f"{journal.name}*"):
        if path.suffix not in (".seq", ".reserve"):
            with path.open("r+b") as file:
                file.write(b"\xff" * 4096)
    d.wait(lambda: d.request("events") and list(journal.parent.glob("*.corrupt-*")), what="it is moved aside")
    assert d.proc("web:0").pid == pid
    d.wait(lambda: "begun anew" in str(troubles(d)), what="the trouble is told")
    supervision_goes_on(d)
    found = numbers(d.events())
    assert found == list(range(found[0], found[0] + len(found)))


def test_R06_a_deleted_journal_is_made_again(daemon: Start) -> None:
    d = daemon(OFF + STEADY)
    d.wait_state("web:0", "running")
    journal = Path(d.places.journal)
    for path in journal.parent.glob(f"{journal.name}*"):
        path.unlink()
    supervision_goes_on(d)
    d.wait(journal.exists, what="it is there again")
    d.wait(lambda: troubles(d) == [], what="all is well again")
    d.request("stop", "web")
    d.kill_core()
    assert d.proc("web:0").state == "stopped", "the wish is in the new one"


def test_R06_a_locked_journal_is_told_and_catches_up(daemon: Start) -> None:
    d = daemon(OFF + STEADY)
    d.wait_state("web:0", "running")
    lock = sqlite3.connect(d.places.journal, isolation_level=None)
    try:
        lock.execute("BEGIN IMMEDIATE")
        seq = newest(d)
        supervision_goes_on(d)
        d.wait(lambda: "locked" in str(troubles(d)), what="the trouble is told")
        assert "locked" in d.cli("doctor").stdout
        assert "locked" in d.cli("status").stderr
        assert d.events(since=seq), "memory answers"
        lock.execute("ROLLBACK")
    finally:
        lock.close()
    d.wait(lambda: troubles(d) == [], 20.0, "it has healed")
    d.kill_core()
    found = numbers(d.events())
    assert found == list(range(1, len(found) + 1)), "nothing is missing on disk"
    assert d.events("journal_trouble")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_R06_a_full_disk_is_told_and_heals(daemon_for: Start) -> None:
    d = daemon_for(OFF + STEADY)
    small = d.dir / "small"
    small.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        d.env["XDG_STATE_HOME"] = str(small)
        d.start()
        d.wait_state("web:0", "running")
        ballast = small / "ballast"

        def in_trouble() -> bool:
            with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
                while file.write(b"x" * 4096):
                    pass  # whatever it frees is filled up again
            d.request("signal", "web", signal="CONT")
            return bool(troubles(d))

        d.wait(in_trouble, 40.0, what="the trouble is told")
        supervision_goes_on(d)
        ballast.unlink()
        d.wait(lambda: d.request("signal", "web", signal="CONT") and not troubles(d), 45.0, "it has healed")
        found = numbers(d.events())
        assert found == list(range(1, len(found) + 1))
        assert d.stop() == 0
    finally:
        if d.process is not None and d.process.poll() is None:
            d.stop()
        subprocess.run(["umount", "--lazy", str(small)], check=True)


# Numbers --------------------------------------------------------------------------------------------------------------


def test_numbers_go_on_over_a_restart_of_the_daemon(daemon: Start) -> None:
    d = daemon(OFF + STEADY)
    d.wait_state("web:0", "running")
    before = d.status()["core"]
    d.restart()
    d.wait_state("web:0", "running")
    found = d.events()
    assert numbers(found) == list(range(1, len(found) + 1))
    assert found[-1].seq > before["seq"]
    assert len({event.boot for event in found}) == 2
    told: list[Any] = [event.type for event in found if event.type.startswith(("core_", "shutdown"))]
    assert told == ["core_started", "core_ready", "shutdown", "core_stopping", "core_started", "core_ready"]


def test_numbers_go_on_also_if_the_journal_was_lost_meanwhile(daemon: Start) -> None:
    d = daemon(OFF + STEADY)
    d.wait_state("web:0", "running")
    seq = newest(d)
    d.stop()
    Path(d.places.journal).unlink()
    d.start()
    assert d.events()[0].seq > seq


def test_events_older_than_journalkeep_go(daemon: Start) -> None:
    d = daemon('[taskmaster]\njournalkeep = "1h"\nautoreload = "off"\n' + STEADY)
    d.wait_state("web:0", "running")
    old = newest(d)
    d.stop()
    with contextlib.closing(sqlite3.connect(d.places.journal, isolation_level=None)) as db:
        db.execute("UPDATE events SET at = at - 4000 WHERE seq <= ?", (old,))
    d.start()
    d.wait(lambda: d.events()[0].seq > old, what="the old ones are dropped")


# Times ----------------------------------------------------------------------------------------------------------------


def test_a_process_has_started_before_its_first_words(daemon: Start) -> None:
    it = daemon(OFF + job("say", words("date", "+%s.%N"), numprocess="10", restart='"never"'))
    for index in range(10):
        began = it.wait_event("started", f"say:{index}").at
        it.wait_event("exited", f"say:{index}")
        said = float(it.output(f"say:{index}"))
        assert said - 5.0 < began <= said


def test_an_end_that_nobody_heard_of_at_once_has_its_own_time(daemon: Start) -> None:
    it = daemon(OFF + job("web", SLEEP, restart='"never"'))
    web = it.wait_state("web:0", "running").pid
    core = it.core_pid
    assert web is not None
    os.kill(core, signal.SIGSTOP)
    try:
        os.kill(web, signal.SIGKILL)
        killed = time.time()
        wait_until(lambda: time.time() > killed + AT_ONCE + 1.0)
    finally:
        with contextlib.suppress(ProcessLookupError):  # one that stands still is replaced in the end
            os.kill(core, signal.SIGCONT)
    assert it.wait_event("exited", "web:0").at == pytest.approx(killed, abs=1.0)
