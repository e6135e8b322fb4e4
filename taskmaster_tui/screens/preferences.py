"""The settings: theme, glyphs, keys, times, kept in ui.toml with its comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from taskmaster_tui import keys, settings, themes
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_CHOICES: dict[str, tuple[tuple[Any, ...], str]] = {
    "theme": (themes.NAMES, "dark, light, safe for the colour-blind, without colour, or the terminal's own"),
    "glyphs": (("unicode", "ascii"), "signs; ascii for fonts that lack them (after the next start)"),
    "preset": (tuple(keys.PRESETS), "keys as in another program; F2 in the keys sheet changes one"),
    "time": (("clock", "date", "relative", "delta", "off"), "the time column of output, at first"),
    "wrap": ((False, True), "long lines of output: cut, or wrapped"),
    "mouse": ((True, False), "whether the mouse is ours (after the next start)"),
    "cursor": ((True, False), "keep the terminal's cursor on the row, for Braille (after the next start)"),
    "bell": ((True, False), "ring when something fails while the terminal is not looked at"),
}


class Settings(Picker[None]):
    """Change a preference with Enter; it holds at once and for the next time."""

    TITLE_TEXT = "Settings"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("name", "", 10), Column("value", "", 18), Column("help", "", 0),
    )  # fmt: skip

    def __init__(self, app: TaskmasterApp) -> None:
        self._known = app
        super().__init__(list(self._rows()))
        self.HINT = f"⏎ next value   esc close   {settings.preferences_path()}"

    def _rows(self) -> Iterator[Entry]:
        for name, (_, told) in _CHOICES.items():
            value = self._value(name)
            shown = {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
            yield Entry(name, ((name, ""), (shown, "accent"), (told, "dim")), f"{name}\n{told} {shown}".lower())

    def _value(self, name: str) -> Any:
        return self._known.theme if name == "theme" else getattr(self._known.preferences, name)

    def chosen(self, entry_id: str) -> None:
        """Take the next value."""
        choices = _CHOICES[entry_id][0]
        value = self._value(entry_id)
        following = choices[(choices.index(value) + 1) % len(choices)] if value in choices else choices[0]
        self._known.prefer(**{entry_id: following})
        if entry_id == "theme":
            self._known.theme = following
        elif entry_id == "preset":
            self._known.set_keymap(self._known.keymap)
        self.entries.replace(list(self._rows()))
        self.entries.search(self.text)
        self.rowtree.rows_changed()
        self.rowtree.dirty()
