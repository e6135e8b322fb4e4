"""The Config view: what a reload would do, what is wrong with the file, and what was in force before.

It decides which part is shown and what is left out; the plan is the core's, and nothing is applied before it was seen.
Files are written by our own command, so that they are checked and their comments stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content

from taskmaster_core.errors import ConfigInvalid, TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_core.wire import PlanView
from taskmaster_tui.actions import VIEWS
from taskmaster_tui.bindings import bindings
from taskmaster_tui.line_source import Fixed, Row
from taskmaster_tui.link import Change
from taskmaster_tui.model import config_rows as words
from taskmaster_tui.screens.planning import ON_SAVE, Planning
from taskmaster_tui.screens.view import NOTHING, Selection
from taskmaster_tui.widgets.bar import GAP, Piece
from taskmaster_tui.widgets.bars import LiveBar
from taskmaster_tui.widgets.card import Card
from taskmaster_tui.widgets.line_pager import LinePager
from taskmaster_tui.widgets.row_tree import RowTree

PARTS = ("plan", "problems", "generations", "file")
_COLUMNS = {
    "plan": words.PLAN_COLUMNS, "problems": words.PROBLEM_COLUMNS, "generations": words.GENERATION_COLUMNS,
}  # fmt: skip


class Parts(LiveBar):
    """Name the parts, and what saving the file does."""

    def pieces(self, width: int) -> Sequence[Piece]:
        """Return the names, the chosen one set off, and the policy."""
        view = self.query_ancestor(ConfigView)
        found = [Piece(" ")]
        for name in PARTS:
            here = name == view.part
            word = f"[{name.capitalize()}]" if here else f" {name.capitalize()} "
            found.append(Piece(word, "title" if here else "dim", f"part.{name}", bold=here))
        core = self.tm.world.core
        policy = core.autoreload if core is not None else "?"
        others = " · ".join(each for each in ON_SAVE if each != policy)
        return [*found, GAP, Piece(f"on save: {policy}", "accent", "config.on_save"), Piece(f" (o: {others}) ", "dim")]

    async def on_click(self, event: events.Click) -> None:
        """Show the part that was clicked, or change the policy."""
        piece = self.piece_at(event.x)
        if piece is not None and piece.do.startswith("part."):
            event.stop()
            self.query_ancestor(ConfigView).open(piece.do.partition(".")[2])
        else:
            await super().on_click(event)


class ConfigView(Planning):
    """Show the config."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings(*VIEWS["config"]))

    def compose(self) -> ComposeResult:
        """Lay out parts, rows and what is said of the row under the cursor."""
        with Container(id="config-pane", classes="pane"):
            yield Parts(id="config-parts")
            yield Card(id="config-says")
            yield RowTree(self.rows, words.PLAN_COLUMNS, id="config-tree", marks=False)
            yield LinePager(id="config-file", now=self.tm.now, times="off")
            yield Card(id="config-more")

    def on_mount(self) -> None:
        """Begin with the plan, or with the problems if there are any."""
        core = self.tm.world.core
        problems = core.config_problems if core is not None else []
        wrong = any(each.get("severity") != "warning" for each in problems)
        self.open("problems" if wrong else "plan")

    @property
    def rowtree(self) -> RowTree:
        """Return the list."""
        return self.query_one("#config-tree", RowTree)

    # Parts ------------------------------------------------------------------------------------------------------------

    def open(self, part: str) -> None:
        """Show a part and ask for what it shows."""
        self.part = part
        self._owing = False
        self.query_one(Parts).refresh()
        self.rowtree.display = part != "file"
        self.query_one("#config-file").display = part == "file"
        if part in _COLUMNS:
            self.rows.put([])
            self.rowtree.empty = "…"
            self.rowtree.set_columns(_COLUMNS[part])
            self.rowtree.rows_changed()
            self.rowtree.focus()
        self._says("")
        self._more([])
        self.refresh_bindings()
        fetch = {"plan": self._fetch_plan, "problems": self._fetch_problems, "generations": self._fetch_generations,
                 "file": self._fetch_file}[part]  # fmt: skip
        self.run_worker(fetch(), group="config", exclusive=True)

    def do_config_next_part(self) -> None:
        """Show the next part."""
        self.open(PARTS[(PARTS.index(self.part) + 1) % len(PARTS)])

    def do_config_previous_part(self) -> None:
        """Show the part before."""
        self.open(PARTS[PARTS.index(self.part) - 1])

    def do_config_plan(self) -> None:
        """Make the plan again."""
        self.open("plan")

    async def _fetch_plan(self) -> None:
        try:
            found = await self.tm.link.call("reload", args={"plan": True}, timeout=30)
        except ConfigInvalid as error:
            self._problems = list(getattr(error, "detail", None) or [])
            self._says(clean(f"{error.message}"), "error")
            self.open_problems()
            return
        except TaskmasterError as error:
            self._owing = True
            self._says(clean(f"{error.message}"), "error")
            return
        self.plan = msgspec.convert(found, PlanView)
        self.left_out &= {row.job for row in self.plan.rows}
        self.show_plan()

    def open_problems(self) -> None:
        """Show the problems that a plan could not be made because of."""
        self.part = "problems"
        self.query_one(Parts).refresh()
        self._show_problems()

    def show_plan(self) -> None:
        """Show the plan, and what it comes to."""
        if self.plan is None:
            return
        left_out = frozenset(self.left_out)
        self.rows.put(words.plan_rows(self.plan, left_out))
        self.rowtree.rows_changed()
        core = self.tm.world.core
        generation = core.generation if core is not None else 0
        changes = self.plan.changes
        head = f"Reload plan · generation {generation} → {generation + 1}" if changes else f"Generation {generation}"
        self.query_one("#config-pane").border_title = Content(head)
        total = words.plan_totals(self.plan, left_out)
        said = "Nothing has been applied yet. " if changes else "The file says what is in force. "
        self._says(said + total, "warn" if changes else "good")
        self._explain()
        self.refresh_bindings()

    async def _fetch_problems(self) -> None:
        core = self.tm.world.core
        self._problems = [dict(each) for each in core.config_problems] if core is not None else []
        self._show_problems()

    def _show_problems(self) -> None:
        self.rowtree.set_columns(words.PROBLEM_COLUMNS)
        self.rows.put(words.problem_rows(self._problems))
        self.rowtree.empty = "no problems: the file is valid"
        self.rowtree.rows_changed()
        self.query_one("#config-pane").border_title = Content(f"Problems {len(self._problems)}")
        if self._problems:
            self._says("What runs is untouched; the config in force stays until the file is right. e edits it.", "warn")
        self._explain()

    async def _fetch_generations(self) -> None:
        try:
            self._generations = await self.tm.link.call("generations", timeout=10)
        except TaskmasterError as error:
            self._owing = True
            self._says(clean(error.message), "error")
            return
        core = self.tm.world.core
        current = core.generation if core is not None else 0
        self.rows.put(words.generation_rows(self._generations, current, self.tm.now()))
        self.rowtree.rows_changed()
        self.query_one("#config-pane").border_title = Content(f"Generations {len(self._generations)}")
        self._says("Every config that was applied. B writes one back and applies it, d shows what it would change.")

    async def _fetch_file(self) -> None:
        texts = self.texts_on_disk()
        rows = []
        for path, text in texts.items():
            rows.append(Row(f"── {path}".encode(), kind="mark", role="mark"))
            rows += [Row(line.encode("utf-8", "replace")) for line in text.splitlines()]
        pager = self.query_one("#config-file", LinePager)
        pager.set_source(Fixed(rows), follow=False)
        pager.top()
        pager.focus()
        self.query_one("#config-pane").border_title = Content("File · as it is on disk")
        self._says("e edits it: what is saved is checked, then applied as `on save` says.")

    def texts_on_disk(self) -> dict[str, str]:
        """Read the files that are in force."""
        core = self.tm.world.core
        found = {}
        for path in core.config if core is not None else ():
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    found[path] = file.read()
            except (OSError, ValueError) as error:  # a name with a NUL, from a core of another machine
                found[path] = f"# {getattr(error, 'strerror', None) or error}: not readable from here"
        return found

    # What is said -----------------------------------------------------------------------------------------------------

    def _says(self, text: str, role: str = "dim") -> None:
        self.query_one("#config-says", Card).set_lines([[Piece(f" {text}", role)]] if text else [])

    def _more(self, lines: Sequence[tuple[str, str]]) -> None:
        more = self.query_one("#config-more", Card)
        more.display = bool(lines)
        more.set_lines([[Piece(f" {text}", role)] for text, role in lines])

    @on(RowTree.Moved)
    def _moved(self) -> None:
        self._explain()
        self.refresh_bindings()

    def _explain(self) -> None:
        """Say more about the row under the cursor."""
        here = self.rowtree.cursor_id
        if self.part == "plan" and self.plan is not None:
            row = next((each for each in self.plan.rows if each.job == here), None)
            self._more(list(words.changed_fields(row)) if row is not None else [])
        elif self.part == "problems" and here is not None and here.isdigit() and int(here) < len(self._problems):
            self._more(list(words.problem_lines(self._problems[int(here)])))
        else:
            self._more([])

    def given(self) -> frozenset[str]:
        """Tell whether there is something to apply, and something to go back to."""
        changes = self.part != "plan" or self.plan is None or self.plan.changes
        back = self.part == "generations" and self.selection()
        return frozenset([*(["plan"] if changes else []), *(["generation"] if back else [])])

    def changed(self, change: Change) -> None:
        """Ask again when a config was applied or refused."""
        back = self._owing and (change.world or change.health) and self.tm.context.live
        if back or any(event.type in ("reloaded", "config_error", "reload_refused") for event in change.events):
            self.open(self.part)
        elif change.world:
            self.query_one(Parts).request()

    def shown(self) -> None:
        """Bring it up to date."""
        if self.is_mounted and self.query("#config-tree"):
            self.open(self.part)

    def selection(self) -> Selection:
        """Return the job of the row under the cursor."""
        if not self.is_mounted or not self.query("#config-tree"):
            return NOTHING
        here = self.rowtree.cursor_id or ""
        return Selection((here,), tuple(self.tm.world.keys_of(here)), here) if here else NOTHING
