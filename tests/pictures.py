"""Compare a picture of the screen with the one that is kept: the same but for ids, or a message that names both files.

It decides what counts as the same; which pictures there are is in the tests. The fixture `snapshot_svg` calls it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

IDS = re.compile(r"terminal-\d+")
UPDATE = "TM_UPDATE_SNAPSHOTS"


def normal(svg: str) -> str:
    """Return the picture without what differs from writing to writing: the ids that Textual derives from a hash."""
    return IDS.sub("terminal", svg)


def difference(svg: str, kept: Path, seen: Path) -> str:
    """Return "" if the picture is the one that is kept, else what to look at; with TM_UPDATE_SNAPSHOTS=1 keep it."""
    now = normal(svg)
    if os.environ.get(UPDATE):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(now)
    elif not kept.exists():
        return f"there is no picture {kept}; {UPDATE}=1 writes it"
    elif kept.read_text() != now:
        seen.write_text(now)
        return f"not what it was\n was: {kept}\n is:  {seen}\n{UPDATE}=1 takes it over"
    return ""
