"""Start the best client a terminal can have: the TUI where it is installed, else the shell.

It decides which; both are commands of their own. `up` and a bare `taskmaster` on a terminal call it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

from taskmaster_core.cli import shell
from taskmaster_core.cli.call import Call


def has_tui() -> bool:
    """Tell whether there is a TUI to start."""
    return find_spec("taskmaster_tui") is not None and find_spec("taskmaster_tui.__main__") is not None


def best(call: Call) -> int:
    """Run the best client until the person leaves it."""
    if not has_tui():
        return shell.interact(call)
    words = [sys.executable, "-m", "taskmaster_tui", "--instance", call.instance]
    if call.options.socket:
        words += ["--socket", os.path.abspath(call.options.socket)]
    return subprocess.run(words, check=False).returncode


def client(call: Call) -> int:
    """Run what `taskmaster` without a command means on a terminal."""
    return best(call)
