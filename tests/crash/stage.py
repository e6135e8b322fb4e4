"""A daemon that can be killed at named moments, a storm of work for it, and the six invariants of RELIABILITY §7.

Decides what must hold after every death: at most one process of each kind and none unknown (I1, I2), events without a
gap and in order (I3, I4), output without a gap (I5), an answer within a second (I6), and no exit code that was made up.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskmaster_core import wire
from taskmaster_core.cli.core import command_line
from taskmaster_core.errors import TaskmasterError
from taskmaster_core.wire import Event
from tests.harness import ROOT, Daemon, alive, environ_of, pids_now, program, stat_of

HERE = ROOT / "tests" / "crash"
SETTLED_WITHIN = 30.0
AGAIN = 0.5
"""Seconds until a question is asked again: whoever heard it may be dead."""

LOST_AT_A_KILL = 1 << 16
"""Bytes a stream may lose when the shim is killed (G5)."""

_CONFIG = """
[taskmaster]
autoreload = "off"
[defaults]
successdelay = 0
stopdelay = {delay}
backoff = {{ first = 0.02, max = 0.1 }}
retry = "forever"
restart = "always"
[[task]]
name = "count"
cmd = {count}
log = {{ maxsize = {size}, keep = 1000, compress = false }}
[[task]]
name = "web"
cmd = {idle}
numprocess = 3
[[task]]
name = "flap"
cmd = {flap}
[[task]]
name = "edit"
cmd = {idle}
env = {{ VERSION = "{version}" }}
[[task]]
name = "toggle"
cmd = {idle}
[[task]]
name = "new{version}"
cmd = {idle}
"""

_OF_A_RUN = {"started": "s", "adopted": "a", "failed": "f", "exited": "x", "stopped": "x"}
_LIFE = re.compile("f|(s|a)a*x?")
"""A run fails to start; or it is begun (or found by another shim), found again, and ends at most once."""


def sole(place: Path, *words: object) -> list[str]:
    """Return the command line of a process that tells when it is not the only one."""
    name, *rest = program("sole.py", place, *words)
    return [name, "-I", "-S", *rest]


class NoAnswer(AssertionError):
    """Tell that nobody has answered for as long as anybody has patience."""


class Stage(Daemon):
    """Start the real thing through the programs beside this file."""

    def __init__(self, *, points: bool = True) -> None:
        super().__init__("", env={"TM_TEST": "1"})
        self.crashes = self.dir / "crash"
        self.crashes.mkdir()
        self.armed = self.crashes / "armed"
        self.env |= {"TM_CRASHPOINT": f"@{self.armed}" if points else "none", "TM_CRASH_DIR": str(self.crashes)}
        self.version = 0
        self.rounds = 0
        self.sound = True  # nothing was done to it since it was checked
        self.patience = SETTLED_WITHIN
        self.story: list[str] = []
        self._heard: list[Event] = []
        self.save()

    def server_command(self) -> list[str]:
        """Return the command line of the shim that can be killed at its moments."""
        words = command_line(self.instance, [str(self.config_path)])
        shim = words.index("-S") + 1
        at = words.index("-m", shim)
        return [*words[:shim], str(HERE / "shim"), *words[shim + 1 : at], "-P", str(HERE / "core.py"), *words[at + 2 :]]

    def save(self) -> None:
        """Save a config in which one job differs from the last one."""
        self.version += 1
        place = self.crashes
        text = _CONFIG.format(
            count=sole(place, "count", 0.002), idle=sole(place, "idle"), flap=sole(place, "exit", 3, 0.05),
            version=self.version, delay=3 + self.version % 2, size=2048 + 16 * (self.version % 2),
        )  # fmt: skip
        self.write_config(text)

    # What is done to it -----------------------------------------------------------------------------------------------

    def insist(
        self, op: str, *select: str, timeout: float | None = None, revive: bool = True, **args: Any
    ) -> Any:
        """Ask until there is an answer, through the death of whoever was asked; always under one id.

        Without `revive` somebody else sees to it that there is a shim again where both have died.
        """
        document = wire.encode(wire.Request(wire.VERSION, uuid.uuid4().hex, op, list(select), args))
        timeout = timeout or self.patience
        pause = AGAIN
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if os.path.exists(self.places.commands):
                frames = self._exchange(document, pause)
                pause = min(pause * 1.5, 5.0)  # on a loaded machine an answer may take longer than that
                if frames is not None:
                    return wire.result_of(wire.decode_reply(frames[0]))
            if revive:
                self.revive()
            time.sleep(0.02)
        raise NoAnswer(f"no answer to {op} within {timeout} s\n{self.describe()}")

    def note(self, what: str) -> None:
        """Remember what is done to it, for the message of a failure."""
        self.sound = False
        self.story.append(what)

    def work(self) -> None:
        """Do a bit of everything: restart, scale, stop, start, reload, and kill a job."""
        self.rounds += 1
        self.insist("scale", "web", n=4 + self.rounds % 2)
        self.insist("restart", "web:0")
        self.insist("stop", "toggle")
        self.save()
        self.insist("reload")
        self.insist("start", "toggle")
        self.kill_job("web:1")
        self.insist("scale", "web", n=3)

    def kill_job(self, key: str) -> None:
        """SIGKILL one of the jobs."""
        pid = next((pid for pid, each in self.jobs().items() if each == key), 0)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def arm(self, what: str) -> None:
        """Have somebody die at the next such moment: `NAME[:N][!VICTIM]`."""
        self.note(what)
        self.hit.unlink(missing_ok=True)
        (self.crashes / "seen").unlink(missing_ok=True)
        draft = self.armed.with_suffix(".new")
        draft.write_text(what)
        draft.replace(self.armed)

    @property
    def hit(self) -> Path:
        """The file that is there once somebody has died."""
        return self.armed.with_suffix(".hit")

    def pids_of(self, side: str) -> list[int]:
        """Return the pids of all shims or cores there have been, the newest last."""
        path = self.crashes / f"{side}.pids"
        return [int(each) for each in path.read_text().split()] if path.exists() else []

    def pid_of(self, side: str) -> int:
        """Return the pid of the newest shim or core, 0 before the first."""
        return (self.pids_of(side) or [0])[-1]

    def kill(self, side: str) -> None:
        """SIGKILL shim or core, whatever it is doing."""
        self.note(f"kill {side}")
        pid = self.pid_of(side)
        if alive(pid):
            os.kill(pid, signal.SIGKILL)

    def shut_down(self) -> None:
        """End everything in order, through whatever deaths, until neither shim nor core is left."""

        def ended() -> bool:
            if alive(self.pid_of("shim")) or alive(self.pid_of("core")):
                with contextlib.suppress(TaskmasterError):
                    self.request("shutdown", timeout=AGAIN)
                return False
            if self.jobs():
                self.revive()  # somebody else starts it again: then it ends what it finds
                return False
            return True

        self.wait(ended, SETTLED_WITHIN, "all has ended")

    # Recovery ---------------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """Take note of a dead shim; where both are dead start them again, as systemd would."""
        if self.process is not None and self.process.poll() is not None:
            self._orphaned = True
            if not alive(self.pid_of("shim")) and not alive(self.pid_of("core")):
                self.start(wait=False)

    def settle(self) -> None:
        """Wait until core and shim are well again and every job is as it should be."""

        def well() -> bool:
            self.revive()
            self.request("ping", timeout=2.0)
            return self.recovered() and self._as_wanted()

        self.wait(well, SETTLED_WITHIN, f"all is well again after {self.story[-3:]}")

    def _as_wanted(self) -> bool:
        states = {view.key: view.state for view in self.procs()}
        flap = states.pop("flap:0", "")
        names = {"count:0", "web:0", "web:1", "web:2", "edit:0", "toggle:0", f"new{self.version}:0"}
        return set(states) == names and set(states.values()) == {"running"} and flap not in ("", "fatal", "unknown")

    def describe(self) -> str:
        """Say what is to be seen, and what the core is doing: it is ended by that."""
        before = super().describe()
        used = {side: stat_of(self.pid_of(side))[11:13] for side in ("shim", "core")}
        time.sleep(1.0)
        told = [f"{side} {self.pid_of(side)}: ticks {used[side]}, a second later {stat_of(self.pid_of(side))[11:13]}"
                for side in used]  # fmt: skip
        with contextlib.suppress(OSError):
            os.kill(self.pid_of("core"), signal.SIGABRT)
        time.sleep(1.0)
        return "\n".join([before, *told, f"load {os.getloadavg()}", self.stderr(6000)])

    # Invariants -------------------------------------------------------------------------------------------------------

    def jobs(self) -> dict[int, str]:
        """Return the living processes of jobs, and which one each is."""
        found = {}
        for pid in pids_now():
            marks = dict(each.partition(b"=")[::2] for each in environ_of(pid) if each.startswith(b"TASKMASTER_"))
            ours = marks.get(b"TASKMASTER_INSTANCE") == self.instance.encode() and b"TASKMASTER_JOB" in marks
            if ours and alive(pid):
                found[pid] = f"{marks[b'TASKMASTER_JOB'].decode()}:{marks[b'TASKMASTER_INDEX'].decode()}"
        return found

    def violations(self) -> str:
        """Return what jobs wrote down that met another one of themselves."""
        path = self.crashes / "violations"
        return path.read_text() if path.exists() else ""

    def check(self, *, quiet: bool = True) -> None:
        """Assert I1 to I6 of a daemon that has settled; `quiet`: and nothing went wrong inside, as far as is told."""
        self._check_processes()
        self._check_events()
        self._check_output()
        self._check_control()
        said = self.stderr(1 << 20)
        assert not quiet or "Error:" not in said, said[-4000:]
        self.sound = True

    def _check_processes(self) -> None:
        assert not self.violations(), f"I1: {self.violations()}"
        many = {key: n for key, n in Counter(self.jobs().values()).items() if n > 1 and key != "flap:0"}
        assert not many, f"I1: more than one of {many}"

        def unknown() -> list[int]:
            before = self.jobs()
            known = set(self.pids().values())
            return [pid for pid in before if pid not in known and alive(pid)]

        self.wait(lambda: not unknown(), what=f"I2: unknown processes {unknown()}")

    def _check_events(self) -> None:
        since = self._heard[-1].seq if self._heard else 0
        self._heard += self.events(since=since)
        seqs = [event.seq for event in self._heard]
        assert seqs == list(range(1, len(seqs) + 1)), f"I3: {_gaps(seqs)}"
        told: dict[tuple[str, int], list[str]] = defaultdict(list)
        for event in self._heard:
            if event.type == "core_started":  # both had died, and with them the numbers of what had ended
                told.clear()
            if event.type in _OF_A_RUN and event.key:
                told[event.key, event.data["run"]].append(event.type)
            if event.type in ("exited", "stopped"):
                assert event.data.get("code") != 0, f"an exit code was made up: {event}"
                kinds = "".join(_OF_A_RUN[kind] for kind in told[event.key, event.data["run"]])
                assert _LIFE.fullmatch(kinds), f"I4: {event}\n{self._told_of(event.key, event.data['run'])}"

    def _told_of(self, key: str, run: int) -> str:
        found = [each for each in self._heard if each.key == key and run <= each.data.get("run", run) <= run + 1]
        return "\n".join(f"{each.seq} {each.type} {each.cause.kind} {each.data}" for each in found[-20:])

    def _check_output(self) -> None:
        data = self._whole(Path(self.places.log_path("count", 0, "out")))
        last = (0, 0)
        lost = torn = 0
        told = 0  # where the disk was full
        anew = sum(event.type == "core_started" for event in self._heard) - 1  # both had died: runs count from 1 again
        for line in data.split(b"\n")[:-1]:
            words = line.split()
            if line.startswith(b"[taskmaster:"):
                told += int(words[1])
            elif len(line) != 16 or len(words) != 2:
                torn += 1
            else:
                here = (int(words[0]), int(words[1]))
                anew, last = (anew - 1, (0, 0)) if here <= last and here[0] == 1 and anew > 0 else (anew, last)
                assert here > last, f"I5: {here} after {last}"
                if last[0]:  # before the first there may be parts that are deleted already
                    lost += here[1] - last[1] - 1 if here[0] == last[0] else here[1]
                last = here
        deaths = len(self.pids_of("shim")) - 1
        spells = data.count(b"[taskmaster:")
        assert lost * 17 <= deaths * LOST_AT_A_KILL + told, f"I5: {lost * 17} bytes lost, {told} told, {deaths} deaths"
        assert torn <= 2 * (deaths + spells), f"I5: {torn} torn lines, {deaths} deaths, {spells} spells of a full disk"

    def _whole(self, path: Path) -> bytes:
        while True:
            with contextlib.suppress(FileNotFoundError):  # the oldest part was deleted at this moment
                return self._stream(path)

    @staticmethod
    def _stream(path: Path) -> bytes:
        """Return what was written in all parts up to a moment; rotation may go on meanwhile."""
        try:
            newest = path.open("rb")
        except FileNotFoundError:  # it was rotated, and nothing was written since
            newest = None
        parts = [each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.2")]
        parts.sort(key=lambda each: int(each.name.rpartition(".")[2]))  # at most a thousand are kept
        if newest is None:
            return b"".join(each.read_bytes() for each in parts)
        with newest:
            inode = os.fstat(newest.fileno()).st_ino
            older = itertools.takewhile(lambda each: each.stat().st_ino != inode, parts)
            return b"".join(each.read_bytes() for each in older) + newest.read()

    def _check_control(self) -> None:
        for _ in range(3):  # the machine is not ours alone
            began = time.monotonic()
            self.request("ping")
            if time.monotonic() - began < 1.0:
                return
        raise AssertionError("I6: no answer within a second")


def _gaps(seqs: list[int]) -> list[int]:
    return [b for a, b in zip([0, *seqs], seqs, strict=False) if b != a + 1]


@contextlib.contextmanager
def staged(**options: bool) -> Iterator[Stage]:
    """Give a stage on which all is well; afterwards nothing of it is left."""
    stage = Stage(**options)
    try:
        stage.start()
        stage.settle()
        yield stage
    except BaseException:
        print("\n".join(stage.story), stage.stderr(), sep="\n")
        stage.close()
        raise
    problems = stage.close()
    assert not problems, problems
