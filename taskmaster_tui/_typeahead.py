"""Keep keys in the order in which they were typed, whatever each of them opens.

It decides when a key is carried out and when the next one must wait: Textual hands every key to the widget that has the
focus at that moment and carries it out later, so `/web`, typed in one go, would be four commands. The app inherits it.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any

from textual import events
from textual.app import App
from textual.screen import Screen
from textual.timer import Timer

_LOST = 0.05
"""Seconds after which a key that has not come back up was kept by a widget."""

_SETTLED = 0.3
"""Seconds in which a dialog has given the focus to something; one that has nothing to focus does not."""


class InOrder(App[Any]):
    """An app that takes what is typed ahead for what the key before has opened."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._behind: deque[events.Key] = deque()
        self._under_way: events.Key | None = None
        self._new_screen: Screen[Any] | None = None
        self._patience: Timer | None = None
        self._until = 0.0
        super().__init__(*args, **options)

    async def on_event(self, event: events.Event) -> None:
        """Carry out keys one by one."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._under_way is not None or self._behind or self._must_wait():
            self._behind.append(event)
        else:
            await self._carry_out(event)

    async def _carry_out(self, event: events.Key) -> None:
        if await self._at_once(event):
            return
        if self._needs_its_turn(event):
            self._under_way = event
            self._patience = self.set_timer(_LOST, self._soon)
        await super().on_event(event)

    async def _at_once(self, event: events.Key) -> bool:
        """Run the action of a key where no text is typed and no dialog is open; return False if there is none."""
        if not self.app_focus or self.screen.maximized is not None or self.screen.is_modal or self._is_typing():
            return False
        bound = any(event.key in bindings.key_to_bindings for _, bindings in self.screen._modal_binding_chain)  # noqa: SLF001
        if not bound:
            return False
        self.before_key(event)
        return await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key)

    def before_key(self, event: events.Key) -> None:
        """Be told of a key that is carried out at once."""

    def _is_typing(self) -> bool:
        return self.focused is not None and self.focused.check_consume_key("a", "a")

    def _needs_its_turn(self, event: events.Key) -> bool:
        """Tell whether a key may move the focus: one in a field that is no letter, or any in a dialog."""
        if not self._is_typing():
            return self.screen.is_modal
        return self.focused is not None and not self.focused.check_consume_key(event.key, event.character)

    def _must_wait(self) -> bool:
        """Tell whether a dialog has just been opened and nothing in it has the focus yet."""
        screen = self.screen
        if not screen.is_modal or screen.focused is not None or screen is self._new_screen:
            return False
        self._new_screen = screen
        # by the clock, not by ticks: Textual leaves out the ticks that a busy loop missed
        self._until = monotonic() + _SETTLED
        self._patience = self.set_interval(0.01, self._look)
        return True

    def _look(self) -> None:
        if self.screen.focused is not None or self.screen is not self._new_screen or monotonic() > self._until:
            self._soon()

    def _soon(self) -> None:
        """Go on, but not in the task of a timer: that is cancelled where the timer is stopped, and the keys with it."""
        if self._patience is not None:
            self._patience.stop()
            self._patience = None
        self.call_later(self._next)

    def _on_key(self, event: events.Key) -> None:  # type: ignore[override]  # Textual calls it beside App's
        if event is self._under_way:
            # what the action asks for by `call_later`, the focus above all, comes first
            self.call_later(self.call_later, self._next)

    async def _next(self) -> None:
        """Go on with the keys that had to wait."""
        if self._patience is not None:
            self._patience.stop()
            self._patience = None
        self._under_way = None
        while self._behind and self._under_way is None and not self._must_wait():
            await self._carry_out(self._behind.popleft())
