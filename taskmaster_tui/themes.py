"""The five themes: dark, light, colour-blind safe, mono, and the terminal's own colours.

Decides what each role looks like; a role also has a glyph and a word wherever it is shown, so that colour is never the
only sign. The app registers them.
"""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import BUILTIN_THEMES, Theme

ROLES = (
    "up", "busy", "failed", "off", "done", "held", "dim", "accent", "title", "warn", "error", "good", "out", "err",
    "mark", "match", "current",
)  # fmt: skip
"""The words every widget paints by; `""` is plain text."""

NAMES = ("dark", "light", "colourblind", "mono", "terminal", "terminal-light")


def _roles(**colours: str) -> dict[str, str]:
    return {f"role-{name}": colour for name, colour in colours.items()}


_DARK = _roles(
    up="#7ee787", busy="#79c0ff", failed="#ff7b72", off="#8b949e", done="#a5b4c4", held="#d2a8ff", dim="#7d8794",
    accent="#79c0ff", title="#f0f6fc", warn="#e3b341", error="#ff7b72", good="#7ee787", out="#d5dbe3", err="#ffb4a9",
    mark="#9aa7b5", match="#4d3b00", current="#9e6a03",
)  # fmt: skip
_LIGHT = _roles(
    up="#116329", busy="#0550ae", failed="#b3151f", off="#6e7781", done="#57606a", held="#6639ba", dim="#6e7781",
    accent="#0550ae", title="#1f2328", warn="#7d4e00", error="#b3151f", good="#116329", out="#24292f", err="#8c1d18",
    mark="#57606a", match="#fff0b3", current="#ffd33d",
)  # fmt: skip
# blue and orange differ for every kind of colour blindness (Okabe and Ito's palette)
_COLOURBLIND = _DARK | _roles(
    up="#56b4e9", busy="#f0e442", failed="#e69f00", good="#56b4e9", error="#e69f00", err="#f5c26b", warn="#f0e442",
    held="#cc79a7", accent="#56b4e9",
)  # fmt: skip
_MONO_DARK = _roles(
    up="#ffffff", busy="#ffffff", failed="#ffffff", off="#a0a0a0", done="#c0c0c0", held="#c0c0c0", dim="#a0a0a0",
    accent="#ffffff", title="#ffffff", warn="#ffffff", error="#ffffff", good="#ffffff", out="#e0e0e0", err="#ffffff",
    mark="#b0b0b0", match="#404040", current="#707070",
)  # fmt: skip
_TERMINAL = _roles(
    up="ansi_green", busy="ansi_cyan", failed="ansi_bright_red", off="ansi_bright_black", done="ansi_default",
    held="ansi_magenta", dim="ansi_bright_black", accent="ansi_cyan", title="ansi_default", warn="ansi_yellow",
    error="ansi_bright_red", good="ansi_green", out="ansi_default", err="ansi_yellow", mark="ansi_bright_black",
    match="ansi_blue", current="ansi_yellow",
)  # fmt: skip
_TERMINAL_LIGHT = _TERMINAL | _roles(
    failed="ansi_red", error="ansi_red", err="ansi_red", warn="ansi_magenta", match="ansi_yellow", current="ansi_cyan"
)

DEFAULTS: Mapping[str, str] = _DARK
"""For themes that do not say, so that the style sheet is valid with any."""




def all_themes() -> list[Theme]:
    """Return the themes by the names people choose them by."""
    return [
        Theme(
            "dark", primary="#2f81f7", secondary="#30363d", accent="#79c0ff", warning="#e3b341", error="#ff7b72",
            success="#7ee787", foreground="#d5dbe3", background="#0d1117", surface="#0d1117", panel="#161b22",
            boost="#1c2430", variables={**_DARK, "border": "#58a6ff", "border-blurred": "#30363d"},
        ),
        Theme(
            "light", primary="#0969da", secondary="#d0d7de", accent="#0550ae", warning="#7d4e00", error="#b3151f",
            success="#116329", foreground="#24292f", background="#ffffff", surface="#ffffff", panel="#f3f5f8",
            boost="#eaeef2", dark=False, variables={**_LIGHT, "border": "#0969da", "border-blurred": "#c5ccd3"},
        ),
        Theme(
            "colourblind", primary="#0072b2", secondary="#30363d", accent="#56b4e9", warning="#f0e442", error="#e69f00",
            success="#56b4e9", foreground="#d9dee5", background="#0d1117", surface="#0d1117", panel="#161b22",
            boost="#1c2430", variables={**_COLOURBLIND, "border": "#56b4e9", "border-blurred": "#3a424c"},
        ),
        Theme(
            "mono", primary="#ffffff", secondary="#505050", accent="#ffffff", warning="#ffffff", error="#ffffff",
            success="#ffffff", foreground="#e0e0e0", background="#000000", surface="#000000", panel="#101010",
            boost="#202020", variables={**_MONO_DARK, "border": "#ffffff", "border-blurred": "#606060"},
        ),
        _of_terminal("terminal", "ansi-dark", _TERMINAL),
        _of_terminal("terminal-light", "ansi-light", _TERMINAL_LIGHT),
    ]  # fmt: skip


def _of_terminal(name: str, base: str, roles: dict[str, str]) -> Theme:
    """Return a theme of the terminal's own sixteen colours and its own background."""
    found = BUILTIN_THEMES[base]
    return Theme(
        name, primary=found.primary, secondary=found.secondary, warning=found.warning, error=found.error,
        success=found.success, accent=found.accent, foreground=found.foreground, background=found.background,
        surface=found.surface, panel=found.panel, boost=found.boost, dark=found.dark, ansi=True,
        variables={**found.variables, **roles, "border": "ansi_blue", "border-blurred": "ansi_bright_black"},
    )  # fmt: skip


def default(environ: Mapping[str, str]) -> str:
    """Return the theme for a terminal: its own colours where it has few, no colour where none is wanted."""
    if environ.get("NO_COLOR"):
        return "mono"
    return "dark" if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") else "terminal"
