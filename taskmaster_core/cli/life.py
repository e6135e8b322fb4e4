"""Bring everything up and down: start the core if there is none, start the jobs, show them; stop all of it.

It decides whose core it is that answers (other config files: refused), and what happens when the person leaves. The
core itself finds, reads and judges its config; what it says when it fails is shown as it said it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
from time import monotonic
from typing import IO, Any, Self

from taskmaster_core import paths
from taskmaster_core.cli import act, clients, core, logs
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.progress import Progress
from taskmaster_core.client import find
from taskmaster_core.errors import (
    ConfigInvalid,
    ExitStatus,
    NoCore,
    NotAsAsked,
    Refused,
    TaskmasterError,
    TimedOut,
)
from taskmaster_core.logs.sanitize import clean

STARTUP = 60.0
"""Seconds a core may take until it answers; the shim waits 1 s for the lock, and a cold disk takes its time."""

GOING = 15.0
"""Seconds core and shim may take to end once everything is stopped."""

_LOOK = 0.01
"""Seconds between two looks whether the new core listens: there is nobody yet who could tell."""


def up(call: Call) -> int:
    """Start the core if needed, then the jobs, then show them."""
    try:
        started = _ensure_core(call)
    except ConfigInvalid as error:
        if call.options.detach or call.options.no_tui or len(call.config) > 1 or not clients.has_screen():
            raise
        call.out.complain(f"{error}")  # the TUI shows the place, and starts the core once it is mended
        return clients.best(call)
    status = _start_jobs(call)
    if call.options.detach:
        return status
    if clients.at_terminal() and not call.options.no_tui:
        left = clients.best(call)
        call.out.hint("the jobs keep running; stop them: taskmaster down")
        return left
    return _stay(call, started)


# The core ------------------------------------------------------------------------------------------------------------


def _ensure_core(call: Call) -> subprocess.Popen[bytes] | None:
    """Return the core's process if this call started it, None if one was there, which must be of the same config."""
    try:
        answer = call.ask("status", [])
    except NoCore:
        return _launch(call)
    _check_same(call, answer["core"])
    return None


def _check_same(call: Call, running: dict[str, Any]) -> None:
    """Raise Refused when the files that were named, or would be found here, are not those of the core."""
    theirs = [os.path.realpath(path) for path in running["config"]]
    ours = [os.path.realpath(path) for path in call.config or _found_here()]
    if ours == theirs[: len(ours)]:
        return
    raise Refused(
        f"a core runs already with {', '.join(theirs) or 'no config file'}, not with {', '.join(ours)}",
        f"stop it: taskmaster down; or run both: taskmaster --instance NAME {_files(call)}up",
    )


def _files(call: Call) -> str:
    return "".join(f"-f {path} " for path in call.options.config or [])


def _found_here() -> list[str]:
    from taskmaster_core.config.discover import discover  # noqa: PLC0415  # only where a core runs and none was named

    return list(discover([], os.environ, os.getcwd()).paths)


def _launch(call: Call) -> subprocess.Popen[bytes]:
    """Start the core in the background and wait until it answers; raise what it ends with if it does not."""
    if call.options.socket:
        raise NoCore(f"nobody listens at {call.options.socket}", "without --socket, `up` starts a core")
    words = core.command_line(paths.check_instance(call.instance), call.config, idle=bool(call.selectors))
    with _output(call) as said:
        born = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        _await(call, born, said)
    return born


def _output(call: Call) -> IO[bytes]:
    """Open what the background core writes to: a file in its state directory, where there is one already.

    The directory is not made here: a config with mistakes must leave nothing behind.
    """
    statedir = paths.places(call.instance, os.environ, os.geteuid()).statedir
    if not os.path.isdir(statedir):
        return tempfile.TemporaryFile()
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(os.path.join(statedir, "core.out"), flags, 0o600), "w+b")


