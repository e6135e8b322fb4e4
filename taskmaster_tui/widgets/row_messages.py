"""What a `RowTree` says to the screen it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from taskmaster_tui.widgets.row_tree import RowTree


class _FromTree(Message):
    def __init__(self, tree: RowTree) -> None:
        super().__init__()
        self.tree = tree

    @property
    def control(self) -> RowTree:
        """The tree it comes from."""
        return self.tree


class _OfRow(_FromTree):
    def __init__(self, tree: RowTree, row_id: str) -> None:
        super().__init__(tree)
        self.row_id = row_id


class Moved(_OfRow, namespace="row_tree"):
    """The cursor is on another row now: the person moved it, or its row went away."""


class Chosen(_OfRow, namespace="row_tree"):
    """The row was clicked twice."""


class FoldClicked(_OfRow, namespace="row_tree"):
    """The fold glyph of the row was clicked."""


class MarkClicked(_OfRow, namespace="row_tree"):
    """The margin of the row was clicked, or the row with ctrl."""


class HeaderClicked(_FromTree, namespace="row_tree"):
    """The title of a column was clicked."""

    def __init__(self, tree: RowTree, column_id: str) -> None:
        super().__init__(tree)
        self.column_id = column_id
