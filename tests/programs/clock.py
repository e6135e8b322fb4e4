"""Write the time of day, argv[1] times a second, as a line: who reads it can say how late it came."""

import os
import sys
import time

while True:
    os.write(1, f"{time.time():.6f}\n".encode())
    time.sleep(1 / float(sys.argv[1]))
