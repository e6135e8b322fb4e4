from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.config import load, parse
from taskmaster_core.config.foreign import LATER
from taskmaster_core.spec import Backoff, LogSpec, Restart, Rlimit, StopStep

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.toml"))
ENVIRON = {"PATH": "/bin", "HOME": "/root"}


def check(text, **more):
    return parse(text.encode() if isinstance(text, str) else text, "t.toml", ENVIRON, **({"privileged": True} | more))


def task(text, **more):
    return check(f'[[task]]\nname = "web"\ncmd = "true"\n{text}', **more)


def job(text, **more):
    loaded = task(text, **more)
    assert loaded.config is not None, loaded.problems
    return loaded.config.jobs[0]


def codes(loaded):
    return [problem.code for problem in loaded.problems]


def only(loaded):
    assert len(loaded.problems) == 1, loaded.problems
    assert loaded.config is None
    return loaded.problems[0]


# what a good file becomes


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads_without_problems(path):
    loaded = load([str(path)], {**ENVIRON, "TASKMASTER_TRUST_CONFIG": "1"}, privileged=True)
    wanted = ["W101", "W102"] if path.name == "seed.toml" else []
    assert codes(loaded) == wanted
    assert loaded.config is not None


def test_C09_the_seed_loads_byte_for_byte():
    seed = next(path for path in EXAMPLES if path.name == "seed.toml")
    loaded = load([str(seed)], ENVIRON, privileged=False)
    assert loaded.config is not None
    spec = loaded.config.jobs[0]
    assert (spec.name, spec.argv, spec.numprocess, spec.umask) == ("write bar", ("echo", "bar"), 42, 0o777)
    assert (spec.workingdir, spec.stdout, spec.stderr) == ("/tmp", "/tmp/foo.out", "/tmp/foo.err")
    assert [(each.line, each.column, each.text[:12]) for each in loaded.problems] == [(6, 9, "umask = 0777")] * 2


def test_a_job_with_nothing_but_a_command_has_the_defaults():
    spec = job("")
    assert (spec.restart, spec.retry, spec.numprocess, spec.successdelay) == (Restart.ON_ERROR, 3, 1, 0)
    assert (spec.stop, spec.backoff, spec.killgroup) == ((StopStep(15, 10),), Backoff(), True)
    assert (spec.stdout, spec.stderr, spec.stdin, spec.umask) == ("log", "log", "null", None)
    assert (spec.log, spec.filelog) == (LogSpec(), LogSpec(maxsize=None))
    assert spec.workingdir == os.getcwd()


def test_every_key_reaches_the_spec():
    spec = job(
        """shell = "/bin/bash"
description = "d"
tags = ["a", "b"]
autostart = false
numprocess = 3
restart = "always"
exitcodes = [0, 2, "TERM"]
successdelay = "1m30s"
retry = "forever"
stopsignal = [["INT", "10s"], ["QUIT", 5]]
killgroup = false
stdout = "null"
stderr = "stdout"
stdin = "in"
cleanenv = ["PATH"]
env = { A = "1" }
workingdir = "/srv/{name}"
umask = 0o027
uid = 0
gid = 0
nice = -5
exitwith = true
[task.backoff]
first = "1s"
[task.log]
maxsize = "1MB"
full = "block"
[task.limits]
nofile = [100, 200]
core = "unlimited"
cpu = "1h"
as = "1GiB"
"""
    )
    assert spec.argv == ("/bin/bash", "-c", "true")
    assert (spec.tags, spec.autostart, spec.numprocess, spec.restart) == (("a", "b"), False, 3, Restart.ALWAYS)
    assert (spec.exitcodes, spec.successdelay, spec.retry) == ((0, 2, "SIGTERM"), 90, None)
    assert spec.stop == (StopStep(2, 10), StopStep(3, 5))
    assert (spec.killgroup, spec.stdout, spec.stderr, spec.stdin) == (False, "null", "stdout", f"{os.getcwd()}/in")
    assert (spec.cleanenv, spec.env, spec.workingdir, spec.umask) == (("PATH",), {"A": "1"}, "/srv/{name}", 0o27)
    assert (spec.uid, spec.gid, spec.nice, spec.exitwith, spec.backoff.first) == (0, 0, -5, True, 1)
    assert spec.log == LogSpec(maxsize=1_000_000, full="block") == spec.filelog
    limits = (
        Rlimit("as", 2**30, 2**30),
        Rlimit("core", None, None),
        Rlimit("cpu", 3600, 3600),
        Rlimit("nofile", 100, 200),
    )
    assert spec.limits == limits


