"""Where the records of runs stand when the state directory takes nothing: it is full, read-only, or was removed.

Decides that a run may begin all the same, with its record in the run directory, which is another file system as a rule;
and what is made again of a directory that somebody removed. Launches, the orders' beat and the next opening ask here.
"""

from __future__ import annotations

import errno
import fcntl
import os

import paths
import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from house import House
    from paths import Places

BLOCK = 4096  # bytes taken for a record before the fork: a child must not be the first to see that the disk is full
_PROBE_EVERY = 2.0  # seconds between two tries whether the state directory takes something again
_NO_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT, errno.EACCES, errno.EPERM})


class Shelf:
    """Hold what is known of the state directory's health."""

    def __init__(self, house: House) -> None:
        self.house = house

    def fails(self, error: OSError) -> bool:
        """Take in that a record could not be written; tell whether another place may help."""
        places = self.house.places
        if places is None or error.errno not in _NO_PLACE:
            return False
        why = os.strerror(error.errno or errno.EIO)
        note = self.house.sinks.troubles
        if not note.has("state", places.statedir):
            self.house.loop.after(_PROBE_EVERY, self._probe)
        text = f"the state directory {places.statedir} cannot be written: {why}; records of runs go to {places.spare}"
        note.note("state", places.statedir, text)
        return True

    def resume(self) -> None:
        """Go on trying what the release before us had found to fail."""
        places = self.house.places
        if places is not None:
            self.house.loop.after(_PROBE_EVERY, self._probe_if_bad)

    def _probe_if_bad(self) -> None:
        places = self.house.places
        if places is not None and self.house.sinks.troubles.has("state", places.statedir):
            self._probe()

    def _probe(self) -> None:
        places = self.house.places
        if places is None:
            return
        self.look()
        path = f"{places.runs}/.probe"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                reserve(fd)
            finally:
                os.close(fd)
                os.unlink(path)
        except OSError:
            self.house.loop.after(_PROBE_EVERY, self._probe)
            return
        self.house.sinks.troubles.note("state", places.statedir, "")

    # -- a directory that was removed -----------------------------------------------------------------------------

    def look(self) -> None:
        """Make again what somebody removed of the state directory: a later shim is to find what runs."""
        places = self.house.places
        if places is None or (os.path.isdir(places.runs) and os.path.isdir(places.fifos)):
            return
        try:
            for path in (places.statedir, places.runs, places.fifos):
                paths.make_directory(path)
            self._lock_again(places)
        except (OSError, paths.Refused) as error:
            self.fails(OSError(errno.ENOENT, str(error)))
            return
        found = [run for run in self.house.runs.values() if run.ours and records.restore(run.pid, run.lock)]
        said = f"the state directory {places.statedir} was removed and is made again, with the records of"
        self.house.sinks.complain(f"{said} {len(found)} of {len(self.house.runs)} runs")

    def _lock_again(self, places: Places) -> None:
        if os.path.exists(places.lock):
            return
        fd = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            os.dup2(fd, _removed(places.lock), inheritable=False)  # in the place of the one that was removed
        finally:
            os.close(fd)


def _removed(path: str) -> int:
    """Return our descriptor of a file that was removed; raise OSError without one."""
    for name in os.listdir("/proc/self/fd"):
        if os.readlink(f"/proc/self/fd/{name}") == f"{path} (deleted)":
            return int(name)
    raise OSError(errno.EBADF, f"{path} is not held")


def reserve(fd: int) -> None:
    """Take the room for a record, or raise OSError."""
    try:
        os.posix_fallocate(fd, 0, BLOCK)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
