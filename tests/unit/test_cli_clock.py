"""Ages and spans on the command line: by the core's clock, wherever the client runs (P19, K01)."""

from __future__ import annotations

import time

import pytest

from taskmaster_core.cli.status import note
from tests.fakecore import FakeCore, event, job, process, status
from tests.unit.conftest import Cli

HOUR = 3600.0


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def far(fake: FakeCore, request: pytest.FixtureRequest) -> FakeCore:
    """A core on a machine whose clock is an hour off."""
    fake.ahead = request.param
    return fake


def there(core: FakeCore) -> float:
    return time.time() + core.ahead


def test_P19_uptime_is_counted_by_the_clock_of_the_core(far: FakeCore, cli: Cli) -> None:
    """Uptimes are counted by the core's clock, and a client whose own clock differs says so."""
    now = there(far)
    far.on("status", status(job("web", process("web:0", started_at=now - 125.5)), now=now))
    said = cli("status")
    assert said.out.splitlines()[1].split()[4] == "2m05s"
    way = "ahead of" if far.ahead > 0 else "behind"
    assert f"the core's clock is 1h00m {way}" in said.err.replace("59m59s", "1h00m")


def test_P19_clocks_that_agree_are_not_mentioned(fake: FakeCore, cli: Cli) -> None:
    fake.on("status", status(job("web", process("web:0")), now=time.time() - 1))
    assert "clock" not in cli("status").err


def test_P19_wait_for_the_next_try_is_counted_by_the_clock_of_the_core(far: FakeCore, cli: Cli) -> None:
    now = there(far)
    waits = process("web:0", "backoff", next_start_at=now + 90.5, since=now - 41.5, reason="it died")
    far.on("status", status(job("web", waits), now=now))
    assert "next try in 1m30s: it died, since 41s" in cli("status").out


def test_P19_show_counts_by_the_clock_of_the_core(far: FakeCore, cli: Cli) -> None:
    now = there(far)
    its = job("web", process("web:0", started_at=now - 125.5), spec={"cmd": "x"})
    far.on("show", {"jobs": [{"job": its, "env": [], "by_hand": [], "paths": {}}], "now": now})
    assert "2m05s" in cli("show", "web").out


@pytest.mark.parametrize("words", [("--since", "5m"), ("--until", "5m")])
def test_P19_span_of_logs_is_counted_from_the_clock_of_the_core(far: FakeCore, cli: Cli, words: tuple[str]) -> None:
    """`logs --since 5m` means the last five minutes of the machine where the lines were written."""
    far.on("status", status(job("web", process("web:0"))))
    far.on("logs", {"lines": [], "cursor": {}, "more": False, "held": False, "problems": []})
    cli("logs", "web", *words)
    args = far.last("logs")["args"]
    assert args[words[0][2:]] == pytest.approx(there(far) - 300, abs=5)


def test_P19_span_of_events_is_counted_from_the_clock_of_the_core(far: FakeCore, cli: Cli) -> None:
    far.on("events", [event(1)])
    cli("events", "--since", "10m")
    assert far.last("events")["args"]["since_time"] == pytest.approx(there(far) - 600, abs=5)


def test_P19_instant_needs_no_clock_at_all(far: FakeCore, cli: Cli) -> None:
    far.on("events", [])
    cli("events", "--since", "@1700000000")
    assert far.ops() == ["events"]


@pytest.mark.parametrize("seconds", [-1.0, -31536000.0])
def test_K01_an_age_is_never_negative(seconds: float) -> None:
    """What began in the future, because a clock was set back, is 0 s old."""
    its = process("web:0", "stopped", since=1000.0 - seconds, reason="by hand")
    assert note(its, 1000.0) == "by hand, since 0s"
