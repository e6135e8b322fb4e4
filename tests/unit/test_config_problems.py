from __future__ import annotations

import ast
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskmaster_core.config import parse, render, summary, to_github, to_json
from taskmaster_core.config.model import File, Task
from taskmaster_core.config.problems import CODES, Place, Problem
from taskmaster_core.config.reference import docstrings, reference, schema, schema_text

ROOT = Path(__file__).parents[2]


def problem(**fields):
    given: dict[str, Any] = {
        "code": "E101",
        "severity": "error",
        "file": "taskmaster.toml",
        "line": 3,
        "column": 1,
        "width": 9,
        "text": "autostrat = true",
        "message": "unknown key `autostrat`",
        "help": "did you mean `autostart`?",
    }
    return Problem(**(given | fields))


# for people


def test_a_problem_looks_as_promised():
    assert render([problem()], color=False) == (
        "error[E101]: unknown key `autostrat`\n"
        " --> taskmaster.toml:3:1\n"
        "  |\n"
        "3 | autostrat = true\n"
        "  | ^^^^^^^^^\n"
        "  = help: did you mean `autostart`?\n"
        "\n"
        "1 error\n"
    )


def test_a_problem_without_a_place_names_the_file():
    text = render([problem(line=0, column=0, width=0, text="", help="")], color=False)
    assert text == "error[E101]: unknown key `autostrat`\n --> taskmaster.toml\n\n1 error\n"


def test_a_second_place_is_shown_below_the_first():
    also = (Place("b.toml", 12, 8, 3, 'name = "a"', "first used here"),)
    text = render([problem(also=also)], color=False)
    assert '  ::: b.toml:12:8\n   |\n12 | name = "a"\n   |        --- first used here\n' in text
    assert "\n3  | autostrat = true\n" in text


def test_a_caret_stands_below_wide_characters():
    text = render([problem(text="名 = x", column=5, width=1)], color=False)
    assert text.splitlines()[4] == "  |      ^"


def test_a_long_line_is_shown_around_the_place():
    text = render([problem(text="x" * 5000 + "HERE" + "y" * 5000, column=5001, width=4)], color=False)
    assert "HERE" in text
    assert max(len(line) for line in text.splitlines()) < 200


def test_what_a_file_holds_cannot_steer_the_terminal():
    text = render([problem(text="\x1b[2J\u202e\x9b", message="\x1b]0;x\x07", file="\x1b", help="\x1b")], color=False)
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(text)


def test_colour_only_when_asked():
    assert "\x1b[1;31m" in render([problem()], color=True)
    assert "\x1b[1;33m" in render([problem(code="W101", severity="warning")], color=True)
    assert "\x1b" not in render([problem()], color=False)


def test_many_problems_are_cut():
    text = render([problem()] * 150, color=False)
    assert text.count("error[") == 100
    assert text.endswith("… and 50 more\n\n150 errors\n")


def test_no_problems_are_no_text():
    assert render([], color=True) == ""


def test_the_count_in_words():
    assert summary([problem(), problem(), problem(severity="warning")]) == "2 errors, 1 warning"
    assert summary([]) == "no problems"


# for tools


def test_json_has_the_promised_fields():
    rows = to_json([problem(), problem(code="W102", severity="warning")])
    assert rows["errors"] == [
        {"code": "E101", "file": "taskmaster.toml", "line": 3, "column": 1, "message": "unknown key `autostrat`",
         "help": "did you mean `autostart`?"}
    ]  # fmt: skip
    assert [row["code"] for row in rows["warnings"]] == ["W102"]
    json.dumps(rows)


def test_annotations_of_a_code_host_are_escaped():
    text = to_github([problem(file="a,b:c.toml", message="50% \n done", help="")])
    assert text == (
        "::error file=a%2Cb%3Ac.toml,line=3,col=1,endColumn=10,title=E101::50%25 %0A done\n"
    )  # fmt: skip
    assert to_github([problem(line=0)]).startswith("::error file=taskmaster.toml,title=E101::")


def test_a_problem_survives_the_wire():
    raw = msgspec.json.encode(problem())
    assert msgspec.json.decode(raw, type=Problem) == problem()


# codes, reference, schema


def test_every_code_in_the_source_is_listed_and_the_other_way_round():
    package = ROOT / "taskmaster_core" / "config"
    sources = "".join(path.read_text() for path in package.glob("*.py") if path.name != "problems.py")
    used = {code for code in CODES if f'"{code}"' in sources}
    assert used == set(CODES)


def test_the_reference_is_current():
    assert (ROOT / "docs" / "config.md").read_text() == reference(), "python -m taskmaster_core.config.reference"


def test_the_schema_is_current():
    written = (ROOT / "config" / "taskmaster.schema.json").read_text()
    assert written == schema_text(), "python -m taskmaster_core.config.reference"


def test_every_key_is_described():
    texts = docstrings()
    for table, entry in {**schema()["$defs"], "File": schema()}.items():
        for key, described in entry["properties"].items():
            assert described.get("description") or table == "NamedTask", f"{table}.{key}"
    assert set(texts["TaskKeys"]) | {"name"} == set(Task.model_fields)


class Parsing:
    """Garbage whose finalizer parses from further down the stack, and leaves such garbage behind."""

    def __init__(self, ends: list[None]) -> None:
        self.cycle = self
        self.ends = ends

    def __del__(self) -> None:
        def parse(depth: int) -> None:
            parse(depth - 1) if depth else ast.parse("1 + 1")

        parse(20)
        if not self.ends:
            Parsing(self.ends)


def test_the_reference_is_read_though_a_finalizer_parses_too():
    collected = gc.get_threshold()
    ends: list[None] = []
    gc.set_threshold(1)
    try:
        Parsing(ends)
        assert "TaskKeys" in docstrings()
    finally:
        ends.append(None)
        gc.set_threshold(*collected)
        gc.collect()


def test_the_schema_knows_both_spellings_of_jobs():
    document = schema()
    assert set(document["properties"]) == set(File.model_fields)
    assert [choice["type"] for choice in document["properties"]["task"]["anyOf"]] == ["array", "object"]
    assert document["$defs"]["Task"]["required"] == ["name"]
    assert "required" not in document["$defs"]["NamedTask"]
    assert "as" in document["$defs"]["LimitKeys"]["properties"]


@pytest.mark.parametrize("key", ["dependson", "watch", "schedule"])
def test_a_key_of_a_later_version_is_not_in_the_schema(key):
    assert key not in schema()["$defs"]["Task"]["properties"]


# cost of looking


def loaded_by(code):
    heavy = ("pydantic", "tree_sitter", "tomlkit", "dotenv", "tomli")
    script = f"import sys\n{code}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def test_the_package_itself_loads_nothing():
    assert loaded_by("import taskmaster_core.config") == "[]"


def test_a_good_file_loads_no_tree_sitter():
    text = b'[[task]]\nname = "a"\ncmd = "x"\numask = 0o022\n'
    code = f"from taskmaster_core.config import parse\nassert parse({text!r}, 'x').config"
    assert loaded_by(code) == "['pydantic', 'tomli']"


def test_a_file_with_a_problem_does():
    assert "tree_sitter" in loaded_by("from taskmaster_core.config import parse\nparse(b'x = 1', 'x')")


def test_an_unknown_name_of_the_package_is_an_error():
    with pytest.raises(ImportError):
        from taskmaster_core.config import nothing  # noqa: F401
    assert parse(b"", "x").config is not None
