from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from taskmaster_core.cli.shell import complete
from taskmaster_core.client import probe
from tests.fakecore import FakeCore, done, job, process, status
from tests.unit.conftest import Cli, Said


@pytest.fixture
def script(fake: FakeCore, cli: Cli, monkeypatch: pytest.MonkeyPatch):
    """Run lines in the shell, as from a pipe."""
    fake.on("status", status(job("web", process("web:0"))))
    fake.on("start", done(("web:0", "running"))).on("stop", done(("web:0", "stopped")))

    def run(text: str, *words: str) -> Said:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return cli("shell", *words)

    return run


def test_every_line_is_a_command(fake: FakeCore, script) -> None:
    said = script("start web\nstop web\n")
    assert fake.ops() == ["start", "stop"]
    assert said.out == "web:0 running\nweb:0 stopped\n"
    assert said.status == 0


def test_one_connection_serves_all_lines(fake: FakeCore, script) -> None:
    script("start web\nstop web\nstatus\n")
    assert len({request["id"].rpartition("-")[0] for request in fake.requests}) == 1


def test_comments_and_empty_lines_do_nothing(fake: FakeCore, script) -> None:
    script("# start web\n\n   \nstop web # gently\n")
    assert fake.ops() == ["stop"]
    assert fake.last("stop")["select"] == ["web"]


def test_the_word_taskmaster_may_stand_before_a_command(fake: FakeCore, script) -> None:
    script("taskmaster start web\n")
    assert fake.ops() == ["start"]


def test_it_goes_on_after_an_error_and_ends_well(fake: FakeCore, script) -> None:
    said = script("strat web\nstop\nstart 'web\nstart web\n")
    assert fake.ops() == ["start"]
    assert said.status == 0
    assert "did you mean `start`" in said.err


def test_with_e_it_stops_at_the_first_error(fake: FakeCore, script) -> None:
    said = script("strat web\nstart web\n", "-e")
    assert (fake.ops(), said.status) == ([], 2)


@pytest.mark.parametrize("word", ["exit", "quit", "EOF"])
def test_exit_leaves(fake: FakeCore, script, word: str) -> None:
    assert script(f"start web\n{word}\nstop web\n").status == 0
    assert fake.ops() == ["start"]


def test_help_explains_a_command(script) -> None:
    assert "usage: taskmaster logs" in script("help logs\n").out


def test_global_options_of_the_shell_hold_for_its_lines(script) -> None:
    assert script("start web\n", "--json").out.startswith("{")


def test_a_line_may_ask_another_instance(fake: FakeCore, script) -> None:
    said = script("status --instance none\nstart web\n", "-e")
    assert said.status == 3


def test_without_a_core_lines_say_so_and_the_shell_lives_on(fake: FakeCore, script) -> None:
    fake.stop()
    fake.until(lambda: probe(fake.commands) is not None)
    said = script("status\nhelp\n")
    assert "no core of instance `default` answers" in said.err
    assert "usage: taskmaster" in said.out
    assert said.status == 0


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("sta", "sta", ["start ", "status "]),
        ("--fo", "logs --fo", ["--follow "]),
        ("we", "start we", ["web ", "web:0 "]),
        ("'wr", "start 'wr", ["'write bar' "]),
        ("sca", "help sca", ["scale "]),
        ("q", "q", ["quit "]),
    ],
)
def test_words_are_completed(text: str, line: str, found: list[str]) -> None:
    assert complete(text, line, ["web", "web:0", "write bar"]) == found


def test_on_a_terminal_it_prompts_with_instance_and_counts_and_keeps_a_private_history(
    fake: FakeCore, tmp_path: Path
) -> None:
    fake.on("status", status(job("web", process("web:0"), process("web:1", "fatal"))))
    fake.on("start", done(("web:0", "running")))
    env = os.environ | {"XDG_RUNTIME_DIR": str(fake.home / "run"), "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "taskmaster_core", "shell"], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    ) as started:
        os.close(theirs)
        seen = _until(ours, b"> ")
        os.write(ours, b"start web\n")
        seen += _until(ours, b"> ")
        os.write(ours, b"exit\n")
        assert started.wait(10) == 0
    os.close(ours)
    assert b"default (1/2 processes running, 1 failed)> " in seen
    assert b"web:0 running" in seen
    history = tmp_path / "taskmaster" / "history"
    assert history.read_text() == "start web\nexit\n"
    assert history.stat().st_mode & 0o777 == 0o600


def _until(terminal: int, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        seen += os.read(terminal, 4096)
    return seen
