"""The file model: every key a config may hold, with its type, default and meaning.

Decides what is a key and what one value may be; all that is wrong is reported at once. Does not look at two keys
together, at the disk or at users: `build` does. The JSON Schema and docs/config.md are generated from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from taskmaster_core.config import foreign, values
from taskmaster_core.config.values import DAY, YEAR

_SIGNAL = {"title": "signal", "type": ["string", "integer"]}
_DURATION = {
    "title": "duration",
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": "^([0-9.]+(ms|[smhdw]))+$"}],
}
_SIZE = {
    "title": "size",
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9.]+ ?([KMGTkmgt]i?)?B$"}],
}
_STRINGS = {"title": "array of strings", "type": "array", "items": {"type": "string"}}
_ENDS: dict[str, Any] = {"type": ["integer", "string"]}


class Reads:
    """Say how a value is read and how a schema describes it; pydantic's own pair takes twice as long to build."""

    def __init__(self, read: Callable[[Any], Any], schema: dict[str, Any]) -> None:
        self.read = read
        self.schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return what pydantic-core runs for a value."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        """Return what the JSON Schema says."""
        return dict(self.schema)


def _listed(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise values.wrong_type(value, f"an array of {what}", "put it into [ ]")
    return value


def _command(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        if not value:
            raise values.Invalid("the command is empty", "write the program and its arguments", "E302")
        return values.each(value, values.text)
    if not isinstance(value, str):
        raise values.wrong_type(value, "a string or an array of strings")
    return values.text(value)


def _shell(value: Any) -> bool | str:
    if isinstance(value, str):
        if not value or set(value) & set(" \t\0"):
            raise values.Invalid("`shell` is a path, without arguments", 'write shell = "/bin/bash", or true')
        return value
    return values.boolean(value)


def _tag(value: Any) -> str:
    tag = values.text(value)
    if not tag or not tag.isprintable() or set(tag) & set(" :,@*?[]!"):
        raise values.Invalid(f"{values.clipped(tag)} cannot be a tag: letters, digits, - _ . /")
    return tag


def _tags(value: Any) -> tuple[str, ...]:
    return values.each(_listed(value, "strings"), _tag)


def _retry(value: Any) -> int | None:
    if value == "forever":
        return None
    if isinstance(value, str):
        raise values.Invalid(f'"{value[:40]}" is neither a number nor "forever"')
    if value == -1:
        raise values.Invalid("-1 is out of range: 0 to 1000000", 'for no limit write "forever"', "E202")
    return values.integer(0, 1_000_000, 'for no limit write "forever"')(value)


def _stopsignal(value: Any) -> int | tuple[tuple[int, float], ...]:
    if not isinstance(value, list):
        return values.signum(value)
    if not 1 <= len(value) <= 10:
        raise values.Invalid("a list of stop steps has 1 to 10 of them", "", "E202")
    return values.each(value, _step)


def _step(value: Any) -> tuple[int, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise values.Invalid("a stop step is a signal and a duration", 'write [["INT", "10s"], ["TERM", "5s"]]', "E201")
    signum, delay = values.each(zip((values.signum, _stopdelay), value, strict=True), lambda pair: pair[0](pair[1]))
    return signum, delay


_stopdelay = values.duration(0, 7 * DAY)


def _output(value: Any, words: tuple[str, ...]) -> str:
    path = values.text(value)
    if path in words:
        return path
    if not path:
        raise values.Invalid("the path is empty", 'write "null" for none')
    if path.lower() in _OUTPUT_WORDS or path in ("stdout", "stderr", "pipe"):
        ours = _OUTPUT_WORDS.get(path.lower(), "log")
        raise values.Invalid(
            f'"{path}" is no word here', f'did you mean "{ours}"? (a file of that name: "./{path}")', "E307"
        )
    return path


_OUTPUT_WORDS = {
    "auto": "log", "none": "null", "devnull": "null", "journal": "log", "syslog": "log", "logs": "log", "log": "log",
    "file": "log", "null": "null", "nul": "null", "false": "null", "inherit": "inherit", "tty": "inherit",
    "console": "inherit",
}  # fmt: skip


def _stdout(value: Any) -> str:
    return _output(value, ("log", "null", "inherit"))


def _stderr(value: Any) -> str:
    return _output(value, ("log", "null", "inherit", "stdout"))


def _stdin(value: Any) -> str:
    path = values.text(value)
    if not path or path in ("log", "inherit", "none", "/dev/stdin"):
        raise values.Invalid(f'"{path}" is no word here', 'write "null", "pipe" or a path', "E307")
    return path


def _cleanenv(value: Any) -> bool | tuple[str, ...]:
    return values.each(value, values.text) if isinstance(value, list) else values.boolean(value)


def _paths(value: Any) -> tuple[str, ...]:
    return values.each(value, _path) if isinstance(value, list) else (_path(value),)


def _path(value: Any) -> str:
    path = values.text(value)
    if not path.strip("?"):
        raise values.Invalid("the path is empty")
    return path


def _user(value: Any) -> int | str:
    if isinstance(value, str) and value:
        return values.text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return values.integer(0, 2**32 - 2)(value)
    raise values.wrong_type(value, "a name or a number") if value != "" else values.Invalid("the name is empty")


def _limit(read: Any) -> Any:
    """Make a reader of a limit: a value, [soft, hard], or "unlimited"."""

    def one(value: Any) -> int | None:
        if value in ("unlimited", "infinity"):
            return None
        number = read(value)
        return int(number)

    def limit(value: Any) -> tuple[int | None, int | None]:
        if not isinstance(value, list):
            number = one(value)
            return number, number
        if len(value) != 2:
            raise values.Invalid("a limit is one value, or soft and hard", "write [1024, 4096]", "E201")
        soft, hard = values.each(value, one)
        if hard is not None and (soft is None or soft > hard):
            raise values.Invalid("the soft limit is above the hard one", "write [soft, hard]", "E202")
        return soft, hard

    return limit


_LIMIT_SCHEMA = {
    "title": "limit",
    "anyOf": [*_SIZE["anyOf"], {"type": "string"}, {"type": "array", "minItems": 2, "maxItems": 2}],
}
_UMASK_SCHEMA = {
    "title": "umask",
    "anyOf": [{"type": "string", "pattern": "^(0o)?[0-7]+$"}, {"type": "integer", "minimum": 0, "maximum": 0o777}],
}
_REDIRECTION = {"title": "word or path", "type": "string", "minLength": 1}
_HUGE = 2**62

Limit = tuple[int | None, int | None]
Boolean = Annotated[bool, Reads(values.boolean, {"type": "boolean"})]
Text = Annotated[str, Reads(values.text, {"type": "string"})]
FilePath = Annotated[str, Reads(_path, {"title": "path", "type": "string", "minLength": 1})]
User = Annotated[int | str, Reads(_user, {"title": "name or number", "type": ["string", "integer"]})]
Sized = Annotated[Limit, Reads(_limit(values.size(0, _HUGE)), _LIMIT_SCHEMA)]
Counted = Annotated[Limit, Reads(_limit(values.integer(0, _HUGE)), _LIMIT_SCHEMA)]
Timed = Annotated[Limit, Reads(_limit(values.duration(0, YEAR)), _LIMIT_SCHEMA)]
Variables = Annotated[
    dict[str, str],
    Reads(
        values.variables, {"title": "table of strings", "type": "object", "additionalProperties": {"type": "string"}}
    ),
]


def _whole(low: int, high: int) -> Reads:
    return Reads(values.integer(low, high), {"type": "integer", "minimum": low, "maximum": high})


def _real(low: float, high: float) -> Reads:
    return Reads(values.number(low, high), {"type": "number", "minimum": low, "maximum": high})


def _time(low: float, high: float) -> Reads:
    return Reads(values.duration(low, high), _DURATION)


def _one_of(*words: str, also: dict[str, str] | None = None) -> Reads:
    return Reads(values.choice(*words, also=also), {"enum": list(words)})


class Keys(BaseModel):
    """Refuse what is not a key, take no value for another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class BackoffKeys(Keys):
    """The delays between tries."""

    first: Annotated[float, _time(0, DAY)] = 0.1
    """The first delay."""
    factor: Annotated[float, _real(1, 100)] = 2.0
    """Each delay is this many times the one before."""
    max: Annotated[float, _time(0, DAY)] = 30.0
    """No delay is longer."""
    jitter: Annotated[float, _real(0, 1)] = 0.1
    """Delays are spread by this part of them, up and down, so that jobs do not try in step."""


