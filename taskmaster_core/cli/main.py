"""Run a command line: find its command, call the handler, turn every error into a sentence and an exit status.

It decides the exit status and nothing else; what a command does is in its handler. `taskmaster`, `tm`, `python -m
taskmaster_core` and the shell come in here.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn, cast

from taskmaster_core.cli import out as output
from taskmaster_core.cli import parser
from taskmaster_core.cli.call import Call
from taskmaster_core.cli.table import BY_NAME, Command
from taskmaster_core.errors import ExitStatus, NotAsAsked, TaskmasterError
from taskmaster_core.logs.sanitize import clean

if TYPE_CHECKING:
    from taskmaster_core.client import Client

Handler = Callable[[Call], int]


def entry() -> NoReturn:
    """Run the command line of this process and end it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name the locale cannot spell must not end a command
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()
    sys.exit(status)


def main(words: Sequence[str]) -> int:
    """Carry out a command line; return its exit status."""
    out = output.standard()
    try:
        command, options = parser.parse(words)
        out = _out_for(options)
        command = command or BY_NAME[_without_command()]
        options = options if hasattr(options, "rest") else parser.parse([*words, command.name])[1]
        return run(command, Call(options, out))
    except parser.Asked as asked:
        out.stdout.write(asked.text)
        return ExitStatus.DONE
    except TaskmasterError as error:
        return complain(out, error)
    except KeyboardInterrupt:
        return _interrupted(out)
    except BrokenPipeError:
        _abandon_stdout()  # `taskmaster logs | head`: the reader has what it wanted
        return ExitStatus.DONE
    except OSError as error:
        return complain(out, _of_system(error))


def run(command: Command, call: Call) -> int:
    """Call a command's handler."""
    module, _, function = command.handler.partition(":")
    # One module per family, imported by name: `status` must not pay for what `edit` needs (§10: 110 ms in all).
    handler = cast("Handler", getattr(import_module(f"taskmaster_core.cli.{module}"), function))
    try:
        return handler(call)
    finally:
        call.close()


def run_line(words: Sequence[str], defaults: Namespace, client: Client | None, out: output.Out) -> int:
    """Carry out a line of the shell, which lends its client and its global options; return the exit status."""
    try:
        command, options = parser.parse(words)
        if command is None:
            return ExitStatus.DONE
        own_place = options.instance or options.socket or options.host
        for name in ("config", "instance", "socket", "host", "json", "quiet", "verbose", "yes", "timeout", "color"):
            setattr(options, name, getattr(options, name) or getattr(defaults, name))
        return run(command, Call(options, _out_for(options), None if own_place else client))
    except parser.Asked as asked:
        out.stdout.write(asked.text)
        return ExitStatus.DONE
    except TaskmasterError as error:
        return complain(out, error)
    except KeyboardInterrupt:
        return _interrupted(out)
    except OSError as error:
        return complain(out, _of_system(error))


def complain(out: output.Out, error: TaskmasterError) -> int:
    """Print an error and what to do next; return its exit status."""
    out.complain(f"{out.paint('taskmaster:', 'bad', out.stderr)} {clean(error.message)}")
    for line in error.help.splitlines():
        out.complain(f"  {clean(line)}")
    return error.status


def _of_system(error: OSError) -> TaskmasterError:
    """Return the error for what the system refused: a file that may not be written, a disk that is full."""
    place = f"{error.filename}: " if error.filename else ""
    return NotAsAsked(f"{place}{error.strerror or error}")


def _out_for(options: Namespace) -> output.Out:
    return output.standard(color=options.color or "auto", quiet=options.quiet, verbose=options.verbose)


def _without_command() -> str:
    from taskmaster_core.cli import clients  # noqa: PLC0415  # whoever names a command does not pay for it

    if not clients.at_terminal():
        return "status"
    return "tui" if clients.has_tui() else "shell"


def _interrupted(out: output.Out) -> int:
    out.hint("interrupted")
    return ExitStatus.INTERRUPTED


def _abandon_stdout() -> None:
    # The interpreter flushes stdout once more at its end, and would say "Exception ignored … BrokenPipeError".
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
