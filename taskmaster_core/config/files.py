"""Which files a config is made of, and the config they make together.

Decides the order of includes, what a file may say about files it includes, and that two jobs never share a name.
Never raises for what a file holds: everything wrong is a problem in what it returns. The daemon, `check` and the
editor call `load` or `parse`.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from msgspec import Struct

from taskmaster_core.config.build import Builder
from taskmaster_core.config.check import Layer, Tables, read_tables
from taskmaster_core.config.model import AccessKeys
from taskmaster_core.config.problems import ERROR, Problem
from taskmaster_core.config.source import Finding, Path, Source, errors_in
from taskmaster_core.config.trial import EnvLayer
from taskmaster_core.config.world import World
from taskmaster_core.spec import Access, Config, JobSpec, Settings

_MOST_FILES = 500
_DEEPEST = 10


class Loaded(Struct, frozen=True):
    """Hold what was read and what is wrong with it; `config` is None when there is any error."""

    config: Config | None
    problems: tuple[Problem, ...]
    texts: dict[str, bytes]
    """Every file read, by absolute path, the main ones first."""
    digest: str
    tried: tuple[str, ...] = ()
    """Every file that was wanted, also one that is not there."""


class _Member(Struct, frozen=True):
    """Hold one file and the files that include it, the nearest first."""

    source: Source
    tables: Tables
    parents: tuple[_Member, ...] = ()

    def defaults(self) -> tuple[Layer, ...]:
        return tuple(each.tables.defaults for each in (self, *self.parents) if each.tables.defaults is not None)

    def envs(self) -> tuple[EnvLayer, ...]:
        return tuple(EnvLayer(each.tables.env, each.source) for each in (self, *self.parents))


class _Loader:
    def __init__(self, world: World) -> None:
        self.world = world
        self.sources: list[Source] = []
        self.members: list[_Member] = []
        self._seen: set[str] = set()

    # files

    def read(self, shown: str, parents: tuple[_Member, ...] = (), blame: tuple[Source, Path] | None = None) -> None:
        """Read a file and what it includes; `blame` is the entry that named it."""
        path = os.path.abspath(shown)
        try:
            real = os.path.realpath(path)  # raises ValueError for a NUL
            if real in self._seen:
                return
            self._seen.add(real)
            raw, status = self.world.read(path)
        except (OSError, ValueError) as error:
            self._unreadable(shown, error, blame)
            return
        reason = self.world.distrusted(status)
        if reason:
            self._refuse(
                shown,
                "E006",
                f"not trusted: {reason}",
                "chown it to root and chmod 644, or set TASKMASTER_TRUST_CONFIG=1",
            )
            return
        self.add(Source(shown, raw, directory=os.path.dirname(path), main=not parents), parents)

    def add(self, source: Source, parents: tuple[_Member, ...] = ()) -> None:
        """Check a text and read what it includes."""
        self.sources.append(source)
        member = _Member(source, read_tables(source), parents)
        self.members.append(member)
        if member.tables.settings is not None and self.world.disk:
            for index, pattern in enumerate(member.tables.settings.include):
                self._include(member, pattern, ("taskmaster", "include", index))

    def _include(self, member: _Member, pattern: str, spot: Path) -> None:
        chain = (member, *member.parents)
        if len(chain) > _DEEPEST:
            self._refuse_include(member, spot, "includes are nested too deeply")
            return
        for path in self._matches(member, pattern, spot):
            loop = next((each for each in chain if os.path.realpath(each.source.file) == os.path.realpath(path)), None)
            if loop is not None:
                self._refuse_include(member, spot, f"the file includes itself: {_chain(chain)} → {path}")
            elif len(self.sources) >= _MOST_FILES:
                self._refuse_include(member, spot, f"more than {_MOST_FILES} files")
            else:
                self.read(path, chain, (member.source, spot))

    def _matches(self, member: _Member, pattern: str, spot: Path) -> list[str]:
        """Return the files of a pattern by name; one without wildcards must be there."""
        full = os.path.join(os.path.dirname(member.source.file), pattern)
        if not glob.has_magic(pattern):
            return [full]
        directory = os.path.dirname(full)
        if not glob.has_magic(directory):
            try:
                os.scandir(directory or ".").close()
            except OSError as error:
                self._refuse_include(member, spot, f"{directory}: {_reason(error)}")
                return []
        return sorted(glob.glob(full))

    def _refuse_include(self, member: _Member, spot: Path, message: str) -> None:
        chain = _chain((member, *member.parents))
        text = message if "→" in message or not member.parents else f"{message} ({chain})"
        member.source.report(Finding("E005", f"`include`: {text}", "", spot))

    def _unreadable(self, shown: str, error: Exception, blame: tuple[Source, Path] | None) -> None:
        reason = _reason(error)
        if blame is None:
            advice = (
                "`taskmaster config path` says where configs are looked for"
                if isinstance(error, FileNotFoundError)
                else ""
            )
            self._refuse(shown, "E001", f"cannot read the config: {reason}", advice)
            return
        member = next(each for each in self.members if each.source is blame[0])
        self._refuse_include(member, blame[1], f"{shown}: {reason}")

    def _refuse(self, shown: str, code: str, message: str, advice: str) -> None:
        source = Source(shown, b"")
        source.refuse(code, message, advice)
        self.sources.append(source)

    # jobs

    def config(self) -> Config | None:
        """Return the config, None when anything is wrong."""
        jobs = tuple(self._jobs())
        settings = self._settings()
        if errors_in(self.sources):
            return None
        files = sorted(
            self.world.texts, key=lambda path: not any(path == os.path.abspath(s.file) for s in self.sources)
        )
        return Config(jobs, settings, tuple(files))

    def _jobs(self) -> Iterator[JobSpec]:
        first: dict[str, Layer] = {}
        for member in self.members:
            defaults, envs = member.defaults(), member.envs()
            for task in member.tables.tasks:
                job = Builder(task, defaults, envs, self.world)
                if job.name in first:
                    self._twice(job.name, task, first[job.name])
                first.setdefault(job.name, task)
                yield job.spec()

    def _twice(self, name: str, task: Layer, first: Layer) -> None:
        at = "value" if isinstance(task.path[-1], int) else "key"
        before = "value" if isinstance(first.path[-1], int) else "key"
        also = ((first.source, _name_path(first), before, "first used here"),)
        finding = Finding(
            "E301",
            f"the name `{name}` is used twice",
            "give one of the two jobs another name",
            _name_path(task),
            at,
            also=also,
        )
        task.source.report(finding)

    # settings

    def _settings(self) -> Settings:
        written: dict[str, tuple[Any, Source]] = {}
        for member in self.members:
            keys = member.tables.settings
            for name in sorted(keys.model_fields_set) if keys is not None else ():
                self._setting(written, name, getattr(keys, name), member)
        values = {name: value for name, (value, _) in written.items()}
        include = tuple(
            os.path.join(os.path.dirname(member.source.file), pattern)
            for member in self.members
            if member.tables.settings
            for pattern in member.tables.settings.include
        )
        return Settings(**{**values, "include": include})

    def _setting(self, written: dict[str, tuple[Any, Source]], name: str, value: Any, member: _Member) -> None:
        source, path = member.source, ("taskmaster", name)
        if name == "include":
            return
        if member.parents:
            message = f"`{name}`: an included file cannot change the core's settings"
            source.report(Finding("E308", message, f"write it into {member.parents[-1].source.file}", path, "key"))
            return
        value = self._resolved(name, value, source)
        if name in written and written[name][0] != value:
            also = ((written[name][1], path, "key", "and here"),)
            source.report(
                Finding("E308", f"`{name}` is set in two files, to different values", "", path, "key", also=also)
            )
        written.setdefault(name, (value, source))

    def _resolved(self, name: str, value: Any, source: Source) -> Any:
        path = ("taskmaster", name)
        if name in ("logfile", "statedir"):
            if value.startswith("~"):
                source.report(Finding("E307", f"`{name}`: no shell replaces `~`", "write the whole path", path))
            return os.path.normpath(os.path.join(source.directory, value))
        if name == "socketgroup":
            if isinstance(value, str) and self.world.group(value) is None:
                source.report(Finding("E305", f'`socketgroup`: there is no group "{value}"', "", path))
            return str(value)
        return self._access(value, source) if name == "access" else value

    def _access(self, keys: AccessKeys, source: Source) -> Access:
        for name in ("operators", "readers"):
            for index, who in enumerate(getattr(keys, name)):
                if self.world.disk and not self._exists(who):
                    kind = "group" if who.startswith("@") else "user"
                    message = f'`{name}`: there is no {kind} "{who.removeprefix("@")}"'
                    source.report(Finding("E305", message, "", ("taskmaster", "access", name, index)))
        return Access(keys.operators, keys.readers, keys.listen)

    def _exists(self, who: str) -> bool:
        """Tell whether there is such a user or group; a number needs no name."""
        name = who.removeprefix("@")
        return name.isdigit() or (self.world.user(name) if name == who else self.world.group(name)) is not None


def _name_path(layer: Layer) -> Path:
    return (*layer.path, "name") if isinstance(layer.path[-1], int) else layer.path


def _chain(members: Sequence[_Member]) -> str:
    return " → ".join(member.source.file for member in reversed(members))


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]


def _loaded(loader: _Loader) -> Loaded:
    config = loader.config()
    problems = [problem for source in loader.sources for problem in source.problems()]
    problems.sort(key=lambda problem: problem.severity != ERROR)
    texts = dict(loader.world.texts)
    digest = sha256()
    for path, raw in texts.items():
        digest.update(f"{len(path)} {path} {len(raw)} ".encode(errors="surrogateescape") + raw)
    return Loaded(config, tuple(problems), texts, digest.hexdigest(), tuple(loader.world.tried))


def load(
    paths: Sequence[str],
    environ: Mapping[str, str],
    *,
    privileged: bool,
    overlay: Mapping[str, bytes] | None = None,
) -> Loaded:
    """Read the files and everything they include; `overlay` gives, by absolute path, texts that replace files.

    `privileged` tells whether the core is root, which decides about users, limits and whom a file may belong to.
    """
    loader = _Loader(World(environ, privileged=privileged, overlay=overlay))
    for path in paths:
        loader.read(path)
    return _loaded(loader)


def parse(text: bytes, file: str, environ: Mapping[str, str] | None = None, *, privileged: bool = False) -> Loaded:
    """Check one text without reading any file: neither what it includes nor its envfiles."""
    world = World(environ or {}, privileged=privileged, disk=False)
    loader = _Loader(world)
    world.texts[os.path.abspath(file)] = text
    loader.add(Source(file, text, directory=os.path.dirname(os.path.abspath(file))))
    return _loaded(loader)


def shrunk(old: bytes, new: bytes) -> bool:
    """Tell whether a new text looks like a file that is being written: empty, or the old one cut short."""
    rest = new.rstrip()
    return rest != old.rstrip() and old.startswith(rest)
