"""Write dots for ever, argv[1] a second, and never a newline."""

import os
import sys
import time

pause = 1 / float(sys.argv[1])
while True:
    os.write(1, b".")
    time.sleep(pause)
