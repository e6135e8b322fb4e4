"""Write the name of each signal that comes, one a line, after "ready"; end at the one argv[1] names, if any.

They are blocked and waited for: a handler and pause() would lose what comes between the two.
"""

import os
import signal
import sys

last = signal.Signals[f"SIG{sys.argv[1]}"] if len(sys.argv) > 1 else None
every = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, every)
os.write(1, b"ready\n")
while True:
    signum = signal.sigwait(every)
    os.write(1, f"{signal.Signals(signum).name}\n".encode())
    if signum == last:
        os._exit(0)
