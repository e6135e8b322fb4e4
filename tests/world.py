"""A shim, a kernel and a core that may die at any point: what docs/shim-protocol.md promises, in memory.

`Shim` carries out frames whole or not at all, numbers its reports and keeps them until they are acknowledged, keeps
memos, and answers `hello`. Births, deaths and the ends of descendants come when a test says so. `Core` is the policy
with the few lines around it that the daemon has: reports in, one frame out, with effects, memos and acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from taskmaster_core import machine as m
from taskmaster_core import memos, shimlink, waits
from taskmaster_core.intents import Intent
from taskmaster_core.machine import Proc
from taskmaster_core.plan import make_plan
from taskmaster_core.spec import Backoff, Config, JobSpec, Key, Settings, State, StopStep, parse_key
from taskmaster_core.supervisor import AllDown, Answer, Fact, Outcomes, Persist, Retune, Supervisor
from taskmaster_core.waits import Settled
from taskmaster_core.wire import Cause, Outcome

Document = dict[str, Any]
BY_HAND = Cause("operator", request="r1")
TERM = 15
JUDGES: dict[type, waits.Judge] = {
    m.Start: waits.started, m.Relaunch: waits.started, m.Stop: waits.stopped, m.Kill: waits.stopped,
}  # fmt: skip


def job(name: str, number: int = 1, **changes: Any) -> JobSpec:
    """Return a job that restarts without jitter and stops by TERM."""
    usual = JobSpec(name, (f"/bin/{name}",), backoff=Backoff(jitter=0.0), stop=(StopStep(TERM, 5.0),))
    return replace(usual, numprocess=number, **changes)


def config(*jobs: JobSpec, **settings: Any) -> Config:
    """Return a config."""
    return Config(jobs, Settings(**settings))


# The shim ------------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One run as the shim holds it."""

    key: str
    run: int
    pid: int
    at: float = 0.0
    born: bool = False
    leader: bool = True
    rest: int = 0
    stopping: bool = False
    killed: bool = False
    killgroup: bool = True
    signals: list[int] = field(default_factory=list)
    end: Document | None = None
    told: bool = False

    @property
    def doomed(self) -> bool:
        return self.stopping or self.killed


