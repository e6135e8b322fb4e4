from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from taskmaster_core.cli import generate
from taskmaster_core.cli.table import COMMANDS
from tests.unit.conftest import Cli


@pytest.mark.parametrize("path", list(generate.everything()))
def test_what_is_made_from_the_command_table_is_current(path: str) -> None:
    """If this fails: python -m taskmaster_core.cli.generate."""
    assert Path(path).read_text(encoding="utf-8") == generate.everything()[path]


def test_the_docs_name_every_command_flag_and_exit_status() -> None:
    text = generate.docs()
    for command in COMMANDS:
        assert f"### {command.name}\n" in text
        for arg in command.args:
            assert arg.names[-1] in text or str(arg.options["metavar"]) in text
    for status in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130):
        assert f"| {status} |" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_file(cli: Cli, shell: str) -> None:
    assert cli("completion", shell).out == generate.completion(shell)


def test_completion_jobs_without_a_core_says_nothing(cli: Cli) -> None:
    assert cli("--instance", "none", "completion", "jobs") == (0, "", "")


def test_bash_completes_commands_and_flags(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "completions"
    file.write_text(cli("completion", "bash").out)
    asked = f"""source {file}
      COMP_WORDS=(taskmaster stat) COMP_CWORD=1; _shtab_taskmaster taskmaster stat taskmaster; echo "${{COMPREPLY[@]}}"
      COMP_WORDS=(tm logs --fo) COMP_CWORD=2; _shtab_taskmaster tm --fo logs; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == ["status", "--follow"]
