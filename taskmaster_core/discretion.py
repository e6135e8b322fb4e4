"""Keep the core from tracers and core dumps: it holds the values of all variables.

It decides that nobody but root may trace the core, read its memory or dump it. The daemon calls it once, before it
reads the config; the shim and the jobs are not touched by it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress

TRACEABLE = "TASKMASTER_TRACEABLE"
"""Set to 1 for a debugger or profiler of the same user."""

_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)


def keep_discretion(environ: Mapping[str, str] = os.environ) -> None:
    """Close this process to tracers and core dumps; its files in /proc then belong to root (prctl(2))."""
    if environ.get(TRACEABLE) != "1":
        with suppress(AttributeError):  # a system without it; only Linux runs a core
            _libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
