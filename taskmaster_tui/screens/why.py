"""Tell why something is in its state: the core's chain of reasons, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widgets import Static

from taskmaster_core.errors import TaskmasterError
from taskmaster_core.logs.sanitize import clean
from taskmaster_tui.screens.text import TextDialog

if TYPE_CHECKING:
    from taskmaster_tui.app import TaskmasterApp


class Why(TextDialog):
    """Ask the core and show its answer."""

    def __init__(self, selectors: Sequence[str]) -> None:
        super().__init__(f"Why? {', '.join(selectors)}", "…")
        self._selectors = list(selectors)

    def on_mount(self) -> None:
        """Ask, beside the screen: it can be left while the core is silent."""
        self.run_worker(self._fetch())

    async def _fetch(self) -> None:
        app = cast("TaskmasterApp", self.app)
        try:
            found = await app.link.call("why", self._selectors, timeout=10)
        except TaskmasterError as error:
            self._put(f"{error.message}\n{error.help}")
            return
        self._put("\n\n".join(_told(each) for each in found["processes"]))

    def _put(self, text: str) -> None:
        self._text = clean(text)
        self.query_one(Static).update(Content(self._text))


def _told(process: dict[str, object]) -> str:
    chain = process.get("chain")
    lines = [str(each) for each in chain] if isinstance(chain, list) else []
    head, *rest = lines or [str(process["key"])]
    return "\n".join([head, *(f"  because {each}" if i == 0 else f"  {each}" for i, each in enumerate(rest)),
                      f"  next: {process.get('next', '')}"])  # fmt: skip
