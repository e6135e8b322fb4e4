"""The whole of all processes: slots, order, reload, scale, deadlines, commands."""

from __future__ import annotations

import pytest

from taskmaster_core import machine as m
from taskmaster_core import waits, wire
from taskmaster_core.intents import Intent
from taskmaster_core.spec import Exit, Goal, Key, Restart, State
from taskmaster_core.supervisor import AllDown, Answer, Persist, Supervisor, exit_status
from tests.world import BY_HAND, TERM, World, config, job


def running(*jobs, **settings) -> World:
    world = World(*jobs, **settings)
    world.born()
    return world


# Starting ------------------------------------------------------------------------------------------------------------


def test_everything_with_autostart_starts_at_boot() -> None:
    world = running(job("web", 2), job("once", autostart=False))
    assert world.core.states() == {"once:0": "stopped", "web:0": "running", "web:1": "running"}


def test_starts_come_in_the_order_of_the_config() -> None:
    world = running(job("zoo", 2), job("app"), job("mid", 2))
    assert world.shim.order == ["zoo:0/1", "zoo:1/1", "app:0/1", "mid:0/1", "mid:1/1"]


def test_no_more_are_unborn_than_there_are_slots() -> None:
    world = World(job("web", 5), maxstarts=2)
    world.core.turn()
    assert [run.key for run in world.shim.unborn] == ["web:0", "web:1"]
    world.shim.be_born(world.shim.unborn[0])
    world.core.turn()
    assert [run.key for run in world.shim.unborn] == ["web:1", "web:2"]


def test_failed_start_gives_its_slot_back() -> None:
    world = World(job("web", 2), maxstarts=1)
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"])
    world.core.turn()
    assert [run.key for run in world.shim.unborn] == ["web:1"]


def test_run_that_is_stopped_before_its_birth_keeps_its_slot_until_it_is_born() -> None:
    world = World(job("web", 2), maxstarts=1)
    world.core.turn()
    world.core.command(m.Stop(), "web:0")
    world.core.turn()
    assert [run.key for run in world.shim.unborn] == ["web:0"]
    world.shim.be_born(world.shim.runs["web:0"])
    world.core.turn()
    assert [run.key for run in world.shim.unborn] == ["web:1"]
    assert world.shim.runs["web:0"].signals == [TERM]


def test_report_of_an_older_run_frees_no_slot() -> None:
    world = World(job("web", 2, retry=None), maxstarts=1)
    world.born()
    world.shim.die(world.shim.runs["web:0"], code=1)
    world.core.turn()
    world.core.supervisor.report(Key("web", 0), m.Exited(1, Exit(code=1)), world.shim.now)
    world.core.command(m.Relaunch(), "web:1")
    world.obey()
    assert [run.key for run in world.shim.unborn] == ["web:0"]


def test_more_slots_hold_from_the_reload_on() -> None:
    world = World(job("web", 4), maxstarts=1)
    world.core.turn()
    world.core.reload(job("web", 4), maxstarts=3)
    world.core.turn()
    assert len(world.shim.unborn) == 3


def test_process_stopped_while_it_waits_for_a_slot_is_passed_over() -> None:
    world = World(job("web", 3), maxstarts=1)
    world.core.turn()
    world.core.command(m.Stop(), "web:1")
    world.born()
    assert world.shim.order == ["web:0/1", "web:2/1"]


def test_process_removed_while_it_waits_for_a_slot_is_passed_over() -> None:
    world = World(job("web", 3), maxstarts=1)
    world.core.turn()
    world.core.scale("web", 1)
    world.born()
    assert world.core.states() == {"web:0": "running"}


# Commands ------------------------------------------------------------------------------------------------------------


def test_command_tells_what_was_refused_and_why() -> None:
    world = running(job("web", 2))
    world.core.command(m.Stop(), "web:1")
    world.obey()
    refused = world.core.supervisor.command([Key("web", 0), Key("web", 1)], m.Stop(), 1.0, BY_HAND, "")
    assert [(each.key, each.ok, each.note) for each in refused] == [
        ("web:1", False, "web:1 is not running (stopped)"),
    ]


def test_command_to_a_process_that_is_gone_is_refused() -> None:
    refused = Supervisor().command([Key("web", 0)], m.Start(), 1.0, BY_HAND, "")
    assert [(each.state, each.note) for each in refused] == [("gone", "web:0 is gone")]


