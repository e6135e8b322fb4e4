"""How `cmd` and `shell` become an argv.

Decides whether a command can run without a shell, and says what to write when it cannot. The builder of specs calls
it for each job; placeholders stay in the words, they are expanded at each launch.
"""

from __future__ import annotations

import re

from msgspec import Struct

from taskmaster_core.config.values import Invalid
from taskmaster_core.config.words import Split, Unclosed, split

_SHELL_WORDS = frozenset({"cd", "source", ".", "export", "exec", "alias", "ulimit", "umask", "eval", "set", "unset"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)


class Command(Struct, frozen=True):
    """Hold the argv, the shell it needs, and warnings: code, message, help."""

    argv: tuple[str, ...]
    shell: str | None = None
    warnings: tuple[tuple[str, str, str], ...] = ()


def read(cmd: str | tuple[str, ...], shell: bool | str) -> Command:
    """Return the command's argv; raise Invalid when it cannot be run as it is written."""
    if shell:
        return _through_shell(cmd, "/bin/sh" if shell is True else shell)
    if not isinstance(cmd, str):
        if not cmd[0]:
            raise Invalid("the command is empty", "write the program and its arguments", "E302")
        return Command(cmd)
    try:
        pieces = split(cmd)
    except Unclosed as error:
        raise Invalid(str(error), "close it, or put a \\ before it", "E302") from error
    _refuse_shell(pieces)
    return Command(pieces.words, None, tuple(_warnings(pieces)))


def _through_shell(cmd: str | tuple[str, ...], shell: str) -> Command:
    if not isinstance(cmd, str):
        raise Invalid("with `shell` the command is one string", "join it, or take `shell` out", "E304")
    if not cmd.strip():
        raise Invalid("the command is empty", "write what the shell has to run", "E302")
    return Command((shell, "-c", cmd), shell)


def _refuse_shell(pieces: Split) -> None:
    if not pieces.words or not pieces.words[0]:
        raise Invalid("the command is empty", "write the program and its arguments", "E302")
    if pieces.operators:
        operator = pieces.operators[0]
        if operator == "~":
            raise Invalid("no shell replaces `~`", "write ${HOME}", "E302")
        raise Invalid(f"`{operator}` means something to a shell only, and none runs", _remedy(operator), "E302")
    assignment = _ASSIGNMENT.match(pieces.words[0])
    if assignment:
        name, value = assignment[1], pieces.words[0][assignment.end() :]
        advice = f'write env = {{ {name} = "{value[:30]}" }}, or shell = true'
        raise Invalid(f"`{name}=` before a command means something to a shell only", advice, "E302")


def _remedy(operator: str) -> str:
    if operator == ">&":
        return 'write stderr = "stdout", or shell = true'
    if operator in (">", ">>"):
        return "write stdout = \"PATH\", or shell = true; or quote it: '>'"
    if operator == "&":
        return "take it out: a job stays in the foreground"
    return f"write shell = true, or quote it: '{operator}'"


def _warnings(pieces: Split) -> list[tuple[str, str, str]]:
    found = []
    if pieces.words[0] in _SHELL_WORDS:
        word = pieces.words[0]
        advice = {"exec": "take it out", "cd": "write workingdir"}.get(word, "write shell = true")
        found.append(("W106", f"`{word}` is a shell's own word, and no shell runs", advice))
    return found + [_bare(name) for name in dict.fromkeys(pieces.bare)]


def _bare(name: str) -> tuple[str, str, str]:
    return "W104", f"`{name}` is passed as it is: no shell replaces it", f"write ${{{name[1:]}}}, or '{name}'"
