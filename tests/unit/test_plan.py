"""Plans: an algebra of two configs. The same stays, what differs has a cost, and the plan leads to the new one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from taskmaster_core import plan as p
from taskmaster_core.masking import MASK
from taskmaster_core.spec import Config, Cost, JobSpec, LogSpec, Settings, cost_of

WEB = JobSpec("web", ("web",))
OTHER: dict[str, Any] = {
    "argv": ("other",), "cmd": "other", "shell": "/bin/sh", "description": "d", "tags": ("t",), "autostart": False,
    "numprocess": 3, "restart": "always", "exitcodes": (0, 3), "successdelay": 1.0, "retry": None, "killgroup": False,
    "stdout": "/tmp/out", "stderr": "/tmp/err", "stdin": "/tmp/in", "baseenv": {"A": "b"}, "fileenv": {"A": "b"},
    "env": {"A": "b"}, "envfile": ("/x",), "cleanenv": True, "workingdir": "/tmp", "umask": 0o22, "uid": 1, "gid": 1,
    "nice": 1, "exitwith": True,
}  # fmt: skip

jobs = st.builds(
    JobSpec, name=st.sampled_from("abcde"), argv=st.sampled_from([("x",), ("y",)]), numprocess=st.integers(0, 3),
    retry=st.sampled_from([None, 0, 3]), stdout=st.sampled_from(["log", "null", "inherit", "/tmp/a", "/tmp/b"]),
)  # fmt: skip
configs = st.lists(jobs, unique_by=lambda job: job.name).map(lambda found: Config(jobs=tuple(found)))


def between(old: list[JobSpec], new: list[JobSpec]) -> p.Plan:
    return p.make_plan(Config(jobs=tuple(old)), Config(jobs=tuple(new)))


def cost(name: str, **changes: Any) -> Cost:
    (change,) = between([WEB], [replace(WEB, **changes)]).changes
    return next(field.cost for field in change.fields if field.name == name)


# Algebra -------------------------------------------------------------------------------------------------------------


@given(configs)
def test_a_config_and_itself_make_an_empty_plan(config: Config) -> None:
    plan = p.make_plan(config, config)
    assert plan.empty
    assert plan.count == 0


@given(configs, configs)
def test_a_plan_leads_to_the_new_config(old: Config, new: Config) -> None:
    assert p.carry_out(p.make_plan(old, new), new) == new


@given(configs, configs)
def test_a_plan_speaks_once_of_each_job_in_either(old: Config, new: Config) -> None:
    plan = p.make_plan(old, new)
    names = [change.job for change in plan.changes]
    assert len(names) == len(set(names))
    assert set(names) == {job.name for job in (*old.jobs, *new.jobs)}
    assert plan.count == sum(old.job(name) != new.job(name) for name in names)


@given(configs, configs)
def test_the_way_back_has_the_signs_turned(old: Config, new: Config) -> None:
    there = {change.job: change for change in p.make_plan(old, new).changes}
    back = {change.job: change for change in p.make_plan(new, old).changes}
    turned = {"+": "-", "-": "+", "~": "~", "=": "="}
    assert {name: turned[change.sign] for name, change in there.items()} == {n: c.sign for n, c in back.items()}
    assert {n: c.relaunch for n, c in there.items()} == {n: c.relaunch for n, c in back.items()}


@given(configs, configs)
def test_leaving_everything_out_changes_nothing(old: Config, new: Config) -> None:
    plan = p.leave_out(p.make_plan(old, new), lambda _: True)
    assert plan.empty
    assert {job.name: job for job in p.carry_out(plan, new).jobs} == {job.name: job for job in old.jobs}


@given(configs, configs)
def test_leaving_nothing_out_changes_no_plan(old: Config, new: Config) -> None:
    plan = p.make_plan(old, new)
    assert p.leave_out(plan, lambda _: False) == plan


# Costs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OTHER if cost_of(name) is not Cost.SINK])
def test_a_changed_field_costs_what_the_field_says(name: str) -> None:
    assert cost(name, **{name: OTHER[name]}) is cost_of(name)


SINKS = [
    ("log", "/a", Cost.LIVE), ("/a", "log", Cost.LIVE), ("/a", "/b", Cost.LIVE), ("log", "{name}.out", Cost.LIVE),
    ("log", "null", Cost.RELAUNCH), ("null", "log", Cost.RELAUNCH), ("/a", "inherit", Cost.RELAUNCH),
    ("inherit", "null", Cost.RELAUNCH),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), SINKS)
def test_output_is_switched_between_files_and_relaunched_otherwise(old: str, new: str, expected: Cost) -> None:
    (change,) = between([replace(WEB, stdout=old)], [replace(WEB, stdout=new)]).changes
    assert [field.cost for field in change.fields] == [expected]
    assert change.relaunch is (expected is Cost.RELAUNCH)


def test_stderr_into_stdout_is_a_relaunch() -> None:
    assert cost("stderr", stderr="stdout") is Cost.RELAUNCH


@pytest.mark.parametrize("name", ["log", "filelog"])
def test_log_settings_are_live_but_direct_is_a_relaunch(name: str) -> None:
    assert cost(name, **{name: LogSpec(keep=9, maxsize=getattr(WEB, name).maxsize)}) is Cost.LIVE
    assert cost(name, **{name: replace(getattr(WEB, name), direct=True)}) is Cost.RELAUNCH


def test_a_direct_file_cannot_be_switched() -> None:
    direct = replace(WEB, stdout="/a", filelog=LogSpec(direct=True))
    (change,) = between([direct], [replace(direct, stdout="/b")]).changes
    assert change.relaunch


def test_only_a_change_of_the_number_scales() -> None:
    (change,) = between([WEB], [replace(WEB, numprocess=5)]).changes
    assert (change.sign, change.scale, change.relaunch) == ("~", True, False)


def test_settings_are_part_of_a_plan() -> None:
    plan = p.make_plan(Config(), Config(settings=Settings(maxstarts=1)))
    assert plan.settings == (p.FieldChange("maxstarts", 32, 1, Cost.LIVE),)
    assert (plan.empty, plan.count) == (False, 1)


# In words ------------------------------------------------------------------------------------------------------------


def words(old: JobSpec | None, new: JobSpec | None, *counts: int) -> str:
    (change,) = between([old] if old else [], [new] if new else []).changes
    return p.effect(change, *counts)


@pytest.mark.parametrize(
    ("old", "new", "counts", "said"),
    [
        (WEB, None, (1, 1), "stops 1 process"),
        (WEB, None, (0, 1), "nothing runs"),
        (None, replace(WEB, numprocess=3), (0, 0), "starts 3 processes"),
        (None, replace(WEB, autostart=False), (0, 0), "is not started (autostart)"),
        (WEB, WEB, (1, 1), "untouched"),
        (WEB, replace(WEB, retry=9), (1, 1), "applied live, no process is touched"),
        (WEB, replace(WEB, umask=0), (1, 1), "restarts 1 process"),
        (WEB, replace(WEB, umask=0), (0, 1, 1), "starts 1 process"),
        (WEB, replace(WEB, umask=0), (0, 1), "nothing runs: holds at the next start"),
        (WEB, replace(WEB, numprocess=4), (1, 1), "adds 3 processes"),
        (replace(WEB, numprocess=4), WEB, (4, 4), "stops 3 processes: the highest indices"),
        (WEB, replace(WEB, numprocess=2, umask=0), (1, 1), "restarts 1 process; adds 1 process"),
        (WEB, replace(WEB, umask=0), (5, 5), "restarts 5 processes"),  # scaled by hand
        (WEB, replace(WEB, umask=0), (2, 5, 3), "restarts 2 processes; starts 3 processes"),
        (replace(WEB, numprocess=2), replace(WEB, umask=0), (2, 2),
         "restarts 1 process; stops 1 process: the highest indices"),
    ],
)
def test_effect_in_words(old: JobSpec | None, new: JobSpec | None, counts: tuple[int, ...], said: str) -> None:
    assert words(old, new, *counts) == said


def test_S04_of_environments_only_the_names_are_told() -> None:
    change = p.FieldChange("env", {"A": "S3CR3T", "B": "x", "C": "y"}, {"A": "other", "B": "x"}, Cost.RELAUNCH)
    assert p.told(change) == (f"A={MASK} C={MASK}", f"A={MASK}")
    assert p.shown("env", {"A": "S3CR3T"}) == {"A": MASK}
    assert p.shown("umask", 18) == 18


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "none"), (True, "true"), (0.5, "0.5"), (3, "3"), ("x", "x"), ((0, "SIGTERM"), "0 SIGTERM"),
        (WEB.stop, "signum=15 delay=10"),
    ],
)  # fmt: skip
def test_a_value_in_words(value: Any, said: str) -> None:
    assert p.text(value) == said
    assert p.told(p.FieldChange("x", value, value, Cost.LIVE)) == (said, said)
