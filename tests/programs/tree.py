"""Be a tree: `tree.py busy|still MEGABYTES [--child WHAT MEGABYTES] [--orphan WHAT MEGABYTES] …`, one process for each.

A child stays below its parent; an orphan leaves session and group, and loses its parent. Each says its name and pid in
one line once it is what it is to be.
"""

from __future__ import annotations

import os
import sys
import time


def be(name: str, what: str, megabytes: int) -> None:
    held = bytearray(os.urandom(1)) * (megabytes << 20)
    os.write(1, f"{name} {os.getpid()} {len(held) >> 20}\n".encode())
    while True:
        if what == "still":
            time.sleep(1000)


def main(words: list[str]) -> None:
    what, megabytes, *rest = words
    while rest:
        kind, its, size, *rest = rest
        if os.fork() == 0:
            if kind == "--orphan":
                os.setsid()
                if os.fork():
                    os._exit(0)
            be(kind.strip("-"), its, int(size))
        elif kind == "--orphan":
            os.wait()
    be("leader", what, int(megabytes))


main(sys.argv[1:])
