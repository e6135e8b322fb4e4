"""Moving in a list: the `list` scope of the action table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


class Endless(Listing):
    """Be a view whose list may go on where its rows end: a key that can move no further looks there."""

    def ids(self) -> Sequence[str]:
        """Return the rows there are now."""
        raise NotImplementedError

    def look_back(self) -> None:
        """Find what comes before the first row."""
        raise NotImplementedError

    def look_ahead(self) -> None:
        """Find what comes after the last row."""
        raise NotImplementedError

    def _at(self, end: int) -> bool:
        """Tell whether no row is further in that direction: the first (0) or the last (-1), or there are none."""
        ids = self.ids()
        return not ids or self.rowtree.cursor_id == ids[end]

    def _up(self, move: Callable[[], None]) -> None:
        if self._at(0):
            self.look_back()
        else:
            move()

    def _down(self, move: Callable[[], None]) -> None:
        if self._at(-1):
            self.look_ahead()
        else:
            move()

    def do_list_first(self) -> None:
        """Go to the first row, and further back from there."""
        self._up(super().do_list_first)

    def do_list_up(self) -> None:
        """Go one row up."""
        self._up(super().do_list_up)

    def do_list_half_up(self) -> None:
        """Go half a page up."""
        self._up(super().do_list_half_up)

    def do_list_page_up(self) -> None:
        """Go a page up."""
        self._up(super().do_list_page_up)

    def do_list_down(self) -> None:
        """Go one row down."""
        self._down(super().do_list_down)

    def do_list_half_down(self) -> None:
        """Go half a page down."""
        self._down(super().do_list_half_down)

    def do_list_page_down(self) -> None:
        """Go a page down."""
        self._down(super().do_list_page_down)
