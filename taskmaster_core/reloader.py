"""Reload the config: read it beside the loop, plan, keep the generation, then act (DESIGN §6.4).

Decides when a new config is taken: by hand always, by a save only when it is complete and `autoreload` says so. The
plan itself comes from `plan.py`, what it means from the supervisor. One reload at a time; whoever asks meanwhile shares
the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from taskmaster_core import config, guard, views
from taskmaster_core.config import Loaded
from taskmaster_core.errors import ConfigInvalid, Refused, TaskmasterError
from taskmaster_core.generations import Generations
from taskmaster_core.plan import Plan, leave_out, make_plan
from taskmaster_core.runtime import Runtime
from taskmaster_core.spec import Config, names_job
from taskmaster_core.wire import Cause, PlanView

Told = Callable[["PlanView | None", "TaskmasterError | None"], None]


class Wish(Struct):
    """Hold one wish for a reload: who wants it, what to leave out, whether only the plan is wanted."""

    cause: Cause
    told: Told
    excepted: tuple[str, ...] = ()
    only_plan: bool = False
    by_save: bool = False
    confirmed: bool = False
    """What is protected may be ended too."""


class Reloader:
    """Hold the wishes and what the config files last said."""

    def __init__(
        self, runtime: Runtime, generations: Generations, paths: Sequence[str], environ: dict[str, str]
    ) -> None:
        self._runtime = runtime
        self._generations = generations
        self._paths = paths
        self._environ = environ
        self._wishes: list[Wish] = []
        self._busy = False
        self.problems: list[object] = []
        """What is wrong with the files as they are now; empty when the config in force is what they say."""
        self.pending = 0
        """How much the files would change, if all of them were taken: a save was held back, or jobs were left out."""
        self.texts: dict[str, bytes] = {}
        """The files' bytes as last applied."""
        self.seen: dict[str, bytes] = {}
        """The files' bytes as last read to be taken, whatever came of them."""
        self.tried: tuple[str, ...] = ()
        """The files that were wanted then: one that was not there may come."""
        self.on_read: Callable[[], None] = lambda: None
        """Called when the files were read to be taken, whatever will come of them."""
        self.on_applied: Callable[[], None] = lambda: None
        """Called when a config was taken, by whatever way."""
        self.on_reloaded: Callable[[Cause, int], None] = lambda *_: None
        """Called with the generation before when a new one was applied."""
        self.unsaved: Callable[[], None] | None = None
        """What keeps on disk the config in force, where that has failed."""
        self.say: Callable[[str], None] = lambda *_: None
        """Called with a rendered problem, for stderr."""

    def save_again(self) -> None:
        """Try again to keep on disk what could not be kept; the daemon calls it from time to time."""
        if self.unsaved is not None and not self._busy:
            self._runtime.worker.submit(self.unsaved, self._saved)

    def _saved(self, _: object, failure: BaseException | None) -> None:
        text = f"the applied config could not be kept on disk: {failure}" if failure is not None else ""
        self._runtime.troubles.note("generations", text)
        if failure is None:
            self.unsaved = None

    def ask(self, wish: Wish) -> None:
        """Reload, or plan, as soon as the reload under way is done."""
        self._wishes.append(wish)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if not self._wishes:
            self._busy = False
            return
        self._busy = True
        wish = self._wishes.pop(0)
        if wish.by_save:  # a storm of saves and signals is one reload
            self._wishes = [each for each in self._wishes if not each.by_save]
        self._runtime.worker.submit(self._load, partial(self._loaded, wish))

    def _load(self) -> Loaded:
        loaded = config.load(self._paths, self._environ, privileged=os.geteuid() == 0)
        return replace(loaded, problems=config.discreet(loaded.problems))

    def _loaded(self, wish: Wish, loaded: Loaded | None, failure: BaseException | None) -> None:
        if loaded is None:
            self._fail(wish, f"the config could not be read: {failure!r}")
            return
        if not wish.only_plan:
            self.seen, self.tried = dict(loaded.texts), loaded.tried
            self.on_read()
        if loaded.config is None:
            self._refuse(wish, loaded)
            return
        if wish.by_save and loaded.texts == self.texts:
            self._nothing_new(wish, loaded, loaded.config)
            return
        held = self._held_back(wish, loaded, loaded.config)
        if held:
            self._hold_back(wish, held, make_plan(self._runtime.supervisor.config, loaded.config).count)
            return
        self._consider(wish, loaded, loaded.config)

    def _nothing_new(self, wish: Wish, loaded: Loaded, new: Config) -> None:
        """Leave all as it is: what differs from the files was left out by hand, and a later core knows that too."""
        plan = make_plan(self._runtime.supervisor.config, new)
        self._accepted(loaded, frozenset(change.job for change in plan.changes if change.sign != "="))
        self._end(wish, None, None)

    # What is not taken --------------------------------------------------------------------------------------------

    def _refuse(self, wish: Wish, loaded: Loaded) -> None:
        """Keep the config in force and say everything that is wrong with the new one."""
        problems: list[object] = list(loaded.problems)
        if not wish.only_plan:
            self.problems, self.pending = problems, 0
            first = next(each for each in loaded.problems if each.severity == "error")
            where = f"{first.file}:{first.line}:{first.column}"
            self._runtime.fact(
                "config_error", wish.cause, problems=len(problems), first=f"{where}: {first.message}", code=first.code
            )
            self.say(config.render(loaded.problems, color=False))
        error = ConfigInvalid(
            f"the config has {len(problems)} problem(s); nothing was changed", "see `taskmaster check`"
        )
        error.detail = problems  # type: ignore[attr-defined]
        self._end(wish, None, error)

    def _fail(self, wish: Wish, why: str) -> None:
        """Say that reading itself went wrong, which is no fault of the files: an installation changed under us, say."""
        if not wish.only_plan:
            self.problems = [{"code": "E000", "severity": "error", "message": why}]
            self._runtime.fact("config_error", wish.cause, problems=1, first=why, code="E000")
            self.say(f"taskmaster: {why}\n")
        self._end(wish, None, ConfigInvalid(why))

    def _held_back(self, wish: Wish, loaded: Loaded, new: Config) -> str:
        """Return why a save is not taken by itself although it is valid; "" if it is (RELIABILITY G10, C01, C02)."""
        if wish.cause.kind != "operator" and not wish.only_plan:
            names = self._threatened(make_plan(self._runtime.supervisor.config, new))
            if names:
                return f"it would end what is protected ({', '.join(names)}): `taskmaster reload` asks, and applies it"
        return self._doubted(loaded, new) if wish.by_save else ""

    def _threatened(self, plan: Plan) -> list[str]:
        return guard.threatened(plan, self._runtime.supervisor.processes_of)

    def _doubted(self, loaded: Loaded, new: Config) -> str:
        now = self._runtime.supervisor.config
        for path, text in loaded.texts.items():
            before = self.texts.get(path, b"")
            if before and config.shrunk(before, text) and self._removes(loaded):
                return (
                    f"{path} is empty or cut short and would remove jobs: `taskmaster reload` applies it all the same"
                )
        waits = now.settings.autoreload == "ask" and not make_plan(now, new).empty
        return "autoreload is ask: `taskmaster reload` applies it" if waits else ""

    def _removes(self, loaded: Loaded) -> bool:
        names = {job.name for job in loaded.config.jobs} if loaded.config is not None else set()
        return any(job.name not in names for job in self._runtime.supervisor.config.jobs)

    def _hold_back(self, wish: Wish, reason: str, pending: int) -> None:
        self.pending = pending
        self.problems = [{"code": "W201", "severity": "warning", "message": reason}]
        self._runtime.fact("reload_refused", wish.cause, reason=reason, pending=pending)
        self.say(f"taskmaster: {reason}\n")
        self._end(wish, None, Refused(reason))

    # What is taken ------------------------------------------------------------------------------------------------

    def _consider(self, wish: Wish, loaded: Loaded, new: Config) -> None:
        supervisor = self._runtime.supervisor
        plan = make_plan(supervisor.config, new)
        excepted = self._excepted(plan, wish.excepted)
        changed = frozenset(change.job for change in plan.changes if change.sign != "=")
        chosen = leave_out(plan, lambda change: change.job in excepted)
        threatened = self._threatened(chosen)
        if wish.only_plan:
            self._end(wish, replace(views.plan_view(plan, supervisor, None, excepted), protected=threatened), None)
            return
        if threatened and not wish.confirmed:
            self._end(wish, None, guard.refusal(threatened, "this reload"))
            return
        shown = views.plan_view(plan, supervisor, supervisor.generation, excepted)
        shown.warnings = list(loaded.problems)
        known = plan.empty or loaded.texts == self.texts
        if chosen.empty and known:  # not known: a later core must know what was left out, so that is a generation
            self._accepted(loaded, excepted & changed)
            self._end(wish, shown, None)
            return
        self._keep(wish, loaded, new, chosen, shown, excepted & changed)

    @staticmethod
    def _excepted(plan: Plan, selectors: Sequence[str]) -> frozenset[str]:
        def left_out(name: str, tags: tuple[str, ...]) -> bool:
            return any(names_job(selector, name, tags) for selector in selectors)

        specs = ((change.job, change.new or change.old) for change in plan.changes)
        return frozenset(name for name, spec in specs if spec is not None and left_out(name, spec.tags))

    def _keep(
        self, wish: Wish, loaded: Loaded, new: Config, plan: Plan, shown: PlanView, excepted: frozenset[str]
    ) -> None:
        """Keep the generation on disk before anything of it is done, so that a core that dies here is continued."""
        number = self._runtime.supervisor.generation + 1
        resolved = _resolved(plan, new)
        save = partial(self._generations.save, number, resolved, loaded.texts, wish.cause.text or wish.cause.kind)
        self.unsaved = save
        self._runtime.worker.submit(save, partial(self._apply, wish, loaded, new, plan, shown, excepted, number))

    def _apply(
        self, wish: Wish, loaded: Loaded, new: Config, plan: Plan, shown: PlanView, excepted: frozenset[str],
        number: int, _: object, failure: BaseException | None,
    ) -> None:  # fmt: skip
        runtime = self._runtime
        self._saved(None, failure)
        counts = {sign: sum(change.sign == sign for change in plan.changes) for sign in "+~-="}
        applied = Cause(
            "reload", request=wish.cause.request, who=wish.cause.who, generation=number, text=wish.cause.text
        )
        runtime.fact(
            "reloaded", applied, generation=number, added=counts["+"], changed=counts["~"], removed=counts["-"],
            same=counts["="],
        )  # fmt: skip
        self.on_reloaded(applied, runtime.supervisor.generation)
        runtime.supervisor.reload(plan, new, number, runtime.now(), applied)
        runtime.order(runtime.core_memo())
        self._accepted(loaded, excepted)
        shown.generation = number
        self._end(wish, shown, None)

    def _accepted(self, loaded: Loaded, excepted: frozenset[str]) -> None:
        self.texts = dict(loaded.texts)
        self.pending = len(excepted)
        self.problems = list(loaded.problems)
        if excepted:
            names = ", ".join(sorted(excepted))
            self.problems.append({"code": "W202", "severity": "warning", "message": f"left out of the reload: {names}"})
        self.on_applied()

    def _end(self, wish: Wish, shown: PlanView | None, error: TaskmasterError | None) -> None:
        wish.told(shown, error)
        self._next()


def _resolved(plan: Plan, new: Config) -> Config:
    from_plan = tuple(change.new for change in plan.changes if change.new is not None)
    return Config(from_plan, new.settings, new.files)
