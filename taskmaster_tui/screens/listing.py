"""Moving in a list: the `list` scope of the action table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from taskmaster_tui.screens.view import View
from taskmaster_tui.widgets.listed import Listed


class Listing(View):
    """Be a view with a list."""

    @property
    def rowtree(self) -> Listed:
        """Return the list."""
        raise NotImplementedError

    def go(self, way: int, move: Callable[[], None]) -> None:
        """Move up (-1) or down (1); a view whose list goes on beyond its rows looks there when it cannot move."""
        move()

    def do_list_down(self) -> None:
        """Go one row down."""
        self.go(1, partial(self.rowtree.move, 1))

    def do_list_up(self) -> None:
        """Go one row up."""
        self.go(-1, partial(self.rowtree.move, -1))

    def do_list_first(self) -> None:
        """Go to the first row."""
        self.go(-1, self.rowtree.top)

    def do_list_last(self) -> None:
        """Go to the last row."""
        self.go(1, self.rowtree.bottom)

    def do_list_half_down(self) -> None:
        """Go half a page down."""
        self.go(1, partial(self.rowtree.page, 0.5))

    def do_list_half_up(self) -> None:
        """Go half a page up."""
        self.go(-1, partial(self.rowtree.page, -0.5))

    def do_list_page_down(self) -> None:
        """Go a page down."""
        self.go(1, partial(self.rowtree.page, 1))

    def do_list_page_up(self) -> None:
        """Go a page up."""
        self.go(-1, partial(self.rowtree.page, -1))

