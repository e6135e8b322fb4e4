"""Run a full-screen program in a real terminal and look at its screen: in tmux, or behind a link as slow as asked for.

It decides nothing about what is right; tests do. `Terminal` is tmux on a server of its own; `RawTerminal` is a pty
whose bytes go through a simulated link and whose questions are answered from its far end. Neither leaves anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import pty
import select
import shlex
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tests.vt import KINDS as KINDS  # noqa: PLC0414 - tests take it from here
from tests.vt import Screen

HERE = Path(__file__).resolve().parent.parent
KEYS = {
    "enter": "\r", "esc": "\x1b", "tab": "\t", "up": "\x1b[A", "down": "\x1b[B",
    "f3": "\x1bOR", "shift+f3": "\x1b[1;2R", "ctrl+f3": "\x1b[1;5R",
}  # fmt: skip
Wanted = str | Callable[[str], object]


def tmux_missing() -> str:
    """Return why there can be no tmux here, "" if there can."""
    return "" if shutil.which("tmux") else "tmux is not installed"


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a terminal is what the test says it is."""
    outer = ("TMUX", "TERM", "COLORTERM", "NO_COLOR", "TEXTUAL", "LC_TERMINAL", "TERM_PROGRAM", "CI", "SSH_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    fixed = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor", "PYTHONPATH": str(HERE)}
    return {**kept, **fixed, **(more or {})}


def met(wanted: Wanted, screen: str) -> bool:
    """Say whether the screen shows what is wanted: a text, or a condition on the text of the screen."""
    return wanted in screen if isinstance(wanted, str) else bool(wanted(screen))


