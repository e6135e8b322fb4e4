"""Turn the command table into argparse parsers, and words into a namespace.

It decides what a command line means: which word is the command, which options are global; it carries nothing out.
One parser per command is built, only when it is used: all of them would cost every call 10 ms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from taskmaster_core.cli import suggest
from taskmaster_core.cli.table import BY_NAME, COMMANDS, CONFIG, FAMILIES, GLOBALS, Arg, Command
from taskmaster_core.errors import UsageError

PROG = "taskmaster"


class Asked(Exception):  # no error: the person asked for text, and this carries it out of argparse
    """Carry the help that was asked for."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_count.__name__ = "number"  # argparse says "invalid number value"

_TYPES: dict[str, Callable[[str], Any]] = {"count": _count}


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        raise Asked(parser.format_help())


class Parser(argparse.ArgumentParser):
    """Parse one command; what is wrong is raised, never printed."""

    def error(self, message: str) -> NoReturn:
        """Raise the usage error, with the nearest flag if one was misspelt."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message and unknown.startswith("-"):
            flags = [flag for action in self._actions for flag in action.option_strings]
            word = unknown.split()[0].split("=")[0]
            raise UsageError(f"unknown option {word}", suggest.near(word, flags) or f"see: {self.prog} --help")
        raise UsageError(message, self.format_usage().strip())

    def format_help(self) -> str:
        """Return the help, coloured on a terminal."""
        if sys.stdout.isatty() and not suggest.colorless():
            # rich is 60 ms: only a help that a person looks at loads it
            from rich_argparse import RawDescriptionRichHelpFormatter  # noqa: PLC0415

            self.formatter_class = RawDescriptionRichHelpFormatter
        return super().format_help()


def build(command: Command) -> Parser:
    """Return the parser of a command, which knows the global options too."""
    parser = Parser(
        prog=f"{PROG} {command.name}",
        description=_describe(command),
        epilog=_epilog(command),
        usage=None if not command.rest else f"{PROG} {command.name} [options] NAME -- {command.rest}…",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    for arg in command.args:
        _add(parser, arg)
    shared = parser.add_argument_group("options of every command")
    for arg in GLOBALS:
        _add(shared, arg._replace(names=("--config",)) if command.follows and arg is CONFIG else arg, of_all=True)
    shared.add_argument("-h", "--help", nargs=0, action=_Help, help="this text")
    return parser


def _add(parser: Any, arg: Arg, *, of_all: bool = False) -> None:
    options = dict(arg.options)
    if "type" in options:
        options["type"] = _TYPES[options["type"]]
    if of_all:
        options["default"] = argparse.SUPPRESS  # what stands before the command must not be overwritten by a default
    parser.add_argument(*arg.names, help=arg.help, **options)


def _describe(command: Command) -> str:
    import textwrap  # noqa: PLC0415  # argparse loads it for help as well; parsing does not need it

    text = command.summary[0].upper() + command.summary[1:] + "."
    return text + ("\n\n" + textwrap.fill(command.text, 88) if command.text else "")


def _epilog(command: Command) -> str | None:
    return "examples:\n" + "\n".join(f"  {each}" for each in command.examples) if command.examples else None


def _leading() -> Parser:
    """Return the parser of what stands before the command."""
    parser = Parser(prog=PROG, add_help=False, allow_abbrev=False)
    for arg in GLOBALS:
        _add(parser, arg)
    return parser


def _takes_value(word: str) -> bool:
    return any(word in arg.names and "action" not in arg.options for arg in GLOBALS) or word in CONFIG.names


def split(words: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Return the words before the command, the command's name (None: there is none), and the words after it."""
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("-") or word == "-":
            return list(words[:at]), word, list(words[at + 1 :])
        at += 2 if _takes_value(word) else 1
    return list(words), None, []


def parse(words: Sequence[str]) -> tuple[Command | None, argparse.Namespace]:
    """Return the command (None: none was named) and its options; raise UsageError, or Asked for help and version."""
    before, name, after = split(words)
    if name is None:
        _asked_at_once(before)
        return None, _leading().parse_args(before)
    options = _leading().parse_args(before)
    command = BY_NAME.get(name)
    if command is None:
        raise UsageError(f"unknown command `{name}`", suggest.near(name, list(BY_NAME)) or "see: taskmaster help")
    after, options.rest = _cut_rest(command, after)
    return command, build(command).parse_intermixed_args(after, options)


def _asked_at_once(before: Sequence[str]) -> None:
    if "-h" in before or "--help" in before:
        raise Asked(overview())
    if "--version" in before:
        raise Asked(suggest.own_version() + "\n")


def _cut_rest(command: Command, after: list[str]) -> tuple[list[str], list[str]]:
    """Take off what follows `--`; argparse would lose a second `--` in it."""
    if not command.rest or "-h" in after or "--help" in after:
        return after, []
    if "--" not in after or not after[after.index("--") + 1 :]:
        raise UsageError(f"what shall it run? write: {PROG} {command.name} NAME -- {command.rest}…")
    at = after.index("--")
    return after[:at], after[at + 1 :]


def overview() -> str:
    """Return the help of the whole program."""
    lines = [f"usage: {PROG} [options] COMMAND …", "", "Keeps jobs running, and shows what they do.", ""]
    width = max(len(command.name) for command in COMMANDS)
    for family, title in FAMILIES.items():
        lines.append(f"{title}:")
        lines += [f"  {each.name:<{width}}  {each.summary}" for each in COMMANDS if each.family == family]
        lines.append("")
    lines += ["Options of every command (before or after it):", *_overview_of_globals(), ""]
    lines += [f"{PROG} COMMAND --help explains a command. Without a command: a client on a terminal, else status."]
    return "\n".join(lines) + "\n"


def _overview_of_globals() -> list[str]:
    pairs = [(", ".join(arg.names) + f" {arg.options.get('metavar', '')}".rstrip(), arg.help) for arg in GLOBALS]
    width = max(len(left) for left, _ in pairs)
    return [f"  {left:<{width}}  {right}" for left, right in pairs]
