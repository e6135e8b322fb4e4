"""Start the best client a terminal can have: the TUI where it is installed, else the shell; lines on a plain terminal.

It decides which. `tui`, `up` and a bare `taskmaster` on a terminal come here. The TUI takes the place of this process:
no second Python stays in memory behind it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

from taskmaster_core.cli.call import Call

_FLAGS = ("read_only", "no_mouse")
_VALUES = ("theme", "glyphs", "fps")


def has_tui() -> bool:
    """Tell whether there is a TUI to start."""
    return find_spec("taskmaster_tui") is not None and find_spec("taskmaster_tui.__main__") is not None


def tui(call: Call) -> int:
    """Run the TUI, or its line mode where a screen is not wanted or cannot be."""
    if call.options.plain or _is_plain():
        return _lines(call)
    if not has_tui() or call.options.host:  # the screen reads output files itself, and those are elsewhere
        return _shell(call)
    return _become(call, command_line(call))


def best(call: Call) -> int:
    """Run the best client until the person leaves it; return only where it is not the TUI."""
    if not has_tui() or call.options.host:
        return _shell(call)
    return _lines(call) if _is_plain() else _become(call, command_line(call))


def has_screen() -> bool:
    """Tell whether `best` would be the TUI: it is installed, and this terminal wants a screen."""
    return has_tui() and not _is_plain()


def _is_plain() -> bool:
    """Tell whether this terminal wants lines: a dumb one, a person who says so, or none at all."""
    wanted = os.environ.get("TASKMASTER_A11Y", "") not in ("", "0")
    return wanted or os.environ.get("TERM") == "dumb" or not at_terminal()


def at_terminal() -> bool:
    """Tell whether a person sits in front of this process."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _lines(call: Call) -> int:
    from taskmaster_core.cli import watch  # noqa: PLC0415  # one of several clients; each costs what it imports

    return watch.watch(call)


def _shell(call: Call) -> int:
    from taskmaster_core.cli import shell  # noqa: PLC0415  # as above

    return shell.interact(call)


def command_line(call: Call) -> list[str]:
    """Return the command line of the TUI for the options of this call."""
    options = vars(call.options)
    words = [sys.executable, "-m", "taskmaster_tui", "--instance", call.instance]
    if call.options.socket:
        words += ["--socket", os.path.abspath(call.options.socket)]
    for name in _VALUES:
        if options.get(name) is not None:
            words += [f"--{name}", str(options[name])]
    return words + [f"--{name.replace('_', '-')}" for name in _FLAGS if options.get(name)]


def _become(call: Call, words: list[str]) -> int:
    """Turn into the TUI; below the shell, which goes on after it, run it instead."""
    if len(call.config) == 1:
        os.environ["TASKMASTER_CONFIG"] = call.config[0]  # the core that it may be told to start finds it there
    if call.shared:
        return subprocess.run(words, check=False).returncode
    call.close()
    call.out.stdout.flush()
    call.out.stderr.flush()
    return os.execv(words[0], words)  # noqa: S606  # no shell is wanted