def test_settings_reach_the_config():
    loaded = check(
        '[taskmaster]\nautoreload = "ask"\ndebounce = "1s"\nlogfile = "l"\nloglevel = "debug"\nsocketgroup = 0\n'
        'statedir = "/s"\nmaxstarts = 5\njournalkeep = "7d"\nshutdown = 20\n'
    )
    settings = loaded.config.settings
    assert (settings.autoreload, settings.debounce, settings.logfile) == ("ask", 1, f"{os.getcwd()}/l")
    assert (settings.loglevel, settings.socketgroup, settings.statedir) == ("debug", "0", "/s")
    assert (settings.maxstarts, settings.journalkeep, settings.shutdown) == (5, 604800, 20)


def test_defaults_lie_below_each_job_key_by_key():
    loaded = check(
        '[defaults]\nretry = 7\nenv = { A = "d", B = "d" }\nlog = { keep = 2, maxsize = 0 }\ncmd = "false"\n'
        '[[task]]\nname = "a"\n[[task]]\nname = "b"\ncmd = "true"\nretry = 1\nenv = { B = "b" }\nlog = { keep = 3 }\n'
    )
    first, second = loaded.config.jobs
    assert (first.retry, first.env, first.log.keep, first.argv) == (7, {"A": "d", "B": "d"}, 2, ("false",))
    assert (second.retry, second.env, second.log.keep, second.argv) == (1, {"A": "d", "B": "b"}, 3, ("true",))
    assert second.log.maxsize is None


def test_the_env_of_the_file_is_kept_apart():
    assert check('[env]\nA = "1"\n[[task]]\nname = "a"\ncmd = "x"\n').config.jobs[0].baseenv == {"A": "1"}


def test_tables_by_name_and_the_other_spelling_are_jobs_too():
    assert [each.name for each in check('[task.b]\ncmd = "x"\n[task."a b"]\ncmd = "y"\n').config.jobs] == ["b", "a b"]
    assert [each.name for each in check('[[job]]\nname = "j"\ncmd = "x"\n').config.jobs] == ["j"]
    assert [each.name for each in check('[job.j]\nname = "j"\ncmd = "x"\n').config.jobs] == ["j"]


def test_an_empty_file_is_an_empty_config():
    assert check("").config.jobs == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("x.log", "{here}/x.log"),
        ("./a/../x.log", "{here}/x.log"),
        ("/abs/{index}.log", "/abs/{index}.log"),
        ("${HOME}/x", "${HOME}/x"),
        ("${NAME:-y}/x", "{here}/${NAME:-y}/x"),
    ],
)
def test_a_relative_path_starts_at_the_config_file(written, meant):
    assert job(f'stdout = "{written}"').stdout == meant.replace("{here}", os.getcwd())


def test_a_directory_that_looks_like_a_placeholder_stays_what_it_is(tmp_path):
    home = tmp_path / "{name} ${X}"
    home.mkdir()
    (home / "c.toml").write_text('[[task]]\nname = "a"\ncmd = "x"\nstdout = "o"\n')
    loaded = load([str(home / "c.toml")], ENVIRON, privileged=False)
    assert loaded.config is not None
    assert loaded.config.jobs[0].stdout == f"{tmp_path}/{{{{name}}}} $${{X}}/o"
    assert loaded.config.jobs[0].workingdir == f"{tmp_path}/{{{{name}}}} $${{X}}"


# C03: all at once, each at its place


def test_C03_everything_wrong_is_reported_at_once_with_its_place():
    loaded = check(
        """[[task]]
name = "web"
cmd = "a && b"
autostrat = true
numprocess = "3"
stopsignal = "TREM"

[[task]]
name = "web"
cmd = "x ${NOPE}"
[task.log]
keep = -1
"""
    )
    found = [(each.code, each.line, each.column, each.width) for each in loaded.problems]
    assert found == [
        ("E302", 3, 7, 8),
        ("E101", 4, 1, 9),
        ("E201", 5, 14, 3),
        ("E206", 6, 14, 6),
        ("E301", 9, 8, 5),
        ("E303", 10, 7, 11),
        ("E202", 12, 8, 2),
    ]
    assert loaded.config is None


