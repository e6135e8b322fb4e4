from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from taskmaster_core.cli import doctor
from taskmaster_core.client import probe
from taskmaster_core.config import load
from taskmaster_core.errors import ConfigInvalid
from tests.fakecore import FakeCore, status
from tests.unit.conftest import Cli

PLAIN = '# mine\n[[task]]\nname = "web"  # the server\ncmd = "serve"\n'
PLAN = {
    "rows": [{"sign": "=", "job": "web", "effect": "", "fields": []}],
    "generation": 2,
    "changes": 0,
    "warnings": [],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taskmaster.toml"
    path.write_text(PLAIN)
    return path


@pytest.fixture
def alone(fake: FakeCore) -> FakeCore:
    """No core runs."""
    fake.stop()
    fake.until(lambda: probe(fake.commands) is not None)  # libzmq closes a listener a moment later
    return fake


def editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    made = tmp_path / "vi"
    made.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/edited\n{script}\n')
    made.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(made))


# check and config


def test_check_of_a_good_file_names_its_jobs(alone: FakeCore, cli: Cli, file: Path) -> None:
    said = cli("check")
    assert (said.status, said.out) == (0, f"{file}: no problems; jobs: web\n")


def test_check_draws_the_mistake(alone: FakeCore, cli: Cli, file: Path) -> None:
    file.write_text('[[task]]\nname = "web"\ncmd = "x"\nautostrat = true\n')
    said = cli("check", str(file))
    assert said.status == 6
    for part in ("taskmaster.toml:4:1", "^^^^^^^^^", "autostart"):
        assert part in said.out


def test_check_as_json_and_for_github(alone: FakeCore, cli: Cli, file: Path) -> None:
    file.write_text('[[task]]\nname = "web"\ncmd = "x"\nautostrat = true\n')
    assert json.loads(cli("check", "--format", "json").out)["errors"][0]["line"] == 4
    assert cli("check", "--format", "github").out.startswith("::error file=")


def test_fix_rewrites_what_has_one_right_way(alone: FakeCore, cli: Cli, file: Path) -> None:
    file.write_text(PLAIN + "umask = 0027\n")
    said = cli("check", "--fix")
    assert said.status == 0
    assert file.read_text() == PLAIN + "umask = 0o027\n"


def test_fix_asks_on_a_terminal_and_takes_no_for_an_answer(
    alone: FakeCore, cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(PLAIN + "umask = 0027\n")
    _type(monkeypatch, "n\n")
    assert cli("check", "--fix").status == 1
    assert "0027" in file.read_text()
    _type(monkeypatch, "")
    assert cli("-y", "check", "--fix").status == 0
    assert "0o027" in file.read_text()


def _type(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    typed = io.StringIO(text)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)


def test_config_path_says_which_and_why(alone: FakeCore, cli: Cli, file: Path) -> None:
    said = cli("config", "path")
    assert (said.status, said.out) == (0, f"{file}\n")
    assert "working directory" in said.err


def test_config_path_of_nothing_is_6(alone: FakeCore, cli: Cli) -> None:
    assert cli("config", "path").status == 6


def test_config_show_asks_the_core(fake: FakeCore, cli: Cli) -> None:
    fake.on("config", {"files": ["/a"], "generation": 3, "settings": {}, "jobs": []})
    assert json.loads(cli("config", "show").out)["generation"] == 3


def test_config_show_without_a_core_shows_the_file_and_no_value_of_a_variable(
    alone: FakeCore, cli: Cli, file: Path
) -> None:
    file.write_text(PLAIN + 'env = { TOKEN = "hush" }\n')
    said = cli("config", "show")
    assert json.loads(said.out)["jobs"][0]["env"] == ["TOKEN"]
    assert "hush" not in said.out


def test_config_schema_is_json(alone: FakeCore, cli: Cli) -> None:
    assert "properties" in json.loads(cli("config", "schema").out)


# add and edit


def test_add_keeps_what_is_in_the_file(alone: FakeCore, cli: Cli, file: Path) -> None:
    said = cli("add", "api", "-p", "2", "--set", "restart=always", "--", "serve", "--port", "80")
    assert said.status == 0, said.err
    text = file.read_text()
    assert text.startswith(PLAIN)
    for part in ('name = "api"', 'cmd = "serve --port 80"', "numprocess = 2", 'restart = "always"'):
        assert part in text


def test_add_makes_a_file_where_none_is(alone: FakeCore, cli: Cli, tmp_path: Path) -> None:
    assert cli("add", "api", "--", "serve").status == 0
    assert cli("check").status == 0
    assert (tmp_path / "taskmaster.toml").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["web", "--", "x"], 7),
        (["a:b", "--", "x"], 6),
        (["api", "--set", "nope=1", "--", "x"], 6),
        (["api", "--set", "x", "--", "x"], 2),
    ],
)
def test_add_of_what_would_not_load_writes_nothing(
    alone: FakeCore, cli: Cli, file: Path, words: list[str], code: int
) -> None:
    assert cli("add", *words).status == code
    assert file.read_text() == PLAIN