class LogKeys(Keys):
    """How output is kept. Holds for files the core manages and for redirections to a path."""

    maxsize: Annotated[int, Reads(values.size(0, 2**50), _SIZE)] = 10_000_000
    """A new part begins when the file would grow beyond this; 0: never. Redirections to a path are not rotated unless
    this is written."""
    keep: Annotated[int, _whole(0, 1000)] = 5
    """Parts kept besides the current one."""
    maxage: Annotated[float | None, _time(1, 100 * YEAR)] = None
    """Parts older than this are removed."""
    compress: Boolean = True
    """Older parts are gzipped."""
    direct: Boolean = False
    """The process gets the file itself: full speed, but no rotation and no times."""
    full: Annotated[str, _one_of("drop", "block")] = "drop"
    """What happens when the disk is full: "drop" counts and says the loss, "block" makes the process wait."""
    owner: Annotated[str, _one_of("core", "job")] = "core"
    """Whose the files are: the core's user or the job's."""


class LimitKeys(Keys):
    """Resource limits of each process: a value for both, [soft, hard], or "unlimited"."""

    nofile: Counted | None = None
    """Open files."""
    nproc: Counted | None = None
    """Processes of the user."""
    core: Sized | None = None
    """Size of a core dump."""
    stack: Sized | None = None
    """Size of the stack."""
    as_: Annotated[Sized | None, Field(alias="as")] = None
    """Address space."""
    cpu: Timed | None = None
    """CPU time; beyond the soft limit the process gets XCPU, beyond the hard one KILL."""
    data: Sized | None = None
    """Size of the data segment."""
    fsize: Sized | None = None
    """Size of a file it writes."""
    memlock: Sized | None = None
    """Memory locked against paging."""
    rss: Sized | None = None
    """Resident memory (without effect on Linux)."""
    locks: Counted | None = None
    """File locks."""
    sigpending: Counted | None = None
    """Queued signals."""
    msgqueue: Sized | None = None
    """Bytes in message queues."""
    rtprio: Counted | None = None
    """Highest real-time priority."""


