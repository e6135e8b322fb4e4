"""Turn the action table into Textual bindings: the one place where a key meets the app.

Every binding calls `app.do(id)`; the app finds who carries it out. Ids make them rebindable by a keymap.
"""

from __future__ import annotations

from textual.binding import Binding

from taskmaster_tui.actions import SCOPES


def bindings(*scopes: str) -> list[Binding]:
    """Return the bindings of some scopes."""
    return [
        Binding(action.keys, f"app.do('{action.id}')", action.label, show=bool(action.bar), id=action.id,
                tooltip=action.help)
        for scope in scopes for action in SCOPES[scope]
    ]  # fmt: skip
