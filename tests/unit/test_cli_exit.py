from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core.cli import main
from taskmaster_core.errors import (
    ConfigInvalid,
    ExitStatus,
    NotAsAsked,
    Refused,
    TaskmasterError,
    TimedOut,
    UnknownOp,
    from_code,
)  # fmt: skip
from tests.fakecore import FakeCore, done, status
from tests.unit.conftest import Cli


def raising(error: BaseException) -> Any:
    def answer(request: dict[str, Any]) -> None:
        raise error

    return answer


@pytest.mark.parametrize(
    ("code", "status_"),
    [
        ("not_as_asked", 1), ("error", 1), ("usage", 2), ("bad_request", 2), ("unknown_op", 2), ("wrong_version", 2),
        ("no_such_job", 4), ("timeout", 5), ("config_invalid", 6), ("refused", 7),
    ],
)  # fmt: skip
def test_every_error_of_the_core_has_its_exit_status(fake: FakeCore, cli: Cli, code: str, status_: int) -> None:
    fake.on("stop", raising(from_code(code, "what", "do that")))
    said = cli("stop", "web")
    assert said.status == status_
    assert said.err.splitlines()[-2:] == ["taskmaster: what", "  do that"]


def test_0_done(fake: FakeCore, cli: Cli) -> None:
    fake.on("start", done(("web:0", "running")))
    assert cli("start", "web").status == ExitStatus.DONE


def test_1_not_as_asked(fake: FakeCore, cli: Cli) -> None:
    fake.on("start", done({"key": "web:0", "ok": False, "state": "fatal"}, ok=False))
    assert cli("start", "web").status == ExitStatus.NOT_AS_ASKED


@pytest.mark.parametrize(
    "words", [["strat"], ["status", "--nope"], ["start"], ["wait", "web"], ["--color", "red", "status"]]
)
def test_2_usage(cli: Cli, words: list[str]) -> None:
    assert cli(*words).status == ExitStatus.USAGE


def test_3_no_core(cli: Cli) -> None:
    said = cli("--instance", "none", "status")
    assert said.status == ExitStatus.NO_CORE
    assert "taskmaster/none/cmd.sock (no such file)" in said.err
    assert "taskmaster --instance none up" in said.err


def test_6_config(cli: Cli) -> None:
    said = cli("check")
    assert said.status == ExitStatus.CONFIG
    assert "taskmaster.toml" in said.err


def test_7_a_core_with_other_config_files_is_refused_and_both_are_named(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(config=["/etc/theirs.toml"]))
    said = cli("-f", "ours.toml", "up", "-d")
    assert said.status == ExitStatus.REFUSED
    for part in ("/etc/theirs.toml", "ours.toml", "--instance"):
        assert part in said.err
    assert "start" not in fake.ops()


def test_8_pending_changes(fake: FakeCore, cli: Cli) -> None:
    row = {"sign": "+", "job": "web", "effect": "starts 1", "fields": [], "excepted": False}
    fake.on("reload", {"rows": [row], "generation": None, "changes": 1, "warnings": []})
    assert cli("reload", "--plan", "--exit-code").status == ExitStatus.PENDING_CHANGES
    assert cli("reload", "--plan").status == ExitStatus.DONE


def test_130_interrupted(cli: Cli, fake: FakeCore, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "run", press)
    assert cli("status").status == ExitStatus.INTERRUPTED


@pytest.mark.parametrize("error", [ConfigInvalid, NotAsAsked, Refused, TimedOut, UnknownOp, TaskmasterError])
def test_an_error_without_help_is_one_line(fake: FakeCore, cli: Cli, error: type[TaskmasterError]) -> None:
    fake.on("why", raising(error("what")))
    assert cli("why", "web").err == "taskmaster: what\n"


def test_an_error_cannot_steer_the_terminal(fake: FakeCore, cli: Cli) -> None:
    fake.on("why", raising(TaskmasterError("a\x1b[2Jb", "c\x1b]0;x\x07d")))
    assert "\x1b" not in cli("why", "web").err
