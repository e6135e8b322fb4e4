"""Live argv[1] seconds, then exit with argv[2]."""

import sys
import time

time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 0)
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
