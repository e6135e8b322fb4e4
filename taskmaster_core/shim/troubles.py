"""What the shim itself cannot do as it should, told once when it begins and once when it is over.

Decides only that: who meets a trouble notes it here, under its part and the name of what has it. The next core is told
in `hello` what is still on.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Report = dict[str, Any]


class Troubles:
    """Hold what is on."""

    def __init__(self, tell: Callable[[Report], None]) -> None:
        self._tell = tell
        self._on: dict[tuple[str, str], str] = {}

    def note(self, part: str, name: str, text: str) -> None:
        """Note a trouble in words; without words that it is over. Nothing new is told again."""
        known = self._on.pop((part, name), "")
        if text:
            self._on[part, name] = text
        if bool(text) is not bool(known):
            self._tell({"t": "trouble", "part": part, "name": name, "text": text, "over": not text})

    def bring_back(self, listed: Iterable[Report]) -> None:
        """Go on with what the release before us had on and told."""
        self._on.update({(each["part"], each["name"]): each["text"] for each in listed})

    def has(self, part: str, name: str) -> bool:
        """Tell whether it is on."""
        return (part, name) in self._on

    def listed(self) -> list[Report]:
        """Return all that is on."""
        return [{"part": part, "name": name, "text": text} for (part, name), text in self._on.items()]
