from __future__ import annotations

import json
import time
from typing import Any

import pytest

from taskmaster_core.cli.out import columns, cut, plural, span
from tests.fakecore import FakeCore, job, process, status
from tests.unit.conftest import Cli


def test_status_asks_for_what_is_selected(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    assert cli("status", "web", "@db").status == 0
    assert fake.last("status")["select"] == ["web", "@db"]


def test_a_running_process_is_a_line_with_its_pid_and_uptime(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("web", process("web:0", pid=4711, started_at=time.time() - 125, restarts=3))))
    line = cli("status").out.splitlines()[1]
    assert line.split() == ["web", "●", "running", "4711", "2m05s", "-", "-", "3"]


def test_processor_and_memory_are_asked_for_and_added_up(fake: FakeCore, cli: Cli) -> None:
    half, rest, idle = {"cpu": 12.5, "rss": 310 << 20}, {"cpu": 0.3, "rss": 2 << 20}, {"cpu": None, "rss": None}
    used: tuple[dict[str, Any], ...] = (half, rest, idle)
    fake.on("status", status(job("web", *(process(f"web:{at}", **its) for at, its in enumerate(used)))))
    assert cli("status").out.splitlines()[1].split()[5:8] == ["1m40s", "12.8%", "312M"]
    assert fake.last("status")["args"] == {"usage": True}


def test_a_job_of_many_is_folded_into_one_line(fake: FakeCore, cli: Cli) -> None:
    running = [process(f"web:{index}") for index in range(3)]
    fake.on("status", status(job("web", *running, process("web:3", "backoff", reason="exit code 3"))))
    said = cli("status")
    assert "3/4 running" in said.out
    assert "web:3 backoff: exit code 3" in said.out
    assert said.status == 1


def test_procs_shows_a_line_per_process(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("web", process("web:0"), process("web:1"))))
    assert [line.split()[0] for line in cli("status", "--procs").out.splitlines()] == ["NAME", "web:0", "web:1"]


def test_failed_shows_only_what_failed(fake: FakeCore, cli: Cli) -> None:
    bad = process("web:1", "fatal", reason="gave up")
    fake.on("status", status(job("web", process("web:0"), bad), job("api", process("api:0"))))
    said = cli("status", "--failed")
    assert [line.split()[0] for line in said.out.splitlines()] == ["NAME", "web:1"]


@pytest.mark.parametrize(
    ("state", "more", "code"),
    [
        ("running", {}, 0), ("stopped", {}, 0), ("exited", {}, 0), ("starting", {}, 0), ("unknown", {}, 0),
        ("fatal", {}, 1), ("backoff", {}, 1), ("running", {"ready": False}, 1),
    ],
)  # fmt: skip
def test_the_exit_status_tells_what_failed(fake: FakeCore, cli: Cli, state: str, more: dict, code: int) -> None:
    fake.on("status", status(job("web", process("web:0", state, **more))))
    assert cli("status").status == code


def test_every_state_has_a_word_beside_its_glyph(fake: FakeCore, cli: Cli) -> None:
    states = ("stopped", "pending", "starting", "running", "backoff", "stopping", "exited", "fatal", "unknown")
    fake.on("status", status(*(job(state, process(f"{state}:0", state)) for state in states)))
    lines = cli("status").out.splitlines()[1:]
    assert [line.split()[2] for line in lines] == list(states)


def test_json_is_the_result_as_it_came(fake: FakeCore, cli: Cli) -> None:
    answer = status(job("web", process("web:0")))
    fake.on("status", answer)
    assert json.loads(cli("status", "--json").out) == answer


def test_a_name_cannot_steer_the_terminal(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("a\x1b]0;x\x07b", process("a:0", "fatal", reason="\x1b[2Jgone"))))
    assert "\x1b" not in cli("status").out


def test_problems_of_the_config_stand_on_stderr(fake: FakeCore, cli: Cli) -> None:
    problem = {"code": "E101", "file": "t.toml", "line": 3, "column": 1, "message": "unknown key", "help": "autostart?"}
    fake.on("status", status(config_problems=[problem], troubles=["the journal cannot be written: ENOSPC"]))
    said = cli("status")
    assert "t.toml:3:1: [E101] unknown key (autostart?)" in said.err
    assert "trouble: the journal cannot be written" in said.err
    assert "E101" not in said.out


def test_colours_only_where_wanted(fake: FakeCore, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    assert "\x1b[32m" in cli("status", "--color", "always").out
    assert "\x1b" not in cli("status").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in cli("status", "--color", "auto").out


def test_no_jobs_is_a_hint_not_a_table(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status())
    said = cli("status")
    assert (said.out, said.status) == ("", 0)
    assert "taskmaster add" in said.err


def test_show_prints_spec_files_and_processes(fake: FakeCore, cli: Cli) -> None:
    shown = job("web", process("web:0", exit={"code": 3}), spec={"name": "web", "cmd": "serve", "umask": 23})
    fake.on("show", {"jobs": [{"job": shown, "env": ["PORT"], "by_hand": [], "paths": {"web:0": {"out": "/l/o"}}}]})
    out = cli("show", "web").out
    for expected in ("serve", "0o027", "PORT", "/l/o", "exit code 3", "4000"):
        assert expected in out


def test_why_prints_the_chain_and_what_comes_next(fake: FakeCore, cli: Cli) -> None:
    chain = ["web:0 is fatal for 3s", "its run 4 ended: exit code 3"]
    said = {"key": "web:0", "state": "fatal", "goal": "up", "chain": chain, "next": "nothing happens by itself"}
    fake.on("why", {"processes": [said]})
    out = cli("why", "web").out
    assert "because its run 4 ended: exit code 3" in out
    assert "next:   nothing happens by itself" in out


@pytest.mark.parametrize(
    ("seconds", "text"), [(4, "4s"), (192, "3m12s"), (7500, "2h05m"), (1047600, "12d03h"), (-1, "0s")]
)
def test_a_span_has_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_wide_characters_count_twice_and_accents_not_at_all() -> None:
    assert (columns("abc"), columns("日本"), columns("e\u0301")) == (3, 4, 1)


def test_what_is_too_wide_is_cut_with_a_mark() -> None:
    assert cut("0123456789", 9) == "01234567…"


def test_plurals() -> None:
    assert (plural(1, "job"), plural(2, "job"), plural(2, "process")) == ("1 job", "2 jobs", "2 processes")
