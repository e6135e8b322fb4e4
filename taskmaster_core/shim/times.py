"""The times of one output file: its index, or none where none is wanted or none can be written at the moment.

Decides that output never waits for its times: an index that cannot be written is told, left out, and tried again soon.
A sink has one of these.
"""

from __future__ import annotations

import time

from index import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from troubles import Troubles

_AGAIN = 1.0  # seconds until an index that could not be written is tried again


class Times:
    """Hold the index of a file."""

    def __init__(self, path: str, troubles: Troubles) -> None:
        self._path = path
        self._troubles = troubles
        self._index: Index | None = None
        self._kept = True
        self._after = 0.0

    @property
    def path(self) -> str | None:
        """Return where the index is."""
        return self._index.path if self._index is not None else None

    def keep_in(self, path: str | None) -> None:
        """Keep them there from now on; None: nowhere."""
        self.close()
        self._index = Index(path) if path else None

    def note(self, offset: int, count: int, tag: str) -> None:
        """Record that these bytes were written now."""
        if self._index is None or not (self._kept or time.monotonic() >= self._after):
            return
        was, why = self._kept, ""
        try:
            self._index.note(offset, count, tag)
        except OSError as error:
            self._index.close()
            self._after = time.monotonic() + _AGAIN
            why = f"the times of {self._path} are not kept: {error.strerror}"
        self._kept = not why
        if self._kept is not was:
            self._troubles.note("times", self._path, why)

    def opened(self) -> None:
        """Note that the file was opened: the next bytes may try again."""
        self._after = 0.0

    def reset(self) -> None:
        """Forget all records: the file they were about was emptied."""
        if self._index is not None:
            self._index.reset()

    def rotate(self, suffix: str) -> None:
        """Leave the records to the part of this suffix."""
        if self._index is not None:
            try:
                self._index.rotate(suffix)
            except OSError:
                self._index.close()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._index is not None:
            self._index.close()

    def end(self) -> None:
        """Note that nobody writes there any more."""
        self._troubles.note("times", self._path, "")
