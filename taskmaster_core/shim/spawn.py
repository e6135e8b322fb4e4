"""From fork to exec: what a child does to itself before it becomes the job.

Decides the order of the set-up and reports the exact stage and errno of what fails; which files and descriptors it
gets was decided before (`launch`). Only the child runs this, so it may block.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
import sys
import termios
import time

import cgroups
import records
import sentences
import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

NO_PROGRAM = 126
"""How a child ends that was to become the core and could not."""
_BUSY_TRIES, _BUSY_WAIT = 3, 0.05  # ETXTBSY: a deploy that is just writing the file
_DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"


class Heritage:
    """Hold what the shim itself was started with and gives back to its children."""

    def __init__(self) -> None:
        self.umask = os.umask(0o027)
        self.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
        settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        self.reset = [each for each in settable if signal.getsignal(each) is not signal.SIG_DFL]
        self.oom = _read_oom()
        self.boot = _boot_id()
        self.uid, self.gid = os.geteuid(), os.getegid()


def _read_oom() -> bytes:
    with open("/proc/self/oom_score_adj", "rb", buffering=0) as file:
        return file.read(16).strip()


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def raise_limits() -> None:
    """Take all descriptors the hard limit allows; children get the old soft limit back."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def spare_from_oom() -> bool:
    """Ask the kernel to kill the parent of everything last; only root may."""
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"-900")
        return True
    except OSError:
        return False


def raw(text: str) -> bytes:
    """Return the bytes that a string of the wire stands for."""
    return text.encode("utf-8", "surrogateescape")


class Setup:
    """Hold what one child needs: the spawn order and its descriptors."""

    __slots__ = (
        "err",
        "heritage",
        "inside",
        "leaf",
        "lock",
        "null",
        "order",
        "out",
        "record",
        "spared",
        "stage",
        "status",
        "terminal",
        "what",
    )

    def __init__(self, order: dict[str, Any], heritage: Heritage, *, null: int, spared: bool) -> None:
        self.order = order
        self.heritage = heritage
        self.null = null
        self.spared = spared
        self.out = self.err = self.lock = self.status = -1
        self.terminal = False  # in, out and err are one, and it is to control the session
        self.leaf: str | None = None
        self.inside = False  # born in its control group
        self.record = ""
        self.what = ""
        self.stage = "session"


def become(setup: Setup) -> NoReturn:
    """Become the job; what fails goes to the status pipe as stage, errno and a sentence."""
    try:
        for setup.stage, step in _STEPS:
            setup.what = ""
            step(setup)
    except OSError as error:
        _give_up(setup, error.errno or errno.EIO)
    except Exception as error:  # NUL in a word, a number too large: whatever Python finds before the kernel does
        setup.what = f"{setup.what} ({error})" if setup.what else str(error)
        _give_up(setup, errno.EINVAL)
    finally:
        os._exit(127)


def _give_up(setup: Setup, code: int) -> None:
    message = sentences.sentence(setup.stage, code, setup.what)
    report = f"{setup.stage}\0{code}\0{message}".encode("utf-8", "surrogateescape")[:4000]
    os.write(setup.status, report)


def _session(setup: Setup) -> None:
    os.setsid()
    keep = sorted({setup.out, setup.err, setup.lock, setup.status, setup.null, 0, 1, 2})
    # All of them close at exec anyway. Closing now makes low numbers free, for a job with a low limit of its own; not
    # up to the limit of the system, because a Python without close_range would try every number one by one.
    keep.append(keep[-1] + 256)
    for low, high in zip(keep, keep[1:], strict=False):  # noqa: RUF007 - itertools is not loaded here
        os.closerange(low + 1, high)


def _terminal(setup: Setup) -> None:
    if setup.terminal:
        fcntl.ioctl(setup.out, termios.TIOCSCTTY, 0)


def _cgroup(setup: Setup) -> None:
    if setup.leaf is not None and not setup.inside:
        setup.what = setup.leaf
        cgroups.enter(setup.leaf)


def _lock(setup: Setup) -> None:
    with open("/proc/self/stat", "rb", buffering=0) as file:
        started = file.read(4096).rpartition(b")")[2].split()[19].decode()
    text = f"{os.getpid()} {started} {setup.record}".encode("utf-8", "surrogateescape")
    own = records.open_to_write(setup.lock)
    if os.pwrite(own, text, 0) < len(text):
        raise OSError(errno.ENOSPC, "")
    os.ftruncate(own, len(text))  # only with this it is whole: the room was taken before
    os.close(own)
    setup.lock = _inherit_high(setup.lock)


def _inherit_high(fd: int) -> int:
    for lowest in tree.LOCK_FDS:
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD, lowest)
        except OSError as error:  # EINVAL: the number is above our limit of descriptors
            if error.errno != errno.EINVAL:
                raise
    return fd


def reset_signals(heritage: Heritage) -> None:
    """Give every signal its default action and block none."""
    for signum in heritage.reset:
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _signals(setup: Setup) -> None:
    reset_signals(setup.heritage)


def restore_oom(heritage: Heritage) -> None:
    """Give back the out-of-memory score we were started with."""
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(heritage.oom)


def _oom(setup: Setup) -> None:
    if setup.spared:
        restore_oom(setup.heritage)


def _limits(setup: Setup) -> None:
    wanted = {name: (soft, hard) for name, soft, hard in setup.order.get("limits") or ()}
    if "nofile" not in wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, setup.heritage.nofile)
    for name, (soft, hard) in wanted.items():
        setup.what = name
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise OSError(errno.EINVAL, "unknown")
        _limit(setup, number, (_number(soft), _number(hard)))


