"""Write argv[1] bytes and a last line, then end by _exit without closing anything."""

import os
import sys

data = b"x" * int(sys.argv[1]) + b"last\n"
while data:
    data = data[os.write(1, data) :]
os._exit(0)
