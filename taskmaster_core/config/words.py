"""How a command given as one string becomes words, and which parts of it only a shell would understand.

Splits as a POSIX shell quotes, without running one, and points at every unquoted operator. Decides nothing about
templates except that `${…}` is one piece. The checks call it for each `cmd` without `shell`.
"""

from __future__ import annotations

import re

from msgspec import Struct

_OPERATOR = re.compile(r"&&|\|\||>>|>&|<<|\$\(|[|;<>*`]|&(?=\s|$)")
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*(?::[-?][^}]*)?\}", re.ASCII)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_BARE = re.compile(r"\$[A-Za-z_]\w*", re.ASCII)
_HOME = re.compile(r"~(?=[/\s]|$)")
_PLAIN = re.compile(r"[^\s'\"\\$|&;<>*`]+")


class Unclosed(ValueError):
    """Say which quote is not closed."""


class Split(Struct, frozen=True):
    """Hold the words, the unquoted operators in order, and the unquoted `$NAME`s."""

    words: tuple[str, ...]
    operators: tuple[str, ...]
    bare: tuple[str, ...]


class _Splitter:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.words: list[str] = []
        self.word: list[str] | None = None
        self.operators: list[str] = []
        self.bare: list[str] = []

    def add(self, part: str) -> None:
        self.word = [*(self.word or ()), part]

    def run(self) -> Split:
        while self.at < len(self.text):
            self.step(self.text[self.at])
        self.end_word()
        return Split(tuple(self.words), tuple(self.operators), tuple(self.bare))

    def end_word(self) -> None:
        if self.word is not None:
            self.words.append("".join(self.word))
        self.word = None

    def step(self, char: str) -> None:
        if char in " \t\r\n":
            self.end_word()
            self.at += 1
        elif char == "'":
            self.single()
        elif char == '"':
            self.double()
        elif char == "\\":
            self.escape()
        else:
            self.plain(char)

    def single(self) -> None:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise Unclosed("a ' is not closed")
        self.add(self.text[self.at + 1 : end])
        self.at = end + 1

    def double(self) -> None:
        found = _DOUBLE.match(self.text, self.at)
        if found is None:
            raise Unclosed('a " is not closed')
        self.add(re.sub(r'\\(["\\])', r"\1", found[1]))
        self.at = found.end()

    def escape(self) -> None:
        if self.at + 1 == len(self.text):
            raise Unclosed("nothing follows the last \\")
        self.add(self.text[self.at + 1])
        self.at += 2

    def plain(self, char: str) -> None:
        if self.word is None and _HOME.match(self.text, self.at):
            self.operators.append("~")
        found = _VARIABLE.match(self.text, self.at) or _PLAIN.match(self.text, self.at)
        if found is None:
            found = _OPERATOR.match(self.text, self.at)
            if found is not None:
                self.operators.append(found[0])
            elif bare := _BARE.match(self.text, self.at):
                self.bare.append(bare[0])
        part = found[0] if found else char
        self.add(part)
        self.at += len(part)


def split(text: str) -> Split:
    """Split a command into words as a shell does; raise Unclosed for an open quote."""
    return _Splitter(text).run()
