"""Choose one thing of a list by typing a part of it: signals, commands, keys, instances, jobs.

It decides which entries match and their order; what choosing means is the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from taskmaster_tui.model.columns import Column
from taskmaster_tui.model.fmt import plain
from taskmaster_tui.widgets.row_tree import RowTree

Result = TypeVar("Result")


class Entry(NamedTuple):
    """Hold one thing to choose. All text is clean."""

    id: str
    cells: tuple[tuple[str, str], ...]
    """Text and role for each column."""
    words: str
    """What is searched, lower case: the label, and behind a newline the rest."""


class Entries:
    """Be the row source of the entries that match."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._all = list(entries)
        self._shown = {entry.id: entry for entry in self._all}

    def search(self, text: str) -> None:
        """Show what holds every word; what begins with the text comes first, then what has its letters in order."""
        words = text.lower().split()
        ranked = [(rank, number, entry) for number, entry in enumerate(self._all)
                  if (rank := _rank(entry, words)) is not None]  # fmt: skip
        self._shown = {entry.id: entry for _, _, entry in sorted(ranked, key=lambda each: each[:2])}

    def replace(self, entries: Sequence[Entry]) -> None:
        """Show other entries."""
        self._all = list(entries)
        self._shown = {entry.id: entry for entry in self._all}

    def ids(self) -> Sequence[str]:
        """Return the ids of what is shown."""
        return list(self._shown)

    def cells(self, row_id: str, columns: Sequence[Column]) -> Sequence[tuple[str, str]]:
        """Return the cells of an entry."""
        return self._shown[row_id].cells

    def marked(self, row_id: str) -> bool:
        """Tell that nothing is marked."""
        return False


def _rank(entry: Entry, words: Sequence[str]) -> int | None:
    """Return how well an entry matches, smaller is better; None if it does not."""
    text, label = entry.words, entry.words.partition("\n")[0]
    if not words:
        return 0
    if all(word in text for word in words):
        first = words[0]
        return 0 if text.startswith(first) else 1 if all(word in label for word in words) else 2
    letters = iter(label)  # letters in their order are looked for in the label alone: in a sentence they are everywhere
    return 3 if all(letter in letters for letter in "".join(words)) else None


class Picker(ModalScreen[Result], Generic[Result]):
    """Hold a line to type in and the entries that match."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "leave", "Close"),
        ("down,ctrl+n", "move(1)", "Down"), ("up,ctrl+p", "move(-1)", "Up"),
        ("pagedown", "move(10)", "Page down"), ("pageup", "move(-10)", "Page up"),
    ]  # fmt: skip

    TITLE_TEXT = ""
    HINT = "⏎ choose   esc close"
    COLUMNS: ClassVar[tuple[Column, ...]] = (Column("name", "", 0),)
    PLACEHOLDER = "type to search"

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self.entries = Entries(entries)

    def compose(self) -> ComposeResult:
        """Lay out the line and the list."""
        with Vertical(classes="dialog wide tall") as dialog:
            dialog.border_title = Content(plain(self.TITLE_TEXT))
            dialog.border_subtitle = Content(self.HINT)
            yield Input(placeholder=self.PLACEHOLDER, compact=True, id="picker-text")
            yield RowTree(self.entries, self.COLUMNS, header=False, marks=False, empty="nothing matches")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()
        self.rowtree.rows_changed()

    def on_resize(self) -> None:
        """Take the focus again that a terminal too small for the dialog has taken away."""
        self.call_after_refresh(self._type_again)

    def on_descendant_blur(self) -> None:
        """Take it again where nothing else has it."""
        if self.app.app_focus:
            self.call_after_refresh(self._type_again)

    def _type_again(self) -> None:
        if self.focused is None:
            self.set_focus(self.query_one(Input))

    @property
    def text(self) -> str:
        """Return what was typed."""
        return self.query_one("#picker-text", Input).value

    @property
    def rowtree(self) -> RowTree:
        """Return the list."""
        return self.query_one(RowTree)

    @on(Input.Changed, "#picker-text")
    def _typed(self, event: Input.Changed) -> None:
        self.entries.search(event.value)
        self.rowtree.rows_changed()
        self.rowtree.top()

    @on(Input.Submitted, "#picker-text")
    def _submitted(self, event: Input.Submitted) -> None:
        if self.rowtree.cursor_id is not None:
            self.chosen(self.rowtree.cursor_id)

    @on(RowTree.Chosen)
    def _clicked(self, event: RowTree.Chosen) -> None:
        self.chosen(event.row_id)

    def chosen(self, entry_id: str) -> None:
        """Take the entry; overridden by those that do not just return its id."""
        raise NotImplementedError

    def action_move(self, step: int) -> None:
        """Move in the list while typing."""
        self.rowtree.move(step)

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)
