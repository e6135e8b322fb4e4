"""Look at config files: which one is used and why, what is in force, what is wrong; print the JSON Schema.

It decides only how that is printed; the files are read and judged by `taskmaster_core.config`, and changed by `edit`.
Needs no core.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from taskmaster_core import config as files
from taskmaster_core.cli import edit
from taskmaster_core.cli.call import Call
from taskmaster_core.config import Loaded
from taskmaster_core.config.discover import discover
from taskmaster_core.config.edit import write_atomically
from taskmaster_core.config.fixes import fix
from taskmaster_core.errors import ConfigInvalid, ExitStatus, NoCore, UsageError
from taskmaster_core.logs.sanitize import clean


def load(call: Call, named: list[str] | None = None) -> Loaded:
    """Return the config of the named files, or of those that would be used; raise ConfigInvalid if there is none."""
    found = discover(named or call.config, os.environ, os.getcwd())
    if not found.paths:
        looked = "\n".join(f"  {path}" for path in found.looked)
        raise ConfigInvalid("there is no config file", f"looked at:\n{looked}\nwrite one: taskmaster add NAME -- CMD")
    return files.load(found.paths, os.environ, privileged=os.geteuid() == 0)


def check(call: Call) -> int:
    """Print what is wrong with config files; with --fix rewrite what can be rewritten safely."""
    loaded = load(call, [os.path.abspath(path) for path in call.options.files])
    if call.options.fix:
        loaded = _fix(call, loaded)
    form = call.options.format or ("json" if call.options.json else "text")
    if form == "json":
        call.out.data(files.to_json(loaded.problems))
    elif form == "github":
        call.out.stdout.write(files.to_github(loaded.problems))
    elif loaded.problems:
        call.out.stdout.write(files.render(loaded.problems, color=call.out.colored(call.out.stdout)))
    elif loaded.config is not None:
        jobs = ", ".join(job.name for job in loaded.config.jobs) or "none"
        call.out.say(f"{', '.join(loaded.texts)}: no problems; jobs: {jobs}")
    return ExitStatus.CONFIG if loaded.config is None else ExitStatus.DONE


def _fix(call: Call, loaded: Loaded) -> Loaded:
    """Rewrite the files where there is one right way to; return what they say then."""
    fixed = {path: fix(raw) for path, raw in loaded.texts.items()}
    changed = {path: text for path, (text, changes) in fixed.items() if changes}
    if not changed:
        call.out.hint("nothing can be fixed without a decision")
        return loaded
    for path in changed:
        for change in fixed[path][1]:
            call.out.hint(clean(f"{path}: {change}"))
    call.confirm(f"rewrite {', '.join(changed)}?")
    for path, text in changed.items():
        write_atomically(path, text.decode("utf-8", "surrogateescape"))
    return load(call, [os.path.abspath(path) for path in call.options.files])


def config(call: Call) -> int:
    """Print the path, the config in force, or the schema; or set a key of `[taskmaster]`."""
    what = call.options.what
    if what == "set":
        return edit.set_settings(call)
    if call.options.pairs:
        raise UsageError(f"config {what} takes nothing more", "write: taskmaster config set KEY=VALUE")
    if what == "path":
        return _path(call)
    if what == "schema":
        call.out.data(files.schema())
        return ExitStatus.DONE
    return _show(call)


def _path(call: Call) -> int:
    found = discover(call.config, os.environ, os.getcwd())
    if call.options.json:
        call.out.data({"paths": list(found.paths), "reason": found.reason, "looked": list(found.looked)})
    else:
        for path in found.paths:
            call.out.say(path)
        call.out.hint(found.reason)
    return ExitStatus.DONE if found.paths else ExitStatus.CONFIG


def _show(call: Call) -> int:
    """Print what the core has in force; without a core, what the files say."""
    document: dict[str, Any]
    try:
        document = call.ask("config", [])
        call.out.hint(f"in force in the core: generation {document['generation']}")
    except NoCore:
        loaded = load(call)
        if loaded.config is None:
            call.out.complain(files.render(loaded.problems, color=call.out.colored(call.out.stderr)))
            raise ConfigInvalid("the config is not valid", "taskmaster check explains") from None
        call.out.hint("no core runs: this is what the files say")
        document = {"files": list(loaded.texts), "settings": loaded.config.settings}
        document["jobs"] = [_without_values(job) for job in msgspec.to_builtins(loaded.config.jobs)]
    call.out.data(msgspec.to_builtins(document))
    return ExitStatus.DONE


def _without_values(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job without the values of its environment, as the core shows it: they may be secrets."""
    masked: dict[str, Any] = {name: sorted(job[name]) for name in ("baseenv", "fileenv", "env") if name in job}
    return {**job, **masked}
