"""What tests of the terminal UI get: a real terminal, and pictures to compare with."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.app import App

from tests.terminal import Terminal, tmux_missing

SNAPSHOTS = Path(__file__).parent / "snapshots"
IDS = re.compile(r"terminal-\d+")


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


def normal(svg: str) -> str:
    """Return the picture without what differs from writing to writing: the ids that Textual derives from a hash."""
    return IDS.sub("terminal", svg)


@pytest.fixture
def snapshot_svg(tmp_path: Path) -> Callable[[App[Any], str], None]:
    """Compare what an app shows with `snapshots/NAME.svg`; TM_UPDATE_SNAPSHOTS=1 writes it."""

    def compare(app: App[Any], name: str) -> None:
        kept, now = SNAPSHOTS / f"{name}.svg", normal(app.export_screenshot(title=name))
        if os.environ.get("TM_UPDATE_SNAPSHOTS"):
            SNAPSHOTS.mkdir(exist_ok=True)
            kept.write_text(now)
        elif not kept.exists():
            pytest.fail(f"no picture {kept}; TM_UPDATE_SNAPSHOTS=1 writes it")
        elif kept.read_text() != now:
            (seen := tmp_path / f"{name}.svg").write_text(now)
            pytest.fail(f"not what it was\n was: {kept}\n is:  {seen}\nTM_UPDATE_SNAPSHOTS=1 takes it over")

    return compare
