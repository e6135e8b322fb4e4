"""Leave the group twice: a child in a session of its own and a double-forked daemon; both ignore TERM.

Prints their pids. With "exit" the leader ends at once (L24), with "bare" the daemon clears what marks it.
"""

import os
import signal
import sys
import time

told, tell = os.pipe()


def sit() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(tell, f"{os.getpid()} ".encode())
    os.close(told)
    os.close(tell)
    time.sleep(600)
    os._exit(0)


if os.fork() == 0:
    os.setsid()
    sit()
middle = os.fork()
if middle == 0:
    os.setsid()
    if os.fork() == 0:
        sit()
    os._exit(0)
os.waitpid(middle, 0)
pids = b""
while pids.count(b" ") < 2:
    pids += os.read(told, 100)
sys.stdout.write(pids.decode().strip() + "\n")
sys.stdout.flush()
if "exit" in sys.argv:
    sys.exit(0)
time.sleep(600)
