"""What `check --fix` changes: what is wrong in only one way and can be said in ours without a loss.

Decides nothing itself: the findings carry their edits. Touches no byte beside them. The CLI shows what it returns
and writes the file.
"""

from __future__ import annotations

from taskmaster_core.config.check import read_tables
from taskmaster_core.config.source import Edit, Source
from taskmaster_core.config.values import clipped

_BOM = b"\xef\xbb\xbf"
_ROUNDS = 3  # a key that was foreign may hold a value that is


def fix(text: bytes) -> tuple[bytes, list[str]]:
    """Return the text with everything mechanical mended, and a sentence for each change."""
    changes: list[str] = []
    if text.startswith(_BOM):
        text = text.removeprefix(_BOM)
        changes.append("took the byte order mark out")
    windows = b"\r\n" in text
    for _ in range(_ROUNDS):
        source = Source("", text)
        read_tables(source)
        edits = [edit for finding in source.findings for edit in finding.edits]
        if not edits:
            break
        text, said = _apply(source, edits, windows=windows)
        changes += said
    return text, changes


def _apply(source: Source, edits: list[Edit], *, windows: bool) -> tuple[bytes, list[str]]:
    raw = source.text.encode()
    places = source.places
    spots = []
    for edit in edits:
        span = (places.values if edit.at == "value" else places.keys).get(edit.path)
        if span is not None:
            spots.append((span.start, span.end, edit.new))
    said = []
    spots = _first_of_each(sorted(set(spots)))
    for start, end, new in reversed(spots):
        line = raw.count(b"\n", 0, start) + 1
        said.append(f"line {line}: {clipped(raw[start:end].decode())} became {clipped(new)}")
        raw = raw[:start] + new.encode() + raw[end:]
    return (raw.replace(b"\n", b"\r\n") if windows else raw), said[::-1]


def _first_of_each(spots: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Drop edits that overlap: two foreign words for one of our keys."""
    kept: list[tuple[int, int, str]] = []
    for spot in spots:
        if not kept or spot[0] >= kept[-1][1]:
            kept.append(spot)
    return kept
