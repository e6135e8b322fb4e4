"""What the five views have in common: keys by scope, a selection, and being told what changed.

A view decides nothing about other views; the main screen shows one at a time and tells it of changes while it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from textual.css.query import NoMatches
from textual.widget import Widget

from taskmaster_tui.link import Change

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp


class Selection(NamedTuple):
    """Hold what an action is about."""

    selectors: tuple[str, ...] = ()
    """As the core takes them: a job for all its processes, else processes."""
    keys: tuple[str, ...] = ()
    """Every process that is meant."""
    job: str = ""
    """The job under the cursor."""

    def __bool__(self) -> bool:
        return bool(self.selectors)


NOTHING = Selection()


class View(Widget):
    """Fill the room between header and status line."""

    DEFAULT_CSS = "View { width: 1fr; height: 1fr; }"

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    def holds(self, wanted: str | type[Widget]) -> bool:
        """Tell whether a part of it is there yet. Textual remembers what `query_one` found; `query` looks each time."""
        try:
            self.query_one(wanted)
        except NoMatches:
            return False
        return True

    def selection(self) -> Selection:
        """Return what an action is about: the marks, else the row under the cursor."""
        return NOTHING

    def has_terminal(self) -> bool:
        """Tell whether what is selected has one."""
        job = self.tm.world.job(self.selection().job)
        return job is not None and job.tty

    def given(self) -> frozenset[str]:
        """Return what else is given here at the moment: fields of `Context` that are true."""
        return frozenset()

    def changed(self, change: Change) -> None:
        """Take in what changed; called while the view is shown."""

    def shown(self) -> None:
        """Come to the front: bring everything up to date and take the focus."""

    def hidden(self) -> None:
        """Leave the front: stop what only serves the eye."""

    def tick(self) -> None:
        """Let ages grow; called once a second while the view is shown."""

    def share_room(self) -> None:
        """Share the room among the panes; called when it is another one, as by zooming."""

    async def perform_behind(self, name: str) -> bool:
        """Have a pane that has not the focus do what only it can; return False if none can."""
        return False

    def back(self) -> bool:
        """Go one step back within the view; return False if there is none."""
        return False
