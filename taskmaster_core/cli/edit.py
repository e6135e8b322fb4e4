"""Change the config file: add a job, set a setting, or open it in the person's editor at a job.

It decides that nothing is written which is not valid, and that a running core then reloads; how a job is put into a
file without touching its comments is `taskmaster_core.config`'s work.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from json import dumps
from typing import Any

import msgspec
import tomli

from taskmaster_core import config as files
from taskmaster_core.cli import reload, suggest
from taskmaster_core.cli.call import Call
from taskmaster_core.config.discover import discover
from taskmaster_core.config.edit import job_table, locate, with_table, write_atomically
from taskmaster_core.config.edit import set_settings as edit_settings
from taskmaster_core.config.model import SettingsKeys
from taskmaster_core.errors import ConfigInvalid, ExitStatus, NoCore, NotAsAsked, Refused, UsageError

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
    """Add a job to the config file, or say what that would write."""
    path, dry = _file(call, make=True), call.options.dry_run
    keys = _keys(call)
    old, name = _read(path), call.options.name
    if not dry and locate(old, name) is not None:
        raise Refused(f"there is a job `{name}` already", "choose another name, or edit the file")
    table = job_table(old, name, list(call.options.rest), **keys)
    text = with_table(old, table)
    problems = _judge(call, path, old, text, table)
    if dry:
        if call.options.json:
            _data(call, path, table, problems)
        else:
            call.out.say(table.rstrip())
        return ExitStatus.DONE
    return _take(call, path, old, text, f"add {name} to", table, problems)


def _take(
    call: Call, path: str, old: str, text: str, doing: str, shown: str, problems: list[files.Problem],
    **args: Any,
) -> int:  # fmt: skip
    """Write a text that is valid, and have a running core take it."""
    if old:
        call.confirm(f"{doing} {path}?")
    write_atomically(path, text)
    call.out.hint(f"{doing} {path}: done")
    plan = _reloaded(call, args)
    if call.options.json:
        _data(call, path, shown, problems, plan)
    elif plan is not None:
        reload.print_plan(call.out, plan, applied=True)
    return ExitStatus.DONE


def _data(call: Call, path: str, text: str, problems: list[files.Problem], plan: Any = None) -> None:
    call.out.data({"file": path, "text": text, "problems": msgspec.to_builtins(problems), "plan": plan})


def set_settings(call: Call) -> int:
    """Set keys of `[taskmaster]`; the core takes them and leaves the jobs as they are."""
    values = _settings(call)
    path = _file(call, make=True)
    old = _read(path)
    text = edit_settings(old, values)
    said = " ".join(call.options.pairs)
    problems = _judge(call, path, old, text, said)
    if text == old:
        call.out.hint(f"{path} says so already")
        return ExitStatus.DONE
    args = {"except": ["all"]}  # what else stands in the file is not what was asked for
    return _take(call, path, old, text, f"set {said} in", said, problems, **args)


def _settings(call: Call) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in call.options.pairs:
        values = _merged(values, _key(text))
    known = list(SettingsKeys.model_fields)
    for name in values:
        if name not in known:
            raise UsageError(f"`{name}` is no key of [taskmaster]", suggest.near(name, known) or ", ".join(known))
    if not values:
        raise UsageError("set what?", "write: taskmaster config set autoreload=ask")
    return values


def _keys(call: Call) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if call.options.numprocess is not None:
        keys["numprocess"] = call.options.numprocess
    for text in call.options.set or []:
        keys = _merged(keys, _key(text))
    if taken := {"cmd", "name"} & set(keys):
        raise UsageError(f"`{taken.pop()}` is not for --set", "write: taskmaster add NAME -- CMD")
    return keys


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return both; tables of the same name become one."""
    tables = {name: _merged(one[name], more) for name, more in other.items() if _are_tables(one.get(name), more)}
    return one | other | tables


def _are_tables(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def _key(text: str) -> dict[str, Any]:
    """Return what `key=value` says, read as TOML; a value that is none is taken as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"not a key and a value: {text!r}", "write: --set restart=always")
    if name.strip() == "umask":  # as TOML it would be a number, of which nobody sees any more that it was octal
        return {"umask": value.strip().strip("\"'")}
    for written in (value, dumps(value.strip(), ensure_ascii=False)):
        try:
            return tomli.loads(f"{name} = {written}")
        except tomli.TOMLDecodeError:
            continue
    raise UsageError(f"not a key and a value: {text!r}", "write: --set restart=always")


def _judge(call: Call, path: str, old: str, text: str, shown: str) -> list[files.Problem]:
    """Return what would be newly wrong with a file of this text; tell it and raise ConfigInvalid if it forbids it."""
    known = {(each.code, each.message) for each in _problems(path, old)} if old else set()
    found = _problems(path, text)
    problems = [each for each in found if each.severity == "error" or (each.code, each.message) not in known]
    wrong = any(each.severity == "error" for each in problems)
    if not call.options.json:
        _tell(call, problems)
    elif wrong:
        _data(call, path, shown, problems)
    if wrong:
        raise ConfigInvalid(f"{path} would not be valid; nothing was written")
    return problems


def _tell(call: Call, problems: list[files.Problem]) -> None:
    if problems:
        call.out.complain(files.render(problems, color=call.out.colored(call.out.stderr)).rstrip())


def _problems(path: str, text: str) -> list[files.Problem]:
    loaded = files.load([path], os.environ, privileged=os.geteuid() == 0, overlay={path: text.encode()})
    return list(loaded.problems)


def _apply(call: Call) -> int:
    plan = _reloaded(call, {})
    if plan is not None and call.options.json:
        call.out.data(plan)
    elif plan is not None:
        reload.print_plan(call.out, plan, applied=True)
    return ExitStatus.DONE


def _reloaded(call: Call, args: dict[str, Any]) -> dict[str, Any] | None:
    """Have a running core take the files; one that does so by itself is not hurt by being asked."""
    try:
        return reload.ask_reload(call, {"plan": False, **args})
    except NoCore:
        call.out.hint("no core runs: taskmaster up")
        return None


# Edit ----------------------------------------------------------------------------------------------------------------


def edit(call: Call) -> int:
    """Open a copy in the editor, and take it over once it is valid."""
    path = _file(call)
    old = _read(path)
    line = locate(old, call.options.job) if call.options.job else _first_error(path, old)
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
    return _as_saved(call)


def _as_saved(call: Call) -> int:
    """Apply what was edited where saving does so; where the core is to ask first, or to leave it, say what is next."""
    try:
        policy = call.ask("status", [])["core"].get("autoreload", "apply")
    except NoCore:
        policy = "apply"  # says that no core runs
    if policy == "apply":
        return _apply(call)
    call.out.hint(f"not applied (autoreload is {policy}): taskmaster reload --plan, taskmaster reload")
    return ExitStatus.DONE


def _first_error(path: str, text: str) -> int | None:
    """Return the line of the first mistake in a file; None where there is none."""
    return next((each.line for each in _problems(path, text) if each.severity == "error" and each.line), None)


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
    before = signal.signal(signal.SIGINT, lambda *_: None)  # ctrl+c is the editor's; a handler is not inherited by it
    try:
        status = subprocess.run([*words, *at, copy], check=False).returncode
    except OSError as error:
        raise NotAsAsked(f"cannot run {words[0]}: {error.strerror}", "set VISUAL or EDITOR") from error
    finally:
        signal.signal(signal.SIGINT, before)
    if status != 0:
        raise NotAsAsked(f"{words[0]} ended with {status}; nothing was written")
