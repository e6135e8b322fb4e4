"""Write the numbers from 0 to argv[1], one a line of ten bytes, argv[2] lines a write, pausing argv[3] seconds."""

import os
import sys
import time

last = int(sys.argv[1])
batch = int(sys.argv[2]) if len(sys.argv) > 2 else 1
pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0


def write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


for first in range(0, last, batch):
    write(b"".join(b"%09d\n" % number for number in range(first, min(first + batch, last))))
    if pause:
        time.sleep(pause)