FORM = {
    "description": '"says \\"hello\\", often"', "tags": '["a", "b"]', "autostart": "false", "numprocess": "3",
    "restart": "always", "exitcodes": "[0, 2]", "successdelay": "1.5", "retry": "forever", "stopdelay": "5s",
    "backoff": '{first = "1s", max = "9s"}', "stopsignal": "INT", "killgroup": "false", "stdout": "null",
    "stderr": "/tmp/x.err", "env.A": '"1"', "env.B": "two words", "cleanenv": "true", "workingdir": "/tmp",
    "umask": "0o027", "log.maxsize": "5MB", "limits.nofile": "100", "exitwith": "true", "protected": "true",
}  # fmt: skip


def test_add_takes_everything_that_a_form_may_set(alone: FakeCore, cli: Cli, file: Path) -> None:
    words = [word for name, value in FORM.items() for word in ("--set", f"{name}={value}")]
    assert cli("add", "api", *words, "--", "serve", "a b", "c").status == 0
    loaded = load([str(file)], {}, privileged=False)
    assert loaded.config is not None
    made = loaded.config.jobs[1]
    assert (made.env, made.tags, made.umask, made.argv) == (
        {"A": "1", "B": "two words"}, ("a", "b"), 0o027, ("serve", "a b", "c"),
    )  # fmt: skip
    assert (made.protected, made.numprocess, made.retry, made.description) == (True, 3, None, 'says "hello", often')


def test_add_of_a_line_for_the_shell_is_one_string(alone: FakeCore, cli: Cli, file: Path) -> None:
    assert cli("add", "tick", "--set", "shell=true", "--", "date; sleep 1").status == 0
    assert 'cmd = "date; sleep 1"' in file.read_text()


def test_dry_run_prints_the_table_and_writes_nothing(alone: FakeCore, cli: Cli, file: Path) -> None:
    said = cli("add", "--dry-run", "api", "-p", "2", "--", "serve")
    assert (said.status, said.out) == (0, '[[task]]\nname = "api"\ncmd = "serve"\nnumprocess = 2\n')
    assert file.read_text() == PLAIN


def test_dry_run_as_json_tells_file_text_and_problems(alone: FakeCore, cli: Cli, file: Path) -> None:
    good = json.loads(cli("add", "--dry-run", "--json", "api", "--", "serve").out)
    assert (good["file"], good["problems"]) == (str(file), [])
    assert good["text"].startswith("[[task]]\n")
    for words in (["web", "--", "x"], ["api", "--set", "autostrat=true", "--", "x"], ["a:b", "--", "x"]):
        bad = cli("add", "--dry-run", "--json", *words)
        document = json.loads(bad.out)
        assert bad.status == 6
        assert {each["severity"] for each in document["problems"]} == {"error"}
        assert document["problems"][0]["message"]
    assert file.read_text() == PLAIN


def test_add_as_json_tells_what_was_written_and_the_plan(fake: FakeCore, cli: Cli, file: Path) -> None:
    fake.on("status", status(config=[str(file)])).on("reload", PLAN)
    document = json.loads(cli("add", "--json", "api", "--", "serve").out)
    assert document["plan"] == PLAN
    assert document["text"] in file.read_text()


@pytest.mark.parametrize("key", ["cmd=x", 'name="x"'])
def test_add_takes_the_command_from_its_own_place(alone: FakeCore, cli: Cli, file: Path, key: str) -> None:
    assert cli("add", "api", "--set", key, "--", "serve").status == 2


SETTINGS = {
    "nothing": ("", '\n[taskmaster]\nautoreload = "ask"\n'),
    "a table": ("[taskmaster]  # mine\ndebounce = 1\n", '[taskmaster]  # mine\nautoreload = "ask"\ndebounce = 1\n'),
    "the key": ('[taskmaster]\nautoreload = "off" # why\n', '[taskmaster]\nautoreload = "ask" # why\n'),
    "dotted": ('taskmaster.autoreload = "off"\n', 'taskmaster.autoreload = "ask"\n'),
    "an inline table": ("taskmaster = { debounce = 1 }\n", 'taskmaster = { autoreload = "ask", debounce = 1 }\n'),
}


@pytest.mark.parametrize(("before", "after"), SETTINGS.values(), ids=SETTINGS)
def test_config_set_touches_nothing_else(alone: FakeCore, cli: Cli, file: Path, before: str, after: str) -> None:
    file.write_text(before + PLAIN)
    assert cli("config", "set", "autoreload=ask").status == 0
    assert file.read_text() == (after + PLAIN if before else PLAIN + after)


