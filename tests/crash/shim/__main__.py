"""The real shim, with the moments of `crashpoints` in it. Started as `python -I -S <this directory> …`, as that one."""

import os
import runpy
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHIM = os.path.join(os.path.dirname(os.path.dirname(HERE)), "taskmaster_core", "shim")

sys.path[0] = SHIM
sys.path.append(HERE)

import crashpoints  # type: ignore[import-not-found]  # noqa: E402  # found beside us

crashpoints.install("shim")
runpy.run_path(os.path.join(SHIM, "__main__.py"), run_name="__main__")
