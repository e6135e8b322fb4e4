"""Do harm: kill, stop, reload, scale, take files away, fill a disk, lock the journal.

Decides how each fault is done, by chances that a seed gives; what must hold afterwards is for the checks. Each returns
what it did in words, and has taken back what it took: a stopped process goes on, a full disk is empty again.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tests.harness import Daemon
from tests.soak.checks import Log, Story, Town
from tests.soak.jobs import Job, Value
from tests.soak.people import ASKS, Crowd, Person


class Scene(Protocol):
    """What a fault may lay hands on."""

    it: Daemon
    town: Town
    person: Person
    crowd: Crowd
    story: Story
    logs: dict[str, Log]

    def text(self) -> str:
        """Return the config that is to be in force."""


class Fault(NamedTuple):
    """Say how a fault is done, how often, and what it may cost."""

    do: Callable[[Scene, random.Random], str]
    storm: int
    """Its weight among the others while everything may be killed."""
    calm: int
    """Its weight while core and shim are left alive."""
    unread: bool = False
    """There was no shim for a moment: what a run that ends then had written last may be lost."""
    gentle: bool = True
    """No process may be another one afterwards, but for those of `hangs_up`."""
    hangs_up: frozenset[str] = frozenset()
    """The kinds of jobs that it ends: whose standard input or terminal it closes."""


SPEAKING = frozenset({"tty", "pipe"})


# Kills ----------------------------------------------------------------------------------------------------------------


def kill_core(scene: Scene, chance: random.Random) -> str:
    return f"killed core {scene.it.kill_core(wait=False)}"


def kill_shim(scene: Scene, chance: random.Random) -> str:
    return f"killed shim {scene.it.kill_shim(wait=False)}"


def kill_both(scene: Scene, chance: random.Random) -> str:
    scene.story.anew()
    scene.it.kill_both()
    time.sleep(pause := chance.uniform(0.0, 0.5))
    scene.it.start(wait=False)
    return f"killed core and shim, started again after {pause:.2f} s"


def spawn_storm(scene: Scene, chance: random.Random) -> str:
    """Kill something while many processes are being replaced."""
    keys = chance.sample(sorted(set(scene.town.kind("quiet", "count", "tree", "tty")) - scene.town.down), 10)
    scene.it.request("restart", *keys, wait=False)
    time.sleep(pause := chance.uniform(0.0, 0.1))
    what = chance.choice((kill_core, kill_shim, kill_both))
    return f"restarted {' '.join(keys)} and after {pause:.3f} s {what(scene, chance)}"


def kill_jobs(scene: Scene, chance: random.Random) -> str:
    """Kill leaders: each is started again."""
    kinds = ("count", "brief", "victim", "tree", "stubborn", "tty", "pipe", "flood", "dots", "wide", "quiet")
    keys = chance.sample(sorted(set(scene.town.kind(*kinds)) - scene.town.down), chance.randint(1, 6))
    pids = scene.it.pids()
    for key in keys:
        if (pid := pids.get(key)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return f"killed {' '.join(keys)}"


def kill_tui(scene: Scene, chance: random.Random) -> str:
    scene.person.kill()
    return "killed the terminal UI"


def kill_client(scene: Scene, chance: random.Random) -> str:
    scene.crowd.kill(name := chance.choice(sorted(ASKS)))
    return f"killed the client `{' '.join(ASKS[name])}`"


def deaf_client(scene: Scene, chance: random.Random) -> str:
    scene.crowd.hear_nothing()
    return "another subscriber that reads nothing"


def _stopped(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def stop_core(scene: Scene, chance: random.Random) -> str:
    _stopped(scene.it.core_pid, seconds := chance.uniform(0.1, 2.0))
    return f"the core stood still for {seconds:.2f} s"


def stop_shim(scene: Scene, chance: random.Random) -> str:
    _stopped(scene.it.shim_pid, seconds := chance.uniform(0.1, 2.0))
    return f"the shim stood still for {seconds:.2f} s"


# What operators do ------------------------------------------------------------------------------------------------


def stop(scene: Scene, chance: random.Random) -> str:
    """Stop one, which stays so; with three of them one is started."""
    if len(scene.town.down) >= 3:
        return start(scene, chance)
    key = chance.choice(sorted(set(scene.town.kind("quiet", "stubborn", "tree", "tty", "crash")) - scene.town.down))
    scene.it.request("stop", key)
    scene.town.down.add(key)
    return f"stopped {key}"


def start(scene: Scene, chance: random.Random) -> str:
    if not scene.town.down:
        return stop(scene, chance)
    key = chance.choice(sorted(scene.town.down))
    scene.town.down.discard(key)
    scene.it.request("start", key)
    return f"started {key}"


def restart(scene: Scene, chance: random.Random) -> str:
    keys = chance.sample(sorted(set(scene.town.kind("quiet", "count", "tree", "stubborn")) - scene.town.down), 4)
    scene.it.request("restart", *keys)
    return f"restarted {' '.join(keys)}"


def undo(scene: Scene, chance: random.Random) -> str:
    key = chance.choice(sorted(set(scene.town.kind("quiet", "pipe")) - scene.town.down))
    scene.it.request("stop", key)
    scene.it.request("undo")
    return f"stopped {key} and took it back"


def hold(scene: Scene, chance: random.Random) -> str:
    """What is held is not started again until it is released."""
    key = chance.choice(sorted(set(scene.town.kind("quiet", "wide")) - scene.town.down))
    scene.it.request("hold", key)
    pid = scene.it.proc(key).pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        scene.it.wait(lambda: scene.it.proc(key).pid is None, what=f"{key} is down")
    scene.it.request("release", key)
    return f"held {key}, killed it, released it"


def scale(scene: Scene, chance: random.Random) -> str:
    """Up or down, and back after a moment."""
    number = chance.choice((0, 1, 2, 5, 8))
    scene.it.request("scale", "wide", n=number)
    time.sleep(chance.uniform(0.0, 0.5))
    scene.it.request("scale", "wide", n=scene.town.jobs["wide"].width)
    return f"scaled wide to {number} and back"


def send(scene: Scene, chance: random.Random) -> str:
    """Type to a pipe and to a terminal; both say it again."""
    word = f"w{chance.randrange(10**9)}"
    keys = [chance.choice(sorted(set(scene.town.kind(kind)) - scene.town.down)) for kind in ("pipe", "tty")]
    for key in keys:
        scene.it.request("send", key, text=f"{word}\n")
        scene.it.wait(lambda key=key: word in scene.it.output(key), what=f"{key} says {word}")
    return f"sent {word} to {' and '.join(keys)}"


# The config -----------------------------------------------------------------------------------------------------------


def reload_good(scene: Scene, chance: random.Random) -> str:
    """Change jobs, add one, remove one."""
    town = scene.town
    name = chance.choice(sorted(job.name for job in town.jobs.values() if job.kind in ("quiet", "stubborn")))
    turn = str(chance.randrange(10**6))
    changed: dict[str, Value] = {"env": {"TURN": turn}, "description": f"turn {turn}"}
    keys = {**town.jobs[name].keys, **dict([chance.choice(sorted(changed.items()))])}
    town.jobs[name] = town.jobs[name]._replace(keys=keys)
    extra = f"extra{chance.randrange(3)}"
    if town.jobs.pop(extra, None) is None:
        town.jobs[extra] = Job(extra, "extra", {"cmd": "sleep 1000000"})
    scene.it.write_config(scene.text(), atomic=chance.random() < 0.7)
    return f"saved another {name}, {extra} {'added' if extra in town.jobs else 'removed'}"


def _save_for_a_moment(scene: Scene, chance: random.Random, text: str) -> float:
    scene.it.write_config(text, atomic=chance.random() < 0.5)
    time.sleep(pause := chance.uniform(0.0, 1.5))
    scene.it.write_config(scene.text())
    return pause


def reload_broken(scene: Scene, chance: random.Random) -> str:
    text = chance.choice(("[[task]]\nname = ", '[[task]]\nname = "x"\ncmd = 7\n', "\0\0", "[taskmaster]\nwhat = 1\n"))
    return f"saved {text[:20]!r} for {_save_for_a_moment(scene, chance, text):.2f} s"


def reload_empty(scene: Scene, chance: random.Random) -> str:
    return f"saved nothing for {_save_for_a_moment(scene, chance, ''):.2f} s"


def reload_half(scene: Scene, chance: random.Random) -> str:
    """An editor that writes in two steps."""
    text = scene.text()
    cut = chance.randrange(1, len(text))
    with scene.it.config_path.open("w") as file:
        file.write(text[:cut])
        file.flush()
        time.sleep(pause := chance.uniform(0.0, 1.0))
        file.write(text[cut:])
    return f"saved {cut} of {len(text)} bytes, after {pause:.2f} s the rest"


# Files ----------------------------------------------------------------------------------------------------------------


def hurt_log(scene: Scene, chance: random.Random) -> str:
    """Take a log file away from under its writer, as people and logrotate do; it goes on."""
    key = chance.choice(sorted(set(scene.town.kind("victim")) - scene.town.down))
    log, how = scene.logs[key], chance.choice(("deleted", "moved", "truncated"))
    log.hurt()
    with contextlib.suppress(FileNotFoundError):  # it is being rotated at this moment
        if how == "deleted":
            log.path.unlink()
        elif how == "moved":
            log.path.rename(log.path.with_name(f"{log.path.name}.moved"))
        else:
            os.truncate(log.path, 0)
    lines = log.lines
    scene.it.wait(lambda: (log.problems() or log.lines) and log.lines > lines, what=f"{key} goes on writing")
    return f"{how} the file of {key}"


def full_disk(scene: Scene, chance: random.Random) -> str:
    """Fill the file system of a few logs for a while."""
    ballast = scene.it.dir / "small" / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    time.sleep(seconds := chance.uniform(0.5, 4.0))
    ballast.unlink()
    return f"the disk of small was full for {seconds:.2f} s"


def locked_journal(scene: Scene, chance: random.Random) -> str:
    """Somebody else writes to the journal, and takes his time."""
    seconds = chance.uniform(0.2, 5.0)
    db = sqlite3.connect(scene.it.places.journal, timeout=5, isolation_level=None)
    try:
        db.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        db.execute("ROLLBACK")
    finally:
        db.close()
    return f"the journal was locked for {seconds:.2f} s"


FAULTS: dict[str, Fault] = {
    "kill_core": Fault(kill_core, 6, 0), "kill_shim": Fault(kill_shim, 5, 0, unread=True),
    "kill_both": Fault(kill_both, 3, 0, unread=True, hangs_up=SPEAKING),
    "spawn_storm": Fault(spawn_storm, 4, 0, unread=True, gentle=False),
    "kill_jobs": Fault(kill_jobs, 4, 8, gentle=False),
    "kill_tui": Fault(kill_tui, 1, 0), "kill_client": Fault(kill_client, 1, 2), "deaf_client": Fault(deaf_client, 1, 1),
    "stop_core": Fault(stop_core, 2, 1), "stop_shim": Fault(stop_shim, 2, 1),
    "stop": Fault(stop, 2, 4, gentle=False), "start": Fault(start, 2, 4, gentle=False),
    "restart": Fault(restart, 2, 4, gentle=False), "undo": Fault(undo, 1, 2, gentle=False),
    "hold": Fault(hold, 1, 2, gentle=False), "scale": Fault(scale, 2, 4, gentle=False), "send": Fault(send, 1, 3),
    "reload_good": Fault(reload_good, 3, 5, gentle=False), "reload_broken": Fault(reload_broken, 1, 2),
    "reload_empty": Fault(reload_empty, 1, 2), "reload_half": Fault(reload_half, 1, 2),
    "hurt_log": Fault(hurt_log, 2, 3), "full_disk": Fault(full_disk, 1, 2),
    "locked_journal": Fault(locked_journal, 1, 2),
}  # fmt: skip


def chosen(chance: random.Random, without: frozenset[str], *, storm: bool) -> str:
    """Return which fault comes next."""
    names = [name for name in FAULTS if name not in without]
    weights = [FAULTS[name].storm if storm else FAULTS[name].calm for name in names]
    return chance.choices(names, weights)[0]
