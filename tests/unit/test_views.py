"""What is told of the supervisor's state: processes, jobs, plans, and why."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from taskmaster_core import views, wire
from taskmaster_core.intents import Intent, Intents
from taskmaster_core.machine import Proc
from taskmaster_core.plan import make_plan
from taskmaster_core.spec import Goal, Key, Restart, State
from tests.samples import CLEAN, FAILED, KEY, NO_SUCH_FILE, NOW, PID, SPEC, proc, spec
from tests.world import World, config, job

MARKER = "S04-hunter2"
WALL = 1_000_000.0
SECRET = replace(SPEC, env={"TOKEN": MARKER}, baseenv={"B": MARKER}, fileenv={"F": MARKER})


def view(one: Proc, now: float = NOW) -> wire.ProcessView:
    return views.process_view(one, now, WALL)


# Processes -----------------------------------------------------------------------------------------------------------


def test_running_process_is_told_with_unix_times() -> None:
    seen = view(proc(State.RUNNING, generation=4, run_generation=2))
    assert (seen.key, seen.state, seen.goal, seen.pid, seen.run, seen.ready) == ("web:0", "running", "up", PID, 3, True)
    assert (seen.since, seen.started_at) == (NOW - 60 + WALL, NOW - 60 + WALL)
    assert seen.next_start_at is None


def test_living_process_tells_the_generation_of_its_run_and_a_dead_one_that_of_its_spec() -> None:
    assert view(proc(State.RUNNING, generation=4, run_generation=2)).generation == 2
    assert view(proc(State.EXITED, generation=4, run_generation=2)).generation == 4


def test_dead_process_tells_no_start() -> None:
    seen = view(proc(State.EXITED, started_at=NOW - 10))
    assert (seen.started_at, seen.ready, seen.exit) == (None, False, wire.ExitView(code=0))


def test_backoff_tells_when_the_next_try_is() -> None:
    assert view(proc(State.BACKOFF)).next_start_at == NOW + 1 + WALL
    assert view(proc(State.BACKOFF, deadline=None)).next_start_at is None
    assert view(proc(State.STOPPING)).next_start_at is None


@pytest.mark.parametrize(("lived", "delay", "tries"), [(9.0, 0.0, 2), (10.0, 0.0, 0), (15.0, 20.0, 2), (20.0, 20.0, 0)])
def test_failures_before_a_healthy_life_are_not_told(lived: float, delay: float, tries: int) -> None:
    one = proc(State.RUNNING, spec(successdelay=delay), started_at=NOW - lived, tries=2)
    assert view(one).tries == tries


def test_process_without_a_known_start_is_not_called_healthy() -> None:
    assert view(proc(State.RUNNING, started_at=None, tries=2)).tries == 2


# Jobs ----------------------------------------------------------------------------------------------------------------


def test_S04_spec_is_told_with_the_names_of_its_variables_only() -> None:
    seen = views.spec_view(SECRET)
    assert MARKER not in str(seen)
    assert (list(seen["env"]), list(seen["baseenv"]), list(seen["fileenv"])) == (["TOKEN"], ["B"], ["F"])
    assert seen["argv"] == ("/bin/web",)


@pytest.mark.parametrize(
    ("procs", "state", "goal"),
    [
        ([], "stopped", "down"),
        ([proc(State.RUNNING), proc(State.STOPPED)], "stopped", "up"),
        ([proc(State.STOPPED), proc(State.FATAL)], "fatal", "up"),
        ([proc(State.STOPPING, goal=Goal.GONE)], "stopping", "gone"),
    ],
)
def test_job_is_as_bad_as_its_worst_process(procs: list[Proc], state: str, goal: str) -> None:
    seen = views.job_view("web", SPEC, procs, 7, NOW, WALL)
    assert (seen.state, seen.goal, seen.numprocess, len(seen.processes)) == (state, goal, 7, len(procs))


def test_restarts_of_a_job_are_those_of_its_processes() -> None:
    procs = [proc(State.RUNNING, restarts=2), proc(State.RUNNING, restarts=3)]
    assert views.job_view("web", SPEC, procs, 2, NOW, WALL).restarts == 5


def test_jobs_on_their_way_out_are_told_after_the_declared_ones() -> None:
    world = World(job("old"), job("web", 2))
    world.born()
    world.core.reload(job("web", 2), job("new", 0))
    supervisor = world.core.supervisor
    names = views.all_names(supervisor)
    assert names == ["web", "new", "old"]
    seen = views.job_views(supervisor, [*names, "nosuch"], world.shim.now, WALL)
    assert [(each.name, each.numprocess, each.goal) for each in seen] == [
        ("web", 2, "up"), ("new", 0, "down"), ("old", 0, "gone"),
    ]  # fmt: skip


# Plans ---------------------------------------------------------------------------------------------------------------


def plan_view(world: World, *jobs, excepted: frozenset[str] = frozenset(), **settings: Any) -> wire.PlanView:
    supervisor = world.core.supervisor
    plan = make_plan(supervisor.config, config(*jobs, **settings))
    return views.plan_view(plan, supervisor, None, excepted)


def running(*jobs) -> World:
    world = World(*jobs)
    world.born()
    return world


def test_plan_is_told_row_by_row_with_what_it_does_to_what_runs() -> None:
    world = running(job("web", 2), job("same"), job("old"))
    seen = plan_view(world, job("web", 2, argv=("/bin/new",)), job("same"), job("new"))
    assert [(row.sign, row.job, row.effect) for row in seen.rows] == [
        ("~", "web", "restarts 2 processes"),
        ("=", "same", "untouched"),
        ("+", "new", "starts 1 process"),
        ("-", "old", "stops 1 process"),
    ]
    assert seen.rows[0].fields == [wire.PlanField("argv", "/bin/web", "/bin/new", "relaunch")]
    assert (seen.generation, seen.changes) == (None, 3)


def test_plan_says_that_a_corrected_command_starts_what_gave_up() -> None:
    world = World(job("web", retry=0))
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"])
    world.core.turn()
    assert plan_view(world, job("web", retry=0, argv=("/new",))).rows[0].effect == "starts 1 process"


def test_plan_tells_a_command_once_and_alone_if_only_its_spelling_changed() -> None:
    world = running(job("web", cmd="web"))
    both = plan_view(world, job("web", cmd="new", argv=("/new",)))
    assert [each.name for each in both.rows[0].fields] == ["argv"]
    alone = plan_view(world, job("web", cmd="web "))
    assert [(each.name, each.cost) for each in alone.rows[0].fields] == [("cmd", "live")]
    assert alone.rows[0].effect == "applied live, no process is touched"


def test_plan_does_not_count_what_is_left_out() -> None:
    world = running(job("web"), job("other"))
    changed = job("web", argv=("/new",)), job("other"), job("new")
    seen = plan_view(world, *changed, excepted=frozenset({"web", "other"}))
    assert [(row.job, row.excepted) for row in seen.rows] == [("web", True), ("other", True), ("new", False)]
    assert seen.rows[0].effect == "left out: stays as it is"
    assert seen.changes == 1


def test_S04_plan_tells_no_value_of_an_environment() -> None:
    world = running(job("web", env={"TOKEN": MARKER}))
    seen = plan_view(world, job("web", env={"TOKEN": MARKER * 2}), job("new", env={"TOKEN": MARKER}))
    assert MARKER not in wire.encode(seen).decode()
    assert seen.rows[0].fields == [wire.PlanField("env", "TOKEN=••••", "TOKEN=••••", "relaunch")]


def test_plan_tells_settings_and_which_of_them_wait_for_the_next_core() -> None:
    world = running()
    live = plan_view(world, maxstarts=2).rows
    assert [(row.sign, row.job, row.effect) for row in live] == [("~", "[taskmaster]", "applied live")]
    late = plan_view(world, maxstarts=2, statedir="/x").rows
    assert late[0].effect == "holds after the next start of the core: statedir"
    assert [each.name for each in late[0].fields] == ["statedir", "maxstarts"]


# Why -----------------------------------------------------------------------------------------------------------------


def why(one: Proc, *wishes: Intent, now: float = NOW) -> dict[str, Any]:
    return views.why(one, Intents(wishes), now)


def test_why_begins_with_the_state_its_age_and_its_reason() -> None:
    said = why(proc(State.RUNNING))
    assert (said["key"], said["state"], said["goal"]) == ("web:0", "running", "up")
    assert said["chain"] == ["web:0 is running for 1m: so"]
    assert why(proc(State.RUNNING, reason=""))["chain"] == ["web:0 is running for 1m"]


def test_why_names_the_wish_that_holds_it_down() -> None:
    down = proc(State.STOPPED)
    assert why(down, Intent("web", "down"))["chain"][1].startswith("an operator stopped it by hand")
    assert len(why(down)["chain"]) == 1
    by_config = proc(State.STOPPED, spec(autostart=False))
    assert why(by_config)["chain"][1].startswith("autostart = false")
    assert why(proc(State.STOPPING, goal=Goal.GONE))["chain"][1] == "the config no longer has it"


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (proc(State.EXITED), "its run 3 ended: exit code 0"),
        (proc(State.RUNNING, exit=FAILED), "its run 2 ended: exit code 1"),
        (proc(State.STOPPING, pid=None, exit=FAILED, lingering=2), "its run 3 ended: exit code 1"),
        (proc(State.FATAL, exit=NO_SUCH_FILE), f"its run 3 ended: {NO_SUCH_FILE.message}"),
    ],
)
def test_why_tells_how_the_last_run_ended(one: Proc, sentence: str) -> None:
    assert why(one)["chain"][1] == sentence


def test_why_tells_of_descendants_that_live_on() -> None:
    assert "2 of its descendants live on" in why(proc(State.EXITED, lingering=2))["chain"]
    named = proc(State.STOPPED, exit=FAILED, lingering=3, left=("7 sh", "8 nap"))
    assert "3 of its descendants live on: 7 sh, 8 nap and 1 more" in why(named)["chain"]


def test_why_tells_the_policy_that_keeps_it_down() -> None:
    never = proc(State.EXITED, spec(restart=Restart.NEVER))
    assert why(never)["chain"][-1] == "restart = never: it stays down after a restart policy of never"
    on_error = proc(State.EXITED, spec(exitcodes=(0, "SIGTERM")))
    assert why(on_error)["chain"][-1] == "restart = on-error: it stays down after an expected end (0, SIGTERM)"


def test_why_tells_the_budget_of_tries() -> None:
    assert why(proc(State.BACKOFF))["chain"][-1] == "1 unsuccessful run in a row, retry = 3"
    assert why(proc(State.BACKOFF, spec(retry=None)))["chain"][-1] == "1 unsuccessful run in a row, no limit"
    assert "unsuccessful" not in why(proc(State.STOPPED, tries=1))["chain"][-1]


@pytest.mark.parametrize(
    ("one", "following"),
    [
        (proc(State.BACKOFF), "the next try is in 1.0 s; `taskmaster start web:0` tries now"),
        (proc(State.FATAL), "nothing happens by itself; `taskmaster start web:0` starts it"),
        (proc(State.EXITED), "nothing happens by itself; `taskmaster start web:0` starts it"),
        (proc(State.STOPPED), "nothing happens by itself; `taskmaster start web:0` starts it"),
        (proc(State.STOPPING), "the next step of its stop recipe is in 10.0 s"),
        (proc(State.STOPPING, unkillable=True), "it does not die of SIGKILL"),
        (proc(State.STARTING), "it counts as running in 4.0 s"),
        (proc(State.STARTING, pid=None, deadline=None), "it is being started"),
        (proc(State.PENDING), "it starts as soon as a start slot is free"),
        (proc(State.RUNNING), "it runs"),
        (proc(State.UNKNOWN), "the shim will tell"),
    ],
)
def test_why_tells_what_happens_next(one: Proc, following: str) -> None:
    assert why(one)["next"] == following


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_next(state: State) -> None:
    assert why(proc(state))["next"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (3661, "1h 1m"),
        (86400, "1d"), (90000, "1d 1h"),
    ],
)  # fmt: skip
def test_spans_of_time_are_told_in_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert views.ago(seconds) == text


def test_views_copy_what_they_tell() -> None:
    assert view(proc(State.EXITED, exit=CLEAN)).exit == wire.exit_view(CLEAN)
    assert Key("web", 0) == KEY


def test_why_tells_of_a_hold_and_how_it_ends() -> None:
    one = proc(State.EXITED, exit=FAILED, held=True, owed=True)
    told = views.why(one, Intents([Intent("web:0!", "held")]), NOW)
    assert "an operator holds it: it is not started again by itself until somebody releases it" in told["chain"]
    assert not any(each.startswith("restart =") for each in told["chain"])
    assert told["next"] == "nothing happens while it is held; `taskmaster release web:0` starts it"
    assert view(one).held
