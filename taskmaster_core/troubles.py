"""Remember what is wrong with the core itself, in words for people, and tell once that it came and once that it went.

It does not look: whoever meets a trouble notes it here, by the part that has it (journal, log, starts …) and, where
many can have the same one, by name. Several of one part are one line: a thousand jobs may write to one full disk.
The runtime holds it; `status`, `doctor` and the banner of the TUI show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from taskmaster_core.wire import Cause

REMEDIES = {
    "journal": "make room, or find who holds it locked; it is tried again by itself",
    "eventlog": "make room for it, or set `logfile` in [taskmaster]",
    "log": "make room, or mend its directory; writing is tried again by itself each second",
    "times": "output is kept, its times are not: make room in the state directory",
    "rotation": "may its directory be written? the file grows on until then",
    "state": "make room in the state directory, or mount it writable; it is tried again by itself",
    "generations": "make room in the state directory: a core started anew would take the generation before",
    "starts": "raise what is short (see the errno: LimitNOFILE, TasksMax, memory, disk); it is tried again by itself",
    "watch": "sysctl fs.inotify.max_user_instances and max_user_watches; `taskmaster reload` works all the same",
    "shim": "is it stopped (kill -CONT PID) or starved? jobs live, their output waits in pipes",
    "terminals": "raise LimitNOFILE: without a copy of it in the core a terminal or an input ends with the shim",
    "remote": "see docs/security.md",
    "keys": "see docs/security.md",
}
"""What to do about the troubles of each part (docs/troubleshooting.md tells more)."""

_SHIM_S = ("log", "times", "rotation", "state")
"""The parts that the shim looks after (docs/shim-protocol.md, `trouble`)."""


class Troubles:
    """Hold what is in force."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._texts: dict[str, dict[str, str]] = {}

    def note(self, part: str, text: str, name: str = "") -> None:
        """Note that a part (or this one of them) is in trouble, or with an empty text that it is well again; tell it.

        A trouble that only changes its words is not told again.
        """
        if self._put(part, text, name):
            over = f"{name} is well again".lstrip()
            self._tell(f"{part}_trouble", Cause("core"), text=text or over, over=not text)

    def _put(self, part: str, text: str, name: str) -> bool:
        """Note it; return whether it came or went."""
        of_part = self._texts.setdefault(part, {})
        known = of_part.pop(name, "")
        if text:
            of_part[name] = text
        elif not of_part:
            del self._texts[part]
        return bool(text) is not bool(known)

    # What the shim tells: it says each thing once, so it is passed on whatever was known --------------------------

    def heard(self, part: str, text: str, name: str, told: Mapping[str, Any]) -> None:
        """Note a trouble that the shim told of, or its end, and pass it on; `told` is what the event says."""
        self._put(part, text, name)
        self._tell(f"{part}_trouble", Cause("shim"), **told)

    def inherit(self, listed: Iterable[Mapping[str, Any]]) -> None:
        """Take over, in silence, what an earlier core has told: the troubles that the shim still has."""
        for each in listed:
            self._put(str(each["part"]), str(each["text"]), str(each["name"]))

    def forsake(self) -> None:
        """End what the shim has told of: it died, and the next one will tell anew what it meets."""
        for part in _SHIM_S:
            for name in self.names(part):
                self._put(part, "", name)
                text = f"{name}: nothing more is known, the shim that told of it died"
                self._tell(f"{part}_trouble", Cause("shim"), path=name, text=text, over=True)

    def names(self, part: str) -> list[str]:
        """Return which ones of a part are in trouble."""
        return list(self._texts.get(part, ()))

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield the parts that are in trouble, each with one line."""
        for part, texts in self._texts.items():
            first, more = next(iter(texts.values())), len(texts) - 1
            yield part, f"{first} (and {more} more like it)" if more else first

    def lines(self) -> list[str]:
        """Return the lines alone."""
        return [line for _, line in self.items()]