def _number(value: int | None) -> int:
    return resource.RLIM_INFINITY if value is None else value


def _limit(setup: Setup, number: int, pair: tuple[int, int]) -> None:
    hard = resource.getrlimit(number)[1]
    try:
        resource.setrlimit(number, pair)
    except ValueError as error:
        # Python turns EPERM into a ValueError, and EINVAL too
        above = "exceeds" not in str(error)
        shown = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
        setup.what += f" (the hard limit is {shown})" if above else " (the soft limit is above the hard one)"
        raise OSError(errno.EPERM if above else errno.EINVAL, "") from None


def _nice(setup: Setup) -> None:
    nice = setup.order.get("nice") or 0
    if nice:
        setup.what = str(nice)
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _umask(setup: Setup) -> None:
    umask = setup.order.get("umask")
    os.umask(setup.heritage.umask if umask is None else umask)


def _groups(setup: Setup) -> None:
    order = setup.order
    groups, gid = order.get("groups"), order.get("gid")
    if groups is None and not _changes(setup):
        return
    if groups is None:
        groups = [] if gid is None else [gid]
    setup.what = " ".join(map(str, groups))
    if sorted(set(groups)) != sorted(set(os.getgroups())):
        os.setgroups(groups)


def _changes(setup: Setup) -> bool:
    uid, gid = setup.order.get("uid"), setup.order.get("gid")
    heritage = setup.heritage
    return (uid is not None and uid != heritage.uid) or (gid is not None and gid != heritage.gid)


def _gid(setup: Setup) -> None:
    gid = setup.order.get("gid")
    if gid is not None:
        setup.what = str(gid)
        os.setresgid(gid, gid, gid)
        if os.getresgid() != (gid, gid, gid):
            raise OSError(errno.EPERM, "")


def _uid(setup: Setup) -> None:
    uid = setup.order.get("uid")
    if uid is None:
        return
    setup.what = str(uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid):
        raise OSError(errno.EPERM, "")
    if uid != 0 and _regains_root():
        raise OSError(errno.EPERM, "")


def _regains_root() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True


def _chdir(setup: Setup) -> None:
    cwd = setup.order.get("cwd")
    if cwd is not None:
        setup.what = cwd
        os.chdir(raw(cwd))


def _stdin(setup: Setup) -> None:
    source = setup.order.get("stdin") or "null"
    if source in ("null", "pipe") or setup.terminal:
        return
    setup.what = source
    # not blocking: a FIFO without a writer would hold up the start for ever
    fd = os.open(raw(source), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.EISDIR, "")
    os.set_blocking(fd, True)
    setup.null = fd


def _streams(setup: Setup) -> None:
    sources = (setup.null, setup.out, setup.err)
    # away from 0, 1 and 2 first: a source may be a number that is overwritten before its turn
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) if fd < 3 else fd for fd in sources]
    for target, source in enumerate(moved):
        os.dup2(source, target)


def _exec(setup: Setup) -> None:
    argv = [raw(word) for word in setup.order["argv"]]
    env = {raw(name): raw(value) for name, value in setup.order["env"].items()}
    setup.what = setup.order["argv"][0] if argv else ""
    if not argv or not argv[0]:
        raise OSError(errno.ENOENT, "")
    denied = ""
    for program in _candidates(argv[0], env):
        try:
            _try_exec(program, argv, env)
        except OSError as error:
            shown = program.decode("utf-8", "surrogateescape")
            if error.errno == errno.EACCES and program != argv[0]:
                denied = denied or shown
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR) or program == argv[0] or os.path.lexists(program):
                setup.what = shown
                raise
    if denied:
        setup.what = denied
        raise OSError(errno.EACCES, "")
    raise OSError(errno.ENOENT, "")


def _candidates(program: bytes, env: dict[bytes, bytes]) -> list[bytes]:
    if b"/" in program:
        return [program]
    return [(place or b".") + b"/" + program for place in env.get(b"PATH", _DEFAULT_PATH).split(b":")]


def _try_exec(program: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> None:
    for left in range(_BUSY_TRIES, -1, -1):
        try:
            os.execve(program, argv, env)  # noqa: S606 - the purpose of it all
        except OSError as error:
            if error.errno != errno.ETXTBSY or not left:
                raise
            time.sleep(_BUSY_WAIT)


_STEPS = (
    ("session", _session),
    ("terminal", _terminal),
    ("cgroup", _cgroup),
    ("lock", _lock),
    ("signals", _signals),
    ("oom", _oom),
    ("limits", _limits),
    ("nice", _nice),
    ("umask", _umask),
    ("groups", _groups),
    ("gid", _gid),
    ("uid", _uid),
    ("chdir", _chdir),
    ("stdin", _stdin),
    ("stdout", _streams),
    ("exec", _exec),
)


def program(argv: list[str], env: dict[str, str], heritage: Heritage, link: int, *, spared: bool) -> NoReturn:
    """Become the core: a session of its own, our output, the wire as an inheritable descriptor."""
    try:
        os.setsid()
        reset_signals(heritage)
        if spared:
            restore_oom(heritage)
        resource.setrlimit(resource.RLIMIT_NOFILE, heritage.nofile)
        os.umask(heritage.umask)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.set_inheritable(link, True)
        os.execvpe(argv[0], argv, env)  # noqa: S606 - the purpose of it all
    except OSError as error:
        sys.stderr.write(f"taskmaster: cannot start the core {argv[0]!r}: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(NO_PROGRAM)
