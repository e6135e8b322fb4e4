"""Sit people and programs down before the core: the terminal UI in a pty, and clients that follow, ask, or do not read.

Decides how they are steered and that they come back when they were killed; what they have to stand is the faults'
business. Whoever ends without having been killed is a problem.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time

import zmq

from tests.harness import Daemon, alive
from tests.seat import UP, surroundings, tui
from tests.terminal import RawTerminal

VIEWS = ("1", "2", "3", "4", "5", "`")
WALK = ("j", "j", "k", "G", "g", "tab", "down", "up", "t", ">", "I", "]", "[", "!", "!")
# letters that act on no job, should they be taken for keys
FILTERS = ("t", "@tty", "!t", "zz", "")
SEARCHES = ("0009", "1[.]", "tt", "")
SIZES = ((120, 36), (80, 24), (200, 60), (60, 20), (132, 43))
ESCAPE = "\x1d"  # ctrl+]: what takes the terminal back from a job
ASKS = {
    "events": ("events", "-f", "--json"),
    "logs": ("logs", "-f", "@count"),
    "watch": ("status", "--watch", "--procs"),
}


CLOCK = re.compile(r"\d\d:\d\d:\d\d")
STANDS_STILL = 20.0
"""Seconds by which the clock of the header may be late: a machine that others use, too."""


def _ago(clock: str) -> float:
    """Return how many seconds ago it was this time of day."""
    then, now = (
        (at.tm_hour * 60 + at.tm_min) * 60 + at.tm_sec for at in (time.strptime(clock, "%H:%M:%S"), time.localtime())
    )
    return float((now - then + 60) % 86_400 - 60)  # it may be a second ahead; over midnight it is a day behind


class Person:
    """Look at the terminal UI, and press keys."""

    def __init__(self, it: Daemon) -> None:
        self._it = it
        self._seat = self._sit()
        self.pid = self._seat.pid
        self.killed = 0
        self.pressed = 0

    def _sit(self) -> RawTerminal:
        env = surroundings(self._it)
        return RawTerminal(tui(self._it), env=env, cwd=self._it.dir, columns=120, rows=36)

    def sees_the_core(self) -> bool:
        """Tell whether the header says that a core answers and its clock goes, which a screen that stands still lacks.

        Who is attached still, because that took longer than anybody waited for it, is called back.
        """
        text = self._seat.screen.text()
        if "[attached" in text:
            self._seat.send(ESCAPE)
        shown = CLOCK.search(text.partition("\n")[0])
        return UP in text and (shown is None or _ago(shown[0]) < STANDS_STILL)

    def screen(self) -> str:
        return self._seat.screen.text()

    def wander(self, chance: random.Random) -> None:
        """Do one of the things that people do; none of them touches a job."""
        what = chance.choice(("view", "view", "walk", "walk", "filter", "search", "resize", "attach"))
        getattr(self, f"_{what}")(chance)

    def _press(self, *names: str) -> None:
        for name in names:
            self._seat.press(name)
            self.pressed += 1
            time.sleep(0.02)  # a person's keys come one by one; escape alone has to be told from a sequence

    def _view(self, chance: random.Random) -> None:
        self._press("esc", chance.choice(VIEWS))

    def _walk(self, chance: random.Random) -> None:
        self._press(*chance.choices(WALK, k=6))

    def _filter(self, chance: random.Random) -> None:
        self._press("esc", "1", "/", *chance.choice(FILTERS), "enter")
        time.sleep(0.2)
        self._press("esc", "esc")

    def _search(self, chance: random.Random) -> None:
        self._press("esc", "2", "/", *chance.choice(SEARCHES), "enter", "n", "N", "G")
        self._press("esc", "esc")

    def _resize(self, chance: random.Random) -> None:
        now = (self._seat.screen.columns, self._seat.screen.rows)
        size = chance.choice(SIZES)
        if size != now:  # of the same size the kernel tells nobody, and nobody paints
            self._seat.resize(*size)

    def _attach(self, chance: random.Random) -> None:
        self._press("esc", "1", "/", *"tty", "enter", "g", "j", "a")
        if not self._reads("[attached", 5.0):
            self._seat.send(ESCAPE)  # nothing that has a terminal was below the cursor, or the core was killed just now
            return
        self._press(*"121", "enter")
        time.sleep(0.2)
        self._seat.send(ESCAPE)
        time.sleep(0.2)
        self._press("esc", "esc")

    def _reads(self, words: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while words not in self.screen():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def kill(self) -> None:
        """Kill it, and sit down again."""
        os.kill(self.pid, signal.SIGKILL)
        self._seat.close()
        self.killed += 1
        self._seat = self._sit()
        self.pid = self._seat.pid

    def problems(self) -> list[str]:
        """Say so if it ended by itself; a new one is started."""
        if alive(self.pid):
            return []
        last = self.screen()
        self._seat.close()
        self._seat = self._sit()
        self.pid = self._seat.pid
        return [f"the terminal UI ended by itself with {self._seat.status}:\n{last}"]

    def close(self) -> None:
        self._seat.close()


class Crowd:
    """Keep some clients of the command line going, and subscribers that do not read."""

    def __init__(self, it: Daemon) -> None:
        self._it = it
        self._context = zmq.Context()
        self._deaf: list[zmq.Socket[bytes]] = []
        self._clients = {name: self._start(name) for name in ASKS}
        self.hear_nothing()

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self._it.dir / f"client-{name}.err").open("wb") as err:
            return subprocess.Popen(
                self._it.command(*ASKS[name]), env=self._it.env, cwd=self._it.dir,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, start_new_session=True,
            )  # fmt: skip

    def hear_nothing(self) -> None:
        """Subscribe to everything and read nothing, instead of the one that did so before."""
        while self._deaf:
            self._deaf.pop().close(linger=0)
        socket = self._context.socket(zmq.SUB)
        socket.set_hwm(10)
        for topic in ("event", "state", "beat", "metrics", "log", "tty"):
            socket.subscribe(topic)
        socket.connect(f"ipc://{self._it.places.events}")
        self._deaf.append(socket)

    def kill(self, name: str) -> None:
        """Kill one, and start it again."""
        self._clients[name].kill()
        self._clients[name].wait(10)
        self._clients[name] = self._start(name)

    def problems(self) -> list[str]:
        """Say who ended by himself; he is started again. Nobody has to stay where there is no core for long."""
        found = []
        for name, client in list(self._clients.items()):
            if client.poll() is None:
                continue
            said = (self._it.dir / f"client-{name}.err").read_text(errors="replace")
            if client.returncode != 3 or "Traceback" in said:
                found.append(f"`{' '.join(ASKS[name])}` ended with {client.returncode}: {said[-2000:]}")
            self._clients[name] = self._start(name)
        return found

    def close(self) -> None:
        for client in self._clients.values():
            with contextlib.suppress(OSError):
                client.kill()
            client.wait(10)
        for socket in self._deaf:
            socket.close(linger=0)
        self._context.destroy(linger=0)
