"""Tell the time by the core's clock: what it reports is as old as that clock says, wherever the client runs.

It decides which clock counts, and when the difference between two machines is worth a word. Every command that shows
an age or asks for one comes here.
"""

from __future__ import annotations

from time import time
from typing import Any

from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import Out, span
from taskmaster_core.logs.when import parse_when

APART = 5.0
"""Seconds by which two clocks differ when people are told; an answer is not under way for so long."""

_LATER = 10 * 86400.0
"""Seconds after which whatever counts from now means something else."""


def of(told: dict[str, Any]) -> float:
    """Return the time an answer was given at, by the core's clock; by ours if the core does not tell."""
    return float(told.get("now") or time())


def when(call: Call, text: str) -> float:
    """Return the Unix time that `text` means to the core at this moment; raise UsageError."""
    here = time()
    at = parse_when(text, here)  # what means nothing needs no core
    same = at == parse_when(text, here + _LATER)
    return at if same else parse_when(text, of(call.ask("ping", [])))


def compare(out: Out, now: float) -> None:
    """Say on stderr that the core's clock, which told `now`, is not ours."""
    ahead = now - time()
    if abs(ahead) >= APART:
        way = "ahead of" if ahead > 0 else "behind"
        out.hint(f"the core's clock is {span(abs(ahead))} {way} this machine's; ages are counted by the core's")