@pytest.mark.parametrize(
    ("line", "code", "advice"),
    [
        ("autostrat = true", "E101", "did you mean `autostart`?"),
        ('command = "x"', "E101", 'did you mean `cmd = "x"`?'),
        ('directory = "/"', "E101", 'did you mean `workingdir = "/"`?'),
        ('autorestart = "unexpected"', "E101", 'did you mean `restart = "on-error"`?'),
        ("startsecs = 3", "E101", "did you mean `successdelay = 3`?"),
        ("numprocs = 3", "E101", "did you mean `numprocess = 3`?"),
        ("startretries = 3", "E101", "did you mean `retry = 3`?"),
        ("stopwaitsecs = 3", "E101", "did you mean `stopdelay = 3`?"),
        ("stoptime = 3", "E101", "did you mean `stopdelay = 3`?"),
        ("replicas = 3", "E101", "did you mean `numprocess = 3`?"),
        ("priority = 3", "E101", "there is no start order by number"),
        ("maxsize = 3", "E101", "it belongs into [task.log]"),
        ('autoreload = "off"', "E101", "it belongs into [taskmaster]"),
        ("qqqq = 3", "E101", ""),
        ('restart = "on-failure"', "E203", 'did you mean "on-error"?'),
        ('restart = "allways"', "E203", 'did you mean "always"?'),
        ("restart = true", "E201", 'write "always"'),
        ("restart = false", "E201", 'write "never"'),
        ('stopsignal = "TREM"', "E206", 'did you mean "TERM"?'),
        ('autostart = "yes"', "E201", "write true"),
        ('numprocess = "3"', "E201", "write 3 without quotes"),
        ("env = { PORT = 8080 }", "E201", 'write "8080"'),
        ('stdout = "AUTO"', "E307", 'did you mean "log"? (a file of that name: "./AUTO")'),
        ('stderr = "none"', "E307", 'did you mean "null"? (a file of that name: "./none")'),
        ('workingdir = "~/x"', "E307", "write ${HOME}/x"),
        ('tags = "a"', "E201", "put it into [ ]"),
        ('log = "x"', "E201", "write log = { … }"),
        ('cmd2 = "x"', "E101", "did you mean `cmd`?"),
    ],
)
def test_C03_a_mistake_is_told_with_its_remedy(line, code, advice):
    problem = only(task(line))
    assert (problem.code, problem.line, problem.help) == (code, 4, advice)
    assert problem.text == line


def test_C03_wrong_types_are_never_coerced():
    lines = ["autostart = 1", "numprocess = 1.0", "retry = true", 'nice = "5"', "cmd = 3", "env = []", "killgroup = 0",
             "stopdelay = true", "exitcodes = true", "umask = 1.5", "uid = true", "envfile = 3",
             "description = 3"]  # fmt: skip
    for line in lines:
        loaded = check(f'[[task]]\nname = "a"\n{line}\n' + ('cmd = "x"' if not line.startswith("cmd") else ""))
        assert codes(loaded) == ["E201"], line


@pytest.mark.parametrize("name", ["task", "job", "defaults", "env", "taskmaster"])
def test_C03_a_table_that_is_no_table_is_told(name):
    assert codes(check(f"{name} = 3")) == ["E201"]


def test_C03_two_jobs_of_one_name_are_told_with_both_lines():
    problem = only(check('[[task]]\nname = "a"\ncmd = "x"\n\n[[task]]\ncmd = "y"\nname = "a"\n'))
    assert (problem.code, problem.line) == ("E301", 7)
    assert [(place.line, place.text) for place in problem.also] == [(2, 'name = "a"')]


def test_C03_a_job_without_a_name_or_command_is_told():
    assert codes(check('[[task]]\ncmd = "x"\n')) == ["E102"]
    assert codes(check('[[task]]\nname = "x"\n')) == ["E102"]


@pytest.mark.parametrize("text", ['[web]\ncmd = "x"\n[worker]\ncmd = "y"\n', '["a b"]\ncommand = "x"\n'])
def test_C03_the_shape_of_the_first_program_gets_one_error(text):
    problem = only(check(text))
    assert problem.code == "E007"
    assert "[task." in problem.help
    assert problem.line == 1


