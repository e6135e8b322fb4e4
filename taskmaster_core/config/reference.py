"""What can be written in a config, for editors (JSON Schema) and for people (docs/config.md).

Generated from the file model and the costs in the spec; decides nothing. Run `python -m
taskmaster_core.config.reference` to write both files; a test says when they are old. `taskmaster config schema`
prints the first.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from taskmaster_core.config import model
from taskmaster_core.config.foreign import LATER
from taskmaster_core.config.model import (
    AccessKeys,
    BackoffKeys,
    File,
    Keys,
    LimitKeys,
    LogKeys,
    SettingsKeys,
    Task,
    TaskKeys,
)
from taskmaster_core.config.problems import CODES
from taskmaster_core.config.values import spell
from taskmaster_core.spec import Cost, JobSpec, cost_of

_MODELS: tuple[type[Keys], ...] = (Task, TaskKeys, BackoffKeys, LogKeys, LimitKeys, AccessKeys, SettingsKeys, File)

_COST_IN_WORDS = {
    Cost.LIVE: "nothing restarts",
    Cost.SCALE: "only the added or removed processes",
    Cost.RELAUNCH: "the job's processes restart",
    Cost.SINK: "nothing restarts between files; else the job's processes",
    Cost.IDENTITY: "one job goes, another comes",
}
_FIELDS = {"cmd": "argv", "stopsignal": "stop", "stopdelay": "stop", "envfile": "fileenv"}
"""Keys whose cost is that of a field of another name."""


def docstrings() -> dict[str, dict[str, str]]:
    """Return the string under each field of the file model, by class and field, on one line."""
    tree = _parsed(inspect.getsource(model))
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = dict(_fields_of(node))
    found["Task"] = found["TaskKeys"] | found["Task"]
    return found


def _parsed(source: str) -> ast.Module:
    """Parse with the garbage collector at rest.

    A finalizer that parses too (a warning with its traceback does) makes CPython 3.11 raise SystemError: all parsers
    of an interpreter count their depth together.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collects:
            gc.enable()


def _fields_of(node: ast.ClassDef) -> list[tuple[str, str]]:
    pairs = zip(node.body, node.body[1:], strict=False)
    return [
        (field.target.id, " ".join(text.value.value.split()))
        for field, text in pairs
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    ]


# schema


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a config file."""
    document = File.model_json_schema(by_alias=True)
    texts = docstrings()
    for name, definition in {**document["$defs"], "File": document}.items():
        _describe(definition, texts[name])
    task = document["$defs"]["Task"]
    named = {**task, "properties": {**task["properties"], "name": {"type": "string"}}}
    named.pop("required", None)
    document["$defs"]["NamedTask"] = named
    for word in ("task", "job"):
        entry = document["properties"][word]
        document["properties"][word] = {
            "description": entry["description"],
            "anyOf": [
                {"type": "array", "items": {"$ref": "#/$defs/Task"}},
                {"type": "object", "additionalProperties": {"$ref": "#/$defs/NamedTask"}},
            ],
        }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Taskmaster"}
    document.pop("title", None)
    return head | document


def _describe(definition: dict[str, Any], texts: dict[str, str]) -> None:
    definition.pop("title", None)
    for key, entry in definition["properties"].items():
        field = "as_" if key == "as" else key
        described = _without_null(entry)
        if described.get("title", "").istitle():  # pydantic made it from the key
            described.pop("title")
        described["description"] = texts[field]
        definition["properties"][key] = described


def _without_null(entry: dict[str, Any]) -> dict[str, Any]:
    """Take what TOML cannot say out of an optional entry."""
    choices = [choice for choice in entry.get("anyOf", []) if choice != {"type": "null"}]
    kept = {key: value for key, value in entry.items() if key != "anyOf" and (key, value) != ("default", None)}
    if len(choices) == 1:
        title = {key: value for key, value in kept.items() if key != "title"}
        return {**choices[0], **title}
    return {**kept, "anyOf": choices} if choices else kept


# reference


def reference() -> str:
    """Return docs/config.md."""
    texts = docstrings()
    properties = _properties()
    parts = [_HEAD]
    for title, table in _SECTIONS:
        parts.append(f"## {title}\n")
        if table is not File:
            parts.append(f"{' '.join((table.__doc__ or '').split())}\n")
        costs = table not in (File, SettingsKeys, AccessKeys)
        parts.append(_table(table, properties[table.__name__], texts[table.__name__], costs=costs))
    later = ", ".join(f"`{key}`" for key in LATER)
    parts.append(_LATER.format(later=later))
    parts.append("| code | meaning |\n|---|---|\n" + "".join(f"| {code} | {text} |\n" for code, text in CODES.items()))
    return "\n".join(parts)


def _properties() -> dict[str, dict[str, Any]]:
    document = schema()
    return {name: entry["properties"] for name, entry in {**document["$defs"], "File": document}.items()}


def _table(table: type[BaseModel], properties: dict[str, Any], texts: dict[str, str], *, costs: bool) -> str:
    head = "| key | type | default | changing it | meaning |\n|---|---|---|---|---|\n"
    lines = [head if costs else "| key | type | default | meaning |\n|---|---|---|---|\n"]
    names = sorted(table.model_fields, key=lambda name: name != "name")
    for name in names:
        field = table.model_fields[name]
        key = field.alias or name
        cells = [f"`{key}`", _type(properties[key]), _default(name, field, properties[key])]
        cells += [_cost(table, name)] if costs else []
        lines.append(f"| {' | '.join(_cell(cell) for cell in [*cells, texts[name]])} |\n")
    return "".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _type(entry: dict[str, Any]) -> str:
    if "$ref" in entry or "allOf" in entry:
        return "table"
    if "title" in entry:
        return str(entry["title"])
    if "enum" in entry:
        return ", ".join(f'`"{word}"`' for word in entry["enum"])
    if "anyOf" in entry:
        return "tables"
    if "minimum" in entry:
        return f"{entry['type']} {entry['minimum']} to {entry['maximum']}"
    return str(entry["type"])


def _default(name: str, field: Any, entry: dict[str, Any]) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value in (None, PydanticUndefined, (), {}):
        return "none"
    if name == "stopsignal":
        return '`"TERM"`'
    if name == "maxsize":
        return '`"10MB"`'
    if entry.get("title") == "duration":
        return f'`"{spell(value)}"`' if value else "`0`"
    return f"`{json.dumps(value)}`"


def _cost(table: type[BaseModel], name: str) -> str:
    if table is LogKeys:
        return _COST_IN_WORDS[Cost.RELAUNCH if name == "direct" else Cost.LIVE]
    if table is LimitKeys:
        return _COST_IN_WORDS[cost_of("limits")]
    if table is BackoffKeys:
        return _COST_IN_WORDS[cost_of("backoff")]
    field = _FIELDS.get(name, name)
    return _COST_IN_WORDS[cost_of(field)] if field in JobSpec.__struct_fields__ else "none"


_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", File),
    ("`[[task]]`", Task),
    ("`[task.backoff]`", BackoffKeys),
    ("`[task.log]`", LogKeys),
    ("`[task.limits]`", LimitKeys),
    ("`[taskmaster]`", SettingsKeys),
    ("`[taskmaster.access]`", AccessKeys),
)

_HEAD = """\
# The config, key by key

