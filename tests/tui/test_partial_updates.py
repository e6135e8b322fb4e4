"""What a live frame costs: only widgets that something changed in are rendered, and the picture is the same."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.geometry import Region
from textual.strip import Strip
from textual.widgets import Static

from taskmaster_tui import _textual_compat


class Counted(Static):
    rendered = 0

    def render_lines(self, crop: Region) -> list[Strip]:
        self.rendered += 1
        return super().render_lines(crop)


class Corners(App[None]):
    """Top and bottom change; what lies between is within the rectangle around both."""

    CSS = "#top, #bottom { height: 1; } #between { height: 1fr; } #left, #right { width: 1fr; }"

    def compose(self) -> ComposeResult:
        yield Counted("top", id="top")
        with Horizontal(id="between"):
            yield Counted("left", id="left")
            yield Counted("right", id="right")
        yield Counted("bottom", id="bottom")


async def test_what_lies_between_two_changes_is_not_rendered():
    assert _textual_compat.known()
    async with Corners().run_test() as pilot:
        await pilot.pause()
        parts = {each.id: each for each in pilot.app.query(Counted)}
        before = {name: each.rendered for name, each in parts.items()}
        parts["top"].update("TOP")
        parts["bottom"].update("BOTTOM")
        await pilot.pause()
        grown = {name: each.rendered - before[name] for name, each in parts.items()}
        assert grown["left"] == grown["right"] == 0
        assert grown["top"] > 0
        assert grown["bottom"] > 0


async def test_a_whole_paint_after_it_has_everything():
    async with Corners().run_test() as pilot:
        await pilot.pause()
        pilot.app.query_one("#top", Static).update("TOP")
        await pilot.pause()
        picture = "".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
        assert [word for word in ("TOP", "left", "right", "bottom") if word not in picture] == []
