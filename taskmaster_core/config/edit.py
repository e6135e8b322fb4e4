"""Changes to a config file made by commands: a job is added, a setting is set, a file is replaced.

Decides how a new job or value is written and refuses what would not load. Leaves every byte of the file's own in its
place. The CLI's `add` and `edit` and the editor of the TUI call it.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from taskmaster_core.config.files import parse
from taskmaster_core.config.problems import ERROR, render
from taskmaster_core.config.source import Source
from taskmaster_core.errors import ConfigInvalid, Refused

_NAMED = re.compile(r"^[ \t]*\[(task|job)\.", re.MULTILINE)
_HEADER = re.compile(rb"""^[ \t]*\[[ \t]*(?:taskmaster|"taskmaster"|'taskmaster')[ \t]*\][^\n]*""", re.MULTILINE)
_LISTED = re.compile(r"^[ \t]*\[\[(task|job)\]\]", re.MULTILINE)


def add_job(text: str, name: str, argv: Sequence[str], **keys: Any) -> str:
    """Return the text with a job at its end, in the spelling the file uses.

    Raise Refused when a job of that name is there, ConfigInvalid when the result would not load.
    """
    if locate(text, name) is not None:
        raise Refused(f"there is a job `{name}` already", "choose another name, or edit the file")
    result = with_table(text, job_table(text, name, argv, **keys))
    before = {problem.message for problem in parse(text.encode(), "").problems}
    wrong = [each for each in parse(result.encode(), "taskmaster.toml").problems if each.severity == ERROR]
    if any(each.message not in before for each in wrong):
        raise ConfigInvalid(f"the job `{name}` would not load", render(wrong, color=False))
    return result


def with_table(text: str, table: str) -> str:
    """Return the text with a table at its end."""
    joined = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{joined}\n{table}" if joined else table


def job_table(text: str, name: str, argv: Sequence[str], **keys: Any) -> str:
    """Return the table that adds a job, in the spelling the text uses; with a `shell` the words are one line of it."""
    import tomlkit  # noqa: PLC0415  30 ms, and only this command needs it

    table = tomlkit.table()
    listed, named = _LISTED.search(text), _NAMED.search(text)
    header = f"[{named[1]}.{tomlkit.key(name).as_string()}]" if named and not listed else "[[task]]"
    if header == "[[task]]":
        table["name"] = name
        header = f"[[{listed[1]}]]" if listed else header
    command = " ".join(argv) if keys.get("shell") else _command(argv)
    for key, value in {"cmd": command, **keys}.items():
        table[key] = value if not isinstance(value, dict) else _inline(value)
    return f"{header}\n{table.as_string()}"


def _inline(values: dict[str, Any]) -> Any:
    import tomlkit  # noqa: PLC0415  as above

    table = tomlkit.inline_table()
    table.update(values)
    return table


def _command(argv: Sequence[str]) -> str | list[str]:
    """Write a command as one string where that says the same, else as an array."""
    plain = all(word and re.fullmatch(r"[\w./:=@%+,{}-]+", word, re.ASCII) for word in argv)
    assignment = "=" in argv[0] if argv else False
    return " ".join(argv) if plain and not assignment else list(argv)


def set_settings(text: str, values: Mapping[str, Any]) -> str:
    """Return the text with these keys in its `[taskmaster]` table; every other byte stays as it is.

    Raise ConfigInvalid for a text that is no TOML.
    """
    for key, value in values.items():
        windows = "\r\n" in text
        changed = _set(Source("", text.encode()), key, _toml(value))
        text = changed.replace("\n", "\r\n") if windows else changed
    return text


def _toml(value: Any) -> str:
    import tomlkit  # noqa: PLC0415  as above

    return str(tomlkit.item(value).as_string())


def _set(source: Source, key: str, value: str) -> str:
    if source.data is None:
        raise ConfigInvalid("the file is no TOML; nothing was written", "taskmaster check says where")
    raw, places = source.text.encode(), source.places
    span, table = places.values.get(("taskmaster", key)), places.values.get(("taskmaster",))
    header = _HEADER.search(raw)
    if span is not None:
        start, end, new = span.start, span.end, value
    elif table is not None:  # taskmaster = { … }
        comma = ", " if source.at(("taskmaster",)) else " "
        start, end, new = table.start + 1, table.start + 1, f" {key} = {value}{comma}".rstrip(" ")
    elif header is not None:
        start, end, new = header.end(), header.end(), f"\n{key} = {value}"
    else:
        return with_table(source.text, f"[taskmaster]\n{key} = {value}\n")
    return (raw[:start] + new.encode() + raw[end:]).decode()


def locate(text: str, job: str) -> int | None:
    """Return the line of a job's header, counting from 1; None when the text does not declare it."""
    source = Source("", text.encode())
    for word in ("task", "job"):
        entries = (source.data or {}).get(word, ())
        named = entries.items() if isinstance(entries, dict) else enumerate(entries)
        for index, entry in named:
            name = index if isinstance(index, str) else entry.get("name") if isinstance(entry, dict) else None
            if name == job:
                return source.where((word, index), "key")[0] or None
    return None


def write_atomically(path: str, text: str, mode: int = 0o644) -> None:
    """Replace a file's content as one step, keeping its mode and owner; raise OSError with the old file intact.

    `mode` is that of a file that is not there yet.
    A symbolic link stays: what it points to is replaced.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=directory)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            _keep_owner(target, file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync(directory)


def _keep_owner(target: str, descriptor: int, mode: int) -> None:
    try:
        status = os.stat(target)
    except FileNotFoundError:
        os.fchmod(descriptor, mode)
        return
    with contextlib.suppress(PermissionError):  # only root may give a file away; the content matters more
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, status.st_mode & 0o7777)


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
