"""Sit a person down before a running core: the real program in a real terminal, keys in, screen out.

Decides nothing about what is right; the tests of the terminal UI do. `tests/integration/conftest.py` makes the fixture
`sit` of it, which ends the program before the core that it shows.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness import Daemon, Instance
from tests.terminal import RawTerminal, Terminal

UP = "● live"
"""What the header says once a core answers."""


def tui(it: Instance, *words: str) -> list[str]:
    """Return the command line of the TUI for an instance."""
    return [sys.executable, "-m", "taskmaster_tui", "--instance", it.instance, *words]


def surroundings(it: Instance, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what in the environment of an instance differs from ours: homes and directories of its own."""
    own = {name: value for name, value in it.env.items() if os.environ.get(name) != value}
    return {**own, "TASKMASTER_CONFIG": str(it.config_path), "TASKMASTER_TRUST_CONFIG": "1", **(more or {})}


def forget_place(it: Instance) -> None:
    """Let the next start begin as the first one did."""
    shutil.rmtree(it.dir / "state" / "taskmaster" / "ui", ignore_errors=True)


def in_tmux(it: Instance, argv: Sequence[str] | None = None, **options: Any) -> Terminal:
    """Start the TUI, or another command line, in tmux."""
    env = surroundings(it, options.pop("env", None))
    return Terminal(argv or tui(it), env=env, cwd=options.pop("cwd", it.dir), **options)


def in_raw(it: Instance, argv: Sequence[str] | None = None, **options: Any) -> RawTerminal:
    """Start the TUI in a pty whose bytes are kept."""
    env = surroundings(it, options.pop("env", None))
    return RawTerminal(argv or tui(it), env=env, cwd=it.dir, record=True, **options)


def live(screen: Terminal, *texts: str, deadline: float = 15.0) -> str:
    """Return the screen once a core answers and all the texts are there."""
    return screen.wait_for(lambda text: all(each in text for each in (UP, *texts)), deadline)


def row(screen: str, name: str) -> str:
    """Return the first line of the job list that has a name in it, up to the border; "" if there is none."""
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")
    lists = (line[1:].partition("┃")[0] for line in screen.splitlines() if line.startswith("┃"))
    return next((line for line in lists if word.search(line)), "")


def rows_are(**wanted: str) -> Callable[[str], bool]:
    """Return the condition that each job's row has a text in it: `rows_are(web="3/3 up")`."""
    return lambda screen: all(text in row(screen, name) for name, text in wanted.items())


def under_cursor(screen: str) -> str:
    """Return the row of the list that has the cursor."""
    return next((line[1:] for line in screen.splitlines() if line.startswith("┃>")), "")


def script(directory: Path, name: str, text: str) -> str:
    """Write a program that others can start; return its path."""
    path = directory / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def pids(it: Daemon) -> dict[str, int | None]:
    """Return the pid of each process, as the core says it."""
    return it.pids()