def test_facts_carry_the_operator_who_caused_them() -> None:
    world = running(job("web"))
    world.core.command(m.Stop(), "web")
    world.core.turn()
    assert next(fact.cause for fact in world.disk.facts if fact.type == "stopping") is BY_HAND


def test_fact_of_an_exit_is_caused_by_that_run() -> None:
    world = running(job("web"))
    world.die("web:0")
    cause = next(fact.cause for fact in world.disk.facts if fact.type == "exited")
    assert (cause.kind, cause.run) == ("exit", 1)


def test_L31_stop_during_backoff_cancels_the_retry() -> None:
    world = running(job("web", retry=None))
    world.die("web:0")
    world.born()
    world.die("web:0")
    assert world.core.states() == {"web:0": "backoff"}
    world.core.command(m.Stop(), "web")
    assert world.core.supervisor.deadline is None
    world.wait(100)
    assert world.core.states() == {"web:0": "stopped"}


# Deadlines -----------------------------------------------------------------------------------------------------------


def test_K04_deadlines_passed_long_ago_are_met_once_and_in_order() -> None:
    jobs = [job(name, successdelay=delay) for name, delay in (("slow", 9.0), ("fast", 1.0), ("mid", 5.0))]
    world = running(*jobs)
    world.wait(10_000)
    assert world.core.told("running") == ["fast:0", "mid:0", "slow:0"]
    assert world.core.supervisor.deadline is None


def test_L20_every_step_of_the_recipe_gets_its_turn_after_a_long_sleep() -> None:
    world = running(job("web"))
    world.core.command(m.Stop(), "web")
    world.core.turn()
    world.wait(10_000)
    assert world.shim.runs["web:0"].signals == [TERM, 9]
    world.wait(1)
    assert world.shim.runs["web:0"].signals == [TERM, 9]


def test_deadline_that_was_put_off_is_not_met_at_its_first_instant() -> None:
    world = running(job("web", successdelay=5.0))
    world.core.reload(job("web", successdelay=50.0))
    world.core.turn()
    assert world.core.supervisor.deadline == pytest.approx(world.shim.now + 50)
    world.wait(6)
    assert world.core.states() == {"web:0": "starting"}


def test_deadline_of_a_process_that_is_gone_is_forgotten() -> None:
    world = running(job("web", successdelay=5.0))
    world.core.reload()
    world.obey()
    assert world.core.supervisor.deadline is None


def test_tick_before_the_deadline_does_nothing() -> None:
    world = running(job("web", successdelay=5.0))
    world.core.supervisor.tick(world.shim.now + 4)
    assert world.core.states() == {"web:0": "starting"}


# Scale ---------------------------------------------------------------------------------------------------------------


def test_L33_scaling_down_stops_the_highest_indices_first() -> None:
    world = running(job("web", 4))
    pids = {key: world.core.proc(key).pid for key in ("web:0", "web:1")}
    world.core.scale("web", 2)
    world.core.turn()
    assert world.core.told("stopping") == ["web:3", "web:2"]
    world.obey()
    assert {str(key): proc.pid for key, proc in world.core.supervisor.procs.items()} == pids


def test_L33_scaling_up_adds_only_what_is_missing() -> None:
    world = running(job("web", 2))
    before = [world.core.proc(key) for key in ("web:0", "web:1")]
    world.core.scale("web", 4)
    world.born()
    assert [world.core.proc(key) for key in ("web:0", "web:1")] == before
    assert world.shim.order[2:] == ["web:2/1", "web:3/1"]


def test_L33_scaling_down_and_up_under_a_crash_loop_keeps_the_others() -> None:
    world = running(job("web", 10, retry=None))
    pids = {key: world.core.proc(key).pid for key in ("web:0", "web:1", "web:2")}
    for index in range(3, 10):
        world.die(f"web:{index}")
    world.core.scale("web", 3)
    world.core.turn()
    world.core.scale("web", 10)
    world.quiet()
    assert set(world.core.states().values()) == {"running"}
    assert {key: world.core.proc(key).pid for key in pids} == pids


def test_process_scaled_back_while_it_stops_runs_again_in_the_end() -> None:
    world = running(job("web", 2))
    world.core.scale("web", 1)
    world.core.turn()
    world.core.scale("web", 2)
    assert world.core.proc("web:1").goal is Goal.UP
    world.quiet()
    assert world.core.states() == {"web:0": "running", "web:1": "running"}


