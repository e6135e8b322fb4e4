"""Become the server: this process turns into the shim, which starts the core.

It decides nothing but the command line that is executed; configs are found and read by the core itself. `core` and,
in the background, `up` call it.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from taskmaster_core import paths
from taskmaster_core.cli.call import Call
from taskmaster_core.errors import UsageError

SHIM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "shim")


def command_line(instance: str, config: list[str], *, cgroup: bool = True, idle: bool = False) -> list[str]:
    """Return the command line of the shim: isolated, without site-packages, the core's own command line after `--`.

    `idle`: no job starts by itself with the core.
    """
    files = [word for path in config for word in ("-f", path)]
    core = [sys.executable, "-m", "taskmaster_core.daemon", "--instance", instance, *files]
    core += ["--idle"] if idle else []
    return [sys.executable, "-I", "-S", SHIM, *([] if cgroup else ["--no-cgroup"]), "--", *core]


def core(call: Call) -> NoReturn:
    """Run the server in this process."""
    if call.options.socket:
        raise UsageError("the core decides where its sockets are", "name another --instance, or set XDG_RUNTIME_DIR")
    words = command_line(paths.check_instance(call.instance), call.config, cgroup=not call.options.no_cgroup)
    call.out.stdout.flush()
    os.execv(words[0], words)  # noqa: S606  # no shell is wanted: systemd's pid becomes the shim's
