"""Drive a real shim from a test: the test is the core, speaking frames over the wire itself.

Decides nothing about what is right; the tests in test_shim_*.py do. A `Shim` starts the process in a temporary
directory, kills only what it started, and proves at the end that nothing of it is left.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskmaster_core.shim import frames

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "taskmaster_core" / "shim"
PROGRAMS = ROOT / "tests" / "programs"
PYTHON = sys.executable
DEADLINE = 20.0
"""Seconds until a condition that should hold counts as never holding; generous, for a loaded machine."""

Report = dict[str, Any]


def wait_for(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
    """Return the first true value of the condition; fail when there is none in time."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds:g} s in vain: {what or condition}")
        time.sleep(0.005)


def program(name: str, *args: object) -> list[str]:
    """Return the argv of a program in tests/programs."""
    return [PYTHON, "-I", "-S", str(PROGRAMS / f"{name}.py"), *map(str, args)]


def alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Core:
    """Be one core: the test's end of the wire, and the process that stands in for it."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        control.settimeout(DEADLINE)
        data, fds, _, _ = socket.recv_fds(control, 64, 1)
        self.pid = int(data)
        self.link = socket.socket(fileno=fds[0])
        self.link.setblocking(False)
        self.reports: list[Report] = []
        self.closed = False
        self._decoder = frames.Decoder()

    def order(self, *orders: Report) -> None:
        """Send orders in one frame."""
        self.link.setblocking(True)
        self.link.sendall(frames.encode(list(orders)))
        self.link.setblocking(False)

    def receive(self, seconds: float = 0.0) -> None:
        """Take in what has come, waiting for the first byte at most so long."""
        if not select.select([self.link], [], [], seconds)[0]:
            return
        try:
            data = self.link.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self.closed = self.closed or not data
        for frame in self._decoder.feed(data):
            self.reports += frame

    def expect(self, kind: str, seconds: float = DEADLINE, **fields: object) -> Report:
        """Return the first report of this type with these fields, waiting for it."""
        until = time.monotonic() + seconds
        while True:
            for report in self.reports:
                if report["t"] == kind and all(report.get(name) == value for name, value in fields.items()):
                    return report
            if time.monotonic() > until or self.closed:
                raise AssertionError(f"no {kind} {fields} among {str(self.reports)[-3000:]}")
            self.receive(0.05)

    def expect_closed(self) -> None:
        """Wait until the shim has closed its end."""
        until = time.monotonic() + DEADLINE
        while not self.closed:
            assert time.monotonic() < until, "the wire is still open"
            self.receive(0.05)

    def all(self, kind: str, **fields: object) -> list[Report]:
        """Return every report of this type so far."""
        self.receive()
        return [
            report
            for report in self.reports
            if report["t"] == kind and all(report.get(name) == value for name, value in fields.items())
        ]

    def tell(self, words: str) -> None:
        """Have the process do something."""
        self.control.sendall(words.encode() + b"\n")

    def close(self) -> None:
        """Let go of our copies of the wire."""
        self.link.close()
        self.control.close()


class Shim:
    """Run a shim in a directory of its own."""

    def __init__(
        self, path: Path, *options: str, env: dict[str, str] | None = None, shim: list[str] | None = None,
        source: Path = SHIM, **popen: Any,
    ) -> None:  # fmt: skip
        self.path = path
        self.state = path / "state"
        self.run = path / "run"
        self._control = path / "control"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._control))
        self._listener.listen(16)
        self._listener.settimeout(DEADLINE)
        self.cores: list[Core] = []
        self.stderr = path / "shim.stderr"
        self.stdout = path / "shim.stdout"
        full = {"PATH": os.environ["PATH"], "TM_TEST": "1", "TM_MARK": str(path), **(env or {})}
        argv = [*(shim or [PYTHON, "-I", "-S", str(source)]), *options, "--", *program("link_holder", self._control)]
        with self.stderr.open("wb") as err, self.stdout.open("wb") as out:
            popen = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **popen}
            self.process = subprocess.Popen(argv, env=full, **popen)

    @property
    def pid(self) -> int:
        """Return the pid of the shim."""
        return self.process.pid

    def core(self) -> Core:
        """Wait for the next core to come up."""
        control, _ = self._listener.accept()
        self.cores.append(Core(control))
        return self.cores[-1]

    def open(self, **fields: object) -> Core:
        """Wait for a core, have it open the instance, and return it once it was greeted."""
        core = self.core()
        core.order(self.open_order(**fields))
        core.expect("hello")
        core.order({"t": "ready"})
        return core

    def open_order(self, **fields: object) -> Report:
        """Return the `open` order for our directories."""
        order = {"t": "open", "instance": "test", "statedir": str(self.state), "rundir": str(self.run)}
        return {**order, "socketgroup": None, **fields}

    def wait(self) -> int:
        """Wait for the shim to end and return its status."""
        return self.process.wait(DEADLINE)

    def errors(self) -> str:
        """Return what the shim wrote to stderr."""
        return self.stderr.read_text()

    def close(self) -> None:
        """End the shim with all it started, and prove that nothing is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGINT)
            for core in self.cores:
                with suppress(ProcessLookupError):
                    os.kill(core.pid, signal.SIGKILL)
                core.close()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                self._kill_marked()
                raise AssertionError(f"the shim did not end: {self.errors()}") from None
        self._listener.close()
        left = self._kill_marked()
        assert not left, f"still running: {left}"

    def _kill_marked(self) -> list[str]:
        left = []
        for pid in self.marked():
            with suppress(OSError):
                left.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                os.kill(pid, signal.SIGKILL)
        return left

    def marked(self) -> list[int]:
        """Return the living processes that carry our mark in their environment."""
        mark = f"TM_MARK={self.path}".encode()
        return [pid for pid in _pids() if alive(pid) and mark in _environ(pid)]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def spawn_order(shim: Shim, argv: list[str], key: str = "job:0", run: int = 1, **fields: object) -> Report:
    """Return a complete spawn order: output to files in the managed place, environment with the tags."""
    job, _, index = key.rpartition(":")
    env = {
        "PATH": os.environ["PATH"],
        "TM_MARK": str(shim.path),
        "TASKMASTER_INSTANCE": "test",
        "TASKMASTER_JOB": job,
        "TASKMASTER_INDEX": index,
        "TASKMASTER_RUN": str(run),
    }
    order: Report = {"t": "spawn", "key": key, "run": run, "argv": argv, "env": env, "cwd": str(shim.path)}
    order |= {"umask": None, "uid": None, "gid": None, "groups": None, "nice": 0, "limits": [], "stdin": "null"}
    order |= {"out": sink(shim, f"{job}/{index}.out", key), "err": sink(shim, f"{job}/{index}.err", key)}
    order |= {"stop": [[15, 5.0]], "killgroup": True, "memo": None}
    return {**order, **fields}


def sink(shim: Shim, name: str, tag: str = "job:0", **fields: object) -> Report:
    """Return a managed sink; an absolute name is a redirection."""
    path = name if name.startswith("/") else f"{shim.state}/logs/{name}"
    spec: Report = {"kind": "file", "path": path, "index": f"{path}.idx", "tag": tag, "maxsize": None, "keep": 5}
    return {**spec, "direct": False, "full": "drop", "uid": None, "gid": None, **fields}


def output(shim: Shim, name: str = "job/0.out") -> bytes:
    """Return what a managed file holds, nothing for one that does not exist."""
    path = shim.state / "logs" / name
    return path.read_bytes() if path.exists() else b""
