"""Random walks of one process in a stubborn world: commands, reports and deadlines in any order.

The world is a small model of the shim: births and deaths take their time, reports wait in a queue and come twice,
TERM may be ignored, KILL may take long, descendants stay behind, the link breaks. The machine may do what it likes as
long as the invariants hold (RELIABILITY §7): I1 at most one copy, I2 every living run is known, I4 births before ends,
never stuck, and no SIGKILL before its time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from taskmaster_core import machine as m
from taskmaster_core.spec import ALIVE, Exit, Goal, Restart, State
from tests.samples import CLEAN, FAILED, KEY, KILLED, NO_SUCH_FILE, ctx, spec

RECIPE = [(2, 3.0), (15, 5.0)]
PATIENCE = sum(delay for _, delay in RECIPE)
ENDS = st.sampled_from([CLEAN, FAILED, KILLED, Exit()])


@dataclass
class Run:
    """One run as the shim knows it."""

    number: int
    pid: int
    born: float | None = None
    leader: bool = False
    rest: int = 0
    """Descendants that live on without their leader."""
    termed: float | None = None
    """When the first stop signal came."""
    killed: bool = False
    end: Exit | None = None

    @property
    def living(self) -> bool:
        return self.leader or self.rest > 0


@dataclass
class World:
    """The shim and the kernel behind it."""

    runs: dict[int, Run] = field(default_factory=dict)
    ordered: list[int] = field(default_factory=list)
    reports: list[m.Stimulus] = field(default_factory=list)
    silent: bool = False

    def run(self, number: int) -> Run:
        return self.runs[number]

    @property
    def living(self) -> list[Run]:
        return [run for run in self.runs.values() if run.living]

    @property
    def leaders(self) -> list[Run]:
        return [run for run in self.runs.values() if run.leader]

    def tell(self, report: m.Stimulus) -> None:
        if not self.silent:
            self.reports.append(report)

    def be_born(self, now: float) -> None:
        run = self.run(self.ordered.pop(0))
        run.leader, run.born = True, now
        self.tell(m.Spawned(run.number, run.pid, now))

    def fail_to_be_born(self) -> None:
        self.tell(m.SpawnFailed(self.ordered.pop(0), NO_SUCH_FILE))

    def die(self, run: Run, end: Exit, rest: int) -> None:
        """End the leader. Of a run being stopped it is told once the tree is gone (docs/shim-protocol.md)."""
        run.leader, run.rest, run.end = False, rest, end
        if run.termed is not None:
            self.clear(run)
        else:
            self.tell(m.Exited(run.number, end, lingering=rest))

    def clear(self, run: Run) -> None:
        """End what a run left behind; its end is told a second time."""
        run.rest = 0
        self.tell(m.Exited(run.number, run.end or KILLED))


class Walk(RuleBasedStateMachine):
    """One process, one world, and whatever comes to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.world = World()
        self.told: list[tuple[int, str]] = []
        self.old_reports: list[m.Stimulus] = []
        self.kill_asked = False
        self.forgotten = False
        self.wanted = Goal.DOWN
        self.proc = m.Proc(KEY, spec())

    @initialize(
        policy=st.sampled_from(Restart), retry=st.sampled_from([None, 0, 2]), delay=st.sampled_from([0.0, 4.0]),
        goal=st.sampled_from([Goal.UP, Goal.UP, Goal.DOWN]),
    )  # fmt: skip
    def begin(self, policy: Restart, retry: int | None, delay: float, goal: Goal) -> None:
        job = spec(restart=policy, retry=retry, successdelay=delay, stop=RECIPE)
        self.proc = m.Proc(KEY, job, goal=goal, state=State.UNKNOWN)
        self.wanted = goal
        self.give(m.NotFound())

    # The interpreter ------------------------------------------------------------------------------------------------

    def give(self, stimulus: m.Stimulus) -> m.Step:
        found = m.step(self.proc, stimulus, ctx(self.now))
        if found.refused:
            assert found.proc == self.proc
            assert not found.effects
        else:
            self.wanted = self.wish(stimulus)
        self.proc = found.proc
        for effect in found.effects:
            self.carry_out(effect)
        return found

    def wish(self, stimulus: m.Stimulus) -> Goal:
        """Return the goal after a command that was not refused; nothing else changes it."""
        match stimulus:
            case m.Remove():
                return Goal.GONE
            case m.Readmit() if self.wanted is Goal.GONE:
                return stimulus.goal
            case m.Start() | m.Relaunch():
                return Goal.UP
            case m.Stop() | m.Kill() if self.wanted is not Goal.GONE:
                return Goal.DOWN
            case m.Reset() if self.proc.state is State.FATAL:
                return Goal.DOWN
        return self.wanted

    def carry_out(self, effect: m.Effect) -> None:
        match effect:
            case m.Spawn():
                self.spawn(effect)
            case m.Signal():
                self.signal(effect)
            case m.KillTree():
                self.kill_tree(effect)
            case m.Emit():
                self.told.append((effect.data["run"], effect.type))
            case m.Forget():
                assert not self.world.living, "forgot what lives"
                assert self.proc.goal is Goal.GONE
                self.forgotten = True

    def spawn(self, effect: m.Spawn) -> None:
        assert not self.world.living, f"I1: a second copy beside {self.world.living}"
        assert not self.world.ordered, "I1: a second copy beside one on its way"
        assert effect.run not in self.world.runs, "a run was used twice"
        self.world.runs[effect.run] = Run(effect.run, 4000 + effect.run)
        self.world.ordered.append(effect.run)
        self.kill_asked = False

    def signal(self, effect: m.Signal) -> None:
        run = self.world.runs[effect.run]
        if effect.stopping and run.termed is None:
            run.termed = self.now

    def kill_tree(self, effect: m.KillTree) -> None:
        run = self.world.runs[effect.run]
        if run.leader and not self.kill_asked:
            assert run.termed is not None, "SIGKILL without a stop signal before it"
            assert self.now - run.termed >= PATIENCE, "SIGKILL before the recipe's delays were over"
        if run.termed is None:
            run.termed = self.now
        run.killed = True

    @property
    def listens(self) -> bool:
        """Without a shim a core gives no orders; commands to what is unknown change the goal."""
        return not self.forgotten and (self.proc.state is State.UNKNOWN or not self.world.silent)

    # Commands -------------------------------------------------------------------------------------------------------

    @rule(command=st.sampled_from([m.Start(), m.Stop(), m.Relaunch(), m.Reset(), m.Send(10), m.Hold(), m.Release()]))
    @precondition(lambda self: self.listens)
    def command(self, command: m.Stimulus) -> None:
        self.give(command)

    @rule()
    @precondition(lambda self: self.listens)
    def kill(self) -> None:
        self.kill_asked = self.kill_asked or self.proc.state in ALIVE
        self.give(m.Kill())

    @rule(really=st.integers(0, 9))
    @precondition(lambda self: self.listens)
    def remove(self, really: int) -> None:
        if really == 0:
            self.give(m.Remove())

    @rule(goal=st.sampled_from([Goal.UP, Goal.DOWN]))
    @precondition(lambda self: self.proc.goal is Goal.GONE and not self.forgotten)
    def readmit(self, goal: Goal) -> None:
        self.give(m.Readmit(goal))

    @rule(delay=st.sampled_from([0.0, 4.0]), relaunch=st.booleans())
    @precondition(lambda self: self.listens)
    def reconfigure(self, delay: float, relaunch: bool) -> None:
        self.proc = replace(self.proc, spec=replace(self.proc.spec, successdelay=delay))
        self.give(m.Reconfigured(relaunch))

    @rule()
    @precondition(lambda self: self.proc.state is State.PENDING and not self.world.silent)
    def open_gate(self) -> None:
        self.give(m.GateOpened())

    @rule(times=st.integers(1, 5))
    def nothing_goes_wrong(self, times: int) -> None:
        """Without this most walks would end before the first birth."""
        for _ in range(times):
            if self.world.reports:
                self.hear()
            elif self.world.ordered:
                self.world.be_born(self.now)
            elif self.proc.state is State.PENDING and not self.world.silent:
                self.give(m.GateOpened())

    # The world ------------------------------------------------------------------------------------------------------

    @rule()
    @precondition(lambda self: self.world.ordered)
    def birth(self) -> None:
        self.world.be_born(self.now)

    @rule()
    @precondition(lambda self: self.world.ordered)
    def stillbirth(self) -> None:
        self.world.fail_to_be_born()

    @rule(end=ENDS, rest=st.integers(0, 2))
    @precondition(lambda self: self.world.leaders)
    def death(self, end: Exit, rest: int) -> None:
        self.world.die(self.world.leaders[0], end, rest)

    @rule()
    @precondition(lambda self: any(run.rest and not run.leader for run in self.world.runs.values()))
    def the_rest_ends_by_itself(self) -> None:
        self.world.clear(next(run for run in self.world.runs.values() if run.rest and not run.leader))

    @rule()
    @precondition(lambda self: any(run.killed and run.living for run in self.world.runs.values()))
    def sigkill_works(self) -> None:
        run = next(run for run in self.world.runs.values() if run.killed and run.living)
        if run.leader:
            self.world.die(run, KILLED, 0)
        else:
            self.world.clear(run)

    @rule()
    @precondition(lambda self: self.world.reports)
    def hear(self) -> None:
        self.old_reports.append(self.world.reports.pop(0))
        self.give(self.old_reports[-1])

    @rule(last=st.integers(1, 6))
    @precondition(lambda self: self.old_reports)
    def hear_again(self, last: int) -> None:
        """A new core hears again, in order, what the last one took in and did not acknowledge."""
        for report in self.old_reports[-last:]:
            self.give(report)

    @rule(pids=st.just((7,)))
    @precondition(lambda self: any(run.killed and run.living for run in self.world.runs.values()))
    def does_not_die(self, pids: tuple[int, ...]) -> None:
        run = next(run for run in self.world.runs.values() if run.killed and run.living)
        self.world.tell(m.Unkillable(run.number, pids))

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 4.0, 11.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.look_at_the_deadline()

    def look_at_the_deadline(self) -> bool:
        if self.proc.deadline is None or self.proc.deadline > self.now or self.world.silent:
            return False
        self.proc = replace(self.proc, deadline=None)  # as the supervisor does: each deadline is told once
        self.give(m.Deadline())
        return True

    @rule()
    @precondition(lambda self: not self.world.silent and self.proc.state in ALIVE)
    def link_breaks(self) -> None:
        """The shim is gone; what it had not told is lost, what it had been ordered may come to be or not."""
        self.world.silent = True
        self.world.reports.clear()
        self.old_reports.clear()
        self.give(m.LinkLost())

    @rule(born=st.booleans())
    @precondition(lambda self: self.world.silent)
    def link_is_back(self, born: bool) -> None:
        while self.world.ordered:
            self.world.be_born(self.now) if born else self.world.fail_to_be_born()
        self.world.silent = False
        for run in self.world.runs.values():
            if not run.leader:
                run.rest = 0  # the next shim ends what it finds without a leader
        self.say_what_lives()

    def say_what_lives(self) -> None:
        run = next(iter(self.world.leaders), None)
        if run is None:
            self.give(m.NotFound())
        else:
            self.give(m.Found(run.number, run.pid, run.born or self.now, stopping=run.termed is not None))
        if self.proc.state is State.STARTING and self.proc.pid is None:
            raise AssertionError("a start was lost with the link")

    # What must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def I1_there_is_one_copy_at_most(self) -> None:
        assert len(self.world.leaders) + len(self.world.ordered) <= 1

    @invariant()
    def I2_every_living_run_is_known(self) -> None:
        for run in self.world.leaders:
            assert run.number == self.proc.run
            assert self.proc.state in ALIVE or self.proc.state is State.UNKNOWN

    @invariant()
    def I4_births_are_told_once_and_before_ends(self) -> None:
        for number in {run for run, _ in self.told}:
            story = [kind for run, kind in self.told if run == number]
            assert story.count("started") <= 1
            if "exited" in story:
                assert "started" in story or "adopted" in story
                assert story.count("exited") == 1

    @invariant()
    def the_last_command_wins(self) -> None:
        assert self.proc.goal is self.wanted

    @invariant()
    def nothing_is_ever_stuck(self) -> None:
        proc = self.proc
        awaited = bool(self.world.ordered or self.world.reports or self.world.living)
        match proc.state:
            case State.STARTING | State.STOPPING:
                assert proc.deadline is not None or awaited
            case State.RUNNING:
                assert awaited
                assert proc.goal is Goal.UP
                assert proc.pid is not None
            case State.BACKOFF:
                assert proc.deadline is not None
                assert proc.goal is Goal.UP
            case State.PENDING:
                assert proc.goal is Goal.UP
            case State.STOPPED:
                assert proc.goal is not Goal.UP or self.forgotten
            case State.UNKNOWN:
                assert self.world.silent
            case State.EXITED | State.FATAL:
                assert proc.goal is Goal.UP

    @invariant()
    def nothing_is_tried_again_while_held(self) -> None:
        assert not self.proc.held or self.proc.state is not State.BACKOFF
        assert not self.proc.owed or self.proc.held
        assert self.proc.streak >= 0
        assert self.proc.restarts >= 0

    @invariant()
    def only_the_living_have_a_pid(self) -> None:
        if self.proc.state not in ALIVE and self.proc.state is not State.UNKNOWN:
            assert self.proc.pid is None

    # The end --------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Let the world be kind: wanted down, it ends stopped; wanted up, it ends running."""
        if self.world.silent:
            self.link_is_back(born=True)
        if self.forgotten:
            return
        if self.proc.goal is Goal.GONE:
            self.quiet_down()
            assert self.told_to_forget()
            return
        self.give(m.Stop())
        assert self.quiet_down() is State.STOPPED
        assert not self.world.living
        self.give(m.Start())
        assert self.quiet_down() is State.RUNNING

    def told_to_forget(self) -> bool:
        return self.forgotten

    def quiet_down(self) -> State:
        for _ in range(100):
            if not self.one_kind_thing():
                return self.proc.state
        raise AssertionError("it never comes to rest")

    def one_kind_thing(self) -> bool:
        """Let one thing happen that lies at hand; tell whether there was one."""
        world = self.world
        if world.reports:
            self.hear()
        elif world.ordered:
            world.be_born(self.now)
        elif self.proc.state is State.PENDING:
            self.give(m.GateOpened())
        elif doomed := [run for run in world.living if run.killed or run.termed is not None]:
            world.die(doomed[0], CLEAN, 0) if doomed[0].leader else world.clear(doomed[0])
        elif self.proc.deadline is not None:
            self.now = max(self.now, self.proc.deadline)
            self.look_at_the_deadline()
        else:
            return False
        return True


TestWalk = Walk.TestCase
DEEP = os.environ.get("TASKMASTER_HYPOTHESIS") == "deep"
TestWalk.settings = settings(max_examples=5000 if DEEP else 250, stateful_step_count=50, report_multiple_bugs=False)
