"""Show what runs and what does not, as a table.

It decides how jobs fold into lines, and the exit status: 1 when something is fatal, in backoff or unhealthy. The facts
are the core's; nothing is acted on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from taskmaster_core.cli import clock
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import Cell, Out, plural, span
from taskmaster_core.cli.suggest import unlike
from taskmaster_core.errors import ExitStatus
from taskmaster_core.logs.sanitize import clean

Document = dict[str, Any]

LOOKS = {
    "running": ("●", "+", "good"),
    "starting": ("◐", "~", "busy"),
    "pending": ("◌", "~", "busy"),
    "stopping": ("◑", "~", "busy"),
    "backoff": ("↻", "!", "bad"),
    "fatal": ("✖", "x", "bad"),
    "unhealthy": ("▲", "!", "bad"),
    "exited": ("✓", "-", "off"),
    "stopped": ("○", "-", "off"),
    "unknown": ("?", "?", "busy"),
}
"""Of each state: its glyph, the glyph where only ASCII can be shown, its style. The word stands beside them always."""

FAILED = frozenset({"fatal", "backoff", "unhealthy"})

HEAD = ("NAME", "STATE", "PID", "UPTIME", "CPU", "MEM", "RESTARTS", "")
RIGHT = (2, 3, 4, 5, 6)


def status(call: Call) -> int:
    """Print the table once."""
    return show(call, call.ask("status", usage=True))


def shown_state(process: Document) -> str:
    """Return a process's state, or "unhealthy" for one that runs and is not well."""
    return "unhealthy" if process["state"] == "running" and process.get("ready") is False else str(process["state"])


def show(call: Call, answer: Document) -> int:
    """Print an answer once; return 1 when something in it has failed."""
    jobs = _chosen(answer["jobs"], failed=getattr(call.options, "failed", False))
    if call.options.json:
        call.out.data({**answer, "jobs": jobs})
    else:
        banner(call.out, answer["core"])
        _print_table(call, jobs, clock.of(answer["core"]))
    failed = any(shown_state(process) in FAILED for job in jobs for process in job["processes"])
    return ExitStatus.NOT_AS_ASKED if failed else ExitStatus.DONE


def _chosen(jobs: list[Document], *, failed: bool) -> list[Document]:
    if not failed:
        return jobs
    kept = ({**job, "processes": [each for each in job["processes"] if shown_state(each) in FAILED]} for job in jobs)
    return [job for job in kept if job["processes"]]


def _print_table(call: Call, jobs: list[Document], now: float) -> None:
    clock.compare(call.out, now)
    failed = getattr(call.options, "failed", False)
    procs = failed or getattr(call.options, "procs", False)
    rows = [row for job in jobs for row in _rows(call.out, job, now, procs=procs)]
    if rows:
        call.out.table(HEAD, rows, right=RIGHT)
    else:
        call.out.hint("nothing has failed" if failed else "no jobs; add one: taskmaster add NAME -- CMD")


def banner(out: Out, core: Document) -> None:
    """Say on stderr what is wrong with the core itself: its config, its journal."""
    problems = core.get("config_problems", [])
    warnings = [each for each in problems if isinstance(each, dict) and each.get("severity") == "warning"]
    for problem in problems:
        if problem not in warnings:
            out.complain(f"{out.paint('config:', 'bad', out.stderr)} {clean(problem_line(problem))}")
    if warnings:
        out.hint(f"{plural(len(warnings), 'warning')} about the config: taskmaster check")
    for trouble in core.get("troubles", []):
        out.complain(f"{out.paint('trouble:', 'bad', out.stderr)} {clean(str(trouble))}")
    if releases := unlike(core):
        out.hint(f"not of one release: {releases}; what is installed takes over with: taskmaster upgrade")
    if core.get("stopping"):
        out.hint("the core is stopping everything")


def problem_line(problem: Any) -> str:
    """Return a config problem in one line."""
    if not isinstance(problem, dict):
        return str(problem)
    place = ":".join(str(problem[key]) for key in ("file", "line", "column") if problem.get(key))
    remedy = f" ({problem['help']})" if problem.get("help") else ""
    return f"{place}: [{problem.get('code', '?')}] {problem.get('message', '')}{remedy}"


