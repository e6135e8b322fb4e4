"""Run away for argv[1] seconds at most: fork, leave the session, end; the child does the same, and so on."""

import os
import signal
import sys
import time

until = time.monotonic() + (float(sys.argv[1]) if len(sys.argv) > 1 else 20)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdout.write("digging\n")
sys.stdout.flush()
leader = os.getpid()
if os.fork():
    time.sleep(600)
while time.monotonic() < until:
    if os.fork():
        os._exit(0)
    os.setsid()
