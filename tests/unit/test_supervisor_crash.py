"""A core that dies between any two frames is the core that did not die (L01, L02, L03 of RELIABILITY, in the policy).

What a core knew is in the memos of its last frame, what it had not dealt with in the reports that were not
acknowledged. The walk lets commands, births, deaths, deadlines and reloads happen, and lets the core die at any point
of its turn: before it looked, after it decided, with its frame under way. The shim (`tests/world.py`) asserts that no
run is started twice and no second copy beside a living one.
"""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from taskmaster_core import machine as m
from taskmaster_core.machine import Proc
from taskmaster_core.spec import ALIVE, Goal, JobSpec, Key, Restart, State, StopStep
from taskmaster_core.supervisor import Fact
from tests.world import TERM, Core, Run, World, job

# Single deaths -------------------------------------------------------------------------------------------------------


def running(*jobs) -> World:
    world = World(*jobs)
    world.born()
    return world


def test_L01_living_keep_their_runs_and_ten_exits_meanwhile_are_taken_in() -> None:
    world = running(job("web", 50, restart=Restart.NEVER))
    before = {key: proc for key, proc in world.core.supervisor.procs.items() if key.index >= 10}
    for index in range(10):
        world.shim.die(world.shim.runs[f"web:{index}"], code=index)
    world.replace_core()
    world.born()
    procs = world.core.supervisor.procs
    assert {key: procs[key] for key in before} == before
    assert [procs[Key("web", index)].exit.code for index in range(10)] == list(range(10))  # type: ignore[union-attr]
    assert world.core.told("exited") == [f"web:{index}" for index in range(10)]
    assert len(world.shim.order) == 50


def test_L03_core_that_dies_with_its_start_on_the_wire_starts_it_once() -> None:
    world = World(job("web", autostart=False))
    world.core.turn()
    world.core.command(m.Start(), "web")
    world.core.send(world.core.settle())
    world.replace_core()
    assert world.core.command(m.Start(), "web") == ["web:0 is starting already"]
    world.born()
    assert world.shim.order == ["web:0/1"]
    assert world.core.states() == {"web:0": "running"}


def test_core_that_dies_before_its_start_went_out_has_started_nothing() -> None:
    world = World(job("web", autostart=False))
    world.core.turn()
    world.core.command(m.Start(), "web")
    world.core.settle()
    world.replace_core()
    world.born()
    assert world.shim.order == []
    assert world.core.states() == {"web:0": "stopped"}


def test_backoff_goes_on_where_it_was() -> None:
    world = running(job("web", retry=None))
    world.die("web:0")
    world.born()
    world.die("web:0")
    before = world.core.proc("web:0")
    assert before.state is State.BACKOFF
    world.replace_core()
    assert world.core.proc("web:0") == before
    assert world.core.supervisor.deadline == before.deadline


def test_fatal_stays_fatal_and_exited_stays_exited() -> None:
    world = running(job("bad", retry=0), job("done"))
    world.die("bad:0", code=1)
    world.die("done:0", code=0)
    before = dict(world.core.supervisor.procs)
    world.replace_core()
    world.quiet()
    assert world.core.supervisor.procs == before
    assert world.core.states() == {"bad:0": "fatal", "done:0": "exited"}


def test_counts_of_failure_survive() -> None:
    world = running(job("web", retry=2))
    for _ in range(2):
        world.die("web:0")
        world.replace_core()
        world.wait(60)
        world.born()
    assert (world.core.proc("web:0").tries, world.core.proc("web:0").restarts) == (2, 2)
    world.die("web:0")
    assert world.core.states() == {"web:0": "fatal"}


def test_stop_under_way_goes_on_with_its_next_step() -> None:
    world = running(job("web", stop=(StopStep(2, 3.0), StopStep(TERM, 5.0))))
    world.core.command(m.Stop(), "web")
    world.core.turn()
    world.replace_core()
    world.wait(3)
    assert world.shim.runs["web:0"].signals == [2, TERM]


def test_job_stopped_by_hand_stays_stopped_also_without_memos() -> None:
    world = running(job("web", 2))
    world.core.command(m.Stop(), "web:1")
    world.obey()
    world.shim.memos.clear()
    world.replace_core()
    world.born()
    assert world.core.states() == {"web:0": "running", "web:1": "stopped"}


