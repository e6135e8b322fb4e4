"""The shim may die below a core that lives: what the policy makes of what the next one found (L06, L08, L40, G5)."""

from __future__ import annotations

import pytest

from taskmaster_core import machine as m
from taskmaster_core.intents import Intent, to_scale
from taskmaster_core.plan import make_plan
from taskmaster_core.shimlink import to_found
from taskmaster_core.spec import Exit, Goal, Key, Restart, State
from taskmaster_core.supervisor import Persist, Supervisor
from tests.world import TERM, World, config, job

WEB = Key("web", 0)


def running(*jobs) -> World:
    world = World(*jobs)
    world.born()
    return world


def lose(world: World) -> None:
    """Let the shim die; orders under way die with it."""
    world.core.turn()
    world.core.supervisor.link_lost(world.shim.now)


def another(world: World, *gone: str, end: Exit | None = None) -> list[Key]:
    """Let another shim come that finds all runs but those `gone`; return whose end was asked for."""
    asked = []

    def end_of(key: Key, run: int) -> m.Exited:
        asked.append(key)
        return m.Exited(run, end or Exit(message="not known how"))

    for name in gone:
        del world.shim.runs[name]
    shown = [{"key": r.key, "run": r.run, "pid": r.pid, "at": r.at} for r in world.shim.runs.values() if not r.told]
    world.core.supervisor.link_found(dict(map(to_found, shown)), world.shim.now, end_of)
    world.core.turn()
    return asked


def test_nothing_is_known_of_what_lives_until_a_shim_is_heard() -> None:
    world = running(job("web", 2), job("rest", autostart=False))
    lose(world)
    assert world.core.states() == {"web:0": "unknown", "web:1": "unknown", "rest:0": "stopped"}
    another(world)
    assert world.core.states() == {"web:0": "running", "web:1": "running", "rest:0": "stopped"}


def test_L06_what_the_next_shim_found_goes_on_with_its_start_and_counts() -> None:
    world = running(job("web", 2))
    before = dict(world.core.supervisor.procs)
    world.shim.now += 100
    lose(world)
    assert another(world) == []
    after = world.core.supervisor.procs
    assert [(p.state, p.pid, p.run, p.started_at, p.tries) for p in after.values()] == [
        (p.state, p.pid, p.run, p.started_at, p.tries) for p in before.values()
    ]
    assert len(world.shim.order) == 2


def test_what_was_found_gets_its_recipe_again() -> None:
    world = running(job("web", 2))
    lose(world)
    another(world, "web:1")
    assert [each.key for each in world.core.retuned] == [WEB]


@pytest.mark.parametrize(
    ("end", "state"), [(None, "pending"), (Exit(code=3), "pending"), (Exit(code=0), "exited")]
)  # fmt: skip
def test_L40_what_was_not_found_is_judged_by_its_end(end: Exit | None, state: str) -> None:
    world = running(job("web", restart=Restart.ON_ERROR))
    world.shim.now += 100
    lose(world)
    assert another(world, "web:0", end=end) == [WEB]
    proc = world.core.supervisor.procs[WEB]
    assert proc.exit == (end or Exit(message="not known how"))
    assert world.core.told("exited") == ["web:0"]
    assert proc.state == (State.STARTING if state == "pending" else state)


def test_L08_a_start_that_never_came_to_be_is_made_again() -> None:
    world = World(job("web"))
    world.core.turn()
    lose(world)
    assert another(world, "web:0") == []
    assert world.shim.order == ["web:0/1", "web:0/2"]


def test_L08_a_start_of_which_nothing_was_told_yet_is_taken_over() -> None:
    world = World(job("web"))
    world.core.turn()
    lose(world)
    assert another(world) == []
    proc = world.core.supervisor.procs[WEB]
    assert (proc.pid, proc.run) == (world.shim.runs["web:0"].pid, 1)
    assert world.shim.order == ["web:0/1"]


def test_a_stop_under_way_goes_on() -> None:
    world = running(job("web"))
    world.core.command(m.Stop(), "web")
    lose(world)
    world.shim.runs["web:0"].signals.clear()
    another(world)
    assert world.shim.runs["web:0"].signals == [TERM]
    assert world.core.states() == {"web:0": "stopping"}


def test_a_restart_under_way_is_finished() -> None:
    world = running(job("web"))
    world.core.command(m.Relaunch(), "web")
    lose(world)
    another(world)
    assert world.core.states() == {"web:0": "stopping"}
    world.obey()
    world.born()
    assert world.shim.order == ["web:0/1", "web:0/2"]
    assert world.core.states() == {"web:0": "running"}


def test_a_restart_whose_first_half_nobody_saw_is_finished() -> None:
    world = running(job("web", restart=Restart.NEVER))
    world.core.command(m.Relaunch(), "web")
    lose(world)
    assert another(world, "web:0") == [WEB]
    assert world.core.told("stopped") == ["web:0"]
    assert world.shim.order == ["web:0/1", "web:0/2"]


def test_a_stop_that_comes_while_there_is_no_shim_is_done_after() -> None:
    world = running(job("web"))
    lose(world)
    assert world.core.command(m.Stop(), "web") == []
    another(world)
    assert world.core.states() == {"web:0": "stopping"}
    world.obey()
    assert world.core.states() == {"web:0": "stopped"}


