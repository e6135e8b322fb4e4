"""The real core, with the moments of `crashpoints` in it. Started as `python -P core.py …`, by the shim beside it."""

import os
import sys

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import crashpoints  # noqa: E402

from taskmaster_core import daemon  # noqa: E402

crashpoints.install("core")
code = daemon.main()
sys.stdout.flush()
os._exit(code)
