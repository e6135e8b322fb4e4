"""What the TUI looks at while it is measured: a scripted core with many rows, a real one with a job that floods.

It measures nothing. `tui.py` calls it, and starts it as a program of its own where its work is not the TUI's:
`python benchmarks/tui_worlds.py rows DIRECTORY JOBS PROCESSES RATE`, or `flood LINES_PER_SECOND LINES`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests import fakecore  # noqa: E402
from tests.harness import Daemon  # noqa: E402

PER_SECOND = 10  # batches, as the core sends them
COLOURS = ("32", "33", "36", "1;31", "38;5;141")

NO_LINES = {
    "lines": [], "cursor": {}, "begin": {}, "end": {}, "more": False, "held": False, "problems": [], "matches": 0,
    "before": 0, "total": 0, "start": True,
}  # fmt: skip


def line(n: int) -> str:
    """Return a coloured line of some 110 characters, as servers write them."""
    colour = COLOURS[n % len(COLOURS)]
    level = ("INFO", "WARN", "DEBUG", "ERROR", "TRACE")[n % 5]
    return (
        f"\x1b[2m12:04:{n // 10000 % 60:02}.{n % 1000:03}\x1b[0m \x1b[{colour}m{level:5}\x1b[0m request {n:>8} "
        f"\x1b[1mGET\x1b[0m /api/items/{n % 9973}?page={n % 37} \x1b[36mstatus={200 + n % 5}\x1b[0m took {n % 997} ms"
    )


def flood(rate: float, most: int) -> None:
    """Write lines at a rate, in fifty portions a second, as many as asked for (0: for ever); then stay."""
    began, n = time.monotonic(), 0
    while not most or n < most:
        due = int((time.monotonic() - began) * rate) if rate else most
        due = min(due, most) if most else due
        while n < due:
            portion = range(n, min(due, n + 2000))
            os.write(1, ("\n".join(map(line, portion)) + "\n").encode())
            n = portion.stop
        time.sleep(0.02)
    os.write(1, b"that was all\n")
    while True:
        time.sleep(3600)


def rows(directory: Path, jobs: int, processes: int, rate: float) -> None:
    """Publish every process `rate` times a second, in conflated batches, until the parent goes."""
    core = fakecore.FakeCore(directory)
    views = {
        f"job{j:03}": [fakecore.process(f"job{j:03}:{i}", cpu=1.5, rss=40 << 20) for i in range(processes)]
        for j in range(jobs)
    }
    made = [fakecore.job(name, *each) for name, each in views.items()]
    core.on("status", lambda _: fakecore.status(*made, seq=core.seq, batches=batch))
    core.on("events", []).on("show", {"jobs": []})
    core.on("config", {"files": [], "generation": 1, "settings": {}, "jobs": []})
    core.on("logs", fakecore.Raw(NO_LINES, b""))
    flat = [each for job in views.values() for each in job]
    batch, at, begun = 0, 0, time.monotonic()
    core.start()
    print("ready", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        share = int(len(flat) * rate / PER_SECOND)
        if share:
            batch += 1
            some = [flat[(at + i) % len(flat)] for i in range(share)]
            at += share
            for each in some:
                each["restarts"] += 1
                each["since"] = time.time() - each["restarts"]
            core.publish("state", {"boot": core.boot, "seq": core.seq, "n": batch, "processes": some, "gone": []})
        if not share or batch % PER_SECOND == 0:
            core.publish("beat", {"boot": core.boot, "seq": core.seq, "batches": batch})
        begun += 1 / PER_SECOND if share else 1
        time.sleep(max(0.0, begun - time.monotonic()))
    core.close()


@contextmanager
def many_rows(jobs: int, processes: int, rate: float) -> Iterator[str]:
    """Run a scripted core as a process of its own; yield its command socket."""
    home = Path(tempfile.mkdtemp(prefix="tmb-", dir="/tmp"))
    command = [sys.executable, __file__, "rows", str(home / "run"), str(jobs), str(processes), str(rate)]
    core = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert core.stdout is not None
        assert core.stdout.readline() == "ready\n"
        yield str(home / "run" / "cmd.sock")
    finally:
        core.terminate()
        core.wait(10)
        if core.stdout:
            core.stdout.close()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def real_core(lines: float = 0, most: int = 0, idle: int = 10) -> Iterator[Daemon]:
    """Run a core with a job `flood` and some that only sleep; yield it when all of them run."""
    command = [sys.executable, __file__, "flood", str(lines), str(most)]
    config = '[defaults.log]\nmaxsize = "64MiB"\nkeep = 8\n'
    config += f'[[task]]\nname = "flood"\ncmd = {command!r}\n' if lines or most else ""
    config += "".join(f'[[task]]\nname = "idle{n}"\ncmd = ["sleep", "100000"]\n' for n in range(idle))
    daemon = Daemon(config)
    try:
        daemon.start()
        daemon.wait(lambda: all(each.state == "running" for each in daemon.procs()), 30, "all run")
        yield daemon
    finally:
        daemon.close()


if __name__ == "__main__":
    if sys.argv[1] == "flood":
        flood(float(sys.argv[2]), int(sys.argv[3]))
    else:
        rows(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
