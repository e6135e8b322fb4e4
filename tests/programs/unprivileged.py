"""Run a daemon as whoever calls this, and print as JSON what its core and its shim show to others of that user."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.harness import Daemon


def shown(pid: int) -> dict[str, Any]:
    try:
        opened = bool(Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        opened = False
    return {"owner": os.stat(f"/proc/{pid}/status").st_uid, "environ": opened}


def main() -> None:
    d = Daemon('[[task]]\nname = "web"\ncmd = "sleep 1000"\n', env={"TASKMASTER_TRACEABLE": sys.argv[1]}).start()
    try:
        d.wait_state("web:0", "running")
        said = {"core": shown(d.core_pid), "job": shown(d.pids()["web:0"] or 0)}
        said["doctor"] = all(each["ok"] for each in d.request("doctor")["checks"])
        said["rss"] = d.request("status", usage=True)["jobs"][0]["processes"][0]["rss"] > 0
        d.kill_core()
        d.kill_shim()
        said["recovered"] = d.recovered()
    finally:
        left = d.close()
    print(json.dumps({**said, "left": left, "uid": os.getuid()}))


main()
