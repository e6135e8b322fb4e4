"""Selectors, keys, what a change costs, and the state of a job."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core import spec as s
from taskmaster_core.spec import Cost, JobSpec, Key, State, cost_of, matches, names_job, parse_key, state_of_job

WEB = Key("web", 3)


@pytest.mark.parametrize(
    "selector", ["web", "web:3", "web:*", "web:[0-9]", "w*", "*:3", "?eb", "@front", "@front:3", "all", "all:3"]
)
def test_selector_means_the_process(selector: str) -> None:
    assert matches(selector, WEB, ("front",))


@pytest.mark.parametrize("selector", ["we", "web:30", "web:", ":3", "", "x*", "@back", "@", "@fr*", "WEB", "al"])
def test_selector_means_another(selector: str) -> None:
    assert not matches(selector, WEB, ("front",))


def test_a_name_with_spaces_is_a_selector() -> None:
    assert matches("write bar", Key("write bar", 0), ())
    assert matches("write bar:0", Key("write bar", 0), ())


@pytest.mark.parametrize("selector", ["web", "web:7", "w*:*", "@front", "@front:1", "all"])
def test_selector_names_the_job_whatever_the_index(selector: str) -> None:
    assert names_job(selector, "web", ("front",))
    assert not names_job("api", "web", ("front",))


def test_key_is_written_and_read() -> None:
    assert str(WEB) == "web:3"
    assert parse_key("web:3") == WEB


@given(st.text(min_size=1), st.integers(0, 10**6))
def test_every_key_comes_back(job: str, index: int) -> None:
    assert parse_key(str(Key(job, index))) == Key(job, index)


@pytest.mark.parametrize("text", ["web", "web:", ":3", "web:-1", "web:x", "", ":"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a process key"):
        parse_key(text)


def test_every_field_of_a_job_says_what_a_change_costs() -> None:
    assert {name: type(cost_of(name)) for name in JobSpec.__struct_fields__} == dict.fromkeys(
        JobSpec.__struct_fields__, Cost
    )


def test_costs_are_those_of_the_design() -> None:
    by_cost = {cost: {name for name in JobSpec.__struct_fields__ if cost_of(name) is cost} for cost in Cost}
    assert by_cost[Cost.IDENTITY] == {"name"}
    assert by_cost[Cost.SCALE] == {"numprocess"}
    assert by_cost[Cost.SINK] == {"stdout", "stderr"}
    assert by_cost[Cost.RELAUNCH] == {
        "argv", "shell", "stdin", "tty", "limits", "baseenv", "fileenv", "env", "cleanenv", "workingdir", "umask",
        "uid", "gid",
    }  # fmt: skip


def test_worst_state_names_every_state_once() -> None:
    assert sorted(s.WORST_FIRST) == sorted(State)


@pytest.mark.parametrize(("worse", "better"), list(itertools.pairwise(s.WORST_FIRST)))
def test_state_of_a_job_is_the_worst_of_its_processes(worse: State, better: State) -> None:
    assert state_of_job([better, worse, better]) is worse


def test_a_job_without_processes_is_stopped() -> None:
    assert state_of_job([]) is State.STOPPED


def test_config_finds_its_jobs() -> None:
    job = JobSpec("web", ("true",))
    config = s.Config(jobs=(job,))
    assert config.job("web") is job
    assert config.job("wbe") is None


def test_a_job_survives_being_written_and_read() -> None:
    job = JobSpec("web", ("a", "b"), exitcodes=(0, "SIGTERM"), env={"A": "b"}, stop=(s.StopStep(2, 1.0),), umask=0o22)
    assert msgspec.json.decode(msgspec.json.encode(job), type=JobSpec) == job
