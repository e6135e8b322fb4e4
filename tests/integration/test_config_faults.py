"""Whatever is wrong with the config files, nothing that runs changes, and it is said (RELIABILITY §4.3, G10).

One daemon that takes each save serves most tests: each of them ends with a valid file again, which is itself a proof.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.errors import ConfigInvalid, TaskmasterError
from taskmaster_core.wire import Event
from tests.harness import Daemon, alive, wait_until
from tests.integration.conftest import Start
from tests.integration.shared import job, read, running

QUICK = '[taskmaster]\ndebounce = "100ms"\n'
SLEEP = '"sleep 1000"'
STEADY = job("steady", SLEEP, numprocess="2") + job("web", SLEEP)
GOOD = QUICK + STEADY
BROKEN = GOOD + "[[task]]\nname = \n"


@pytest.fixture(scope="module")
def ground() -> Iterator[Daemon]:
    with running(GOOD) as it:
        it.wait(lambda: {view.state for view in it.procs()} == {"running"})
        yield it


@pytest.fixture
def steady(ground: Daemon) -> Iterator[Daemon]:
    """Give the daemon; at the end its processes must be the same ones, and its config well again."""
    before = {view.key: (view.pid, view.run) for view in ground.procs()}
    assert len(before) == 3
    yield ground
    assert {view.key: (view.pid, view.run) for view in ground.procs()} == before
    ground.write_config(GOOD)
    ground.request("reload")
    assert core(ground)["config_problems"] == []
    assert {view.key: (view.pid, view.run) for view in ground.procs()} == before


def core(it: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = it.status()["core"]
    return found


def save(it: Daemon, text: str | bytes) -> int:
    """Save in place; return the number of the newest event before."""
    seq = int(core(it)["seq"])
    it.config_path.write_bytes(text.encode() if isinstance(text, str) else text)
    return seq


def verdict(it: Daemon, text: str | bytes) -> Event:
    """Save; wait until the core has said what it thinks of it; return that event."""
    seq = save(it, text)
    return it.wait(
        lambda: [e for e in it.events(since=seq) if e.type in ("config_error", "reload_refused", "reloaded")]
    )[0]


def codes(it: Daemon) -> list[str]:
    return [str(each["code"]) for each in core(it)["config_problems"]]


# C01, C02: empty and half-written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n\n  \n"], ids=["empty", "blank"])
def test_C01_a_file_that_lost_all_its_text_stops_nothing(steady: Daemon, text: str) -> None:
    said = verdict(steady, text)
    assert said.type == "reload_refused"
    assert codes(steady) == ["W201"]


def test_C01_an_empty_file_is_applied_when_somebody_asks_for_that(daemon: Start) -> None:
    d = daemon(GOOD)
    assert verdict(d, "").type == "reload_refused"
    d.request("reload")
    d.wait(lambda: d.procs() == [], what="all are removed")


@pytest.mark.parametrize("share", [0.3, 0.55, 0.8])
def test_C02_a_file_cut_short_stops_nothing_and_its_rest_is_taken(steady: Daemon, share: float) -> None:
    text = GOOD.replace("sleep 1000", "sleep 1000", 1)
    said = verdict(steady, text[: int(len(text) * share)])
    assert said.type in ("reload_refused", "config_error")
    assert core(steady)["config_problems"] != []
    seq = save(steady, text)
    steady.wait(lambda: core(steady)["config_problems"] == [], what="the whole file is well again")
    assert steady.events("reloaded", since=seq) == [], "it says what is in force"


def test_C02_a_file_cut_at_the_border_of_a_table_is_held_back(steady: Daemon) -> None:
    cut = GOOD[: GOOD.rindex("[[task]]")]
    assert verdict(steady, cut).type == "reload_refused"
    assert "cut short" in str(core(steady)["config_problems"])


def test_C02_what_was_held_back_is_applied_by_hand(daemon: Start) -> None:
    d = daemon(GOOD)
    assert verdict(d, GOOD[: GOOD.rindex("[[task]]")]).type == "reload_refused"
    assert d.cli("reload").returncode == 0
    d.wait(lambda: sorted(d.pids()) == ["steady:0", "steady:1"])
    assert core(d)["config_problems"] == []


def test_C02_a_job_taken_out_of_the_middle_is_no_cut_and_is_removed(daemon: Start) -> None:
    d = daemon(QUICK + job("a", SLEEP) + job("b", SLEEP))
    d.wait_state("b:0", "running")
    save(d, QUICK + job("b", SLEEP))
    d.wait(lambda: sorted(d.pids()) == ["b:0"])


# C03: broken in other ways --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "where", "words"),
    [
        pytest.param(GOOD + "[[task]]\nname = ", ":11:", "a value is missing", id="half a key"),
        pytest.param(GOOD.replace("numprocess = 2", 'numprocess = "2"'), ":6:", "numprocess", id="wrong type"),
        pytest.param(GOOD + "numproces = 3\n", ":10:", "did you mean `numprocess`", id="unknown key"),
        pytest.param(GOOD + job("web", SLEEP), ":", "web", id="double name"),
        pytest.param(GOOD + 'cmd = "x"\n', ":10:", "cmd", id="double key"),
    ],
)  # fmt: skip
def test_C03_a_broken_file_changes_nothing_and_is_told_by_line(
    steady: Daemon, broken: str, where: str, words: str
) -> None:
    said = verdict(steady, broken)
    assert said.type == "config_error"
    banner = steady.cli("status").stderr
    assert f"taskmaster.toml{where}" in banner
    assert words in banner


def test_C03_all_problems_are_told_at_once(steady: Daemon) -> None:
    said = verdict(steady, GOOD + 'autostrat = true\nretry = "many"\nstopsignal = "TREM"\n')
    assert said.data["problems"] == 3
    assert len(core(steady)["config_problems"]) == 3


def test_C03_a_broken_file_is_told_in_status_events_log_and_on_stderr(steady: Daemon) -> None:
    before = steady.stderr_path.stat().st_size
    said = verdict(steady, GOOD + 'naem = "x"\n')
    assert said.cause.text == "the config was saved"
    assert "naem" in json.dumps(core(steady)["config_problems"])
    assert "naem" in steady.cli("status").stderr
    assert "did you mean" in steady.stderr_path.read_bytes()[before:].decode()
    log = Path(steady.places.eventlog)
    line = steady.wait(lambda: [line for line in read(log).splitlines() if "naem" in line], what="the log for people")
    assert " ERROR " in line[-1]


def test_C03_status_in_json_tells_problems_with_their_places(steady: Daemon) -> None:
    verdict(steady, GOOD + "autostrat = true\n")
    (problem,) = json.loads(steady.cli("status", "--json").stdout)["core"]["config_problems"]
    assert problem["code"] == "E101"
    assert (problem["file"], problem["line"], problem["column"]) == (str(steady.config_path), 10, 1)


def test_C03_a_reload_of_a_broken_file_says_so_and_exits_6(steady: Daemon) -> None:
    verdict(steady, BROKEN)
    done = steady.cli("reload")
    assert done.returncode == 6
    assert "taskmaster.toml:" in done.stderr
    assert "nothing was changed" in done.stderr


def test_C03_a_plan_of_a_broken_file_exits_6_and_leaves_no_mark(steady: Daemon) -> None:
    steady.config_path.write_text(GOOD)
    seq = int(core(steady)["seq"])
    steady.config_path.write_text(BROKEN)
    assert steady.cli("reload", "--plan").returncode == 6
    assert [e.type for e in steady.events(since=seq) if e.cause.kind == "operator"] == []


def test_C03_a_SIGHUP_on_a_broken_file_is_answered_by_words_alone(steady: Daemon) -> None:
    verdict(steady, BROKEN)
    seq = int(core(steady)["seq"])
    steady.terminate(signal.SIGHUP)
    said = steady.wait_event("config_error", since=seq)
    assert "SIGHUP" in said.cause.text


def test_a_broken_save_right_after_a_reload_by_hand_is_told(steady: Daemon) -> None:
    verdict(steady, BROKEN)
    steady.config_path.write_text(GOOD)
    steady.request("reload")
    verdict(steady, BROKEN)
    assert core(steady)["config_problems"] != []


def test_a_plan_takes_nothing_away_from_the_save_it_looked_at(steady: Daemon) -> None:
    for number in range(3):
        text = GOOD + f'description = "planned {number}"\n'
        steady.config_path.write_text(text)
        assert steady.request("reload", plan=True)["changes"] == 1
        steady.terminate(signal.SIGHUP) if number == 1 else None
        steady.wait(lambda number=number: f"planned {number}" in json.dumps(steady.status()["jobs"]))


def test_C03_the_good_file_again_clears_everything_without_a_new_generation(steady: Daemon) -> None:
    generation = core(steady)["generation"]
    verdict(steady, BROKEN)
    save(steady, GOOD)
    steady.wait(lambda: core(steady)["config_problems"] == [], what="it is well again")
    assert core(steady)["generation"] == generation


def test_a_warning_does_not_hold_a_config_back_and_is_shown(daemon: Start) -> None:
    d = daemon(GOOD)
    verdict(d, GOOD + "umask = 0777\n")
    d.wait(lambda: d.proc("web:0").run == 2)
    assert [each["code"] for each in core(d)["config_problems"]] == ["W101", "W102"]
    assert "2 warnings about the config" in d.cli("status").stderr


# C05: missing ---------------------------------------------------------------------------------------------------------


def test_C05_a_missing_file_stops_nothing_and_is_told(steady: Daemon) -> None:
    seq = int(core(steady)["seq"])
    steady.config_path.unlink()
    said = steady.wait_event("notice", since=seq)
    assert str(steady.config_path) in said.data["message"]
    with pytest.raises(ConfigInvalid):
        steady.request("reload")
    assert core(steady)["config_problems"] != []
    steady.config_path.write_text(GOOD)
    steady.wait(lambda: core(steady)["config_problems"] == [], what="it is back, and all is well")


def test_C05_a_directory_removed_and_made_again_is_watched_again(daemon_for: Start) -> None:
    d = daemon_for("")
    place = d.dir / "etc"
    place.mkdir()
    d.config_path = place / "taskmaster.toml"
    d.config_path.write_text(GOOD)
    d.start()
    d.wait(lambda: {view.state for view in d.procs()} == {"running"})
    before = d.pids()
    d.config_path.unlink()
    place.rmdir()
    d.wait_event("notice")
    assert d.pids() == before
    place.mkdir()
    d.config_path.write_text(GOOD + job("more", SLEEP))
    d.wait_state("more:0", "running")
    assert before.items() <= d.pids().items()


# C06, C07, C08: many, or none -----------------------------------------------------------------------------------------


def test_C06_a_hundred_saves_in_a_burst_are_a_few_reloads_and_the_last_one_wins(steady: Daemon) -> None:
    seq = int(core(steady)["seq"])
    for number in range(100):
        text = GOOD + f'description = "save {number}"\n'
        steady.write_config(text, atomic=bool(number % 2))
        time.sleep(0.01)  # a burst is something in time
    steady.wait(lambda: "save 99" in json.dumps(steady.status()["jobs"]), what="the last one is in force")
    assert len(steady.events("reloaded", since=seq)) <= 3


def test_C07_touching_a_file_is_no_reload(steady: Daemon) -> None:
    seq = int(core(steady)["seq"])
    os.utime(steady.config_path)
    steady.config_path.chmod(0o600)
    steady.config_path.write_bytes(steady.config_path.read_bytes())
    marker = verdict(steady, GOOD + 'description = "after the touch"\n')
    assert [e.type for e in steady.events(since=seq) if e.type.startswith(("reload", "config"))] == ["reloaded"]
    assert marker.type == "reloaded"


def test_C08_a_storm_of_SIGHUP_is_answered_and_settles(steady: Daemon) -> None:
    seq = int(core(steady)["seq"])
    steady.config_path.write_text(GOOD + 'description = "after the storm"\n')
    for _ in range(200):
        steady.terminate(signal.SIGHUP)
    steady.wait(lambda: "after the storm" in json.dumps(steady.status()["jobs"]))
    assert len(steady.events("reloaded", since=seq)) == 1
    assert steady.request("reload")["changes"] == 0


def test_C08_reloads_asked_for_at_once_are_all_answered(steady: Daemon) -> None:
    steady.config_path.write_text(GOOD + 'description = "asked for by ten"\n')
    asking = [steady.popen("reload") for _ in range(4)]
    assert [each.wait(30) for each in asking] == [0] * 4
    assert "asked for by ten" in json.dumps(steady.status()["jobs"])


# C12: too much --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x = " + "[" * 100_000, id="100,000 deep"),
        pytest.param(".".join(["a"] * 50_000) + " = 1\n", id="a key of 100 KB"),
        pytest.param("# " + "x" * 100_000_000 + "\n", id="100 MB"),
        pytest.param("".join(f"[[task]]\nname = {n}\n" for n in range(20_000)), id="20,000 mistakes"),
    ],
)
def test_C12_a_monstrous_file_is_refused_while_the_core_answers(steady: Daemon, text: str) -> None:
    seq = save(steady, text)
    slowest = 0.0
    until = time.monotonic() + 25
    while not steady.events("config_error", since=seq):
        began = time.monotonic()
        steady.request("ping")
        slowest = max(slowest, time.monotonic() - began)
        assert time.monotonic() < until
        time.sleep(0.01)
    assert slowest < 1.0
    assert len(json.dumps(core(steady)["config_problems"])) < 200_000


# C14: includes --------------------------------------------------------------------------------------------------------


def including(it: Daemon, pattern: str) -> str:
    return GOOD.replace("[taskmaster]", f'[taskmaster]\ninclude = ["{pattern}"]')


def test_C14_a_loop_of_includes_names_the_chain(steady: Daemon) -> None:
    (steady.dir / "a.toml").write_text('[taskmaster]\ninclude = ["b.toml"]\n')
    (steady.dir / "b.toml").write_text('[taskmaster]\ninclude = ["a.toml"]\n')
    assert verdict(steady, including(steady, "a.toml")).type == "config_error"
    said = json.dumps(core(steady)["config_problems"])
    assert "a.toml" in said
    assert "b.toml" in said


def test_C14_a_missing_include_is_told(steady: Daemon) -> None:
    assert verdict(steady, including(steady, "nowhere.toml")).type == "config_error"
    assert "nowhere.toml" in json.dumps(core(steady)["config_problems"])


def test_C14_a_mistake_in_an_included_file_is_told_with_its_own_place(steady: Daemon) -> None:
    (steady.dir / "part.toml").write_text('[[task]]\nname = "part"\ncmd = "sleep 1"\nnumproces = 2\n')
    assert verdict(steady, including(steady, "part.toml")).type == "config_error"
    assert "part.toml:4:1" in steady.cli("status").stderr


# C15: whose file it is ------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="it is root who must not trust others")
def test_C15_a_file_that_anybody_may_write_is_refused_by_root(steady: Daemon) -> None:
    steady.config_path.write_text(GOOD + job("evil", SLEEP))
    steady.config_path.chmod(0o666)
    seq = int(core(steady)["seq"])
    steady.terminate(signal.SIGHUP)
    steady.wait_event("config_error", since=seq)
    assert "everybody can write it" in json.dumps(core(steady)["config_problems"])
    steady.config_path.chmod(0o644)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="it is root who must not trust others")
def test_C15_a_file_of_another_user_is_refused_by_root_unless_told_to_trust_it(daemon_for: Start) -> None:
    d = daemon_for(GOOD)
    os.chown(d.config_path, 65534, 65534)
    d.start(wait=False)
    assert d.process is not None
    assert d.process.wait(20) == 6
    assert "owned by user 65534" in d.stderr()
    d.env["TASKMASTER_TRUST_CONFIG"] = "1"
    d.start()
    d.wait_state("web:0", "running")


# C17: valid, but nothing of it can start ------------------------------------------------------------------------------


def test_C17_a_valid_config_whose_jobs_cannot_start_is_applied_and_rolled_back(daemon: Start) -> None:
    d = daemon(GOOD)
    d.wait_state("web:0", "running")
    d.write_config(GOOD.replace("sleep 1000", "/no/such/program"))
    d.wait(lambda: {view.state for view in d.procs()} == {"fatal"}, 20.0, "all have given up")
    assert core(d)["config_problems"] == []
    exit_ = d.proc("web:0").exit
    assert exit_ is not None
    assert exit_.error is not None
    assert (exit_.error.stage, exit_.error.errno) == ("exec", "ENOENT")
    assert d.cli("status").returncode == 1
    assert d.cli("rollback", "-y").returncode == 0
    d.wait(lambda: {view.state for view in d.procs()} == {"running"}, what="all run again")


# C20: encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="BOM"),
    ],
)
def test_C20_files_from_other_systems_are_read(steady: Daemon, encoded: Any) -> None:
    assert verdict(steady, encoded(GOOD + 'description = "von drüben"\n')).type == "reloaded"
    assert "von drüben" in json.dumps(steady.status()["jobs"], ensure_ascii=False)


def test_C20_another_encoding_is_refused_with_its_place(steady: Daemon) -> None:
    assert verdict(steady, (GOOD + 'description = "drüben"\n').encode("latin-1")).type == "config_error"
    assert "UTF-8" in json.dumps(core(steady)["config_problems"])


# The first start ------------------------------------------------------------------------------------------------------


def test_a_first_start_with_a_broken_config_exits_6_and_makes_nothing(daemon_for: Start) -> None:
    d = daemon_for(GOOD + 'autostrat = true\nretry = "many"\n')
    d.start(wait=False)
    assert d.process is not None
    assert d.process.wait(20) == 6
    said = d.stderr()
    assert "autostrat" in said
    assert "retry" in said
    assert "nothing was started" in said
    assert list((d.dir / "state").iterdir()) == []
    assert list((d.dir / "run").iterdir()) == []


def test_a_first_start_without_any_config_exits_6_and_says_where_it_looked(daemon_for: Start) -> None:
    d = daemon_for("")
    d.config_path.unlink()
    d.start(wait=False)
    assert d.process is not None
    assert d.process.wait(20) == 6
    assert str(d.config_path) in d.stderr()
    assert list((d.dir / "state").iterdir()) == []


def test_a_broken_config_is_told_before_an_instance_that_runs_already(steady: Daemon) -> None:
    broken = steady.dir / "broken.toml"
    broken.write_text("[[task]]\n")
    assert steady.cli("core", "-f", str(broken)).returncode == 6
    whole = steady.dir / "whole.toml"
    whole.write_text(GOOD)
    assert steady.cli("core", "-f", str(whole)).returncode == 7


def test_a_daemon_started_again_beside_a_broken_file_does_not_run_old_jobs(daemon: Start) -> None:
    d = daemon(GOOD)
    d.stop()
    d.config_path.write_text(BROKEN)
    d.start(wait=False)
    assert d.process is not None
    assert d.process.wait(20) == 6
    assert d.leftovers() == []


def test_a_core_that_comes_back_beside_a_broken_file_tells_what_is_wrong(daemon: Start) -> None:
    d = daemon(GOOD)
    d.wait_state("web:0", "running")
    before = d.pids()
    verdict(d, BROKEN)
    d.kill_core()
    d.wait(lambda: core(d)["config_problems"], what="the problems are told again")
    assert d.pids() == before
    pid = before["web:0"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    d.wait(lambda: d.proc("web:0").pid not in (None, pid), what="the job is restarted from the last good config")
    wait_until(lambda: not alive(pid))
    with pytest.raises(TaskmasterError):
        d.request("reload")
