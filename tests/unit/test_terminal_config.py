"""`tty` and `stdin = "pipe"`: what the config makes of them, and what the shim is told."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_core import orders
from taskmaster_core.config import parse
from taskmaster_core.machine import Spawn
from taskmaster_core.orders import Setting
from taskmaster_core.paths import Places
from taskmaster_core.plan import make_plan
from taskmaster_core.spec import Config, Cost, JobSpec, Key
from tests.samples import spec

SETTING = Setting(Places("/state", "/run/here"), "test", {"PATH": "/bin"})


def loaded(text: str) -> Any:
    whole = f'[[task]]\nname = "web"\ncmd = "true"\n{text}'
    return parse(whole.encode(), "/etc/t.toml", {"PATH": "/bin"}, privileged=True)


def job(text: str) -> JobSpec:
    found = loaded(text)
    assert found.config is not None, found.problems
    spec: JobSpec = found.config.jobs[0]
    return spec


def order(made: JobSpec, **env: str) -> dict[str, Any]:
    setting = Setting(SETTING.places, "test", {"PATH": "/bin", **env})
    return orders.spawn_order(Spawn(Key("web", 0), 1, made), setting, 1_764_000_000)


def test_a_pipe_for_input_is_passed_to_the_shim_as_that_word() -> None:
    assert order(job('stdin = "pipe"'))["stdin"] == "pipe"
    assert order(job('stdin = "./pipe"'))["stdin"] == "/etc/pipe"


def test_a_terminal_is_input_and_output_and_logged_like_any_other() -> None:
    said = order(job("tty = true"))
    assert (said["tty"], said["stdin"], said["err"]) == (True, "null", {"kind": "out"})
    assert said["out"]["path"] == "/state/logs/web/0.out"
    assert order(job(""))["tty"] is False


@pytest.mark.parametrize(("given", "got"), [(None, "xterm-256color"), ("dumb", "xterm-256color"), ("vt220", "vt220")])
def test_a_terminal_has_a_name(given: str | None, got: str) -> None:
    env = {} if given is None else {"TERM": given}
    assert order(job("tty = true"), **env)["env"]["TERM"] == got


def test_without_a_terminal_no_name_is_made_up() -> None:
    assert "TERM" not in order(job(""))["env"]


@pytest.mark.parametrize(
    "text",
    ['stdin = "pipe"', 'stdin = "/tmp/in"', 'stderr = "/tmp/err"', 'stdout = "inherit"', "[task.log]\ndirect = true"],
)
def test_what_a_terminal_excludes_is_refused(text: str) -> None:
    found = loaded(f"tty = true\n{text}")
    assert [problem.code for problem in found.problems] == ["E304"]
    assert found.config is None


@pytest.mark.parametrize("text", ['stderr = "stdout"', 'stdin = "null"', 'stdout = "null"', 'stdout = "/tmp/out"'])
def test_what_a_terminal_allows_is_taken(text: str) -> None:
    assert job(f"tty = true\n{text}").tty


@pytest.mark.parametrize("changes", [{"tty": True}, {"stdin": "pipe"}])
def test_a_change_of_input_costs_a_restart(changes: Any) -> None:
    (change,) = make_plan(Config((spec(),)), Config((spec(**changes),))).changes
    assert [field.cost for field in change.fields] == [Cost.RELAUNCH]