class TaskKeys(Keys):
    """A job: a command and how it is kept running."""

    cmd: Annotated[
        str | tuple[str, ...] | None,
        Reads(
            _command,
            {
                "title": "string or array of strings",
                "anyOf": [{"type": "string", "minLength": 1}, {**_STRINGS, "minItems": 1}],
            },
        ),
    ] = None
    """The command. A string is split into words as a shell does, and no shell runs; an array is taken as it is.
    Placeholders are replaced."""
    shell: Annotated[bool | str, Reads(_shell, {"title": "boolean or path", "type": ["boolean", "string"]})] = False
    """Run `cmd` through `/bin/sh -c`, or through the shell of this path."""
    description: Text = ""
    """A sentence for people."""
    tags: Annotated[tuple[str, ...], Reads(_tags, _STRINGS)] = ()
    """Words that select the job: `taskmaster stop @web`."""
    autostart: Boolean = True
    """Start with the core."""
    numprocess: Annotated[int, _whole(0, 10_000)] = 1
    """How many processes of the command run."""
    restart: Annotated[str, _one_of("always", "never", "on-error", also=foreign.RESTARTS)] = "on-error"
    """When a process is started again after it ended by itself; "on-error": after an exit code not in `exitcodes`, or
    a signal."""
    exitcodes: Annotated[
        tuple[int | str, ...],
        Reads(
            values.exitcodes, {"title": "exit codes and signals", "anyOf": [_ENDS, {"type": "array", "items": _ENDS}]}
        ),
    ] = (0,)
    """The expected ends: exit codes, or names of signals."""
    successdelay: Annotated[float, _time(0, 30 * DAY)] = 0.0
    """Alive this long means started. If it is not 0, an exit before it is a failed start, whatever the code."""
    retry: Annotated[
        int | None,
        Reads(
            _retry,
            {
                "title": 'integer or "forever"',
                "anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**6}, {"const": "forever"}],
            },
        ),
    ] = 3
    """Unsuccessful runs in a row before the job is fatal; 2 means 3 starts. "forever": never give up."""
    backoff: BackoffKeys = Field(default_factory=BackoffKeys)
    """The delays between tries."""
    stopsignal: Annotated[
        int | tuple[tuple[int, float], ...],
        Reads(
            _stopsignal,
            {
                "title": "signal or steps",
                "anyOf": [_SIGNAL, {"type": "array", "items": {"type": "array"}, "minItems": 1}],
            },
        ),
    ] = 15
    """The signal that asks a process to end, or steps of signal and delay: [["INT", "10s"], ["TERM", "5s"]]. Then
    comes KILL."""
    stopdelay: Annotated[float, Reads(_stopdelay, _DURATION)] = 10.0
    """How long after the signal KILL comes; 0: at once."""
    killgroup: Boolean = True
    """Stop everything that descends from the process, not only the process itself."""
    stdout: Annotated[str, Reads(_stdout, _REDIRECTION)] = "log"
    """"log" (a rotated file of the core), "null", "inherit" (the core's own), or the path of a file."""
    stderr: Annotated[str, Reads(_stderr, _REDIRECTION)] = "log"
    """As `stdout`; "stdout": together with it."""
    stdin: Annotated[str, Reads(_stdin, _REDIRECTION)] = "null"
    """"null", "pipe" (what `taskmaster send` writes), or the path of a file."""
    tty: Boolean = False
    """Run on a terminal of its own, as stdin, stdout and stderr: `taskmaster attach` shows it and types to it, `stdout`
    says where its output is logged. TERM is xterm-256color where it would be missing or "dumb"."""
    env: Variables = {}
    """Variables, over those of the core, `[env]` and `envfile`. Placeholders are replaced; a value sees those before
    it."""
    cleanenv: Annotated[
        bool | tuple[str, ...],
        Reads(_cleanenv, {"title": "boolean or array of names", "anyOf": [{"type": "boolean"}, _STRINGS]}),
    ] = False
    """Start without the core's variables, or with those of these names alone."""
    envfile: Annotated[
        tuple[str, ...],
        Reads(_paths, {"title": "path or array of paths", "anyOf": [{"type": "string"}, _STRINGS]}),
    ] = ()
    """Files of variables in dotenv syntax; one with a `?` at either end may be missing."""
    workingdir: FilePath | None = None
    """Where the process runs. Without it: the directory of the config file."""
    umask: Annotated[int | None, Reads(values.umask, _UMASK_SCHEMA)] = None
    """The permissions taken from files the process creates, octal: 0o022 or "022". Without it: the core's."""
    uid: User | None = None
    """The user, by name or number, with its groups, HOME, USER, LOGNAME and SHELL. Needs root."""
    gid: User | None = None
    """The group, by name or number. Needs root."""
    nice: Annotated[int, _whole(-20, 19)] = 0
    """The niceness; below 0 needs root."""
    log: LogKeys = Field(default_factory=LogKeys)
    """How output is kept."""
    limits: LimitKeys = Field(default_factory=LimitKeys)
    """Resource limits."""
    exitwith: Boolean = False
    """The core stops, with this job's exit code, when the job ends (containers, CI)."""
    protected: Boolean = False
    """What would end something of it has to be confirmed: stop, restart, kill, signal, scaling down, and a reload,
    which is not applied by saving then."""


