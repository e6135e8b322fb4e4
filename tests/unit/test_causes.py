"""Why each run came up is told with its start, though the shim's report that it did says nothing of that."""

from __future__ import annotations

from typing import Any

from taskmaster_core import machine as m
from taskmaster_core.wire import Cause
from tests.world import BY_HAND, World, job


def last(world: World, kind: str = "started") -> Cause:
    return [fact.cause for fact in world.disk.facts if fact.type == kind][-1]


def one(**changes: Any) -> World:
    world = World(job("web", **changes))
    world.born()
    return world


def test_a_start_at_boot_is_caused_by_the_generation() -> None:
    assert last(one()) == Cause("boot", generation=1)


def test_a_start_by_hand_is_caused_by_who_asked() -> None:
    world = one(autostart=False)
    world.core.command(m.Start(), "web:0")
    world.born()
    assert last(world) is BY_HAND


def test_a_restart_by_hand_is_caused_by_who_asked_and_not_by_the_exit_in_between() -> None:
    world = one()
    world.core.command(m.Relaunch(), "web:0")
    world.obey()
    world.born()
    assert last(world) is BY_HAND


def test_a_start_asked_for_while_it_stops_is_caused_by_who_asked() -> None:
    world = one()
    world.core.command(m.Stop(), "web:0")
    world.core.command(m.Start(), "web:0")
    world.obey()
    world.born()
    assert last(world) is BY_HAND


def test_a_restart_after_a_healthy_life_is_caused_by_the_exit() -> None:
    world = one()
    world.wait(60)
    world.die("web:0", code=1)
    world.born()
    assert (last(world).kind, last(world).run) == ("exit", 1)


def test_a_retry_is_caused_by_the_deadline_and_names_the_run_that_failed() -> None:
    world = one(successdelay=5.0)
    world.die("web:0", code=1)
    world.wait(1)
    world.born()
    assert (last(world).kind, last(world).run) == ("deadline", 1)


def test_a_failed_start_is_told_with_what_brought_it_about() -> None:
    world = World(job("web"))
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"])
    world.core.turn()
    assert last(world, "failed").kind == "boot"


def test_a_job_that_was_removed_leaves_no_cause_to_the_next_of_its_name() -> None:
    world = one()
    world.core.reload()
    world.obey()
    world.core.reload(job("web"))
    world.born()
    assert last(world).kind == "reload"
