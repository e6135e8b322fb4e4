"""Soak for as long as asked: `python -m tests.soak [--minutes M | --seconds S] [--seed N] [--out DIRECTORY]`.

Exits 0 when nothing was wrong and nothing grew, 1 otherwise, 130 when interrupted; nothing that was started is left.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.soak import report
from tests.soak.soak import Plan, Soak


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="soak", description="Random faults, and what grew (docs/soak.md).")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, help="instead of minutes")
    parser.add_argument("--seed", type=int, default=None, help="the same seed does the same things in the same order")
    parser.add_argument("--storm", type=float, default=0.4, help="part of the time in which all are killed")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="where the reports go")
    return parser.parse_args(words)


def interrupted(*_: object) -> None:
    """Go and end everything, undisturbed by those who press Ctrl-C twice."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(words: Sequence[str]) -> int:
    """Soak, and report."""
    asked = options(words)
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    print(f"SEED={seed}", flush=True)
    machine = report.about()
    soak = Soak(Plan(asked.seconds or asked.minutes * 60, seed, asked.storm), lambda line: print(line, flush=True))
    print(f"in {soak.it.dir}", flush=True)
    status = 0
    try:
        soak.run()
    except KeyboardInterrupt:
        status = 130
    samples = soak.gauges.samples if hasattr(soak, "gauges") else []
    done = report.document(soak, samples, machine)
    report.write(done, samples, asked.out)
    print(report.text(done))
    return status or int(not report.passed(done))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
