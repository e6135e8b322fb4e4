"""Write argv[1] lines a second, for ever or argv[2] lines, to stdout (every tenth to stderr)."""

import itertools
import sys
import time

pause = 1 / float(sys.argv[1]) if len(sys.argv) > 1 else 0.1
last = int(sys.argv[2]) if len(sys.argv) > 2 else None
for number in itertools.count() if last is None else range(last):
    stream = sys.stderr if number % 10 == 9 else sys.stdout
    stream.write(f"line {number}\n")
    stream.flush()
    time.sleep(pause)
