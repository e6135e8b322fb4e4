"""Measure Taskmaster and its peers on this machine, and print what was measured beside what was promised.

It decides what is measured in which order and what a failure means (the figure is missing, and said); `make bench`
calls it: `python benchmarks/run.py [--only NAME] [--quick] [--no-peers] [--json FILE]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import kernel
import measures
import peers
import report
from managers import Manager, Taskmaster, clean


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure Taskmaster and its peers (docs/benchmarks.md).")
    parser.add_argument("--only", action="append", default=[], choices=list(measures.MEASURES), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, in some two minutes")
    parser.add_argument("--no-peers", action="store_true", help="Taskmaster alone")
    parser.add_argument("--peers-only", action="store_true", help="the peers alone")
    parser.add_argument("--realtime", action="store_true", help="ahead of everybody else, but for output")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return parser.parse_args(words)


def managers(asked: argparse.Namespace) -> list[type[Manager]]:
    """Return who takes part."""
    ours: list[type[Manager]] = [] if asked.peers_only else [Taskmaster]
    theirs: list[type[Manager]] = [] if asked.no_peers else [peers.Supervisor, peers.Circus]
    return ours + theirs


def measure(asked: argparse.Namespace, results: report.Results) -> list[str]:
    """Fill in the results; return what went wrong, in words."""
    sizes, problems = measures.QUICK if asked.quick else measures.FULL, []
    for name in measures.names_of(asked.only):
        for manager in managers(asked):
            kernel.warm()
            kernel.go_ahead(asked.realtime and name != "output")
            load, before = kernel.busy(), time.monotonic()
            try:
                for row, value in measures.MEASURES[name](manager, sizes):
                    results.setdefault(row, {})[manager.name] = report.Figure(value, load)
            except (TimeoutError, RuntimeError, OSError) as error:
                problems.append(f"{name} of {manager.name}: {error}")
            print(f"{name:10} {manager.name:11} {time.monotonic() - before:6.1f} s", file=sys.stderr, flush=True)
    return problems


def about() -> str:
    """Say what machine this is."""
    loads = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}, load {loads}"


def main(words: Sequence[str]) -> int:
    """Measure and print; 1 when something could not be measured, 130 when interrupted."""
    asked = options(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if not asked.no_peers:
        peers.install()
    results: report.Results = {}
    problems, status = [], 0
    began = about()
    try:
        problems = measure(asked, results)
        status = 1 if problems else 0
    except KeyboardInterrupt:
        problems, status = ["interrupted"], 130
    finally:
        clean()
    print(report.render(results, everything=asked.quick))
    print(f"\n{began}; * = others used more than {report.NOISY:.0%} of the processors")
    print("\n".join(f"not measured: {each}" for each in problems))
    if asked.json:
        document = {"machine": began, "results": {row: {who: figure._asdict() for who, figure in found.items()}
                                                  for row, found in results.items()}}  # fmt: skip
        Path(asked.json).write_text(json.dumps(document, indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
