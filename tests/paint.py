"""What tests of a single widget share: an app that hosts it, and eyes on what it paints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from rich.cells import cell_len
from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget

from taskmaster_tui.live import live_of
from taskmaster_tui.themes import DEFAULTS, all_themes


class Host(App[None]):
    """Shows one widget and keeps what it says."""

    def __init__(self, widget: Widget, theme: str = "dark", glyphs: str = "unicode") -> None:
        super().__init__()
        self.hosted = widget
        self.glyphs = glyphs
        self.plain_cursor = False
        self.heard: list[Message] = []
        self.fresh_theme = theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return dict(DEFAULTS)

    def compose(self) -> ComposeResult:
        yield self.hosted

    def on_mount(self) -> None:
        for theme in all_themes():
            self.register_theme(theme)
        self.theme = self.fresh_theme

    def said(self, kind: type[Message]) -> list[Any]:
        """Return the messages of that kind, the oldest first, each once: the hook sees them bubble."""
        return list({id(message): message for message in self.heard if isinstance(message, kind)}.values())


@asynccontextmanager
async def hosted(
    widget: Widget, size: tuple[int, int] = (60, 12), *, focus: bool = True, **options: Any
) -> AsyncIterator[Any]:
    """Run an app with the widget alone; everything it says is in `pilot.app.heard`."""
    app = Host(widget, **options)
    async with app.run_test(size=size, message_hook=app.heard.append) as pilot:
        await pilot.pause()
        if focus:
            widget.focus()
        else:
            app.set_focus(None)
        await pilot.pause()
        yield pilot


def segments(widget: Widget, y: int) -> list[Segment]:
    """Return line `y` of the widget as it would be painted."""
    width = widget.size.width
    return list(widget.render_lines(Region(0, y, width, 1))[0])


def line(widget: Widget, y: int) -> str:
    """Return the text of a line; it must fill the width exactly."""
    text = "".join(segment.text for segment in segments(widget, y))
    assert cell_len(text) == widget.size.width, (cell_len(text), text)
    return text


def lines(widget: Widget) -> list[str]:
    """Return the text of all lines."""
    return [line(widget, y) for y in range(widget.size.height)]


async def frame(pilot: Pilot[None]) -> None:
    """Have the live frame painted that was asked for."""
    live_of(pilot.app.hosted).flush()  # type: ignore[attr-defined]
    await pilot.pause()


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Wait until the condition holds."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
