"""An end: expected or not, in words, and how long to wait after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core import ends
from taskmaster_core.spec import Backoff, Exit
from tests.samples import CLEAN, KEY, KILLED, NO_SUCH_FILE, spec

STILL = Backoff(first=0.1, factor=2.0, max=30.0, jitter=0.0)


@given(st.integers(1, 10**6), st.floats(0.001, 60), st.floats(1, 1e6), st.floats(0.001, 3600), st.floats(0, 1))
def test_backoff_stays_within_cap_and_jitter(streak: int, first: float, factor: float, cap: float, part: float) -> None:
    delay = ends.backoff_delay(KEY, 1, Backoff(first, factor, cap, part), streak)
    assert min(first, cap) * (1 - part) * 0.999 <= delay <= cap * (1 + part) * 1.001


@given(st.integers(1, 60))
def test_backoff_without_jitter_never_shrinks(streak: int) -> None:
    assert ends.backoff_delay(KEY, 1, STILL, streak) <= ends.backoff_delay(KEY, 1, STILL, streak + 1)


def test_jitter_is_the_same_each_time_and_spreads_over_runs() -> None:
    delays = [ends.backoff_delay(KEY, run, Backoff(), 1) for run in range(200)]
    assert delays == [ends.backoff_delay(KEY, run, Backoff(), 1) for run in range(200)]
    assert 0.09 <= min(delays) < 0.092
    assert 0.108 < max(delays) <= 0.11


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (None, "not known how"),
        (Exit(), "not known how"),
        (Exit(message="ended while nobody looked"), "ended while nobody looked"),
        (CLEAN, "exit code 0"),
        (KILLED, "killed by SIGKILL"),
        (Exit(signal="SIGSEGV", core=True), "killed by SIGSEGV (core dumped)"),
        (NO_SUCH_FILE, "No such file or directory: '/bin/web'"),
        (Exit(stage="fork", errno="EAGAIN"), "fork: EAGAIN"),
    ],
)
def test_an_end_in_words(end: Exit | None, words: str) -> None:
    assert ends.describe(end) == words


@pytest.mark.parametrize(
    ("codes", "end", "good"),
    [
        ((0,), CLEAN, True),
        ((0,), Exit(code=1), False),
        ((0, 3), Exit(code=3), True),
        ((0, "SIGKILL"), KILLED, True),
        ((0, 9), KILLED, False),
        ((0,), Exit(), False),
        ((0,), NO_SUCH_FILE, False),
    ],
)
def test_what_is_expected(codes: tuple[int | str, ...], end: Exit, good: bool) -> None:
    assert ends.expected(spec(exitcodes=codes), end) is good
