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
