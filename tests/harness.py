"""Start the real thing in a directory of its own, ask it, hurt it, and prove that nothing of it is left.

Decides nothing about what is right; tests do. `tests/integration/conftest.py` makes fixtures of it. It speaks the wire
by itself (docs/protocol.md), so that a broken client cannot hide a broken core, or the other way round.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq

from taskmaster_core import wire
from taskmaster_core.errors import NoCore, TaskmasterError, TimedOut
from taskmaster_core.paths import Places, places
from taskmaster_core.wire import Event, ProcessView

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs"
TAG = "TM_TEST_TAG"
RESEND = 3.0
"""Seconds without an answer until a request is sent again under the same id (Lazy Pirate)."""

T = TypeVar("T")


class Instance:
    """Sockets and state below a directory in /tmp short enough for a socket's path, and the questions to them."""

    def __init__(self, config: str, *, env: Mapping[str, str] | None = None, name: str = "taskmaster.toml") -> None:
        self.instance = f"t{uuid.uuid4().hex[:10]}"
        self.dir = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
        self.dir.chmod(0o755)  # jobs of other users must get through
        self.config_path = self.dir / name
        self.config_path.write_text(config)
        self.env = self._environ(env or {})
        self.stderr_path = self.dir / "daemon.err"
        self._context = zmq.Context()

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TASKMASTER", "NOTIFY_", "WATCHDOG_", "COV_"))}
        for name in ("config", "run", "state", "home"):
            (self.dir / name).mkdir(mode=0o700)
        own = {
            "XDG_RUNTIME_DIR": str(self.dir / "run"), "XDG_STATE_HOME": str(self.dir / "state"),
            "XDG_CONFIG_HOME": str(self.dir / "config"), "HOME": str(self.dir / "home"), TAG: self.instance,
            "PYTHONFAULTHANDLER": "1", **({} if os.geteuid() == 0 else {"TASKMASTER_TRACEABLE": "1"}),
        }  # fmt: skip
        return {**kept, **own, **more}

    # Questions --------------------------------------------------------------------------------------------------------

    @property
    def places(self) -> Places:
        """Say where its files and sockets are."""
        return places(self.instance, self.env, os.getuid())

    @property
    def statedir(self) -> Path:
        return Path(self.places.statedir)

    @property
    def core_pid(self) -> int:
        return int(self.request("ping")["pid"])

    @property
    def client(self) -> Any:
        """Return a client of the public module; the caller closes it."""
        from taskmaster_core import client

        return client.Client(self.places.commands)

    def request(self, op: str, *select: str, timeout: float = 15.0, **args: Any) -> Any:
        """Ask the core; return the result or raise what the reply says. A lost answer is asked for again by its id."""
        reply, _ = self.request_raw(op, *select, timeout=timeout, **args)
        return reply

    def request_raw(self, op: str, *select: str, timeout: float = 15.0, **args: Any) -> tuple[Any, bytes]:
        """Return the result, and the bytes of the second frame."""
        document = wire.encode(wire.Request(wire.VERSION, uuid.uuid4().hex, op, list(select), args))
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            frames = self._exchange(document, min(left, RESEND))
            if frames is not None:
                return wire.result_of(wire.decode_reply(frames[0])), b"".join(frames[1:])
            if not os.path.exists(self.places.commands):
                raise NoCore(f"no socket at {self.places.commands}")
        raise TimedOut(f"no answer to {op} within {timeout} s")

    def _exchange(self, document: bytes, timeout: float) -> list[bytes] | None:
        with self._context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect(f"ipc://{self.places.commands}")
            socket.send(document)
            return socket.recv_multipart() if socket.poll(int(timeout * 1000)) else None

    def ping(self) -> bool:
        """Tell whether the core answers."""
        try:
            self.request("ping", timeout=1.0)
        except TaskmasterError:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """Return the result of `status`."""
        found: dict[str, Any] = self.request("status")
        return found

    def procs(self, *select: str) -> list[ProcessView]:
        """Return the processes' views, all or those selected."""
        jobs = self.request("status", *select)["jobs"]
        return [msgspec.convert(each, ProcessView) for job in jobs for each in job["processes"]]

    def proc(self, key: str) -> ProcessView:
        """Return one process's view."""
        return next(each for each in self.procs(key) if each.key == key)

    def pids(self, *select: str) -> dict[str, int | None]:
        """Return the pid of each process."""
        return {each.key: each.pid for each in self.procs(*select)}

    def events(self, kind: str | None = None, key: str | None = None, since: int = 0) -> list[Event]:
        """Return the journal's events, oldest first."""
        found: list[Event] = []
        while batch := [msgspec.convert(each, Event) for each in self.request("events", since=since)]:
            found += batch
            since = batch[-1].seq
        return [e for e in found if (kind is None or e.type == kind) and (key is None or e.key == key)]

    def output(self, key: str, stream: str = "out") -> str:
        """Return what is in a process's managed file."""
        job, _, index = key.rpartition(":")
        path = Path(self.places.log_path(job, int(index), stream))
        return path.read_text(errors="replace") if path.exists() else ""

    def stderr(self, tail: int = 4000) -> str:
        """Return the end of what shim and core said on stdout and stderr."""
        return self.stderr_path.read_text(errors="replace")[-tail:] if self.stderr_path.exists() else ""

    # Waiting ----------------------------------------------------------------------------------------------------------

    def wait(self, cond: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
        """Return the first true value of `cond`; an error of the wire counts as not yet. Fail when the time is over."""
        end = time.monotonic() + timeout
        last: object = None
        while time.monotonic() < end:
            try:
                last = found = cond()
            except (TaskmasterError, StopIteration, OSError) as error:
                last = error
            else:
                if found:
                    return found
            time.sleep(0.02)
        raise AssertionError(f"not within {timeout} s: {what or cond} (last: {last!r})\n{self.describe()}")

    def wait_state(self, key: str, *states: str, timeout: float = 10.0) -> ProcessView:
        """Wait until a process is in one of the states; return its view."""

        def reached() -> ProcessView | None:
            view = self.proc(key)
            return view if view.state in states else None

        found = self.wait(reached, timeout, f"{key} is {' or '.join(states)}")
        assert found is not None
        return found

    def wait_event(self, kind: str, key: str | None = None, *, since: int = 0, timeout: float = 10.0) -> Event:
        """Wait for an event; return the first of its kind."""
        return self.wait(lambda: self.events(kind, key, since), timeout, f"event {kind} {key or ''}")[0]

    def describe(self) -> str:
        """Say what is to be seen from outside, for the message of a failure."""
        try:
            lines = [f"  {e.key} {e.state}/{e.goal} pid {e.pid} run {e.run}: {e.reason}" for e in self.procs()[:40]]
        except (TaskmasterError, OSError) as error:
            lines = [f"  no status: {error}"]
        return "\n".join([*lines, "daemon said:", self.stderr()])


class Daemon(Instance):
    """A shim and core of our own, from start to end."""

    def __init__(self, config: str, **options: Any) -> None:
        super().__init__(config, **options)
        self.process: subprocess.Popen[bytes] | None = None
        self._orphaned = False  # the shim we started was killed; another one may have taken its place
        self._commands: list[subprocess.Popen[str]] = []
        self.under: list[str] = []
        """What execs it, as `unshare` does."""

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self, *args: str, wait: bool = True, timeout: float = 20.0) -> Daemon:
        """Start `taskmaster core` in the foreground; with `wait` return once it answers and has its config."""
        self._orphaned = False
        with self.stderr_path.open("ab") as err:
            self.process = subprocess.Popen(
                [*self.under, *self.server_command(), *args], env=self.env, cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=err, stderr=err, start_new_session=True,
            )  # fmt: skip
        if wait:
            self.wait(lambda: self._ended() or self.ping(), timeout, "the core answers")
            assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}\n{self.stderr()}"
        return self

    def _ended(self) -> bool:
        if self._orphaned:
            return not alive(self.shim_pid) and not self.ping()
        return self.process is not None and self.process.poll() is not None

    def stop(self, timeout: float = 30.0) -> int:
        """Stop everything in order, by SIGTERM where no core answers; return the daemon's exit status."""
        assert self.process is not None
        if not self._ended():
            try:
                self.request("shutdown", timeout=timeout)
            except TaskmasterError:
                self.terminate()
        if self._orphaned:
            wait_until(lambda: not alive(self.shim_pid), timeout, "the shim has ended")
            return 0
        return self.process.wait(timeout)

    def restart(self, *args: str) -> Daemon:
        """Stop it in order and start it again on the same state."""
        self.stop()
        return self.start(*args)

    def terminate(self, signum: int = signal.SIGTERM) -> None:
        """Send the main process a signal."""
        os.kill(self.shim_pid, signum)

    def kill_core(self, *, wait: bool = True, timeout: float = 10.0) -> int:
        """SIGKILL the core; with `wait` return once another answers. Return the pid of the one that was killed."""
        old = self.core_pid
        os.kill(old, signal.SIGKILL)
        if wait:
            self.wait(lambda: self.request("ping", timeout=1.0)["pid"] != old, timeout, "a new core answers")
        return old

    def kill_shim(self, *, wait: bool = True, timeout: float = 10.0) -> int:
        """SIGKILL the shim; with `wait` return once the core has another. Return the pid of the one that was killed."""
        assert self.process is not None
        old = self.shim_pid
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: not alive(old), timeout, "the shim is dead")
        if not self._orphaned:
            self.process.wait(timeout)
            self._orphaned = True
        if wait:
            self.wait(self.recovered, timeout, "another shim is there")
        return old

    def kill_both(self) -> None:
        """SIGKILL core and shim, so that neither sees the other die."""
        core, shim = self.core_pid, self.shim_pid
        for pid in (core, shim):
            os.kill(pid, signal.SIGSTOP)
        for pid in (core, shim):
            os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        if not self._orphaned:
            self.process.wait(10)
            self._orphaned = True
        wait_until(lambda: not alive(core) and not alive(shim), what="both are dead")

    def recovered(self) -> bool:
        """Tell whether the core has a living shim and knows all its processes."""
        status = self.status()
        told = status["core"]["shim_pid"]
        known = all(each["state"] != "unknown" for job in status["jobs"] for each in job["processes"])
        return told == self.shim_pid and alive(told) and known

    @property
    def shim_pid(self) -> int:
        """The main process: what was started has become the shim by exec; after its death who has its lock."""
        assert self.process is not None
        if self._orphaned:
            return int((self.statedir / "shim.lock").read_text().strip() or 0)
        return self.process.pid

    # Commands ---------------------------------------------------------------------------------------------------------

    def server_command(self) -> list[str]:
        """Return the command line that becomes the shim."""
        core = [sys.executable, "-m", "taskmaster_core", "core", "-f", str(self.config_path)]
        return [*core, "--instance", self.instance]

    def command(self, *args: str) -> list[str]:
        """Return the command line of `taskmaster` for this instance."""
        return [sys.executable, "-m", "taskmaster_core", "--instance", self.instance, *args]

    def cli(self, *args: str, timeout: float = 30.0, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": self.env, "cwd": self.dir, **more}
        if "input" in options:
            del options["stdin"]
        return subprocess.run(
            self.command(*args), check=False, capture_output=True, text=True, timeout=timeout, **options
        )

    def popen(self, *args: str, **more: Any) -> subprocess.Popen[str]:
        """Start a command that goes on; it is ended with the daemon."""
        options: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            "env": self.env, "cwd": self.dir, **more,
        }  # fmt: skip
        started = subprocess.Popen(self.command(*args), text=True, **options)
        self._commands.append(started)
        return started

    def write_config(self, text: str, *, atomic: bool = True) -> None:
        """Save the config, by rename or in place."""
        if not atomic:
            self.config_path.write_text(text)
            return
        draft = self.config_path.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self.config_path)

    # The end ----------------------------------------------------------------------------------------------------------

    def leftovers(self) -> list[int]:
        """Return the living processes that carry this instance's mark."""
        marks = (f"{TAG}={self.instance}".encode(), f"TASKMASTER_INSTANCE={self.instance}".encode())
        return [pid for pid in pids_now() if pid != os.getpid() and any(mark in environ_of(pid) for mark in marks)]

    def close(self) -> list[str]:
        """End everything and remove the directory; return what a daemon must not leave behind, in words."""
        for command in self._commands:
            end_child(command)
        problems = self._end_in_order()
        left = self._settle()
        problems += [f"left behind: pid {pid} {cmdline_of(pid)!r}" for pid in left]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            end_child(self.process)
        self._context.destroy(linger=0)
        shutil.rmtree(self.dir, ignore_errors=True)
        return problems

    def _end_in_order(self) -> list[str]:
        if self.process is None or self._ended():
            return []
        try:
            self.stop(timeout=15.0)
        except subprocess.TimeoutExpired:
            return [f"did not end within 15 s of `down`\n{self.describe()}"]
        return []

    def _settle(self, timeout: float = 3.0) -> list[int]:
        """Give what is dying already a moment."""
        end = time.monotonic() + timeout
        while (left := self.leftovers()) and time.monotonic() < end:
            time.sleep(0.02)
        return left


