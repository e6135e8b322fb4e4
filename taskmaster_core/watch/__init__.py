"""Tell when the config files hold something new, whole and settled, however they are saved (DESIGN §6.4).

It decides when a save counts: two equal reads `debounce` seconds apart that differ from what was told before. It does
not read TOML and applies nothing; the daemon owns it and reloads when it calls. Idle, it sleeps in one system call.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from taskmaster_core.watch import files
from taskmaster_core.watch.bell import ANY, Bell, is_remote

POLL_EVERY = 2.0
"""Seconds between two looks where the kernel does not tell: no inotify, or a network file system."""

STEP = 0.05
"""Seconds watchfiles waits for one more change of a burst."""

LONGEST = 5.0
"""Seconds a burst may go on before the files are read all the same."""

_LIMITS = frozenset({errno.ENOSPC, errno.EMFILE})

_TRIES = 5  # to arm while the way itself is changing


_Batch = set[tuple[int, str]]  # what RustNotify returns


class _Wish(NamedTuple):
    paths: tuple[str, ...] = ()
    debounce: float = 0.3
    needed: frozenset[str] = frozenset()


class Watch:
    """Hold the thread; both callbacks are called from it."""

    def __init__(
        self,
        on_change: Callable[[], None],
        on_missing: Callable[[str], None],
        make_bell: Callable[[], Bell] = Bell,
    ) -> None:
        self._on_change = on_change
        self._on_missing = on_missing
        self._make_bell = make_bell
        self._bell: Bell | None = None
        self._control = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._wish = _Wish()
        self._texts: Mapping[str, bytes] = {}
        self._wished = False
        self._now = _Wish()
        self._known: dict[str, str] = {}
        self._missed: set[str] = set()
        self._stamps: list[tuple[str, int, int, int]] = []
        self._polling = False
        self._names: set[str] = set()
        self._directories: list[str] = []
        self.trouble = ""
        """Why saves are seen late, in words; empty: all is well."""

    def set(
        self, paths: Sequence[str], debounce: float, texts: Mapping[str, bytes] | None = None,
        needed: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        """Watch these files, or patterns of files, from now on; the first call arms before it returns.

        While one of the `needed` (None: all) is missing no change is told, only that: it is being moved. Another one
        may be gone for good, and what that means is for whoever reads the config to say.

        `texts` are files as they were last loaded, by whatever way: what differs from them is told, also if it was told
        before they were loaded. Without them the files count as known as they are now.
        """
        self._texts = dict(texts or {})
        self._wish = _Wish(tuple(paths), debounce, frozenset(paths if needed is None else needed))
        self._wished = True
        if self._thread is None:
            self._take_wish()
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()
        os.eventfd_write(self._control, 1)

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        os.eventfd_write(self._control, 1)
        if self._thread is not None:
            self._thread.join(5.0)
        if self._thread is None or not self._thread.is_alive():
            os.close(self._control)
            if self._bell is not None:
                self._bell.close()

    # The thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self._look():
                self._settle()
            self._wait()
            if self._wished:
                self._take_wish()

    def _wait(self) -> None:
        """Sleep until something that matters has happened, or the next poll finds it."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        if self._bell is not None:
            poll.register(self._bell.fd, select.POLLIN)
        rings = False
        while not rings:
            poll.poll(POLL_EVERY * 1000 if self._polling and self._now.paths else None)
            rings = self._rings()
        self._arm()

    def _rings(self) -> bool:
        if self._asked() or (self._bell is not None and self._bell.rang()):
            return True
        return self._polling and (bool(self.trouble) or self._moved())  # in trouble: try to arm again

    def _asked(self) -> bool:
        try:
            os.eventfd_read(self._control)
        except BlockingIOError:
            return False
        return True

    def _moved(self) -> bool:
        before, self._stamps = self._stamps, files.stamps(self._now.paths)
        return before != self._stamps

    def _take_wish(self) -> None:
        self._wished = False  # first: a wish that comes meanwhile is taken next
        wish, texts = self._wish, self._texts
        self._now = wish
        self._arm()
        seen = files.digests(wish.paths)
        loaded = {path: files.digest_of(texts[path]) for path in seen if path in texts}
        self._known = {path: loaded.get(path) or self._assumed(path, digest) for path, digest in seen.items()}
        self._missed &= seen.keys()

    def _assumed(self, path: str, digest: str) -> str:
        """Return what counts as known of a file that was not loaded; one that is missing is news when it is back."""
        return digest if digest == files.MISSING else self._known.get(path, digest)

    # Arming -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Watch the way as it is now; poll where the kernel has no watch for us."""
        try:
            self._arm_bell()
            self._polling = any(map(is_remote, self._directories))
            self.trouble = ""
        except OSError as error:
            self._polling = True
            limit = "no inotify watches left, " if error.errno in _LIMITS else ""
            why = f"{error.filename}: {limit}{error.strerror}"
            self.trouble = f"config files are looked at every {POLL_EVERY:g} s: {why}"
        if self._polling:
            self._stamps = files.stamps(self._now.paths)

    def _arm_bell(self) -> None:
        for _ in range(_TRIES):
            directories, ends = files.routes(self._now.paths)
            self._directories = [path for path, names in directories.items() if names]
            self._names = set().union(*directories.values())
            if self._bell is None:
                self._bell = self._make_bell()
            self._bell.arm(directories, ends)
            if files.routes(self._now.paths) == (directories, ends):
                break

    # Looking ------------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Tell whether the files are other than known; what is back may be missed again."""
        seen = files.digests(self._now.paths)
        self._missed -= {path for path, digest in seen.items() if digest != files.MISSING}
        return seen != self._known

    def _settle(self) -> None:
        """Wait until two reads agree, then tell what they say, unless that is known."""
        seen = files.digests(self._now.paths)
        while True:
            self._quiet()
            if self._stopping.is_set() or self._wished:
                return
            before, seen = seen, files.digests(self._now.paths)
            if seen == before:
                break
        self._tell(seen)

    def _tell(self, seen: dict[str, str]) -> None:
        missing = {path for path in seen.keys() & self._now.needed if seen[path] == files.MISSING}
        for path in sorted(missing - self._missed):
            self._on_missing(path)
        self._missed = missing
        if not missing and seen != self._known:
            self._known = seen
            self._on_change()

    def _quiet(self) -> None:
        """Return once nothing of ours has changed for `debounce` seconds."""
        begun = time.monotonic()
        until = begun + self._now.debounce
        # 28 ms and 3 MB that a core without saves does not need; it polls its queue, so it lives only for a burst.
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415

        try:
            notify = RustNotify(self._directories, False, False, 0, False, True)
        except (OSError, RuntimeError):  # no inotify left, or a directory that has just gone
            self._stopping.wait(self._now.debounce)
            return
        try:
            while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
                batch = notify.watch(_ms(STEP), _ms(STEP / 2), _ms(left), self._stopping)
                if isinstance(batch, set) and self._ours(batch) and time.monotonic() < begun + LONGEST:
                    until = time.monotonic() + self._now.debounce
        finally:
            notify.close()

    def _ours(self, batch: _Batch) -> bool:
        return ANY in self._names or any(os.path.basename(path) in self._names for _, path in batch)


def _ms(seconds: float) -> int:
    return max(int(seconds * 1000), 1)
