"""Write numbered lines, and keep in a file how many: what was written and is not in the log was lost.

`ledger.py DIRECTORY BATCH PAUSE [LAST]`: lines are "RUN.PID NUMBER", BATCH a write, PAUSE seconds apart, LAST in all.
"""

import os
import sys
import time

where, batch, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
last = int(sys.argv[4]) if len(sys.argv) > 4 else None
who = f"{os.environ['TASKMASTER_RUN']}.{os.getpid()}"
name = f"{os.environ['TASKMASTER_JOB']}:{os.environ['TASKMASTER_INDEX']} {who}"
book = os.open(f"{where}/{name}", os.O_CREAT | os.O_WRONLY, 0o644)
number = 0
while last is None or number < last:
    data = b"".join(b"%s %09d\n" % (who.encode(), each) for each in range(number, number + batch))
    while data:
        data = data[os.write(1, data) :]
    number += batch
    os.pwrite(book, b"%09d" % number, 0)
    time.sleep(pause)
