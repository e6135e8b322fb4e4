"""Write the name of each signal that comes, one a line, after "ready"; end at the one argv[1] names, if any."""

import os
import signal
import sys

last = signal.Signals[f"SIG{sys.argv[1]}"] if len(sys.argv) > 1 else None


def note(signum: int, _: object) -> None:
    os.write(1, f"{signal.Signals(signum).name}\n".encode())
    if signum == last:
        os._exit(0)


for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, note)
os.write(1, b"ready\n")
while True:
    signal.pause()
