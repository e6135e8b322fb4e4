"""Find out what is wrong: with the machine, with the set-up, with the core.

It decides what is well (✓), what is a pity (!) and what keeps Taskmaster from working (✗), each with a remedy. What
only the core can see, the core answers itself. Nothing is changed.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import zmq

from taskmaster_core import paths
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import plural
from taskmaster_core.cli.rescue import holders
from taskmaster_core.cli.suggest import unlike
from taskmaster_core.errors import ExitStatus, NoCore, TaskmasterError
from taskmaster_core.logs.sanitize import clean

GOOD, PITY, BAD = "good", "warning", "bad"

_LOOKS = {GOOD: ("✓", "ok", "good"), PITY: ("!", "!!", "busy"), BAD: ("✗", "XX", "bad")}

OLDEST_KERNEL = (5, 4)
OLDEST_ZMQ = (4, 3, 5)
"""Older ones have holes that are known (RELIABILITY §5)."""

ENOUGH_FILES = 4096
"""Descriptors that 1,000 processes need (DESIGN §1)."""

ENOUGH_WATCHES = 128
"""inotify instances: one for the core, the others are other programs'."""


class Check(NamedTuple):
    """Hold what was looked at, how it is, and what to do."""

    name: str
    level: str
    text: str
    help: str = ""


def doctor(call: Call) -> int:
    """Print every check; return 1 when one is bad."""
    checks = [*_own_checks(call), *_core_checks(call)]
    if call.options.json:
        call.out.data({"checks": [{**each._asdict(), "ok": each.level != BAD} for each in checks]})
    else:
        _print(call, checks)
    return ExitStatus.NOT_AS_ASKED if any(each.level == BAD for each in checks) else ExitStatus.DONE


def _print(call: Call, checks: list[Check]) -> None:
    out = call.out
    width = max(len(each.name) for each in checks)
    for each in checks:
        glyph, plain, style = _LOOKS[each.level]
        mark = out.paint(glyph if out.unicode else plain, style)
        out.say(f"{mark} {each.name:<{width}}  {clean(each.text)}")
        if each.help and each.level != GOOD:
            out.say(f"  {'':<{width}}  {out.paint('-> ' + clean(each.help), 'dim')}")
    bad, pity = (sum(each.level == level for each in checks) for level in (BAD, PITY))
    out.say(f"{plural(bad, 'error')}, {plural(pity, 'warning')}")


def _own_checks(call: Call) -> Iterator[Check]:
    yield _python()
    yield _libzmq()
    if sys.platform == "linux":
        yield from _linux(call)
    else:
        yield Check("system", PITY, f"{platform.system()}: clients work, the core needs Linux")
    yield _config(call)