def end_child(process: subprocess.Popen[Any]) -> None:
    """End a child of ours, and close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait(10)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def pids_now() -> list[int]:
    """Return every pid there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def environ_of(pid: int) -> list[bytes]:
    """Return the environment a process was started with, nothing for one that is gone or not ours."""
    return _proc(pid, "environ").split(b"\0")


def cmdline_of(pid: int) -> list[str]:
    """Return a process's arguments, nothing for a zombie or one that is gone."""
    return [part.decode(errors="replace") for part in _proc(pid, "cmdline").split(b"\0")[:-1]]


def stat_of(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name: state, ppid, pgrp, session, …; nothing if gone."""
    return _proc(pid, "stat").rpartition(b") ")[2].decode().split()


def alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    fields = stat_of(pid)
    return bool(fields) and fields[0] not in "ZX"


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    return [each for each in pids_now() if stat_of(each)[1:2] == [str(pid)]]


def descendants_of(pid: int) -> Iterator[int]:
    """Yield everything below a process."""
    for child in children_of(pid):
        yield child
        yield from descendants_of(child)


def status_field(pid: int, name: str) -> str:
    """Return a field of /proc/PID/status, "" if there is none."""
    lines = _proc(pid, "status").decode(errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")


def program(name: str, *args: object) -> Sequence[str]:
    """Return the command line of one of `tests/programs`, for a `cmd = [...]`."""
    return [sys.executable, str(PROGRAMS / name), *(str(arg) for arg in args)]


def wait_until(cond: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Return the first true value of `cond`; fail when the time is over."""
    end = time.monotonic() + timeout
    while not (found := cond()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what or cond}")
        time.sleep(0.01)
    return found
