"""What the app remembers for the person: their keys and preferences, and the place where they are.

It decides when that is written: a preference at once, the place a second after it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui import keys, settings
from taskmaster_tui.actions import BY_ID

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_KEEP_AFTER = 1.0
"""Seconds from a change of place to its file: a burst of cursor keys is one write."""


class Remembering:
    """Be the part of the app that remembers."""

    _keep_timer: Any = None

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self)

    @property
    def keymap(self) -> dict[str, str]:
        """Return the keys that differ from the table's."""
        return keys.merged(self.tm.preferences.preset, self.tm.preferences.keys)

    def key_of(self, action_id: str) -> str:
        """Return the first key of an action as people write it."""
        return keys.shown(keys.keys_of(action_id, self.tm.keymap)[0])

    def rebind(self, action_id: str, key: str) -> str:
        """Give an action another key for good ("": its own again); return why not, "" if it was done."""
        mine = {name: each for name, each in self.tm.preferences.keys.items() if name != action_id}
        if key:
            mine[action_id] = key
        before = keys.problems(self.tm.preferences.preset, self.tm.preferences.keys)
        found = [each for each in keys.problems(self.tm.preferences.preset, mine) if each not in before]
        if found:
            self.tm.say(clean(found[0]), "error")
            return clean(found[0])
        self.tm.prefer(keys=mine)
        self.tm.set_keymap(self.tm.keymap)
        self.tm.refresh_bindings()
        self.tm.say(f"{keys.shown(key) if key else 'its own key'} is now {BY_ID[action_id].label}", "good")
        return ""

    def prefer(self, **changes: Any) -> None:
        """Take a preference, and write it down for the next time."""
        for name, value in changes.items():
            setattr(self.tm.preferences, name, value)
        try:
            settings.save_preferences(settings.preferences_path(), changes)
        except (OSError, ValueError) as error:  # ValueError: the file there is makes no sense
            self.tm.say(clean(f"not kept for the next time: {error}"), "warn")

    def remember(self, **changes: Any) -> None:
        """Note where the person is; it is on disk a second later, whatever happens to us."""
        for name, value in changes.items():
            setattr(self.tm.place, name, value)
        if self._keep_timer is None:
            self._keep_timer = self.tm.set_timer(_KEEP_AFTER, self.keep_place)

    def keep_place(self) -> None:
        """Write the place down."""
        self._keep_timer = None
        settings.save_place(settings.place_path(self.tm.options.instance), self.tm.place)
