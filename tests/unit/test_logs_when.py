"""Points in time as people write them."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from taskmaster_core.errors import UsageError
from taskmaster_core.logs.when import parse_when


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def local(year: int, month: int, day: int, *clock: int) -> float:
    hour, minute, second = (*clock, 0, 0, 0)[:3]
    return datetime(year, month, day, hour, minute, second).timestamp()  # noqa: DTZ001  (local time is the subject)


NOW = 1_795_400_000.5  # 2026-11-23 02:53:20 there


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10m", NOW - 600),
        ("2h30m", NOW - 9000),
        ("1d 2h", NOW - 93600),
        ("500ms", NOW - 0.5),
        ("1.5h ago", NOW - 5400),
        ("90", None),
        ("@1700000000", 1_700_000_000),
        ("@1700000000.25", 1_700_000_000.25),
        ("now", NOW),
    ],
)
def test_spans_and_unix_times(text, wanted):
    if wanted is None:
        with pytest.raises(UsageError, match="not a point in time"):
            parse_when(text, NOW)
    else:
        assert parse_when(text, NOW) == pytest.approx(wanted)


def test_days_begin_at_local_midnight():
    now = local(2026, 11, 23, 12, 30)
    assert parse_when("today", now) == local(2026, 11, 23)
    assert parse_when("Yesterday", now) == local(2026, 11, 22)


def test_a_time_of_day_is_its_latest_occurrence():
    now = local(2026, 11, 23, 12, 30)
    assert parse_when("10:00", now) == local(2026, 11, 23, 10)
    assert parse_when("23:50:30", now) == local(2026, 11, 22, 23, 50, 30)


def test_midnight_of_the_day_the_clock_changes():
    assert parse_when("today", local(2026, 10, 25, 12)) == local(2026, 10, 25)


def test_dates_are_local_unless_they_say_otherwise():
    assert parse_when("2026-11-23T10:00:00", NOW) == local(2026, 11, 23, 10)
    assert parse_when("2026-11-23 10:00", NOW) == local(2026, 11, 23, 10)
    assert parse_when("2026-11-23", NOW) == local(2026, 11, 23)
    assert parse_when("2023-11-14T22:13:20Z", NOW) == 1_700_000_000


@pytest.mark.parametrize("text", ["", "soon", "10x", "25:00", "10:61", "2026-13-01", "2026-11-23Tx", "-5m", "m", "@x"])
def test_nonsense_is_refused_with_examples(text):
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW)
    assert caught.value.help