class Shim:
    """Hold the runs, the memos and the reports that nobody has acknowledged."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.runs: dict[str, Run] = {}
        self.left: list[Run] = []
        """Descendants of earlier runs of jobs without killgroup."""
        self.memos: dict[str, Any] = {}
        self.reports: list[Document] = []
        self.news: list[Document] = []
        """What the present core has not read yet."""
        self.ended: list[tuple[str, int]] = []
        self.order: list[str] = []
        """Every spawn in the order it came, as "web:0/1"."""
        self.goodbye: int | None = None
        self._number = 0
        self._pids = 100

    def tell(self, **report: Any) -> None:
        self._number += 1
        numbered = {**report, "n": self._number, "at": self.now, "wall": self.now}
        self.reports.append(numbered)
        self.news.append(numbered)

    def hello(self) -> Document:
        """Greet a new core; what was told and not acknowledged comes again."""
        self.news = list(self.reports)
        living = [run for run in self.runs.values() if not run.told]
        shown = [{"key": r.key, "run": r.run, "pid": r.pid, "at": r.at, "stopping": r.stopping} for r in living]
        left = [{"key": r.key, "run": r.run} for r in self.runs.values() if r.told]
        return {"t": "hello", "runs": shown, "left": left, "memos": dict(self.memos)}

    # Orders ------------------------------------------------------------------------------------------------------

    def carry_out(self, frame: Iterable[Document]) -> None:
        for order in frame:
            getattr(self, f"_{order['t']}")(order)

    def _spawn(self, order: Document) -> None:
        key, number = order["key"], order["run"]
        assert (key, number) not in self.ended, f"run {number} of {key} was ordered twice"
        before = self.runs.get(key)
        if before is not None and before.told and not (before.killgroup and order["killgroup"]):
            self.left.append(before)  # its leader is gone, the rest of it is left alone
            before = None
        assert before is None, f"I1: a second copy of {key} beside {before}"
        self._pids += 1
        self.runs[key] = Run(key, number, self._pids, killgroup=order["killgroup"])
        self.order.append(f"{key}/{number}")

    def _run(self, order: Document) -> Run | None:
        run = self.runs.get(order["key"])
        return run if run is not None and run.run == order["run"] else None

    def _signal(self, order: Document) -> None:
        run = self._run(order)
        if run is None:
            return
        run.stopping = run.stopping or order["stopping"]
        run.signals.append(order["sig"])

    def _kill(self, order: Document) -> None:
        run = self._run(order)
        if run is not None:
            run.stopping = run.killed = True
            run.signals.append(9)
            if not run.leader and order["tree"]:
                self.clear(run)
        elif not any((each["key"], each["run"]) == (order["key"], order["run"]) for each in self.reports):
            self.tell(t="exited", key=order["key"], run=order["run"], pid=0, lingering=0)

    def _memo(self, order: Document) -> None:
        if order["memo"] is None:
            self.memos.pop(order["key"], None)
        else:
            self.memos[order["key"]] = order["memo"]

    def _ack(self, order: Document) -> None:
        self.reports = [report for report in self.reports if report["n"] > order["n"]]

    def _bye(self, order: Document) -> None:
        self.goodbye = order["code"]

    def _recipe(self, order: Document) -> None:
        run = self._run(order)
        if run is not None:
            run.killgroup = order["killgroup"]

    # What comes to pass --------------------------------------------------------------------------------------------

    @property
    def unborn(self) -> list[Run]:
        return [run for run in self.runs.values() if not run.born]

    @property
    def living(self) -> list[Run]:
        return [run for run in self.runs.values() if run.born and run.leader]

    def be_born(self, run: Run) -> None:
        run.born, run.at = True, self.now
        self.tell(t="spawned", key=run.key, run=run.run, pid=run.pid)

    def fail(self, run: Run, message: str = "No such file") -> None:
        self._gone(run)
        self.tell(t="failed", key=run.key, run=run.run, stage="exec", errno="ENOENT", message=message)

    def die(self, run: Run, rest: int = 0, **end: Any) -> None:
        """End the leader; of a run being stopped it is told once its tree is gone."""
        run.leader, run.rest, run.end = False, rest, end
        if not rest or (run.doomed and run.killgroup):
            self.clear(run)
        else:
            run.told = True
            self._tell_end(run)

    def clear(self, run: Run) -> None:
        """End what the leader left behind."""
        run.rest = 0
        self._gone(run)
        self._tell_end(run)

    def _tell_end(self, run: Run) -> None:
        self.tell(t="exited", key=run.key, run=run.run, pid=run.pid, lingering=run.rest, **(run.end or {"code": 0}))

    def _gone(self, run: Run) -> None:
        if run in self.left:
            self.left.remove(run)
        else:
            del self.runs[run.key]
        self.ended.append((run.key, run.run))


# The core ------------------------------------------------------------------------------------------------------------


class Disk:
    """Hold what outlives every core: generations and intents."""

    def __init__(self, first: Config) -> None:
        self.generations = {1: first}
        self.intents: dict[str, Intent] = {}
        self.facts: list[Fact] = []

    def keep(self, changes: Iterable[Intent]) -> None:
        for change in changes:
            if change.kind is None:
                self.intents.pop(change.target, None)
            else:
                self.intents[change.target] = change


class Core:
    """Be the daemon: `turn` takes in what the shim said, ticks, and returns the frame that goes out."""

    def __init__(self, shim: Shim, disk: Disk) -> None:
        self.shim = shim
        self.disk = disk
        self.codes: list[int] = []
        """The exit statuses of AllDown: one at most."""
        self.answers: list[Settled] = []
        self.retuned: list[Retune] = []
        self.orders: list[Document] = []
        self.new_facts: list[Fact] = []
        self.requests = 0
        self.acked = 0
        self._core_memo = ""
        self.supervisor = Supervisor(disk.intents.values())
        self._awake(shim.hello())

    def _awake(self, hello: Document) -> None:
        """Come up as `boot.py` does."""
        before = memos.read_core(hello["memos"].get(memos.CORE))
        number = before.generation if before is not None else max(self.disk.generations)
        declared, newest = self.disk.generations[number], max(self.disk.generations)
        self.generation_before = number
        self.acked = before.acked if before is not None else 0
        runs = {run["key"]: run["run"] for run in hello["runs"]}
        policy, now = self.supervisor, self.shim.now
        restored = memos.restore(hello["memos"], declared, runs)
        left = {parse_key(run["key"]): run["run"] for run in hello["left"]}
        policy.boot(declared, number, restored, now, memos.past_runs(hello["memos"]), left=left)
        self.restored = dict(policy.procs)
        self.held = {key for key in policy.procs if policy.intents.kept_down(key)}
        for run in hello["runs"]:
            key, found = shimlink.to_found(run)
            if key not in policy.procs or policy.procs[key].state is State.UNKNOWN:
                policy.found(key, found, now)
        policy.booted(now)
        if newest > number:
            new = self.disk.generations[newest]
            policy.reload(make_plan(declared, new), new, newest, now, Cause("reload", generation=newest))
        if before is not None and before.ending is not None:
            policy.shut_down(before.ending, now, Cause("core"), "everything is being stopped")

    def held_at_boot(self, key: Key) -> bool:
        return key in self.held

    # Turns -------------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in what the shim has said, and acknowledge it in the frame that goes out."""
        reports, self.shim.news = self.shim.news, []
        for report in reports:
            heard = shimlink.to_stimulus(report)
            assert heard is not None
            self.supervisor.report(*heard, self.shim.now)
            self.acked = report["n"]
        if reports:
            self.orders.append({"t": "ack", "n": self.acked})

    def tick(self) -> None:
        due = self.supervisor.deadline
        if due is not None and due <= self.shim.now:
            self.supervisor.tick(self.shim.now)

    def settle(self) -> list[Document]:
        """Return the frame of this turn."""
        while effects := self.supervisor.take():
            for effect in effects:
                self._carry_out(effect)
        self._remember()
        frame, self.orders = self.orders, []
        return frame

    def send(self, frame: list[Document]) -> None:
        """Let the frame arrive, and journal the facts."""
        self.shim.carry_out(frame)
        self.disk.facts += self.new_facts
        self.new_facts = []

    def turn(self) -> None:
        self.hear()
        self.tick()
        self.send(self.settle())

    def _remember(self) -> None:
        for key in sorted(self.supervisor.changed):
            proc = self.supervisor.procs.get(key)
            memo = memos.write(proc) if proc is not None else memos.write_past(self.supervisor.past.get(key, 0))
            self.orders.append({"t": "memo", "key": str(key), "memo": memo})
        self.supervisor.changed.clear()
        text = memos.write_core(self.supervisor.generation, self.acked, self.supervisor.shutting_down)
        if text != self._core_memo:
            self._core_memo = text
            self.orders.append({"t": "memo", "key": memos.CORE, "memo": text})

    def _carry_out(self, effect: Outcomes) -> None:
        match effect:
            case m.Spawn(key, run, spec):
                self.orders.append({"t": "spawn", "key": str(key), "run": run, "killgroup": spec.killgroup})
            case m.Signal(key, run, signum, _, stopping):
                self.orders.append({"t": "signal", "key": str(key), "run": run, "sig": signum, "stopping": stopping})
            case m.KillTree(key, run, tree):
                self.orders.append({"t": "kill", "key": str(key), "run": run, "tree": tree})
            case Retune(key, run, spec):
                self.retuned.append(effect)
                self.orders.append({"t": "recipe", "key": str(key), "run": run, "killgroup": spec.killgroup})
            case Fact():
                self.new_facts.append(effect)
            case Answer(settled):
                self.answers.append(settled)
            case Persist(changes):
                self.disk.keep(changes)
            case m.Forget():
                pass
            case AllDown(code):
                assert not self.codes, "all down was said twice"
                self.codes.append(code)

    # What operators do ---------------------------------------------------------------------------------------------

    def keys(self, *names: str) -> list[Key]:
        """Return the keys of processes and of whole jobs."""
        procs = self.supervisor.procs
        return [key for name in names for key in procs if name in (key.job, str(key), "all")]

    def command(self, stimulus: m.Stimulus, *names: str) -> list[str]:
        """Give a command as `ops.py` does, intents first; return what was refused."""
        policy, keys = self.supervisor, self.keys(*names)
        if isinstance(stimulus, m.Stop | m.Kill):
            self.intend(policy.intents.to_stop(keys, policy.widths))
        elif isinstance(stimulus, m.Start | m.Relaunch):
            self.intend(policy.intents.to_start(keys, policy.widths))
        elif isinstance(stimulus, m.Hold):
            self.intend(policy.intents.to_hold(keys, policy.widths))
        elif isinstance(stimulus, m.Release):
            self.intend(policy.intents.to_release(keys, policy.widths))
        before = {key: policy.procs[key] for key in keys}
        refused = policy.command(keys, stimulus, self.shim.now, BY_HAND, "asked by a test")
        self._wait(stimulus, before, {each.key: each for each in refused})
        return [each.note for each in refused]

    def _wait(self, stimulus: m.Stimulus, before: dict[Key, m.Proc], refused: dict[str, Outcome]) -> None:
        """Wait for the effect as `ops.py` does: what is so already is judged by the run it has."""
        judge = JUDGES.get(type(stimulus))
        if judge is None:
            return
        self.requests += 1
        so = ("stopped",) if judge is waits.stopped else ("pending", "starting", "running")
        bad = [each for each in refused.values() if each.state not in so]
        names = {each.key for each in bad}
        open_ = {key: proc for key, proc in before.items() if str(key) not in names}
        runs = {key: waits.run_before(proc, stimulus, so=str(key) in refused) for key, proc in open_.items()}
        self.supervisor.wait_for(f"r{self.requests}", judge, runs, bad)

    def intend(self, changes: Iterable[Intent]) -> None:
        changes = list(changes)
        self.disk.keep(changes)
        self.supervisor.set_intents(changes)

    def scale(self, name: str, width: int) -> None:
        self.intend([Intent(f"{name}:*", "scale", width)])
        self.supervisor.scale(name, self.shim.now, BY_HAND)

    def reload(self, *jobs: JobSpec, **settings: Any) -> None:
        """Keep a generation and apply it."""
        new = config(*jobs, **settings)
        plan = make_plan(self.supervisor.config, new)
        number = self.supervisor.generation + 1
        self.disk.generations[number] = new
        self.supervisor.reload(plan, new, number, self.shim.now, Cause("reload", generation=number))

    def shut_down(self, code: int = 0, *, fast: bool = False) -> None:
        self.supervisor.shut_down(code, self.shim.now, BY_HAND, "asked by a test", fast=fast)

    # What a test looks at ------------------------------------------------------------------------------------------

    def proc(self, name: str) -> Proc:
        return self.supervisor.procs[parse_key(name)]

    def states(self) -> dict[str, str]:
        return {str(key): proc.state.value for key, proc in sorted(self.supervisor.procs.items())}

    def told(self, kind: str) -> list[str]:
        return [fact.key for fact in self.disk.facts if fact.type == kind]


