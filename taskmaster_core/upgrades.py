"""Replace a running shim and core by what is installed now: the operation `upgrade`, from its order to its answer.

Decides what is asked of the shim (which tries both before anything is ended), what is told, and when this core makes
room; what a new version must show is decided in `rehearsal` and in the shim. The core that follows finds the request in
a memo and answers it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from taskmaster_core import __version__, memos, versions
from taskmaster_core.errors import Refused, UsageError
from taskmaster_core.ops import Ops, arg, operator
from taskmaster_core.runtime import Runtime
from taskmaster_core.server import Asked
from taskmaster_core.spec import ALIVE
from taskmaster_core.wire import Cause

REPLACED = 75
"""The exit status of a core that makes room for another (EX_TEMPFAIL)."""

PARTS = ("all", "core", "shim")

Report = dict[str, Any]


class Upgrades:
    """Hold the upgrade under way, and the last one that was finished."""

    def __init__(self, ops: Ops, before: object) -> None:
        ops.upgrade = self.ask
        self._runtime = ops.runtime
        self.leaving = False
        """This core ends, with everything running, because another one is to follow."""
        self._asked: Asked | None = None
        self._what = ""
        self._pids: dict[str, int] = {}
        self._shim: Report = {}
        self._last = _read(before)

    # The request ------------------------------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> None:
        """Begin; the answer comes when all of it is done, or refused."""
        if asked.request.id == self._last.get("id") and "result" in self._last:
            self._runtime.reply(asked, self._last["result"])
            return
        what = arg(asked, "what", str, default="all")
        if what not in PARTS:
            raise UsageError(f"`what` must be one of {', '.join(PARTS)}, not {what[:40]!r}")
        self._check()
        runtime = self._runtime
        self._asked, self._what, self._pids = asked, what, _pids(runtime)
        self._shim = {"version": runtime.facts.shim_release, "pid": runtime.facts.shim_pid}
        order = {"t": "renew", "id": asked.request.id, "shim": what != "core", "core": what != "shim"}
        runtime.order({**order, "wire": versions.WIRE})

    def _check(self) -> None:
        facts = self._runtime.facts
        if self._asked is not None:
            raise Refused("another upgrade is under way", "ask again when it is done")
        if self._runtime.supervisor.shutting_down is not None:
            raise Refused("everything is being stopped")
        if not self._runtime.linked:
            raise Refused("the shim has died, and another one is being started", "ask again in a moment")
        if facts.shim_wire < versions.RENEWS:
            raise Refused(
                f"the shim that runs (release {facts.shim_release}) cannot be renewed in place",
                "stop everything and start it again, once: taskmaster down, then taskmaster up",
            )

    # What the shim says -----------------------------------------------------------------------------------------------

    def heard(self, report: Report) -> None:
        """Take in what came of it."""
        asked = self._asked
        if asked is None or report.get("id") != asked.request.id:
            return
        if not report.get("ok"):
            self._refuse(asked, str(report.get("part") or ""), str(report.get("why") or "no reason was told"))
            return
        result: Report = {"what": self._what, "core": self._core(asked), "shim": {"before": self._shim}}
        result["shim"]["after"] = self._shim
        if self._what != "core":
            self._shim_is_new(asked, report, result)
        if self._what != "shim":
            self._make_room(asked, result)
            return
        self._asked = None
        self._runtime.after_commit(lambda: self._runtime.reply(asked, self._count(result, self._pids)))

    def forsaken(self) -> None:
        """Answer what a shim that died answers no more."""
        if self._asked is not None:
            self._refuse(self._asked, "", "the shim died; another one, of what is installed, is being started")

    def _refuse(self, asked: Asked, part: str, why: str) -> None:
        self._asked = None
        self._runtime.fact("upgrade_refused", operator(asked), part=part, reason=why)
        error = Refused(f"the new {part} cannot take over, the one that runs goes on: {why}" if part else why)
        server = self._runtime.server
        if server is not None:
            self._runtime.after_commit(lambda: server.refuse(asked, error, {"part": part, "reason": why}))

    @staticmethod
    def _core(_: Asked) -> Report:
        us = {"version": __version__, "pid": os.getpid()}
        return {"before": us, "after": us}

    def _shim_is_new(self, asked: Asked, report: Report, result: Report) -> None:
        facts, shim = self._runtime.facts, report["shim"]
        facts.shim_release, facts.shim_wire = str(shim["release"]), int(shim["wire"])
        result["shim"] |= {"after": {"version": facts.shim_release, "pid": facts.shim_pid}, "ms": report.get("ms")}
        old = self._shim["version"]
        self._runtime.fact(
            "upgraded", operator(asked), part="shim", old=old, new=facts.shim_release, ms=report.get("ms"),
            processes=report.get("runs"),
        )  # fmt: skip

    # The next core ----------------------------------------------------------------------------------------------------

    def _make_room(self, asked: Asked, result: Report) -> None:
        """Leave what the next core needs for the answer, and end."""
        memo = {
            "id": asked.request.id, "who": asked.peer.who, "left": self._runtime.now(), "pids": self._pids,
            "begun": result,
        }  # fmt: skip
        self._runtime.order(_memo(memo))
        self.leaving, self._runtime.exit_code = True, REPLACED

    def last_words(self, code: int) -> list[Report]:
        """Return what is said to the shim at the end: nothing if another core is to follow, else that it is the end."""
        return [] if self.leaving else [{"t": "bye", "code": code}]

    def finish(self) -> None:
        """Be the next core: tell that we are there; whoever asked asks again, under the same id, and is answered."""
        begun = self._last.pop("begun", None)
        if begun is None:
            return
        runtime, old = self._runtime, begun["core"]["before"]
        took = round((runtime.now() - self._last["left"]) * 1000, 1)
        begun["core"] |= {"after": {"version": __version__, "pid": os.getpid()}, "ms": took}
        result = self._count(begun, self._last.pop("pids"))
        self._last = {"id": self._last["id"], "who": self._last["who"], "result": result}
        runtime.order(_memo(self._last))
        cause = Cause("operator", who=self._last["who"])
        runtime.fact(
            "upgraded", cause, part="core", old=old["version"], new=__version__, ms=took,
            processes=result["processes"]["kept"],
        )  # fmt: skip

    def _count(self, result: Report, before: dict[str, int]) -> Report:
        now = _pids(self._runtime)
        kept = sum(now.get(key) == pid for key, pid in before.items())
        return {**result, "processes": {"before": len(before), "kept": kept}}


def _pids(runtime: Runtime) -> dict[str, int]:
    procs = runtime.supervisor.procs
    return {str(key): proc.pid for key, proc in procs.items() if proc.state in ALIVE and proc.pid is not None}


def _memo(data: Report) -> Report:
    return {"t": "memo", "key": memos.UPGRADE, "memo": json.dumps(data)}


def _read(text: object) -> Report:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def upgrade(ops: Ops, asked: Asked) -> None:
    """Replace shim and core by what is installed now."""
    ops.upgrade(asked)


TABLE: dict[str, Callable[[Ops, Asked], None]] = {"upgrade": upgrade}
