"""Hold the figures against DESIGN §10 and against the peers, and print the table.

It decides what met and missed mean, and how many times better is counted; it measures nothing. `run` calls it.
"""

from __future__ import annotations

from typing import NamedTuple

PEERS = ("supervisor", "circus")
NOISY = 0.15
"""Share of the processors in use by others from which on a figure is marked as taken under load."""


class Row(NamedTuple):
    """Describe one line: `target` is a limit, or with `times` a factor of supervisor's figure."""

    title: str
    unit: str
    target: float | None = None
    more: bool = False
    times: bool = False


ROWS: dict[str, Row] = {
    "idle.wakeups.100": Row("idle, 100 processes: wake-ups a minute", "", 12),
    "idle.cpu.100": Row("idle, 100 processes: CPU a minute", "ms", 2),
    "idle.wakeups.shim": Row("  of the shim: wake-ups", ""),
    "idle.wakeups.core": Row("  of the core: wake-ups", ""),
    "idle.cpu.shim": Row("  of the shim: CPU", "ms"),
    "idle.cpu.core": Row("  of the core: CPU", "ms"),
    "successor.p50": Row("SIGKILL → successor's pid, p50", "ms", 3),
    "successor.p99": Row("SIGKILL → successor's pid, p99", "ms", 15),
    "successor.samples": Row("  of so many", ""),
    "launch.1": Row("launch → 1 process running", "ms"),
    "launch.100": Row("launch → 100 processes running", "ms", 900),
    "launch.1000": Row("launch → 1,000 processes running", "ms", 5000),
    "launch.jobs.1000": Row("launch → 1,000 jobs of one process running", "ms"),
    "stop.100": Row("stop of 100: order → all gone", "ms", 100),
    "stop.1000": Row("stop of 1,000: order → all gone", "ms", 450),
    "stop.reply.100": Row("  100: order → told that it is done", "ms"),
    "stop.reply.1000": Row("  1,000: order → told that it is done", "ms"),
    "down.jobs.100": Row("SIGTERM to the manager → 100 jobs gone", "ms", 100),
    "down.jobs.1000": Row("SIGTERM to the manager → 1,000 jobs gone", "ms", 450),
    "down.100": Row("  and itself, 100", "ms"),
    "down.1000": Row("  and itself, 1,000", "ms"),
    "reload.1000": Row("reload of 1,000 jobs, one changed → it runs", "ms", 200),
    "reload.reply.1000": Row("  reload → told that it is done", "ms"),
    "reload.kept.1000": Row("  pids kept", "", 999, more=True),
    "status.1": Row("command `status`, 1 process", "ms", 110),
    "status.100": Row("command `status`, 100 processes", "ms", 120),
    "status.1000": Row("command `status`, 1,000 processes", "ms", 160),
    "api.1": Row("API status of 1, p50", "ms"),
    "api.100": Row("API status of 100, p50", "ms", 2),
    "api.1000": Row("API status of 1,000, p50", "ms", 12),
    "output.1": Row("output of 1 process to a rotated file", "MB/s", 1.4, more=True, times=True),
    "output.50": Row("output of 50 processes to rotated files", "MB/s", 1.2, more=True, times=True),
    "output.cpu.1": Row("  CPU per GiB, 1", "s", 1),
    "output.cpu.50": Row("  CPU per GiB, 50", "s", 1),
    "output.core.1": Row("  the core's part of one CPU, 1", "%", 0.5),
    "output.core.50": Row("  the core's part of one CPU, 50", "%", 0.5),
    "output.grown.1": Row("  memory grown meanwhile, 1", "MiB", 1),
    "output.grown.50": Row("  memory grown meanwhile, 50", "MiB", 1),
    "memory.shim.1": Row("memory (PSS) of the shim, 1 process", "MiB", 12),
    "memory.core.1": Row("memory (PSS) of the core, 1 process", "MiB", 36),
    "memory.total.1": Row("memory (PSS), 1 process", "MiB", 48),
    "memory.total.100": Row("memory (PSS), 100 processes", "MiB", 49),
    "memory.total.1000": Row("memory (PSS), 1,000 processes", "MiB", 58),
    "memory.private.1000": Row("  private memory, 1,000", "MiB"),
    "memory.shim.1000": Row("  of the shim, 1,000", "MiB"),
    "memory.core.1000": Row("  of the core, 1,000", "MiB"),
    "memory.each.1000": Row("  more for each process", "KiB", 10),
}


class Figure(NamedTuple):
    """Hold one value and what share of the processors others used around it."""

    value: float
    load: float


Results = dict[str, dict[str, Figure]]
"""Of each row the figure of each manager."""


def limit_of(row: Row, found: dict[str, Figure]) -> float | None:
    """Return the value to be met; None without one, or when the peer it depends on was not measured."""
    if row.target is None or not row.times:
        return row.target
    peer = found.get("supervisor")
    return row.target * peer.value if peer else None


def verdict(row: Row, found: dict[str, Figure]) -> str:
    """Return met, MISSED, or nothing where there is nothing to hold it against."""
    limit, ours = limit_of(row, found), found.get("taskmaster")
    if limit is None or ours is None:
        return ""
    return "met" if (ours.value >= limit if row.more else ours.value <= limit) else "MISSED"


def ratio(row: Row, found: dict[str, Figure], peer: str) -> str:
    """Return how many times better than the peer we are; below 1 we are worse."""
    ours, theirs = found.get("taskmaster"), found.get(peer)
    if ours is None or theirs is None or min(ours.value, theirs.value) <= 0:
        return ""
    return f"{ours.value / theirs.value if row.more else theirs.value / ours.value:.3g}x"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cell(row: Row, figure: Figure | None) -> str:
    if figure is None:
        return ""
    mark = " *" if figure.load > NOISY else ""
    return f"{_number(figure.value)} {row.unit}".strip() + mark


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≥" if row.more else "≤"
    return f"{sign} {row.target:g}x supervisor" if row.times else f"{sign} {_number(row.target)} {row.unit}".strip()


def lines(results: Results, *, everything: bool) -> list[list[str]]:
    """Return the table's cells, the heads first; `everything`: rows of other sizes, too."""
    table = [["what", "taskmaster", "target", "", *(cell for peer in PEERS for cell in (peer, "ratio"))]]
    extra = sorted(row for row in results if row not in ROWS and everything)
    for name in [*(row for row in ROWS if row in results), *extra]:
        row, found = ROWS.get(name, Row(name, "")), results[name]
        peers = [cell for peer in PEERS for cell in (_cell(row, found.get(peer)), ratio(row, found, peer))]
        table.append([row.title, _cell(row, found.get("taskmaster")), _target(row), verdict(row, found), *peers])
    return table


def render(results: Results, *, everything: bool = False) -> str:
    """Return the table as Markdown, which reads as well on a terminal."""
    table = lines(results, everything=everything)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    text = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in table]  # fmt: skip
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([text[0], rule, *text[1:]])
