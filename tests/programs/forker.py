"""Start a child in the same group that ignores TERM; print its pid; end at TERM oneself (or at once with "exit")."""

import os
import signal
import sys
import time

told, tell = os.pipe()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(tell, b".")
    os.close(told)
    os.close(tell)
    time.sleep(600)
    os._exit(0)
os.read(told, 1)
sys.stdout.write(f"{child}\n")
sys.stdout.flush()
if "exit" in sys.argv:
    sys.exit(0)
time.sleep(600)
