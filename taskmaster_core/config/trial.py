"""Whether a job's templates can be expanded: tried at load as for its first process, before anything runs.

Decides which paths are relative to which config file and what looks like a placeholder and is none. Replaces nothing
for good: `launch` does that at each start.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from msgspec import Struct

from taskmaster_core.config.check import Layer
from taskmaster_core.config.foreign import PLACEHOLDERS
from taskmaster_core.config.source import Finding, Path, Source
from taskmaster_core.config.world import World
from taskmaster_core.launch import FACTS, WORDS, ExpandError, check_template, environment, expand, literal, names_of
from taskmaster_core.spec import JobSpec, Key

_BARE = re.compile(r"(?<![\\$])\$([A-Za-z_]\w*)", re.ASCII)
_WORDS_OF = {"workingdir": frozenset[str](), "stdin": frozenset({"null", "pipe"})}
_DEFAULT = "set it, or write a default: ${NAME:-default}"


class EnvLayer(Struct, frozen=True):
    """Hold one file's `[env]`."""

    values: dict[str, str]
    source: Source


class Trial:
    """Expand one job's templates and report those that cannot be."""

    def __init__(
        self, spec: JobSpec, task: Layer, layers: Sequence[Layer], envs: Sequence[EnvLayer], world: World
    ) -> None:
        self.spec = spec
        self.task = task
        self.layers = layers
        self.envs = envs
        self.names = names_of(Key(spec.name, 0), 0)
        self.environment: dict[str, str] | None = None
        try:
            self.environment = environment(
                spec,
                self.names,
                dict.fromkeys(FACTS, "0"),
                base_env=world.environ,
                identity=world.identity(spec.uid),
            )
        except ExpandError as error:
            self._blame(*str(error).split(": ", 1))
        self._check_variables()

    def _tables(self) -> list[tuple[Source, Path, dict[str, str]]]:
        """Return the tables of variables, the strongest first."""
        ours = [(layer.source, (*layer.path, "env"), layer.keys.env) for layer in self.layers]
        return ours + [(layer.source, ("env",), layer.values) for layer in self.envs]

    def _blame(self, name: str, reason: str) -> None:
        source, path, _ = next(table for table in self._tables() if name in table[2])
        source.report(Finding("E303", f"`{name}`: {reason}", _DEFAULT, (*path, name)))

    def _check_variables(self) -> None:
        for source, path, table in self._tables():
            for name, template in table.items():
                self._look(source, (*path, name), name, template, dollars=True)
                self._bare(source, (*path, name), template)

    def _look(self, source: Source, path: Path, key: str, template: str, *, dollars: bool) -> bool:
        """Report what is wrong with a template whatever its variables are; tell whether it can be expanded."""
        reason = check_template(template, dollars=dollars)
        if reason:
            source.report(Finding("E303", f"`{key}`: {reason}", "", path))
        for foreign, ours in PLACEHOLDERS.items():
            if foreign in template:
                message = f"`{key}`: `{foreign}…` is another program's placeholder and is passed as it is"
                source.report(Finding("W104", message, f"write {ours}", path))
        return reason is None

    def _bare(self, source: Source, path: Path, template: str) -> None:
        for found in _BARE.finditer(template):
            if self.environment is not None and found[1] in self.environment:
                message = f"`{found[0]}` is passed as it is: no shell replaces it"
                source.report(Finding("W104", message, f"write ${{{found[1]}}}", path))

    def _expanded(self, source: Source, path: Path, key: str, template: str, *, dollars: bool = True) -> str | None:
        if not self._look(source, path, key, template, dollars=dollars) or self.environment is None:
            return None
        try:
            return expand(template, self.names, self.environment, dollars=dollars)
        except ExpandError as error:
            source.report(Finding("E303", f"`{key}`: {error}", _DEFAULT, path))
            return None

    def command(self, layer: Layer) -> None:
        """Try the words of the command."""
        dollars = self.spec.shell is None
        for index, word in enumerate(self.spec.argv):
            more = (index,) if isinstance(layer.keys.cmd, tuple) else ()
            self._expanded(layer.source, (*layer.path, "cmd", *more), "cmd", word, dollars=dollars)

    def path(self, key: str, layer: Layer | None, template: str | None) -> str:
        """Return the absolute template of a path; words as "log" stay what they are."""
        source = (layer or self.task).source
        if template is None:
            return literal(source.directory)
        if layer is None or (template in _WORDS_OF.get(key, WORDS)):
            return template
        spot = (*layer.path, key)
        if template == "~" or template.startswith("~/"):
            message = f"`{key}`: no shell replaces `~`"
            source.report(Finding("E307", message, f"write ${{HOME}}{template[1:]}", spot))
        self._bare(source, spot, template)
        value = self._expanded(source, spot, key, template)
        if value == "":
            source.report(Finding("E307", f"`{key}`: the path is empty", "", spot))
        if template.startswith("/") or (value or "").startswith("/"):
            return template
        plain = posixpath.normpath(template) if "$" not in template and "{" not in template else template
        return posixpath.join(literal(source.directory), "" if plain == "." else plain).rstrip("/") or "/"
