"""Start the TUI: `python -m taskmaster_tui`, which `taskmaster tui` and `taskmaster up` become.

It decides nothing but the options; the line mode for plain terminals is the CLI's `status --watch`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from taskmaster_tui.options import Options


def parse(words: Sequence[str]) -> tuple[Options, bool]:
    """Return the options, and whether the line mode is wanted."""
    parser = argparse.ArgumentParser(prog="taskmaster tui", description="the full-screen terminal UI")
    parser.add_argument("--instance", default="default", help="which instance (default: default)")
    parser.add_argument("--socket", help="the core's command socket, or its directory")
    parser.add_argument("--theme", default="", help="dark, light, colourblind, mono, terminal or terminal-light")
    parser.add_argument("--glyphs", default="", choices=("", "unicode", "ascii"), help="unicode or ascii")
    parser.add_argument("--read-only", action="store_true", help="look, but offer nothing that changes anything")
    parser.add_argument("--fps", type=float, help="live frames a second at most (default: 15)")
    parser.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen, for screen readers")
    found = parser.parse_args(words)
    options = Options(
        found.instance, found.socket, found.theme, found.glyphs, found.read_only, found.fps, not found.no_mouse
    )
    return options, found.plain


def main(words: Sequence[str] | None = None) -> int:
    """Run until the person leaves; return the exit status."""
    options, plain = parse(sys.argv[1:] if words is None else words)
    environ = os.environ
    if plain or environ.get("TERM") == "dumb" or environ.get("TASKMASTER_A11Y") or not sys.stdout.isatty():
        return _lines(options)
    from taskmaster_tui import leaving  # noqa: PLC0415  # the line mode does not pay for it
    from taskmaster_tui.app import TaskmasterApp  # noqa: PLC0415  # nor for this

    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # the terminal knows its size; what a parent exported was that of another moment
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        # Textual paints on stderr; with `2>file` the screen is stdout
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc]  # typeshed says final, Python does not
    app = TaskmasterApp(options)
    status = app.run(mouse=options.mouse and app.preferences.mouse)
    if app.again:
        os.execv(sys.executable, [sys.executable, "-m", "taskmaster_tui", *app.again])  # noqa: S606  # ourselves
    if app.return_code == 0 and app.world.jobs:
        counts = app.world.counts()
        leaving.last_words(
            f"Left. {counts.up} processes keep running; `taskmaster tui` comes back, `taskmaster down` ends them."
        )
    return status or app.return_code or 0


def _lines(options: Options) -> int:
    where = ["--socket", options.socket] if options.socket else ["--instance", options.instance]
    os.execv(sys.executable, [sys.executable, "-m", "taskmaster_core", *where, "status", "--watch"])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
