"""What one config file says, key by key: validated against the file model, with every error turned into a finding.

Decides what an unknown key probably meant, and whose file this is when it is not ours. Does not look at two keys
together: `build` does. `files` calls `read_tables` once for each file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from taskmaster_core.config import foreign
from taskmaster_core.config.model import (
    AccessKeys,
    BackoffKeys,
    File,
    LimitKeys,
    LogKeys,
    SettingsKeys,
    Task,
    TaskKeys,
)
from taskmaster_core.config.source import MOST, Edit, Finding, Path, Source
from taskmaster_core.config.values import Invalid, Several, clipped, job_name, kind, variables

TABLES: dict[str, type[BaseModel]] = {"backoff": BackoffKeys, "log": LogKeys, "limits": LimitKeys}
"""The tables inside a task."""

_LATER: dict[str, dict[str, str]] = {
    "task": foreign.LATER,
    "limits": {
        "memory": "limits of memory", "runtime": "limits of run time", "action": "limits of memory",
    },
}  # fmt: skip

_TOP = {
    "tasks": "task", "jobs": "task", "program": "task", "programs": "task", "process": "task", "processes": "task",
    "service": "task", "services": "task", "watcher": "task", "watchers": "task", "apps": "task", "app": "task",
    "default": "defaults", "environment": "env", "supervisord": "taskmaster", "settings": "taskmaster",
    "global": "taskmaster", "core": "taskmaster", "config": "taskmaster", "daemon": "taskmaster",
}  # fmt: skip


class Layer(Struct, frozen=True):
    """Hold one validated table and where it came from."""

    keys: TaskKeys
    source: Source
    path: Path


class Tables(Struct, frozen=True):
    """Hold what one file says; None and missing entries had errors, which are in the source's findings."""

    tasks: tuple[Layer, ...] = ()
    defaults: Layer | None = None
    env: dict[str, str] = {}
    settings: SettingsKeys | None = None


def names_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of a table as they are spelled in a file."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def read_tables(source: Source) -> Tables:
    """Validate a file's tables; report everything that is wrong with them."""
    data = source.data
    if data is None or _original_shape(source, data):
        return Tables()
    for key in [key for key in data if key not in File.model_fields][:MOST]:
        _unknown_top(source, key, data[key])
    return Tables(
        tuple(_tasks(source, data)),
        _defaults(source, data),
        _env(source, data),
        _settings(source, data),
    )


def _original_shape(source: Source, data: Mapping[str, Any]) -> bool:
    """Report, once, a file of `[name]` tables with a command at the top level."""
    commands = {"cmd", "command", "exec", "script"}
    tables = {key: value for key, value in data.items() if key not in File.model_fields and isinstance(value, dict)}
    names = [key for key, value in tables.items() if commands & set(value)]
    if not names:
        return False
    spelled = [
        f"[task.{name if name.replace('-', '').replace('_', '').isalnum() else foreign.quoted(name)}]" for name in names
    ]
    more = f" (and {', '.join(spelled[1:4])}{' …' if len(spelled) > 4 else ''})" if len(spelled) > 1 else ""
    source.report(
        Finding(
            "E007",
            f"`[{names[0]}]` has the shape of another program's config: a job is a table below `task`",
            f"write {spelled[0]}{more}",
            path=(names[0],),
            at="key",
        )
    )
    return True


def _tasks(source: Source, data: Mapping[str, Any]) -> Iterator[Layer]:
    for word in ("task", "job"):
        entries = data.get(word, [])
        if isinstance(entries, dict):
            yield from _named_tasks(source, word, entries, data)
        elif not isinstance(entries, list):
            source.report(_no_table((word,), entries, f"write [[{word}]]"))
        else:
            for index, entry in enumerate(entries):
                keys = _validated(source, Task, entry, (word, index), "task")
                if isinstance(keys, Task):
                    yield Layer(keys, source, (word, index))


def _named_tasks(source: Source, word: str, entries: dict[str, Any], data: Mapping[str, Any]) -> Iterator[Layer]:
    other = "job" if word == "task" else "task"
    if isinstance(data.get(other), list):
        message = f"`[{word}.NAME]` tables and `[[{other}]]` tables in one file"
        source.report(Finding("E103", message, "use one of the two spellings", (word,), "key"))
    scalars = {name for name, entry in entries.items() if not isinstance(entry, dict)}
    if scalars & set(Task.model_fields):
        message = f"`[{word}]` is one table, a file holds several jobs"
        source.report(Finding("E103", message, f"write [[{word}]], or [{word}.NAME]", (word,), "key"))
        return
    for name, entry in entries.items():
        path = (word, name)
        if not isinstance(entry, dict):
            source.report(_no_table(path, entry, f"write [{word}.{name}]"))
            continue
        if not _same_name(source, path, name, entry):
            continue
        keys = _validated(source, Task, {**entry, "name": name}, path, "task")
        if isinstance(keys, Task):
            yield Layer(keys, source, path)


def _same_name(source: Source, path: Path, name: str, entry: dict[str, Any]) -> bool:
    try:
        job_name(name)
    except Invalid as error:
        source.report(Finding(error.code, error.message, error.help, path, "key"))
        return False
    if entry.get("name", name) != name:
        source.report(
            Finding("E304", f"the table says `{name}`, its `name` another", "take `name` out", (*path, "name"))
        )
    return True


def _defaults(source: Source, data: Mapping[str, Any]) -> Layer | None:
    if "defaults" not in data:
        return None
    entry = data["defaults"]
    if isinstance(entry, dict) and "name" in entry:
        source.report(Finding("E101", "`name` cannot be a default: it is unique", path=("defaults", "name"), at="key"))
        entry = {key: value for key, value in entry.items() if key != "name"}
    keys = _validated(source, TaskKeys, entry, ("defaults",), "task")
    return Layer(keys, source, ("defaults",)) if isinstance(keys, TaskKeys) else None


