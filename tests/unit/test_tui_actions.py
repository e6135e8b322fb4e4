"""The action table, its keys and who carries each action out."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
from rich.cells import cell_len

from taskmaster_core.cli.parser import parse
from taskmaster_tui import keys
from taskmaster_tui.actions import BY_ID, SCOPES, VIEWS, Action, Context, available, command_line
from taskmaster_tui.app import TaskmasterApp
from taskmaster_tui.bindings import bindings
from taskmaster_tui.keys import PRESETS, clashes, keys_of, merged, problems, shown, spell, split
from taskmaster_tui.screens.main import MainScreen
from taskmaster_tui.screens.panes import LogPane
from taskmaster_tui.screens.view import View

ALL = [action for actions in SCOPES.values() for action in actions]
EACH = pytest.mark.parametrize("action", ALL, ids=lambda action: action.id)

FILLED = {
    "JOB=N": "web=3", "SIG": "HUP", "TIME": "2026-01-01T00:00:00", "NAME": "name", "RE": "'a|b'", "CMD": "sleep 1",
    "N": "3", "SEL": "web:0",
}  # fmt: skip

SCREEN_ONLY = {
    "go.last", "go.jump", "app.palette", "app.keys", "app.settings", "app.next_pane", "app.previous_pane", "app.zoom",
    "app.freeze", "app.back", "app.quit", "app.interrupt", "app.report", "job.copy", "job.copy_command", "jobs.fold",
    "jobs.unfold", "jobs.mark", "jobs.mark_range", "jobs.sort_next", "jobs.sort_previous", "jobs.sort_invert",
    "jobs.next_tab", "jobs.previous_tab", "jobs.wider", "jobs.narrower", "log.next", "log.previous", "log.wrap",
    "log.next_error", "log.previous_error", "log.mark", "log.jump_mark", "log.select", "log.copy", "log.copy_command",
    "events.older", "events.newer", "metrics.sort", "config.next_part", "config.previous_part", "config.edit_file",
    *(action.id for action in ALL if action.group == "Move"),
}  # fmt: skip
"""What is about the screen itself: a shell has none."""


def filled(line: str) -> list[str]:
    """Return the words of a command line after the program's name, its placeholders filled in."""
    line = line.partition(" > ")[0]
    for name, value in FILLED.items():
        line = re.sub(rf"(?<![\w=]){re.escape(name)}(?!\w)", value, line)
    program, *words = shlex.split(line)
    assert program == "taskmaster"
    return words


# The table ------------------------------------------------------------------------------------------------------------


def test_ids_are_unique():
    assert len(BY_ID) == len(ALL)


@EACH
def test_an_action_has_an_id_of_two_words(action: Action):
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", action.id)


@EACH
def test_a_label_is_short(action: Action):
    assert 1 <= len(action.label.split()) <= 2
    assert cell_len(action.label) <= 14
    assert action.label[0].isupper() or not action.label[0].isalpha()


@EACH
def test_the_help_is_one_line_without_a_full_stop(action: Action):
    assert action.help.strip() == action.help != ""
    assert "\n" not in action.help
    assert not action.help.endswith(".")
    assert cell_len(action.help) <= 72


@EACH
def test_an_action_has_a_key(action: Action):
    assert split(action.keys)
    assert all(split(action.keys))


@EACH
def test_what_is_needed_are_fields_of_the_context(action: Action):
    assert set(action.needs.split()) <= set(Context._fields)


@EACH
def test_there_is_a_command_that_does_the_same_or_it_is_about_the_screen(action: Action):
    line = command_line(action, "SEL", "web")
    if not line:
        assert action.id in SCREEN_ONLY
        return
    assert "{" not in line
    parse(filled(line))


def test_the_list_of_what_is_about_the_screen_names_only_what_there_is():
    assert {each for each in SCREEN_ONLY if each not in BY_ID} <= {"config.edit_file"}


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "signal", "scale", "hold", "release", "reset"])
def test_what_changes_jobs_needs_a_core_and_the_right_to_write(verb: str):
    changing = [action for action in ALL if f" {verb} " in action.cli]
    assert changing
    assert all({"live", "write"} <= set(action.needs.split()) for action in changing)


# Who carries it out ---------------------------------------------------------------------------------------------------


def view_class(name: str) -> type[View]:
    found: type[View] = getattr(importlib.import_module(f"taskmaster_tui.screens.{name}"), f"{name.capitalize()}View")
    return found


def performers(view: str, scope: str) -> list[type]:
    """Return the classes that are asked, as the app asks them, when the key of a scope is pressed in a view."""
    from taskmaster_tui.screens.log_actions import LogActions

    inner: list[type] = [LogPane] if scope == "log" and view == "jobs" else [LogActions] if view == "logs" else []
    return [*inner, view_class(view), MainScreen, TaskmasterApp]


REACHED = [
    (view, scope, action.id)
    for view, scopes in VIEWS.items()
    for scope in (*scopes, *(["log"] if view == "jobs" else []), "global")
    for action in SCOPES[scope]
]


