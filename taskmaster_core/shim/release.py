"""Which release this shim is of, and which versions of the wire and of its own state it speaks.

Decides what fits together: numbers, and one function that compares them. The `hello` to the core tells them, the
rehearsal of a renewal (`renewal`) asks them; a test holds the release to that of the package.
"""

from __future__ import annotations

RELEASE = "0.1.0"
"""The release of the package; the shim cannot import it from there."""

WIRE = 2
"""The version of docs/shim-protocol.md: 2 has `renew`."""

OLDEST_WIRE = 1
"""The oldest version of the wire that a core may want, for this shim to serve it."""

STATE = 1
"""The version of what `state` writes. More fields do not change it; a shim that would misread an older state does."""

OLDEST_STATE = 1


class Unfit(Exception):
    """Tell that a state cannot be gone on with, and why."""


def judge(version: object) -> None:
    """Raise Unfit for a state of a version that we do not read."""
    if not isinstance(version, int) or not OLDEST_STATE <= version <= STATE:
        known = f"{OLDEST_STATE} to {STATE}" if OLDEST_STATE < STATE else str(STATE)
        raise Unfit(f"the running shim's state is of version {version}, and release {RELEASE} reads version {known}")
