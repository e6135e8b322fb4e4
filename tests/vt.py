"""A screen small enough to trust: what a full-screen program that moves, styles and writes leaves on a terminal.

It knows what Textual sends (CUP, SGR, text, newline, save and restore, modes) and passes over the rest; it also finds
the questions to a terminal in the bytes and knows the answers. `tests/terminal.py` feeds it.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

from rich.cells import get_character_cell_size

# one thing at a time: CSI, OSC and DCS strings, two-character escapes, one control, or a run of text
TOKEN = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<numbers>[\d;:]*)(?P<middle>[ -/]*)(?P<final>[@-~])"
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*(?P<escape>[0-Z^-~])"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)",
    re.DOTALL,
)
KINDS = frozenset({"cpr", "da", "decrqm", "kitty"})


class Screen:
    """Rows of text, a cursor, and the answers that its terminal owes."""

    def __init__(self, columns: int, rows: int, answers: frozenset[str] = KINDS) -> None:
        self.answers = answers
        self.owed: list[bytes] = []
        self.sequences: dict[str, int] = {}
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self.x = self.y = 0
        self._saved = (0, 0)
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.y = min(self.y, rows - 1)

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.cells]

    def text(self) -> str:
        return "\n".join(self.lines())

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines())

    def feed(self, data: bytes) -> None:
        text = self._rest + self._decode(data)
        at = 0
        while found := TOKEN.match(text, at):
            at = found.end()
            self._take(found)
        if at < len(text) and text[at] != "\x1b":
            at += 1  # a byte that belongs to nothing
        self._rest = text[at:] if len(text) - at < 4096 else ""

    def _take(self, found: re.Match[str]) -> None:
        if found["text"]:
            self._write(found["text"])
        elif found["final"]:
            self._csi(found["private"], found["numbers"], found["middle"], found["final"])
        elif found["control"]:
            self._control(found["control"])
        elif found["escape"] == "7":
            self._saved = (self.x, self.y)
        elif found["escape"] == "8":
            self.x, self.y = self._saved

    def _write(self, text: str) -> None:
        for char in text:
            width = 1 if char.isascii() else get_character_cell_size(char)
            if width and self.x < self.columns:
                self.cells[self.y][self.x] = char
                if width == 2 and self.x + 1 < self.columns:
                    self.cells[self.y][self.x + 1] = ""
                self.x += width

    def _control(self, char: str) -> None:
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.x, self.y = 0, min(self.y + 1, self.rows - 1)  # the tty makes CR LF of it
        elif char == "\b":
            self.x = max(self.x - 1, 0)

    def _csi(self, private: str, numbers: str, middle: str, final: str) -> None:
        name = private + middle + final
        self.sequences[name] = self.sequences.get(name, 0) + 1
        values = [int(each) if each.isdigit() else 0 for each in numbers.split(";")]
        if name in ("H", "f"):
            row, column = (*values, 1)[:2]
            self.y = min(max(row, 1), self.rows) - 1
            self.x = min(max(column, 1), self.columns) - 1
        elif name == "J" and values[0] in (2, 3):
            self.resize(self.columns, self.rows)
        elif name == "K":
            self.cells[self.y][self.x :] = [" "] * (self.columns - self.x)
        elif name in ("n", "c", ">c", "?$p", "?u"):
            self._asked(name, values[0])

    def _asked(self, name: str, value: int) -> None:
        kind, answer = {
            "n": ("cpr", f"\x1b[{self.y + 1};{self.x + 1}R" if value == 6 else "\x1b[0n"),
            "c": ("da", "\x1b[?62;22c"),
            ">c": ("da", "\x1b[>1;10;0c"),
            "?$p": ("decrqm", f"\x1b[?{value};{2 if value == 2026 else 0}$y"),
            "?u": ("kitty", "\x1b[?0u"),
        }[name]
        if kind in self.answers:
            self.owed.append(answer.encode())