@pytest.mark.parametrize(
    "text",
    ["[program:web]\ncommand=x\n", "[supervisord]\nuser=root\n", "version: 3\nservices:\n", "web: x\n", '{"apps": []}',
     "[Unit]\nDescription=A b\n", "module.exports = {\n  apps: []\n}", "# c\n\nweb: bundle exec\n"],
)  # fmt: skip
def test_C03_another_programs_format_is_recognised(text):
    assert only(check(text)).code == "E007"


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ("[[task]]\nautostart = True\n", (2, 13), "write true"),
        ("[[task]]\ncmd = echo\n", (2, 7), 'text stands in quotes: "echo"'),
        ("[[task]]\nnumprocess = 042\n", (2, 14), "write 42, or 0o42 for octal"),
        ("[[task]]\nnumprocess = 09\n", (2, 14), "write 9"),
        ("x = \n", (1, 5), "a value is missing after `=`"),
        ('[[task]]\nname = "a"\ncmd = "x"\n  name = "b"\n', (4, 3), "the first is in line 2: take one out"),
        ("[taskmaster]\n\n[taskmaster]\n", (3, 1), "the first is in line 1: take one out"),
        ("[task]\n[[task]]\n", (2, 1), "it stands there already, or as another kind of value: take one out"),
    ],
)
def test_C03_a_syntax_error_has_a_place_and_a_remedy(text, place, advice):
    problem = only(check(text))
    assert (problem.code, (problem.line, problem.column), problem.help) == ("E002", place, advice)


@pytest.mark.parametrize("key", sorted(LATER))
def test_a_key_of_a_later_version_is_refused_by_name(key):
    problem = only(task(f"{key} = true"))
    assert (problem.code, problem.line) == ("E401", 4)
    assert "not supported yet" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        '[task.limits]\nmemory = "1GB"',
        '[task.limits]\nruntime = "1h"',
    ],
)
def test_a_value_of_a_later_version_is_refused_too(text):
    assert only(task(text)).code == "E401"


# C09: umask


@pytest.mark.parametrize("text", ["umask = 0777", "umask = 0777 # c", "umask=022", '"umask" = 07'])
def test_C09_an_umask_that_is_no_toml_is_read_as_octal_with_a_warning(text):
    loaded = task(text)
    assert codes(loaded)[0] == "W101"
    digits = text.split("=")[1].split("#")[0].strip()
    assert loaded.config.jobs[0].umask == int(digits, 8)


def test_C09_the_same_in_an_inline_table_and_in_the_defaults():
    loaded = check(
        'defaults = { umask = 027 }\ntask = [{ name = "a", cmd = "x" }, { name = "b", cmd = "x", umask = 07 }]\n'
    )
    assert [each.umask for each in loaded.config.jobs] == [0o27, 7]
    assert codes(loaded) == ["W101", "W101"]


def test_C09_forty_of_them_take_no_longer_than_one():
    text = "".join(f'[[task]]\nname = "j{n}"\ncmd = "x"\numask = 0022\n' for n in range(2000))
    began = time.process_time()
    loaded = check(text)
    assert loaded.config is not None
    assert len(loaded.problems) == 1000  # that many are kept
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        "numprocess = 042",
        "umask = 0888",
        "umask = 0_77",
        "umask = 07.5",
        "env = { umask = 0777 }",
        "umask = 0777x",
        "xumask = 0777",
    ],
)
def test_C09_every_other_leading_zero_stays_an_error(text):
    assert task(text).config is None


def test_C09_text_inside_strings_never_triggers_the_leniency():
    loaded = task("description = '''\numask = 0777\n'''\numask = 022\n")
    assert loaded.config.jobs[0].description == "umask = 0777\n"
    assert loaded.config.jobs[0].umask == 0o22


def test_C09_leniency_for_one_thing_does_not_hide_another():
    problem = only(task("umask = 0777\nnumprocess = 042"))
    assert (problem.code, problem.line) in [("E002", 4), ("E002", 5)]


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("22", "E205"),
        ("18", "E205"),
        ("777", "E205"),
        ("63", "E205"),
        ("0x3f", "E205"),
        ("0o1777", "E205"),
        ("-1", "E205"),
    ],
)
def test_C09_the_token_in_the_source_decides(token, code):
    problem = only(task(f"umask = {token}"))
    assert (problem.code, problem.line, problem.column) == (code, 4, 9)


