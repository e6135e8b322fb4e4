"""Be `python -m taskmaster_core`: the same as the command `taskmaster`.

Decides nothing; systems without the installed script, and tests, call it.
"""

from __future__ import annotations

from taskmaster_core.cli.main import entry

entry()