def test_stop_that_was_kept_on_disk_but_not_begun_is_carried_out_by_the_next_core() -> None:
    world = running(job("web", 2))
    world.core.command(m.Stop(), "web:1")
    world.replace_core()
    world.quiet()
    assert world.core.states() == {"web:0": "running", "web:1": "stopped"}


def test_hand_scale_survives() -> None:
    world = running(job("web"))
    world.core.scale("web", 3)
    world.born()
    world.replace_core()
    world.born()
    assert world.core.states() == dict.fromkeys(("web:0", "web:1", "web:2"), "running")


def test_live_run_without_a_memo_is_adopted() -> None:
    world = running(job("web"))
    pid = world.core.proc("web:0").pid
    world.shim.memos.clear()
    world.replace_core()
    world.born()
    proc = world.core.proc("web:0")
    assert (proc.state, proc.pid, proc.run) == (State.RUNNING, pid, 1)
    assert world.shim.order == ["web:0/1"]


@pytest.mark.parametrize("memo", ["", "{", "[1]", '{"goal":"up"}', '{"past":"x"}', 7, None, {"goal": "up"}])
def test_broken_memo_costs_the_counts_but_not_the_run(memo: object) -> None:
    world = running(job("web"))
    world.shim.memos["web:0"] = memo
    world.replace_core()
    world.born()
    assert world.core.states() == {"web:0": "running"}
    assert world.shim.order == ["web:0/1"]


def test_memo_of_another_run_than_lives_is_set_right_by_the_shim() -> None:
    world = running(job("web", retry=None))
    old = world.shim.memos["web:0"]
    world.die("web:0")
    world.born()
    world.shim.memos["web:0"] = old
    world.replace_core()
    world.born()
    proc = world.core.proc("web:0")
    assert (proc.state, proc.run, proc.pid) == (State.RUNNING, 2, world.shim.runs["web:0"].pid)


def test_stray_run_of_a_job_that_nobody_declares_is_stopped_and_forgotten() -> None:
    world = running(job("web"), job("old"))
    world.shim.memos.clear()
    world.disk.generations[1] = replace(world.core.supervisor.config, jobs=(job("web"),))
    world.replace_core()
    world.core.turn()
    assert world.shim.runs["old:0"].signals == [TERM]
    assert world.core.proc("old:0").goal is Goal.GONE
    world.quiet()
    assert world.core.states() == {"web:0": "running"}


def test_process_that_was_on_its_way_out_is_still_forgotten() -> None:
    world = running(job("web", 2), job("old"))
    world.core.reload(job("web"))
    world.core.turn()
    world.replace_core()
    assert {key: proc.goal for key, proc in world.core.supervisor.procs.items()} == {
        Key("web", 0): Goal.UP, Key("web", 1): Goal.GONE, Key("old", 0): Goal.GONE,
    }  # fmt: skip
    world.quiet()
    assert world.core.states() == {"web:0": "running"}


def test_process_on_its_way_out_that_the_config_has_again_is_wanted_again() -> None:
    world = running(job("web"))
    world.core.reload()
    world.core.turn()
    world.disk.generations[2] = world.disk.generations[1]
    world.replace_core()
    world.quiet()
    assert world.core.states() == {"web:0": "running"}
    assert world.shim.order == ["web:0/1", "web:0/2"]


def test_indices_above_the_declared_ones_are_removed_at_boot() -> None:
    world = running(job("web", 3))
    world.disk.generations[1] = replace(world.core.supervisor.config, jobs=(job("web", 1),))
    world.replace_core()
    world.core.turn()
    assert [fact.key for fact in world.disk.facts if fact.type == "stopping"] == ["web:2", "web:1"]
    world.quiet()
    assert world.core.states() == {"web:0": "running"}


def test_L02_reload_that_was_kept_but_not_begun_is_carried_out_by_the_next_core() -> None:
    world = running(job("web"), job("same"), job("old"))
    same = world.core.proc("same:0")
    world.core.reload(job("web", argv=("/bin/new",)), job("same"), job("new"))
    world.replace_core()
    world.quiet()
    assert world.core.states() == {"new:0": "running", "same:0": "running", "web:0": "running"}
    assert world.core.proc("same:0") == same
    assert world.core.proc("web:0").spec.argv == ("/bin/new",)


