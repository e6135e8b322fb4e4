"""A prompt for commands: line editing, history and completion for people, a script reader for programs.

It decides where lines come from and when to stop; what a line does is `main.run_line`. One connection serves all lines.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator

from taskmaster_core.cli import main
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.out import plural
from taskmaster_core.cli.table import BY_NAME, GLOBALS
from taskmaster_core.client import Client
from taskmaster_core.errors import ExitStatus, NoCore, TaskmasterError

HISTORY = 1000
"""Lines of history that are kept."""

LEAVE = frozenset({"exit", "quit", "EOF"})


def shell(call: Call) -> int:
    """Read commands until the end, `exit` or, with -e, the first that fails."""
    if sys.stdin.isatty():
        return interact(call)
    return _Lines(call, stops=call.options.exit_on_error).run(_script())


def interact(call: Call) -> int:
    """Prompt a person for commands."""
    lines = _Lines(call, stops=getattr(call.options, "exit_on_error", False))
    with _editing(lines):
        return lines.run(lines.prompted())


def _script() -> Iterator[str]:
    # Not `for line in sys.stdin`: that reads ahead, and a command on the way may want its own part of the input.
    while line := sys.stdin.readline():
        yield line


class _Lines:
    """Carry out lines, one after the other."""

    def __init__(self, call: Call, *, stops: bool) -> None:
        self._call = call
        self._stops = stops
        self.names: list[str] = []

    def run(self, source: Iterator[str]) -> int:
        """Carry out all lines; return the status of the one that ended it, or 0."""
        for line in source:
            words = self._words(line)
            if words is None:
                status: int = ExitStatus.USAGE
            elif not words:
                continue
            elif words[0] in LEAVE:
                break
            else:
                status = self._carry_out(words)
            self._call.out.stdout.flush()
            if status and self._stops:
                return status
        return ExitStatus.DONE

    def _words(self, line: str) -> list[str] | None:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self._call.out.complain(f"taskmaster: {error}: {line.strip()}")
            return None
        return words[1:] if words and words[0] in ("taskmaster", "tm") else words

    def _carry_out(self, words: list[str]) -> int:
        return main.run_line(words, self._call.options, self.client(), self._call.out)

    def client(self) -> Client | None:
        """Return the one client of all lines, None while no core is there."""
        try:
            return self._call.client
        except NoCore:
            return None

    def prompted(self) -> Iterator[str]:
        """Yield what a person types; Ctrl-C drops the line, Ctrl-D ends."""
        while True:
            try:
                yield input(self._prompt())
            except KeyboardInterrupt:
                self._call.out.complain("")
            except EOFError:
                self._call.out.say()
                return

    def _prompt(self) -> str:
        return f"{self._call.instance} ({self._counts()})> "

    def _counts(self) -> str:
        client = self.client()
        if client is None or not os.path.exists(client.commands):  # it ended in good order and took its socket away
            return "no core"
        try:
            jobs = client.call("status", timeout=1.0)["jobs"]
        except TaskmasterError:
            return "the core is silent"
        processes = [process for job in jobs for process in job["processes"]]
        self.names = [job["name"] for job in jobs] + [process["key"] for process in processes]
        running = sum(process["state"] == "running" for process in processes)
        failed = sum(process["state"] in ("fatal", "backoff") for process in processes)
        counts = f"{running}/{plural(len(processes), 'process')} running"
        return counts + (f", {failed} failed" if failed else "")


# Editing -------------------------------------------------------------------------------------------------------------


def _history_file() -> str:
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "taskmaster", "history")


@contextlib.contextmanager
def _editing(lines: _Lines) -> Iterator[None]:
    """Give `input` history and completion for as long as this lasts."""
    import readline  # noqa: PLC0415  # it sends escapes to the terminal when loaded: only for a person at a prompt

    path = _history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY)
    readline.set_completer_delims(" \t\n")
    readline.set_completer(lambda text, number: _nth(text, readline.get_line_buffer(), lines.names, number))
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a home that cannot be written has no history, and that is all
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(path)


def _nth(text: str, line: str, names: list[str], number: int) -> str | None:
    found = complete(text, line, names)
    return found[number] if number < len(found) else None


def complete(text: str, line: str, names: list[str]) -> list[str]:
    """Return what the word `text` of a line may become: a command, a flag, or a job's name."""
    before = line[: len(line) - len(text)].split()
    if not before:
        known = [*BY_NAME, "exit", "quit"]
    elif text.startswith("-"):
        command = BY_NAME.get(before[0])
        known = [name for arg in (*(command.args if command else ()), *GLOBALS) for name in arg.names]
    elif before[0] == "help":
        known = list(BY_NAME)
    else:
        known = [shlex.quote(name) for name in names]
    return sorted(word + " " for word in known if word.startswith(text))
