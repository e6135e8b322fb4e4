"""A core gone mad, for the random walk: whatever it is asked it answers, lately, wrongly or not at all.

Decides by a seed which jobs there are, what is published and what each request is answered; says nothing of what is
right. Names, output and reasons hold what a hostile program would put into them.
"""

from __future__ import annotations

import random
import time
from typing import Any

from taskmaster_core.errors import NoSuchJob, Refused, TaskmasterError, TimedOut, UsageError
from tests.fakecore import FakeCore, Raw, done, event, job, process, status
from tests.tui.support import ACTS

STATES = ("running", "starting", "stopping", "stopped", "exited", "backoff", "fatal", "pending", "unknown")
NAMES = (
    "web",
    "worker",
    "mailer",
    "cron",
    "a",
    "x" * 70,
    "日本語のジョブ",
    "👩\u200d👩\u200d👧\u200d👦-family",
    "[red]markup[/]",
    "[/]",
    "esc\x1b[31mape",
    "new\nline",
    "tab\tbed",
    "rtl\u202eevil",
    "zero\u200bwidth",
    "é" * 30,
    "-dash",
    "a b",
    "'quoted\"",
    "=",
)
GARBAGE = (
    "",
    "ok",
    "ERROR at line 7",
    "[bold]not markup[/bold] [/x]",
    "\x1b[31mred\x1b[0m \x1b[2J\x1b]0;owned\x07",
    "日本語" * 30,
    "👨\u200d👩\u200d👧 emoji ✔\ufe0f",
    "\x00\x01\x02",
    "x" * 9000,
    "\r\rback\bspace",
    "\ttab\ttab",
    "é" * 40,
    "\U0001d518\U0001d52b",
    "\u202ertl",
)
EVENTS = (
    "started",
    "running",
    "exited",
    "failed",
    "backoff",
    "fatal",
    "stopping",
    "stopped",
    "killed",
    "unkillable",
    "removed",
    "added",
    "scaled",
    "reset",
    "held",
    "released",
    "adopted",
    "reloaded",
    "reload_refused",
    "config_error",
    "core_started",
    "core_ready",
    "shutdown",
    "intent",
    "log_trouble",
    "journal_trouble",
    "watch_trouble",
    "of_the_future",
)
NUMBERS = (0, 1, 2, 78, 255, -1, 10**6, 2**31)


