"""Core and shim are replaced while everything runs: nobody loses a process, a line, a status or a connection."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.harness import Daemon, alive, program, wait_until
from tests.integration.conftest import Start

STEADY = """
[[task]]
name = "steady"
cmd = "sleep 1000"
numprocess = 5
"""


def running(d: Daemon) -> dict[str, int | None]:
    d.wait(lambda: {view.state for view in d.procs()} == {"running"})
    return d.pids()


def test_G3_an_upgrade_of_the_core_keeps_every_process_and_the_sequence(daemon: Start) -> None:
    d = daemon(STEADY)
    before, core, shim = running(d), d.core_pid, d.shim_pid
    done = d.request("upgrade", what="core")
    print(done)
    assert d.pids() == before
    assert d.core_pid != core
    assert done["core"]["before"]["pid"] == core
    assert done["core"]["after"]["pid"] == d.core_pid
    assert done["processes"] == {"before": 5, "kept": 5}
    assert d.shim_pid == shim
    seqs = [event.seq for event in d.events()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_G4_an_upgrade_of_the_shim_keeps_every_process_and_the_core(daemon: Start) -> None:
    d = daemon(STEADY)
    before, core, shim = running(d), d.core_pid, d.shim_pid
    done = d.request("upgrade", what="shim")
    print(done)
    assert (d.pids(), d.core_pid, d.shim_pid) == (before, core, shim)
    assert "--resume" in Path(f"/proc/{shim}/cmdline").read_text()


def test_upgrade_of_both_says_what_it_did(daemon: Start) -> None:
    d = daemon(STEADY)
    before = running(d)
    done = d.cli("upgrade")
    print(done)
    assert done.returncode == 0
    assert d.pids() == before
    assert "5 processes untouched" in done.stdout