def test_L02_reload_that_was_begun_is_not_begun_again() -> None:
    world = running(job("web"), job("same"), job("old"))
    world.core.reload(job("web", argv=("/bin/new",)), job("same"), job("new"))
    world.core.turn()
    world.replace_core()
    world.quiet()
    world.replace_core()
    world.quiet()
    assert world.shim.order[3:] == ["new:0/1", "web:0/2"]


def test_start_slots_are_held_by_what_an_earlier_core_ordered() -> None:
    world = World(job("web", 4), maxstarts=2)
    world.core.turn()
    world.replace_core()
    world.core.turn()
    assert len(world.shim.unborn) == 2
    world.born()
    assert set(world.core.states().values()) == {"running"}


def test_ordered_stop_goes_on_and_ends_with_its_status() -> None:
    world = running(job("main", exitwith=True, restart=Restart.NEVER), job("side"))
    world.die("main:0", code=7)
    world.replace_core()
    world.obey()
    assert world.core.codes == [7]


def test_ordered_stop_that_was_complete_is_said_again() -> None:
    world = running(job("web"))
    world.core.shut_down()
    world.obey()
    world.replace_core()
    world.core.turn()
    assert world.core.codes == [0]


def test_process_whose_last_run_left_something_behind_is_remembered_with_it() -> None:
    world = running(job("web", restart=Restart.NEVER))
    world.die("web:0", rest=2, code=0)
    world.replace_core()
    assert world.core.proc("web:0").lingering == 2
    world.core.command(m.Start(), "web")
    world.quiet()
    assert world.core.states() == {"web:0": "running"}


# The walk ------------------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")


def new_job(
    name: str, number: int, word: str, retry: int | None, policy: Restart, delay: float, group: bool
) -> JobSpec:
    return job(name, number, argv=(word,), retry=retry, restart=policy, successdelay=delay, killgroup=group)


NEW_JOB = st.builds(
    new_job,
    st.sampled_from(NAMES), st.integers(0, 3), st.sampled_from(["/bin/x", "/bin/y"]), st.sampled_from([None, 0, 2]),
    st.sampled_from(Restart), st.sampled_from([0.0, 3.0]), st.sampled_from([True, True, False]),
)  # fmt: skip
JOBS = st.lists(NEW_JOB, max_size=3, unique_by=lambda each: each.name)
COMMANDS = st.sampled_from([m.Start(), m.Stop(), m.Kill(), m.Relaunch(), m.Reset(), m.Send(10), m.Hold(), m.Release()])
TARGETS = st.sampled_from([*NAMES, *(f"{name}:{index}" for name in NAMES for index in range(2)), "all"])


