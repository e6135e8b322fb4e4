"""`up` on a terminal with a config that cannot be started: the mistake is shown, mended, and it starts from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.terminal import Terminal

BROKEN = '[[task]]\nname = "web"\ncmd = "sleep 1000"\nstopsignla = "TERM"\n'
MENDED = BROKEN.replace('stopsignla = "TERM"\n', 'successdelay = "0s"\n')


@pytest.fixture
def home() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))  # short: sockets lie in it
    yield made
    down = [*command(), "down", "-y"]
    subprocess.run(down, env=environ(made), cwd=made, check=False, capture_output=True, timeout=60)
    shutil.rmtree(made, ignore_errors=True)


def command() -> list[str]:
    return [sys.executable, "-m", "taskmaster_core", "--instance", "broken"]


def environ(home: Path) -> dict[str, str]:
    paths = {name: f"{home}/{name.lower()}" for name in
             ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}  # fmt: skip
    for path in paths.values():
        os.makedirs(path, mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKMASTER_")}
    root = str(Path(__file__).parent.parent.parent)
    return {**kept, **paths, "HOME": str(home), "PYTHONPATH": root, "TASKMASTER_TRUST_CONFIG": "1"}


def test_up_shows_the_mistake_and_starts_once_it_is_mended(home: Path, terminal: Callable[..., Terminal]) -> None:
    config = home / "taskmaster.toml"
    config.write_text(BROKEN)
    screen = terminal([*command(), "-f", str(config), "up"], columns=100, rows=30, env=environ(home), cwd=home)
    shown = screen.wait_for("has a mistake")
    assert all(each in shown for each in ("stopsignla", "^^^^^^^^^^", "did you mean `stopsignal`?"))
    config.write_text(MENDED)
    screen.wait_for("Its config would be")
    screen.type("S")
    screen.wait_for(lambda text: "1/1 up" in text and "● live" in text)


def test_who_leaves_it_broken_gets_the_status_of_an_invalid_config(
    home: Path, terminal: Callable[..., Terminal]
) -> None:
    config = home / "taskmaster.toml"
    config.write_text(BROKEN)
    screen = terminal([*command(), "-f", str(config), "up"], columns=100, rows=30, env=environ(home), cwd=home)
    screen.wait_for("has a mistake")
    screen.type("q")
    assert screen.wait_end() == 6
