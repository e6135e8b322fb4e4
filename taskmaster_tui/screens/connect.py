"""Choose another instance on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.widgets import Input

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.model.columns import Column
from taskmaster_tui.screens.picker import Entry, Picker

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp


class Connect(Picker[str]):
    """Return the name of an instance, or the path of a socket that was typed."""

    TITLE_TEXT = "Connect"
    HINT = "⏎ connect   esc close"
    PLACEHOLDER = "an instance, or the path of a socket"
    COLUMNS: ClassVar[tuple[Column, ...]] = (Column("name", "", 24), Column("where", "", 0))

    def __init__(self, app: TaskmasterApp) -> None:
        super().__init__(list(_instances(app)))

    def chosen(self, entry_id: str) -> None:
        """Return it."""
        self.dismiss(entry_id)

    @on(Input.Submitted, "#picker-text")
    def _typed_path(self, event: Input.Submitted) -> None:
        if event.value.startswith(("/", "./", "~")):
            event.prevent_default()
            self.dismiss(os.path.abspath(os.path.expanduser(event.value)))


def _instances(app: TaskmasterApp) -> Iterator[Entry]:
    """Yield the instances that have a socket where clients look for one."""
    directories = {Path(each).parent.parent for each in app.link.health.where}
    if app.link.client.commands:
        directories.add(Path(app.link.client.commands).parent.parent)
    seen = set()
    for directory in sorted(directories):
        for socket in sorted(directory.glob("*/cmd.sock")):
            name = socket.parent.name
            if name not in seen:
                seen.add(name)
                here = " (this one)" if name == app.options.instance else ""
                # beside a core that was named by its socket, a name alone would be looked for elsewhere
                target = str(socket) if app.options.socket else name
                yield Entry(target, ((clean(name + here), ""), (clean(str(socket)), "dim")), name.lower())