def test_added_process_of_a_job_whose_others_are_up_starts_too_without_autostart() -> None:
    world = World(job("web", autostart=False))
    world.core.command(m.Start(), "web")
    world.born()
    world.core.scale("web", 2)
    world.born()
    assert world.core.states() == {"web:0": "running", "web:1": "running"}


def test_added_process_of_a_job_that_is_held_stays_down() -> None:
    world = running(job("web"))
    world.core.command(m.Stop(), "web")
    world.obey()
    world.core.scale("web", 2)
    world.born()
    assert world.core.states() == {"web:0": "stopped", "web:1": "stopped"}


def test_added_process_of_a_job_of_which_one_is_held_starts() -> None:
    world = running(job("web", 2))
    world.core.command(m.Stop(), "web:0")
    world.obey()
    world.core.scale("web", 3)
    world.born()
    assert world.core.states() == {"web:0": "stopped", "web:1": "running", "web:2": "running"}


def test_job_scaled_to_nothing_has_no_process_and_comes_back() -> None:
    world = running(job("web"))
    world.core.scale("web", 0)
    world.obey()
    assert world.core.supervisor.processes_of("web") == []
    assert world.core.supervisor.widths == {"web": 0}
    world.core.scale("web", 1)
    world.born()
    assert world.core.states() == {"web:0": "running"}


def test_scaling_a_job_that_was_removed_meanwhile_does_nothing() -> None:
    world = running(job("web"))
    world.core.supervisor.scale("nosuch", world.shim.now, BY_HAND)
    assert world.core.states() == {"web:0": "running"}


def test_processes_come_by_index_also_where_some_are_missing() -> None:
    world = running(job("web", 3))
    world.core.reload()
    world.core.turn()
    world.shim.die(world.shim.runs["web:1"], code=0)
    world.core.turn()
    assert [proc.key.index for proc in world.core.supervisor.processes_of("web")] == [0, 2]
    world.shim.die(world.shim.runs["web:2"], code=0)
    world.core.turn()
    assert [proc.key.index for proc in world.core.supervisor.processes_of("web")] == [0]


def test_stop_of_one_and_of_what_is_on_its_way_out_does_not_hold_the_job() -> None:
    world = running(job("web", 2))
    world.core.scale("web", 1)
    world.core.turn()
    world.core.scale("web", 2)
    world.core.scale("web", 1)
    world.core.command(m.Stop(), "web:1")
    assert not world.core.supervisor.intents.kept_down(Key("web", 0))


def test_hand_scale_holds_over_reloads_that_leave_numprocess_alone() -> None:
    world = running(job("web", 2))
    world.core.scale("web", 4)
    world.born()
    world.core.reload(job("web", 2, description="other"))
    world.born()
    assert len(world.core.states()) == 4


def test_hand_scale_ends_when_numprocess_itself_is_edited() -> None:
    world = running(job("web", 2))
    world.core.scale("web", 4)
    world.born()
    world.core.reload(job("web", 3))
    world.obey()
    assert len(world.core.states()) == 3
    assert world.disk.intents == {}


# Reload --------------------------------------------------------------------------------------------------------------


def test_unchanged_job_keeps_its_run_and_its_start() -> None:
    world = running(job("web"), job("other"))
    before = world.core.proc("web:0")
    world.wait(10)
    world.core.reload(job("web"), job("other", argv=("/bin/new",)), job("third"))
    world.quiet()
    assert world.core.proc("web:0") is before


def test_relaunch_restarts_only_the_changed_job_with_its_new_spec() -> None:
    world = running(job("web"), job("other"))
    world.core.reload(job("web", argv=("/bin/new",)), job("other"))
    world.obey()
    world.born()
    assert world.shim.order == ["web:0/1", "other:0/1", "web:0/2"]
    assert world.core.proc("web:0").spec.argv == ("/bin/new",)
    assert world.core.proc("web:0").run_generation == 2


def test_live_change_touches_no_process_and_tells_the_shim() -> None:
    world = running(job("web"))
    changed = job("web", nice=5)
    world.core.reload(changed)
    world.core.turn()
    assert world.shim.runs["web:0"].signals == []
    assert [(each.key, each.run, each.spec, each.sinks) for each in world.core.retuned] == [
        (Key("web", 0), 1, changed, False),
    ]


