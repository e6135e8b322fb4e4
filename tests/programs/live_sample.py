"""A small app on live.py: a flooding pane, a line that counts keys, the governor's word. For tests and measurements."""

from __future__ import annotations

import argparse
import time

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from taskmaster_tui._textual_compat import Governed
from taskmaster_tui.live import live_of

STYLES = [
    Style(color=f"rgb({60 + 20 * n},{200 - 15 * n},120)", bgcolor="rgb(18,20,24)", bold=n % 3 == 0) for n in range(8)
]


beat = ""


class Flood(Widget, can_focus=True):
    DEFAULT_CSS = "Flood { height: 1fr; }"

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.began, self.painted = rate, time.monotonic(), 0

    @property
    def n(self) -> int:
        return int((time.monotonic() - self.began) * self.rate)

    def on_mount(self) -> None:
        if self.rate:
            self.set_interval(1 / 50, lambda: live_of(self).request(self))

    def paint_live(self) -> None:
        self.painted += 1
        self.refresh()

    def render_lines(self, crop) -> list[Strip]:
        n, width, height = self.n, self.size.width, self.size.height
        return [self.line(n - height + y, width).crop(crop.x, crop.right) for y in crop.line_range]

    def line(self, n: int, width: int) -> Strip:
        words = [f"line {n:>8} ", "GET /api/v1/items ", f"status={200 + n % 5} ", f"{n % 997} ms ", "x" * width]
        return Strip([Segment(word, STYLES[(n + i) % 8]) for i, word in enumerate(words)]).adjust_cell_length(width)


class Sample(Governed):
    def __init__(self, rate: float, fps: float, stock: bool) -> None:
        super().__init__(fps=fps)
        self.rate, self.stock, self.keys = rate, stock, 0

    def compose(self) -> ComposeResult:
        yield Static("keys=0 .", id="keys")
        yield Flood(self.rate)
        yield Static("ready", id="word")

    def on_mount(self) -> None:
        if self.stock:
            self._real_terminal = lambda: False
        self.set_interval(0.25, self.tell)

        if beat:
            self.set_interval(0.05, self.beat)

    def beat(self) -> None:
        with open(beat, "a") as file:
            file.write(f"{time.monotonic()}\n")

    def tell(self) -> None:
        word = f"<{self.governor.slow}> mute={self.governor.mute} painted={self.query_one(Flood).painted}"
        if self.rate:
            self.query_one("#word", Static).update(word)

    def on_key(self, event) -> None:
        self.keys += 1
        self.query_one("#keys", Static).update(f"keys={self.keys} {event.key}.")
        if event.key == "q":
            self.exit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--fps", type=float, default=15)
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--beat", default="", help="a file that gets the time every 50 ms")
    asked = parser.parse_args()
    beat = asked.beat
    Sample(asked.rate, asked.fps, asked.stock).run()
