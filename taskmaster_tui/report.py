"""Save what a bug report needs: the picture, versions, the terminal, the link. No output and no environment values."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from taskmaster_core.logs.sanitize import clean

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_TERMINAL = (
    "TERM", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX", "STY", "SSH_TTY", "LANG", "LC_ALL", "NO_COLOR",
)  # fmt: skip


def save(app: TaskmasterApp) -> str:
    """Write both files and return their path without ending; raise OSError where that cannot be."""
    directory = tempfile.gettempdir()
    path = os.path.join(directory, f"taskmaster-report-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    for ending, text in ((".svg", app.export_screenshot()), (".txt", "\n".join(_facts(app)) + "\n")):
        # exclusive: a name somebody else put there is not followed
        with open(path + ending, "x", encoding="utf-8") as file:
            file.write(text)
    return path


def _facts(app: TaskmasterApp) -> list[str]:
    health, world = app.link.health, app.world
    core = world.core
    counts = world.counts()
    return [
        f"taskmaster-tui {version('taskmaster-tui')}, textual {version('textual')}, pyzmq {version('pyzmq')}",
        f"python {platform.python_version()} on {platform.platform()}",
        f"size {app.size.width}x{app.size.height}, theme {app.theme}, glyphs {app.glyphs}",
        *(f"{name}={clean(app.environ[name])}" for name in _TERMINAL if name in app.environ),
        f"link {health.phase}, rtt {health.rtt}, attempt {health.attempt}, {clean(health.detail)}",
        f"frames {app.governor.fps:.1f} fps, answer {app.governor.took * 1000:.0f} ms, mute {app.governor.mute}",
        f"core {core.version} pid {core.pid} generation {core.generation}" if core is not None else "no core",
        f"jobs {len(world.jobs)}, processes {counts.total}, failed {counts.failed}",
    ]