def test_live_change_reaches_a_run_that_is_not_born_yet() -> None:
    world = World(job("web"))
    world.core.turn()
    world.core.reload(job("web", killgroup=False))
    world.core.turn()
    assert world.shim.runs["web:0"].killgroup is False


def test_run_that_is_relaunched_is_stopped_by_its_new_recipe() -> None:
    world = running(job("web"))
    world.core.reload(job("web", argv=("/new",), stdout="/x", killgroup=False))
    world.core.turn()
    assert [(each.run, each.sinks) for each in world.core.retuned] == [(1, False)]


def test_switched_output_is_told_with_its_sinks() -> None:
    world = running(job("web"))
    world.core.reload(job("web", stdout="/var/log/web"))
    world.core.turn()
    assert [each.sinks for each in world.core.retuned] == [True]


def test_live_change_of_what_does_not_run_tells_the_shim_nothing() -> None:
    world = World(job("web", autostart=False))
    world.core.reload(job("web", autostart=False, nice=5))
    world.core.turn()
    assert world.core.retuned == []


def test_removed_job_is_stopped_gently_and_then_forgotten() -> None:
    world = running(job("web"), job("other"))
    world.core.reload(job("other"))
    world.core.turn()
    assert world.shim.runs["web:0"].signals == [TERM]
    assert world.core.proc("web:0").goal is Goal.GONE
    world.obey()
    assert world.core.states() == {"other:0": "running"}
    assert world.shim.memos["web:0"] == '{"past":1}'
    assert world.core.told("removed") == ["web:0"]


def test_job_removed_and_added_again_while_it_stops_gets_the_new_spec() -> None:
    world = running(job("web"))
    world.core.reload()
    world.core.turn()
    world.core.reload(job("web", argv=("/bin/new",)))
    world.quiet()
    proc = world.core.proc("web:0")
    assert (proc.state, proc.run, proc.spec.argv, proc.generation) == (State.RUNNING, 2, ("/bin/new",), 3)


def test_job_added_again_while_it_stops_is_stopped_by_its_new_recipe() -> None:
    world = running(job("web"))
    world.core.reload()
    world.core.turn()
    world.core.reload(job("web", killgroup=False))
    world.core.turn()
    assert world.shim.runs["web:0"].killgroup is False


def test_job_removed_and_added_again_with_fewer_processes_keeps_only_those() -> None:
    world = running(job("web", 3))
    world.core.reload()
    world.core.turn()
    world.core.reload(job("web", 1))
    world.quiet()
    assert world.core.states() == {"web:0": "running"}


def test_fatal_job_whose_command_is_corrected_starts_by_itself() -> None:
    world = World(job("web", retry=0))
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"])
    world.core.turn()
    assert world.core.states() == {"web:0": "fatal"}
    world.core.reload(job("web", retry=0, argv=("/bin/right",)))
    world.born()
    assert world.core.states() == {"web:0": "running"}


def test_job_that_comes_back_after_it_was_forgotten_goes_on_counting_its_runs() -> None:
    world = running(job("web"))
    world.core.reload()
    world.obey()
    world.replace_core()
    world.core.reload(job("web"))
    world.born()
    assert world.shim.order == ["web:0/1", "web:0/2"]
    assert world.core.supervisor.past == {}


def test_C17_valid_config_of_which_nothing_can_start_is_applied_and_ends_fatal() -> None:
    world = running(job("web"))
    world.core.reload(job("web", argv=("/no",), retry=0), job("new", argv=("/no",), retry=0))
    world.obey()
    while world.shim.unborn:
        world.shim.fail(world.shim.unborn[0])
        world.core.turn()
    assert world.core.states() == {"new:0": "fatal", "web:0": "fatal"}
    world.core.reload(job("web"))
    world.born()
    assert world.core.states() == {"web:0": "running"}


def test_C13_two_jobs_that_swap_their_names_swap_their_commands() -> None:
    world = running(job("a", argv=("/bin/one",)), job("b", argv=("/bin/two",)))
    world.core.reload(job("b", argv=("/bin/one",)), job("a", argv=("/bin/two",)))
    world.quiet()
    assert {key: world.core.proc(key).spec.argv[0] for key in ("a:0", "b:0")} == {"a:0": "/bin/two", "b:0": "/bin/one"}
    assert world.core.proc("a:0").run == 2


