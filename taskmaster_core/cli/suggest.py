"""Small words of help: the nearest known word, the own version, whether colours are unwanted.

It decides nothing about commands. Parser and handlers call it when something was misspelt or asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from taskmaster_core import __version__


def near(word: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for the nearest known word, "" when none is near."""
    from difflib import get_close_matches  # noqa: PLC0415  # 4 ms that only a mistake pays

    found = get_close_matches(word, list(known), 1, 0.6)
    return f"did you mean `{found[0]}`?" if found else ""


def own_version() -> str:
    """Return the version of this client."""
    return f"taskmaster {__version__}"


def colorless() -> bool:
    """Tell whether the environment asks for no colours."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
