"""Have system calls of one process fail, or kill it at one of them, by strace attached from outside.

Decides nothing. Only the process itself is traced, never its children.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.harness import alive, status_field, wait_until


@functools.cache
def missing() -> str:
    """Say why nothing can be traced here; "" if it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run([strace, "-o", "/dev/null", "true"], check=False, capture_output=True, timeout=20)
    return "" if tried.returncode == 0 else "ptrace is not allowed here"


@contextlib.contextmanager
def injected(pid: int, calls: str, what: str, *, threads: bool = False) -> Iterator[Path]:
    """Inject `what` (`error=EIO:when=3`, `signal=KILL:when=7`) into these calls; give the file of what was traced."""
    with tempfile.TemporaryDirectory(prefix="tm-strace-") as place:
        log = Path(place) / "log"
        command = ["strace", "-qq", "-o", str(log), "-e", f"inject={calls}:{what}", "-e", f"trace={calls}"]
        tracer = subprocess.Popen(
            [*command, *(["-f"] if threads else []), "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            wait_until(lambda: _traced(pid) or not alive(pid) or tracer.poll() is not None, what="it is traced")
            yield log
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(tracer.pid, signal.SIGINT)
            _, said = tracer.communicate(timeout=10)
            print(said.decode(errors="replace"), end="")


def _traced(pid: int) -> bool:
    return status_field(pid, "TracerPid") not in ("", "0")


def was_hit(log: Path) -> bool:
    """Tell whether anything was injected."""
    said = log.read_text(errors="replace") if log.exists() else ""
    return "(INJECTED)" in said or "SIGKILL" in said
