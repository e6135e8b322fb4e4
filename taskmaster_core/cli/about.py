"""Tell versions, explain commands, print completions.

It decides nothing; the completions were made from the command table when the package was built.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from taskmaster_core.cli import parser
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.suggest import near, own_version, unlike
from taskmaster_core.cli.table import BY_NAME
from taskmaster_core.errors import ExitStatus, NoCore, UsageError
from taskmaster_core.logs.sanitize import clean

COMPLETIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "completions")
FILES = {"bash": "taskmaster.bash", "zsh": "_taskmaster", "fish": "taskmaster.fish"}


def version(call: Call) -> int:
    """Print the versions of this client, of the core if one answers, and of what they stand on."""
    facts = _facts(call)
    if call.options.json:
        call.out.data(facts)
        return ExitStatus.DONE
    call.out.say(own_version())
    core = facts["core"]
    call.out.say(f"core {core['version']} (pid {core['pid']})" if core else "core: none answers")
    if core and core.get("shim_version"):
        call.out.say(f"shim {core['shim_version']}")
    if core and unlike(core):
        call.out.hint("not of one release; what is installed takes over with: taskmaster upgrade")
    call.out.say(f"python {facts['python']}, libzmq {facts['libzmq']}, {facts['system']}")
    return ExitStatus.DONE


def _facts(call: Call) -> dict[str, Any]:
    import zmq  # noqa: PLC0415  # `completion` and `help`, in this module too, do not need it

    try:
        core = call.ask("ping", [])
    except NoCore:
        core = None
    return {
        "client": own_version().partition(" ")[2],
        "core": core,
        "python": platform.python_version(),
        "libzmq": zmq.zmq_version(),
        "system": f"{platform.system()} {platform.release()}",
    }


def explain(call: Call) -> int:
    """Print the help of everything, or of one command."""
    topic = call.options.topic
    if topic is None:
        call.out.stdout.write(parser.overview())
        return ExitStatus.DONE
    if topic not in BY_NAME:
        raise UsageError(f"unknown command `{topic}`", near(topic, BY_NAME) or "see: taskmaster help")
    call.out.stdout.write(parser.build(BY_NAME[topic]).format_help())
    return ExitStatus.DONE


def completion(call: Call) -> int:
    """Print the completions for a shell, or for them the names of the jobs."""
    if call.options.shell == "jobs":
        return _job_names(call)
    with open(os.path.join(COMPLETIONS, FILES[call.options.shell]), encoding="utf-8") as file:
        call.out.stdout.write(file.read())
    return ExitStatus.DONE


def _job_names(call: Call) -> int:
    try:
        jobs = call.ask("status", [])["jobs"]
    except NoCore:
        return ExitStatus.DONE  # a person pressed Tab: no names is an answer, an error message on the line is not
    for job in jobs:
        for name in (job["name"], *(each["key"] for each in job["processes"] if len(job["processes"]) > 1)):
            call.out.say(clean(name))
    return ExitStatus.DONE
