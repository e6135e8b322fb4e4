"""docs/states.md is what the machine does."""

from __future__ import annotations

import re
from pathlib import Path

from docs import generate
from taskmaster_core import machine as m
from taskmaster_core.spec import State

PAGE = Path(generate.__file__).parent / "states.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == generate.states(), "run `make docs`"


def test_the_table_of_the_page_is_the_table_of_the_code() -> None:
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(State) + 1 and cells[0].startswith("`"):
            found[cells[0].strip("`")] = cells[1:]
    assert found == {
        kind.__name__: [generate._cell(row[state].__name__) for state in State] for kind, row in m.TABLE.items()
    }


def test_the_picture_shows_every_state_and_leaves_none_without_a_way_out() -> None:
    arrows = re.findall(r"^    (\S+) --> (\S+):? ?", PAGE.read_text(), re.MULTILINE)
    assert {before for before, _ in arrows} == {*State, "[*]"}
    assert {after.strip(":") for _, after in arrows} == {*State, "[*]"}


def test_the_page_of_keys_is_current() -> None:
    assert (PAGE.parent / "keys.md").read_text(encoding="utf-8") == generate.tui_keys(), "run `make docs`"