class World:
    """Hold a shim, a disk and the core that lives now."""

    def __init__(self, *jobs: JobSpec, **settings: Any) -> None:
        self.shim = Shim()
        self.disk = Disk(config(*jobs, **settings))
        self.core = Core(self.shim, self.disk)

    def replace_core(self) -> Core:
        """Let the core die as it stands, and another come."""
        self.core = Core(self.shim, self.disk)
        return self.core

    def born(self) -> None:
        """Let every ordered run be born, and what comes of it happen, until no more are ordered."""
        self.core.turn()
        while self.shim.unborn:
            for run in self.shim.unborn:
                self.shim.be_born(run)
            self.core.turn()

    def die(self, name: str, rest: int = 0, **end: Any) -> None:
        """Let a run end, and the core hear of it."""
        self.shim.die(self.shim.runs[name], rest, **(end or {"code": 1}))
        self.core.turn()

    def wait(self, seconds: float) -> None:
        self.shim.now += seconds
        self.core.turn()

    def obey(self) -> None:
        """Let everything that is to stop do so."""
        self.core.turn()
        while doomed := [run for run in self.shim.living if run.doomed]:
            for run in doomed:
                self.shim.die(run, signal=TERM)
            self.core.turn()

    def quiet(self) -> None:
        """Let the world be kind until nothing more happens by itself; deadlines are waited for."""
        for _ in range(400):
            self.born()
            self.obey()
            due = self.core.supervisor.deadline
            if self.shim.news or self.shim.unborn or any(run.doomed for run in self.shim.living):
                continue
            if due is None:
                return
            self.shim.now = max(self.shim.now, due or 0.0)
        raise AssertionError("it never comes to rest")
