"""What tests of the terminal UI get: a real terminal, and pictures to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App

from tests.pictures import difference
from tests.terminal import Terminal, tmux_missing

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start programs in tmux: `terminal([...argv], columns=80, rows=24)`; all of them end with the test."""
    if reason := tmux_missing():
        pytest.skip(reason)
    opened: list[Terminal] = []

    def start(*args: Any, **options: Any) -> Terminal:
        opened.append(Terminal(*args, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def snapshot_svg(tmp_path: Path) -> Callable[[App[Any], str], None]:
    """Compare what an app shows with `snapshots/NAME.svg`; TM_UPDATE_SNAPSHOTS=1 writes it."""

    def compare(app: App[Any], name: str) -> None:
        picture = app.export_screenshot(title=name)
        if different := difference(picture, SNAPSHOTS / f"{name}.svg", tmp_path / f"{name}.svg"):
            pytest.fail(different)

    return compare
