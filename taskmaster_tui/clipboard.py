"""Put text into the clipboard of the person's own machine, and say which way it went.

It decides the way: OSC 52 through the terminal (wrapped for tmux), a program of the desktop where there is one here, a
file where the text is too long for both.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

LONGEST = 74_994
"""Bytes that terminals take in one OSC 52: 100,000 of base64 and its frame, less what some keep (k9s)."""

_PROGRAMS = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
)


def copy(app: TaskmasterApp, text: str) -> str:
    """Copy, and return a sentence about the way it went."""
    data = text.encode("utf-8", "replace")
    what = f"{len(text.splitlines()) or 1} line{'s' * (len(text.splitlines()) > 1)}"
    program = _program(app.environ)
    if program is not None and _piped(program, data):
        return f"copied {what} with {program[0]}"
    if len(data) > LONGEST:
        return f"{what} are too long for the terminal's clipboard: saved to {_spilled(data)}"
    if not app.to_terminal(sequence(data, app.environ)):  # Textual's own `copy_to_clipboard` knows no tmux
        return "the terminal takes nothing to copy"
    return f"copied {what} by the terminal (OSC 52{', through tmux' if app.environ.get('TMUX') else ''})"


def sequence(data: bytes, environ: Mapping[str, str]) -> str:
    """Return the escape sequence that copies; tmux passes it on only inside its own."""
    plain = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    if environ.get("TMUX"):
        # both: tmux takes OSC 52 for its own buffer where `set-clipboard` is on, the wrapped one reaches the terminal
        wrapped = plain.replace("\x1b", "\x1b\x1b")
        return f"{plain}\x1bPtmux;{wrapped}\x1b\\"
    return plain


def _program(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    if environ.get("SSH_CONNECTION"):
        return None  # the desktop that such a program reaches is not the person's
    for variable, words in _PROGRAMS:
        if environ.get(variable) and shutil.which(words[0]):
            return words
    return None


def _piped(program: tuple[str, ...], data: bytes) -> bool:
    try:
        # no pipes: what such a program leaves in the background to serve the clipboard would keep them open
        return subprocess.run(
            program, input=data, check=False, timeout=2, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode == 0  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False


def _spilled(data: bytes) -> str:
    handle, path = tempfile.mkstemp(prefix="taskmaster-copy-", suffix=".txt")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return path
