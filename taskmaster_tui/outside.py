"""Run a program in the terminal that the TUI has, and come back: an editor, a pager, a command of the CLI.

It decides nothing about the program. The loop goes on meanwhile, so the picture is right at once afterwards.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from textual.app import App, SuspendNotSupported

from taskmaster_tui._textual_compat import Governed


def cli(instance: str, socket: str | None, *words: str) -> list[str]:
    """Return the command line of our own command for the core that is shown."""
    where = ["--socket", socket] if socket else ["--instance", instance]
    return [sys.executable, "-m", "taskmaster_core", *where, *words]


async def in_terminal(app: App[Any], command: Sequence[str]) -> int:
    """Give the terminal to a program until it ends; return its status. Raise OSError where it cannot start."""
    if isinstance(app, Governed):
        await app.settle()  # the terminal's answer to a question of ours would be typed into the program
    # a batch stays open: a repaint while the driver is stopped fills the writer's queue and blocks the loop for good
    try:
        with app.batch_update(), app.suspend():
            before = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, lambda *_: None)  # ctrl+c is the program's; a handler is not inherited by it
            try:
                return await asyncio.to_thread(_run, command)
            finally:
                signal.signal(signal.SIGINT, before)
    except SuspendNotSupported as error:
        raise OSError("this terminal cannot be handed over (browser)") from error


def _run(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode


async def quietly(command: Sequence[str], text: str | None = None) -> tuple[int, str, str]:
    """Run a program behind the screen; return its status, stdout and stderr: 127 and why not where it cannot start."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        return 127, "", f"{error}"
    out, err = await process.communicate(text.encode() if text is not None else None)
    return process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
