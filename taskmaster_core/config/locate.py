"""Where each key and value of a TOML text stands.

Maps a path, as ("task", 0, "env", "PORT"), to the bytes of its key and of its value. Judges nothing: tomli has
accepted the text before, and what this parser does not understand has no place. Loaded only when there is something
to report, because tree-sitter costs more than the whole check of a small file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

import tomli
import tree_sitter_toml
from msgspec import Struct
from tree_sitter import Language, Node, Parser

Path = tuple[str | int, ...]

_KEYS = frozenset({"bare_key", "quoted_key", "dotted_key"})
_VALUES = frozenset(
    {
        "string", "integer", "float", "boolean", "array", "inline_table",
        "offset_date_time", "local_date_time", "local_date", "local_time",
    }
)  # fmt: skip
_DEEPEST = 60  # nested arrays and tables below this have their parent's place


class Span(Struct, frozen=True):
    """Hold a range of bytes and what kind of token it is."""

    start: int
    end: int
    kind: str = ""


def _span(node: Node) -> Span:
    return Span(node.start_byte, node.end_byte, node.type)


class Locator:
    """Hold the places of one text."""

    def __init__(self, text: str) -> None:
        self.raw = text.encode()
        self.keys: dict[Path, Span] = {}
        self.values: dict[Path, Span] = {}
        self._counts: dict[Path, int] = {}
        root = Parser(Language(tree_sitter_toml.language())).parse(self.raw).root_node
        for node in root.children:
            self._statement(node)

    def _statement(self, node: Node) -> None:
        if node.type == "pair":
            self._pair(node, (), 0)
        elif node.type in ("table", "table_array_element"):
            self._table(node)

    def _table(self, node: Node) -> None:
        header = next((child for child in node.children if child.type in _KEYS), None)
        if header is None:
            return
        parts = list(self._parts(header))
        path: Path = ()
        for name, part in parts[:-1]:
            path = self._indexed((*path, name))
            self.keys.setdefault(path, _span(part))
        path = (*path, parts[-1][0])
        if node.type == "table_array_element":
            self.keys.setdefault(path, _span(header))
            self._counts[path] = self._counts.get(path, 0) + 1
            path = (*path, self._counts[path] - 1)
        self.keys.setdefault(path, _span(parts[-1][1]))
        for child in node.children:
            if child.type == "pair":
                self._pair(child, path, 0)

    def _indexed(self, path: Path) -> Path:
        """Put the index of its last element behind the name of an array of tables."""
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _pair(self, node: Node, prefix: Path, depth: int) -> None:
        header = next((child for child in node.children if child.type in _KEYS), None)
        value = next((child for child in reversed(node.children) if child.type in _VALUES), None)
        if header is None:
            return
        path = prefix
        for name, part in self._parts(header):
            path = (*path, name)
            self.keys.setdefault(path, _span(part))
        if value is not None:
            self._value(value, path, depth)

    def _value(self, node: Node, path: Path, depth: int) -> None:
        self.values.setdefault(path, _span(node))
        if depth > _DEEPEST:
            return
        if node.type == "inline_table":
            for child in node.children:
                if child.type == "pair":
                    self._pair(child, path, depth + 1)
        elif node.type == "array":
            members = [child for child in node.children if child.type in _VALUES]
            for index, child in enumerate(members):
                self._value(child, (*path, index), depth + 1)

    def _parts(self, node: Node) -> Iterator[tuple[str, Node]]:
        """Return the names of a key, of which a dotted one has several (nested to the left)."""
        if node.type != "dotted_key":
            yield self._name(node), node
            return
        stack, found = [node], []
        while stack:
            top = stack.pop()
            if top.type == "dotted_key":
                stack.extend(child for child in top.children if child.type in _KEYS)
            else:
                found.append(top)
        yield from ((self._name(part), part) for part in reversed(found))

    def _name(self, node: Node) -> str:
        token = self.raw[node.start_byte : node.end_byte].decode(errors="replace")
        if node.type == "bare_key":
            return token
        try:
            return next(iter(tomli.loads(f"{token} = 0")))
        except (tomli.TOMLDecodeError, StopIteration):
            return token

    def find(self, path: Path, *, at: str) -> Span | None:
        """Return the place of a key ("key") or value ("value"), or of the nearest table around it."""
        wanted = self.values if at == "value" else self.keys
        for end in range(len(path), 0, -1):
            found = wanted.get(path[:end]) or self.keys.get(path[:end]) or self.values.get(path[:end])
            if found is not None:
                return found
        return None

    @cached_property
    def integers(self) -> dict[int, Path]:
        """Return the paths of all integers by their first byte."""
        return {span.start: path for path, span in self.values.items() if span.kind == "integer"}

    @cached_property
    def _starts(self) -> list[int]:
        """Return the first byte of each line."""
        return [0, *(found.end() for found in re.finditer(rb"\n", self.raw))]

    def position(self, byte: int) -> tuple[int, int]:
        """Return line and column, from 1, of a byte; columns count characters."""
        line = bisect_right(self._starts, byte)
        start = self._starts[line - 1]
        return line, len(self.raw[start:byte].decode(errors="replace")) + 1