def test_C13_renamed_job_is_stopped_and_its_new_name_started() -> None:
    world = running(job("old", argv=("/bin/x",)))
    world.core.reload(job("new", argv=("/bin/x",)))
    world.quiet()
    assert world.core.states() == {"new:0": "running"}
    assert world.core.told("removed") == ["old:0"]


def test_L31_job_removed_during_its_backoff_starts_no_ghost() -> None:
    world = running(job("web", retry=None))
    world.die("web:0")
    world.born()
    world.die("web:0")
    world.core.reload()
    world.wait(100)
    assert world.core.states() == {}
    assert world.shim.runs == {}


def test_job_stopped_by_hand_stays_stopped_over_a_reload_that_changes_it() -> None:
    world = running(job("web", 2))
    world.core.command(m.Stop(), "web:1")
    world.obey()
    world.core.reload(job("web", 2, argv=("/bin/new",)))
    world.quiet()
    assert world.core.states() == {"web:0": "running", "web:1": "stopped"}


def test_removed_job_takes_its_wishes_with_it() -> None:
    world = running(job("web", 2))
    world.core.command(m.Stop(), "web:1")
    world.obey()
    world.core.supervisor.take()
    world.core.reload()
    persisted = [each for each in world.core.supervisor.take() if isinstance(each, Persist)]
    assert persisted == [Persist((Intent("web:1", None),))]


def test_relaunch_and_fewer_processes_at_once_stops_the_surplus_for_good() -> None:
    world = running(job("web", 3))
    world.core.reload(job("web", 1, argv=("/bin/new",)))
    world.quiet()
    assert world.core.states() == {"web:0": "running"}
    assert world.shim.order[3:] == ["web:0/2"]


# exitwith and the ordered stop ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"), [({"code": 0}, 0), ({"code": 3}, 3), ({"signal": 9}, 137)], ids=["zero", "code", "signal"]
)
def test_exitwith_ends_everything_with_the_status_of_the_job(end: dict[str, int], code: int) -> None:
    world = running(job("main", restart=Restart.NEVER, exitwith=True), job("side"))
    world.die("main:0", **end)
    world.obey()
    assert world.core.codes == [code]


def test_exitwith_of_a_job_that_never_started_is_1() -> None:
    world = World(job("main", retry=0, exitwith=True), job("side", autostart=False))
    world.core.turn()
    world.shim.fail(world.shim.runs["main:0"])
    world.core.turn()
    assert world.core.codes == [1]


def test_exitwith_waits_for_the_last_process_and_takes_the_worst_status() -> None:
    world = running(job("main", 2, restart=Restart.NEVER, exitwith=True))
    world.die("main:0", code=4)
    assert world.core.codes == []
    world.die("main:1", code=2)
    assert world.core.codes == [4]


def test_exitwith_of_a_job_that_is_restarted_does_not_end_anything() -> None:
    world = running(job("main", exitwith=True))
    world.die("main:0")
    world.born()
    assert world.core.supervisor.shutting_down is None


def test_exit_status_of_what_never_ended_is_1() -> None:
    assert exit_status(m.Proc(Key("a", 0), job("a"))) == 1


def test_shutdown_stops_everything_and_says_so_once() -> None:
    world = running(job("web", 2), job("once", autostart=False))
    world.core.shut_down()
    world.core.turn()
    assert world.core.codes == []
    world.obey()
    assert world.core.codes == [0]
    assert world.core.supervisor.take() == []


def test_shutdown_of_nothing_is_done_at_once() -> None:
    supervisor = Supervisor()
    supervisor.shut_down(3, 1.0, BY_HAND, "")
    assert supervisor.take() == [AllDown(3)]
    assert supervisor.take() == []


def test_shutdown_settles_what_waits_or_is_in_backoff() -> None:
    world = World(job("web", 3, retry=None), maxstarts=1)
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"])
    world.core.turn()
    world.core.shut_down()
    world.born()
    world.obey()
    assert set(world.core.states().values()) == {"stopped"}
    assert world.core.codes == [0]


