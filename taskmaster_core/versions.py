"""Say whether a shim and a core of different releases understand each other, and which is to be upgraded first.

Pure: numbers of the wire (docs/shim-protocol.md), compared. A core that comes up asks it, and the rehearsal of a core
that would replace another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIRE = 2
"""The version of the wire to the shim that this core speaks: 2 has `renew`."""

OLDEST_WIRE = 1
"""The oldest version of the wire with which this core can work."""

RENEWS = 2
"""From this version on a shim can be renewed in place, and tries a core before it is ended."""

UNKNOWN = "before 0.1.0"
"""The release of a shim that does not tell it."""


def of(hello: Mapping[str, Any]) -> tuple[str, int]:
    """Return the release and the wire of a shim, by its `hello`."""
    return str(hello.get("release") or UNKNOWN), int(hello.get("v") or 1)


def misfit(shim: Mapping[str, Any]) -> str:
    """Return why this core cannot work with a shim that says this of itself; "" if it can."""
    wire, oldest = shim.get("wire", shim.get("v", 1)), shim.get("oldest_wire", shim.get("oldest_v", 1))
    release = shim.get("release") or UNKNOWN
    if wire < OLDEST_WIRE:
        return (
            f"the shim that runs (release {release}, wire {wire}) is too old for this core, which needs wire "
            f"{OLDEST_WIRE}: upgrade the shim first (taskmaster upgrade --shim)"
        )
    if oldest > WIRE:
        return (
            f"this core speaks wire {WIRE}, and the shim that runs (release {release}) serves cores from wire "
            f"{oldest} on: it is of a newer release; downgrade the shim first (taskmaster upgrade --shim)"
        )
    return ""
