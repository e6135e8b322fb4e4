"""Undo on a real core: what was done last is taken back, by exactly those it moved, also by the next core."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core.errors import Refused
from tests.harness import Daemon
from tests.integration.conftest import Start
from tests.integration.shared import job, words

LIVES = words("sleep", "1000")
TWO = job("web", LIVES, numprocess="2") + job("idle", LIVES, autostart="false")


def states(it: Daemon) -> dict[str, str]:
    return {each.key: each.state for each in it.procs()}


@pytest.fixture
def two(daemon: Start) -> Daemon:
    it = daemon(TWO)
    for key in ("web:0", "web:1"):
        it.wait_state(key, "running")
    return it


def keys(answer: dict[str, Any]) -> list[str]:
    return [each["key"] for each in answer["outcomes"]]


def test_a_stop_is_undone_for_those_that_ran_and_done_again_once(two: Daemon) -> None:
    two.request("stop", "web:1")
    two.request("stop", "all")
    plan = two.request("undo", plan=True)
    assert (plan["op"], plan["select"]) == ("start", ["web:0"])
    done = two.request("undo")
    assert (keys(done), done["ok"]) == (["web:0"], True)
    assert done["text"].startswith("start web:0 (takes back: stop of web:0 ")
    assert states(two) == {"web:0": "running", "web:1": "stopped", "idle:0": "stopped"}
    assert keys(two.request("undo")) == ["web:0"]
    assert states(two)["web:0"] == "stopped"
    assert keys(two.request("undo")) == ["web:1"]
    assert states(two)["web:1"] == "running"


def test_a_core_that_comes_after_knows_what_to_undo(two: Daemon) -> None:
    two.request("scale", "web", n=4)
    two.request("hold", "web:0")
    two.kill_core()
    two.wait(two.ping)
    assert two.request("undo", plan=True)["op"] == "release"
    two.request("undo")
    assert not two.proc("web:0").held
    two.request("undo")
    assert two.proc("web:0").held
    two.request("undo")
    assert sorted(states(two)) == ["idle:0", "web:0", "web:1"]


def test_start_is_undone_by_a_stop(two: Daemon) -> None:
    two.request("start", "all")
    assert keys(two.request("undo")) == ["idle:0"]
    assert states(two) == {"web:0": "running", "web:1": "running", "idle:0": "stopped"}


def test_what_cannot_be_undone_says_why(two: Daemon) -> None:
    with pytest.raises(Refused, match="nothing to undo"):
        two.request("undo")
    two.request("restart", "web:0")
    with pytest.raises(Refused, match=r"restart of web:0 .*: what ran before is gone"):
        two.request("undo")
    two.request("signal", "web:0", signal="CONT")
    with pytest.raises(Refused, match="cannot be called back"):
        two.request("undo")


def test_a_reload_is_undone_by_the_client_which_writes_the_files(two: Daemon) -> None:
    two.write_config(TWO.replace("numprocess = 2", "numprocess = 1"))
    two.request("reload")
    two.wait(lambda: sorted(states(two)) == ["idle:0", "web:0"])
    plan = two.request("undo", plan=True)
    assert (plan["op"], plan["args"]) == ("rollback", {"generation": 1})
    with pytest.raises(Refused):
        two.request("undo")
    said = two.cli("undo", "-y")
    assert said.returncode == 0, said.stderr
    assert two.config_path.read_text() == TWO
    two.wait_state("web:1", "running")
    assert two.cli("undo", "--plan").stdout.startswith("go back to generation 2")


def test_the_command_line_says_what_it_takes_back(two: Daemon) -> None:
    two.cli("stop", "web:0")
    said = two.cli("undo")
    assert (said.returncode, said.stdout.split()[:2]) == (0, ["web:0", "running"])
    assert "start web:0 (takes back: stop of web:0" in said.stderr
