"""An app of one widget, and what tests of the pager ask of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from textual.app import App, ComposeResult
from textual.widget import Widget

from taskmaster_tui import themes
from taskmaster_tui.widgets.line_canvas import LineCanvas


class One(App[None]):
    """Show one widget with the product's themes."""

    def __init__(self, widget: Widget, *, theme: str = "dark") -> None:
        super().__init__()
        self.widget = widget
        self._theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(themes.DEFAULTS)

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        for theme in themes.all_themes():
            self.register_theme(theme)
        self.theme = self._theme


async def until(true: Callable[[], object], seconds: float = 10) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come true in time")
        await asyncio.sleep(0.005)


def shown(pager: LineCanvas) -> list[str]:
    """Return what the pager paints, line by line, without the scroll bar."""
    region = pager.region.reset_offset
    return [strip.text[:-1].rstrip() for strip in pager.render_lines(region)]
