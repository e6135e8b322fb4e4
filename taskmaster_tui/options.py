"""What the command line of the TUI said."""

from __future__ import annotations

from typing import NamedTuple


class Options(NamedTuple):
    """Hold the options; None and "": not given."""

    instance: str = "default"
    socket: str | None = None
    theme: str = ""
    glyphs: str = ""
    read_only: bool = False
    fps: float | None = None
    """Frames a second at most."""
    mouse: bool = True

    @property
    def where(self) -> tuple[str, ...]:
        """Return the words that name this core to our own command; none for the one it takes by itself."""
        if self.socket:
            return ("--socket", self.socket)
        return ("--instance", self.instance) if self.instance != "default" else ()
