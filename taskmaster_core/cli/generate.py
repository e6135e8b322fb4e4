"""Make docs/cli.md and the completions from the command table: `python -m taskmaster_core.cli.generate`.

It decides their layout only. The author of a change runs it; a test fails while what is on disk is not what it makes.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from taskmaster_core.cli import parser
from taskmaster_core.cli.about import COMPLETIONS, FILES
from taskmaster_core.cli.table import COMMANDS, FAMILIES, GLOBALS, Arg, Command
from taskmaster_core.errors import ExitStatus

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCS = os.path.join(ROOT, "docs", "cli.md")

_STATUSES = {
    ExitStatus.DONE: "done, and as asked (also if it was so already)",
    ExitStatus.NOT_AS_ASKED: "it ran, but not as asked; `status`: something is fatal, in backoff or unhealthy",
    ExitStatus.USAGE: "the command line cannot be understood",
    ExitStatus.NO_CORE: "no core can be reached",
    ExitStatus.NO_SUCH: "no such job or process",
    ExitStatus.TIMEOUT: "timed out waiting; the effect may still come",
    ExitStatus.CONFIG: "the config cannot be read or is not valid; nothing was changed",
    ExitStatus.REFUSED: "understood and refused",
    ExitStatus.PENDING_CHANGES: "`reload --plan --exit-code`: there are changes to apply",
    ExitStatus.INTERRUPTED: "interrupted by Ctrl-C",
}


# docs/cli.md ---------------------------------------------------------------------------------------------------------


def docs() -> str:
    """Return the text of docs/cli.md."""
    parts = [
        "# The command line",
        "<!-- made from the command table by `python -m taskmaster_core.cli.generate`; do not edit -->",
        "`taskmaster` and `tm` are the same. Data goes to stdout; hints, progress and errors go to stderr.",
        "Without a command: on a terminal a client, else `status`.",
        "Selectors: `web` (a job), `web:3` (one process), `web:*`, globs `'w*'`, `@tag`, `all`.",
        "## Options of every command",
        "They stand before or after the command. After `logs` and `events`, `-f` is `--follow`.",
        _arguments(GLOBALS),
        "## Exit statuses",
        _table(("status", "means"), [(str(int(status)), text) for status, text in _STATUSES.items()]),
    ]
    for family, title in FAMILIES.items():
        parts.append(f"## {title}")
        for command in COMMANDS:
            if command.family == family:
                parts += _command(command)
    return "\n\n".join(parts) + "\n"


def _command(command: Command) -> list[str]:
    usage = f"{parser.PROG} {command.name} {' '.join(_usage(arg) for arg in command.args)}".rstrip()
    parts = [f"### {command.name}", f"`{usage}{f' -- {command.rest}…' if command.rest else ''}`"]
    parts.append(command.summary[0].upper() + command.summary[1:] + "." + (f" {command.text}" if command.text else ""))
    if command.args:
        parts.append(_arguments(command.args))
    if command.examples:
        parts.append("```sh\n" + "\n".join(command.examples) + "\n```")
    return parts


def _usage(arg: Arg) -> str:
    value = str(arg.options.get("metavar", ""))
    if not arg.names[0].startswith("-"):
        shown = {"*": f"[{value} …]", "+": f"{value} …", "?": f"[{value}]"}
        return shown.get(arg.options.get("nargs", ""), value)
    shown_flag = f"{arg.names[0]} {value}".rstrip()
    return shown_flag if arg.options.get("required") else f"[{shown_flag}]"


def _arguments(args: tuple[Arg, ...]) -> str:
    rows = [(", ".join(f"`{name}`" for name in _spelled(arg)), arg.help) for arg in args]
    return _table(("argument", "means"), rows)


def _spelled(arg: Arg) -> tuple[str, ...]:
    value = str(arg.options.get("metavar", ""))
    if not arg.names[0].startswith("-"):
        return (value,)
    return (*arg.names[:-1], f"{arg.names[-1]} {value}".rstrip())


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    lines = [" | ".join(row) for row in (head, ("---", "---"), *((a, b.replace("|", "\\|")) for a, b in rows))]
    return "\n".join(f"| {line} |" for line in lines)


# Completions ---------------------------------------------------------------------------------------------------------

_PREAMBLE = {
    "bash": """
