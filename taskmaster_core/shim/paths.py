"""The directories of an instance and the names in them: who may own them, what lies where.

Decides whether a directory is safe to use and how a key becomes a file name; takes no lock and starts nothing. The
`open` order and every spawn ask here.
"""

from __future__ import annotations

import binascii
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_LONGEST = 200  # of 255: suffixes follow
_NETWORK = ("nfs", "cifs", "smb", "fuse.sshfs", "ceph", "fuse.ceph", "glusterfs", "fuse.glusterfs", "afs")


class Refused(Exception):
    """Tell that the instance cannot be opened, why, and what helps."""

    def __init__(self, message: str, remedy: str = "", code: int = 7) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.code = code


def encode(key: str) -> str:
    """Return the key as a file name: percent-encoded; a very long one ends in a checksum instead."""
    raw = key.encode("utf-8", "surrogateescape")
    name = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in raw)
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}={checksum(key):08x}{checksum(key[::-1]):08x}"
    return name


def checksum(text: str) -> int:
    """Return 32 bits that tell long names apart."""
    return binascii.crc32(text.encode("utf-8", "surrogateescape"))


class Places:
    """Hold the paths of one opened instance."""

    def __init__(self, instance: str, statedir: str, rundir: str) -> None:
        self.instance = instance
        self.statedir = statedir
        self.rundir = rundir
        self.lock = f"{statedir}/shim.lock"
        self.runs = f"{statedir}/runs"
        self.fifos = f"{statedir}/fifo"
        self.spare = f"{rundir}/runs"

    def lock_of(self, key: str) -> str:
        """Return the lock file of the newest run of a process."""
        return f"{self.runs}/{encode(key)}.lock"

    def spare_lock_of(self, key: str) -> str:
        """Return where it stands if the state directory takes nothing; makes the directory, raises OSError."""
        os.makedirs(self.spare, 0o700, exist_ok=True)
        return f"{self.spare}/{encode(key)}.lock"

    def old_lock_of(self, key: str, run: int, lock: str) -> str:
        """Return where the lock of an older run moves whose descendants live on; no key encodes to this name."""
        return f"{os.path.dirname(lock)}/{encode(key)},{run}.lock"

    def locks(self) -> list[str]:
        """Return all lock files there are."""
        found = [f"{self.runs}/{name}" for name in sorted(os.listdir(self.runs))]
        if os.path.isdir(self.spare):
            found += [f"{self.spare}/{name}" for name in sorted(os.listdir(self.spare))]
        return [path for path in found if path.endswith(".lock")]

    def fifo_of(self, key: str, stream: str) -> str:
        """Return the FIFO of a stream (`out`, `err`)."""
        return f"{self.fifos}/{encode(key)}.{stream}"

    def sweep_fifos(self, busy: Container[str] = ()) -> None:
        """Remove the FIFOs that nobody uses."""
        for name in os.listdir(self.fifos):
            path = f"{self.fifos}/{name}"
            if path not in busy:
                os.unlink(path)

    def reserves(self, path: str) -> bool:
        """Tell whether a path is one of the files that hold the instance together."""
        return os.path.normpath(path).startswith((self.lock, self.runs + "/", self.fifos + "/"))

    def owns(self, path: str) -> bool:
        """Tell whether a path lies in the state directory: then its parents are made when they are missing."""
        return path.startswith(self.statedir + "/")

    def prepare(self, socketgroup: int | None) -> None:
        """Make the directories; raise Refused when they are not ours alone."""
        _refuse_network(self.statedir)
        for path in (self.statedir, self.rundir):
            make_directory(path)
        for path in (self.runs, self.fifos):
            make_directory(path)
        if socketgroup is not None:
            _open_to_group(self.rundir, socketgroup)


def make_directory(path: str) -> None:
    """Make a directory of mode 0700 with what is missing above it; raise Refused for one that others control."""
    try:
        _make_missing(path)
        _check(path)
    except OSError as error:
        raise Refused(f"cannot use the directory {path}: {error.strerror}", "choose another statedir") from None


def _make_missing(path: str) -> None:
    if os.path.lexists(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        _make_missing(parent)
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)  # whatever the umask
    except FileExistsError:
        pass  # somebody was faster; the check that follows tells who


def _check(path: str) -> None:
    ours = (os.geteuid(), 0)
    entry = os.lstat(path)
    if stat.S_ISLNK(entry.st_mode):
        if entry.st_uid not in ours:
            raise Refused(f"{path} is a symbolic link made by uid {entry.st_uid}", "remove it or use another directory")
        entry = os.stat(path)
    if not stat.S_ISDIR(entry.st_mode):
        raise Refused(f"{path} is not a directory", "remove it or use another directory")
    if entry.st_uid != os.geteuid():
        raise Refused(f"the directory {path} belongs to uid {entry.st_uid}, not to us", "use another directory")
    if entry.st_mode & 0o022:
        raise Refused(f"others may write into the directory {path}", f"chmod go-w {path}")
    above = os.stat(os.path.dirname(os.path.realpath(path)))
    if above.st_mode & 0o002 and not above.st_mode & stat.S_ISVTX:
        raise Refused(f"anybody may replace the directory {path}: its parent is open to all", "use another directory")


def _open_to_group(path: str, gid: int) -> None:
    try:
        os.chown(path, -1, gid)
        os.chmod(path, 0o750)  # noqa: S103 - the group was asked for
    except OSError as error:
        raise Refused(f"cannot give {path} to group {gid}: {error.strerror}", "check socketgroup") from None


def _refuse_network(path: str) -> None:
    real = os.path.realpath(path)
    kind = _file_system(real)
    if kind.startswith(_NETWORK):
        raise Refused(
            f"the state directory {path} lies on a network file system ({kind}), where locks cannot be trusted",
            "set statedir to a local directory",
        )


def _file_system(path: str) -> str:
    best, kind = "", ""
    for mount, _, fstype in mounts():
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fstype
    return kind


def mounts() -> list[tuple[str, str, str]]:
    """Return (mount point, its root within the file system, type) of everything mounted here."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            fields = left.split(" ")
            found.append((_unescape(fields[4]), _unescape(fields[3]), right.split(" ", 1)[0]))
    return found


def _unescape(field: str) -> str:
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
