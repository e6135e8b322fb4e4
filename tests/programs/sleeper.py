"""Say "ready", then sleep; end at TERM as the kernel does it."""

import sys
import time

sys.stdout.write("ready\n")
sys.stdout.flush()
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 600)
