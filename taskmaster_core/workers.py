"""Run slow things beside the main loop: one thread, one queue, results handed back to the loop.

Decides nothing. What it runs must not touch the policy; `done` is called by the main loop, which `wake` rouses. Config
files are parsed, old log parts compressed and generations written here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]


class Worker:
    """Hold the thread; it is started by the first job."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
        """Queue `work`; `done(result, error)` is called from `deliver`, in order."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
            self._thread.start()
        self._jobs.put((work, done))

    def deliver(self) -> None:
        """Call back for everything that is finished; called by the main loop."""
        while self._done:
            self._done.popleft()()

    def close(self) -> None:
        """Let the thread end after what it is doing."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            result, failure = _outcome(work)
            self._done.append(partial(done, result, failure))
            self._wake()


def _outcome(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001  # the edge of the worker: whatever it was is told, nothing is lost
        return None, error
