"""The last gate before the terminal: no control and no turn of direction passes, and ASCII alone where that is wanted.

It decides which sign stands for a border, a dot, an arrow or a bar, each in one cell; letters of other scripts are left
alone, because they are what a job wrote. Whoever shows foreign text cleans it; this is for what was forgotten (S13).
"""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import get_character_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SAME = {
    "·": "-", "–": "-", "—": "-", "…": "~", "↻": "R", "→": ">", "←": "<", "↑": "^", "↓": "v", "⏎": "<", "␣": "_",  # noqa: RUF001  # the dash of "nothing"
    "▲": "^", "▼": "v", "▶": ">", "◀": "<", "●": "*", "◐": "~", "✗": "!", "○": "-", "◌": ".", "◔": "@", "⏸": "=",
    "≈": "~", "≤": "<", "≥": ">", "⟳": "@",
}  # fmt: skip
_RULES = {**dict.fromkeys("─━═╌┄╴╶╸╺", "-"), **dict.fromkeys("│┃║╎┆╵╷╹╻", "|")}
_TABLE = str.maketrans(
    {chr(each): "+" for each in range(0x2500, 0x2580)}
    | {chr(each): "#" for each in range(0x2580, 0x25A0)}
    | {chr(each): "*" for each in range(0x2801, 0x2900)}
    | {"\u2800": " "}
    | _RULES
    | _SAME
)


class Gate(LineFilter):
    """Let pass what is harmless; translate signs while `plain` says so."""

    def __init__(self, plain: Callable[[], bool]) -> None:
        super().__init__()
        self._plain = plain

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments in the same width."""
        plain = self._plain()
        return [
            part if part.text.isprintable() and not (plain and not part.text.isascii())
            else Segment(_harmless(part.text, plain=plain), part.style)
            for part in segments
        ]  # fmt: skip


def _harmless(text: str, *, plain: bool) -> str:
    shown = "".join(each if each.isprintable() else " " * get_character_cell_size(each) for each in text)
    return shown.translate(_TABLE) if plain else shown
