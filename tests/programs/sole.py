"""Be the only one: hold a lock named after the process, and write down in argv[1] if somebody else holds it.

Then argv[2]: `idle`; `count PAUSE` (write numbers for ever, PAUSE seconds apart); `exit CODE AFTER`.
"""

import fcntl
import os
import signal
import sys
import time

place, what = sys.argv[1], sys.argv[2]
key = f"{os.environ['TASKMASTER_JOB']}:{os.environ['TASKMASTER_INDEX']}"
run = int(os.environ["TASKMASTER_RUN"])
lock = os.open(f"{place}/{key}.only", os.O_RDWR | os.O_CREAT, 0o600)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"run {run} pid {os.getpid()}".encode(), 0)
except BlockingIOError:
    other = os.pread(lock, 100, 0).decode()
    with open(f"{place}/violations", "a", encoding="utf-8") as file:
        file.write(f"{key}: run {run} pid {os.getpid()} beside {other}\n")

if what == "idle":
    while True:
        signal.pause()
elif what == "count":
    pause = float(sys.argv[3])
    for number in range(1_000_000_000):
        os.write(1, b"%06d %09d\n" % (run, number))
        time.sleep(pause)
else:
    time.sleep(float(sys.argv[4]))
    os._exit(int(sys.argv[3]))
