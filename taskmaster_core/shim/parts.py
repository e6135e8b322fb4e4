"""The rotated parts of an output file: their names, their order, and which are too old.

Decides names and what `keep` deletes; when to rotate is decided in `sinks`. One rename makes a part, so a crash
leaves either the file or the part, never both and never neither.
"""

from __future__ import annotations

import os
import time


class Parts:
    """Know the parts of one file, oldest first."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._suffixes = _found(path)

    def next_suffix(self) -> str:
        """Return the suffix of the part that is made now; the number only ever grows."""
        number = int(self._suffixes[-1].rpartition(".")[2]) + 1 if self._suffixes else 1
        return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{number:06d}"

    def add(self, suffix: str) -> None:
        """Remember a part that was made."""
        self._suffixes.append(suffix)

    def prune(self, keep: int, index: str | None) -> None:
        """Delete the oldest parts beyond `keep`, packed or not, and their indexes."""
        while len(self._suffixes) > max(keep, 0):
            suffix = self._suffixes.pop(0)
            for path in (self._path, index):
                if path is not None:
                    _remove(f"{path}.{suffix}")
                    _remove(f"{path}.{suffix}.gz")


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # packed in the meantime, or deleted by hand: either way it is not there


def _found(path: str) -> list[str]:
    directory, base = os.path.split(path)
    found = set()
    try:
        names = os.listdir(directory or ".")
    except OSError:
        return []
    for name in names:
        if name.startswith(base + "."):
            suffix = name[len(base) + 1 :].removesuffix(".gz")
            if _is_suffix(suffix):
                found.add(suffix)
    return sorted(found, key=lambda suffix: int(suffix.rpartition(".")[2]))


def _is_suffix(text: str) -> bool:
    day, _, number = text.partition(".")
    return len(day) == 15 and day[8] == "T" and (day[:8] + day[9:]).isdigit() and len(number) >= 6 and number.isdigit()
