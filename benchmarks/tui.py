"""Measure the terminal UI in a real pty, and print what was measured beside what was promised.

It decides what is measured in which order and what a failure means (the figure is missing, and said); `make bench-tui`
calls it: `python benchmarks/tui.py [--only NAME] [--quick] [--json FILE]`.
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
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

import kernel  # noqa: E402
import textual  # noqa: E402
import tui_measures as measures  # noqa: E402


class Row(NamedTuple):
    """Describe one line: at most `target`, and the figure it is compared with."""

    title: str
    unit: str
    target: float | None = None
    beside: str = ""


ROWS: dict[str, Row] = {
    "start.python.80": Row("start → print, `python -c print`, 80x24", "ms"),
    "start.minimal.80": Row("start → painted, Textual app of one line, 80x24", "ms", None, "start.python.80"),
    "start.skeleton.80": Row("start → first picture of the TUI, 80x24", "ms", 450, "start.minimal.80"),
    "start.tui.80": Row("start → 40 jobs painted, 80x24", "ms", None, "start.minimal.80"),
    "start.pss.80": Row("  memory then (PSS)", "MiB", 40),
    "start.python.120": Row("start → print, `python -c print`, 120x36", "ms"),
    "start.minimal.120": Row("start → painted, Textual app of one line, 120x36", "ms", None, "start.python.120"),
    "start.skeleton.120": Row("start → first picture of the TUI, 120x36", "ms", 450, "start.minimal.120"),
    "start.tui.120": Row("start → 40 jobs painted, 120x36", "ms", None, "start.minimal.120"),
    "start.pss.120": Row("  memory then (PSS)", "MiB", 40),
    "idle.cpu": Row("idle, ten jobs: CPU", "%", 0.5),
    "idle.wakeups": Row("  wake-ups a second", ""),
    "idle.bytes": Row("  bytes a second to the terminal", ""),
    "idle.pss": Row("  memory (PSS)", "MiB", 50),
    "flood.cpu.80": Row("10,000 coloured lines/s, 80x24: CPU", "%", 25),
    "flood.core.80": Row("  CPU of the core", "%"),
    "flood.bytes.80": Row("  to the terminal", "kB/s"),
    "flood.key50.80": Row("  key → screen, p50", "ms"),
    "flood.key95.80": Row("  key → screen, p95", "ms", 60),
    "flood.cpu.120": Row("10,000 coloured lines/s, 120x36: CPU", "%", 25),
    "flood.core.120": Row("  CPU of the core", "%"),
    "flood.bytes.120": Row("  to the terminal", "kB/s"),
    "flood.key50.120": Row("  key → screen, p50", "ms"),
    "flood.key95.120": Row("  key → screen, p95", "ms", 60),
    "rows.cpu": Row("5,000 processes, each once a second: CPU", "%", 20),
    "rows.key50": Row("  key → screen, p50", "ms"),
    "rows.key95": Row("  key → screen, p95", "ms", 100),
    "rows.pss": Row("  memory (PSS)", "MiB"),
    "long.oldest": Row("1,000,000 lines: newest → oldest on the screen", "ms", 300),
    "long.memory": Row("  memory more than before it was opened (PSS)", "MiB", 15),
    "long.search": Row("  one line of them found by text", "s", 5),
    "link.1m.key50": Row("1 Mbit/s, 100 ms, flood: key → screen, p50", "ms", 300),
    "link.1m.key95": Row("  p95", "ms"),
    "link.100k.key50": Row("100 kbit/s, 100 ms, flood: key → screen, p50", "ms", 1000),
    "link.100k.key95": Row("  p95", "ms", 1700),
    "link.1m.stock": Row("flooding pane in stock Textual, 1 Mbit/s: key → screen, p50", "ms", None, "link.1m.sample"),
    "link.1m.sample": Row("  the same with the governor", "ms"),
    "link.100k.stock": Row("the same, 100 kbit/s (30,000: not seen in 30 s)", "ms", None, "link.100k.sample"),
    "link.100k.sample": Row("  the same with the governor", "ms"),
}  # fmt: skip
COMMANDS = (
    "python -m taskmaster_tui --socket SOCKET",
    "python -c \"print('painted')\"",
    "python -c 'from textual.app import App …'  (a Static of one word)",
    "python tests/programs/live_sample.py --rate 10000 [--stock]",
    "python benchmarks/tui_worlds.py flood 10000 0 | rows DIR 625 8 1",
)


def verdict(value: float, target: float | None) -> str:
    """Say whether a promise is kept."""
    return "" if target is None else "kept" if value <= target else "MISSED"


def table(figures: dict[str, float]) -> str:
    """Return the table of what was measured."""
    lines = [f"| {'what':66} | {'figure':>12} | {'promised':>10} | {'':6} | {'ratio':>22} |"]
    lines.append(f"|{'-' * 68}|{'-' * 14}|{'-' * 12}|{'-' * 8}|{'-' * 24}|")
    for name, row in ROWS.items():
        if name in figures:
            value = figures[name]
            other = figures.get(row.beside, 0.0)
            ratio = f"{value / other:.1f} x {row.beside.rpartition('.')[0]}" if other else ""
            shown = f"{value:,.2f} {row.unit}" if value < 10 else f"{value:,.0f} {row.unit}"
            promised = f"{row.target:g} {row.unit}" if row.target is not None else ""
            kept = verdict(value, row.target)
            lines.append(f"| {row.title:66} | {shown:>12} | {promised:>10} | {kept:6} | {ratio:>22} |")
    return "\n".join(lines)


def about() -> str:
    """Say what machine this is."""
    loads = " ".join(f"{each:.1f}" for each in os.getloadavg())
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{machine}, Textual {textual.__version__}, load {loads}"


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure the terminal UI (docs/benchmarks.md).")
    parser.add_argument("--only", action="append", default=[], choices=list(measures.MEASURES), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, in some two minutes")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure and print; 1 when something could not be measured."""
    asked = options(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    size = measures.QUICK if asked.quick else measures.FULL
    figures: dict[str, float] = {}
    problems, began = [], about()
    for name in asked.only or measures.MEASURES:
        started, load = time.monotonic(), kernel.busy()
        try:
            figures.update(measures.MEASURES[name](size))
        except (AssertionError, TimeoutError, RuntimeError, OSError) as error:
            problems.append(f"{name}: {error}")
        print(f"{name:10} {time.monotonic() - started:6.1f} s, others used {load:.0%}", file=sys.stderr, flush=True)
    print(f"{began}\n\n{table(figures)}\n\nMeasured in a pty of 120x36 (80x24 where said) with:")
    print("\n".join(f"  {each}" for each in COMMANDS))
    if asked.json:
        Path(asked.json).write_text(json.dumps({"about": began, "figures": figures}, indent=1))
    print("\n".join(["", *problems]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
