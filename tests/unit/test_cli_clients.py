"""Which client a terminal gets, and that the TUI takes the place of the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskmaster_core.cli import clients, out, parser, shell, watch
from taskmaster_core.cli.call import Call
from taskmaster_core.client import Client
from tests.fakecore import FakeCore, done, status
from tests.unit.conftest import Cli

Became = list[list[str]]


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> Became:
    """Put what would be executed into a list; the terminal is a good one."""
    words: Became = []

    def execv(path: str, line: list[str]) -> None:
        words.append(line)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(clients, "has_tui", lambda: True)
    monkeypatch.setattr(clients, "at_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TASKMASTER_A11Y", "TASKMASTER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return words


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which of the other clients was run."""
    ran: list[str] = []

    def note(name: str) -> Callable[[Call], int]:
        return lambda call: ran.append(name) or 0

    monkeypatch.setattr(watch, "watch", note("lines"))
    monkeypatch.setattr(shell, "interact", note("shell"))
    return ran


TUI = [sys.executable, "-m", "taskmaster_tui", "--instance"]


def test_tui_takes_the_place_of_the_command_with_its_options(cli: Cli, became: Became) -> None:
    with pytest.raises(SystemExit):
        cli(
            "--instance", "dev", "--socket", "/s", "tui", "--theme", "light", "--glyphs", "ascii", "--fps", "5",
            "--read-only", "--no-mouse",
        )  # fmt: skip
    assert became == [[
        *TUI, "dev", "--socket", "/s", "--theme", "light", "--glyphs", "ascii", "--fps", "5", "--read-only",
        "--no-mouse",
    ]]  # fmt: skip


def test_without_a_command_a_terminal_gets_the_tui(cli: Cli, became: Became) -> None:
    with pytest.raises(SystemExit):
        cli()
    assert became == [[*TUI, "default"]]


def test_up_ends_in_the_tui(fake: FakeCore, cli: Cli, became: Became, tmp_path: Path) -> None:
    fake.on("status", status(config=[str(tmp_path / "t.toml")])).on("start", done())
    with pytest.raises(SystemExit):
        cli("-f", "t.toml", "up")
    assert became == [[*TUI, "default"]]
    assert os.environ["TASKMASTER_CONFIG"] == str(tmp_path / "t.toml")


def test_without_a_tui_there_is_the_shell(
    cli: Cli, became: Became, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "has_tui", lambda: False)
    cli("tui")
    assert (became, lines) == ([], ["shell"])


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("TASKMASTER_A11Y", "1")])
@pytest.mark.parametrize("words", [(), ("tui",)])
def test_lines_for_who_wants_them(
    cli: Cli, became: Became, lines: list[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str,
    words: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value)
    cli(*words)
    assert (became, lines) == ([], ["lines"])


def test_plain_is_the_line_mode(cli: Cli, became: Became, lines: list[str]) -> None:
    assert cli("tui", "--plain").status == 0
    assert (became, lines) == ([], ["lines"])


def test_below_the_shell_the_tui_runs_and_the_shell_goes_on(
    fake: FakeCore, cli: Cli, became: Became, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: Became = []
    ended = subprocess.CompletedProcess[bytes]([], 0)
    monkeypatch.setattr(subprocess, "run", lambda words, check: ran.append(words) or ended)
    options = parser.parse(["tui"])[1]
    with Client(fake.commands) as client:
        assert clients.tui(Call(options, out.standard(), client)) == 0
    assert (ran, became) == ([[*TUI, "default"]], [])
