"""Named moments in the life of shim and core at which a test may have them killed; the product knows nothing of this.

Loaded only by the two programs beside it, which start the real shim and the real core with the functions of the
table wrapped from outside. What is armed stands in `TM_CRASHPOINT` (with `TM_TEST=1`): `NAME[:N][!VICTIM]`, or
`@FILE` for a file that holds that text; the file is renamed by who dies of it, so that one death is one death.
VICTIM: `shim`, `core` (default: whose moment it is), `both`, `child` (the job's process before its exec), `stall` (the
shim; the child goes on a second later).
"""

from __future__ import annotations

import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

BEFORE, AFTER, WITHIN = "before", "after", "within"

# What has to be done for the moment to come.
WORK, NEW_CORE, NEW_SHIM, END = "work", "new core", "new shim", "end"

Row = tuple[str, str, str, str]

SHIM: dict[str, Row] = {
    # the parent's half of a spawn
    "before_lock": ("launch", "Launch._take_lock", BEFORE, WORK),
    "after_flock": ("launch", "Launch._take_lock", AFTER, WORK),
    "before_fork": ("launch", "Launch._fork", BEFORE, WORK),
    "after_fork_parent": ("launch", "Launch._open_pidfd", BEFORE, WORK),
    "before_watching_it": ("runs", "Run.begin", BEFORE, WORK),
    # the child's half
    "child_before_session": ("spawn", "_STEPS.session", BEFORE, WORK),
    "child_before_record": ("spawn", "_STEPS.lock", BEFORE, WORK),
    "child_after_record": ("spawn", "_STEPS.lock", AFTER, WORK),
    "before_exec": ("spawn", "_STEPS.exec", BEFORE, WORK),
    "after_exec_ack": ("runs", "Run._settled", BEFORE, WORK),
    "after_spawned_told": ("runs", "Run._settled", AFTER, WORK),
    # an end, and a stop
    "after_stop_signal": ("runs", "Run.signal", AFTER, WORK),
    "before_exit_noted": ("runs", "Run._ended", BEFORE, WORK),
    "before_reap": ("runs", "Run._finish", BEFORE, WORK),
    "after_reap_before_release": ("runs", "Run._release", BEFORE, WORK),
    "after_reap_before_report": ("runs", "Run._tell_end", BEFORE, WORK),
    "before_unlock": ("house", "House.unlock", BEFORE, WORK),
    "in_amendment": ("records", "os.rename", BEFORE, WORK),
    # the wire
    "between_orders": ("frames", "Decoder.feed", WITHIN, WORK),
    "before_ack": ("link", "Ledger.acknowledge", BEFORE, WORK),
    "after_ack": ("link", "Ledger.acknowledge", AFTER, WORK),
    "before_report": ("link", "Link._send", BEFORE, WORK),
    "after_report": ("link", "Link._send", AFTER, WORK),
    # output
    "before_splice": ("sinks", "Sink.splice", BEFORE, WORK),
    "read_not_written": ("sinks", "Sink.put", BEFORE, WORK),
    "in_rotation_1": ("files", "as_user", BEFORE, WORK),
    "in_rotation_2": ("parts", "Parts.add", BEFORE, WORK),
    "in_rotation_3": ("index", "Index.rotate", AFTER, WORK),
    "in_rotation_4": ("sinks", "Sink._prune", BEFORE, WORK),
    # another core
    "before_core_fork": ("corelife", "CoreLife._fork", BEFORE, NEW_CORE),
    "after_core_fork": ("corelife", "CoreLife._attend", BEFORE, NEW_CORE),
    "before_greeting": ("corelife", "CoreLife.greet", BEFORE, NEW_CORE),
    "after_greeting": ("corelife", "CoreLife.greet", AFTER, NEW_CORE),
    "after_ready_heard": ("corelife", "CoreLife.became_ready", AFTER, NEW_CORE),
    # taking over what an earlier shim left
    "before_instance_lock": ("opening", "Opening._try_lock", BEFORE, NEW_SHIM),
    "after_instance_lock": ("opening", "Opening._clean_up", BEFORE, NEW_SHIM),
    "in_adoption": ("adopted", "take_over", AFTER, NEW_SHIM),
    "before_fifo_again": ("streams", "open_again", BEFORE, NEW_SHIM),
    "after_adoption": ("opening", "Opening._finish", BEFORE, NEW_SHIM),
    "before_sweep_of_fifos": ("paths", "Places.sweep_fifos", BEFORE, NEW_SHIM),
    "before_adopted_begin": ("adopted", "Adopted.begin", BEFORE, NEW_SHIM),
    # the end of everything
    "after_goodbye": ("corelife", "CoreLife.say_goodbye", AFTER, END),
    "before_leaving": ("house", "House.leave", BEFORE, END),
}

