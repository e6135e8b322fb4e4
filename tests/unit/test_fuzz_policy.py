"""The walk of the core that dies anywhere, in a harder world: shims die too, and the machine sleeps (G5, K02, I1-I4).

`test_supervisor_crash.py` has commands, births, deaths, reloads and deaths of the core. Here the shim is killed at any
moment, with runs on their way that come to be or do not, and nights pass between any two turns. What must hold is the
same: one copy at most, every run known, births before ends, every request answered, and rest in the end.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from taskmaster_core import machine as m
from taskmaster_core.spec import Exit, Key, parse_key
from tests.unit.test_supervisor_crash import COMMANDS, DEEP, TARGETS, CrashWalk
from tests.world import Run

UNSEEN = Exit(message="not known how")


class HardWalk(CrashWalk):
    """Let anything happen, the core and the shim die anywhere, and time stand still for nobody."""

    @rule(seconds=st.sampled_from([30.0, 8 * 3600.0, 400 * 86400.0]))
    def machine_sleeps(self, seconds: float) -> None:
        self.world.shim.now += seconds

    @rule(
        data=st.data(), comes=st.booleans(), hears=st.booleans(), command=st.none() | COMMANDS, whom=TARGETS,
        seconds=st.sampled_from([0.0, 1.0, 600.0]),
    )  # fmt: skip
    def shim_dies(
        self, data: st.DataObject, comes: bool, hears: bool, command: m.Stimulus | None, whom: str, seconds: float
    ) -> None:
        """Kill the shim, go on without, and find another: unborn runs come to be or not, some end unseen."""
        core, shim = self.core, self.world.shim
        if hears:
            core.hear()
        self.remember(core.settle())  # what was decided for it is void
        core.supervisor.link_lost(shim.now)
        shim.reports.clear()
        shim.news.clear()
        for run in tuple(shim.runs.values()):
            self.befalls(run, comes=comes, ends=data.draw(st.integers(0, 3)) == 0)
        shim.left.clear()
        if command is not None:
            core.command(command, whom)
        shim.now += seconds
        core.tick()
        meanwhile = core.settle()
        found = {
            parse_key(run.key): m.Found(run.run, run.pid, run.at, stopping=run.stopping) for run in shim.runs.values()
        }
        core.supervisor.link_found(found, shim.now, self.unseen)
        core.send([*(order for order in meanwhile if order["t"] != "ack"), *core.settle()])
        self.turn()

    def remember(self, frame: list[dict[str, object]]) -> None:
        """Keep the memos of a frame that nobody carried out, and the facts it tells of."""
        self.core.send([order for order in frame if order["t"] == "memo"])

    def befalls(self, run: Run, *, comes: bool, ends: bool) -> None:
        shim = self.world.shim
        if not run.born and comes:
            run.born, run.at = True, shim.now
        if not run.born or not run.leader or ends:
            shim._gone(run)  # never came to be, was swept by the next shim, or ended while nobody looked

    @staticmethod
    def unseen(key: Key, run: int) -> m.Exited:
        return m.Exited(run, UNSEEN)


TestHardWalk = HardWalk.TestCase
TestHardWalk.settings = settings(max_examples=400 if DEEP else 40, stateful_step_count=50)
