"""Change the config file: add a job, or open it in the person's editor at a job.

It decides that nothing is written which is not valid, and that a running core then reloads; how a job is put into a
file without touching its comments is `taskmaster_core.config`'s work.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from typing import Any

import tomli

from taskmaster_core import config as files
from taskmaster_core.cli import reload
from taskmaster_core.cli.call import Call
from taskmaster_core.config.discover import discover
from taskmaster_core.config.edit import add_job, locate, write_atomically
from taskmaster_core.errors import ConfigInvalid, ExitStatus, NoCore, NotAsAsked, UsageError

LINE_EDITORS = frozenset(
    {"vi", "vim", "nvim", "view", "nano", "emacs", "emacsclient", "micro", "joe", "jed", "kak", "mg"}
)
"""Editors that take `+N` before the file's name."""

NEW = "taskmaster.toml"


def _file(call: Call, *, make: bool = False) -> str:
    """Return the file to change: named, else the core's, else the one that would be used here."""
    if not call.config and (running := _of_core(call)):
        return running
    found = discover(call.config, os.environ, os.getcwd())
    if found.paths:
        return str(found.paths[0])
    if make:
        return os.path.abspath(NEW)
    looked = "\n".join(f"  {path}" for path in found.looked)
    raise ConfigInvalid(
        "there is no config file to edit", f"looked at:\n{looked}\nwrite one: taskmaster add NAME -- CMD"
    )


def _of_core(call: Call) -> str:
    try:
        paths = call.ask("status", [])["core"]["config"]
    except NoCore:
        return ""
    return str(paths[0]) if paths else ""


def _read(path: str) -> str:
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8", newline="") as file:
        try:
            return file.read()
        except UnicodeDecodeError as error:
            raise ConfigInvalid(f"{path} is not UTF-8: {error.reason}", "taskmaster check says where") from error


# Add -----------------------------------------------------------------------------------------------------------------


def add(call: Call) -> int:
    """Add a job to the config file."""
    path = _file(call, make=True)
    keys = _keys(call)
    old = _read(path)
    text = add_job(old, call.options.name, list(call.options.rest), **keys)
    _refuse_invalid(call, path, old, text)
    if os.path.exists(path):
        call.confirm(f"add {call.options.name} to {path}?")
    write_atomically(path, text)
    call.out.hint(f"added {call.options.name} to {path}")
    return _apply(call)


def _keys(call: Call) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if call.options.numprocess is not None:
        keys["numprocess"] = call.options.numprocess
    for text in call.options.set or []:
        keys |= _key(text)
    return keys


def _key(text: str) -> dict[str, Any]:
    """Return what `key=value` says, read as TOML; a value that is none is taken as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"not a key and a value: {text!r}", "write: --set restart=always")
    try:
        return tomli.loads(f"{name} = {value}")
    except tomli.TOMLDecodeError:
        return {name.strip(): value.strip()}


def _refuse_invalid(call: Call, path: str, old: str, text: str) -> None:
    """Print what would be newly wrong with a file of this text; raise ConfigInvalid if anything forbids it."""
    known = {(each.code, each.message) for each in _problems(path, old)} if old else set()
    problems = _problems(path, text)
    _tell(call, [each for each in problems if each.severity == "error" or (each.code, each.message) not in known])
    if any(each.severity == "error" for each in problems):
        raise ConfigInvalid(f"{path} would not be valid; nothing was written")


def _tell(call: Call, problems: list[files.Problem]) -> None:
    if problems:
        call.out.complain(files.render(problems, color=call.out.colored(call.out.stderr)).rstrip())


def _problems(path: str, text: str) -> list[files.Problem]:
    loaded = files.load([path], os.environ, privileged=os.geteuid() == 0, overlay={path: text.encode()})
    return list(loaded.problems)


def _apply(call: Call) -> int:
    """Have a running core take the files; one that does so by itself is not hurt by being asked."""
    try:
        plan = reload.ask_reload(call, {"plan": False})
    except NoCore:
        call.out.hint("no core runs: taskmaster up")
        return ExitStatus.DONE
    if call.options.json:
        call.out.data(plan)
    else:
        reload.print_plan(call.out, plan, applied=True)
    return ExitStatus.DONE


# Edit ----------------------------------------------------------------------------------------------------------------


def edit(call: Call) -> int:
    """Open a copy in the editor, and take it over once it is valid."""
    path = _file(call)
    old = _read(path)
    line = locate(old, call.options.job) if call.options.job else None
    with tempfile.TemporaryDirectory(prefix="taskmaster-") as directory:
        copy = os.path.join(directory, os.path.basename(path))
        with open(copy, "w", encoding="utf-8", newline="") as file:
            file.write(old)
        new = _edited(call, path, copy, line)
    if new == old:
        call.out.hint("nothing was changed")
        return ExitStatus.DONE
    if _read(path) != old:
        raise NotAsAsked(f"{path} was changed by somebody else meanwhile; nothing was written")
    write_atomically(path, new)
    call.out.hint(f"wrote {path}")
    return _apply(call)


def _edited(call: Call, path: str, copy: str, line: int | None) -> str:
    """Return the text the person left; ask again for as long as it is not valid."""
    while True:
        _run_editor(copy, line)
        text = _read(copy)
        problems = _problems(path, text)
        _tell(call, problems)
        errors = [each for each in problems if each.severity == "error"]
        if not errors or _decide(call) == "w":
            return text
        line = errors[0].line or line


def _decide(call: Call) -> str:
    """Ask what to do with a text that is not valid: edit again, drop it, write it all the same."""
    while True:
        if not sys.stdin.isatty():
            raise ConfigInvalid("the text is not valid; nothing was written")
        call.out.stderr.write("(e)dit again, (d)rop the changes, (w)rite it all the same? ")
        call.out.stderr.flush()
        answer = sys.stdin.readline().strip().lower()[:1] or "e"
        if answer == "d":
            raise NotAsAsked("the changes were dropped; nothing was written")
        if answer in "ew":
            return answer


def _run_editor(copy: str, line: int | None) -> None:
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    at = [f"+{line}"] if line and os.path.basename(words[0]) in LINE_EDITORS else []
    try:
        status = subprocess.run([*words, *at, copy], check=False).returncode
    except OSError as error:
        raise NotAsAsked(f"cannot run {words[0]}: {error.strerror}", "set VISUAL or EDITOR") from error
    if status != 0:
        raise NotAsAsked(f"{words[0]} ended with {status}; nothing was written")
