"""The words of the design as data: jobs, processes, selectors, and what changing a field costs.

Decides nothing and touches nothing. The config layer makes specs, the machine and the plan read them, the wire
and the CLI show them. Durations are float seconds, sizes are bytes.
"""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from msgspec import Meta, Struct, field


class Goal(StrEnum):
    """Name what is wanted of a process."""

    UP = "up"
    DOWN = "down"
    GONE = "gone"


class State(StrEnum):
    """Name what a process is doing."""

    STOPPED = "stopped"
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    EXITED = "exited"
    FATAL = "fatal"
    UNKNOWN = "unknown"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
"""The states in which a unix process may exist."""

WORST_FIRST = (
    State.FATAL, State.UNKNOWN, State.BACKOFF, State.STOPPING, State.PENDING,
    State.STARTING, State.STOPPED, State.EXITED, State.RUNNING,
)  # fmt: skip
"""A job's state is the worst of its processes' states, in this order."""


class Restart(StrEnum):
    """Name the restart policies."""

    ALWAYS = "always"
    NEVER = "never"
    ON_ERROR = "on-error"


class Cost(StrEnum):
    """Name what changing a field does to what runs (DESIGN §6.4)."""

    LIVE = "live"
    SCALE = "scale"
    RELAUNCH = "relaunch"
    SINK = "sink"  # live between files, relaunch to or from anything else
    IDENTITY = "identity"


_LIVE = Meta(extra={"reload": Cost.LIVE})
_SCALE = Meta(extra={"reload": Cost.SCALE})
_RELAUNCH = Meta(extra={"reload": Cost.RELAUNCH})
_SINK = Meta(extra={"reload": Cost.SINK})
_IDENTITY = Meta(extra={"reload": Cost.IDENTITY})


class Key(NamedTuple):
    """Name one process: job and index, written `web:0`."""

    job: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here

    def __str__(self) -> str:
        return f"{self.job}:{self.index}"


def parse_key(text: str) -> Key:
    """Return the key written as `job:index`; raise ValueError for anything else."""
    job, colon, index = text.rpartition(":")
    if not colon or not job or not index.isdigit():
        raise ValueError(f"not a process key: {text!r}")
    return Key(job, int(index))


class Backoff(Struct, frozen=True):
    """Hold the delays between tries: `first`, then times `factor`, at most `max`, spread by ± `jitter` of it."""

    first: float = 0.1
    factor: float = 2.0
    max: float = 30.0
    jitter: float = 0.1


class StopStep(Struct, frozen=True):
    """Send `signum`, then wait `delay` seconds for the tree to end."""

    signum: int
    delay: float


class LogSpec(Struct, frozen=True):
    """Hold how output is kept; `maxsize` None means the file grows without rotation (default for redirections)."""

    maxsize: int | None = 10_000_000
    keep: int = 5
    maxage: float | None = None
    compress: bool = True
    direct: bool = False
    full: str = "drop"
    owner: str = "core"


class Rlimit(Struct, frozen=True):
    """Hold one resource limit by its lower-case name (`nofile`); None means unlimited."""

    name: str
    soft: int | None
    hard: int | None


class JobSpec(Struct, frozen=True):
    """Hold a job's frozen declaration. Strings marked "template" are expanded at each launch (`launch.py`).

    The annotation of each field says what a reload does with a change of it; plan and docs are made from that.
    """

    name: Annotated[str, _IDENTITY]
    argv: Annotated[tuple[str, ...], _RELAUNCH]
    """Templates. With `shell` it is (shell, "-c", cmd) already."""
    cmd: Annotated[str | tuple[str, ...], _LIVE] = ""
    """As written, for people; a change that leaves argv alone touches nothing."""
    shell: Annotated[str | None, _RELAUNCH] = None
    """The shell's path, None for no shell. With it `${…}` in the command is the shell's."""
    description: Annotated[str, _LIVE] = ""
    tags: Annotated[tuple[str, ...], _LIVE] = ()
    autostart: Annotated[bool, _LIVE] = True
    numprocess: Annotated[int, _SCALE] = 1
    restart: Annotated[Restart, _LIVE] = Restart.ON_ERROR
    exitcodes: Annotated[tuple[int | str, ...], _LIVE] = (0,)
    """Expected ends: exit codes, or signal names as "SIGTERM"."""
    successdelay: Annotated[float, _LIVE] = 0.0
    retry: Annotated[int | None, _LIVE] = 3
    """None means for ever."""
    backoff: Annotated[Backoff, _LIVE] = field(default_factory=Backoff)
    stop: Annotated[tuple[StopStep, ...], _LIVE] = (StopStep(15, 10.0),)
    """The steps of stopsignal and stopdelay; SIGKILL follows the last."""
    killgroup: Annotated[bool, _LIVE] = True
    stdout: Annotated[str, _SINK] = "log"
    """"log", "null", "inherit" or an absolute path (template)."""
    stderr: Annotated[str, _SINK] = "log"
    """As stdout; also "stdout"."""
    stdin: Annotated[str, _RELAUNCH] = "null"
    """"null", "pipe" or an absolute path (template)."""
    tty: Annotated[bool, _RELAUNCH] = False
    """Run on a terminal of its own: then it is stdin, stdout and stderr."""
    baseenv: Annotated[dict[str, str], _RELAUNCH] = {}
    """The `[env]` table of the file; values are templates; the weakest of the three."""
    fileenv: Annotated[dict[str, str], _RELAUNCH] = {}
    """What the envfiles hold; literal values; wins over baseenv."""
    env: Annotated[dict[str, str], _RELAUNCH] = {}
    """The job's own; values are templates; wins over both."""
    envfile: Annotated[tuple[str, ...], _LIVE] = ()
    cleanenv: Annotated[bool | tuple[str, ...], _RELAUNCH] = False
    workingdir: Annotated[str, _RELAUNCH] = "/"
    """Absolute path (template)."""
    umask: Annotated[int | None, _RELAUNCH] = None
    uid: Annotated[int | str | None, _RELAUNCH] = None
    """As written: resolved again at every spawn, by the core and never by the shim."""
    gid: Annotated[int | str | None, _RELAUNCH] = None
    nice: Annotated[int, _LIVE] = 0
    log: Annotated[LogSpec, _LIVE] = field(default_factory=LogSpec)
    """For managed files ("log"). `log.direct` alone costs a relaunch."""
    filelog: Annotated[LogSpec, _LIVE] = LogSpec(maxsize=None)
    """For redirections to a path."""
    limits: Annotated[tuple[Rlimit, ...], _RELAUNCH] = ()
    exitwith: Annotated[bool, _LIVE] = False
    protected: Annotated[bool, _LIVE] = False
    """What ends something of it has to be confirmed."""