@pytest.mark.parametrize(("token", "mask"), [("0o077", 63), ('"077"', 63), ("7", 7), ('"0o77"', 63)])
def test_C09_octal_spellings_are_taken(token, mask):
    assert job(f"umask = {token}").umask == mask


def test_C09_an_escaped_key_cannot_hide_a_decimal():
    assert only(task('"u\\u006dask" = 22')).code == "E205"


@pytest.mark.parametrize("mask", ["0o777", '"0666"'])
def test_C09_an_umask_that_takes_everything_is_said(mask):
    assert codes(task(f"umask = {mask}")) == ["W102"]


# C10, K06: numbers


@pytest.mark.parametrize(
    "line",
    ["stopdelay = nan", "stopdelay = inf", "stopdelay = -1", "successdelay = -0.1", "successdelay = 1e300",
     "retry = -1",
     "backoff = { factor = nan }", "backoff = { first = -inf }", "nice = 20", "exitcodes = 256", "exitcodes = [-1]",
     "log = { keep = -1 }", "limits = { nofile = -1 }", "limits = { nofile = [5, 4] }", "uid = -1",
     "numprocess = 0xffffffffffffffffffff"],
)  # fmt: skip
def test_C10_a_number_out_of_its_range_is_told(line):
    assert only(task(line)).code == "E202"


@pytest.mark.parametrize(
    ("line", "bound"),
    [
        ("numprocess = 1000000", "10000"),
        ("retry = 1000000000", "1000000"),
        ("stopdelay = 1e9", "7d"),
        ('stopdelay = "99w"', "7d"),
    ],
)
def test_K06_an_upper_bound_is_enforced_and_told(line, bound):
    problem = only(task(line))
    assert problem.code == "E202"
    assert bound in problem.message


def test_K06_zero_is_a_value_of_its_own():
    spec = job("numprocess = 0\nretry = 0\nstopdelay = 0\nsuccessdelay = 0")
    assert (spec.numprocess, spec.retry, spec.stop, spec.successdelay) == (0, 0, (StopStep(15, 0),), 0)


def test_C10_a_number_of_thousands_of_digits_is_refused():
    assert only(task(f"numprocess = {'9' * 5000}")).code in ("E002", "E202")


# C11: names and NUL


@pytest.mark.parametrize("name", ['"a/b"', '".."', '"a\\nb"', '"a\\u0000b"', '"-x"', '"all"', '""', f'"{"x" * 300}"'])
def test_C11_a_bad_name_is_told_at_its_place(name):
    problem = only(check(f'[[task]]\nname = {name}\ncmd = "x"\n'))
    assert (problem.line, problem.column) == (2, 8)


def test_C11_a_bad_name_of_a_table_is_told_too():
    problem = only(check('[task."a/b"]\ncmd = "x"\n'))
    assert (problem.code, problem.line, problem.column) == ("E204", 1, 7)


@pytest.mark.parametrize(
    "line", ['env = { A = "\\u0000" }', 'workingdir = "/a\\u0000"', 'stdout = "/a\\u0000"', 'env = { "A=B" = "x" }']
)
def test_C11_a_NUL_never_reaches_a_process(line):
    assert only(task(line)).code == "E203"
    assert codes(check('[[task]]\nname = "a"\ncmd = ["x", "\\u0000"]\n')) == ["E203"]


# C12: what would take seconds or the stack


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{a=" * 50_000,
        "a = " + "[1," * 50_000,
        ".".join("a" * 50_000) + " = 1",
        "[" + ".".join("a" * 20_000) + "]",
        "\n".join("[[task]]" for _ in range(100_000)),
        "#" * 2_000_000,
        "x" * 1_000_000 + " = 1",
        'a = """' + "\n" * 900_000,
        "a = [" + "0," * 400_000,
        "\n".join(f"k{n} = 1" for n in range(60_000)),
    ],
    ids=["arrays", "tables", "mixed", "key", "header", "tasks", "large", "long-key", "string", "list", "keys"],
)
def test_C12_a_hostile_file_is_refused_within_seconds(text):
    began = time.process_time()
    loaded = check(text)
    assert loaded.config is None
    assert time.process_time() - began < 3  # alone on an idle machine it is below 1; a quadratic one needs 14


