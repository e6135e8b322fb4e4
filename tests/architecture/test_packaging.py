"""What is declared is what is used, what is shipped is whole, and what CI runs is what we run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = sorted(path for top in ("taskmaster_core", "taskmaster_tui") for path in (ROOT / top).rglob("*.py"))
MODULES = {  # distribution → what it is imported as, where the two differ
    "pyzmq": "zmq", "python-dotenv": "dotenv", "tree-sitter": "tree_sitter", "tree-sitter-toml": "tree_sitter_toml",
    "rich-argparse": "rich_argparse",
}  # fmt: skip
PARTS_OF_OTHERS = {"rich", "pydantic_core"}  # come with textual and rich-argparse, with pydantic
UNIT = (ROOT / "config" / "taskmaster.service").read_text()


def declared(requirements: list[str]) -> set[str]:
    names = {re.split(r"[<>=\[ ]", each)[0] for each in requirements}
    return {MODULES.get(name, name) for name in names}


def imported() -> set[str]:
    found = set()
    own = {path.stem for path in SOURCES if path.parent.name == "shim"} | {"taskmaster_core", "taskmaster_tui"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            found |= {name.partition(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - own


def test_what_is_imported_is_declared() -> None:
    optional = declared(PROJECT["project"]["optional-dependencies"]["dev"])
    assert imported() <= declared(PROJECT["project"]["dependencies"]) | PARTS_OF_OTHERS | optional


@pytest.mark.parametrize("name", PROJECT["project"]["scripts"])
def test_a_command_leads_to_a_function(name: str) -> None:
    module, _, function = PROJECT["project"]["scripts"][name].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_version_is_said_once() -> None:
    from taskmaster_core import __version__

    assert __version__ == PROJECT["project"]["version"]


def test_licence_is_the_one_that_is_declared() -> None:
    assert PROJECT["project"]["license"] == "MIT"
    assert "The Taskmaster authors" in (ROOT / "LICENSE").read_text()


EXAMPLES = sorted((ROOT / "config").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_config_is_valid(path: Path) -> None:
    command = [sys.executable, "-m", "taskmaster_core", "check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=30)
    if path.name == "users.toml" and os.getuid() != 0:
        pytest.skip("changing the user needs root, and the check says so")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line", ["Type=notify", "Delegate=yes", "KillMode=mixed", "Restart=always", "RestartPreventExitStatus=6 7"]
)
def test_the_unit_says(line: str) -> None:
    assert f"\n{line}\n" in UNIT


def test_ci_runs_what_we_run() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("exec make test")


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", "pyproject.toml"])
def test_nothing_of_one_machine_is_in_it(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|/home/|/root/|/work/|index-url|proxy", text)


@pytest.mark.parametrize("target", ["run", "test", "check", "test-all", "bench", "docs"])
def test_a_target_does_its_set_up_first(target: str) -> None:
    plan = subprocess.run(
        ["make", "-n", "VENV=.venv-that-is-not-there", target], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert "-m venv --clear .venv-that-is-not-there" in plan
    assert plan.index("-m venv") < plan.index("pip install")
