"""The real core, with the moments of `crashpoints` in it. Started as `python -P core.py …`, by the shim beside it."""

import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import crashpoints  # type: ignore[import-not-found]  # found beside us

from taskmaster_core import daemon

crashpoints.install("core")
code = daemon.main()
sys.stdout.flush()
os._exit(code)
