"""The fixtures of tests on real processes. `daemon` starts one; at the end nothing of it may be left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import seat
from tests.harness import Daemon
from tests.terminal import Terminal, tmux_missing

Start = Callable[..., Daemon]


@pytest.fixture
def daemon_for() -> Iterator[Start]:
    """Make daemons that the test starts itself: `daemon_for(config).start()`; ended and checked afterwards."""
    made: list[Daemon] = []

    def make(config: str, **options: Any) -> Daemon:
        made.append(Daemon(config, **options))
        return made[-1]

    yield make
    said = [(each.stderr(), each.close()) for each in made]
    for stderr, _ in said:
        print(stderr)  # pytest shows it when the test failed
    problems = [problem for _, found in said for problem in found]
    assert not problems, "\n".join(problems)


@pytest.fixture
def daemon(daemon_for: Start) -> Start:
    """Start a daemon on a config and wait until it answers: `daemon(config_text, args=(), **options)`."""

    def start(config: str, *, args: tuple[str, ...] = (), **options: Any) -> Daemon:
        return daemon_for(config, **options).start(*args)

    return start


@pytest.fixture
def sit(daemon_for: Start) -> Iterator[Callable[..., Terminal]]:  # its daemons are ended after the terminals
    """Show a daemon in the TUI, in tmux: `sit(daemon, columns=80, rows=24)`."""
    if reason := tmux_missing():
        pytest.skip(reason)
    opened: list[Terminal] = []

    def start(it: Daemon, *args: Any, **options: Any) -> Terminal:
        opened.append(seat.in_tmux(it, *args, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()