_CORE = "taskmaster_core."
CORE: dict[str, Row] = {
    "before_take_in": (_CORE + "daemon", "Reports.take_in", BEFORE, WORK),
    "before_settle": (_CORE + "daemon", "Reports.take_in", AFTER, WORK),
    "before_policy": (_CORE + "supervisor", "Supervisor.report", BEFORE, WORK),
    "before_orders": (_CORE + "shimlink", "ShimLink.send", BEFORE, WORK),
    "after_orders_before_journal": (_CORE + "shimlink", "ShimLink.send", AFTER, WORK),
    "after_journal_order": (_CORE + "publisher", "Publisher.flush", AFTER, WORK),
    "in_journal_before_write": (_CORE + "journal.store", "Store.write", BEFORE, WORK),
    "in_journal_after_write": (_CORE + "journal.store", "Store.write", AFTER, WORK),
    "before_completion": (_CORE + "journal", "Journal._deliver", BEFORE, WORK),
    "after_completion": (_CORE + "publisher", "Publisher.written", AFTER, WORK),
    "before_op": (_CORE + "daemon", "Ops.handle", BEFORE, WORK),
    "after_op": (_CORE + "daemon", "Ops.handle", AFTER, WORK),
    "before_intent": (_CORE + "journal", "Journal.put_intents", BEFORE, WORK),
    "after_commit": (_CORE + "runtime", "Runtime.committed", BEFORE, WORK),
    "before_answer": (_CORE + "server", "Server.answer", BEFORE, WORK),
    "after_answer": (_CORE + "server", "Server.answer", AFTER, WORK),
    "reload_before_reading": (_CORE + "reloader", "Reloader._load", BEFORE, WORK),
    "reload_before_keeping": (_CORE + "generations", "os.replace", BEFORE, WORK),
    "reload_before_applying": (_CORE + "reloader", "Reloader._apply", BEFORE, WORK),
    "reload_planned": (_CORE + "supervisor", "Supervisor.reload", AFTER, WORK),
    "reload_before_answer": (_CORE + "reloader", "Reloader._end", BEFORE, WORK),
    "boot_before_hello": (_CORE + "boot", "_Opening.ask", BEFORE, NEW_CORE),
    "boot_after_hello": (_CORE + "boot", "_Opening.ask", AFTER, NEW_CORE),
    "boot_before_journal": (_CORE + "journal", "Journal.start", BEFORE, NEW_CORE),
    "boot_after_awaking": (_CORE + "boot", "_Parts._awake", AFTER, NEW_CORE),
    "before_bind": (_CORE + "daemon", "Core._bind", BEFORE, NEW_CORE),
    "before_ready": (_CORE + "daemon", "Core._bind", AFTER, NEW_CORE),
    "recovery_begins": (_CORE + "recovery", "Recovery.begin", BEFORE, NEW_SHIM),
    "recovery_after_cut": (_CORE + "runtime", "Runtime.cut", AFTER, NEW_SHIM),
    "recovery_before_spawn": (_CORE + "recovery", "Recovery._spawn", BEFORE, NEW_SHIM),
    "recovery_after_spawn": (_CORE + "recovery", "Recovery._spawn", AFTER, NEW_SHIM),
    "recovery_found": (_CORE + "recovery", "Recovery._found", BEFORE, NEW_SHIM),
    "recovery_restored": (_CORE + "runtime", "Runtime.restore", AFTER, NEW_SHIM),
    "recovery_taken_over": (_CORE + "recovery", "Recovery._found", AFTER, NEW_SHIM),
    "end_begins": (_CORE + "daemon", "Core.shut_down", AFTER, END),
    "end_before_journal_closed": (_CORE + "journal", "Journal.close", BEFORE, END),
    "end_before_bye": (_CORE + "journal", "Journal.close", AFTER, END),
}

TABLES = {"shim": SHIM, "core": CORE}
POINTS = {f"{side}.{name}": row for side, table in TABLES.items() for name, row in table.items()}

_DEAD_WITHIN = 3.0
_STALL = 1.0