def test_config_set_keeps_windows_lines_and_what_is_no_toml(alone: FakeCore, cli: Cli, file: Path) -> None:
    file.write_bytes(b'[taskmaster]\r\n[[task]]\r\nname = "a"\r\ncmd = "x"\r\numask = 022\r\n')
    assert cli("config", "set", "autoreload=ask", "debounce=2s").status == 0
    lines = file.read_bytes().split(b"\r\n")
    assert lines[:4] == [b"[taskmaster]", b'debounce = "2s"', b'autoreload = "ask"', b"[[task]]"]
    assert lines[-2:] == [b"umask = 022", b""]


@pytest.mark.parametrize(
    ("words", "code"),
    [(["autoreload=perhaps"], 6), (["autorelaod=ask"], 2), (["cmd=x"], 2), (["autoreload"], 2), ([], 2)],
)
def test_config_set_of_what_is_none_writes_nothing(
    alone: FakeCore, cli: Cli, file: Path, words: list[str], code: int
) -> None:
    assert cli("config", "set", *words).status == code
    assert file.read_text() == PLAIN


def test_config_set_says_so_where_it_is_so(alone: FakeCore, cli: Cli, file: Path) -> None:
    file.write_text('[taskmaster]\nautoreload = "ask"\n')
    said = cli("config", "set", "autoreload=ask")
    assert (said.status, "says so already" in said.err) == (0, True)


def test_config_set_has_a_core_take_the_settings_and_no_jobs(fake: FakeCore, cli: Cli, file: Path) -> None:
    fake.on("status", status(config=[str(file)])).on("reload", PLAN)
    assert cli("config", "set", "autoreload=ask").status == 0
    assert fake.last("reload")["args"] == {"plan": False, "except": ["all"]}


def test_config_show_takes_no_pairs(alone: FakeCore, cli: Cli, file: Path) -> None:
    assert cli("config", "path", "autoreload=ask").status == 2


def test_add_is_applied_by_a_core_that_runs(fake: FakeCore, cli: Cli, file: Path) -> None:
    fake.on("status", status(config=[str(file)])).on("reload", PLAN)
    assert cli("add", "api", "--", "serve").status == 0
    assert fake.last("reload")["args"] == {"plan": False}


def test_edit_opens_a_copy_at_the_job_and_takes_it_over(
    alone: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, 'sed -i s/serve/server/ "$2"')
    assert cli("edit", "web").status == 0
    assert 'cmd = "server"' in file.read_text()
    line, copy = (tmp_path / "edited").read_text().split()
    assert (line, copy == str(file)) == ("+2", False)


def test_edit_writes_nothing_that_is_not_valid(
    alone: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, 'sed -i s/cmd/cdm/ "$1"')
    said = cli("edit")
    assert said.status == 6
    assert "cdm" in said.err
    assert file.read_text() == PLAIN


def test_edit_asks_again_what_to_do_with_what_is_not_valid(
    alone: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, 'sed -i s/cmd/cdm/ "$1$2"')
    _type(monkeypatch, "?\nd\n")
    assert cli("edit").status == 1
    assert file.read_text() == PLAIN


def test_edit_without_a_change_does_nothing(
    alone: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, "true")
    assert cli("edit").status == 0
    assert file.read_text() == PLAIN


def test_edit_gives_way_to_somebody_elses_change(
    alone: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, f'sed -i s/serve/server/ "$1"; echo "# theirs" >> {file}')
    assert cli("edit").status == 1
    assert file.read_text() == PLAIN + "# theirs\n"


