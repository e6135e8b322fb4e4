"""The seed's own job, from start to nothing left."""

from __future__ import annotations

from pathlib import Path

from tests.harness import ROOT
from tests.integration.conftest import Start


def seed(directory: str) -> str:
    """Return the seed's example with its outputs in a directory of our own."""
    return (ROOT / "config" / "seed.toml").read_text().replace('"/tmp/foo', f'"{directory}/foo')


def test_the_seeds_own_job_runs_42_times_and_leaves_nothing(daemon: Start, tmp_path: Path) -> None:
    d = daemon(seed(str(tmp_path)))
    d.wait(lambda: {view.state for view in d.procs()} == {"exited"}, what="all 42 have ended")
    assert [view.run for view in d.procs()] == [1] * 42
    assert (tmp_path / "foo.out").read_text() == "bar\n" * 42
    assert d.cli("status").returncode == 0
    assert d.cli("down").returncode == 0
    assert d.process is not None
    assert d.process.wait(10) == 0
    assert d.leftovers() == []


def test_up_with_a_selector_starts_only_what_is_named(daemon_for: Start) -> None:
    d = daemon_for('[[task]]\nname = "web"\ncmd = "sleep 1000"\n[[task]]\nname = "other"\ncmd = "sleep 1000"\n')
    try:
        up = d.cli("-f", str(d.config_path), "up", "web", "-d")
        assert (up.returncode, {view.key: view.state for view in d.procs()}) == (
            0, {"web:0": "running", "other:0": "stopped"},
        )  # fmt: skip
    finally:
        assert d.cli("down").returncode == 0
