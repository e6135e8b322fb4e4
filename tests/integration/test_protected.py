"""Protected jobs on a real core: what would end them is refused until it is confirmed."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core.errors import Refused
from tests.harness import Daemon
from tests.integration.conftest import Start
from tests.integration.shared import job, words

LIVES = words("sleep", "1000")
CONFIG = job("db", LIVES, protected="true", numprocess="2") + job("web", LIVES)

ACTS: list[tuple[str, dict[str, Any]]] = [
    ("stop", {}), ("restart", {}), ("kill", {}), ("signal", {"signal": "CONT"}), ("scale", {"n": 1}), ("shutdown", {}),
]  # fmt: skip


@pytest.fixture
def it(daemon: Start) -> Daemon:
    started = daemon(CONFIG)
    for key in ("db:0", "db:1", "web:0"):
        started.wait_state(key, "running")
    return started


def test_acts_are_refused_by_name_and_done_when_confirmed(it: Daemon) -> None:
    before = it.pids()
    for op, args in ACTS:
        with pytest.raises(Refused, match="db is protected") as refused:
            it.request(op, *([] if op == "shutdown" else ["all"]), **args)
        assert refused.value.detail == {"protected": ["db"]}  # type: ignore[attr-defined]
    assert it.pids() == before
    it.request("start", "all")
    it.request("stop", "web")
    it.request("scale", "db", n=1, confirmed=True)
    it.request("stop", "db", confirmed=True)
    assert {each.key: each.state for each in it.procs()} == {"db:0": "stopped", "web:0": "stopped"}
    it.request("stop", "db")


def test_a_save_that_would_end_it_is_held_back_and_named(it: Daemon) -> None:
    before = it.pids("db")
    it.write_config(CONFIG.replace("1000", "2000"))
    told = it.wait_event("reload_refused")
    assert told.data["pending"] == 2
    assert "protected (db)" in told.data["reason"]
    core = it.status()["core"]
    assert (core["pending"], core["autoreload"]) == (2, "apply")
    assert it.pids("db") == before
    assert it.request("reload", plan=True)["protected"] == ["db"]
    with pytest.raises(Refused, match="this reload has to be confirmed"):
        it.request("reload")
    said = it.cli("reload")
    assert (said.returncode, "-y does it" in said.stderr) == (7, True)
    assert it.cli("reload", "-y").returncode == 0
    assert it.status()["core"]["pending"] == 0
    assert it.pids("db") != before


def test_a_save_that_leaves_it_alone_is_applied(it: Daemon) -> None:
    before = it.pids("db")
    it.write_config(CONFIG + job("more", LIVES))
    it.wait_event("reloaded")
    assert it.pids("db") == before


def test_without_a_terminal_the_command_line_wants_a_yes(it: Daemon) -> None:
    said = it.cli("stop", "db")
    assert said.returncode == 7
    assert "db is protected: a stop has to be confirmed" in said.stderr
    assert it.cli("stop", "db", "-y").returncode == 0


def test_down_wants_a_yes_too(it: Daemon) -> None:
    assert it.cli("down").returncode == 7
    assert it.cli("down", "-y").returncode == 0


def test_config_set_takes_the_setting_and_leaves_the_jobs_as_they_are(it: Daemon) -> None:
    said = it.cli("config", "set", "autoreload=ask")
    assert said.returncode == 0, said.stderr
    assert it.status()["core"]["autoreload"] == "ask"
    before = it.pids("web")
    it.write_config(it.config_path.read_text().replace('name = "web"', 'name = "web"\ndescription = "the web"'))
    it.wait_event("reload_refused")
    assert it.status()["core"]["pending"] == 1
    assert it.cli("config", "set", "debounce=0.2").returncode == 0
    core = it.status()["core"]
    assert (core["pending"], it.pids("web")) == (1, before)
    assert it.cli("reload").returncode == 0
    assert it.status()["core"]["pending"] == 0
    assert it.pids("web") == before