def test_shutdown_ends_what_lingers_behind_an_exited_run() -> None:
    world = running(job("web", restart=Restart.NEVER))
    world.die("web:0", rest=2, code=0)
    assert world.core.states() == {"web:0": "exited"}
    world.core.shut_down()
    world.core.turn()
    assert world.shim.runs == {}
    world.core.turn()
    assert world.core.codes == [0]


def test_shutdown_does_not_wait_for_what_a_job_without_killgroup_left_behind() -> None:
    world = running(job("web", restart=Restart.NEVER, killgroup=False))
    world.die("web:0", rest=2, code=0)
    world.core.shut_down()
    world.core.turn()
    assert world.core.codes == [0]


def test_shutdown_has_a_bound_after_which_everything_is_killed() -> None:
    world = running(job("web"), shutdown=2.0)
    world.core.shut_down()
    world.core.turn()
    assert world.core.supervisor.deadline == world.shim.now + 2
    world.wait(2)
    assert world.shim.runs["web:0"].signals == [TERM, 9]


def test_fast_shutdown_kills_at_once() -> None:
    world = running(job("web"), job("once", autostart=False))
    world.core.shut_down()
    world.core.turn()
    world.core.shut_down(fast=True)
    world.core.turn()
    assert world.shim.runs["web:0"].signals == [TERM, 9]


def test_second_shutdown_keeps_the_first_status_and_the_first_bound() -> None:
    world = running(job("web"), shutdown=2.0)
    world.core.shut_down(5)
    world.wait(1)
    world.core.shut_down(6)
    world.wait(1)
    world.shim.die(world.shim.runs["web:0"], signal=9)
    world.core.turn()
    assert world.core.codes == [5]


def test_L29_shutdown_does_not_wait_for_what_does_not_die() -> None:
    world = running(job("web"))
    world.core.shut_down(fast=True)
    world.core.turn()
    world.shim.tell(t="unkillable", key="web:0", run=1, pids=[7])
    world.core.turn()
    assert world.core.codes == [1]
    assert world.core.states() == {"web:0": "stopping"}


@pytest.mark.parametrize("command", [m.Start(), m.Relaunch()])
def test_nothing_is_started_while_everything_is_being_stopped(command: m.Stimulus) -> None:
    world = running(job("web"))
    world.core.shut_down()
    assert world.core.command(command, "web") == ["everything is being stopped"]


def test_reload_during_a_shutdown_starts_nothing() -> None:
    world = World(job("bad", retry=0), job("web"), job("back"))
    world.core.turn()
    world.shim.fail(world.shim.runs["bad:0"])
    world.born()
    world.core.reload(job("bad", retry=0), job("web"))
    world.core.turn()
    world.core.shut_down()
    world.core.reload(job("bad", retry=0, argv=("/new",)), job("web", argv=("/new",)), job("back"), job("new"))
    world.born()
    world.obey()
    assert world.core.codes == [0]
    assert world.shim.runs == {}
    assert all(proc.run <= 1 for proc in world.core.supervisor.procs.values())


# Who waits -----------------------------------------------------------------------------------------------------------


def test_start_is_answered_once_it_runs() -> None:
    world = World(job("web", autostart=False))
    world.core.command(m.Start(), "web")
    world.core.supervisor.wait_for("mine", waits.started, {Key("web", 0): 0}, [])
    world.core.turn()
    assert world.core.answers == []
    world.born()
    assert [(each.request, each.done.ok) for each in world.core.answers] == [("r1", True), ("mine", True)]


def test_wait_for_what_is_so_already_is_answered_at_once() -> None:
    world = running(job("web"))
    world.core.supervisor.wait_for("r1", waits.in_state("up"), {Key("web", 0): 1}, [])
    assert [type(each) for each in world.core.supervisor.take()] == [Answer]


def test_wait_that_is_given_up_tells_how_far_it_came() -> None:
    world = running(job("web"))
    world.core.supervisor.wait_for("r1", waits.in_state("fatal"), {Key("web", 0): 1}, [])
    done = world.core.supervisor.give_up_waiting("r1")
    assert done is not None
    assert [(each.key, each.ok, each.state) for each in done.outcomes] == [("web:0", False, "running")]
    assert world.core.supervisor.give_up_waiting("r1") is None


