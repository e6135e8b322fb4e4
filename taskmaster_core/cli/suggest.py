"""Small words of help: the nearest known word, the own version, whether colours are unwanted.

It decides nothing about commands. Parser and handlers call it when something was misspelt or asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from taskmaster_core import __version__


def near(word: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for the nearest known word, "" when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415  # 4 ms that only a mistake pays

    found = get_close_matches(word, list(known), 1, 0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def own_version() -> str:
    """Return the version of this client."""
    return f"taskmaster {__version__}"


def unlike(core: Mapping[str, Any]) -> str:
    """Return that client, core and shim are not of one release, "" if they are (`core` as `ping` and `status` tell)."""
    releases = {"client": __version__, "core": core["version"], "shim": core.get("shim_version") or core["version"]}
    if len(set(releases.values())) == 1:
        return ""
    return ", ".join(f"{part} {release}" for part, release in releases.items())


def colorless() -> bool:
    """Tell whether the environment asks for no colours."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
