"""Fixtures of the unit tests of clients: a scripted core, and a command line that finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from taskmaster_core.cli import main
from tests.fakecore import FakeCore


class Said(NamedTuple):
    """What a command line said."""

    status: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def fake() -> Iterator[FakeCore]:
    made = FakeCore().start()
    yield made
    made.close()


@pytest.fixture
def cli(fake: FakeCore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run a command line in this process: its exit status and what it wrote."""
    for name in ("TASKMASTER_CONFIG", "NO_COLOR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(fake.home / "run"))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        status = main.main(words)
        said = capsys.readouterr()
        return Said(int(status), said.out, said.err)

    return run
