"""The colours of the names beside merged lines: one per process, the same in every session, legible on the theme.

Decides colours only; which process has which is `line_paint.colour_of`. The pager asks when the theme changes.
"""

from __future__ import annotations

import colorsys

from rich.color import Color
from rich.style import Style
from textual.color import Color as Paint
from textual.color import ColorParseError

_HUES = (210, 150, 275, 45, 185, 320, 95, 245)
"""Degrees; none near red, which means that something is wrong."""
_ANSI = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")


def label_colours(*, dark: bool, ansi: bool, grey: bool) -> list[Style]:
    """Return a style for each number of `colour_of`."""
    if grey:
        return [Style(bold=True) if number % 2 else Style.null() for number in range(len(_HUES))]
    if ansi:
        return [Style(color=name) for name in _ANSI]
    light, vivid = (0.70, 0.60) if dark else (0.33, 0.75)
    return [Style(color=_rgb(hue, light, vivid)) for hue in _HUES]


def _rgb(hue: int, light: float, vivid: float) -> Color:
    red, green, blue = (round(part * 255) for part in colorsys.hls_to_rgb(hue / 360, light, vivid))
    return Color.from_rgb(red, green, blue)


def is_grey(colour: str) -> bool:
    """Tell whether a theme does without colours, by one of its own."""
    try:
        return not colour.startswith("ansi") and Paint.parse(colour).hsl.s < 0.05
    except ColorParseError:
        return False