# C16: templates


@pytest.mark.parametrize(
    "line",
    ['stdout = "/x/${NOPE}"', 'workingdir = "${NOPE:?set it}"', 'env = { A = "${NOPE}" }', 'env = { A = "${A}" }',
     'env = { A = "${B}", B = "${A}" }', 'stdin = "${NOPE:-${HOME}}"'],
)  # fmt: skip
def test_C16_a_placeholder_without_a_value_is_told_at_its_place(line):
    problem = only(task(line))
    assert (problem.code, problem.line) == ("E303", 4)


def test_C16_a_word_of_an_array_is_told_by_itself():
    problem = only(check('[[task]]\nname = "a"\ncmd = ["x", "y", "${NOPE}"]\n'))
    assert (problem.line, problem.column, problem.width) == (3, 18, 9)


def test_C03_a_stop_step_is_told_by_its_part():
    loaded = task('stopsignal = [["TREM", "10s"], "X", ["INT", -1]]')
    found = [(each.code, each.column, each.width) for each in loaded.problems]
    assert found == [("E206", 16, 6), ("E201", 32, 3), ("E202", 45, 2)]


def test_C03_a_table_below_an_unknown_one_has_a_place():
    problem = only(check('[tasks.a]\ncmd = "x"\n'))
    assert (problem.line, problem.column, problem.help) == (1, 2, "did you mean `[task.NAME]`?")


def test_C16_the_env_of_the_file_is_told_once_for_a_hundred_jobs():
    jobs = "".join(f'[[task]]\nname = "j{n}"\ncmd = "x"\n' for n in range(100))
    problem = only(check(f'[env]\nA = "${{NOPE}}"\n{jobs}'))
    assert (problem.code, problem.line) == ("E303", 2)


def test_C16_the_shells_variables_are_the_shells():
    assert codes(check('[[task]]\nname = "a"\nshell = true\ncmd = "echo ${NOPE} $(x) | y"\n')) == []


@pytest.mark.parametrize(
    "line",
    ['stdout = "/x/%(process_num)d"', 'env = { PATH = "/opt:$PATH" }', 'stdout = "$HOME/x"'],
)
def test_C16_what_only_looks_like_a_placeholder_is_said(line):
    loaded = task(line)
    assert codes(loaded) == ["W104"]
    assert loaded.config is not None


def test_a_variable_that_the_core_sets_is_said():
    assert codes(task('env = { TASKMASTER_RUN = "1" }')) == ["W103"]


# C20: encodings


def test_C20_windows_line_ends_and_a_byte_order_mark_are_taken():
    loaded = check(b'\xef\xbb\xbf[[task]]\r\nname = "a"\r\ncmd = "x"\r\nbad = 1\r\n')
    assert [(each.code, each.line, each.column, each.text) for each in loaded.problems] == [("E101", 4, 1, "bad = 1")]


def test_C20_latin_1_is_an_error_with_its_byte():
    problem = only(check('[[task]]\nname = "caf\xe9"\n'.encode("latin-1")))
    assert (problem.code, problem.line, problem.column) == ("E003", 2, 12)
    assert "byte 0xe9 at offset 20" in problem.message


def test_C20_utf_16_is_named():
    assert "UTF-16" in only(check('a = "b"'.encode("utf-16"))).message


def test_C20_columns_count_characters():
    problem = only(check('[[task]]\nname = "a"\ncmd = ["\N{ROCKET}ä", "x", 3]\n'))
    assert (problem.line, problem.column) == (3, 19)


# L18 and root


def test_L18_an_unknown_user_or_group_is_an_error_before_anything_runs():
    assert only(task('uid = "nosuchuser"')).code == "E305"
    assert only(task('gid = "nosuchgroup"')).code == "E305"
    assert only(task('uid = "a:b"')).help == "write uid and gid, each by itself"
    assert only(check('[taskmaster]\nsocketgroup = "nosuchgroup"')).code == "E305"


def test_L18_what_needs_root_is_an_error_without():
    other = os.geteuid() + 1
    assert only(task(f"uid = {other}", privileged=False)).code == "E306"
    assert only(task("gid = 0", privileged=False)).code == "E306"
    assert only(task("nice = -1", privileged=False)).code == "E306"