def _linux(call: Call) -> Iterator[Check]:
    yield _kernel(platform.release())
    yield _pidfd()
    yield _cgroup("/proc/self/cgroup", "/proc/self/mountinfo")
    yield _descriptors(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield _inotify("/proc/sys/fs/inotify/max_user_instances")
    yield _state_directory(call.instance)
    yield _run_directory(call.instance)


def _python() -> Check:
    text = platform.python_version()
    return Check("python", GOOD if sys.version_info >= (3, 11) else BAD, text, "3.11 or newer is needed")


def _libzmq() -> Check:
    level = GOOD if zmq.zmq_version_info() >= OLDEST_ZMQ else BAD
    return Check("libzmq", level, zmq.zmq_version(), "pip install --upgrade pyzmq: older ones have known holes")


def _kernel(release: str) -> Check:
    numbers = tuple(int(part) for part in release.partition("-")[0].split(".")[:2] if part.isdigit())
    return Check("kernel", GOOD if numbers >= OLDEST_KERNEL else BAD, release, "5.4 or newer is needed, for pidfd")


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Check("pidfd", BAD, f"not allowed: {error.strerror}", "a seccomp filter may forbid pidfd_open: allow it")
    return Check("pidfd", GOOD, "works")


def _cgroup(own: str, mounts: str) -> Check:
    """Look whether the core could make cgroups; where it cannot, it ends trees by a sweep instead."""
    name = "cgroup v2"
    point = _mount_of("cgroup2", mounts)
    if point is None:
        return Check(
            name, PITY, "not mounted: trees are ended by a sweep", "a kernel with the unified hierarchy has it"
        )
    with open(own, encoding="utf-8") as lines:
        below = next((line.rstrip("\n")[3:] for line in lines if line.startswith("0::")), "/")
    path = point + below
    if os.access(path, os.W_OK):
        return Check(name, GOOD, f"{path} is writable")
    remedy = "under systemd: Delegate=yes; as a user: run below systemd --user"
    return Check(name, PITY, f"{path} is not writable: trees are ended by a sweep", remedy)


def _mount_of(kind: str, mounts: str) -> str | None:
    with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
        found = (line.partition(" - ") for line in lines)
        return next((left.split(" ")[4] for left, _, right in found if right.startswith(kind + " ")), None)


def _descriptors(soft: int, hard: int) -> Check:
    unlimited = hard == resource.RLIM_INFINITY
    level = GOOD if unlimited or hard >= ENOUGH_FILES else PITY
    text = f"{'unlimited' if unlimited else hard} (now {soft}; the shim raises it)"
    return Check("open files", level, text, f"1,000 processes need {ENOUGH_FILES}: raise LimitNOFILE or `ulimit -Hn`")


def _inotify(path: str) -> Check:
    try:
        with open(path, encoding="ascii") as file:
            number = int(file.read())
    except (OSError, ValueError) as error:
        return Check("inotify", PITY, f"unknown: {error}", "saving the config may not be noticed: taskmaster reload")
    level = GOOD if number >= ENOUGH_WATCHES else PITY
    return Check("inotify", level, f"{number} instances", f"sysctl fs.inotify.max_user_instances={ENOUGH_WATCHES}")


def _places(instance: str) -> paths.Places:
    return paths.places(instance, os.environ, os.geteuid())


def _state_directory(instance: str) -> Check:
    path = _places(instance).statedir
    kind = paths.network_filesystem(path)
    if kind is not None:
        return Check("state directory", BAD, f"{path} is on {kind}", "set `statedir` in [taskmaster] to a local path")
    return _directory("state directory", path)


def _run_directory(instance: str) -> Check:
    return _directory("run directory", _places(instance).rundir)


def _directory(name: str, path: str) -> Check:
    """Look whether the directory is ours and private, or could be made."""
    if os.path.lexists(path):
        try:
            paths.check_private(path, os.geteuid(), 0o750)
        except TaskmasterError as error:
            return Check(name, BAD, error.message, error.help)
        return Check(name, GOOD, path)
    parent = path
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if os.access(parent, os.W_OK):
        return Check(name, GOOD, f"{path} (made when it is needed)")
    return Check(
        name, BAD, f"{path} cannot be made: {parent} is not writable", "set XDG_STATE_HOME and XDG_RUNTIME_DIR"
    )


def _config(call: Call) -> Check:
    # 100 ms; the other checks come out whatever it says
    from taskmaster_core import config  # noqa: PLC0415
    from taskmaster_core.config.discover import discover  # noqa: PLC0415

    found = discover(call.config, os.environ, os.getcwd())
    if not found.paths:
        return Check("config", PITY, "no file found", "taskmaster config path says where it was looked for")
    loaded = config.load(found.paths, os.environ, privileged=os.geteuid() == 0)
    text = f"{', '.join(found.paths)}: {config.summary(loaded.problems)}"
    level = BAD if loaded.config is None else PITY if loaded.problems else GOOD
    return Check("config", level, text, "taskmaster check explains")


# What the core says --------------------------------------------------------------------------------------------------


def _core_checks(call: Call) -> Iterator[Check]:
    try:
        answer: dict[str, Any] = call.ask("doctor", [])
    except NoCore as error:
        yield from _no_core(call, error)
        return
    yield Check("core", GOOD, f"answers at {call.client.commands}")
    yield _releases(call.ask("ping", []))
    for each in answer["checks"]:
        yield Check(f"core: {each['name']}", GOOD if each["ok"] else BAD, each["text"], each.get("help", ""))


def _releases(core: dict[str, Any]) -> Check:
    differ = unlike(core)
    remedy = "what is installed takes over, and no job is touched: taskmaster upgrade"
    return Check("releases", PITY if differ else GOOD, differ or f"client, core and shim {core['version']}", remedy)


def _no_core(call: Call, error: NoCore) -> Iterator[Check]:
    """Tell a core that is down, which is no error, from one that runs and is not to be reached."""
    pids = holders(call.instance, call.config)
    if pids:
        remedy = "is it just starting? else see core.out and taskmaster.log in the state directory"
        yield Check("core", BAD, f"{error.message}, but the instance is in use (pid {pids[0]})", remedy)
    else:
        yield Check("core", PITY, "none runs", "start one: taskmaster up")
