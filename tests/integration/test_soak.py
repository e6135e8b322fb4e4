"""The soak itself, for some seconds: so that it cannot rot, and that it leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT, environ_of, pids_now
from tests.soak import report
from tests.soak.soak import Plan, Soak


@pytest.mark.timeout(240)
def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    soak = Soak(Plan(120.0, seed=2553, storm=1.0, most=5), print)  # a log, the shim, the core, jobs, a reload
    samples = soak.run()
    done = report.document(soak, samples, report.about())
    report.write(done, samples, tmp_path)
    assert done["wrong"] == []
    assert sum(each["times"] for each in done["faults"].values()) == 5
    assert done["lines"] > 300
    assert "passed" in (tmp_path / "report.txt").read_text()
    assert not soak.it.dir.exists()


@pytest.mark.timeout(120)
def test_a_soak_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.soak", "--seconds", "90", "--seed", "1", "--out", str(tmp_path)]
    soak = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert soak.stdout is not None
    seen = []
    for line in soak.stdout:
        seen.append(line)
        if "all of them start" in line:
            break
    soak.send_signal(signal.SIGINT)
    rest, _ = soak.communicate(timeout=60)
    where = Path(next(line.split()[1] for line in seen if line.startswith("in ")))
    assert soak.returncode == 130, rest
    assert not where.exists()
    assert str(where) not in Path("/proc/mounts").read_text()
    mark = f"HOME={where}/home".encode()
    assert [pid for pid in pids_now() if mark in environ_of(pid)] == []