def _await(call: Call, born: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    until = monotonic() + (call.timeout or STARTUP)
    while monotonic() < until:
        if born.poll() is not None:
            raise _failure(born.returncode, _text(said))
        try:
            find(call.instance)
        except NoCore:
            _sleep_unless_dead(born)
            continue
        call.ask("ping", [])
        if text := _text(said):
            call.out.hint(clean(text).rstrip())
        return
    raise TimedOut("the core was started but does not answer", _text(said) or "see: taskmaster doctor")


def _sleep_unless_dead(born: subprocess.Popen[bytes]) -> None:
    try:
        death = os.pidfd_open(born.pid)
    except (OSError, AttributeError):
        select.select([], [], [], _LOOK)
        return
    try:
        select.select([death], [], [], _LOOK)
    finally:
        os.close(death)


def _text(said: IO[bytes]) -> str:
    return os.pread(said.fileno(), 1 << 16, 0).decode("utf-8", "replace")


def _failure(code: int, said: str) -> TaskmasterError:
    """Return the error for a core that ended at once: what it said is the message."""
    kinds: dict[int, type[TaskmasterError]] = {ExitStatus.CONFIG: ConfigInvalid, ExitStatus.REFUSED: Refused}
    why = said.strip() or f"it said nothing, and ended with {code}"
    return kinds.get(code, NotAsAsked)(f"the core did not start\n{why}")


# The jobs ------------------------------------------------------------------------------------------------------------


def _start_jobs(call: Call) -> int:
    """Start what was selected, else all with autostart."""
    if call.selectors:
        return act.request(call, "start", call.selectors, {"wait": True} | act.limit(call))
    with Progress(call, "up", ["all"]) as watch:
        done = call.ask("start", [], watch=watch, autostart=True, wait=True, **act.limit(call))
    return act.tell(call, "up", done)


def _stay(call: Call, started: subprocess.Popen[bytes] | None) -> int:
    """Show the output until Ctrl-C or TERM, which stops everything if we started the core; or until the core ends."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # INT too: a shell starts `up &` with it ignored
        signal.signal(signum, signal.default_int_handler)
    try:
        logs.follow(call, call.selectors, alive=lambda: started is None or started.poll() is None)
    except NoCore:
        if started is None:
            raise
    except KeyboardInterrupt:
        if started is None:
            call.out.hint("the jobs keep running; stop them: taskmaster down")
        else:
            _stop_all(call, keep_core=False, confirmed=True)  # Ctrl-C on what this call started is meant so
        return ExitStatus.INTERRUPTED
    return _its_status(started) if started is not None else ExitStatus.DONE


def _its_status(started: subprocess.Popen[bytes]) -> int:
    """Return the exit status of the shim: the code of the job that has `exitwith`, or 0."""
    try:
        return started.wait(GOING)
    except subprocess.TimeoutExpired:
        raise NoCore("the core does not answer any more, and its shim lives", "see: taskmaster doctor") from None


# Down ----------------------------------------------------------------------------------------------------------------


def down(call: Call) -> int:
    """Stop all jobs, then the core."""
    return _stop_all(call, keep_core=call.options.keep_core)


def _stop_all(call: Call, *, keep_core: bool, confirmed: bool = False) -> int:
    shim = call.ask("status", [])["core"]["shim_pid"]
    with _Death(shim) as death:
        status = _shut_down(call, death, {"keep_core": keep_core} | ({"confirmed": True} if confirmed else {}))
        if not keep_core and not death.wait(call.timeout or GOING):
            raise TimedOut(f"everything is stopped, but the shim (pid {shim}) has not ended", "see: taskmaster doctor")
    return status


def _shut_down(call: Call, death: _Death, args: dict[str, Any]) -> int:
    try:
        with Progress(call, "down", ["all"]) as watch:
            done = call.ask("shutdown", [], watch=watch, **args, **act.limit(call))
    except NoCore:
        if death.wait(0):
            return ExitStatus.DONE  # it ended before its answer got through
        raise
    status = act.tell(call, "down", done)
    if not done.get("outcomes"):
        call.out.hint("nothing was running")
    return status


class _Death:
    """Wait for the end of a process that is no child, without looking again and again."""

    def __init__(self, pid: int) -> None:
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except (OSError, AttributeError):  # gone already; of another pid namespace; or no Linux
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def wait(self, seconds: float) -> bool:
        """Tell whether it is gone after at most this long; True also if it could not be watched."""
        return self._fd is None or bool(select.select([self._fd], [], [], seconds)[0])
