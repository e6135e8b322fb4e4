from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.cli import core, life
from taskmaster_core.client import Client, probe
from tests.fakecore import FakeCore, Raw, done, job, process, status
from tests.unit.conftest import Cli

# The command line of the core


def test_core_becomes_the_shim_with_the_core_behind_it(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path
) -> None:
    became: list[list[str]] = []

    def execv(path: str, words: list[str]) -> None:
        became.append(words)
        raise SystemExit

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(SystemExit):
        cli("-f", "a.toml", "core", "-f", "/b.toml", "--instance", "dev", "--no-cgroup")
    shim = str(Path(core.__file__).parents[1] / "shim")
    assert became == [[
        sys.executable, "-I", "-S", shim, "--no-cgroup", "--", sys.executable, "-m", "taskmaster_core.daemon",
        "--instance", "dev", "-f", str(tmp_path / "a.toml"), "-f", "/b.toml",
    ]]  # fmt: skip


@pytest.mark.parametrize("words", [["core", "--socket", "/x"], ["core", "--instance", "../x"]])
def test_core_refuses_what_it_could_not_keep(monkeypatch: pytest.MonkeyPatch, cli: Cli, words: list[str]) -> None:
    monkeypatch.setattr(os, "execv", lambda path, words: pytest.fail("executed"))
    assert cli(*words).status == 2


# up


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch, fake: FakeCore):
    """Run a script where `up` would run the shim; nobody answers before."""
    fake.stop()
    fake.until(lambda: probe(fake.commands) is not None)

    def put(script: str) -> None:
        monkeypatch.setattr(core, "command_line", lambda instance, config, idle: ["/bin/sh", "-c", script])

    return put


def test_up_with_a_core_starts_the_jobs_with_autostart(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status()).on("start", done(("web:0", "running")))
    assert cli("up", "-d").status == 0
    asked = fake.last("start")
    assert (asked["select"], asked["args"]) == ([], {"autostart": True, "wait": True})


def test_up_starts_what_is_selected(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status()).on("start", done(("web:0", "running")))
    cli("up", "-d", "web", "@db")
    asked = fake.last("start")
    assert (asked["select"], asked["args"]) == (["web", "@db"], {"wait": True})


def test_up_with_the_same_files_is_no_quarrel(fake: FakeCore, cli: Cli, tmp_path: Path) -> None:
    fake.on("status", status(config=[str(tmp_path / "a.toml"), "/conf.d/included.toml"]))
    fake.on("start", done())
    assert cli("-f", "a.toml", "up", "-d").status == 0


def test_up_beside_another_config_file_is_refused(fake: FakeCore, cli: Cli, tmp_path: Path) -> None:
    """The file that would be found here is not the core's: this is somebody else's core."""
    (tmp_path / "taskmaster.toml").write_text("")
    fake.on("status", status(config=["/etc/theirs.toml"]))
    assert cli("up", "-d").status == 7


@pytest.mark.parametrize(("code", "expected"), [(6, 6), (7, 7), (1, 1), (9, 1)])
def test_a_core_that_dies_at_once_says_why_and_its_status_is_kept(
    instead: Any, cli: Cli, code: int, expected: int
) -> None:
    instead(f"echo 'error[E101]: unknown key' >&2; exit {code}")
    said = cli("up", "-d")
    assert said.status == expected
    assert "error[E101]: unknown key" in said.err


def test_a_core_that_dies_without_a_word_is_said_to(instead: Any, cli: Cli) -> None:
    instead("exit 3")
    assert "it said nothing, and ended with 3" in cli("up", "-d").err


def test_a_config_error_leaves_no_directory_behind(instead: Any, cli: Cli, tmp_path: Path) -> None:
    instead("exit 6")
    cli("up", "-d")
    assert list(tmp_path.iterdir()) == []


def test_what_the_core_says_lies_in_its_state_directory_where_there_is_one(
    instead: Any, cli: Cli, tmp_path: Path
) -> None:
    statedir = tmp_path / "xdg_state_home" / "taskmaster" / "default"
    statedir.mkdir(parents=True)
    instead("echo hello; exit 6")
    cli("up", "-d")
    assert (statedir / "core.out").read_text() == "hello\n"
    assert (statedir / "core.out").stat().st_mode & 0o777 == 0o600