class Chaos:
    """Hold the seed, the jobs and the output, and play on a fake core."""

    def __init__(self, core: FakeCore, seed: int) -> None:
        self.core, self.dice = core, random.Random(seed)
        self.jobs: list[dict[str, Any]] = []
        self.lines: list[tuple[str, str, bytes]] = []
        self.n, self.generation = 0, 1
        self.problems: list[dict[str, Any]] = []
        self.unkind = 0.25
        self.populate(6)
        for op, answer in {
            "status": self._status,
            "logs": self._logs,
            "find": self._find,
            "show": self._show,
            "why": self._why,
            "config": self._config,
            "events": self._events,
            "reload": self._reload,
            "undo": self._undo,
            "generations": self._generations,
            "generation": self._generation,
            **dict.fromkeys(ACTS, self._done),
        }.items():
            core.on(op, self._mad(answer) if op not in ("status", "config") else answer)

    # The jobs ---------------------------------------------------------------------------------------------------------

    def populate(self, count: int) -> None:
        """Have so many jobs, all others are gone."""
        names = list(NAMES) if count <= len(NAMES) else [*NAMES, *(f"job-{n}" for n in range(count - len(NAMES)))]
        self.dice.shuffle(names)
        self.jobs = [self._job(name) for name in names[:count]]

    def _job(self, name: str) -> dict[str, Any]:
        dice = self.dice
        wide = dice.choice((0, 1, 1, 1, 2, 4, 60)) if len(self.jobs) < 40 else 1
        spec: dict[str, Any] = {"cmd": dice.choice(GARBAGE), "tags": ["front"], "protected": dice.random() < 0.2}
        return job(name, *(self._process(f"{name}:{n}") for n in range(wide)), spec=spec)

    def _process(self, key: str) -> dict[str, Any]:
        dice = self.dice
        end = dice.choice(
            (
                None,
                {"code": dice.choice(NUMBERS), "signal": None},
                {"code": None, "signal": "SIGKILL"},
                {"code": None, "signal": None, "error": {"stage": "exec", "errno": "ENOENT", "message": "\x1b[1mno"}},
            )
        )
        now = time.time()
        return process(
            key,
            dice.choice(STATES),
            reason=dice.choice(GARBAGE),
            tries=dice.choice((0, 1, 5, 10**6)),
            exit=end,
            restarts=dice.choice((0, 3, 2**31)),
            held=dice.random() < 0.1,
            goal=dice.choice(("up", "down")),
            since=dice.choice((now, now - 9, now - 10**7, now + 100, 0.0)),
            run=dice.choice((0, 1, 10**6)),
            next_start_at=dice.choice((None, now + 8, now - 8)),
            lingering=dice.choice((0, 0, 3)),
            cpu=dice.choice((None, 0.0, 99.5, 6400.0)),
            rss=dice.choice((None, 0, 310 << 20, 1 << 45)),
        )

    def reshape(self) -> None:
        """Add, remove, rename or widen a job, or have another crowd."""
        dice = self.dice
        what = dice.choice(("add", "remove", "rename", "widen", "reorder", "none", "crowd", "few"))
        if what in ("none", "crowd", "few"):
            self.populate({"none": 0, "crowd": 300, "few": 6}[what])
        elif what == "add" or not self.jobs:
            free = [name for name in NAMES if name not in {each["name"] for each in self.jobs}]
            self.jobs.insert(
                dice.randrange(len(self.jobs) + 1), self._job(dice.choice(free or [f"job-{self.n + 1000}"]))
            )
        elif what == "remove":
            self.jobs.pop(dice.randrange(len(self.jobs)))
        elif what == "reorder":
            self.jobs = dice.sample(self.jobs, len(self.jobs))
        else:
            at = dice.randrange(len(self.jobs))
            name = self.jobs[at]["name"] if what == "widen" else f"renamed-{self.core.seq}"
            if name not in {each["name"] for each in self.jobs if each is not self.jobs[at]}:
                self.jobs[at] = self._job(name)
        self.tell("reloaded", "")

    # What is published ------------------------------------------------------------------------------------------------

    def tell(self, kind: str, key: str) -> None:
        """Publish an event."""
        self.core.seq += 1
        data = {
            "run": 3,
            "state": "backoff",
            "code": 1,
            "expected": False,
            "to": 3,
            "reason": self.dice.choice(GARBAGE),
        }
        self.core.publish(f"event.{kind}", event(self.core.seq, kind, key, self.core.boot, **data))

    def key(self) -> str:
        """Return some process, or one that does not exist."""
        keys = [each["key"] for one in self.jobs for each in one["processes"]]
        return self.dice.choice(keys) if keys and self.dice.random() < 0.95 else "ghost:9"

    def happen(self) -> None:
        """Let something happen."""
        dice, core = self.dice, self.core
        what = dice.choice(
            ("states", "states", "shape", "events", "flood", "log", "metrics", "gap", "gone", "problems")
        )
        if what == "shape":
            self.reshape()
        elif what in ("states", "gone"):
            self._states(gone=what == "gone")
        elif what in ("events", "flood"):
            for _ in range(3 if what == "events" else 400):
                self.tell(dice.choice(EVENTS), dice.choice((self.key(), "", dice.choice(NAMES))))
        elif what == "log":
            self._grow(dice.choice((1, 5, 2000)))
        elif what == "metrics":
            keys = {
                each["key"]: [dice.choice((0.0, 50.5, 6400.0)), dice.choice((0, 1 << 20, 1 << 45))]
                for one in self.jobs
                for each in one["processes"]
            }
            core.publish("metrics", {"boot": core.boot, "at": time.time(), "interval": 1.0, "processes": keys})
        elif what == "gap":
            core.seq += dice.choice((1, 5, 3000))
        else:
            self._break_config()

    def _states(self, *, gone: bool) -> None:
        for one in self.jobs:
            one["processes"] = [self._process(each["key"]) for each in one["processes"]]
        views = [each for one in self.jobs for each in one["processes"]][:50]
        self.n += self.dice.choice((1, 1, 1, 2))
        lost = [self.key()] if gone else []
        body = {"boot": self.core.boot, "seq": self.core.seq, "n": self.n, "processes": views, "gone": lost}
        self.core.publish("state", body)

    def _grow(self, count: int) -> None:
        key = self.key()
        for _ in range(count):
            stream = self.dice.choice(("out", "err"))
            self.lines.append((key, stream, self.dice.choice(GARBAGE).replace("\n", "").encode("utf-8", "replace")))
        self.core.publish(f"log.{key}", {"key": key, "stream": "out", "path": "/x", "size": len(self.lines)})

    def _break_config(self) -> None:
        one = {
            "code": "E1",
            "file": "/etc/t.toml",
            "line": 3,
            "column": 2,
            "width": 4,
            "severity": "error",
            "text": "cmd = \x1b[1m1",
            "message": self.dice.choice(GARBAGE),
            "help": "[b]write[/b] something",
        }
        self.problems = self.dice.choice(([], [one], [one, {}], [one] * 50))
        self.tell("config_error" if self.problems else "reloaded", "")

    # What is answered -------------------------------------------------------------------------------------------------

    def _mad(self, answer: Any) -> Any:
        def answered(request: dict[str, Any]) -> Any:
            dice = self.dice
            if dice.random() > self.unkind:
                return answer(request)
            wrong: tuple[TaskmasterError, ...] = (
                Refused("[b]no[/b] \x1b[31mnever\x1b[0m", "ask\nagain"),
                UsageError("x" * 500),
                NoSuchJob("what?"),
                TimedOut("too late"),
                TaskmasterError("\x1b]0;owned\x07"),
            )
            if dice.random() < 0.5:
                raise dice.choice(wrong)
            if dice.random() < 0.5:
                time.sleep(0.05)  # late; the thread of the core, not the loop
                return answer(request)
            return ...

        return answered

    def _status(self, request: dict[str, Any]) -> Any:
        return status(
            *self.jobs,
            boot=self.core.boot,
            seq=self.core.seq,
            batches=self.n,
            generation=self.generation,
            config_problems=self.problems,
            troubles=["disk [full]"],
            pending=len(self.problems),
        )

    def _done(self, request: dict[str, Any]) -> Any:
        dice = self.dice
        return done(
            *(
                {"key": key, "ok": dice.random() < 0.7, "state": dice.choice(STATES), "note": dice.choice(GARBAGE)}
                for key in request["select"]
            )
        )

    def _show(self, request: dict[str, Any]) -> Any:
        names = {name.rpartition(":")[0] or name for name in request["select"]} | set(request["select"])
        return {
            "jobs": [
                {
                    "job": each,
                    "intents": ["\x1b[1mscaled"],
                    "by_hand": [],
                    "paths": {},
                    "files": {},
                    "env": ["A", "[b]"],
                }
                for each in self.jobs
                if not names or each["name"] in names
            ]
        }

    def _why(self, request: dict[str, Any]) -> Any:
        return {
            "processes": [
                {"key": key, "state": "fatal", "goal": "up", "chain": list(GARBAGE[:4]), "next": "[/]"}
                for key in request["select"]
            ]
        }

    def _config(self, request: dict[str, Any]) -> Any:
        jobs = [{"name": each["name"], "cmd": each["spec"]["cmd"], "env": {"A": "[x]"}} for each in self.jobs]
        return {"files": ["/etc/t.toml"], "generation": self.generation, "settings": {}, "jobs": jobs}

    def _events(self, request: dict[str, Any]) -> Any:
        low = max(1, self.core.seq - 50)
        return [
            event(n, EVENTS[n % len(EVENTS)], NAMES[n % 5] + ":0", self.core.boot, run=1, code=1)
            for n in range(low, self.core.seq + 1)
        ]

    def _reload(self, request: dict[str, Any]) -> Any:
        rows = [
            {
                "sign": "+-~="[n % 4],
                "job": each["name"],
                "effect": "[b]restarts 2",
                "fields": [{"name": "cmd", "old": "\x1b[1ma", "new": "x" * 300, "cost": "relaunch"}],
            }
            for n, each in enumerate(self.jobs[:40])
        ]
        if request["args"].get("plan"):
            return {"rows": rows, "generation": None, "changes": len(rows)}
        self.generation += 1
        return {"rows": rows, "generation": self.generation, "changes": len(rows)}

    def _undo(self, request: dict[str, Any]) -> Any:
        if request["args"].get("plan"):
            op = self.dice.choice(("start", "rollback"))
            return {"text": "start [b]web\x1b[1m again", "op": op, "select": [], "args": {"generation": 1}}
        return done() | {"text": "[/] started"}

    def _generations(self, request: dict[str, Any]) -> Any:
        return [{"number": n, "at": 1764000000.0 + n, "cause": "\x1b[1m[b]", "jobs": n} for n in range(1, 30)]

    def _generation(self, request: dict[str, Any]) -> Any:
        return {"number": request["args"]["number"], "texts": {"/etc/t.toml": "[[task]]\nname = '\x1b[1m'\n"}}

    # Output -----------------------------------------------------------------------------------------------------------

    def _logs(self, request: dict[str, Any]) -> Any:
        args, lines = request["args"], self.lines
        n = args.get("n") or 100
        at = min((args.get("cursor") or {}).get("at", len(lines)), len(lines))
        if "around" in args:
            at = min(int(args["around"].get("offset") or 0), len(lines))
        forward = "around" in args or ("cursor" in args and not args.get("back"))
        low, high = (at, min(at + n, len(lines))) if forward else (max(at - n, 0), at)
        rows, data = [], b""
        for number in range(low, high):
            key, stream, text = lines[number]
            data += text + b"\n"
            rows.append(
                [
                    1764000000.0 + number,
                    key,
                    stream,
                    number,
                    0,
                    len(text) + 1,
                    "truncated [b]" if number % 97 == 5 else "",
                    0,
                ]
            )
        more = high < len(lines) if forward else low > 0
        return Raw(
            {
                "lines": rows,
                "begin": {"at": low},
                "end": {"at": high},
                "more": more,
                "held": False,
                "before": low,
                "total": len(lines),
                "problems": [],
                "start": low == 0,
                "matches": 0,
            },
            data,
        )

    def _find(self, request: dict[str, Any]) -> Any:
        places = [[1764000000.0 + n, *self.lines[n][:2], n] for n in range(0, len(self.lines), 50)][:200]
        if request["args"].get("back", True):
            places.reverse()
        return {
            "places": places,
            "cursor": {"at": 0},
            "more": False,
            "scanned": len(self.lines),
            "total": len(self.lines),
            "lines": len(self.lines),
            "problems": [],
        }