_taskmaster_jobs() {
  local IFS=$'\\n'
  compgen -W "$(taskmaster completion jobs 2>/dev/null)" -- "$1"
}
""",
    "zsh": """
_taskmaster_jobs() {
  local -a names
  names=(${(f)"$(taskmaster completion jobs 2>/dev/null)"})
  names=(${names//:/\\\\:})
  _describe 'jobs' names
}
""",
}


def completion(shell: str) -> str:
    """Return the completions for bash or zsh (by shtab) or fish (our own few lines)."""
    if shell == "fish":
        return _fish()
    import shtab  # noqa: PLC0415  # a development dependency: what it makes is shipped, it is not

    made = shtab.complete(_whole(), shell, preamble=_PREAMBLE[shell]).rstrip() + "\n"
    bound = "complete -o filenames -F _shtab_taskmaster tm\n" if shell == "bash" else ""
    return made.replace("#compdef taskmaster", "#compdef taskmaster tm") + bound


def _whole() -> ArgumentParser:
    """Return one parser of everything, as shtab wants it; calls of the program never build it."""
    whole = ArgumentParser(prog=parser.PROG)
    _fill(whole, GLOBALS)
    commands = whole.add_subparsers(dest="command")
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.summary)
        _fill(sub, command.args)
        taken = {name for arg in command.args for name in arg.names}
        _fill(sub, tuple(arg._replace(names=tuple(n for n in arg.names if n not in taken)) for arg in GLOBALS))
    return whole


def _fill(into: ArgumentParser, args: tuple[Arg, ...]) -> None:
    import shtab  # noqa: PLC0415  # as above

    for arg in args:
        options = {name: value for name, value in arg.options.items() if name != "type"}
        action: Any = into.add_argument(*arg.names, help=arg.help.replace("%", "%%"), **options)
        if arg.completes == "file":
            action.complete = shtab.FILE
        elif arg.completes == "job":
            action.complete = {"bash": "_taskmaster_jobs", "zsh": "_taskmaster_jobs"}


def _fish() -> str:
    lines = [
        "# completions of taskmaster for fish",
        "function __taskmaster_jobs",
        "    taskmaster completion jobs 2>/dev/null",
        "end",
    ]
    for prog in ("taskmaster", "tm"):
        lines += [f"complete -c {prog} -f", *(f"complete -c {prog} {_fish_arg(arg)}" for arg in GLOBALS)]
        for command in COMMANDS:
            lines += [f"complete -c {prog} {each}" for each in _fish_command(command)]
    return "\n".join(lines) + "\n"


def _fish_command(command: Command) -> list[str]:
    first = f"-n __fish_use_subcommand -a {command.name} -d {_quoted(command.summary)}"
    within = f"-n '__fish_seen_subcommand_from {command.name}'"
    return [first, *(f"{within} {_fish_arg(arg)}" for arg in command.args if _fish_arg(arg))]


def _fish_arg(arg: Arg) -> str:
    values = {"job": "-a '(__taskmaster_jobs)'", "file": "-F"}.get(arg.completes, "")
    if "choices" in arg.options:
        values = f"-a '{' '.join(arg.options['choices'])}'"
    if not arg.names[0].startswith("-"):
        return values
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in arg.names]
    takes = "" if arg.options.get("action") == "store_true" else "-r"
    return " ".join(part for part in (*names, takes, values, f"-d {_quoted(arg.help)}") if part)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# -------------------------------------------------------------------------------------------------------------------


def everything() -> dict[str, str]:
    """Return the text of every file that is made, by path."""
    made = {os.path.join(COMPLETIONS, name): completion(shell) for shell, name in FILES.items()}
    return {DOCS: docs(), **made}


def main() -> None:
    """Write them all."""
    for path, text in everything().items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(path)


if __name__ == "__main__":
    main()
