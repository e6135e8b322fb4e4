"""Run one daemon for all tests of a module: a start costs a second on a loaded machine, a look at a job does not.

Decides nothing about what is right; the tests of keys, policies, stops and outputs do. `running` makes a module's
fixture, the rest are the few words these tests share beside the harness.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taskmaster_core.wire import Event
from tests.harness import PROGRAMS, Daemon

BARE = (sys.executable, "-I", "-S")
"""Python without its site: it starts in a third of the time."""


@contextmanager
def running(
    config: str, *, files: Mapping[str, str] | None = None, args: tuple[str, ...] = (), **options: Any
) -> Iterator[Daemon]:
    """Start a daemon on a config (and files beside it); end it, and fail if anything is left."""
    it = Daemon(config, **options)
    try:
        for name, text in (files or {}).items():
            path = it.dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)
        yield it.start(*args)
    finally:
        said, problems = it.stderr(), it.close()
        if problems:
            print(said)
    assert not problems, "\n".join(problems)


def cmd(name: str, *args: object) -> str:
    """Return one of `tests/programs` as the TOML value of a `cmd`."""
    return words(*BARE, PROGRAMS / name, *args)


def words(*argv: object) -> str:
    """Return an argv as the TOML value of a `cmd`."""
    return json.dumps([str(word) for word in argv])


def job(name: str, command: str, **keys: str) -> str:
    """Return a `[[task]]`; the values are TOML."""
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(["[[task]]", f"name = {json.dumps(name)}", f"cmd = {command}", *lines, ""])


def facts(it: Daemon, key: str) -> dict[str, Any]:
    """Return what a process that runs `whoami.py` into its log says of itself."""
    return facts_in(it, lambda: it.output(key))


def facts_in(it: Daemon, read: Callable[[], str]) -> dict[str, Any]:
    """Return what `whoami.py` wrote to where `read` looks."""
    line = it.wait(lambda: whole_line(read()), what="whoami.py has spoken")
    found: dict[str, Any] = json.loads(line)
    return found


def whole_line(text: str) -> str:
    """Return the first line of a text if it is there to its end."""
    return text.partition("\n")[0] if "\n" in text else ""


def read(path: Path) -> str:
    """Return a file's text, nothing if there is none."""
    return path.read_text(errors="replace") if path.exists() else ""


def story(it: Daemon, key: str) -> list[str]:
    """Return the types of a process's events, oldest first."""
    return [event.type for event in it.events(key=key)]


def events_of(it: Daemon, *selectors: str) -> list[Event]:
    """Return the events of some jobs, oldest first, in one question."""
    import msgspec

    return [msgspec.convert(each, Event) for each in it.request("events", *selectors)]
