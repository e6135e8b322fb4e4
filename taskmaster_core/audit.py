"""Write down who asked for what: an event for every request that acts, and for every refusal.

It decides what of a request is told (never a value that could be secret) and how often a refusal is repeated. The
operations call it before anything is done, so that the line is there whatever comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Asked
from taskmaster_core.wire import Cause

TOLD = frozenset({
    "wait", "timeout", "n", "widths", "signal", "confirmed", "autostart", "keep_core", "plan", "undo", "except",
    "number", "what",
})  # fmt: skip
"""Arguments whose values are written down; of others only the name."""

PAUSE = 1.0
"""Seconds between two lines about refusals to one peer: a client that insists must not fill the journal."""

LONGEST = 200
MOST_PEERS = 256


class Audit:
    """Hold what was told of late."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._untold: dict[tuple[str, str], int] = {}
        """Refusals that were not written down, by peer and operation, since the last that was."""

    def asked(self, asked: Asked) -> None:
        """Write down a request that acts, before it does."""
        # Not under the id of the request: a later core takes events with an id for its effects (`Ops.seen`).
        cause = Cause("operator", who=asked.peer.who)
        self._runtime.fact("asked", cause, **_said(asked), request=asked.request.id)

    def denied(self, asked: Asked, error: TaskmasterError) -> None:
        """Write down a refusal; of many to one peer within a second one line."""
        key = (asked.peer.principal, asked.request.op)
        if key in self._untold:
            self._untold[key] += 1
        elif len(self._untold) < MOST_PEERS:
            self._untold[key] = 0
            self._tell(asked, error, 1)
            self._runtime.timers.at(self._runtime.now() + PAUSE, lambda: self._sum_up(key, asked, error))

    def _sum_up(self, key: tuple[str, str], asked: Asked, error: TaskmasterError) -> None:
        times = self._untold.pop(key)
        if times:
            self._tell(asked, error, times)

    def _tell(self, asked: Asked, error: TaskmasterError, times: int) -> None:
        peer = asked.peer
        said = _said(asked) | {"who": peer.who, "role": peer.role.word, "reason": error.message, "times": times}
        self._runtime.fact("denied", Cause("operator", who=peer.who), **said)


def _said(asked: Asked) -> dict[str, Any]:
    request = asked.request
    select = [each[:LONGEST] for each in request.select[:20]]
    args = {name[:40]: _value(name, value) for name, value in list(request.args.items())[:20]}
    return {"op": request.op[:40], "select": select, "args": args}


def _value(name: str, value: Any) -> Any:
    if name not in TOLD:
        return "…"
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key)[:LONGEST]: _value(name, each) for key, each in list(value.items())[:20]}
    return str(value)[:LONGEST]
