"""Lend one stage to many tests; one that a test has failed on is not given again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.crash.stage import Stage, staged


class Hall:
    """Hold the stage that is there."""

    def __init__(self, **options: bool) -> None:
        self._options = options
        self._stack = contextlib.ExitStack()
        self._stage: Stage | None = None

    @contextlib.contextmanager
    def lend(self) -> Iterator[Stage]:
        """Give the stage, or a fresh one; a test that is content has called `check` last."""
        if self._stage is None:
            self._stage = self._stack.enter_context(staged(**self._options))
        stage = self._stage
        try:
            yield stage
        finally:
            if not stage.sound:
                print("\n".join(stage.story), stage.stderr(), sep="\n")
                with contextlib.suppress(AssertionError):
                    self.clear()

    def clear(self) -> None:
        """End what is there; raises AssertionError if it leaves something behind."""
        self._stage = None
        self._stack.close()