def cost_of(field_name: str) -> Cost:
    """Return what changing a field of JobSpec costs."""
    return _COSTS[field_name]


def _cost_in(annotation: Any) -> Cost:
    return next(Cost(arg.extra["reload"]) for arg in get_args(annotation) if isinstance(arg, Meta) and arg.extra)


_COSTS: dict[str, Cost] = {
    name: _cost_in(annotation) for name, annotation in get_type_hints(JobSpec, include_extras=True).items()
}


class Access(Struct, frozen=True):
    """Hold the `[taskmaster.access]` table: users by name or number, groups behind an `@`."""

    operators: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    listen: str | None = None
    """Where peers of other machines come in, as tcp://HOST:PORT; events are one port further."""


class Settings(Struct, frozen=True):
    """Hold the `[taskmaster]` table."""

    autoreload: str = "apply"
    debounce: float = 0.3
    """Two equal reads of the file this far apart before a save counts."""
    logfile: str | None = None
    """The human event log; None means `<state>/taskmaster.log`."""
    loglevel: str = "info"
    socketgroup: str | None = None
    statedir: str | None = None
    include: tuple[str, ...] = ()
    """Absolute patterns of files."""
    maxstarts: int = 32
    """How many processes may be between fork and exec at a time."""
    journalkeep: float = 30 * 86400.0
    """Events older than this many seconds are dropped from the journal."""
    shutdown: float | None = None
    """An ordered stop of everything takes at most this long, then the rest is killed; None: each job's own delays."""
    access: Access = Access()


class Config(Struct, frozen=True):
    """Hold everything the config files say, resolved."""

    jobs: tuple[JobSpec, ...] = ()
    settings: Settings = field(default_factory=Settings)
    files: tuple[str, ...] = ()
    """Every file read, the main ones first, absolute."""

    def job(self, name: str) -> JobSpec | None:
        """Return the job of that name, or None."""
        return next((job for job in self.jobs if job.name == name), None)


class Exit(Struct, frozen=True, omit_defaults=True):
    """Tell how a run ended: a code, a signal, or why it could not start. All None means it is not known."""

    code: int | None = None
    signal: str | None = None
    """The signal's name, as "SIGKILL"."""
    signum: int = 0
    core: bool = False
    stage: str | None = None
    """For a failed start, where: fork, chdir, exec, …"""
    errno: str | None = None
    """Its symbolic name, as "ENOENT"."""
    message: str = ""
    """One sentence for people."""
    oom: str = ""
    """Killed by the kernel because memory ran out: "yes", "likely" or empty."""


def state_of_job(states: list[State]) -> State:
    """Return the worst of the processes' states; a job without processes is stopped."""
    present = set(states)
    return next((state for state in WORST_FIRST if state in present), State.STOPPED)


def _names(selector: str, job: str, tags: tuple[str, ...]) -> bool:
    if selector == "all":
        return True
    if selector.startswith("@"):
        return selector[1:] in tags
    return selector == job or fnmatchcase(job, selector)


def matches(selector: str, key: Key, tags: tuple[str, ...]) -> bool:
    """Tell whether a selector (`web`, `web:3`, `web:*`, `'w*'`, `@tag`, `all`) means this process."""
    job, colon, index = selector.rpartition(":")
    if not colon:
        return _names(selector, key.job, tags)
    return fnmatchcase(str(key.index), index) and _names(job, key.job, tags)


def names_job(selector: str, job: str, tags: tuple[str, ...]) -> bool:
    """Tell whether a selector means the job itself, or processes of it."""
    head, colon, _ = selector.rpartition(":")
    return _names(head if colon else selector, job, tags)