def test_L18_the_user_who_runs_the_core_needs_no_root():
    assert job(f"uid = {os.geteuid()}", privileged=False).uid is None
    assert job(f'uid = "{pwd.getpwuid(os.geteuid()).pw_name}"', privileged=False).uid is None


def test_L18_the_users_home_is_known_to_templates():
    assert job('uid = "root"\nworkingdir = "${HOME}"').workingdir == "${HOME}"


# contradictions


@pytest.mark.parametrize(
    "text",
    [
        'stopsignal = [["INT", 1]]\nstopdelay = 3',
        "backoff = { first = 5, max = 1 }",
        'log = { direct = true, maxsize = "1MB" }',
    ],
)
def test_keys_that_contradict_each_other_are_an_error(text):
    assert only(task(text)).code == "E304"


def test_a_shell_with_an_array_is_an_error():
    assert only(check('[[task]]\nname = "a"\nshell = true\ncmd = ["x"]\n')).code == "E304"


def test_two_spellings_of_jobs_in_one_file_are_an_error():
    assert "E103" in codes(check('[[task]]\nname = "a"\ncmd = "x"\n[job.b]\ncmd = "y"\n'))
    assert codes(check('[task]\nname = "a"\ncmd = "x"\n')) == ["E103"]


def test_a_table_whose_name_says_otherwise_is_an_error():
    assert only(check('[task.a]\nname = "b"\ncmd = "x"\n')).code == "E304"


def test_a_name_cannot_be_a_default():
    assert only(check('[defaults]\nname = "a"\n')).code == "E101"


def test_unknown_tables_lead_to_ours():
    assert only(check("[processes.web]\nx = 1\n")).help == "did you mean `[task.NAME]`?"
    assert only(check("[defalts]\nx = 1\n")).help == "did you mean `[defaults]`?"
    assert only(check('cmd = "x"\n')).help == "it belongs into a [[task]]"
    assert only(check("maxstarts = 3\n")).help == "it belongs into [taskmaster]"


# whatever comes


_NAMES = st.sampled_from(
    ["task", "job", "defaults", "env", "taskmaster", "name", "cmd", "umask", "log", "limits", "x", "backoff"]
)
_SCALARS = st.one_of(
    st.sampled_from(
        [
            '"x"',
            "true",
            "0o22",
            "022",
            "nan",
            "-1",
            "3.5",
            "1979-05-27",
            '""',
            '"${A}"',
            '"\\u0000"',
            "99999999999999999999",
        ]
    )
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(_NAMES, inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"{name} = {value}" for name, value in pairs) + "}"
        ),
    ),
    max_leaves=6,
)
_LINES = st.one_of(
    st.tuples(_NAMES, _VALUES).map(" = ".join),
    st.lists(_NAMES, min_size=1, max_size=3).map(lambda parts: f"[{'.'.join(parts)}]"),
    st.lists(_NAMES, min_size=1, max_size=2).map(lambda parts: f"[[{'.'.join(parts)}]]"),
)


@given(st.lists(_LINES, max_size=12).map("\n".join))
def test_C03_any_toml_is_judged_and_never_raises(text):
    loaded = check(text)
    assert (loaded.config is None) == any(each.severity == "error" for each in loaded.problems)
    for each in loaded.problems:
        assert each.column <= len(each.text) + 1


@given(st.binary(max_size=200))
def test_C20_any_bytes_are_judged_and_never_raise(raw):
    loaded = check(raw)
    assert loaded.problems or loaded.config is not None


@given(st.data())
def test_C02_a_file_cut_anywhere_is_judged_and_never_raises(data):
    text = EXAMPLES[data.draw(st.integers(0, len(EXAMPLES) - 1))].read_bytes()
    check(text[: data.draw(st.integers(0, len(text)))])


# speed


def test_a_thousand_jobs_load_quickly():
    text = "".join(
        f'[[task]]\nname = "j{n}"\ncmd = "sleep {n}"\nnumprocess = 2\nenv = {{ N = "{{index}}" }}\n'
        for n in range(1000)
    )
    check("")
    began = time.process_time()
    loaded = check(text)
    spent = time.process_time() - began
    assert len(loaded.config.jobs) == 1000
    assert spent < 1.5, spent  # 0.3 s on an idle machine
