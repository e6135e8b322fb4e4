from __future__ import annotations

import pytest

from taskmaster_core.cli import parser
from taskmaster_core.cli.call import duration
from taskmaster_core.cli.parser import Asked, parse, split
from taskmaster_core.cli.table import BY_NAME, COMMANDS, FAMILIES
from taskmaster_core.errors import UsageError


def test_the_command_is_the_first_word_that_is_no_option() -> None:
    assert split(["-f", "a.toml", "--json", "--timeout", "5", "status", "web"]) == (
        ["-f", "a.toml", "--json", "--timeout", "5"],
        "status",
        ["web"],
    )


def test_an_option_with_its_value_attached_takes_no_word() -> None:
    assert split(["--instance=dev", "status"])[1] == "status"


@pytest.mark.parametrize("words", [["--instance", "dev", "status", "-q"], ["-q", "status", "--instance", "dev"]])
def test_global_options_stand_before_or_after_the_command(words: list[str]) -> None:
    _, options = parse(words)
    assert (options.instance, options.quiet) == ("dev", True)


def test_config_files_before_and_after_the_command_add_up() -> None:
    assert parse(["-f", "a", "status", "-f", "b"])[1].config == ["a", "b"]


def test_after_logs_f_is_follow_and_before_it_is_config() -> None:
    _, options = parse(["-f", "a.toml", "logs", "-f", "web"])
    assert (options.config, options.follow, options.selectors) == (["a.toml"], True, ["web"])


def test_options_may_stand_between_selectors() -> None:
    _, options = parse(["start", "web", "--no-wait", "api"])
    assert (options.selectors, options.no_wait) == (["web", "api"], True)


def test_what_follows_two_dashes_is_kept_as_it_is() -> None:
    assert parse(["add", "web", "--", "cmd", "--", "-x", "--json"])[1].rest == ["cmd", "--", "-x", "--json"]


def test_add_without_a_command_says_how_it_is_written() -> None:
    with pytest.raises(UsageError, match="add NAME -- CMD"):
        parse(["add", "web"])


def test_no_command_is_told_from_an_unknown_one() -> None:
    assert parse(["-q"])[0] is None


@pytest.mark.parametrize(
    ("words", "near"),
    [(["strat"], "`start`"), (["status", "--prcs"], "`--procs`"), (["logs", "--folow"], "`--follow`")],
)
def test_a_misspelt_word_gets_the_nearest_one(words: list[str], near: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert near in caught.value.help


def test_a_flag_is_not_guessed_from_its_beginning() -> None:
    with pytest.raises(UsageError):
        parse(["status", "--fail"])


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], ["status", "--help"], ["add", "-h"]])
def test_help_and_version_carry_text_and_do_nothing(words: list[str]) -> None:
    with pytest.raises(Asked) as caught:
        parse(words)
    assert caught.value.text


@pytest.mark.parametrize("name", list(BY_NAME))
def test_every_command_explains_itself(name: str) -> None:
    command = BY_NAME[name]
    text = parser.build(command).format_help()
    assert f"taskmaster {name}" in text
    for arg in command.args:
        assert arg.names[-1] in text or str(arg.options["metavar"]) in text


def test_the_overview_names_every_command_once() -> None:
    lines = parser.overview().splitlines()
    for command in COMMANDS:
        assert sum(line.startswith(f"  {command.name} ") for line in lines) == 1
    assert {command.family for command in COMMANDS} == set(FAMILIES)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5.0), ("2.5", 2.5), ("500ms", 0.5), ("1m30s", 90.0), ("24h", 86400.0)]
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "5 s", "-1", "1y"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        duration(text)