class Task(TaskKeys):
    """A job."""

    name: Annotated[str, Reads(values.job_name, {"type": "string", "minLength": 1, "maxLength": 64})]
    """The job's name, unique: 1 to 64 printable characters, without : / @ * ? [ ] \\, not beginning with - . or !,
    not `all`."""


def _include(value: Any) -> tuple[str, ...]:
    return values.each(_listed(value, "paths"), _path)


_PEERS = {"title": "users and groups", "type": "array", "items": {"type": ["string", "integer"]}}
Peers = Annotated[tuple[str, ...], Reads(values.peers, _PEERS)]


class AccessKeys(Keys):
    """Who may do what. Root and the user of the core may do everything; members of `socketgroup` may look."""

    operators: Peers = ()
    """Who may look, and start, stop, restart, signal and scale: users by name or number, groups as "@name". They must
    be able to reach the socket (`socketgroup`)."""
    readers: Peers = ()
    """Who may look and change nothing."""
    listen: Annotated[
        str | None, Reads(values.address, {"title": "address", "type": "string", "pattern": "^tcp://.+:[0-9]+$"})
    ] = None
    """Where clients of other machines come in: "tcp://HOST:PORT". Only keys that `taskmaster host authorize` has
    written down are let in, with their role. Events take the port after it."""


