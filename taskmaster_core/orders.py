"""Turn effects into orders for the shim (docs/shim-protocol.md): the one place where a spec becomes a spawn.

Decides where output goes and who a run is; touches nothing but the user database. The daemon sends what it returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from taskmaster_core import users
from taskmaster_core.launch import ExpandError, Launch, launch
from taskmaster_core.machine import KillTree, Signal, Spawn
from taskmaster_core.paths import Places
from taskmaster_core.spec import Exit, JobSpec, Key, LogSpec
from taskmaster_core.supervisor import Retune

Order = dict[str, Any]


class Setting(Struct, frozen=True):
    """Hold what every spawn needs beside its spec."""

    places: Places
    instance: str
    base_env: Mapping[str, str]


class CannotSpawn(Exception):
    """Tell that a run cannot even be ordered; `exit` is how it ends."""

    def __init__(self, end: Exit) -> None:
        super().__init__(end.message)
        self.exit = end


def spawn_order(effect: Spawn, setting: Setting, now_unix: int) -> Order:
    """Return the order for one run; raise CannotSpawn for an unknown user or a placeholder without value."""
    spec, key = effect.spec, effect.key
    try:
        who = users.identify(spec.uid, spec.gid)
    except users.UnknownUser as error:
        raise CannotSpawn(Exit(stage="user", errno="ENOENT", message=str(error))) from error
    try:
        what = launch(
            spec, key, effect.run, base_env=setting.base_env, identity=who.env, instance=setting.instance,
            now_unix=now_unix,
        )  # fmt: skip
    except ExpandError as error:
        raise CannotSpawn(Exit(stage="expand", errno="EINVAL", message=str(error))) from error
    return {
        "t": "spawn", "key": str(key), "run": effect.run, "argv": list(what.argv), "env": what.env, "cwd": what.cwd,
        "umask": spec.umask, "uid": who.uid, "gid": who.gid, "groups": who.groups, "nice": spec.nice,
        "limits": [[each.name, each.soft, each.hard] for each in spec.limits], "stdin": what.stdin, "tty": spec.tty,
        **_sinks(spec, key, what, who, setting.places), "stop": _recipe(spec), "killgroup": spec.killgroup,
    }  # fmt: skip


def _recipe(spec: JobSpec) -> list[list[float]]:
    return [[each.signum, each.delay] for each in spec.stop]


def _sinks(spec: JobSpec, key: Key, what: Launch, who: users.Identity, places: Places) -> Order:
    return {
        "out": _sink(what.stdout, "out", spec, key, who, places),
        "err": _sink(what.stderr, "err", spec, key, who, places),
    }


def _sink(target: str, stream: str, spec: JobSpec, key: Key, who: users.Identity, places: Places) -> Order:
    if target in ("null", "inherit"):
        return {"kind": target}
    if target == "stdout":
        return {"kind": "out"}
    log = spec.log if target == "log" else spec.filelog
    path = places.log_path(key.job, key.index, stream) if target == "log" else target
    index = f"{path}.idx" if target == "log" else places.index_path(path)
    return {
        "kind": "file", "path": path, "index": index, "tag": str(key), "maxsize": log.maxsize, "keep": log.keep,
        "direct": log.direct, "full": log.full, **_owner(log, who),
    }  # fmt: skip


def _owner(log: LogSpec, who: users.Identity) -> Order:
    if log.owner != "job":
        return {"uid": None, "gid": None}
    return {"uid": who.uid, "gid": who.gid}


def files_of(spec: JobSpec, key: Key, run: int, setting: Setting, now_unix: int) -> dict[str, Order]:
    """Return the streams of a process that go to a file: "out" and "err" with their sinks; empty if not known."""
    try:
        order = spawn_order(Spawn(key, run, spec), setting, now_unix)
    except CannotSpawn:
        return {}
    return files_in(order)


def files_in(order: Order) -> dict[str, Order]:
    """Return the streams of a spawn order that go to a file."""
    return {stream: order[stream] for stream in ("out", "err") if order[stream]["kind"] == "file"}


def sources_in(files: Mapping[str, Order], key: Key) -> dict[str, Order]:
    """Return where a reader finds what is in these files: per stream path, index, and tag if others share it."""
    return {
        stream: {
            "path": sink["path"],
            "index": sink["index"],
            "tag": None if sink["index"] == f"{sink['path']}.idx" else str(key),
        }
        for stream, sink in files.items()
    }


def signal_order(effect: Signal) -> Order:
    """Return the order to send a signal."""
    return {
        "t": "signal", "key": str(effect.key), "run": effect.run, "sig": effect.signum, "group": effect.group,
        "stopping": effect.stopping,
    }  # fmt: skip


def kill_order(effect: KillTree) -> Order:
    """Return the order to kill a tree."""
    return {"t": "kill", "key": str(effect.key), "run": effect.run, "tree": effect.tree}


def retune_orders(effect: Retune, setting: Setting, now_unix: int) -> list[Order]:
    """Return the orders that a live change of a spec means for its run."""
    spec, name = effect.spec, str(effect.key)
    orders: list[Order] = [
        {
            "t": "recipe", "key": name, "run": effect.run, "stop": _recipe(spec), "killgroup": spec.killgroup,
            "nice": spec.nice,
        }
    ]  # fmt: skip
    files = files_of(spec, effect.key, effect.run, setting, now_unix) if effect.sinks else {}
    if files:
        orders.append({"t": "sink", "key": name, "run": effect.run, **files})
    return orders
