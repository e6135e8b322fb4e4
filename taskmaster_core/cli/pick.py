"""Tell on this side which processes selectors mean, for what arrives unasked: states, events, growing files.

It decides by name and index; what a tag means is asked of the core once. Requests carry their selectors to the core,
which is the one that refuses a selector that matches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from taskmaster_core.cli.call import Call


def means(selector: str, key: str) -> bool:
    """Tell whether a selector without a tag means this process (`web:0`) or job (`web`)."""
    job, colon, index = key.rpartition(":") if ":" in key else (key, "", "")
    head, wants_index, wanted = selector.rpartition(":")
    name = head if wants_index else selector
    if name != "all" and not fnmatchcase(job, name):
        return False
    return not wants_index or not colon or fnmatchcase(index, wanted)


class Picker:
    """Hold the selectors of a call, tags resolved to the names of their jobs."""

    def __init__(self, selectors: Iterable[str]) -> None:
        self.selectors = list(selectors)

    @classmethod
    def of(cls, call: Call, selectors: list[str]) -> Picker:
        """Return the picker of these selectors; raise NoSuchJob for one that matches nothing."""
        plain = [each for each in selectors if not each.startswith("@")]
        tags = [each for each in selectors if each.startswith("@")]
        jobs = call.ask("status", tags)["jobs"] if tags else []
        return cls([*plain, *(job["name"] for job in jobs)])

    def picks(self, key: str) -> bool:
        """Tell whether this process or job was selected; no selectors select everything."""
        return not self.selectors or any(means(selector, key) for selector in self.selectors)
