"""Where the config is, when nobody says so.

Decides which files are used and can tell why. Reads none of them: a file that was named is used even if it is missing,
and `load` says what is wrong. The CLI asks it before anything else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

FILE = "taskmaster.toml"


class Discovery(NamedTuple):
    """Hold the files to load (absolute; none when there is no config), why these, and all places in order."""

    paths: tuple[str, ...]
    reason: str
    looked: tuple[str, ...]


def discover(explicit: Sequence[str], environ: Mapping[str, str], cwd: str) -> Discovery:
    """Return the config's files: those named, else $TASKMASTER_CONFIG, else the first of the usual places."""
    if explicit:
        paths = tuple(_absolute(path, cwd) for path in explicit)
        return Discovery(paths, "named with --config", paths)
    if named := environ.get("TASKMASTER_CONFIG"):
        path = _absolute(named, cwd)
        return Discovery((path,), "$TASKMASTER_CONFIG", (path,))
    places = _places(environ, cwd)
    looked = tuple(path for path, _ in places)
    for path, reason in places:
        if os.path.lexists(path):
            return Discovery((path,), reason, looked)
    return Discovery((), "there is no config at any of the usual places", looked)


def _absolute(path: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, path))


def _places(environ: Mapping[str, str], cwd: str) -> list[tuple[str, str]]:
    places = [(os.path.join(cwd, FILE), "the working directory")]
    home = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(home):  # the specification of these directories: a relative path is to be ignored
        places.append((os.path.join(home, "taskmaster", FILE), "$XDG_CONFIG_HOME"))
    elif os.path.isabs(environ.get("HOME", "")):
        places.append((os.path.join(environ["HOME"], ".config", "taskmaster", FILE), "~/.config"))
    return [*places, (f"/etc/taskmaster/{FILE}", "/etc")]