def test_an_editor_that_fails_changes_nothing(
    alone: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(monkeypatch, tmp_path, 'echo x > "$1"; exit 3')
    assert cli("edit").status == 1
    assert file.read_text() == PLAIN


# reload and rollback


def test_reload_says_what_it_did(fake: FakeCore, cli: Cli) -> None:
    field = {"name": "retry", "old": "3", "new": "5", "cost": "live"}
    rows = [{"sign": "~", "job": "web", "effect": "nothing restarts", "fields": [field]}, *PLAN["rows"]]
    fake.on("reload", {"rows": rows, "generation": 4, "changes": 1, "warnings": []})
    said = cli("reload", "--except", "db")
    assert fake.last("reload")["args"] == {"plan": False, "except": ["db"]}
    assert said.out.splitlines() == [
        "~ web: nothing restarts",
        "    retry: 3 → 5 (live)",
        "1 change applied as generation 4; 1 job as before",
    ]


def test_a_reload_of_a_broken_file_says_what_is_wrong(fake: FakeCore, cli: Cli) -> None:
    def answer(request: dict[str, Any]) -> None:
        error = ConfigInvalid("the config has 1 problem(s)")
        problem = {"code": "E101", "file": "t.toml", "line": 1, "column": 1, "message": "unknown key `x`", "help": ""}
        error.detail = [problem]  # type: ignore[attr-defined]
        raise error

    fake.on("reload", answer)
    said = cli("reload")
    assert said.status == 6
    assert "t.toml:1:1: [E101] unknown key `x`" in said.err


def test_rollback_writes_back_the_generation_before_and_reloads(fake: FakeCore, cli: Cli, file: Path) -> None:
    known = [{"number": number, "at": 0.0, "cause": {"kind": "reload"}, "jobs": 1} for number in (1, 2, 3)]
    fake.on("generations", known).on("status", status(generation=3)).on("reload", PLAN)
    fake.on("generation", {"number": 2, "texts": {str(file): "# older\n"}})
    assert cli("rollback").status == 0
    assert {"number": 2} in [request["args"] for request in fake.requests if request["op"] == "generation"]
    assert file.read_text() == "# older\n"
    assert fake.ops()[-1] == "reload"


def test_rollback_of_a_file_that_came_says_that_only_you_can_remove_it(
    fake: FakeCore, cli: Cli, file: Path, tmp_path: Path
) -> None:
    more = tmp_path / "b.toml"
    more.write_text("# b\n")
    known = [{"number": number, "at": 0.0, "cause": {"kind": "reload"}, "jobs": 1} for number in (2, 3)]
    texts = {2: {str(file): file.read_text()}, 3: {str(file): file.read_text(), str(more): "# b\n"}}
    fake.on("generations", known).on("status", status(generation=3))
    fake.on("generation", lambda request: {"texts": texts[request["args"]["number"]]})
    said = cli("rollback")
    assert (said.status, fake.ops().count("reload")) == (1, 0)
    assert f"generation 2 did not have {more}" in said.err
    assert more.exists()


def test_rollback_keeps_a_file_that_it_brings_back_to_you(
    fake: FakeCore, cli: Cli, file: Path, tmp_path: Path
) -> None:
    known = [{"number": number, "at": 0.0, "cause": {"kind": "reload"}, "jobs": 1} for number in (2, 3)]
    fake.on("generations", known).on("status", status(generation=3)).on("reload", PLAN)
    fake.on("generation", {"texts": {str(tmp_path / "web.env"): "SECRET=hush\n"}})
    assert cli("rollback").status == 0
    assert (tmp_path / "web.env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("policy", ["ask", "off"])
def test_edit_applies_nothing_where_saving_does_not(
    fake: FakeCore, cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    editor(monkeypatch, tmp_path, 'echo "# more" >> "$1"')
    fake.on("status", status(autoreload=policy, config=[str(file)]))
    said = cli("edit")
    assert said.status == 0
    assert file.read_text().endswith("# more\n")
    assert f"not applied (autoreload is {policy})" in said.err
    assert "reload" not in fake.ops()


def test_rollback_with_nothing_before_is_no_such(fake: FakeCore, cli: Cli) -> None:
    fake.on("generations", [{"number": 1, "at": 0.0, "cause": {}, "jobs": 1}]).on("status", status(generation=1))
    assert cli("rollback").status == 4


def test_rollback_list_writes_nothing(fake: FakeCore, cli: Cli) -> None:
    fake.on("generations", [{"number": 7, "at": 0.0, "cause": {"kind": "operator", "who": "uid 0 pid 1"}, "jobs": 4}])
    said = cli("rollback", "--list")
    assert "uid 0 pid 1" in said.out
    assert fake.ops() == ["generations"]


# doctor


def test_doctor_joins_its_own_checks_and_the_cores(fake: FakeCore, cli: Cli, file: Path) -> None:
    checks = [{"name": "journal", "ok": False, "text": "ENOSPC", "help": "make room"}]
    fake.on("doctor", {"checks": checks})
    said = cli("doctor")
    assert said.status == 1
    assert "✗ core: journal" in said.out
    assert "-> make room" in said.out
    assert "✓ libzmq" in said.out


def test_doctor_without_a_core_is_no_error(alone: FakeCore, cli: Cli, file: Path) -> None:
    said = cli("doctor")
    assert said.status == 0, said.out
    assert "none runs" in said.out


@pytest.mark.parametrize(
    ("check", "level"),
    [
        (doctor._kernel("5.3.0-1-amd64"), "bad"), (doctor._kernel("6.18.4-fc"), "good"),
        (doctor._descriptors(1024, 1024), "warning"), (doctor._descriptors(1024, 524288), "good"),
        (doctor._inotify("/nonexistent"), "warning"),
    ],
)  # fmt: skip
def test_what_is_not_enough_is_told(check: doctor.Check, level: str) -> None:
    assert check.level == level


def test_doctor_sees_a_directory_that_others_may_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    found = doctor._directory("run directory", str(tmp_path))
    assert found.level == "bad"
    assert "chmod" in found.help
