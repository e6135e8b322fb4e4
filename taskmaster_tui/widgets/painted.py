"""Bare widgets: lines painted straight into strips, styles taken from the theme once, a scroll bar of one column.

Decides how roles become styles and how wheel, track and thumb move the first line. Does not know what is painted. It
passes Textual's StylesCache by, so borders and padding belong to a container around it, and `outer_size`, which costs a
twentieth of `size`, is what there is to paint on. `RowTree`, `PulseGrid` and `Chart` are made of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from taskmaster_tui.themes import ROLES
from taskmaster_tui.widgets.cells import Span, merged

NARROW = 4  # cells: with less a widget stays empty, its parts need not think of it

_MORE = {
    "failed": "text-style: bold;",
    "title": "text-style: bold;",
    "match": "background: $role-match; color: $role-title;",
    "current": "background: $role-current; color: $role-title; text-style: bold;",
}
"""What a role is beside its colour; the themes have the grounds of what was searched for, not its colour."""

ROLE_CSS = {role: _MORE.get(role, "") if role in ("match", "current") else f"color: $role-{role}; {_MORE.get(role, '')}"
            for role in ROLES}  # fmt: skip
"""Every role and what it looks like; the app gives `themes.DEFAULTS` to themes that do not know them."""


def component_classes(prefix: str, *more: str) -> set[str]:
    """Return the component classes of the roles, and of `more` parts, for a widget of that prefix."""
    return {f"{prefix}--{name}" for name in (*ROLE_CSS, *more)}


def role_css(prefix: str, **more: str) -> str:
    """Return CSS rules for the roles, and for `more` parts, to stand inside a widget's DEFAULT_CSS."""
    parts = {name.replace("_", "-"): rules for name, rules in more.items()}
    return "\n".join(f"& > .{prefix}--{name} {{ {rules} }}" for name, rules in {**ROLE_CSS, **parts}.items() if rules)


