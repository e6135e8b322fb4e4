"""One line below the tabs for what is wrong with the core itself: another version, its own troubles, that it ends.

It decides which of them is said; most of the time there is none, and it takes no room.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskmaster_core import __version__
from taskmaster_tui.widgets.bar import Piece
from taskmaster_tui.widgets.bars import LiveBar


class Banner(LiveBar):
    """Say the worst of it."""

    def said(self) -> str:
        """Return the sentence, "" if all is well."""
        core = self.tm.world.core
        if core is None or not self.tm.context.live:
            return ""
        if core.stopping:
            return "the core is shutting down: it stops all jobs, then ends"
        if core.troubles:
            more = f" (and {len(core.troubles) - 1} more: taskmaster doctor)" if len(core.troubles) > 1 else ""
            return f"{core.troubles[0]}{more}"
        if self.tm.link.health.version_differs:
            return f"core {core.version}, this client {__version__}: what only the newer one knows is missing"
        return ""

    def renew(self) -> None:
        """Take room only where there is something to say."""
        self.display = bool(self.said())
        self.request()

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return the sentence."""
        return [Piece(f" ! {self.said()}", "warn", bold=True)]