class SettingsKeys(Keys):
    """The core itself."""

    autoreload: Annotated[
        str, _one_of("apply", "ask", "off", also={"true": "apply", "false": "off", "yes": "apply", "no": "off"})
    ] = "apply"
    """What saving the file does: "apply" the changes, "ask" first, or nothing ("off")."""
    debounce: Annotated[float, _time(0.01, 3600)] = 0.3
    """A saved file counts when two reads this far apart are equal."""
    logfile: FilePath | None = None
    """The log of events for people. Without it: `taskmaster.log` in the state directory."""
    loglevel: Annotated[
        str, _one_of("debug", "info", "warning", "error", also={"warn": "warning", "trace": "debug"})
    ] = "info"
    """What is written to it."""
    socketgroup: User | None = None
    """A group, by name or number, whose members may use the sockets."""
    statedir: FilePath | None = None
    """Where the journal and the managed logs are."""
    include: Annotated[tuple[str, ...], Reads(_include, _STRINGS)] = ()
    """More config files: paths or patterns, as "conf.d/*.toml"; read in this order, those of a pattern by name."""
    maxstarts: Annotated[int, _whole(1, 1000)] = 32
    """Processes started at the same time."""
    journalkeep: Annotated[float, _time(3600, 100 * YEAR)] = 30 * DAY
    """How long events are kept."""
    shutdown: Annotated[float | None, _time(0, 7 * DAY)] = None
    """The longest an ordered stop of everything takes; then the rest is killed. Without it: each job's own delays."""
    access: AccessKeys = Field(default_factory=AccessKeys)
    """Who may do what."""


class File(Keys):
    """A config of Taskmaster."""

    task: list[Task] = []
    """The jobs: `[[task]]` tables with a `name`, or `[task.NAME]` tables."""
    job: list[Task] = []
    """Another spelling of `task`."""
    defaults: TaskKeys = Field(default_factory=TaskKeys)
    """Any key of a task but `name`; holds for each task of this file, and of the files it includes, that does not say
    otherwise."""
    env: Variables = {}
    """Variables for every job of this file and of the files it includes."""
    taskmaster: SettingsKeys = Field(default_factory=SettingsKeys)
    """The core itself."""
