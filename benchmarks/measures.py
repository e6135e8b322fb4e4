"""Measure: idle, successor, scale (launch, status, API, memory, stop), reload, output.

It decides how each figure is taken, the same way for every manager; what a figure should be is `report`'s. `run` calls
`MEASURES` by name; each yields (row, value) as soon as it knows.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import kernel
from managers import Job, Manager, Taskmaster, sleepers

Figures = Iterator[tuple[str, float]]
Make = Callable[[], Manager]

LINE = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ."
"""One line of output, 64 bytes with its end."""
PATIENCE = 300.0
"""Seconds after which a manager counts as not having done it."""


class Sizes(NamedTuple):
    """Say how much of everything is measured."""

    idle: int
    settle: float
    window: float
    victims: int
    scale: tuple[tuple[int, int], ...]
    commands: int
    calls: int
    reload: int
    flood: float
    writers: tuple[int, ...]


FULL = Sizes(100, 15, 60, 150, ((1, 2), (100, 4), (1000, 2)), 11, 60, 1000, 8, (1, 50))
QUICK = Sizes(100, 12, 15, 30, ((1, 2), (100, 2)), 5, 30, 100, 3, (1, 50))
BUDGET = 80.0
"""Seconds after which no more victims are taken, and a quarter of that for API calls: some peers take seconds each."""


def idle(make: Make, sizes: Sizes) -> Figures:
    """Leave 100 processes alone, and count how often the manager wakes up."""
    with make() as it:
        it.configure(sleepers(sizes.idle))
        it.start()
        it.wait_jobs(sizes.idle, "sleep", PATIENCE)
        it.connect()
        parts = it.parts()
        it.disconnect()
        time.sleep(sizes.settle)
        before = {name: kernel.effort([pid]) for name, pid in parts.items()}
        time.sleep(sizes.window)
        spent = {name: kernel.effort([pid]).since(before[name]) for name, pid in parts.items()}
    minute = 60 / sizes.window
    yield f"idle.wakeups.{sizes.idle}", sum(each.wakeups for each in spent.values()) * minute
    yield f"idle.cpu.{sizes.idle}", sum(each.cpu for each in spent.values()) * 1000 * minute
    if len(spent) > 1:
        for name, each in spent.items():
            yield f"idle.wakeups.{name}", each.wakeups * minute
            yield f"idle.cpu.{name}", each.cpu * 1000 * minute


def successor(make: Make, sizes: Sizes) -> Figures:
    """SIGKILL each of 150 processes once (killing one twice would measure the backoff), look for the next pid.

    Who looks after its processes by a timer is hit at a random point of its period.
    """
    taken: list[float] = []
    with make() as it:
        it.configure(sleepers(sizes.victims))
        it.start()
        it.wait_jobs(sizes.victims, "sleep", PATIENCE)
        time.sleep(3)
        watched = kernel.Children(it.pid)
        end = time.monotonic() + BUDGET
        for victim in sorted(it.jobs("sleep")):
            if time.monotonic() < end:
                taken.append(_successor_of(victim, watched))
                time.sleep(random.uniform(0.05, it.period))
        watched.close()
    yield "successor.p50", statistics.median(taken) * 1000
    yield "successor.p99", sorted(taken)[int(len(taken) * 0.99)] * 1000
    yield "successor.samples", len(taken)


def _successor_of(victim: int, watched: kernel.Children) -> float:
    before = watched.now()
    began = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    seen = kernel.until(lambda: bool(watched.now() - before), 30, 5e-5, f"a successor of {victim}")
    kernel.until(lambda: victim not in watched.now(), 30, 0.001, f"{victim} is reaped")
    return seen - began


def scale(make: Make, sizes: Sizes) -> Figures:
    """Launch n processes, ask about them, and stop them: by order and by SIGTERM to the manager, in turns."""
    base = 0.0
    for count, repeats in sizes.scale:
        runs: dict[str, list[float]] = {}
        for turn in range(repeats):
            with make() as it:
                for row, value in _life(it, count, sizes, turn):
                    runs.setdefault(row, []).append(value)
        figures = {row: statistics.median(values) for row, values in runs.items()}
        yield from ((f"{row}.{count}", value) for row, value in figures.items())
        base = base or figures["memory.total"]
        if count > 1:
            yield f"memory.each.{count}", (figures["memory.total"] - base) * 1024 / (count - 1)


def _life(it: Manager, count: int, sizes: Sizes, turn: int) -> Figures:
    it.configure(sleepers(count))
    began = time.perf_counter()
    it.start()
    yield "launch", (it.wait_jobs(count, "sleep", PATIENCE) - began) * 1000
    it.connect()
    time.sleep(3)  # supervisord calls nothing running before its startsecs, 1 s
    if turn == 0:
        yield from _memory(it)
        yield "api", _api(it, sizes.calls)
        yield "status", _command(it, sizes.commands)
    yield from (_stop_by_order(it, count) if turn % 2 == 0 else _stop_by_signal(it, count))


def _memory(it: Manager) -> Figures:
    found = {name: kernel.memory(pid) for name, pid in it.parts().items()}
    yield "memory.total", sum(pss for pss, _ in found.values())
    yield "memory.private", sum(private for _, private in found.values())
    if len(found) > 1:
        yield from ((f"memory.{name}", pss) for name, (pss, _) in found.items())


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _api(it: Manager, calls: int) -> float:
    it.status()
    end, taken = time.monotonic() + BUDGET / 4, []
    while len(taken) < calls and (len(taken) < 5 or time.monotonic() < end):
        taken.append(_timed(it.status))
    return statistics.median(taken)


def _command(it: Manager, times: int) -> float:
    words, environ = it.status_command(), it.environ()

    def ask() -> None:
        done = subprocess.run(words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words} ended with {done.returncode}: {done.stdout[-300:]!r} {done.stderr[-300:]!r}")

    ask()
    return statistics.median(_timed(ask) for _ in range(times))


def _wait_gone(pids: Iterable[int], what: str) -> float:
    left = list(pids)

    def none_left() -> bool:
        while left and kernel.gone(left[-1]):
            left.pop()
        return not left

    return kernel.until(none_left, PATIENCE, 0.002, what)


def _stop_by_order(it: Manager, count: int) -> Figures:
    jobs, replied = it.jobs("sleep"), []
    began = time.perf_counter()
    asking = threading.Thread(target=lambda: (it.stop_all(), replied.append(time.perf_counter())), daemon=True)
    asking.start()
    yield "stop", (_wait_gone(jobs, f"{count} stopped by {it.name}") - began) * 1000
    asking.join(PATIENCE)
    yield "stop.reply", (replied[0] - began) * 1000


def _stop_by_signal(it: Manager, count: int) -> Figures:
    jobs = it.jobs("sleep")
    began = time.perf_counter()
    os.kill(it.pid, signal.SIGTERM)
    yield "down.jobs", (_wait_gone(jobs, f"{count} ended by {it.name}") - began) * 1000
    yield "down", (_wait_gone([it.pid], f"{it.name} ends") - began) * 1000


def reload(make: Make, sizes: Sizes) -> Figures:
    """Change the command of one job of 1,000, order a reload, wait for its new process; count the pids that stayed."""
    count = sizes.reload
    jobs = [Job(f"w{n}", ["/bin/sleep", "100000"]) for n in range(count)]
    with make() as it:
        it.configure(jobs, reloading=True)
        began = time.perf_counter()
        it.start()
        yield f"launch.jobs.{count}", (it.wait_jobs(count, "sleep", PATIENCE) - began) * 1000
        it.connect()
        time.sleep(3)
        before = it.jobs("sleep")
        jobs[count // 2] = Job(f"w{count // 2}", ["/bin/sleep", "200000"])
        it.configure(jobs, reloading=True)
        watched = kernel.Children(it.pid)
        began = time.perf_counter()
        asking = threading.Thread(target=it.reload, daemon=True)
        asking.start()
        seen = kernel.until(lambda: _changed(watched.now() - before), PATIENCE, 0.002, "the changed job runs")
        yield f"reload.{count}", (seen - began) * 1000
        asking.join(PATIENCE)
        yield f"reload.reply.{count}", (time.perf_counter() - began) * 1000
        time.sleep(1)
        yield f"reload.kept.{count}", len(before & it.jobs("sleep"))


def _changed(new: Iterable[int]) -> bool:
    return any("200000" in kernel.arguments_of(pid) for pid in new)


def output(make: Make, sizes: Sizes) -> Figures:
    """Let `yes` flood one and 50 rotated files; count by the kernel what the writers got rid of."""
    for writers in sizes.writers:
        with make() as it:
            it.configure([Job(f"w{n}", ["/usr/bin/yes", LINE], rotated=True) for n in range(writers)])
            it.start()
            it.wait_jobs(writers, "yes", PATIENCE)
            it.connect()
            time.sleep(2)
            yield from _flood(it, writers, sizes.flood)


def _flood(it: Manager, writers: int, seconds: float) -> Figures:
    parts, pids = it.parts(), it.jobs("yes")
    memory = sum(kernel.memory(pid)[1] for pid in parts.values())
    effort = {name: kernel.effort([pid]) for name, pid in parts.items()}
    began, bytes_before = time.perf_counter(), sum(map(kernel.written, pids))
    time.sleep(seconds)
    volume = sum(map(kernel.written, pids)) - bytes_before
    took = time.perf_counter() - began
    spent = {name: kernel.effort([pid]).since(effort[name]).cpu for name, pid in parts.items()}
    grown = sum(kernel.memory(pid)[1] for pid in parts.values()) - memory
    yield f"output.{writers}", volume / 1e6 / took
    yield f"output.cpu.{writers}", sum(spent.values()) / (volume / 2**30)
    yield f"output.grown.{writers}", grown
    if isinstance(it, Taskmaster):
        yield f"output.core.{writers}", spent["core"] / took * 100


MEASURES: dict[str, Callable[[Make, Sizes], Figures]] = {
    "idle": idle, "successor": successor, "scale": scale, "reload": reload, "output": output,
}  # fmt: skip


def names_of(only: Sequence[str]) -> list[str]:
    """Return the measures asked for, all when none is."""
    return [name for name in MEASURES if not only or name in only]