def _env(source: Source, data: Mapping[str, Any]) -> dict[str, str]:
    try:
        return variables(data.get("env", {}))
    except Invalid as error:
        source.report(Finding(error.code, error.message, error.help, ("env",)))
    except Several as errors:
        _report_several(source, errors, ("env",))
    return {}


def _settings(source: Source, data: Mapping[str, Any]) -> SettingsKeys | None:
    keys = _validated(source, SettingsKeys, data.get("taskmaster", {}), ("taskmaster",), "taskmaster")
    return keys if isinstance(keys, SettingsKeys) else None


def _no_table(path: Path, value: Any, advice: str) -> Finding:
    return Finding("E201", f"expected a table, found {kind(value)}", advice, path)


def _validated(source: Source, model: type[BaseModel], entry: Any, path: Path, table: str) -> BaseModel | None:
    if not isinstance(entry, dict):
        source.report(_no_table(path, entry, f"write [{path[0]}]"))
        return None
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details[:MOST]:
        _report(source, dict(detail), path, table)
    return _rest(model, entry, [tuple(detail["loc"]) for detail in details])


def _rest(model: type[BaseModel], entry: dict[str, Any], wrong: list[Path]) -> BaseModel | None:
    """Validate what is left without the wrong keys, so that the rules between keys are checked all the same."""
    kept = dict(entry)
    for first, *more in wrong:
        inner = kept.get(str(first))
        if more and isinstance(inner, dict):
            kept[str(first)] = {key: value for key, value in inner.items() if key != more[0]}
        else:
            kept.pop(str(first), None)
    try:
        return model.model_validate(kept)
    except ValidationError:
        return None


def _report(source: Source, detail: dict[str, Any], prefix: Path, table: str) -> None:
    """Turn one of pydantic's errors into a finding."""
    path = prefix + tuple(detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if detail["type"] == "extra_forbidden":
        where = detail["loc"][0] if len(detail["loc"]) > 1 else table
        source.report(_unknown(source, path, detail["input"], str(where)))
    elif detail["type"] == "missing":
        source.report(Finding("E102", f"the job has no `{path[-1]}`", f'write {path[-1]} = "…"', path[:-1], "key"))
    elif isinstance(cause, Several):
        _report_several(source, cause, path)
    elif isinstance(cause, Invalid):
        source.report(_invalid(cause, path))
    else:
        source.report(_no_table(path, detail["input"], f"write {path[-1]} = {{ … }}"))


def _report_several(source: Source, errors: Several, path: Path) -> None:
    for error in errors.invalids:
        source.report(_invalid(error, path))


def _invalid(error: Invalid, path: Path) -> Finding:
    path += error.path
    subject = next((part for part in reversed(path) if isinstance(part, str)), "")
    return Finding(error.code, f"`{subject}`: {error.message}", error.help, path)


def _unknown_top(source: Source, key: str, value: Any) -> None:
    advice, ours = "", _TOP.get(key.lower()) or foreign.nearest(key, File.model_fields)
    if ours:
        advice = f"did you mean `{'[task.NAME]' if ours == 'task' else f'[{ours}]'}`?"
    elif key in Task.model_fields or key in foreign.KEYS:
        advice = "it belongs into a [[task]]"
    elif key in SettingsKeys.model_fields:
        advice = "it belongs into [taskmaster]"
    listed = isinstance(value, list) and any(isinstance(each, dict) for each in value)
    what = "table" if listed or isinstance(value, dict) else "key"
    source.report(Finding("E101", f"unknown {what} {clipped(key)}", advice, (key,), "key"))


def _unknown(source: Source, path: Path, value: Any, table: str) -> Finding:
    key = str(path[-1])
    later = _LATER.get(table, {}).get(key)
    if later:
        return Finding("E401", f"`{key}` is not supported yet ({later})", "take it out", path, "key")
    model = (TABLES | {"taskmaster": SettingsKeys, "access": AccessKeys}).get(table, Task)
    if table == "task" and (hint := foreign.hint(key, value)):
        return _foreign(source, path, hint)
    return Finding("E101", f"unknown key {clipped(key)}", _nearest_key(key, table, model), path, "key")


def _foreign(source: Source, path: Path, hint: foreign.Hint) -> Finding:
    message = f"unknown key {clipped(str(path[-1]))}"
    if hint.key is None:
        return Finding("E101", message, hint.note, path, "key")
    written = f"{hint.key} = {hint.value}" if hint.value and len(hint.value) < 100 else hint.key
    edits: tuple[Edit, ...] = ()
    if (hint.keeps or hint.value) and not _is_set(source, (*path[:-1], hint.key)):
        edits = (Edit(path, "key", hint.key),)
        if not hint.keeps and hint.value:
            edits += (Edit(path, "value", hint.value),)
    return Finding("E101", message, f"did you mean `{written}`?", path, "key", edits=edits)


def _is_set(source: Source, path: Path) -> bool:
    value: Any = source.data
    for part in path[:-1]:
        value = value[part]
    return path[-1] in value


def _nearest_key(key: str, table: str, model: type[BaseModel]) -> str:
    if ours := foreign.nearest(key, names_of(model)):
        return f"did you mean `{ours}`?"
    for name, inner in TABLES.items():
        if key in names_of(inner) and name != table:
            return f"it belongs into [task.{name}]"
    if key in names_of(SettingsKeys):
        return "it belongs into [taskmaster]"
    return "it belongs into the [[task]]" if key in names_of(Task) else ""