class Painted(Widget):
    """A widget that paints whole lines itself: subclasses write `paint_line`."""

    ALLOW_SELECT = False
    PREFIX: ClassVar[str] = "painted"
    """Begins the names of its component classes."""

    ascii = False
    """Whether to paint with ASCII alone; follows the app's `glyphs`."""

    past = False
    """Whether to paint dimmed: nobody tells any more whether it is still so. Follows the screen's class `-past`."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id, classes=classes)
        self._looks: dict[tuple[str, ...], Style] = {}
        self._ground: object = None

    @property
    def more(self) -> str:
        """What cut text ends in."""
        return "~" if self.ascii else "…"

    @abstractmethod
    def paint_line(self, y: int) -> Strip:
        """Return the whole line `y`, in exactly the width of the widget."""

    def restyled(self) -> None:
        """Forget what was painted: colours or glyphs changed."""

    def look(self, *roles: str) -> Style:
        """Return the style of the roles, later ones over earlier ones; unknown ones are plain."""
        style = self._looks.get(roles)
        if style is None:
            style = self._looks[roles] = self._new_look(roles)
        return style

    def segments(self, spans: Iterable[Span], *over: str) -> list[Segment]:
        """Return the spans as Textual paints them; the `over` roles lie over each of theirs."""
        return [Segment(text, self.look(role, *over)) for text, role in merged(spans)]

    def strip(self, spans: Iterable[Span]) -> Strip:
        """Make a line of spans that fill the width together."""
        return Strip(self.segments(spans), self.outer_size.width)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Paint the lines of a region; called by the compositor for what must be sent again."""
        ground = self._grounded()
        width = self.outer_size.width
        if width < NARROW:
            return [Strip.blank(crop.width, self.look(""))] * crop.height
        strips = [self.paint_line(y) for y in crop.line_range]
        for line_filter in self.get_line_filters():
            strips = [strip.apply_filter(line_filter, ground) for strip in strips]
        if crop.column_span != (0, width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def notify_style_update(self) -> None:
        """Forget all styles: the theme or a class changed."""
        super().notify_style_update()
        self._looks = {}
        self.restyled()

    def _grounded(self) -> Color:
        """Return the background; forget styles if it or the glyphs changed: nobody tells a container's children."""
        ground, glyphs = self.background_colors, getattr(self.app, "glyphs", "unicode")
        past = self.screen.has_class("-past")
        if (ground, glyphs, past) != self._ground:
            self._ground = (ground, glyphs, past)
            self.past = past
            self.ascii = glyphs == "ascii"
            self.notify_style_update()
        return ground[1]

    def _new_look(self, roles: tuple[str, ...]) -> Style:
        names = [name for role in roles if role and (name := f"{self.PREFIX}--{role}") in self.COMPONENT_CLASSES]
        style = self.get_visual_style(*names).rich_style
        # a visual style leaves `reverse` out, and it is what a selection without colour is made of
        reverse = any(self.get_component_styles(name).text_style.reverse for name in names)
        return style + Style(reverse=reverse or None, dim=self.past or None)


class Scrolled(Painted):
    """A painted widget with more lines than it shows: subclasses write `total`, `shown` and `scrolled`."""

    WHEEL = 3
    """Lines per notch."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's word
        super().__init__(id=id, classes=classes)
        self.first = 0
        self._grip: int | None = None  # where the thumb is held, in lines from its beginning

    @property
    @abstractmethod
    def total(self) -> int:
        """How many lines there are."""

    @property
    @abstractmethod
    def shown(self) -> int:
        """How many of them have room."""

    @abstractmethod
    def scrolled(self) -> None:
        """Paint again: another line is the first one now."""

    @property
    def track(self) -> range:
        """The lines of the widget where the scroll bar is."""
        return range(self.outer_size.height)

    @property
    def barred(self) -> bool:
        """Whether there is a scroll bar."""
        return self.total > self.shown > 0 and self.outer_size.width > 2

    def scroll_lines(self, delta: int) -> None:
        """Move the first line, not further than there is something to show."""
        self.scroll_to_line(self.first + delta)

    def scroll_to_line(self, first: int) -> None:
        """Make `first` the first line, or the nearest one that can be."""
        first = self.clamped(first)
        if first != self.first:
            self.first = first
            self.scrolled()

    def clamped(self, first: int) -> int:
        """Return the nearest first line that leaves no room empty."""
        return max(min(first, self.total - self.shown), 0)

    def bar_at(self, y: int) -> Span:
        """Return what the scroll bar shows on line `y`, and its role."""
        if not self.barred or y not in self.track:
            return " ", ""
        begin, length = self._thumb()
        if begin <= y - self.track.start < begin + length:
            return ("#" if self.ascii else "█"), "thumb"
        return ("|" if self.ascii else "│"), "track"

    def _thumb(self) -> tuple[int, int]:
        """Return where the thumb begins on the track, and its length."""
        room = len(self.track)
        length = max(room * self.shown // max(self.total, 1), 1)
        most = max(self.total - self.shown, 1)
        # rounded so that only the very first and the very last place touch the ends
        way = self.first * (room - length)
        return (-(-way // most) if self.first * 2 < most else way // most), length

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll; the cursor stays where it is."""
        event.stop()
        self.scroll_lines(self.WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll; the cursor stays where it is."""
        event.stop()
        self.scroll_lines(-self.WHEEL)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take the thumb, or bring it here first."""
        if not self.on_bar(event):
            return
        event.stop()
        begin, length = self._thumb()
        at = event.y - self.track.start
        self._grip = at - begin if begin <= at < begin + length else length // 2
        self.capture_mouse()
        self._drag(event.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse that holds the thumb."""
        if self._grip is not None:
            event.stop()
            self._drag(event.y)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let the thumb go."""
        if self._grip is not None:
            event.stop()
            self._grip = None
            self.release_mouse()

    def on_bar(self, event: events.MouseEvent) -> bool:
        """Tell whether the mouse is on the scroll bar."""
        return self.barred and event.x >= self.outer_size.width - 1 and event.y in self.track

    def _drag(self, y: int) -> None:
        begin, length = self._thumb()
        room = len(self.track) - length
        wanted = y - self.track.start - (self._grip or 0)
        if room > 0 and wanted != begin:
            self.scroll_to_line(round(wanted * (self.total - self.shown) / room))
