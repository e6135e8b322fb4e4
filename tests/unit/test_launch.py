from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.launch import (
    FACTS,
    OWN_VARIABLES,
    TERM,
    ExpandError,
    check_template,
    environment,
    expand,
    launch,
    literal,
    names_of,
)
from taskmaster_core.spec import JobSpec, Key

NAMES = names_of(Key("web", 3), 1700000000)
ENV = {"A": "1", "EMPTY": "", "NESTED": "${A}{name}"}


def run(spec, **more):
    given: dict[str, Any] = {"base_env": {}, "identity": {}, "instance": "default", "now_unix": 5} | more
    return launch(spec, Key(spec.name, 2), 7, **given)


def job(**fields):
    return JobSpec(**({"name": "web", "argv": ("true",)} | fields))


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{name}:{index}", "web:3"),
        ("{index:02} {index:04}", "03 0003"),
        ("{.Id} {.Time}", "3 1700000000"),
        ("{{name}} {{index:02}} {{.Id}}", "{name} {index:02} {.Id}"),
        ("${A}", "1"),
        ("${B:-x y}", "x y"),
        ("${B:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${A:?no}", "1"),
        ("$${A} $${A:-x}", "${A} ${A:-x}"),
        ("${NESTED}", "${A}{name}"),
        ("plain", "plain"),
    ],
)
def test_a_placeholder_stands_for_its_value(template, value):
    assert expand(template, NAMES, ENV) == value


@pytest.mark.parametrize(
    "text", ["awk '{print $1}'", "$$", "$(date)", "$A", "${}", "${A%x}", "${1}", "{nam}", "{index:2}", "{ name }", "{}"]
)
def test_every_other_brace_or_dollar_is_left_alone(text):
    assert expand(text, NAMES, ENV) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${B}", "${B} is not set"),
        ("${B:?say why}", "${B}: say why"),
        ("${EMPTY:?say why}", "${EMPTY}: say why"),
        ("${B:?}", "${B}: not set or empty"),
    ],
)
def test_C16_a_variable_without_a_value_is_an_error_that_names_it(template, message):
    with pytest.raises(ExpandError) as caught:
        expand(template, NAMES, ENV)
    assert str(caught.value) == message


def test_without_dollars_braces_still_work():
    assert expand("{name} ${A} $${A} {{name}}", NAMES, ENV, dollars=False) == "web ${A} $${A} {name}"


@given(st.text(alphabet="${}ABname:-?.Id 0\\", max_size=40))
def test_expansion_never_raises_anything_but_its_own_error(template):
    with contextlib.suppress(ExpandError):
        expand(template, NAMES, ENV)


@given(st.text(alphabet="${}ABname:-?.Id 0", max_size=30).filter(lambda text: "{{" not in text and "$$" not in text))
def test_a_literal_expands_to_itself(text):
    assert expand(literal(text), NAMES, {}) == text


def test_a_template_is_checked_whatever_the_environment_holds():
    assert check_template("${A:-b} {name}") is None
    assert check_template("a\0b") == "a NUL character cannot be passed to a process"
    assert check_template("${A:-${B}}") == "a default cannot hold another ${…}"
    assert check_template("${A:-${B}}", dollars=False) is None


def test_a_process_sees_who_it_is():
    env = run(job(), base_env={"TASKMASTER_JOB": "other"}).env
    assert [env[name] for name in FACTS] == ["web", "2", "7", "default"]


def test_nothing_in_the_config_replaces_who_it_is():
    env = run(job(baseenv={"TASKMASTER_RUN": "x"}, fileenv={"TASKMASTER_INDEX": "x"}, env={"TASKMASTER_JOB": "x"})).env
    assert [env[name] for name in FACTS] == ["web", "2", "7", "default"]


@pytest.mark.parametrize("name", sorted(OWN_VARIABLES))
def test_what_the_core_is_told_alone_never_reaches_a_job(name):
    assert name not in run(job(), base_env={name: "x"}).env
    assert name not in run(job(cleanenv=(name,)), base_env={name: "x"}).env


def test_variables_of_other_names_that_begin_alike_do():
    assert run(job(), base_env={"LISTEN_ADDR": ":80"}).env["LISTEN_ADDR"] == ":80"


def test_the_later_source_of_a_variable_wins():
    spec = job(
        baseenv={"D": "file", "E": "file", "F": "file"}, fileenv={"E": "envfile", "F": "envfile"}, env={"F": "job"}
    )
    env = run(spec, base_env={"B": "core", "C": "core", "D": "core"}, identity={"C": "user", "D": "user"}).env
    assert {name: env[name] for name in "BCDEF"} == {"B": "core", "C": "user", "D": "file", "E": "envfile", "F": "job"}


def test_a_value_sees_those_before_it():
    spec = job(
        baseenv={"ROOT": "/srv"}, fileenv={"LIT": "${ROOT}"}, env={"PATH": "${ROOT}/bin:${PATH}", "P": "${PATH}"}
    )
    env = run(spec, base_env={"PATH": "/bin"}).env
    assert (env["PATH"], env["P"], env["LIT"]) == ("/srv/bin:/bin", "/srv/bin:/bin", "${ROOT}")


def test_C16_variables_that_refer_to_each_other_end_in_an_error():
    with pytest.raises(ExpandError) as caught:
        run(job(env={"A": "${B}", "B": "${A}"}))
    assert str(caught.value) == "A: ${B} is not set"


def test_the_same_for_the_env_of_the_file():
    with pytest.raises(ExpandError) as caught:
        run(job(baseenv={"A": "${B}"}))
    assert str(caught.value) == "A: ${B} is not set"


def test_a_clean_environment_holds_what_the_config_says_and_the_facts():
    env = run(job(cleanenv=True, env={"A": "1"}), base_env={"PATH": "/bin"}, identity={"HOME": "/h"}).env
    assert set(env) == {"A", "HOME", *FACTS}


def test_a_list_of_names_is_let_through():
    env = run(job(cleanenv=("PATH", "NONE")), base_env={"PATH": "/bin", "X": "1"}).env
    assert set(env) == {"PATH", *FACTS}


def test_argv_and_paths_are_expanded_for_this_process():
    spec = job(
        argv=("x", "{name}-{index}", "${A}"),
        workingdir="/srv/{name}",
        stdout="/l/{.Time}",
        stderr="stdout",
        env={"A": "a b"},
    )
    made = run(spec, now_unix=9)
    assert made.argv == ("x", "web-2", "a b")
    assert (made.cwd, made.stdin, made.stdout, made.stderr) == ("/srv/web", "null", "/l/9", "stdout")


@pytest.mark.parametrize(("ours", "its"), [({}, TERM), ({"TERM": "dumb"}, TERM), ({"TERM": "screen"}, "screen")])
def test_a_job_with_a_terminal_knows_what_it_can(ours, its):
    assert run(job(tty=True), base_env=ours).env["TERM"] == its


def test_with_a_shell_variables_are_the_shells():
    spec = job(argv=("/bin/sh", "-c", "echo ${HOME} {index}"), shell="/bin/sh")
    assert run(spec).argv[2] == "echo ${HOME} 2"


def test_the_environment_can_be_asked_for_by_itself():
    made = environment(job(env={"I": "{index}"}), NAMES, {}, base_env={}, identity={})
    assert made == {"I": "3"}