@pytest.mark.parametrize(("view", "scope", "action_id"), REACHED, ids=str)
def test_every_key_of_a_view_does_something_there(view: str, scope: str, action_id: str):
    name = "do_" + action_id.replace(".", "_")
    assert any(hasattr(each, name) for each in performers(view, scope))


def test_everything_that_can_be_performed_is_in_the_table():
    classes = {each for view in VIEWS for scope in SCOPES for each in performers(view, scope)}
    named = {name for each in classes for name in dir(each) if name.startswith("do_")}
    assert named == {"do_" + action_id.replace(".", "_") for action_id in BY_ID}


# Keys -----------------------------------------------------------------------------------------------------------------

MULTIPLEXERS = {"ctrl+a", "ctrl+b", "ctrl+h", "ctrl+j", "ctrl+k", "ctrl+l"}
TERMINALS = {"ctrl+i", "ctrl+m", "ctrl+left_square_bracket", "ctrl+z", "ctrl+q"}
"""They are other keys in a terminal (tab, enter, escape), or not ours to take."""


@EACH
def test_no_default_key_is_one_that_tmux_screen_or_the_terminal_takes(action: Action):
    pressed = set(split(action.keys))
    assert not pressed & (MULTIPLEXERS | TERMINALS)
    assert not any(key.startswith(("alt+", "meta+", "super+")) for key in pressed)


@EACH
def test_no_action_has_a_function_key_alone(action: Action):
    assert not all(re.fullmatch(r"f\d+", key) for key in split(action.keys))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_two_actions_of_a_view_share_a_key(preset: str):
    assert list(clashes(merged(preset, {}))) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_only_what_there_is(preset: str):
    assert set(PRESETS[preset]) <= set(BY_ID)
    assert problems(preset, {}) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_uses_a_key_that_arrives_as_another(preset: str):
    used = {key for action_id in BY_ID for key in keys_of(action_id, merged(preset, {}))}
    assert not used & {"ctrl+i", "ctrl+m", "ctrl+left_square_bracket", "ctrl+at"}


def test_the_log_pane_in_jobs_leaves_the_ways_out_alone():
    mine = {key for action in SCOPES["log"] for key in split(action.keys)}
    assert not mine & {key for action in SCOPES["global"] for key in split(action.keys)}


def test_a_key_that_means_two_things_is_told_in_a_sentence():
    assert problems("default", {"job.stop": "s"}) == [
        f"`s` means job.start and job.stop in {view}" for view in ("jobs", "events", "metrics")
    ]


def test_an_action_that_there_is_none_of_is_told():
    assert problems("default", {"job.fly": "F"}) == ["there is no action `job.fly`: the keys sheet (?) shows their ids"]


def test_a_preset_that_there_is_none_of_is_told():
    assert problems("emax", {}) == [f"there is no preset `emax`: {', '.join(PRESETS)}"]


def test_one_key_that_arrives_as_another_is_a_clash():
    assert problems("default", {"jobs.sort_invert": "ctrl+i"}) == [
        "`^i` is tab in a terminal: choose another key for jobs.sort_invert"
    ]


def test_own_keys_win_over_a_preset():
    assert keys_of("job.stop", merged("lazydocker", {"job.stop": "ctrl+y"})) == ["ctrl+y"]


def test_signs_are_spelled_by_name():
    assert split("?,f1") == ["question_mark", "f1"]
    assert split(",") == ["comma"]
    assert split("ctrl+r, R") == ["ctrl+r", "R"]
    assert spell("a") == "a"


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("ctrl+r", "^r"), ("question_mark", "?"), ("enter", "⏎"), ("space", "␣"), ("f12", "F12"), ("escape", "esc"),
        ("shift+tab", "shift+tab"), ("ctrl+right", "^→"), ("grave_accent", "`"), ("X", "X"), ("equals_sign", "="),
        ("minus", "-"), ("plus", "+"), ("ctrl+plus", "^+"),
    ],
)  # fmt: skip
def test_keys_are_shown_as_people_write_them(key: str, written: str):
    assert shown(key) == written


@EACH
def test_no_key_is_shown_by_its_long_name(action: Action):
    assert not any("_" in shown(key) and key != "underscore" for key in split(action.keys))


def test_all_names_of_signs_can_be_spelled_and_shown():
    for sign, name in keys._NAMES.items():
        if sign not in " ,":
            assert shown(spell(sign)) == sign, name


# What is made of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
def test_bindings_are_made_of_the_table(scope: str):
    made = bindings(scope)
    assert [each.id for each in made] == [action.id for action in SCOPES[scope]]
    assert all(each.action == f"app.do('{each.id}')" for each in made)


def test_what_hides_and_what_is_dimmed():
    start, retry = BY_ID["job.start"], BY_ID["core.retry"]
    assert available(start, Context(rows=True, live=True)) is True
    assert available(start, Context(rows=False, live=True)) is None
    assert available(start, Context(rows=True, live=True, write=False)) is False
    assert available(retry, Context(live=True)) is False
    assert available(retry, Context(lost=True)) is True