def test_wait_for_a_process_that_is_removed_is_answered() -> None:
    world = running(job("web"))
    world.core.supervisor.wait_for("r1", waits.in_state("fatal"), {Key("web", 0): 1}, [])
    world.core.reload()
    world.obey()
    assert [(each.request, each.done.ok) for each in world.core.answers] == [("r1", False)]


def test_L30_ten_restarts_in_a_burst_are_one_new_run_and_all_are_answered() -> None:
    world = running(job("web"))
    for _ in range(10):
        world.core.command(m.Relaunch(), "web")
    world.quiet()
    assert world.core.proc("web:0").run == 2
    assert [each.done.ok for each in world.core.answers] == [True] * 10


def test_bytes_that_are_no_text_in_the_words_of_an_end_can_be_told() -> None:
    world = World(job("web", retry=0))
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"], "No such file: '/\udcff'")
    world.core.turn()
    assert b"No such file: '/\\\\udcff'" in wire.encode([fact.data for fact in world.disk.facts])


def test_L30_last_of_stop_and_start_wins() -> None:
    world = running(job("web"))
    for command in (m.Stop(), m.Start(), m.Stop(), m.Start(), m.Stop()):
        world.core.command(command, "web")
        world.core.turn()
    world.quiet()
    assert world.core.states() == {"web:0": "stopped"}
    world.core.command(m.Start(), "web")
    world.core.command(m.Stop(), "web")
    world.core.command(m.Start(), "web")
    world.quiet()
    assert world.core.states() == {"web:0": "running"}


def test_config_and_its_generation_are_those_of_the_last_reload() -> None:
    world = running(job("web"))
    world.core.reload(job("web"), job("new"))
    supervisor = world.core.supervisor
    assert (supervisor.config, supervisor.generation) == (config(job("web"), job("new")), 2)
    assert [each.name for each in supervisor.jobs()] == ["web", "new"]


# Hold ----------------------------------------------------------------------------------------------------------------


def test_hold_outlives_reload_core_and_everything() -> None:
    world = running(job("web", 2), job("api"))
    world.core.command(m.Hold(), "web:1")
    world.core.reload(job("web", 2, description="other"), job("api"))
    world.core.turn()
    assert world.core.proc("web:1").held
    world.replace_core()
    assert (world.core.proc("web:1").held, world.core.proc("web:1").state) == (True, State.RUNNING)
    world.shim.runs.clear()
    world.shim.memos.clear()  # as after a reboot: nothing is left but what is on disk
    world.replace_core()
    world.born()
    assert world.core.states() == {"api:0": "running", "web:0": "running", "web:1": "exited"}
    world.core.command(m.Release(), "all")
    world.born()
    assert world.core.states()["web:1"] == "running"


@pytest.mark.parametrize("stimulus", [m.Hold(), m.Release()])
def test_wish_that_was_kept_and_not_carried_out_is_by_the_next_core(stimulus: m.Stimulus) -> None:
    world = running(job("web"))
    if isinstance(stimulus, m.Release):
        world.core.command(m.Hold(), "web")
        world.core.turn()
    intents, widths = world.core.supervisor.intents, world.core.supervisor.widths
    change = intents.to_hold if isinstance(stimulus, m.Hold) else intents.to_release
    world.disk.keep(change([Key("web", 0)], widths))
    world.replace_core()
    assert world.core.proc("web:0").held is isinstance(stimulus, m.Hold)


def test_hold_of_a_job_holds_what_is_added_to_it_and_lets_it_start() -> None:
    world = running(job("web", 1))
    world.core.command(m.Hold(), "web")
    world.core.scale("web", 2)
    world.born()
    assert (world.core.proc("web:1").held, world.core.proc("web:1").state) == (True, State.RUNNING)


def test_start_that_fails_while_held_is_answered_as_failed() -> None:
    world = World(job("web", autostart=False))
    world.core.turn()
    world.core.command(m.Hold(), "web")
    world.core.command(m.Start(), "web")
    world.core.turn()
    world.shim.fail(world.shim.runs["web:0"])
    world.core.turn()
    assert not world.core.answers[-1].done.ok


def test_job_with_exitwith_that_is_held_does_not_end_the_core() -> None:
    world = running(job("web", exitwith=True))
    world.core.command(m.Hold(), "web")
    world.die("web:0", code=3)
    assert world.core.codes == []
    world.core.command(m.Release(), "web")
    world.born()
    world.die("web:0", code=0)
    assert world.core.codes == [0]