class Terminal:
    """One program in one window of one tmux server with a socket of its own."""

    def __init__(
        self, argv: Sequence[str], *, columns: int = 120, rows: int = 36, env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:  # fmt: skip
        self.dir = Path(tempfile.mkdtemp(prefix="tmt-", dir="/tmp"))
        self._env = {**clean_environment(env), "TMUX_TMPDIR": str(self.dir)}
        self._name = f"t{uuid.uuid4().hex[:8]}"
        # its screen stays when the program ends, so that a test sees the last words
        config = self.dir / "tmux.conf"
        config.write_text(
            "set -g status off\nset -g remain-on-exit on\nset -g remain-on-exit-format ''\n"
            "set -s escape-time 0\nset -s exit-empty off\n"
            "set -g default-terminal tmux-256color\nset -ga terminal-features ',*:RGB'\nset -s set-clipboard on\n"
        )
        size = ("-x", str(columns), "-y", str(rows))
        where = ("-c", str(cwd)) if cwd else ()
        # tmux loses what ends before it has looked, and the last words of what ends: a shell around it gives it time
        told = self.dir / "pid"
        os.mkfifo(told)
        ended = f"echo $? > {told}.new; mv {told}.new {self.dir}/status; sleep 0.2"
        program = f"trap : INT QUIT; sh -c 'echo $$ > {told}; exec \"$@\"' sh {shlex.join(argv)}; {ended}"
        self._tmux("-f", str(config), "new-session", "-d", "-s", "t", *size, *where, shlex.join(["sh", "-c", program]))
        self._leader = int(self._tmux("display-message", "-p", "-t", "t", "#{pane_pid}"))
        self.pid = int(told.read_text())

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._name, *words]
        run = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=15, check=False)
        if run.returncode:
            raise AssertionError(f"{shlex.join(command)}: {run.stderr.strip()}")
        return run.stdout

    def send(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Escape, C-r, Up, F3, j."""
        self._tmux("send-keys", "-t", "t", *keys)

    def type(self, text: str) -> None:
        """Type letters as they are."""
        self._tmux("send-keys", "-t", "t", "-l", "--", text)

    def screen(self) -> str:
        """Return what is on the screen now, as plain text."""
        return self._tmux("capture-pane", "-p", "-t", "t")

    def styled(self) -> str:
        """Return what is on the screen now, with its colours as escape sequences."""
        return self._tmux("capture-pane", "-p", "-e", "-t", "t")

    def ask(self, variable: str) -> str:
        """Return one of tmux's own variables of the pane: alternate_on, cursor_flag, mouse_any_flag, pane_title."""
        return self._tmux("display-message", "-p", "-t", "t", f"#{{{variable}}}").rstrip("\n")

    def cursor(self) -> tuple[int, int]:
        """Return column and row of the terminal's own cursor, from 0."""
        x, y = self._tmux("display-message", "-p", "-t", "t", "#{cursor_x} #{cursor_y}").split()
        return int(x), int(y)

    def wait_for(self, wanted: Wanted, deadline: float = 15.0) -> str:
        """Return the screen as soon as it shows what is wanted; AssertionError after `deadline` seconds."""
        end = time.monotonic() + deadline
        while not met(wanted, screen := self.screen()):
            if time.monotonic() > end:
                raise AssertionError(f"not on the screen within {deadline} s: {wanted!r}\n{screen}")
            time.sleep(0.03)
        return screen

    def wait_gone(self, text: str, deadline: float = 15.0) -> str:
        """Return the screen as soon as it does not show the text any more."""
        return self.wait_for(lambda screen: text not in screen, deadline)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    @property
    def exit_status(self) -> int | None:
        """Return how the program ended (128 + n for a signal), None while it runs."""
        # from the shell around it: tmux 3.3 loses it now and then, and may never say that a pane is dead
        status = self.dir / "status"
        return int(status.read_text()) if status.exists() else None

    def wait_end(self, deadline: float = 15.0) -> int:
        """Return the exit status of the program when it has ended."""
        end = time.monotonic() + deadline
        while (status := self.exit_status) is None:
            assert time.monotonic() < end, f"still running after {deadline} s:\n{self.screen()}"
            time.sleep(0.03)
        return status

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        """End the server and what ran in it."""
        if not self.dir.exists():
            return
        with contextlib.suppress(AssertionError):
            self._tmux("kill-server")  # the program gets SIGHUP
        end_session(self._leader, self.pid)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def gone(pid: int) -> bool:
    """Say whether a process runs no more; one that only waits to be reaped does not run."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def end_session(leader: int, program: int, patience: float = 3.0) -> None:
    """Wait until a program and the shell around it are gone, and end them when they do not go."""
    end = time.monotonic() + patience
    while not (gone(program) and gone(leader)):
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
            return
        time.sleep(0.02)


class Link(NamedTuple):
    """What lies between program and terminal."""

    rate: float = 0.0  # bytes a second towards the terminal, 0: no limit
    rtt: float = 0.0  # seconds, half of it each way
    buffer: int = 256 * 1024  # bytes that the network holds before the writer has to wait

    @classmethod
    def bits(cls, rate: float, rtt: float = 0.1) -> Link:
        return cls(rate / 8, rtt)


class Sight:
    """Something that is waited for on the screen, and when it was seen."""

    def __init__(self, wanted: Callable[[Screen], object]) -> None:
        self.wanted = wanted
        self.at: float | None = None
        self.seen = threading.Event()


class RawTerminal:
    """A pty, a link behind it, and a terminal at its far end that answers questions. One thread moves the bytes."""

    def __init__(
        self, argv: Sequence[str], *, columns: int = 120, rows: int = 36, link: Link | None = None,
        answers: frozenset[str] = KINDS, env: Mapping[str, str] | None = None, cwd: Path | None = None,
        record: bool = False,
    ) -> None:  # fmt: skip
        self.raw: bytearray | None = bytearray() if record else None  # all that has arrived, as it came
        self.screen = Screen(columns, rows, answers)
        self.link = link or Link()
        self.received = 0  # bytes that have arrived at the terminal
        self.started = time.monotonic()
        self.first_byte: float | None = None
        self.status: int | None = None
        self._lock = threading.Lock()
        self._sights: list[Sight] = []
        self._due: list[tuple[float, int, str, bytes]] = []
        self._count = itertools.count()
        self._free_at = 0.0
        self._backlog = 0
        self._closing = False
        self._wake_r, self._wake_w = os.pipe()
        self.pid, self._master = pty.fork()
        if self.pid == 0:  # the child: nothing but exec
            with contextlib.suppress(BaseException):
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                if cwd:
                    os.chdir(cwd)
                os.execvpe(argv[0], list(argv), {**clean_environment(env), "TERM": "xterm-256color"})
            os._exit(127)
        os.set_blocking(self._master, False)
        self._thread = threading.Thread(target=self._run, name="raw-terminal", daemon=True)
        self._thread.start()

    # What a person does

    def send(self, data: str | bytes) -> float:
        """Send bytes from the keyboard; return when."""
        now = time.monotonic()
        self._later(now + self.link.rtt / 2, "input", data.encode() if isinstance(data, str) else data)
        os.write(self._wake_w, b".")
        return now

    def press(self, name: str) -> float:
        return self.send(KEYS.get(name, name))

    def expect(self, wanted: str | Callable[[Screen], object]) -> Sight:
        """Begin to look for something; the moment it arrives is kept."""
        sight = Sight((lambda screen: wanted in screen) if isinstance(wanted, str) else wanted)
        with self._lock:
            self._sights.append(sight)
            self._look(time.monotonic())
        return sight

    def wait_for(self, wanted: str | Callable[[Screen], object], deadline: float = 15.0) -> float:
        """Return when it was seen; AssertionError with the screen after `deadline` seconds."""
        sight = self.expect(wanted)
        if not sight.seen.wait(deadline) or sight.at is None:
            raise AssertionError(f"not on the screen within {deadline} s: {wanted!r}\n{self.screen.text()}")
        return sight.at

    def tty(self) -> str:
        """Return the path of the program's terminal."""
        return os.readlink(f"/proc/{self.pid}/fd/0")

    def resize(self, columns: int, rows: int) -> None:
        with self._lock:
            self.screen.resize(columns, rows)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def set_link(self, link: Link) -> None:
        """Change the link under way."""
        self.link = link
        os.write(self._wake_w, b".")

    def wait_end(self, deadline: float = 15.0) -> int:
        """Return the exit status of the program when it has ended (-n for a signal)."""
        end = time.monotonic() + deadline
        while not self._ended():
            assert time.monotonic() < end, f"still running after {deadline} s:\n{self.screen.text()}"
            time.sleep(0.01)
        assert self.status is not None
        return self.status

    def close(self) -> None:
        """Hang up, and wait until the program is gone."""
        self._closing = True
        os.write(self._wake_w, b".")
        self._thread.join(10)
        os.close(self._master)  # SIGHUP for the program
        self._reap()
        os.close(self._wake_r)
        os.close(self._wake_w)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ended(self) -> bool:
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if done else None
        return self.status is not None

    def _reap(self) -> None:
        end = time.monotonic() + 3
        while not self._ended():
            if time.monotonic() > end:
                os.killpg(self.pid, signal.SIGKILL)
                end += 3600
            time.sleep(0.01)

    # What lies between

    def _later(self, at: float, kind: str, data: bytes) -> None:
        with self._lock:
            heapq.heappush(self._due, (at, next(self._count), kind, data))

    def _run(self) -> None:
        ended = False
        while not self._closing:
            with self._lock:
                wait = max(self._due[0][0] - time.monotonic(), 0) if self._due else None
            open_ = [] if ended or self._backlog >= self.link.buffer else [self._master]
            ready, _, _ = select.select([*open_, self._wake_r], [], [], wait)
            if self._wake_r in ready:
                os.read(self._wake_r, 4096)
            if self._master in ready:
                ended = not self._read()
            self._deliver()

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 4096)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody holds the other side any more
            return False
        now = time.monotonic()
        rate = self.link.rate
        for at in range(0, len(data), 512) if rate else (0,):
            piece = data[at : at + 512] if rate else data
            self._free_at = max(now, self._free_at) + (len(piece) / rate if rate else 0.0)
            self._backlog += len(piece)
            self._later(self._free_at, "left", bytes(len(piece)))
            self._later(self._free_at + self.link.rtt / 2, "arrived", piece)
        return True

    def _deliver(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                if not self._due or self._due[0][0] > now:
                    return
                _, _, kind, data = heapq.heappop(self._due)
            if kind == "left":
                self._backlog -= len(data)
            elif kind == "input":
                with contextlib.suppress(OSError):
                    os.write(self._master, data)
            else:
                self._arrived(data, now)

    def _arrived(self, data: bytes, now: float) -> None:
        with self._lock:
            self.first_byte = self.first_byte or now
            self.received += len(data)
            if self.raw is not None:
                self.raw += data
            self.screen.feed(data)
            owed, self.screen.owed = self.screen.owed, []
            self._look(now)
        for answer in owed:
            self._later(now + self.link.rtt / 2, "input", answer)

    def _look(self, now: float) -> None:
        for sight in [each for each in self._sights if each.wanted(self.screen)]:
            sight.at = now
            sight.seen.set()
            self._sights.remove(sight)
