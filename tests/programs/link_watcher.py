"""A link in a process of its own, to be stopped and continued: prints a line of JSON for every change it was told.

`link_watcher.py SOCKET CACHE`: `at` (monotonic), `seq` of the world and of the last event, whether the world is what it
must be at that seq, and how many events came twice or not at all.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from taskmaster_tui.link import Change, Link
from taskmaster_tui.model.world import World
from tests.linked import consistent


class Watcher:
    def __init__(self, socket: str, cache: str) -> None:
        self.world = World()
        self.link = Link(self.world, socket=socket, environ={"XDG_CACHE_HOME": cache}, tell=self.told)
        self.last = 0
        self.wrong = 0

    def told(self, change: Change) -> None:
        for event in change.events:
            self.wrong += self.last != 0 and event.seq != self.last + 1
            self.last = event.seq
        said = {"at": time.monotonic(), "seq": self.world.seq, "event": self.last, "wrong": self.wrong}
        print(json.dumps(said | {"right": consistent(self.world), "phase": self.link.health.phase}), flush=True)


asyncio.run(Watcher(*sys.argv[1:]).link.run())
