"""The palette: any command by its name, and any job to go to.

It decides what is offered: every action that can be done now, with its key and the command line that does the same,
verbs with an object (`restart web`), and places (`goto mailer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.actions import BY_ID, SCOPES, VIEWS, available, command_line
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_VERBS = ("restart", "start", "stop", "kill", "hold", "release", "reset", "edit", "logs", "why", "goto")
"""Verbs that take a job as their object."""

_OBJECTS = 2_000
"""Jobs and processes that verbs are combined with; more only make the list long."""


class Palette(Picker[str]):
    """Return what to do: the id of an action, or `verb object`."""

    TITLE_TEXT = "Commands"
    HINT = "⏎ do it   esc close"
    PLACEHOLDER = "restart web · goto mailer · theme light · any command"
    COLUMNS: ClassVar[tuple[Column, ...]] = (
        Column("label", "", 18), Column("key", "", 7), Column("help", "", 0), Column("cli", "", 34, "left", 1),
    )  # fmt: skip

    def __init__(self, app: TaskmasterApp) -> None:
        super().__init__(list(_actions(app)))
        self._known = app
        self._objects: list[Entry] | None = None

    def chosen(self, entry_id: str) -> None:
        """Return it."""
        self.dismiss(entry_id)

    def on_input_changed(self) -> None:
        """Offer verbs with objects once something is typed: thousands of them are nothing to look at."""
        if self._objects is None:
            self._objects = list(_with_objects(self._known))
            self.entries.replace([*_actions(self._known), *self._objects])


def _actions(app: TaskmasterApp) -> Iterator[Entry]:
    """Yield the actions of the view that is shown first, then those of everywhere."""
    context = app.context
    chosen = app.view.selection() if app.view is not None else None
    scopes = (*VIEWS[app.main.view_name], "global")
    for scope in scopes:
        for action in SCOPES[scope]:
            if not available(action, context) or action.group == "Move" or action.id == "app.palette":
                continue
            selection = " ".join(chosen.selectors) if chosen else "SEL"
            line = command_line(action, clean(selection), clean(chosen.job) if chosen else "JOB")
            cells = ((action.label, ""), (app.key_of(action.id), "accent"), (action.help, "dim"), (line, "dim"))
            yield Entry(action.id, cells, f"{action.label}\n{action.help} {action.id} {line}".lower())
    for theme in ("dark", "light", "colourblind", "mono", "terminal", "terminal-light"):
        cells = ((f"theme {theme}", ""), ("", ""), ("another look", "dim"), ("", ""))
        yield Entry(f"theme {theme}", cells, f"theme {theme}")


def _with_objects(app: TaskmasterApp) -> Iterator[Entry]:
    jobs = app.world.jobs
    names = [*jobs, *(key for job in jobs.values() if len(job.procs) > 1 for key in job.procs)]  # jobs are meant more
    context = app.context
    acts = available(BY_ID["job.restart"], context._replace(rows=True))
    verbs = [verb for verb in _VERBS if acts or verb in ("goto", "logs")]
    for verb in verbs:
        for name in names[: _OBJECTS // len(_VERBS)]:
            shown = clean(f"{verb} {name}")
            line = "" if verb == "goto" else f"taskmaster {shown}"
            yield Entry(f"{verb} {name}", ((shown, ""), ("", ""), ("", ""), (line, "dim")), shown.lower())
