"""Where an instance's files and sockets are, and whether a directory there can be trusted.

It decides names only (DESIGN §8) and reads no config; the checks at the end are the one thing here that touches the
disk. The core, every CLI call and the tests ask it, so it imports nothing that costs a millisecond.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from taskmaster_core.errors import Refused, UsageError

DEFAULT_INSTANCE = "default"
COMMANDS = "cmd.sock"
EVENTS = "evt.sock"
SUN_PATH = 107
"""Bytes that fit into sockaddr_un.sun_path (108) beside the closing NUL."""
NAME_BYTES = 200
"""An encoded name longer than this is cut: NAME_MAX is 255 and suffixes need room."""

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_TMP = "/tmp"  # noqa: S108 what is made there is checked by make_private
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "ncpfs", "glusterfs", "lustre"})


class Places(NamedTuple):
    """Name every file of one instance; `statedir` outlives a reboot, `rundir` need not."""

    statedir: str
    rundir: str

    @property
    def commands(self) -> str:
        """Return the path of the command socket."""
        return f"{self.rundir}/{COMMANDS}"

    @property
    def events(self) -> str:
        """Return the path of the event socket."""
        return f"{self.rundir}/{EVENTS}"

    @property
    def lock(self) -> str:
        """Return the instance lock, which the shim holds as long as it lives."""
        return f"{self.statedir}/shim.lock"

    @property
    def journal(self) -> str:
        """Return the SQLite database of events and intents."""
        return f"{self.statedir}/journal.db"

    @property
    def eventlog(self) -> str:
        """Return the human event log (unless `logfile` names another)."""
        return f"{self.statedir}/taskmaster.log"

    @property
    def generations(self) -> str:
        """Return the directory of applied configs."""
        return f"{self.statedir}/generations"

    @property
    def logs(self) -> str:
        """Return the directory of managed output."""
        return f"{self.statedir}/logs"

    def log_path(self, job: str, index: int, stream: str) -> str:
        """Return the managed output file of a process; `stream` is "out" or "err"."""
        return f"{self.logs}/{encode(job)}/{index}.{stream}"

    def index_path(self, path: str) -> str:
        """Return the time index of a redirected file."""
        return f"{self.statedir}/index/{_digest(path)}.idx"


def _digest(text: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 7 ms; most commands never need it

    return sha256(os.fsencode(text)).hexdigest()[:16]


def _plain(byte: int) -> bool:
    return byte < 128 and chr(byte) in _PLAIN


def encode(name: str) -> str:
    """Return a name as one file name: "write bar" becomes "write%20bar"; never ".", "..", hidden or too long."""
    text = "".join(chr(byte) if _plain(byte) else f"%{byte:02X}" for byte in os.fsencode(name))
    if text.startswith("."):
        text = "%2E" + text[1:]
    if len(text) <= NAME_BYTES:
        return text
    whole = text[: NAME_BYTES - 20]
    cut = whole.rfind("%", len(whole) - 2)
    return f"{whole[:cut] if cut >= 0 else whole}%~{_digest(name)}"


def decode(text: str) -> str | None:
    """Return the name that `encode` made this of, None if it had to be cut or is none of ours."""
    head, *rest = text.split("%")
    try:
        raw = head.encode("ascii") + b"".join(bytes.fromhex(each[:2]) + each[2:].encode("ascii") for each in rest)
    except ValueError:
        return None
    name = os.fsdecode(raw)
    return name if encode(name) == text else None


def check_instance(instance: str) -> str:
    """Return the name; raise UsageError unless 1-64 letters, digits, `-_.`, and the first is none of `-.`."""
    if instance and len(instance) <= 64 and instance[0] not in "-." and _PLAIN.issuperset(instance):
        return instance
    raise UsageError(
        f"not an instance name: {instance!r}",
        "use 1 to 64 letters, digits, `-`, `_` or `.`, beginning with a letter or digit",
    )


def places(instance: str, environ: Mapping[str, str], uid: int, statedir: str | None = None) -> Places:
    """Return where the instance of this user lives; `statedir` is the setting of that name (absolute)."""
    check_instance(instance)
    return Places(statedir or _statedir(instance, environ, uid), _rundir(instance, environ, uid))


def where_to_look(instance: str, environ: Mapping[str, str], uid: int, socket: str | None = None) -> list[str]:
    """Return the command sockets a client tries, best first; one named by hand is the only one."""
    check_instance(instance)
    if socket is not None:
        return [os.path.join(socket, COMMANDS) if os.path.isdir(socket) else socket]
    wished = [_wished(instance, environ, uid), f"/run/taskmaster/{instance}", f"/run/user/{uid}/taskmaster/{instance}"]
    found = [_fitting(path, environ, uid) for path in wished]
    # A core that was started with another environment may have fallen back below its TMPDIR, or below /tmp.
    for env in (environ, {}):
        if _is_ours(_tmp(env, uid), uid):
            found += [_fallback(path, env, uid) for path in wished]
    return list(dict.fromkeys(f"{path}/{COMMANDS}" for path in found))


def endpoint(path: str) -> str:
    """Return what ZeroMQ calls a socket: a path, or an address of another machine."""
    return path if path.startswith("tcp://") else f"ipc://{path}"


def events_beside(commands: str) -> str:
    """Return the event socket that belongs to a command socket; over tcp it is the port after it."""
    if commands.startswith("tcp://"):
        host, _, port = commands.rpartition(":")
        return f"{host}:{int(port) + 1}"
    return os.path.join(os.path.dirname(commands), EVENTS)


def _absolute(environ: Mapping[str, str], name: str) -> str | None:
    # The XDG specification: a relative path in one of these variables is to be ignored.
    value = environ.get(name, "")
    return value.rstrip("/") if value.startswith("/") and value != "/" else None


def _statedir(instance: str, environ: Mapping[str, str], uid: int) -> str:
    base = _absolute(environ, "XDG_STATE_HOME")
    if base is None:
        base = "/var/lib" if uid == 0 else f"{_home(environ, uid)}/.local/state"
    return f"{base}/taskmaster/{instance}"


def _home(environ: Mapping[str, str], uid: int) -> str:
    home = _absolute(environ, "HOME")
    if home is not None:
        return home
    import pwd  # noqa: PLC0415 only where HOME is missing: it may ask the network

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        raise Refused(f"user {uid} has no home directory", "set HOME, XDG_STATE_HOME or `statedir`") from None


def _wished(instance: str, environ: Mapping[str, str], uid: int) -> str:
    base = _absolute(environ, "XDG_RUNTIME_DIR") or ("/run" if uid == 0 else f"/run/user/{uid}")
    return f"{base}/taskmaster/{instance}"


def _rundir(instance: str, environ: Mapping[str, str], uid: int) -> str:
    wished = _wished(instance, environ, uid)
    if uid != 0 and _absolute(environ, "XDG_RUNTIME_DIR") is None and not os.path.isdir(f"/run/user/{uid}"):
        return _fallback(wished, environ, uid)  # no login session made it, and only root could
    return _fitting(wished, environ, uid)


def _fitting(rundir: str, environ: Mapping[str, str], uid: int) -> str:
    return rundir if _fits(rundir) else _fallback(rundir, environ, uid)


def _fits(rundir: str) -> bool:
    return len(os.fsencode(f"{rundir}/{COMMANDS}")) <= SUN_PATH


def _fallback(wished: str, environ: Mapping[str, str], uid: int) -> str:
    return f"{_tmp(environ, uid)}/{_digest(wished)}"


def _tmp(environ: Mapping[str, str], uid: int) -> str:
    path = f"{_absolute(environ, 'TMPDIR') or _TMP}/taskmaster-{uid}"
    return path if _fits(f"{path}/{'x' * 16}") else f"{_TMP}/taskmaster-{uid}"


def _is_ours(path: str, uid: int) -> bool:
    try:
        seen = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == uid


def make_private(path: str, uid: int, gid: int | None = None) -> None:
    """Make a directory of mode 0700 (0750 with `gid`); raise Refused for one that cannot be trusted.

    The parent named `taskmaster…` is checked too: in a shared place such as /tmp anybody may have made it first (S12).
    """
    parent = os.path.dirname(path)
    shared = os.path.basename(parent).startswith("taskmaster")
    try:
        os.makedirs(os.path.dirname(parent) if shared else parent, mode=0o755, exist_ok=True)
        if shared:
            _make(parent, uid, 0o711 if gid is not None else 0o700)
            check_private(parent, uid, 0o755)
        _make(path, uid, 0o700)
        if gid is not None:
            _open_to(path, uid, gid)
        check_private(path, uid, 0o700 if gid is None else 0o750)
    except OSError as error:
        raise Refused(f"cannot make {path}: {error.strerror}", "set XDG_RUNTIME_DIR or `statedir`") from error


def _make(path: str, uid: int, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    os.chmod(path, mode)  # whatever the umask


def _open_to(path: str, uid: int, gid: int) -> None:
    check_private(path, uid, 0o750)  # never touch the mode of what is not ours
    os.chown(path, -1, gid)
    os.chmod(path, 0o750)  # noqa: S103 the group was asked for (`socketgroup`)


def check_private(path: str, uid: int, mode: int = 0o700) -> None:
    """Raise Refused unless `path` is a real directory of this user that gives nobody more than `mode` says."""
    seen = os.lstat(path)
    if stat.S_ISLNK(seen.st_mode) or not stat.S_ISDIR(seen.st_mode):
        raise Refused(f"{path} is not a directory", f"look who made it, then remove it: rm {path}")
    if seen.st_uid != uid:
        raise Refused(f"{path} belongs to user {seen.st_uid}, not {uid}", "remove it, or set XDG_RUNTIME_DIR or TMPDIR")
    if seen.st_mode & 0o7777 & ~mode & 0o077:
        raise Refused(f"{path} is open to others (mode {seen.st_mode & 0o7777:04o})", f"chmod {mode:o} {path}")


def network_filesystem(path: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """Return the type of the network file system that holds `path` (which need not exist yet), None for a local one."""
    real = os.path.realpath(path)
    best, kind = "", ""
    with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            point = _unescaped(left.split(" ")[4])
            # The last mount on a point hides the earlier ones: hence >=.
            if _below(real, point) and len(point) >= len(best):
                best, kind = point, right.split(" ")[0]
    return kind if kind in _NETWORK or kind.startswith("fuse.ssh") else None


def _below(path: str, point: str) -> bool:
    return point in ("/", path) or path.startswith(point + "/")


def _unescaped(field: str) -> str:
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(octal, char)
    return field


def refuse_network(statedir: str) -> None:
    """Raise Refused for a state directory on a network file system, where locks cannot be trusted."""
    kind = network_filesystem(statedir)
    if kind is not None:
        raise Refused(
            f"the state directory {statedir} is on a network file system ({kind})",
            'name a local one: statedir = "/var/lib/taskmaster" in [taskmaster]',
        )
