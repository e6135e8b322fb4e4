"""Make of a soak's samples what a person reads and a program compares: text, JSON, and a plot as SVG.

Decides which part of the samples is judged: the second half of the calm, each process's life by itself. Whether that
is growth is for `slopes`; what was wrong is told by the soak.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.soak.gauges import Sample
from tests.soak.slopes import KIB, Slope, slope
from tests.soak.soak import Soak, facts

ROLES = ("core", "shim", "tui", "state")
BYTES = frozenset({"rss", "pss", "private", "bytes", "journal"})
FEWEST = 30.0
"""Seconds of one life that are enough to be judged."""
PLOTS = (("core", "private"), ("shim", "private"), ("tui", "private"), ("core", "fds"), ("shim", "fds"),
         ("tui", "fds"), ("state", "bytes"), ("state", "journal"))  # fmt: skip


def judged(samples: Sequence[Sample], since: float, until: float) -> list[Slope]:
    """Return the slopes of the second half of what lies between two moments."""
    half = (since + until) / 2
    series: defaultdict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if half <= sample.at <= until:
            for what, value in sample.values.items():
                series[sample.role, what, sample.life].append((sample.at, value))
    found = [slope(*key, points) for key, points in series.items() if points[-1][0] - points[0][0] >= FEWEST]
    return sorted(found, key=lambda each: (ROLES.index(each.role), each.what))


def about() -> dict[str, Any]:
    """Say what was measured where."""
    asked = ["git", "describe", "--always", "--dirty"]
    told = subprocess.run(asked, cwd=Path(__file__).parent, check=False, capture_output=True, text=True)
    return {
        "commit": told.stdout.strip(), "cpus": os.cpu_count(),
        "linux": platform.release(), "python": platform.python_version(),
        "load": [round(each, 1) for each in os.getloadavg()],
    }  # fmt: skip


def document(soak: Soak, samples: Sequence[Sample], machine: dict[str, Any]) -> dict[str, Any]:
    """Return everything as data."""
    end = samples[-1].at if samples else 0.0
    slopes = judged(samples, soak.calm_since, end) if soak.calm_since else []
    return {
        "machine": machine, "seed": soak.plan.seed, "seconds": round(end, 1), "calm_since": round(soak.calm_since, 1),
        "not_done": sorted(soak.without),
        "slopes": [{**each._asdict(), "leaks": each.leaks} for each in slopes],
        "grew": [f"{each.role} {each.what}" for each in slopes if each.leaks],
        "wrong": [{"number": s.number, "at": round(s.at, 1), "fault": s.words, "text": text}
                  for s in soak.struck for text in s.wrong],
        "cpu": cpu(samples, soak.calm_since), **facts(soak),
        "descriptors": more_held(soak),
    }  # fmt: skip


def cpu(samples: Sequence[Sample], since: float) -> dict[str, float]:
    """Return the percent of one processor each one took in the calm."""
    found = {}
    for role in ROLES[:-1]:
        lives: defaultdict[str, list[Sample]] = defaultdict(list)
        for each in samples:
            if each.role == role and each.values and each.at >= since:
                lives[each.life].append(each)
        longest = max(lives.values(), key=len, default=[])
        if len(longest) > 1:
            used = longest[-1].values["cpu"] - longest[0].values["cpu"]
            found[role] = round(100 * used / (longest[-1].at - longest[0].at), 1)
    return found


def more_held(soak: Soak) -> dict[str, dict[str, int]]:
    """Return which descriptors there are more of at the end of a life than at its beginning."""
    found = {}
    for name, last in soak.gauges.holding.items():
        if name.endswith(" last"):
            first = soak.gauges.holding[f"{name.removesuffix(' last')} first"]
            found[name.removesuffix(" last")] = {
                what: count - first.get(what, 0) for what, count in last.items() if count > first.get(what, 0)
            }
    return {name: more for name, more in found.items() if more}


def passed(done: dict[str, Any]) -> bool:
    """Tell whether nothing was wrong and nothing grew."""
    return not done["wrong"] and not done["grew"]


# For people -----------------------------------------------------------------------------------------------------------


def amount(what: str, value: float) -> str:
    """Say a figure: bytes in KiB."""
    return f"{value / KIB:,.0f} KiB" if what in BYTES else f"{value:,.1f}"


def text(done: dict[str, Any]) -> str:
    """Return the report."""
    machine = done["machine"]
    lines = [
        f"soak of {done['seconds'] / 60:.1f} min, seed {done['seed']}, the calm since {done['calm_since']:.0f} s",
        f"commit {machine['commit']}, {machine['cpus']} CPUs, load {' '.join(map(str, machine['load']))}",
        f"Linux {machine['linux']}, Python {machine['python']}",
        f"{sum(each['times'] for each in done['faults'].values())} faults, {done['last_seq']} events",
        f"{done['lines']} counted lines; slowest answer {done['answers_max'] * 1000:.0f} ms",
        f"not done here: {', '.join(done['not_done'])}" if done["not_done"] else "",
        "",
        f"{'fault':<16}{'times':>6}{'well after, mean':>20}{'longest':>10}",
        *(f"{name:<16}{each['times']:>6}{each['settled_mean']:>18} s{each['settled_max']:>8} s"
          for name, each in done["faults"].items()),
        "",
        f"{'second half of the calm':<24}{'first':>14}{'last':>14}{'an hour':>16}{'allowed':>14}",
        *(_row(each) for each in done["slopes"] if each["what"] != "cpu"),
        "",
        "CPU in the calm: " + ", ".join(f"{role} {value} %" for role, value in done["cpu"].items()),
        *(f"WRONG at {each['at']} s, fault {each['number']} ({each['fault'][:300]}): {each['text']}"
          for each in done["wrong"]),
        *(f"GREW {each}" for each in done["grew"]),
        "passed" if passed(done) else f"FAILED: {len(done['wrong'])} wrong, {len(done['grew'])} grew",
    ]  # fmt: skip
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _row(each: dict[str, Any]) -> str:
    what, bound = each["what"], each["bound"]
    allowed = "told only" if bound is None else amount(what, bound.per_hour)
    figures = (amount(what, each["first"]), amount(what, each["last"]), amount(what, each["per_hour"]), allowed)
    mark = " <- grew" if each["leaks"] else ""
    return f"{each['role'] + ' ' + what:<24}{figures[0]:>14}{figures[1]:>14}{figures[2]:>16}{figures[3]:>14}{mark}"


# The plot -------------------------------------------------------------------------------------------------------------

WIDE, HIGH, EDGE = 420, 120, 40


def svg(samples: Sequence[Sample], calm_since: float) -> str:
    """Return small plots of the figures that are judged, one below the other in two columns; a line for each life."""
    end = max((sample.at for sample in samples), default=1.0)
    parts = [_plot(samples, *what, calm_since, end, place) for place, what in enumerate(PLOTS)]
    height = (len(PLOTS) + 1) // 2 * (HIGH + EDGE) + EDGE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * (WIDE + EDGE) + EDGE}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        + "".join(parts) + "</svg>\n"
    )  # fmt: skip


def _plot(samples: Iterable[Sample], role: str, what: str, calm: float, end: float, place: int) -> str:
    lives: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in samples:
        if each.role == role and what in each.values:
            lives[each.life].append((each.at, each.values[what]))
    top = max((value for points in lives.values() for _, value in points), default=0.0) or 1.0
    left, above = EDGE + place % 2 * (WIDE + EDGE), EDGE + place // 2 * (HIGH + EDGE)
    lines = "".join(_line(points, end, top) for points in lives.values())
    border = f'<line x1="{calm / end * WIDE:.1f}" x2="{calm / end * WIDE:.1f}" y1="0" y2="{HIGH}" stroke="#d33"/>'
    return (
        f'<g transform="translate({left},{above})"><rect width="{WIDE}" height="{HIGH}" fill="#f6f6f6"/>'
        f'<text y="-5">{role} {what}, top {amount(what, top)}</text>{border}{lines}</g>'
    )


def _line(points: Sequence[tuple[float, float]], end: float, top: float) -> str:
    path = " ".join(f"{at / end * WIDE:.1f},{HIGH - value / top * HIGH:.1f}" for at, value in points)
    return f'<polyline points="{path}" fill="none" stroke="#246"/>'


def write(done: dict[str, Any], samples: Sequence[Sample], where: Path) -> None:
    """Write the three files."""
    where.mkdir(parents=True, exist_ok=True)
    (where / "report.txt").write_text(text(done))
    (where / "report.json").write_text(json.dumps(done, indent=1))
    (where / "samples.json").write_text(json.dumps([each._asdict() for each in samples]))
    (where / "plot.svg").write_text(svg(samples, done["calm_since"]))
