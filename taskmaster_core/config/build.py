"""How a job's tables become its spec: defaults below, the task above, and every rule that looks at two things.

Decides paths, commands, redirections, limits, users and templates of one job, and reports what cannot be. Reads no
config file: `files` has. What it must know of the machine it asks the World it is given.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, cast

from msgspec.structs import replace

from taskmaster_core.config import command
from taskmaster_core.config.check import Layer
from taskmaster_core.config.model import Task
from taskmaster_core.config.source import Finding, Path
from taskmaster_core.config.trial import EnvLayer, Trial
from taskmaster_core.config.values import Invalid, umask_of
from taskmaster_core.config.world import World
from taskmaster_core.launch import FACTS
from taskmaster_core.masking import masked_words
from taskmaster_core.spec import Backoff, JobSpec, LogSpec, Restart, Rlimit, StopStep

_PLAIN = (
    "description", "tags", "autostart", "numprocess", "exitcodes", "successdelay", "retry", "killgroup", "cleanenv",
    "nice", "exitwith", "protected", "tty",
)  # fmt: skip
"""Keys that the spec holds as the file gives them."""

_EVERYTHING = 0o666  # new files have these bits at most: a umask that takes them leaves none


class Builder:
    """Make the spec of one job from its layers, the nearest first."""

    def __init__(self, task: Layer, defaults: Sequence[Layer], envs: Sequence[EnvLayer], world: World) -> None:
        self.task = task
        self.name = cast("Task", task.keys).name
        self.layers = (task, *defaults)
        self.envs = envs
        self.world = world

    def spec(self) -> JobSpec:
        """Return the spec; when something was reported, it is one that nobody may run."""
        cmd = self._command()
        env, fileenv, envfile = self._env()
        spec = JobSpec(
            name=self.name,
            argv=cmd.argv,
            cmd=self.get("cmd") or "",
            shell=cmd.shell,
            restart=Restart(self.get("restart")),
            backoff=self._backoff(),
            stop=self._stop(),
            log=LogSpec(**self._log()),
            filelog=LogSpec(**{"maxsize": None, **self._log()}),
            baseenv={name: value for layer in reversed(self.envs) for name, value in layer.values.items()},
            fileenv=fileenv,
            env=env,
            envfile=envfile,
            umask=self._umask(),
            uid=self._uid(),
            gid=self._gid(),
            limits=self._limits(),
            **{key: self.get(key) for key in _PLAIN},
        )
        self._check_nice()
        self._check_log()
        spec = self._with_paths(spec)
        return self._on_terminal(spec) if spec.tty else spec

    # layers

    def layer(self, key: str) -> Layer | None:
        """Return the nearest table that holds the key."""
        return next((layer for layer in self.layers if key in layer.keys.model_fields_set), None)

    def get(self, key: str) -> Any:
        """Return the key's value, or its default."""
        layer = self.layer(key)
        return getattr((layer or self.task).keys, key)

    def table(self, key: str) -> Iterator[tuple[str, Any, Layer]]:
        """Return what is written in a table of the task, defaults below the task's own."""
        seen: set[str] = set()
        for layer in self.layers:
            if key not in layer.keys.model_fields_set:
                continue
            inner = getattr(layer.keys, key)
            for name in sorted(inner.model_fields_set - seen):
                seen.add(name)
                yield name, getattr(inner, name), layer

    def report(self, key: str, code: str, message: str, advice: str = "", *more: str | int) -> None:
        """Keep a finding about the key, where it is written."""
        layer = self.layer(key) or self.task
        path: Path = (*layer.path, key, *more)
        layer.source.report(Finding(code, f"`{key}`: {message}", advice, path))

    # keys

    def _command(self) -> command.Command:
        cmd = self.get("cmd")
        if cmd is None:
            if not any("cmd" in (layer.source.at(layer.path) or ()) for layer in self.layers):
                finding = Finding(
                    "E102", f"the job `{self.name}` has no `cmd`", 'write cmd = "…"', self.task.path, "key"
                )
                self.task.source.report(finding)
            return command.Command(("",))
        try:
            found = command.read(cmd, self.get("shell"))
        except Invalid as error:
            self.report("cmd", error.code, error.message, error.help)
            return command.Command(("",))
        for warning in found.warnings:
            self.report("cmd", *warning)
        if masked_words(found.argv) != list(found.argv):
            self.report("cmd", "W107", "everybody on this machine can read a command line", "put it into an `envfile`")
        return found

    def _backoff(self) -> Backoff:
        backoff = Backoff(**{name: value for name, value, _ in self.table("backoff")})
        if backoff.max < backoff.first:
            self.report("backoff", "E304", f"`max` ({backoff.max:g} s) is below `first` ({backoff.first:g} s)")
        return backoff

    def _stop(self) -> tuple[StopStep, ...]:
        signal = self.get("stopsignal")
        if isinstance(signal, int):
            return (StopStep(signal, self.get("stopdelay")),)
        layer = self.layer("stopsignal")
        if layer is not None and layer is self.layer("stopdelay"):
            self.report("stopdelay", "E304", "the steps of `stopsignal` have their own delays", "take `stopdelay` out")
        return tuple(StopStep(*step) for step in signal)

    def _log(self) -> dict[str, Any]:
        values = {name: value for name, value, _ in self.table("log")}
        if values.get("maxsize") == 0:
            values["maxsize"] = None
        return values

    def _check_log(self) -> None:
        log = LogSpec(**self._log())
        if log.direct and self._log().get("maxsize"):
            self.report("log", "E304", "with `direct` nothing is rotated", "take `maxsize` or `direct` out")

    def _on_terminal(self, spec: JobSpec) -> JobSpec:
        """Return the spec of a job with a terminal, which has one output and no other input."""
        for key, words in (("stdin", ("null",)), ("stderr", ("stdout", "log"))):
            if self.layer(key) is not None and self.get(key) not in words:
                self.report(key, "E304", "with `tty` the terminal is input and output", f"take `{key}` out")
        if spec.stdout == "inherit":
            self.report("stdout", "E304", "with `tty` the job has its own terminal", 'write "log", "null" or a path')
        if spec.log.direct:
            self.report("log", "E304", "`direct` and `tty` exclude each other", "take one of them out")
        return replace(spec, stdin="null", stderr="stdout")

    def _limits(self) -> tuple[Rlimit, ...]:
        limits = []
        for field, (soft, hard), layer in self.table("limits"):
            name = field.rstrip("_")
            ours = self.world.hard_limit(name)
            if not self.world.privileged and ours is not None and (hard is None or hard > ours):
                wanted = "unlimited" if hard is None else hard
                message = f"`{name}`: {wanted} is above the hard limit, {ours}: that needs root"
                layer.source.report(Finding("E306", message, "", (*layer.path, "limits", name)))
            limits.append(Rlimit(name, soft, hard))
        return tuple(sorted(limits, key=lambda limit: limit.name))

    def _check_nice(self) -> None:
        if self.get("nice") < 0 and not self.world.privileged:
            self.report("nice", "E306", "a niceness below 0 needs root")

    def _umask(self) -> int | None:
        layer = self.layer("umask")
        if layer is None:
            return None
        path, written = (*layer.path, "umask"), layer.keys.umask
        if isinstance(layer.source.at(path), int):
            try:
                written = umask_of(layer.source.umask_token(path))
            except Invalid as error:
                layer.source.report(Finding(error.code, f"`umask`: {error.message}", error.help, path))
                return None
        if written is not None and written & _EVERYTHING == _EVERYTHING:
            advice = "write 0o022 to keep others from writing"
            layer.source.report(
                Finding("W102", f"umask 0o{written:03o} takes every permission from new files", advice, path)
            )
        return written

    def _uid(self) -> int | str | None:
        uid = self.get("uid")
        if uid is None:
            return None
        entry = self.world.user(uid)
        if isinstance(uid, str) and entry is None:
            advice = "write uid and gid, each by itself" if ":" in uid else ""
            self.report("uid", "E305", f'there is no user "{uid}"', advice)
        elif not self.world.privileged:
            if self.world.euid == (entry.pw_uid if entry else uid):
                return None  # what the core is already needs no privilege
            self.report("uid", "E306", f"running as {uid} needs root", "start the core as root, or take `uid` out")
        return cast("int | str", uid)

    def _gid(self) -> int | str | None:
        gid = self.get("gid")
        if gid is None:
            return None
        if isinstance(gid, str) and self.world.group(gid) is None:
            self.report("gid", "E305", f'there is no group "{gid}"')
        elif not self.world.privileged:
            self.report(
                "gid", "E306", f"running with group {gid} needs root", "start the core as root, or take `gid` out"
            )
        return cast("int | str", gid)

    # environment

    def _env(self) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
        env: dict[str, str] = {}
        for layer in reversed(self.layers):
            if "env" in layer.keys.model_fields_set:
                self._check_env(layer)
                env |= layer.keys.env
        fileenv: dict[str, str] = {}
        paths = []
        layer = self.layer("envfile") or self.task
        for index, written in enumerate(layer.keys.envfile):
            path = posixpath.normpath(posixpath.join(layer.source.directory, written.strip("?")))
            paths.append(path)
            optional = "?" in (written[0], written[-1])
            fileenv |= self.world.envfile(path, optional, layer.source, (*layer.path, "envfile", index))
        return env, fileenv, tuple(paths)

    def _check_env(self, layer: Layer) -> None:
        for name in FACTS:
            if name in layer.keys.env:
                finding = Finding(
                    "W103",
                    f"`{name}` is set by the core, this value is not used",
                    "take it out",
                    (*layer.path, "env", name),
                    "key",
                )
                layer.source.report(finding)

    def _with_paths(self, spec: JobSpec) -> JobSpec:
        trial = Trial(spec, self.task, self.layers, self.envs, self.world)
        paths = {
            key: trial.path(key, self.layer(key), self.get(key)) for key in ("workingdir", "stdin", "stdout", "stderr")
        }
        trial.command(self.layer("cmd") or self.task)
        return replace(spec, **paths)
