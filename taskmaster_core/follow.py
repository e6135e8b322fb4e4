"""Decide what a subscriber does with a sequence number it hears: hand the event on, drop it, or ask the journal.

Pure: it keeps two values and touches nothing. It does not fetch; `client` and `aclient`, which follow the events
without loss or doubles (docs/protocol.md, Events), call it for every event and every beat.
"""

from __future__ import annotations

from enum import Enum

PAGE = 5000
"""Events that one `events` request brings at most."""


class Verdict(Enum):
    """Name what to do with what was heard."""

    NEXT = "next"
    DROP = "drop"
    ASK = "ask"


class Follower:
    """Hold how far the events were seen."""

    def __init__(self, seq: int, boot: str = "") -> None:
        self.seq = seq
        self.boot = boot

    def event(self, boot: str, seq: int) -> Verdict:
        """Judge an event that was published."""
        self._meet(boot, seq - 1)
        if seq <= self.seq:
            return Verdict.DROP
        if seq > self.seq + 1:
            return Verdict.ASK
        self.seq = seq
        return Verdict.NEXT

    def beat(self, boot: str, seq: int) -> Verdict:
        """Judge a heart-beat, which tells the last number there is."""
        self._meet(boot, seq)
        return Verdict.ASK if seq > self.seq else Verdict.DROP

    def take(self, seq: int) -> bool:
        """Tell whether an event from the journal is news, and count it as seen. Old rows go: gaps are no surprise."""
        news = seq > self.seq
        self.seq = max(self.seq, seq)
        return news

    def settle(self, seq: int) -> None:
        """Count everything up to `seq` as seen: the journal was asked and has no more, so what is missing is lost."""
        self.seq = max(self.seq, seq)

    def _meet(self, boot: str, before: int) -> None:
        # A new boot goes on counting; one that starts lower has lost its journal, and what we counted is void.
        if boot != self.boot and self.boot and before < self.seq:
            self.seq = before
        self.boot = boot
