"""Imports go one way, the policy touches nothing, the shim is an island, and a command loads no more than it needs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "taskmaster_core"
SHIM = CORE / "shim"
POLICY = [
    "errors", "spec", "ends", "machine", "plan", "launch", "intents", "wire", "waits", "effects", "processes",
    "declared", "supervisor",
]  # fmt: skip
TOUCHING = {
    "asyncio", "os", "time", "signal", "socket", "subprocess", "sqlite3", "threading", "zmq", "logging", "random",
}  # fmt: skip
HEAVY = {
    "textual", "rich", "pydantic", "asyncio", "sqlite3", "watchfiles", "psutil", "tomlkit", "tree_sitter", "cronsim",
}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file names, whole."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def loaded_by(code: str) -> set[str]:
    """Run code in a fresh interpreter; return the top names of what it had loaded at its end."""
    tail = "\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, cwd=ROOT, check=True, timeout=30
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_the_import_contracts_hold() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


def test_every_contract_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for match in re.finditer(r"(.*)\n\[\[tool\.importlinter\.contracts\]\]\n(.*)\n", text):
        assert match[2].startswith("# So that"), match[0]


@pytest.mark.parametrize("name", POLICY)
def test_policy_touches_nothing(name: str) -> None:
    assert tops(CORE / f"{name}.py") & TOUCHING == set()


@pytest.mark.parametrize("path", sorted(SHIM.glob("*.py")), ids=lambda path: path.name)
def test_the_shim_is_an_island_of_the_standard_library(path: Path) -> None:
    own = {each.stem for each in SHIM.glob("*.py")}
    assert tops(path) <= set(sys.stdlib_module_names) | own


def test_the_shim_has_no_module_that_hides_one_of_the_standard_library() -> None:
    assert {each.stem for each in SHIM.glob("*.py")} & set(sys.stdlib_module_names) - {"__main__"} == set()


@pytest.mark.parametrize("path", sorted(SHIM.glob("*.py")), ids=lambda path: path.name)
def test_the_shim_imports_nothing_after_its_start(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = [f.name for f in functions for node in ast.walk(f) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert inner == []


def test_of_the_shim_the_core_knows_the_frames_and_what_the_kernel_says_of_ends_alone() -> None:
    outside = [path for path in CORE.rglob("*.py") if path.parent != SHIM]
    known = {name for path in outside for name in imports(path) if "taskmaster_core.shim." in f"{name}."}
    # both ends of the wire read the same bytes, and ask the kernel the same question
    assert known <= {"taskmaster_core.shim.frames", "taskmaster_core.shim.pidfds", "taskmaster_core.shim"}


def test_the_policy_loads_no_heavy_library() -> None:
    code = "\n".join(f"import taskmaster_core.{name}" for name in POLICY)
    assert loaded_by(code) & (HEAVY | {"zmq"}) == set()
