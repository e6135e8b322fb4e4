"""Work beside the loop: results come back in order, and failures are told."""

from __future__ import annotations

import threading
from functools import partial

from taskmaster_core.workers import Worker


def finish(worker: Worker, woken: threading.Semaphore, number: int) -> None:
    for _ in range(number):
        assert woken.acquire(timeout=5)
    worker.deliver()


def test_results_are_delivered_in_the_order_of_the_work() -> None:
    woken = threading.Semaphore(0)
    worker = Worker(woken.release)
    got: list[object] = []
    for number in range(5):
        worker.submit(partial(int, number), lambda result, error: got.append(result))
    finish(worker, woken, 5)
    worker.close()
    assert got == [0, 1, 2, 3, 4]


def test_a_failure_is_handed_back_and_the_next_work_is_done() -> None:
    woken = threading.Semaphore(0)
    worker = Worker(woken.release)
    got: list[tuple[object, str]] = []
    worker.submit(lambda: 1 // 0, lambda result, error: got.append((result, type(error).__name__)))
    worker.submit(lambda: "well", lambda result, error: got.append((result, type(error).__name__)))
    finish(worker, woken, 2)
    worker.close()
    assert got == [(None, "ZeroDivisionError"), ("well", "NoneType")]


def test_nothing_is_called_back_before_the_loop_asks() -> None:
    woken = threading.Semaphore(0)
    worker = Worker(woken.release)
    got: list[object] = []
    worker.submit(lambda: 1, lambda result, error: got.append(result))
    assert woken.acquire(timeout=5)
    assert got == []
    worker.deliver()
    worker.close()
    assert got == [1]