Generated by `python -m taskmaster_core.config.reference`; edit the file model instead.

A config is a TOML file in UTF-8. Unknown keys and wrong types are errors, and all of them are told at once; nothing
that runs is touched by a file with an error. `taskmaster check` tells without starting anything.

- **duration**: seconds (`10`, `0.5`), or text: `"500ms"`, `"1m30s"`, `"24h"`, `"7d"`.
- **size**: bytes, or text: `"10MB"` (10⁶), `"64MiB"` (2²⁰).
- **path**: relative ones start at the directory of the config file they are written in.
- **signal**: `"TERM"`, `"SIGTERM"`, `15`, `"RTMIN+1"`.
- **umask**: octal. `0o022`, `"022"`, `"0o22"`, `0` to `7`. `0777` is not valid TOML; for `umask` alone it is read
  as octal, with a warning. A decimal such as `22` is an error that shows both readings.
- **placeholders** in `cmd`, `env`, `stdin`, `stdout`, `stderr`, `workingdir`: `{name}`, `{index}`, `{index:02}`,
  `{.Id}` (the index), `{.Time}` (the Unix second of the start), `${VAR}`, `${VAR:-default}`, `${VAR:?message}`.
  `{{name}}` and `$${VAR}` are the text itself. Every other brace or dollar is left alone. With `shell`, every
  `${…}` in `cmd` is the shell's.
- **variables**: the core's (or those `cleanenv` leaves), then `[env]`, `envfile`, `env`; then `TASKMASTER_JOB`,
  `TASKMASTER_INDEX`, `TASKMASTER_RUN` and `TASKMASTER_INSTANCE`, which the core sets.

The config is looked for at `--config`, `$TASKMASTER_CONFIG`, `./taskmaster.toml`,
`$XDG_CONFIG_HOME/taskmaster/taskmaster.toml` and `/etc/taskmaster/taskmaster.toml`; `taskmaster config path` says
which it is and why. When the core is root, a config must belong to root or the core's user and not be writable by
others (`TASKMASTER_TRUST_CONFIG=1` in the core's environment lifts this).

`[defaults]` and `[env]` hold for the file they are in and for the files it includes; an included file may say
otherwise for its own jobs. Settings in `[taskmaster]` belong into a file named on the command line; an included one
may only include more.
"""


_LATER = """\
## Not yet

{later} and the limits `memory`, `runtime` and `action` are not supported yet.
Each is an error (E401), never ignored.

## Problems

What `taskmaster check` says, by code. E: nothing is loaded. W: it is loaded as described.
"""


def main() -> None:
    """Write the reference and the schema; the argument is the directory of the project."""
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    files = {"docs/config.md": reference(), "config/taskmaster.schema.json": schema_text()}
    for name, text in files.items():
        with open(f"{root}/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def schema_text() -> str:
    """Return the schema as it stands in config/taskmaster.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
