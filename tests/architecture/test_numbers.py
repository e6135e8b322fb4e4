"""The numbers we hold: small functions, files that fit in a head, no class that does everything, no hidden imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for top in ("taskmaster_core", "taskmaster_tui") for path in (ROOT / top).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]

LONG_FILES: dict[str, int] = {
    "taskmaster_core/machine.py": 700,  # one table and its cells: everything that affects transitions in one file
}
FILE, CLASS, FUNCTION = 500, 250, 60
FEW, MOST = 8, 30

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def length(function: Function) -> int:
    """Return the lines of a function, its docstring left out."""
    assert function.end_lineno is not None
    first = function.body[0]
    words = (first.end_lineno or first.lineno) - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - words


EVERY = sorted(length(function) for path in SOURCES for function in functions(path))


def test_half_of_the_functions_have_eight_lines_or_fewer() -> None:
    assert median(EVERY) <= FEW


def test_nine_in_ten_functions_have_thirty_lines_or_fewer() -> None:
    assert EVERY[len(EVERY) * 9 // 10] <= MOST


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_function_is_longer_than_sixty_lines(path: Path) -> None:
    assert {f.name: length(f) for f in functions(path) if length(f) > FUNCTION} == {}


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_file_is_longer_than_it_may_be(path: Path) -> None:
    most = LONG_FILES.get(str(path.relative_to(ROOT)), FILE)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


def test_three_files_at_most_are_longer() -> None:
    assert len(LONG_FILES) <= 3


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_class_is_longer_than_250_lines(path: Path) -> None:
    classes = (node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
    sizes = {each.name: (each.end_lineno or 0) - each.lineno + 1 for each in classes}
    assert {name: size for name, size in sizes.items() if size > CLASS} == {}


def _inner_imports(path: Path) -> Iterator[int]:
    for function in functions(path):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node.lineno


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_an_import_inside_a_function_says_why(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    silent = [
        f"{line}: {lines[line - 1].strip()}"
        for line in sorted(set(_inner_imports(path)))
        if not any("#" in each for each in lines[max(0, line - 3) : line])
    ]
    assert silent == []


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_module_says_what_it_decides(path: Path) -> None:
    module = tree(path)
    assert not module.body or ast.get_docstring(module)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_nothing_is_left_for_later(path: Path) -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if any(word in line for word in words)] == []
