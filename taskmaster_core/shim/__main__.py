"""The shim: parent of everything. Started as `python -I -S <this directory> [--no-cgroup] -- CORE ARGV…`.

Wires the parts together and runs the loop until there is nothing left to look after; decides nothing itself.
Single-threaded, standard library only, nothing is imported after the start.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys

import kernel

_TOLD = [
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
]
# first thing: as process 1 of a container a signal that nobody waits for would be lost, elsewhere it would kill us
kernel.unignore_reserved()
signals_fd = kernel.open_signals(_TOLD)
for _ignored in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH):
    signal.signal(_ignored, signal.SIG_IGN)

import fcntl  # noqa: E402
import resource  # noqa: E402

import renewal  # noqa: E402
import spawn  # noqa: E402
import state  # noqa: E402
import trial  # noqa: E402
from corelife import CoreLife  # noqa: E402
from house import House  # noqa: E402
from loop import WIRE, Loop  # noqa: E402
from orders import Orders  # noqa: E402
from release import Unfit, judge  # noqa: E402
from shutdown import Shutdown  # noqa: E402
from sinks import Sinks  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_OURS = (*_SYSTEMD, "LISTEN_PIDFDID", "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID", "FDSTORE")
_RECOVER = "TASKMASTER_RECOVER"
_SUPERVISED = "TASKMASTER_SUPERVISED"


class Shim:
    """Hold all parts."""

    def __init__(self, argv: list[str], *, use_cgroups: bool) -> None:
        env = dict(os.environ)
        notify = env.get("NOTIFY_SOCKET", "")
        again = None if _supervised(env) else trial.own_words()
        self._handed_over = _handed_over(env.pop(_RECOVER, ""))
        for name in _OURS:
            env.pop(name, None)
        self.loop = Loop(self._complain_of)
        sinks = Sinks(self.loop, self._tell, self._complain)
        self.house = House(self.loop, sinks, spawn.Heritage(), self._tell)
        self.core = CoreLife(self.house, argv, env, _test_number("TM_BEAT_TIMEOUT"))
        self.orders = Orders(self.house, self.core, use_cgroups=use_cgroups, notify=notify, again=again)
        self.shutdown = Shutdown(self.house, self.core)
        self.renewal = renewal.Renewal(self.house, self.core, self.orders, self.shutdown)
        self.core.on_order = self.orders.carry_out
        sinks.hint = self.core.say
        sinks.live = self.core.say_live
        self.loop.watch(signals_fd, self._signals, rank=WIRE)

    def prepare(self) -> None:
        """Become what a parent of everything has to be."""
        self.house.inherited = _seal_inherited()
        kernel.become_subreaper()
        spawn.raise_limits()
        self.house.nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.house.sinks.limit = max(4, min(256, self.house.nofile // 8))
        self.house.spared = spawn.spare_from_oom()

    def take_over(self, held: dict[str, Any]) -> None:
        """Bring back what the shim before us, in whose place we are, has left us."""
        judge(held.get("v"))
        state.read(held, self.house, self.core, self.orders, self.shutdown)

    def run(self, renewed: dict[str, Any] | None) -> int:
        """Serve until everything has ended; return the exit status. `renewed`: we go on where another one was."""
        if renewed is not None:
            self.renewal.resumed(renewed)
        elif self._handed_over is not None:
            self.core.adopt(*self._handed_over)
        else:
            self.core.start()
        while self.shutdown.status is None:
            self.core.flush()
            self.loop.turn()
            self.renewal.carry_out()
        self.core.flush()
        self.house.leave()
        return self.shutdown.status

    def _signals(self, _: int) -> None:
        for signum, sender in kernel.read_signals(signals_fd):
            self.shutdown.receive(signum, sender)

    def _tell(self, report: dict[str, Any]) -> None:
        self.core.ledger.add(report)

    def _complain(self, message: str) -> None:
        self.core.say({"t": "error", "message": message})
        line = f"taskmaster shim: {message}\n".encode("utf-8", "backslashreplace")
        try:
            poll = select.poll()
            poll.register(2, select.POLLOUT)
            if poll.poll(0):  # a pipe that nobody reads must not hold us up: one that has room takes so much at once
                os.write(2, line[: select.PIPE_BUF])
        except OSError:
            pass  # nobody listens there; the core was told

    def _complain_of(self, error: BaseException) -> None:
        self._complain(f"{type(error).__name__}: {error} ({_place(error)})")


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(places[-4:])


def _test_number(name: str) -> float | None:
    if os.environ.get("TM_TEST") != "1" or name not in os.environ:
        return None
    return float(os.environ[name])


def _seal_inherited() -> frozenset[int]:
    """Keep what we were started with from every job, except by explicit order; return those numbers."""
    found = {1, 2}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and _inheritable(number):
            os.set_inheritable(number, False)
            found.add(number)
    return frozenset(found)


def _inheritable(number: int) -> bool:
    try:
        return not fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    except OSError:
        return False  # the descriptor of the listing itself


def _handed_over(text: str) -> tuple[int, int] | None:
    """Return the wire and the pid of the core that started us because its shim died; None when a person did."""
    link, _, pid = text.partition(":")
    if not (link.isdigit() and pid.isdigit()):
        return None
    os.set_inheritable(int(link), False)
    return int(link), int(pid)


def _supervised(env: dict[str, str]) -> bool:
    """Tell whether somebody starts us again when we are killed: then the core must not do it too."""
    return (
        env.get(_SUPERVISED) == "1"
        or "NOTIFY_SOCKET" in env
        or env.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        or os.getpid() == 1
    )


def _secure_standard_descriptors() -> None:
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # takes the lowest number, which is this one
            os.set_inheritable(number, True)


def _use_utf8(arguments: list[str]) -> None:
    """Paths are bytes that the wire carries as UTF-8; a C or Latin locale must not change them."""
    if sys.getfilesystemencoding().lower() != "utf-8" and not sys.flags.utf8_mode:
        here = os.path.dirname(os.path.abspath(__file__))
        argv = [sys.executable, "-X", "utf8", "-I", "-S", here, *arguments]
        os.execv(sys.executable, argv)  # noqa: S606 - ourselves


_USAGE = "usage: python -I -S SHIM [--no-cgroup] [--resume FD | --selftest FD] -- CORE ARGV…"


class Words:
    """Hold the command line."""

    def __init__(self, arguments: list[str]) -> None:
        if "--" not in arguments or arguments[-1] == "--":
            raise SystemExit(_USAGE)
        at = arguments.index("--")
        options, self.core = arguments[:at], arguments[at + 1 :]
        self.use_cgroups = "--no-cgroup" not in options
        self.resume, self.selftest = -1, -1
        while options:
            word = options.pop(0)
            if word in ("--resume", "--selftest") and options and options[0].isdigit():
                setattr(self, word[2:], int(options.pop(0)))
            elif word != "--no-cgroup":
                raise SystemExit(_USAGE)


def _rehearse(words: Words) -> None:
    """Bring a state back and say so: a shim of another version asks whether we can take its place."""
    try:
        held = trial.from_memory(words.selftest)
        judge(held.get("v"))
        state.check(held)  # first: what is made of it here closes its descriptors when it is let go
        Shim(words.core, use_cgroups=words.use_cgroups).take_over(held)
        renewal.say_fit()
    except Unfit as why:
        raise SystemExit(str(why)) from None


def main() -> int:
    """Run the shim."""
    _use_utf8(sys.argv[1:])
    words = Words(sys.argv[1:])
    if words.selftest >= 0:
        _rehearse(words)
    _secure_standard_descriptors()
    held = trial.from_memory(words.resume) if words.resume >= 0 else None
    if held is not None:
        renewal.seal(held)
    shim = Shim(words.core, use_cgroups=words.use_cgroups)
    shim.prepare()
    renewed = None
    if held is not None:
        shim.take_over(held)
        renewed = held["renewal"]
        held = None  # it may be large, and this frame stays
    gc.freeze()  # what is here now stays; looking at it again and again would copy pages after each fork
    gc.set_threshold(20_000, 50, 50)  # rarely: nothing here makes cycles on purpose
    return shim.run(renewed)


if __name__ == "__main__":
    sys.exit(main())
