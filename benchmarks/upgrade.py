"""Measure how long nobody reads the FIFOs while the shim renews itself, and how long no core decides anything.

Called by hand: `python benchmarks/upgrade.py [PROCESSES …]` (default 20 200); each figure is the median and the worst
of ten. `chrt -r 1` before it takes it ahead of everybody else on a shared machine.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from managers import sleepers

from tests.harness import Daemon

TIMES = 10
CONFIG = '[[task]]\nname = "w"\ncmd = {argv}\nnumprocess = {copies}\n'


def figures(values: list[float]) -> str:
    """Return median and worst."""
    return f"{statistics.median(values):.0f} ms (worst of {len(values)}: {max(values):.0f})"


def measure(copies: int) -> None:
    """Print the figures with so many processes."""
    (job,) = sleepers(copies)
    daemon = Daemon(CONFIG.format(argv=job.argv, copies=copies))
    try:
        daemon.start()
        daemon.wait(lambda: all(each.state == "running" for each in daemon.procs()), 60)
        with daemon.client as client:
            for part in ("shim", "core"):
                away, whole = [], []
                for _ in range(TIMES):
                    began = time.monotonic()
                    done = client.call("upgrade", args={"what": part}, timeout=60)
                    whole.append((time.monotonic() - began) * 1000)
                    away.append(done[part]["ms"])
                    assert done["processes"]["kept"] == copies
                print(f"{copies} processes, {part}: away for {figures(away)}, with its trial {figures(whole)}")
    finally:
        daemon.close()


for number in sys.argv[1:] or ("20", "200"):
    measure(int(number))
