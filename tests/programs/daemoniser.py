"""Leave the group twice: a child in a session of its own and a double-forked daemon; both ignore TERM.

Prints their pids. With "exit" the leader ends at once (L24). With "bare" both shed what marks them: environment, files;
with "held" all of that but the lock file of their run, with "spoken" all but their output.
"""

import contextlib
import os
import signal
import sys
import time

told, tell = os.pipe()


def sit() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.write(tell, f"{os.getpid()} ".encode())
    shed = {"bare": range(3, 256), "held": range(3, 100), "spoken": range(3, 256)}
    for word in shed.keys() & set(sys.argv):
        for number in shed[word]:
            with contextlib.suppress(OSError):
                os.close(number)
        if word != "spoken":
            null = os.open("/dev/null", os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            if word == "held":
                os.set_inheritable(100, True)
        os.execve("/bin/sleep", ["sleep", "600"], {})
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
