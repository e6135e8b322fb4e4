"""Moving in a list: the `list` scope of the action table."""

from __future__ import annotations

from taskmaster_tui.screens.view import View
from taskmaster_tui.widgets.listed import Listed


class Listing(View):
    """Be a view with a list."""

    @property
    def rowtree(self) -> Listed:
        """Return the list."""
        raise NotImplementedError

    def do_list_down(self) -> None:
        """Go one row down."""
        self.rowtree.move(1)

    def do_list_up(self) -> None:
        """Go one row up."""
        self.rowtree.move(-1)

    def do_list_first(self) -> None:
        """Go to the first row."""
        self.rowtree.top()

    def do_list_last(self) -> None:
        """Go to the last row."""
        self.rowtree.bottom()

    def do_list_half_down(self) -> None:
        """Go half a page down."""
        self.rowtree.page(0.5)

    def do_list_half_up(self) -> None:
        """Go half a page up."""
        self.rowtree.page(-0.5)

    def do_list_page_down(self) -> None:
        """Go a page down."""
        self.rowtree.page(1)

    def do_list_page_up(self) -> None:
        """Go a page up."""
        self.rowtree.page(-1)
