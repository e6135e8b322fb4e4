"""Show how far a command has come, while the core still works on it.

It decides how changes of state look on the way: one live line on a terminal, a line per change otherwise. It reads the
`state` topic and asks nothing; `act` and `life` lend it to their requests.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import cut
from taskmaster_core.cli.pick import means
from taskmaster_core.logs.sanitize import clean

if TYPE_CHECKING:
    from taskmaster_core.client import Message, Subscription, Watch

_ERASE = "\r\x1b[K"


class Progress:
    """Hear the changes of state while a request waits."""

    def __init__(self, call: Call, doing: str, selectors: list[str]) -> None:
        self._call = call
        self._out = call.out
        self._doing = doing
        self._selectors = selectors
        self._states: dict[str, str] = {}
        self._drawn = False
        self._heard: Subscription | None = None

    def __enter__(self) -> Watch | None:
        if self._out.quiet:
            return None
        self._heard = self._call.client.subscribe(("state",))
        return self._heard, self._hear

    def __exit__(self, *_error: object) -> None:
        if self._heard is not None:
            self._heard.close()
        self._erase()

    def _hear(self, message: Message) -> None:
        processes = message.body["processes"]
        changed = {each["key"]: each["state"] for each in processes if self._concerns(each["key"])}
        news = {key: state for key, state in changed.items() if self._states.get(key) != state}
        self._states |= news
        if self._out.live:
            self._draw()
        else:
            for key, state in news.items():
                self._out.hint(f"{clean(key)} {state}")

    def _concerns(self, key: str) -> bool:
        # What a tag means is the core's knowledge; asking for it is not worth the time a progress line is seen.
        return any(selector.startswith("@") or means(selector, key) for selector in self._selectors)

    def _draw(self) -> None:
        counts = ", ".join(f"{number} {state}" for state, number in Counter(self._states.values()).most_common())
        line = cut(f"{self._doing}: {counts}", (self._out.width or 80) - 1)
        self._out.stderr.write(_ERASE + line)
        self._out.stderr.flush()
        self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._out.stderr.write(_ERASE)
            self._out.stderr.flush()
            self._drawn = False
