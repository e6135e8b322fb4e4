"""Run one process manager in a directory of its own, with one interface for all of them.

It decides how each is configured (its own defaults, and equal jobs) and how its API is spoken; not what is measured.
The measures call it; what it starts carries a tag in its environment and is gone after `close`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import kernel

BIN = Path(sys.executable).parent
FOREIGN = ("TASKMASTER", "NOTIFY_", "WATCHDOG_", "LISTEN_", "CIRCUS", "SUPERVISOR")


USED: list[Path] = []
"""Directories of managers that are over."""


def clean() -> None:
    """Remove what is left on disk, at the very end: ext4 looks for new inodes for minutes around deleted ones.

    (`recently_deleted` was 10 % of a launch of 400 when each run removed its directory at once.)
    """
    while USED:
        shutil.rmtree(USED.pop(), ignore_errors=True)


class Job:
    """Say what shall run: a command, so many copies of it; with `rotated`, its output in files of 10 MB, 2 kept."""

    def __init__(self, name: str, argv: Sequence[str], copies: int = 1, *, rotated: bool = False) -> None:
        self.name, self.argv, self.copies, self.rotated = name, list(argv), copies, rotated


def sleepers(copies: int) -> list[Job]:
    """Return one job of so many processes that do nothing."""
    return [Job("w", ["/bin/sleep", "100000"], copies)]


class Manager:
    """Be one instance, from start to end."""

    name = ""
    period = 0.3
    """Seconds between two looks at its processes, for one that has a timer for that."""

    def __init__(self) -> None:
        self.tag = f"BENCH_TAG={uuid.uuid4().hex}"
        self.dir = Path(tempfile.mkdtemp(prefix="tmb-"))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # What each one does its own way -----------------------------------------------------------------------------------

    def configure(self, jobs: Sequence[Job], *, reloading: bool = False) -> None:
        """Write the config, by rename; `reloading`: a reload comes by order alone."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command line of the daemon in the foreground."""
        raise NotImplementedError

    def status_command(self) -> list[str]:
        """Return the command line that tells what runs."""
        raise NotImplementedError

    def parts(self) -> dict[str, int]:
        """Return the pids of the manager itself."""
        return {"daemon": self.pid}

    def connect(self) -> None:
        """Open the API, to stay open."""
        raise NotImplementedError

    def status(self) -> Any:
        """Ask by the API for everything it tells of all processes."""
        raise NotImplementedError

    def stop_all(self) -> None:
        """Order by the API that everything stops; return when it says so."""
        raise NotImplementedError

    def reload(self) -> None:
        """Order that the changed config holds."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Close the API."""

    # What all share ---------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Return the main process."""
        assert self.process is not None
        return self.process.pid

    def environ(self) -> Mapping[str, str]:
        """Return the environment of the daemon and of its commands."""
        name, _, value = self.tag.partition("=")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        return {**kept, "HOME": str(self.dir), name: value}

    def start(self) -> None:
        """Start the daemon; return at once."""
        with (self.dir / "daemon.err").open("ab") as err:
            self.process = subprocess.Popen(
                self.command(), env=self.environ(), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        """Return the end of what the daemon has printed."""
        return (self.dir / "daemon.err").read_text(errors="replace")[-2000:]

    def wait_jobs(self, count: int, program: str, timeout: float) -> float:
        """Wait until so many children have exec'ed the program; return the instant."""
        watched = kernel.Children(self.pid)
        ready: set[int] = set()

        def all_run() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}\n{self.said()}")
            now = watched.now()
            ready.intersection_update(now)
            ready.update(pid for pid in now - ready if kernel.name_of(pid) == program)
            return len(ready) >= count

        try:
            step = 0.002 if count <= 100 else 0.01
            return kernel.until(all_run, timeout, step, f"{count} of {program} under {self.name}")
        finally:
            watched.close()

    def jobs(self, program: str) -> set[int]:
        """Return the pids of the running jobs."""
        watched = kernel.Children(self.pid)
        try:
            return {pid for pid in watched.now() if kernel.name_of(pid) == program}
        finally:
            watched.close()

    def replace(self, path: Path, text: str) -> None:
        """Save a file whole."""
        draft = path.with_suffix(".new")
        draft.write_text(text)
        draft.replace(path)

    def close(self) -> None:
        """End everything of it, in order if it can; its directory is left to `clean`."""
        with contextlib.suppress(Exception):  # whatever it says: the processes count
            self.disconnect()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(40)
        for _ in range(3):
            for pid in kernel.tagged(self.tag):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        for path in self.dir.rglob("*.out*"):
            path.write_bytes(b"")  # gigabytes of output, one by one
        USED.append(self.dir)


class Taskmaster(Manager):
    """Run ours."""

    name = "taskmaster"

    def __init__(self) -> None:
        super().__init__()
        self.instance = f"b{uuid.uuid4().hex[:8]}"
        self._client: Any = None
        for each in ("run", "state", "config"):
            (self.dir / each).mkdir(mode=0o700)

    def environ(self) -> Mapping[str, str]:
        own = {f"XDG_{key}": str(self.dir / name) for key, name in
               (("RUNTIME_DIR", "run"), ("STATE_HOME", "state"), ("CONFIG_HOME", "config"))}  # fmt: skip
        return {**super().environ(), **own}

    def configure(self, jobs: Sequence[Job], *, reloading: bool = False) -> None:
        head = '[taskmaster]\nautoreload = "off"\n' if reloading else ""
        self.replace(self.dir / "taskmaster.toml", head + "\n".join(self._task(job) for job in jobs))

    @staticmethod
    def _task(job: Job) -> str:
        words = ", ".join(f'"{word}"' for word in job.argv)
        text = f'[[task]]\nname = "{job.name}"\ncmd = [{words}]\nnumprocess = {job.copies}\nrestart = "always"\n'
        return text + ('[task.log]\nmaxsize = "10MB"\nkeep = 2\ncompress = false\n' if job.rotated else "")

    def command(self) -> list[str]:
        config = str(self.dir / "taskmaster.toml")
        return [str(BIN / "taskmaster"), "core", "--instance", self.instance, "-f", config]

    def status_command(self) -> list[str]:
        return [str(BIN / "taskmaster"), "--instance", self.instance, "status"]

    def parts(self) -> dict[str, int]:
        return {"shim": self.pid, "core": int(self._client.call("ping", timeout=10)["pid"])}

    def connect(self) -> None:
        from taskmaster_core import client, paths  # noqa: PLC0415 the other managers are measured without it

        places = paths.places(self.instance, dict(self.environ()), os.getuid())
        kernel.until(lambda: client.probe(places.commands) is None, 30, 0.01, "the core listens")
        self._client = client.Client(places.commands)
        self._client.call("ping", timeout=30)

    def disconnect(self) -> None:
        if self._client is not None:
            self._client.close()

    def status(self) -> Any:
        return self._client.call("status", timeout=60)

    def stop_all(self) -> None:
        self._client.call("stop", ["all"], {"wait": True}, timeout=200)

    def reload(self) -> None:
        self._client.call("reload", timeout=200)