class CrashWalk(RuleBasedStateMachine):
    """Let anything happen, and the core die anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(job("a", 2), job("b", retry=2), maxstarts=2)
        self.committed: dict[Key, Proc] = {}
        self.turn()

    @property
    def core(self) -> Core:
        return self.world.core

    @property
    def lingering(self) -> list[Run]:
        return [run for run in (*self.world.shim.left, *self.world.shim.runs.values()) if run.rest]

    def draw_run(self, data: st.DataObject, runs: list[Run]) -> Run:
        return data.draw(st.sampled_from(runs))

    # What operators do ---------------------------------------------------------------------------------------------

    @rule(command=COMMANDS, whom=TARGETS)
    def command(self, command: m.Stimulus, whom: str) -> None:
        self.core.command(command, whom)

    @rule(data=st.data(), width=st.integers(0, 3))
    @precondition(lambda self: self.core.supervisor.config.jobs)
    def scale(self, data: st.DataObject, width: int) -> None:
        self.core.scale(data.draw(st.sampled_from(self.core.supervisor.config.jobs)).name, width)

    @rule(jobs=JOBS, slots=st.integers(1, 3))
    def reload(self, jobs, slots: int) -> None:
        self.core.reload(*jobs, maxstarts=slots)

    # What comes to pass --------------------------------------------------------------------------------------------

    @rule(data=st.data(), fails=st.booleans())
    @precondition(lambda self: self.world.shim.unborn)
    def birth(self, data: st.DataObject, fails: bool) -> None:
        run = self.draw_run(data, self.world.shim.unborn)
        self.world.shim.fail(run) if fails else self.world.shim.be_born(run)

    @rule(data=st.data(), code=st.sampled_from([0, 1]), rest=st.sampled_from([0, 0, 2]))
    @precondition(lambda self: self.world.shim.living)
    def death(self, data: st.DataObject, code: int, rest: int) -> None:
        self.world.shim.die(self.draw_run(data, self.world.shim.living), rest, code=code)

    @rule()
    @precondition(lambda self: self.lingering)
    def rest_ends(self) -> None:
        self.world.shim.clear(self.lingering[0])

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.shim.now += seconds

    # The core ------------------------------------------------------------------------------------------------------

    @rule()
    def turn(self) -> None:
        self.core.turn()
        self.committed = dict(self.core.supervisor.procs)

    @rule(hears=st.booleans(), decides=st.booleans(), arrives=st.booleans())
    def core_dies(self, hears: bool, decides: bool, arrives: bool) -> None:
        """Die before looking, before deciding, or with the frame sent: it is carried out whole or not at all."""
        if hears:
            self.core.hear()
        if decides:
            self.core.tick()
            frame = self.core.settle()
            if arrives:
                self.core.send(frame)
                self.committed = dict(self.core.supervisor.procs)
        self.world.replace_core()
        self.compare()

    def compare(self) -> None:
        """The new core knows of every process what the last frame said."""
        for key, proc in self.committed.items():
            found = self.core.restored.get(key)
            if found is None:  # nothing ran, and a smaller number of processes was asked for by hand just before
                assert proc.state not in ALIVE
            elif Goal.GONE in (found.goal, proc.goal) or self.core.held_at_boot(key) or found.held is not proc.held:
                continue  # a wish that was kept on disk just before is carried out now
            else:
                assert found == proc

    # What must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def I2_every_run_is_known(self) -> None:
        if self.world.shim.news or self.core.supervisor.changed:
            return  # the core has not heard or not spoken yet
        for name, run in self.world.shim.runs.items():
            if not run.told:
                assert self.core.proc(name).run == run.run
                assert self.core.proc(name).state in ALIVE

    @invariant()
    def I4_births_are_told_before_ends_and_both_once(self) -> None:
        stories: dict[tuple[str, int], list[Fact]] = {}
        for fact in self.world.disk.facts:
            if fact.type in ("started", "exited", "stopped") and fact.data["run"]:
                stories.setdefault((fact.key, fact.data["run"]), []).append(fact)
        for facts in stories.values():
            kinds = [fact.type for fact in facts]
            assert kinds.count("started") <= 1
            assert kinds.count("exited") <= 1
            assert "started" not in kinds[1:]

    @invariant()
    def slots_hold(self) -> None:
        supervisor = self.core.supervisor
        born_late = [proc for proc in supervisor.procs.values() if proc.pid is None and proc.state is State.STARTING]
        slots = [config.settings.maxstarts for config in self.world.disk.generations.values()]
        assert len(born_late) <= max(slots)

    @invariant()
    def what_is_held_is_what_operators_hold(self) -> None:
        supervisor = self.core.supervisor
        for key, proc in supervisor.procs.items():
            assert proc.goal is Goal.GONE or proc.held is supervisor.intents.held(key)

    # The end --------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let the world be kind: what is wanted runs, what is not is gone, then everything goes down."""
        self.world.quiet()
        assert len(self.core.answers) == self.core.requests, "a request is never answered"
        for proc in self.core.supervisor.procs.values():
            if proc.goal is Goal.UP:
                assert proc.state in (State.RUNNING, State.EXITED, State.FATAL), proc
            else:
                assert proc.state is State.STOPPED, proc
        expected = [
            Key(spec.name, index)
            for spec in self.core.supervisor.jobs()
            for index in range(self.core.supervisor.widths[spec.name])
        ]
        assert sorted(self.core.supervisor.procs) == sorted(expected)
        self.core.shut_down()
        self.core.turn()
        self.world.replace_core()
        self.world.quiet()
        numbers = [(int(name.rpartition("/")[2]), name.rpartition("/")[0]) for name in self.world.shim.order]
        by_key = {key: [run for run, other in numbers if other == key] for _, key in numbers}
        assert all(one < other for runs in by_key.values() for one, other in pairwise(runs))
        assert [run for run in self.world.shim.runs.values() if run.leader] == []


DEEP = os.environ.get("TASKMASTER_HYPOTHESIS") == "deep"
TestCrashWalk = CrashWalk.TestCase
TestCrashWalk.settings = settings(max_examples=1500 if DEEP else 40, stateful_step_count=50)
