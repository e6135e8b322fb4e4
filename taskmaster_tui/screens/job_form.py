"""Fill in a form for a new job: checked as it is typed, saved to the file with its comments preserved.

It decides which keys are asked for; what is right is our own command's to say (`taskmaster add --dry-run`), and it is
that command which writes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Input, Label, Select, Static, Switch

from taskmaster_core.logs.sanitize import clean
from taskmaster_tui import outside

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp

_REST = 0.35
"""Seconds without a key until what was typed is checked."""

_FIELDS = (
    ("name", "Name", "web"),
    ("cmd", "Command", "python3 -m http.server 8000"),
    ("numprocess", "Processes", "1"),
    ("workingdir", "Directory", "the config file's"),
    ("description", "Description", ""),
    ("env", "Environment", "PORT=8000 LOG_LEVEL=info"),
)


class JobForm(ModalScreen[bool]):
    """Return whether a job was added."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Leave it"), ("ctrl+s", "save", "Save")]

    def __init__(self) -> None:
        super().__init__()
        self._checked: Timer | None = None
        self._valid = False

    @property
    def tm(self) -> TaskmasterApp:
        """Return the app by its own type."""
        return cast("TaskmasterApp", self.app)

    def compose(self) -> ComposeResult:
        """Lay out the fields, what will be written, and the ways out."""
        with Vertical(classes="dialog wide form") as dialog:
            dialog.border_title = Content("New job")
            dialog.border_subtitle = Content("tab next field   ^s save and start   esc leave it")
            for name, label, hint in _FIELDS:
                with Horizontal(classes="field"):
                    yield Label(label)
                    yield Input(placeholder=hint, compact=True, id=f"field-{name}",
                                type="integer" if name == "numprocess" else "text")  # fmt: skip
            with Horizontal(classes="field"):
                yield Label("Restart")
                yield Select(
                    [("when it fails", "on-error"), ("always", "always"), ("never", "never")],
                    value="on-error", allow_blank=False, compact=True, id="field-restart",
                )  # fmt: skip
            with Horizontal(classes="field"):
                yield Label("Through a shell")
                yield Switch(value=False, id="field-shell")
                yield Label("Start with the core", classes="second")
                yield Switch(value=True, id="field-autostart")
            with VerticalScroll(classes="preview"):
                yield Static("", id="form-says")
            with Horizontal(classes="buttons"):
                yield Button("Leave it (esc)", id="leave", compact=True)
                yield Button("Save and start (^s)", id="save", variant="primary", compact=True, disabled=True)

    def on_mount(self) -> None:
        """Type the name first."""
        self.query_one("#field-name").focus()

    # Checking ---------------------------------------------------------------------------------------------------------

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Switch.Changed)
    def _changed(self) -> None:
        if self._checked is not None:
            self._checked.stop()
        self._checked = self.set_timer(_REST, lambda: self.run_worker(self._check(), group="check", exclusive=True))

    async def _check(self) -> None:
        if not self._text("name") or not self._text("cmd"):
            self._say("Name and command are needed.", valid=False)
            return
        status, out, err = await outside.quietly(self._command("--dry-run", "--json"))
        told = _answer(out)
        if status == 0:
            where = clean(str(told.get("file", "")))
            self._say(f"Will be added to {where}:\n\n{clean(str(told.get('text', '')))}", valid=True)
            return
        problems = told.get("problems")
        found = problems if isinstance(problems, list) else []
        lines = [f"{each.get('message')}\n  {each.get('help', '')}" for each in found]
        self._say(clean("\n".join(lines) or err.strip() or f"status {status}"), valid=False)

    def _say(self, text: str, *, valid: bool) -> None:
        self._valid = valid
        self.query_one("#form-says", Static).update(Content(text))
        self.query_one("#form-says").set_class(not valid, "wrong")
        self.query_one("#save", Button).disabled = not valid

    def _command(self, *more: str) -> list[str]:
        core = self.tm.world.core
        files = [word for path in core.config[:1] for word in ("-f", path)] if core is not None else []
        return outside.cli(
            self.tm.options.instance, self.tm.options.socket, *files, "add", *more, *self._sets(), self._text("name"),
            "--", *self._words(),
        )  # fmt: skip

    def _words(self) -> list[str]:
        """Return the command in the words a config would make of it; for a shell, and where it is torn, as it is."""
        text = self._text("cmd")
        if self.query_one("#field-shell", Switch).value:
            return [text]
        try:
            return shlex.split(text)
        except ValueError:  # a quotation that is not closed: the config's own check says where
            return [text]

    def _sets(self) -> Iterator[str]:
        """Yield `--set key=value` for what differs from the defaults."""
        for name in ("workingdir", "description"):
            if self._text(name):
                yield from ("--set", f"{name}={json.dumps(self._text(name))}")
        if self._text("numprocess"):
            yield from ("--set", f"numprocess={self._text('numprocess')}")
        pairs = [each.partition("=") for each in self._text("env").split() if "=" in each]
        if pairs:
            inner = ", ".join(f"{json.dumps(key)} = {json.dumps(value)}" for key, _, value in pairs)
            yield from ("--set", f"env={{ {inner} }}")
        restart = self.query_one("#field-restart", Select).value
        if restart != "on-error":
            yield from ("--set", f'restart="{restart}"')
        for name, default in (("shell", False), ("autostart", True)):
            value = self.query_one(f"#field-{name}", Switch).value
            if value is not default:
                yield from ("--set", f"{name}={'true' if value else 'false'}")

    def _text(self, name: str) -> str:
        return self.query_one(f"#field-{name}", Input).value.strip()

    # Ways out ---------------------------------------------------------------------------------------------------------

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "save":
            self.action_save()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Add nothing."""
        self.dismiss(result=False)

    def action_save(self) -> None:
        """Write it, and let the core take it."""
        if self._valid and not self.tm.busy_with("save"):
            self._say("saving…", valid=True)
            self.run_worker(self._save(), group="save")

    async def _save(self) -> None:
        status, out, err = await outside.quietly(self._command())
        if status not in (0, 1):
            self._say(clean(err.strip() or out.strip() or f"status {status}"), valid=False)
            return
        said = (err or out).strip().splitlines()
        self.tm.say(clean(said[-1] if said else "added"), "good" if status == 0 else "warn")
        self.dismiss(result=True)


def _answer(out: str) -> dict[str, object]:
    try:
        found = json.loads(out)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