def test_a_core_that_never_answers_is_given_up(instead: Any, cli: Cli, tmp_path: Path) -> None:
    instead(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    try:
        assert cli("up", "-d", "--timeout", "0.3").status == 5
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


def test_up_waits_for_the_core_and_shows_what_it_said(instead: Any, fake: FakeCore, cli: Cli, tmp_path: Path) -> None:
    fake.on("status", status()).on("start", done(("web:0", "running")))
    instead(f"echo warning >&2; echo $$ > {tmp_path}/pid; exec sleep 60")

    def arrive() -> None:
        fake.until((tmp_path / "pid").exists)
        fake.start()

    thread = threading.Thread(target=arrive)
    thread.start()
    said = cli("up", "-d")
    thread.join()
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert said.status == 0
    assert "warning" in said.err
    assert fake.ops()[:2] == ["ping", "start"]


# down


def test_down_asks_for_a_shutdown_and_waits_for_the_shim(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status()).on("shutdown", done(("web:0", "stopped")))
    said = cli("down")
    assert said.status == 0
    assert fake.last("shutdown")["args"] == {"keep_core": False}
    assert said.out == "web:0 stopped\n"


def test_down_keeps_the_core_if_asked_to(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status()).on("shutdown", done())
    said = cli("down", "--keep-core")
    assert fake.last("shutdown")["args"] == {"keep_core": True}
    assert "nothing was running" in said.err


def test_a_shim_that_does_not_end_is_told(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(shim_pid=os.getpid())).on("shutdown", done())
    said = cli("down", "--timeout", "0.2")
    assert said.status == 5
    assert f"pid {os.getpid()}" in said.err


def test_a_core_that_ended_before_its_answer_got_through_is_down(
    fake: FakeCore, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(request: dict[str, Any]) -> Any:
        fake._running = False
        os.unlink(fake.commands)
        return ...

    monkeypatch.setitem(Client.__init__.__kwdefaults__ or {}, "silence", 0.1)
    fake.on("status", status()).on("shutdown", vanish)
    assert cli("down").status == 0


def test_down_without_a_core_is_3(fake: FakeCore, cli: Cli) -> None:
    assert cli("--instance", "none", "down").status == 3


# up that stays


def test_up_follows_the_output_and_stops_everything_at_the_end_if_it_started_the_core(
    instead: Any, fake: FakeCore, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.on("status", status(job("web", process("web:0")))).on("start", done(("web:0", "running")))
    fake.on("shutdown", done(("web:0", "stopped")))
    page = {"lines": [[1.0, "web:0", "out", 0, False, 6, ""]], "cursor": {}, "more": False}
    fake.on("logs", Raw(page, b"hello\n"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    instead(f"echo $$ > {tmp_path}/pid; exec sleep 60")

    def press() -> None:
        fake.until((tmp_path / "pid").exists)
        fake.start()
        fake.until(lambda: "log.web:0" in fake.topics)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    said = cli("up")
    thread.join()
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert said.status == 130
    assert "hello" in said.out
    assert fake.ops()[-1] == "shutdown"


def test_up_that_did_not_start_the_core_leaves_it_alone(
    fake: FakeCore, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.on("status", status(job("web", process("web:0")))).on("start", done(("web:0", "running")))
    fake.on("logs", {"lines": [], "cursor": {}, "more": False})
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def press() -> None:
        fake.until(lambda: "log.web:0" in fake.topics)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    said = cli("up")
    thread.join()
    assert said.status == 130
    assert "shutdown" not in fake.ops()
    assert "the jobs keep running" in said.err


# the bare command


def test_without_a_command_and_terminal_it_is_status(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("web", process("web:0"))))
    said = cli()
    assert (said.status, fake.ops()) == (0, ["status"])


def test_a_death_that_cannot_be_watched_counts_as_one() -> None:
    with life._Death(2**22 + 7) as death:
        assert death.wait(0)
