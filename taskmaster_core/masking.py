"""Take what looks like a secret out of a command line, before it leaves the core.

It decides by the names of options and variables (`--password`, `API_TOKEN=`) and by the form of addresses
(`//user:password@host`); what is secret and is not named so cannot be known. Pure. Plans, views and config problems
are told through it; the process itself gets every word as it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "••••"

_NAME = re.compile(r"(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]++")
_SECRET = re.compile(
    r"password|passwd|passphrase|secret|token|credential|(?:api|private|access|auth)[-_]?key|(?:^|[-_.])(?:pass|pwd)$",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(?:file|path|dir)$", re.IGNORECASE)
"""What a secret is in may be told."""

_VALUE = r"(?:'[^']*+'|\"(?:[^\"\\]|\\.)*+\"|[^\s'\";&|)]++)"
_ASSIGNED = re.compile(rf"([\"']?[ \t]?[=:][ \t]?)(?![\"']?\$)({_VALUE})")
_FLAGGED = re.compile(rf"([\"']?,?[ \t]++)(?![\"']?[-$])({_VALUE})")  # also within an array of words
_ADDRESS = re.compile(r"(://[^\s/:@]*+:)([^\s/@]++)(?=@)")


def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None and _PLACE.search(name) is None


def masked(text: str) -> str:
    """Return a text without the values of names that look secret."""
    parts, at = [], 0
    for start, end in secrets_in(text):
        parts += [text[at:start], MASK]
        at = end
    return "".join(parts) + text[at:]


def secrets_in(text: str) -> list[tuple[int, int]]:
    """Return where the values of names that look secret stand, in order."""
    found = [match.span(2) for match in _ADDRESS.finditer(text)]
    at = 0
    while (name := _NAME.search(text, at)) is not None:
        at = name.end()
        if _is_secret(name[0]):
            flag = name[0].startswith("-")
            value = _ASSIGNED.match(text, at) or (_FLAGGED.match(text, at) if flag else None)
            if value is not None:
                found.append(value.span(2))
                at = value.end()
    return _apart(sorted(found))


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans without those that begin within the one before."""
    found: list[tuple[int, int]] = []
    for span in spans:
        if not found or span[0] >= found[-1][1]:
            found.append(span)
    return found


def masked_words(words: Iterable[str]) -> list[str]:
    """Return the words of a command without values of names that look secret."""
    found: list[str] = []
    flag = False
    for word in words:
        found.append(MASK if flag and not word.startswith(("-", "$")) else masked(word))
        flag = word.startswith("-") and _NAME.fullmatch(word) is not None and _is_secret(word)
    return found
