"""A core that only changes: `busy_core.py DIRECTORY RATE`, events a second. The server is real, the state is not.

Event n sets the `run` of process n % WIDTH to n, so that everybody who knows how far the world is knows how it must be.
`halt` stops the changing, `go` sets another rate; `ping` tells what it has of memory too.
"""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from taskmaster_core import wire
from taskmaster_core.server import Asked, Server
from tests.fakecore import event, job, process, status

WIDTH = 50
BATCH, BEAT = 0.1, 1.0


def run_at(seq: int, index: int) -> int:
    """Return the run that process `index` has once event `seq` has happened; 0 for none yet."""
    return max(0, seq - (seq - index) % WIDTH)


def key(index: int) -> str:
    return f"web:{index}"


class Busy:
    def __init__(self, directory: str, rate: float) -> None:
        self.seq = self.n = self.batched = 0
        self.server = Server(f"{directory}/cmd.sock", f"{directory}/evt.sock", self.asked)
        self.go(rate)
        self.next_batch = self.next_beat = 0.0
        self.halted = False

    def go(self, rate: float) -> None:
        self.rate, self.since, self.begun, self.halted = rate, self.seq, time.monotonic(), rate == 0

    def view(self, index: int) -> dict[str, Any]:
        return process(key(index), run=run_at(self.seq, index))

    def asked(self, asked: Asked) -> None:
        args, op = asked.request.args, asked.request.op
        result: Any = {"seq": self.seq}
        if op == "ping":
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
            result = {"version": "0.1.0", "boot": "b1", "seq": self.seq, "pid": os.getpid(), "rss": resident}
        elif op == "status":
            result = status(job("web", *map(self.view, range(WIDTH))), seq=self.seq, batches=self.n)
        elif op == "events":
            result = self.events(args.get("since", 0), args.get("n"))
        elif op == "show":
            result = {"jobs": []}
        elif op in ("halt", "go"):
            self.go(args.get("rate", 0))
        self.server.answer(asked, result, keep=False)

    def events(self, since: int, n: int | None) -> list[dict[str, Any]]:
        if n is not None:
            return [event(each) for each in range(max(since, self.seq - n) + 1, self.seq + 1)]
        return [event(each) for each in range(since + 1, min(since + 5000, self.seq) + 1)]

    def step(self, now: float) -> None:
        while not self.halted and self.seq - self.since < (now - self.begun) * self.rate:
            self.seq += 1
            if self.server.wanted("event.started"):
                self.server.publish("event.started", wire.encode(event(self.seq)))
        if now >= self.next_batch and self.seq > self.batched:
            self.batch()
            self.next_batch = now + BATCH
        if now >= self.next_beat:
            self.next_beat = now + BEAT
            self.server.publish("beat", wire.encode(wire.Beat("b1", self.seq, self.n)))

    def batch(self) -> None:
        changed = {each % WIDTH for each in range(max(self.batched + 1, self.seq - WIDTH), self.seq + 1)}
        self.batched = self.seq
        self.n += 1
        body = {"boot": "b1", "seq": self.seq, "processes": [self.view(each) for each in sorted(changed)], "gone": []}
        self.server.publish("state", wire.encode(body | {"n": self.n}))

    def serve(self) -> None:
        self.server.bind()
        while True:
            if not self.server.pending():
                select.select(self.server.fds, [], [], 0.002)
            self.server.pump()
            self.step(time.monotonic())


if __name__ == "__main__":
    Busy(sys.argv[1], float(sys.argv[2])).serve()