def test_what_an_ended_run_left_behind_and_no_shim_knows_of_any_more_holds_no_stop_up() -> None:
    world = running(job("web", restart=Restart.NEVER))
    world.shim.die(world.shim.runs["web:0"], code=0, rest=2)
    world.core.turn()
    lose(world)
    another(world, "web:0")
    world.shim.reports.clear()
    world.core.command(m.Stop(), "web")
    world.core.turn()
    world.core.turn()
    assert world.core.states() == {"web:0": "stopped"}
    assert world.core.supervisor.procs[WEB].exit == Exit(code=0)


def test_what_was_being_cleared_when_the_shim_died_is_cleared_before_the_next_run() -> None:
    world = running(job("web", restart=Restart.NEVER))
    run = world.shim.runs["web:0"]
    world.shim.die(run, code=0, rest=2)
    world.core.turn()
    world.core.command(m.Start(), "web")
    assert world.core.states() == {"web:0": "stopping"}
    world.core.settle()  # this order dies with the shim
    world.core.supervisor.link_lost(world.shim.now)
    another(world)
    world.born()
    assert run.signals == [9]
    assert world.core.states() == {"web:0": "running"}
    assert world.shim.order == ["web:0/1", "web:0/2"]


def test_what_an_ended_run_left_behind_is_known_to_a_core_that_has_no_memory_of_it() -> None:
    world = running(job("web", restart=Restart.NEVER))
    world.shim.die(world.shim.runs["web:0"], code=0, rest=2)
    world.core.turn()
    world.shim.memos.clear()  # both have died
    world.replace_core()
    world.core.turn()
    world.born()
    assert world.core.states() == {"web:0": "running"}
    assert world.shim.order == ["web:0/1", "web:0/2"]


def test_a_start_asked_for_while_there_is_no_shim_is_answered_by_the_run_that_lives() -> None:
    world = running(job("web"))
    lose(world)
    assert world.core.command(m.Start(), "web") == []
    another(world)
    assert [settled.done.ok for settled in world.core.answers] == [True]
    assert world.shim.order == ["web:0/1"]


def test_a_start_asked_for_while_there_is_no_shim_is_answered_by_the_next_run_where_none_lives() -> None:
    world = World(job("web"))
    world.core.turn()
    lose(world)
    world.core.command(m.Start(), "web")
    another(world, "web:0")
    assert world.core.answers == []
    world.born()
    assert [settled.done.ok for settled in world.core.answers] == [True]
    assert world.shim.order == ["web:0/1", "web:0/2"]


def test_a_restart_asked_for_while_there_is_no_shim_is_done_once_it_is_heard() -> None:
    world = running(job("web"))
    lose(world)
    assert world.core.command(m.Relaunch(), "web") == []
    another(world)
    assert world.core.states() == {"web:0": "stopping"}
    world.obey()
    world.born()
    assert world.shim.order == ["web:0/1", "web:0/2"]
    assert [settled.done.ok for settled in world.core.answers] == [True]


def test_a_restart_asked_for_once_is_done_once() -> None:
    world = running(job("web"))
    lose(world)
    world.core.command(m.Relaunch(), "web")
    another(world)
    world.obey()
    world.born()
    lose(world)
    another(world)
    assert world.core.states() == {"web:0": "running"}


def test_a_second_loss_before_the_first_was_made_good_forgets_no_stop() -> None:
    world = running(job("web"))
    world.core.command(m.Relaunch(), "web")
    lose(world)
    lose(world)
    another(world)
    assert world.core.states() == {"web:0": "stopping"}
    assert world.core.supervisor.procs[WEB].goal is Goal.UP


def test_another_run_than_ours_is_taken_as_the_shim_tells_it() -> None:
    world = running(job("web"))
    world.shim.runs["web:0"].run = 5
    world.shim.runs["web:0"].at = world.shim.now - 7
    lose(world)
    another(world)
    proc = world.core.supervisor.procs[WEB]
    assert (proc.run, proc.started_at) == (5, world.shim.now - 7)


def test_up_of_some_leaves_what_was_left_running_alone() -> None:
    world = running(job("web"), job("other"))
    supervisor = type(world.core.supervisor)()
    config = world.core.supervisor.config
    supervisor.boot(config, 1, {}, 5.0, idle=True, living={WEB})
    supervisor.found(WEB, m.Found(3, 99, 1.0), 5.0)
    supervisor.booted(5.0)
    assert {str(key): proc.state.value for key, proc in supervisor.procs.items()} == {
        "web:0": "running",
        "other:0": "stopped",
    }


def test_what_was_edited_while_no_core_ran_makes_wishes_void() -> None:
    wishes = [to_scale("web", 3), to_scale("kept", 3), Intent("gone", "down")]
    supervisor = Supervisor(wishes)
    before, after = config(job("web"), job("kept"), job("gone")), config(job("web", 2), job("kept"))
    supervisor.outgrow(make_plan(before, after))
    supervisor.boot(after, 2, {}, 5.0)
    assert supervisor.widths == {"web": 2, "kept": 3}
    persisted = [effect.changes for effect in supervisor.take() if isinstance(effect, Persist)]
    assert [(change.target, change.kind) for changes in persisted for change in changes] == [
        ("web:*", None), ("gone", None),
    ]  # fmt: skip
