from __future__ import annotations

from pathlib import Path

import pytest

from taskmaster_core.config import discreet, load, render
from taskmaster_core.config.problems import Place, Problem

MARK = "S3CR3T"


def told(tmp_path: Path, text: str, envfile: str = "") -> str:
    """Return everything a core would tell of the problems in a config."""
    path = tmp_path / "taskmaster.toml"
    path.write_text(text)
    (tmp_path / "vars.env").write_text(envfile)
    problems = load([str(path)], {}, privileged=False).problems
    assert problems
    return render(discreet(problems), color=False) + repr(discreet(problems))


@pytest.mark.parametrize(
    "text",
    [
        '[[task]]\nname = "a"\ncmd = "x"\nenv = {TOKEN = "S3CR3T", WRONG = 3}\n',
        '[[task]]\nname = "a"\ncmd = "x"\nenv.TOKEN = "S3CR3T" nonsense\n',
        "[[task]]\nname = \"a\"\ncmd = \"x\"\nenv = {TOKEN = 'S3CR3T', TOKEN = 'S3CR3T'}\n",
        '[env]\nTOKEN = "S3CR3T-${LOST}"\n[[task]]\nname = "a"\ncmd = "x"\n',
        '[env]\nTOKEN = "S3CR3T\n[[task]]\nname = "a"\ncmd = "x"\n',
        '[env]\npassword = ["S3CR3T"]\n',
        '[env]\nTEXT = """\nS3CR3T\n\\q"""\n',
        '[defaults]\nenv = {TOKEN = "S3CR3T", N = true}\n',
        'task = [{name = "a", cmd = "x", env = {TOKEN = "S3CR3T"}, autostrat = true}]\n',
    ],
)
def test_S04_no_value_of_a_variable_is_told(tmp_path: Path, text: str) -> None:
    assert MARK not in told(tmp_path, text)


def test_S04_a_number_in_the_place_of_a_secret_is_not_told(tmp_path: Path) -> None:
    assert "83112" not in told(tmp_path, '[[task]]\nname = "a"\ncmd = "x"\nenv = {PIN = 83112}\n')


def test_S04_a_line_of_an_envfile_is_not_told(tmp_path: Path) -> None:
    config = '[[task]]\nname = "a"\ncmd = "x"\nenvfile = "vars.env"\n'
    assert MARK not in told(tmp_path, config, envfile="shell='S3CR3T\n")


def test_other_lines_stay_as_they_are(tmp_path: Path) -> None:
    assert 'restart = "allways"' in told(tmp_path, '[[task]]\nname = "a"\ncmd = "x"\nrestart = "allways"\n')


def test_key_line_and_caret_stay_where_they_were() -> None:
    line = 'env = {TOKEN = "abc", WRONG = 3}'
    also = Place("f", 4, 1, 3, line, "here")
    (found,) = discreet([Problem("E201", "error", "f", 3, 31, 1, line, "`WRONG` is 3", 'write "3"', (also,))])
    assert found.text == "env = {TOKEN = *****, WRONG =**}"
    assert (found.line, found.column, found.also[0].text) == (3, 31, found.text)
    assert (found.message, found.help) == ("`WRONG` is ***", 'write "***"')


def test_S04_a_secret_in_a_command_is_warned_of_and_not_told(tmp_path: Path) -> None:
    file = tmp_path / "taskmaster.toml"
    file.write_text('[[task]]\nname = "web"\ncmd = "run --password=hunter2"\nautostrat = true\n')
    problems = discreet(load([str(file)], {}, privileged=False).problems)
    assert [each.code for each in problems] == ["E101", "W107"]
    assert "hunter2" not in repr(problems)
    assert "run --password=*******" in problems[1].text
