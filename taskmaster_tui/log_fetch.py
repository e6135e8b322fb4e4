"""Runs the requests of a log buffer: one of each kind at a time, a refusal becomes words, and is not repeated at once.

Decides when a request may run and what is known when it fails. Knows nothing of lines; `LogBuffer` is made of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from taskmaster_core.alogs import Lines, LogPages
from taskmaster_core.errors import TaskmasterError

PATIENCE = 1.0
"""Seconds after a failure before it is tried again."""


class Fetcher:
    """Hold the requests under way. `logs` gives the reader to use now, `tell` is told to repaint."""

    def __init__(
        self, logs: Callable[[], LogPages], tell: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logs = logs
        self._tell = tell
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._blocked_until = 0.0
        self.trouble = ""
        """Why the last request failed, empty if it did not."""
        self.problems: list[str] = []
        self.fetches = 0

    @property
    def blocked(self) -> bool:
        """Tell whether a request failed a moment ago."""
        return self._clock() < self._blocked_until

    def close(self) -> None:
        """Ask for nothing any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks = {}

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        if name not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._guarded(work))
            self._tasks[name] = task
            task.add_done_callback(lambda done: self._tasks.pop(name, None) if self._tasks.get(name) is done else None)

    def _restart(self, name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()
        self._start(name, work)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Turn a refusal into words, and do not ask again at once."""
        try:
            await work()
            self.trouble = ""
        except TaskmasterError as error:
            self.failed(error)
        self._tell()

    def failed(self, error: TaskmasterError) -> None:
        """Remember why a request failed and look again later."""
        self.trouble = str(error)
        self._blocked_until = self._clock() + PATIENCE
        asyncio.get_running_loop().call_later(PATIENCE, self._tell)

    async def _got(self, page: Coroutine[Any, Any, Lines]) -> Lines:
        self.fetches += 1
        lines = await page
        self.problems = lines.problems
        return lines