def _rows(out: Out, job: Document, now: float, *, procs: bool) -> list[list[str]]:
    processes = job["processes"]
    if procs:
        return [process_row(out, process["key"], process, now) for process in processes]
    if len(processes) == 1:
        return [process_row(out, job["name"], processes[0], now)]
    return [_job_row(out, job, now)]


def process_row(out: Out, name: str, process: Document, now: float) -> list[str]:
    """Return the line of one process."""
    state = shown_state(process)
    pid = str(process["pid"]) if process.get("pid") else "-"
    return [
        Cell(name, "name"),
        state_cell(out, state, state),
        pid,
        _age(process, now),
        *usage([process]),
        str(process.get("restarts", 0)),
        Cell(note(process, now), "" if state in FAILED else "dim"),
    ]


def usage(processes: Sequence[Document]) -> tuple[str, str]:
    """Return the percent of one processor and the memory that processes and all below them take, "-" if not known."""
    known = [each for each in processes if each.get("rss") is not None]
    if not known:
        return "-", "-"
    return f"{sum(each.get('cpu') or 0.0 for each in known):.1f}%", size(sum(each["rss"] for each in known))


def size(number: float) -> str:
    """Return a number of bytes in at most five columns: 812K, 3.2M, 310M, 1.2G."""
    number, unit = number / 1024, "K"
    for larger in "MGT":
        if number >= 999.5:
            number, unit = number / 1024, larger
    return f"{number:.1f}{unit}" if number < 9.95 else f"{number:.0f}{unit}"


def state_cell(out: Out, state: str, words: str) -> Cell:
    """Return glyph and words for a state, in its colour."""
    glyph, plain, style = LOOKS.get(state, LOOKS["unknown"])
    return Cell(f"{glyph if out.unicode else plain} {words}", style)


def _job_row(out: Out, job: Document, now: float) -> list[str]:
    processes = job["processes"]
    counts = Counter(shown_state(process) for process in processes)
    shown = "running" if counts["running"] else job["state"]
    looks = "unhealthy" if counts["unhealthy"] else job["state"]
    worst = next((each for each in processes if shown_state(each) == looks), None)
    words = f"{counts[shown]}/{len(processes)} {shown}" if processes else "no processes"
    oldest = min((each for each in processes if each["state"] == "running"), key=_started, default=worst)
    return [
        Cell(job["name"], "name"),
        state_cell(out, looks, words),
        "-",
        _age(oldest, now) if oldest else "-",
        *usage(processes),
        str(job.get("restarts", 0)),
        Cell(_job_note(worst, counts, shown, now), "" if looks in FAILED else "dim"),
    ]


def _job_note(worst: Document | None, counts: Counter[str], shown: str, now: float) -> str:
    """Say which states there are beside the one that is shown, and of the worst process why."""
    if worst is None:
        return ""
    if shown_state(worst) == shown:
        return _counted(counts, {shown}) or note(worst, now)
    rest = _counted(counts, {shown, shown_state(worst)})
    same = counts[shown_state(worst)] - 1
    more = f" (and {same} more)" if same else ""
    return f"{worst['key']} {shown_state(worst)}{more}: {note(worst, now)}" + (f"; {rest}" if rest else "")


def _counted(counts: Counter[str], without: set[str]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.most_common() if state not in without)


def _started(process: Document) -> float:
    return process.get("started_at") or 0.0


def _age(process: Document, now: float) -> str:
    if process["state"] in ("running", "starting", "stopping") and process.get("started_at"):
        return span(now - process["started_at"])
    return "-"


def note(process: Document, now: float) -> str:
    """Say why a process is not simply running, and since when."""
    state, reason = shown_state(process), process.get("reason") or ""
    if state == "running":
        away, attached = process.get("away"), process.get("attached")
        parts = [
            "held" if process.get("held") else "",
            f"attached: {attached}" if attached else "",
            f"{away} left its group" if away else "",
        ]
        return ", ".join(part for part in parts if part)
    if state == "backoff" and process.get("next_start_at"):
        reason = f"next try in {span(max(0.0, process['next_start_at'] - now))}: {reason}"
    if process.get("lingering"):
        reason = ", ".join(part for part in (reason, f"{process['lingering']} lingering") if part)
    since = f"since {span(now - process['since'])}" if process.get("since") else ""
    return ", ".join(part for part in (reason, since) if part)
