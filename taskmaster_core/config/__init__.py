"""The config: from files to specs, with every problem at its line.

Decides what a config means and whether it may be used; applies none. What is named here is loaded when it is first
used, because pydantic and tree-sitter cost more than most commands do. The daemon and the CLI call it; `edit`
and `reference` are modules of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# at once, unlike the rest: its module has the same name, and the function has to win
from taskmaster_core.config.discover import Discovery as Discovery
from taskmaster_core.config.discover import discover as discover

if TYPE_CHECKING:
    from taskmaster_core.config.files import Loaded as Loaded
    from taskmaster_core.config.files import load as load
    from taskmaster_core.config.files import parse as parse
    from taskmaster_core.config.files import shrunk as shrunk
    from taskmaster_core.config.fixes import fix as fix
    from taskmaster_core.config.privacy import discreet as discreet
    from taskmaster_core.config.problems import Place as Place
    from taskmaster_core.config.problems import Problem as Problem
    from taskmaster_core.config.problems import render as render
    from taskmaster_core.config.problems import summary as summary
    from taskmaster_core.config.problems import to_github as to_github
    from taskmaster_core.config.problems import to_json as to_json
    from taskmaster_core.config.reference import schema as schema

_HOMES = {
    "Loaded": "files", "load": "files", "parse": "files", "shrunk": "files",
    "discreet": "privacy",
    "fix": "fixes",
    "Place": "problems", "Problem": "problems", "render": "problems", "summary": "problems",
    "to_github": "problems", "to_json": "problems",
    "schema": "reference",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