class Crash:
    """Hold what is armed, and kill when its moment has come."""

    def __init__(self, side: str, text: str, directory: str) -> None:
        self._side = side
        self._text = text
        self._directory = directory
        self._pid = os.getpid()
        with open(f"{directory}/{side}.pids", "a", encoding="ascii") as file:
            file.write(f"{self._pid}\n")

    def hit(self, name: str) -> None:
        """Die, if it is this moment that was asked for."""
        point, _, victim = self._read().partition("!")
        wanted, _, number = point.partition(":")
        if wanted == name and (not number or self._count() >= int(number)) and self._claim():
            self._kill(victim or self._side)

    def _count(self) -> int:
        """Return the how manieth this is, over all processes that come by."""
        fd = os.open(f"{self._directory}/seen", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b".")
            return os.lseek(fd, 0, os.SEEK_CUR)
        finally:
            os.close(fd)

    def _read(self) -> str:
        if not self._text.startswith("@"):
            return self._text
        try:
            with open(self._text[1:], encoding="ascii") as file:
                return file.read()
        except OSError:
            return ""

    def _claim(self) -> bool:
        """Tell whether it is we who die of it: one death is one death, whoever comes by next."""
        if not self._text.startswith("@"):
            return True
        try:
            os.rename(self._text[1:], f"{self._text[1:]}.hit")
        except OSError:
            return False
        return True

    def _kill(self, victim: str) -> None:
        if victim == "child":
            os.kill(os.getpid(), signal.SIGKILL)
        if victim == "both":
            self._end("core" if self._side == "shim" else "shim")
        self._end("shim" if victim == "stall" else self._side if victim == "both" else victim)
        if victim == "stall":
            time.sleep(_STALL)

    def _end(self, side: str) -> None:
        pid = self._pid if side == self._side else self._pid_of(side)
        if not self._is_ours(pid):
            return  # it is dead already, and its number may be somebody else's
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + _DEAD_WITHIN
        while _lives(pid) and time.monotonic() < end:
            time.sleep(0.001)

    def _is_ours(self, pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return f"TM_CRASH_DIR={self._directory}".encode() in file.read().split(b"\0")
        except OSError:
            return False

    def _pid_of(self, side: str) -> int:
        with open(f"{self._directory}/{side}.pids", encoding="ascii") as file:
            return int(file.read().split()[-1])


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read(4096).rpartition(b") ")[2][:1] not in b"ZX"
    except OSError:
        return False


class _Shadow:
    """Stand in for a module within one other module, with some functions of it wrapped."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Torn(list):
    """Be a frame of orders; after the first something may happen."""

    def __init__(self, orders: list[Any], between: Callable[[], None]) -> None:
        super().__init__(orders)
        self._between = between

    def __iter__(self) -> Any:
        for number, order in enumerate(list.__iter__(self)):
            if number == 1:
                self._between()
            yield order


def _before(inner: Callable[..., Any], hit: Callable[[], None]) -> Callable[..., Any]:
    def outer(*args: Any, **named: Any) -> Any:
        hit()
        return inner(*args, **named)

    return outer


def _after(inner: Callable[..., Any], hit: Callable[[], None]) -> Callable[..., Any]:
    def outer(*args: Any, **named: Any) -> Any:
        result = inner(*args, **named)
        hit()
        return result

    return outer


def _within(inner: Callable[..., Any], hit: Callable[[], None]) -> Callable[..., Any]:
    def outer(*args: Any, **named: Any) -> Any:
        return [_Torn(orders, hit) for orders in inner(*args, **named)]

    return outer


_WRAPS = {BEFORE: _before, AFTER: _after, WITHIN: _within}


def wrap(module: ModuleType, path: str, how: str, hit: Callable[[], None]) -> None:
    """Put a call before, after or within the function that the path leads to; raises AttributeError, KeyError."""
    *holders, last = path.split(".")
    if holders == ["_STEPS"]:
        steps = dict(getattr(module, "_STEPS"))  # noqa: B009 - a name of another module
        steps[last] = _WRAPS[how](steps[last], hit)
        setattr(module, "_STEPS", tuple(steps.items()))  # noqa: B010
        return
    holder: Any = module
    for name in holders:
        inner = getattr(holder, name)
        if type(inner) is type(sys):  # os of that module alone, not of the whole process
            inner = _Shadow(inner)
            setattr(holder, name, inner)
        holder = inner
    setattr(holder, last, _WRAPS[how](getattr(holder, last), hit))


def install(side: str) -> None:
    """Wrap every function of one side's table, if a test asks for it."""
    text, directory = os.environ.get("TM_CRASHPOINT", ""), os.environ.get("TM_CRASH_DIR", "")
    if os.environ.get("TM_TEST") != "1" or not text:
        return
    crash = Crash(side, text, directory)
    for name, (module, path, how, _) in TABLES[side].items():
        __import__(module)
        wrap(sys.modules[module], path, how, lambda name=f"{side}.{name}": crash.hit(name))
